/*
 * raft_node: one running Raft voter or learner.
 *
 * It joins the pure core (raft.h) to a write-ahead log (wal.h), snapshot files, real time and the
 * threads that drive them. The host supplies a state machine (struct raft_fsm) and a way to move
 * frames between nodes (struct raft_transport).
 *
 * Threads inside: raft (core step, timers, inbox), wal (group commit), apply (state machine),
 * snapshot (write, send, install). Heartbeats and elections are served by the raft thread only and
 * never wait for the disk, the state machine or a client.
 *
 * All functions are safe from any thread unless they say otherwise. Callbacks come on the thread
 * each names, must not block, and must not call raft_node_stop() or raft_node_free().
 */
#ifndef RAFT_NODE_H
#define RAFT_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;
struct raft_wal_io;
struct raft_node;

/* Most voters plus learners a cluster may have, and the longest "host:port" of one, with its NUL.
 */
#define RAFT_NODE_MAX_PEERS   16
#define RAFT_NODE_ADDRESS_MAX 104

/* ---- status codes ------------------------------------------------------------------------- */

/* X(name, value, text) */
#define RAFT_NODE_STATUS_TABLE(X)                                                                  \
    X(OK, 0, "ok")                                                                                 \
    X(NOT_LEADER, -1, "this node is not the leader; ask raft_node_leader()")                       \
    X(BUSY, -2, "a queue is full; retry later")                                                    \
    X(UNKNOWN, -3, "leadership was lost: the entry may or may not be committed later")             \
    X(STOPPED, -4, "the node is stopping or was never started")                                    \
    X(INVALID, -5, "invalid argument")                                                             \
    X(TOO_BIG, -6, "the entry exceeds max_entry_bytes")                                            \
    X(NO_MEMORY, -7, "out of memory")                                                              \
    X(IO, -8, "the log or a snapshot could not be written; the node is dead")                      \
    X(FULL, -9, "no space is left for the next log segment")                                       \
    X(CORRUPT, -10, "the log or a snapshot is corrupt; the node must not vote")                    \
    X(LOCKED, -11, "another process uses the data directory")                                      \
    X(MISMATCH, -12, "the data directory belongs to another cluster or node, or another version")  \
    X(PENDING, -13, "another change or transfer is in progress")                                   \
    X(TIMEOUT, -14, "not done within the bound; leadership stays where it was")                    \
    X(FSM, -15, "the state machine refused a committed entry or a snapshot; the node is dead")     \
    X(NOT_FOUND, -16, "no such member")                                                            \
    X(NOT_READY, -17, "the member has not caught up, or the leader has not committed in its term")

enum raft_node_status {
#define RAFT_NODE_STATUS_ENUM(name, value, text) RAFT_NODE_##name = (value),
    RAFT_NODE_STATUS_TABLE(RAFT_NODE_STATUS_ENUM)
#undef RAFT_NODE_STATUS_ENUM
};

/* English text of a status, never NULL; static storage. */
const char *raft_node_strerror(int status);

/* ---- what the host implements ------------------------------------------------------------- */

/* One committed client entry. @data is borrowed for the duration of the call it comes with. */
struct raft_node_entry {
    uint64_t index;
    uint64_t term;
    const void *data;
    size_t len;
};

/*
 * The replicated state machine. apply, applied_index and snapshot_restore are called on one thread
 * at a time (applied_index and restore during raft_node_open, later restore and apply on the apply
 * thread); snapshot_write runs on the snapshot thread at the same time as apply.
 */
struct raft_fsm {
    void *arg;

    /*
     * Applies @n >= 1 committed client entries in order and stores each one's result. Indexes rise
     * but have gaps (no-ops and membership changes are not shown). The applied index has to become
     * durable together with the effects, or be replayable: after a restart, apply resumes behind
     * applied_index(). Non-zero return = the node stops for good (RAFT_NODE_FSM).
     */
    int (*apply)(void *arg, const struct raft_node_entry *entries, size_t n, int64_t *out_results);

    /* Index of the last entry contained in the state, 0 for an empty state machine. */
    uint64_t (*applied_index)(void *arg);

    /*
     * Writes a complete image of the state to @fd, an empty regular file opened for reading and
     * writing, at offset 0, and stores the applied index the image is consistent at. Applies go on
     * meanwhile. The node adds checksums, term and membership, and makes the file durable.
     * Non-zero return = this snapshot is abandoned, the node lives on and tries again later.
     */
    int (*snapshot_write)(void *arg, int fd, uint64_t *out_index);

    /*
     * Replaces the whole state by the image in @fd (read-only regular file at offset 0, ends with
     * the image, checksums already verified). Afterwards applied_index() must be @index. A crash
     * in between has to leave either the old state, the new one, or one that reports
     * applied_index() 0. Non-zero return = the node stops for good (RAFT_NODE_FSM).
     */
    int (*snapshot_restore)(void *arg, int fd, uint64_t index, uint64_t term);
};

/* Moves frames between nodes. Calls come on the raft thread and the snapshot thread. */
struct raft_transport {
    void *arg;

    /*
     * Sends the concatenation of @iov as one frame to @peer_id; copies, never blocks. Frames may be
     * dropped, repeated and reordered. Returns 0, or negative when dropped (queue full, no link).
     * A frame is at most raft_node_max_frame() bytes long.
     */
    int (*send)(void *arg, uint64_t peer_id, const struct iovec *iov, int iovcnt);

    /*
     * Optional (may be NULL): membership as now in force, on the raft thread, at start and after
     * each change: open links to new peers, close those to removed ones. Own id is included.
     */
    void (*peers_changed)(void *arg, const uint64_t *ids, const char *const *addresses, size_t n);
};

enum raft_node_log_level {
    RAFT_NODE_LOG_DEBUG,
    RAFT_NODE_LOG_INFO,
    RAFT_NODE_LOG_WARN,
    RAFT_NODE_LOG_ERROR,
};

enum raft_node_role {
    RAFT_NODE_FOLLOWER,
    RAFT_NODE_CANDIDATE, /* also while asking for pre-votes */
    RAFT_NODE_LEADER,
    RAFT_NODE_LEARNER,
};

struct raft_node_peer {
    uint64_t id;
    const char *address; /* NUL-terminated, shorter than RAFT_NODE_ADDRESS_MAX; copied */
};

/* Zero in any number means: the default written beside it. */
struct raft_node_opts {
    const char *dir;     /* data directory, created (0700) if missing; one node per directory */
    uint64_t id;         /* own id, not 0 */
    uint64_t cluster_id; /* not 0; frames and directories of another cluster are refused */
    const struct raft_node_peer *voters; /* used only when the directory is new: the first members,
                                            identical on all of them. None = joins later through
                                            raft_node_add_learner() on the leader */
    size_t n_voters;

    struct raft_fsm fsm;
    struct raft_transport transport;

    /* Role, term or known leader (0 = none) changed. On the raft thread. May be NULL. */
    void (*on_change)(void *arg, enum raft_node_role role, uint64_t term, uint64_t leader_id);
    void *on_change_arg;

    /* The node can't go on (RAFT_NODE_IO, _FSM, _CORRUPT). The host is expected to end the process
     * and start again from disk. On any inner thread. NULL = abort(). */
    void (*on_fatal)(void *arg, int status, const char *why);
    void *on_fatal_arg;

    /* One line without newline. On any thread. NULL = silent. */
    void (*log)(void *arg, enum raft_node_log_level level, const char *line);
    void *log_arg;

    uint32_t heartbeat_ms; /* 30 */
    uint32_t election_ms;  /* 150: timeouts are drawn from [election_ms, 2 * election_ms] */
    uint64_t seed;         /* randomness of the timeouts; 0 = from the system */

    size_t max_entry_bytes;       /* 1 MiB: largest single proposal */
    size_t max_pending_proposals; /* 4096: accepted and not yet called back; beyond: BUSY */
    size_t max_pending_bytes;     /* 64 MiB: payload of those; beyond: BUSY */
    size_t max_pending_reads;     /* 16384; beyond: BUSY */
    size_t max_inbox_bytes;       /* 64 MiB of received frames; beyond: dropped */
    size_t cache_bytes;           /* 32 MiB of newest entries kept in memory */

    size_t segment_bytes;        /* 16 MiB: size of one log segment */
    uint64_t snapshot_entries;   /* 100000: snapshot each time so many entries were applied;
                                    UINT64_MAX = only on raft_node_snapshot() */
    uint64_t trailing_entries;   /* 10000: entries kept behind a snapshot for slow followers */
    size_t snapshot_chunk_bytes; /* 256 KiB: piece of a snapshot in one frame */

    /* Threads in raft_node_receive, and the one that flushes, run what follows themselves when no
     * other does, which spares a switch to the raft thread. transport.send and callbacks may then
     * come from within raft_node_receive: the transport holds no lock when it calls that. */
    bool caller_turns;

    const struct raft_wal_io *wal_io; /* NULL: the real one; borrowed. Tests inject faults here */
};

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * Recovers from opts->dir (log, newest valid snapshot, state machine brought to it if it is
 * behind) and leaves the node ready to start. Copies everything in @opts. *out only set on success.
 * A log with a damaged record is cut before it and the node comes up without a vote, until the
 * entries it had are back from the others (raft_node_info.recovering). Errors: INVALID, NO_MEMORY,
 * LOCKED, MISMATCH, IO, FULL, FSM, CORRUPT (the damage can't be judged, a file is missing, or there
 * is no other voter to recover from: remove the directory and join as a learner again).
 */
int raft_node_open(const struct raft_node_opts *opts, struct raft_node **out);

/* Starts the threads. Call once. */
int raft_node_start(struct raft_node *node);

/*
 * If leader, hands leadership to the best follower and waits for it, @timeout_ms at most; then goes
 * on as a follower. OK (also when it was not the leader), or leadership stays: TIMEOUT, NOT_FOUND
 * (nobody to hand it to), PENDING (a transfer is in progress). Callers of propose and read notice
 * no more than a pause: see there. Not from a callback.
 */
int raft_node_hand_over(struct raft_node *node, uint32_t timeout_ms);

/*
 * If leader, hands over first; then waits an election timeout at most for what is pending, and
 * stops within about @timeout_ms (0 = at once, no hand-over), plus one running flush or apply call.
 * Pending callbacks are called with STOPPED or UNKNOWN before it returns. Does not free.
 * Idempotent. Not from a callback.
 */
void raft_node_stop(struct raft_node *node, uint32_t timeout_ms);

/* Stops without hand-over if still running, and frees. NULL is fine. Not from a callback. */
void raft_node_free(struct raft_node *node);

/* ---- clients -------------------------------------------------------------------------------- */

/*
 * The end of a proposal. OK: applied here at @index, @result as the state machine gave it.
 * NOT_LEADER, BUSY, TOO_BIG, FULL, STOPPED, NO_MEMORY: never entered the log. UNKNOWN: may still
 * be committed by a later leader. On the apply thread, the raft thread, or the calling thread.
 */
typedef void (*raft_node_propose_cb)(void *arg, int status, uint64_t index, int64_t result);

/*
 * Appends @data (copied) to the replicated log. @cb is called exactly once, possibly before this
 * returns, so do not hold a lock it takes. Only the leader accepts. While it hands over, proposals
 * wait for the end of that: then NOT_LEADER, and raft_node_leader() says who is.
 */
void raft_node_propose(struct raft_node *node, const void *data, size_t len,
                       raft_node_propose_cb cb, void *arg);

/* The end of a read. OK: the local state machine has applied at least @read_index. */
typedef void (*raft_node_read_cb)(void *arg, int status, uint64_t read_index);

/*
 * Linearizable read barrier (ReadIndex, thesis 6.4), on leader and followers alike: after OK the
 * local state reflects every write acknowledged before this call. No disk write. @cb exactly once,
 * maybe before this returns. NOT_LEADER when no leader is known, UNKNOWN when the leader was lost;
 * a node that hands over asks its successor.
 */
void raft_node_read(struct raft_node *node, raft_node_read_cb cb, void *arg);

/* ---- administration ------------------------------------------------------------------------- */

typedef void (*raft_node_done_cb)(void *arg, int status);

/* Hands leadership to @peer_id, 0 = the one with the longest log. Bounded by one election timeout
 * (TIMEOUT). @cb exactly once. */
void raft_node_transfer(struct raft_node *node, uint64_t peer_id, raft_node_done_cb cb, void *arg);

/* Membership, one change at a time, on the leader (thesis 4.1 with the 2015 correction). @cb
 * exactly once, when the change is committed or refused. A learner replicates but does not vote;
 * promote first waits until it has caught up. */
void raft_node_add_learner(struct raft_node *node, uint64_t id, const char *address,
                           raft_node_done_cb cb, void *arg);
void raft_node_promote(struct raft_node *node, uint64_t id, raft_node_done_cb cb, void *arg);
void raft_node_remove(struct raft_node *node, uint64_t id, raft_node_done_cb cb, void *arg);
/* The member lost its disk: it is a learner now, known by the incarnation (16 bytes) of its new
 * data directory. INVALID when that is the one it has, or for the leader itself. */
void raft_node_readmit(struct raft_node *node, uint64_t id, const uint8_t *incarnation,
                       raft_node_done_cb cb, void *arg);

/* Takes a snapshot now; @cb with OK once it is durable and the log behind it released. */
void raft_node_snapshot(struct raft_node *node, raft_node_done_cb cb, void *arg);

/* ---- transport side -------------------------------------------------------------------------- */

/* A frame as the peer's transport was given it; copied. Malformed frames and those of another
 * cluster are counted and dropped. Returns 0, or BUSY when the inbox is full (dropped). */
int raft_node_receive(struct raft_node *node, const void *bytes, size_t len);

/* The link to @peer_id broke (reset, not a mere timeout) or was established. A broken link to the
 * leader starts a pre-vote early. */
void raft_node_link_down(struct raft_node *node, uint64_t peer_id);
void raft_node_link_up(struct raft_node *node, uint64_t peer_id);

/* Upper bound of one frame's length with this node's limits, in bytes. */
size_t raft_node_max_frame(const struct raft_node *node);

/* ---- looking ----------------------------------------------------------------------------------
 */

struct raft_node_peer_status {
    uint64_t id;
    char address[RAFT_NODE_ADDRESS_MAX];
    bool voter;
    uint8_t incarnation[16]; /* its data directory's, as the configuration has it; 0: not yet */
    uint64_t match;          /* leader: highest index known durable there; else 0 */
    int64_t last_contact_ms; /* since the last message from it; -1 = never */
};

struct raft_node_info {
    uint64_t id;
    uint64_t cluster_id;
    uint8_t incarnation[16]; /* random identity of the data directory */
    enum raft_node_role role;
    uint64_t term;
    uint64_t leader_id;   /* 0 = unknown */
    uint64_t first_index; /* oldest entry still in the log */
    uint64_t last_index;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t snapshot_index;
    uint64_t frames_dropped; /* malformed, foreign, or inbox full */
    bool log_full;           /* no room for the next segment: proposals answer FULL */
    bool recovering;         /* the log was damaged: no vote until what was lost is back */
    int fatal;               /* 0, or the status the node died of */
    size_t n_peers;          /* members incl. this node */
    struct raft_node_peer_status peers[RAFT_NODE_MAX_PEERS];
};

/* A consistent picture, at most one raft thread turn old. */
void raft_node_status(struct raft_node *node, struct raft_node_info *out);

/* Known leader's id, 0 if none. Cheap. */
uint64_t raft_node_leader(const struct raft_node *node);

/* True while this node is leader and has committed an entry of its own term. Cheap; a hint only:
 * linearizability needs raft_node_read(). */
bool raft_node_is_leader(const struct raft_node *node);

#ifdef __cplusplus
}
#endif

#endif
