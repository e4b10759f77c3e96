/*
 * Raft: the consensus core, a pure function of (state, time, event) → effects.
 *
 * The core does no I/O, reads no clock, starts no thread, has no global state and allocates only
 * through the allocator given at creation. The host (raft/node, or a simulator) turns the world
 * into events, calls raft_step(), and carries the effects out. The same sequence of (time, event)
 * always gives the same effects.
 *
 *      host                                core
 *      ────                                ────
 *      START ───────────────────────────▶  follower
 *      MESSAGE, TIMEOUT, LINK_* ────────▶
 *      PROPOSE, READ, CHANGE, TRANSFER ─▶
 *                               ◀───────── persist{seq, hard state, snapshot, entries}
 *      PERSISTED{seq} ──────────────────▶
 *                               ◀───────── messages, commit, apply, reads, changes, deadline
 *
 * Rules for the host
 *   1. One thread at a time per struct raft. After every raft_step() carry out all effects before
 * the next step, or copy what they point to: effects and everything they reach are valid until the
 * next raft_step() on the same struct.
 *   2. Messages may leave at once, in parallel with `persist`: the core itself holds back whatever
 * must wait for the disk (votes, acknowledgements, requests in a new term) and emits it after
 * PERSISTED.
 *   3. `persist` requests are written in order. A batch is {hard state, snapshot marker, entries}
 * in this order, atomic or prefix-durable. PERSISTED{seq} says that everything up to and including
 * request `seq` is durable; requests may be joined in one flush (report the highest seq). A failed
 * write or flush has no event: stop the process.
 *   4. Entries at index i replace whatever the log held at i and above (that is the only form of
 * truncation).
 *   5. At `deadline_ns` (or a little later) call raft_step() with RAFT_EVENT_TIMEOUT, if no event
 * came earlier. Timers are looked at after every event, so a busy host needs no extra call. A
 * follower that comes more than half a heartbeat late waits one heartbeat more before it campaigns.
 * With several events at hand say so (`more`): a leader's heartbeat may be among them.
 *   6. The state machine applies entries up to `apply_index` (committed and durable here).
 * `commit_index` may be ahead of it while the own disk is slow: a state machine that is rebuilt
 * from the log after a crash may use it to answer earlier.
 *   7. Lost messages need no care. What the host cannot send (queue full, no connection) it drops.
 *   8. Snapshots: the newest two are kept, peers may still be reading the older one. A received one
 * counts from the `restore_index` that names it; until then, and without it, its file is void. Up
 * to 4 chunks are with the host at a time, each behind the one before; it answers them in order.
 * Behind one that failed, all fail up to the next with offset 0.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include <raft/message.h>
#include <raft/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct raft;

/* `resize(ctx, NULL, n)` allocates, `resize(ctx, p, 0)` frees and returns NULL. NULL member: libc.
 */
struct raft_alloc {
    void *ctx;
    void *(*resize)(void *ctx, void *ptr, size_t size);
};

/*
 * Options are fixed for the life of a struct raft. Start from raft_options_init(), which sets the
 * defaults named here.
 */
struct raft_options {
    raft_id id;                   /* own id; required */
    struct raft_uuid cluster;     /* required: messages of another cluster are dropped */
    struct raft_uuid incarnation; /* required: random, made when the data directory was made */
    uint64_t seed;                /* randomness: different on every server and in every life */
    struct raft_alloc alloc;      /* default libc */

    uint64_t heartbeat_ns; /* 30 ms */
    uint64_t election_ns; /* 150 ms: E. Timeouts are random in [E, 2E]; voters stick to a leader for
                             E; a leader without a majority for 2E steps down */
    uint32_t max_append_entries; /* 1024: entries of one message, <= RAFT_MAX_MESSAGE_ENTRIES */
    uint32_t max_append_bytes;   /* 1 MiB: payload of one message (one larger entry goes alone) */
    uint32_t max_inflight_messages;   /* 64: unacknowledged append messages per peer */
    uint64_t max_inflight_bytes;      /* 8 MiB: and their payload */
    uint64_t max_uncommitted_bytes;   /* 64 MiB: more is refused with RAFT_ERR_BUSY */
    uint64_t max_uncommitted_entries; /* 65536: the same */
    uint64_t max_log_entries;         /* 4 Mi: entries kept after the snapshot; then BUSY */
    uint32_t max_pending_reads;       /* 4096: then BUSY */
    uint64_t trailing_entries;        /* 10000: kept in the log behind a new snapshot */
    uint64_t snapshot_threshold;      /* 50000: entries committed since the last: snapshot_due */
    uint32_t snapshot_chunk_bytes;    /* 512 KiB: one chunk, of which 4 are in flight per peer */
    uint32_t catch_up_rounds;         /* 10: rounds a learner gets before promotion is given up */
    uint64_t catch_up_timeout_ns;     /* 30 s: and the time for all of them */
};

void raft_options_init(struct raft_options *o);

/* NULL: out of memory or invalid options. The core is stopped until RAFT_EVENT_START. */
struct raft *raft_new(const struct raft_options *o);

/* Accepts NULL. */
void raft_free(struct raft *r);

enum raft_role {
    RAFT_STOPPED = 0, /* before RAFT_EVENT_START */
    RAFT_FOLLOWER,
    RAFT_PRECANDIDATE, /* asking whether an election could be won */
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

const char *raft_role_name(enum raft_role role);

/* ---- events ---------------------------------------------------------------------------------- */

enum raft_event_type {
    RAFT_EVENT_START = 1,       /* u.start: what the disk holds; first event, once */
    RAFT_EVENT_TIMEOUT,         /* the deadline is reached */
    RAFT_EVENT_MESSAGE,         /* u.message: from a peer */
    RAFT_EVENT_PERSISTED,       /* u.persisted: the disk is done */
    RAFT_EVENT_PROPOSE,         /* u.propose: append commands */
    RAFT_EVENT_READ,            /* u.read: ReadIndex; leader or follower */
    RAFT_EVENT_CHANGE,          /* u.change: membership */
    RAFT_EVENT_TRANSFER,        /* u.transfer: hand leadership over */
    RAFT_EVENT_LINK_DOWN,       /* u.link: the connection with a peer broke (reset, not time out) */
    RAFT_EVENT_LINK_UP,         /* u.link: it stands again */
    RAFT_EVENT_SNAPSHOT_TAKEN,  /* u.taken: own snapshot is durable */
    RAFT_EVENT_SNAPSHOT_STORED, /* u.stored: a received chunk is stored */
    RAFT_EVENT_SNAPSHOT_GONE,   /* u.gone: a snapshot to be sent does not exist (any more) */
};

/*
 * State read from disk. A new server of a new cluster: all zero with `config` = the same initial
 * configuration on all of its servers. A new server that joins an existing cluster: all zero,
 * config empty.
 */
struct raft_event_start {
    raft_term term; /* hard state */
    raft_id vote;
    raft_index snapshot_index; /* newest snapshot, 0: none */
    raft_term snapshot_term;
    uint64_t snapshot_size;           /* bytes */
    const struct raft_config *config; /* at snapshot_index (at 0: the initial one) */
    raft_index first_index;           /* of entries; <= snapshot_index + 1. */
    raft_term prev_term;              /* term of entry first_index - 1; 0 when that is 0 */
    const struct raft_entry *entries; /* term, type, size; data only needed for CONFIG entries */
    size_t n_entries;
    raft_index recover_until; /* 0: healthy. Else the log is known to have lost entries up to here:
                                 no vote, no candidacy until they are back and committed */
};

struct raft_event_propose {
    struct raft_entry *entries; /* in: type COMMAND, size, data; out: term. Borrowed. */
    size_t n_entries;           /* all or none are taken */
};

struct raft_event_read {
    uint64_t ctx; /* returned in raft_read_result */
};

enum raft_change_op {
    RAFT_ADD_LEARNER = 1,
    RAFT_PROMOTE, /* learner to voter: waits until it has caught up */
    RAFT_DEMOTE,  /* voter to learner */
    RAFT_REMOVE,
    RAFT_READMIT, /* whoever lost its disk, as a learner under its new incarnation */
};

struct raft_event_change {
    uint64_t ctx;              /* returned in raft_change_result */
    uint8_t op;                /* enum raft_change_op */
    struct raft_server server; /* id; for ADD_LEARNER also incarnation (or zero) and address; for
                                  READMIT also incarnation */
};

struct raft_event_transfer {
    raft_id target; /* 0: the voter that is furthest */
};

struct raft_event_persisted {
    uint64_t seq; /* of raft_persist: it and all before it are durable */
};

struct raft_event_link {
    raft_id peer;
};

struct raft_event_taken {
    raft_index index; /* <= apply_index */
    uint64_t size;    /* bytes */
};

struct raft_event_stored {
    raft_index index;
    uint64_t end; /* bytes stored so far (offset + len of the chunk) */
    bool failed;  /* could not be stored or its checksum is wrong: start it again */
};

struct raft_event_gone {
    raft_index index;
};

struct raft_event {
    enum raft_event_type type;
    bool more; /* other events wait behind this one: nobody's silence is judged before they are in.
                  The last of them, or a TIMEOUT after it, comes without */
    union {
        struct raft_event_start start;
        const struct raft_message *message; /* borrowed for the step and its effects */
        struct raft_event_persisted persisted;
        struct raft_event_propose propose;
        struct raft_event_read read;
        struct raft_event_change change;
        struct raft_event_transfer transfer;
        struct raft_event_link link;
        struct raft_event_taken taken;
        struct raft_event_stored stored;
        struct raft_event_gone gone;
    } u;
};

/* ---- effects --------------------------------------------------------------------------------- */

/* A snapshot as the log sees it. `config` points into the core, valid until the next step. */
struct raft_snapshot_meta {
    raft_index index;
    raft_term term;
    uint64_t size;
    const struct raft_config *config;
};

struct raft_persist {
    uint64_t seq;    /* 0: nothing to write. Else to be returned by PERSISTED */
    bool hard_state; /* term and vote changed */
    raft_term term;  /* always filled when seq != 0 */
    raft_id vote;
    bool has_snapshot; /* write a snapshot marker: */
    bool reset_log;    /*   true: the log is empty after snapshot.index (installed from the leader);
                            false: own snapshot, the log stays (see compact_before) */
    struct raft_snapshot_meta snapshot;
    raft_index first_index; /* entries go to first_index ...; with n_entries > 0 */
    const struct raft_entry
        *entries; /* payloads borrowed from the event; copy before the next step */
    size_t n_entries;
};

/* Store a piece of a snapshot that the leader sends; answer with SNAPSHOT_STORED. */
struct raft_snapshot_chunk {
    bool present;
    struct raft_snapshot_meta meta; /* size is the whole snapshot's */
    uint64_t offset;                /* 0: begin anew, discarding any unfinished one */
    const void *data;               /* borrowed from the message */
    uint32_t len;
    bool last; /* make it durable and check it as a whole before answering STORED */
};

struct raft_read_result {
    uint64_t ctx;
    int result; /* 0, or RAFT_ERR_NOT_LEADER / RAFT_ERR_NO_LEADER / RAFT_ERR_LOST: ask again */
    raft_index index; /* the read may be served as soon as this index is applied here */
};

struct raft_change_result {
    uint64_t ctx;
    int result;       /* 0: committed. RAFT_ERR_LOST: unknown. RAFT_ERR_CATCH_UP: given up */
    raft_index index; /* of the configuration entry, when result is 0 */
};

struct raft_effects {
    struct raft_persist persist;

    const struct raft_message *messages; /* payloads to be supplied: see message.h */
    size_t n_messages;

    raft_index commit_index; /* current values, always filled */
    raft_index apply_index;
    uint64_t deadline_ns; /* on the host's clock */

    raft_index proposed_first; /* PROPOSE accepted: index of the first entry; else 0 */

    const struct raft_read_result *reads;
    size_t n_reads;
    const struct raft_change_result *changes;
    size_t n_changes;

    bool role_changed; /* role, term or known leader differ from the step before */
    enum raft_role role;
    raft_term term;
    raft_id leader;      /* 0: unknown */
    bool config_changed; /* raft_config_in_force() returns another value than before */

    struct raft_snapshot_chunk chunk;
    raft_index restore_index; /* != 0: load the snapshot of this index into the state machine, then
                                 apply what follows; everything queued up to it is void */
    raft_index
        compact_before; /* != 0: entries below may go, once `persist` of this step is durable */
    bool snapshot_due;  /* many entries since the last snapshot: take one */
};

/*
 * The only way to change the state. Returns 0, or for PROPOSE, READ, CHANGE, TRANSFER,
 * SNAPSHOT_TAKEN and START an error by which the event was refused without a change of state (`out`
 * is filled in any case; timers may have fired). A message that has no place (stale, foreign,
 * malformed) is counted and dropped: 0. RAFT_ERR_NOMEM for PROPOSE, CHANGE, START; elsewhere a lack
 * of memory acts like a lost message.
 *
 * now_ns: any monotonic clock. Should it go back, the core's time stands still for that step.
 */
int raft_step(struct raft *r, uint64_t now_ns, const struct raft_event *ev,
              struct raft_effects *out);

/* ---- looking inside (same thread as raft_step) ------------------------------------------------
 */

/* Configuration in force (the last in the log). Valid until the next step. */
const struct raft_config *raft_config_in_force(const struct raft *r);

/*
 * What a snapshot of the state machine at `index` needs to carry. RAFT_ERR_INVALID: index is above
 * the commit index or below the newest snapshot, or (on a server that has just joined) the
 * configuration at `index` is not known here. meta->config is valid until the next step; meta->size
 * is 0.
 */
int raft_snapshot_meta_at(const struct raft *r, raft_index index, struct raft_snapshot_meta *meta);

/* Term of an entry; 0 if it is not in the log (or index 0). */
raft_term raft_term_at(const struct raft *r, raft_index index);

enum raft_progress_state {
    RAFT_PROGRESS_PROBE = 0, /* one append at a time, until the logs are known to meet */
    RAFT_PROGRESS_REPLICATE, /* pipelined */
    RAFT_PROGRESS_SNAPSHOT,
};

struct raft_peer_status {
    raft_id id;
    uint8_t role;
    enum raft_progress_state progress;
    raft_index match;
    raft_index next;
    uint64_t silent_ns; /* since something was heard from it in this term */
};

struct raft_status {
    raft_id id;
    enum raft_role role;
    raft_term term;
    raft_id vote;
    raft_id leader;
    raft_index first_index; /* of the log kept */
    raft_index last_index;
    raft_index durable_index;
    raft_index commit_index;
    raft_index apply_index;
    raft_index snapshot_index;
    raft_index config_index; /* entry of the configuration in force */
    bool recovering;
    bool transferring;
    uint64_t uncommitted_bytes;
    uint64_t elections;        /* started by this server in this life */
    uint64_t messages_dropped; /* stale, foreign or malformed */
    uint32_t n_peers;          /* leader only: all other servers of the configuration */
    struct raft_peer_status peers[RAFT_MAX_SERVERS];
};

void raft_get_status(const struct raft *r, struct raft_status *out);

/*
 * Checks the invariants of one server (and against the values remembered from the previous call).
 * Returns NULL or a constant text that names the broken one. Cheap enough to be called after every
 * step in tests.
 */
const char *raft_check_invariants(struct raft *r);

#ifdef __cplusplus
}
#endif

#endif
