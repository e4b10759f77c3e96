/*
 * Raft core: state and the functions its files share. Nothing here is visible outside raft/core.
 *
 *   raft.c       step: time, dispatch, timers, assembling the effects
 *   start.c      creation, restored state
 *   election.c   roles, pre-vote, votes
 *   append.c     follower's side of replication
 *   replicate.c  leader's side of replication, commit
 *   progress.c   what the leader knows of each peer
 *   persist.c    what the disk knows: requests in flight, what waits for them
 *   trail.c      the log without payloads: terms and sizes
 *   config.c     configurations and their history
 *   change.c     membership changes;  transfer.c  leadership transfer
 *   read.c       ReadIndex;           snapshot.c  sending and installing snapshots
 *   check.c      invariants;          message.c, wire.c  wire form
 */
#ifndef RAFT_CORE_PRIV_H
#define RAFT_CORE_PRIV_H

#include <raft/raft.h>

#include "mutant_priv.h"
#include "trail_priv.h"

/* Most append messages to one peer in one step; acknowledgements bring the next ones. */
#define RAFT_APPENDS_PER_STEP 8

/* Snapshot chunks on their way to one peer, and chunks with the host of the receiver. */
#define RAFT_SNAPSHOT_WINDOW 4

/* Bound of all messages of a step: appends, a heartbeat, a read or vote reply per server. */
#define RAFT_MESSAGES_PER_STEP (RAFT_MAX_SERVERS * (RAFT_APPENDS_PER_STEP + 8))

/* Persist requests told apart; beyond it neighbours are joined and complete together. */
#define RAFT_MAX_FLIGHTS 64

/* Doubling of a candidate's patience after elections that nobody won (slow disks). */
#define RAFT_MAX_PATIENCE 3

struct raft_inflight {
    raft_index last;
    uint64_t bytes;
};

/* What the leader knows of a peer. */
struct raft_peer {
    raft_id id;
    enum raft_progress_state state;
    raft_index match;    /* durable there */
    raft_index next;     /* first entry to send */
    raft_index received; /* as its latest reply says: there, maybe not durable */
    raft_index commit_sent;
    uint64_t contact;     /* time of its latest message in this term */
    uint64_t progress_at; /* time of the last step forward, or of the first send after idling */
    uint64_t acked_round; /* highest read round it has echoed */
    bool paused;          /* PROBE: the one append is out */

    struct raft_inflight *inflight; /* ring of options.max_inflight_messages */
    uint32_t inflight_head;
    uint32_t inflight_count;
    uint64_t inflight_bytes;

    raft_index snap_index; /* SNAPSHOT: what is being sent */
    uint64_t snap_offset;  /* wanted next, by its last word */
    uint64_t snap_next;    /* to be sent next; the window is between the two */
    uint64_t snap_again;   /* where the last repetition began */
    uint64_t snap_sent_at;

    bool granted; /* candidates: its answer */
    bool refused;
    struct raft_uuid incarnation; /* as seen in its messages */
    struct raft_uuid bound;       /* as in the configuration this was made from; zero: none yet */
};

/* A configuration and the entry that brought it; index <= snapshot index for the first one. */
struct raft_config_at {
    raft_index index;
    struct raft_config config;
};

struct raft_snapshot {
    raft_index index;
    raft_term term;
    uint64_t size;
    struct raft_config config;
};

/* A persist request that was handed out and has not completed. */
struct raft_flight {
    uint64_t seq;
    uint64_t hs_version;
    raft_index last;    /* log end that becomes durable; lowered when that part is overwritten */
    raft_index install; /* != 0: completes the installation of this snapshot */
};

enum raft_read_phase {
    RAFT_READ_WAIT_TERM, /* leader has not committed in its term */
    RAFT_READ_WAIT_ROUND,
};

struct raft_read {
    raft_id from;   /* 0: own host */
    uint64_t nonce; /* from != 0 */
    uint64_t ctx;   /* host's context, or the asking follower's sequence number */
    raft_index index;
    uint64_t round;
    enum raft_read_phase phase;
};

/* A read waiting on a follower for the leader's answer. */
struct raft_forward {
    uint64_t ctx;
    uint64_t seq;
};

struct raft_change {
    bool active;
    bool catching_up; /* PROMOTE before its entry is appended */
    bool silent;      /* nobody asked for it: no result */
    uint64_t ctx;
    raft_id server;
    raft_index index;
    uint32_t rounds;
    raft_index round_target;
    uint64_t round_start;
    uint64_t deadline;
};

/* A snapshot on its way in. */
struct raft_install {
    bool active;
    uint32_t storing; /* chunks with the host */
    bool failed;      /* one of them could not be stored: begins anew when all are answered */
    raft_index index;
    raft_term term;
    uint64_t total;
    uint64_t stored; /* of what was handed to the host, which has got so far: */
    uint64_t handed;
    struct raft_config config;
};

/* Values of the previous raft_check_invariants(). */
struct raft_memory {
    bool set;
    enum raft_role role;
    raft_term term;
    raft_id vote;
    raft_id leader;
    raft_index commit;
    raft_index apply;
    raft_index snapshot;
    raft_term commit_term;
    raft_index last;
};

struct raft {
    struct raft_options opt;
    uint64_t rng;

    uint64_t host_now; /* time of the last step on the host's clock */
    uint64_t now;      /* own time: never goes back */
    uint64_t deadline; /* as announced, own time */
    bool more;         /* of the running event */

    /* Hard state, and how much of it is durable. */
    raft_term term;
    raft_id vote;
    uint64_t hs_version;
    uint64_t hs_durable;

    enum raft_role role;
    raft_id leader;
    bool recovering;
    raft_index recover_until;

    struct raft_trail log;
    raft_index durable; /* log up to here is on disk */
    raft_index commit;
    struct raft_snapshot snapshot;     /* the newest; index 0: none */
    struct raft_snapshot old_snapshot; /* the one before: may still be on its way to a peer */

    struct raft_config_at *configs; /* history; the last one is in force */
    uint32_t n_configs;
    uint32_t cap_configs;

    uint64_t seq; /* of the last persist request */
    struct raft_flight flights[RAFT_MAX_FLIGHTS];
    uint32_t flights_head;
    uint32_t flights_count;

    /* Follower and candidate. */
    uint64_t election_deadline;
    bool grace_given;        /* this deadline has been put off once */
    uint64_t leader_contact; /* 0: stick to nobody */
    raft_index verified;     /* equal to the current leader's log up to here */
    uint64_t round_seen;
    raft_term last_heard_term; /* the term that `verified` and `round_seen` belong to */
    bool ack_held;             /* an acknowledgement waits for the hard state */
    bool reject_held;          /* and so does a refusal of an append after this entry */
    raft_index reject_index;
    raft_term reject_term;
    raft_id grant_held; /* a granted vote waits for the hard state: to whom */
    bool votes_held;    /* the candidate's requests wait for the hard state */
    bool campaign_transfer;
    uint32_t patience;

    /* Leader. */
    struct raft_peer *peers; /* RAFT_MAX_SERVERS slots; n_peers used; also the candidate's tally */
    uint32_t n_peers;
    struct raft_inflight *windows; /* storage of all rings */
    uint64_t heartbeat_deadline;
    raft_index term_start; /* the no-op */
    uint64_t uncommitted_bytes;
    raft_id transfer_to;
    uint64_t transfer_deadline;
    bool transfer_told;
    struct raft_change change;

    /* Reads. */
    uint64_t round; /* last one started */
    struct raft_read *reads;
    uint32_t n_reads;
    uint64_t nonce;
    uint64_t forward_seq;
    uint64_t forward_sent; /* sequence number out, 0: none */
    uint64_t forward_deadline;
    struct raft_forward *forwards;
    uint32_t n_forwards;

    struct raft_install install;

    /* Effects of the current step. */
    struct raft_effects out;
    struct raft_message messages[RAFT_MESSAGES_PER_STEP];
    uint32_t n_messages;
    struct raft_read_result *read_results; /* 2 * max_pending_reads + 1 */
    uint32_t n_read_results;
    struct raft_change_result change_results[4];
    uint32_t n_change_results;
    struct raft_entry own_entry; /* an entry the core made itself, and its payload */
    uint8_t own_payload[RAFT_MAX_CONFIG_BYTES];
    bool hs_dirty;
    enum raft_role last_role;
    raft_term last_term;
    raft_id last_leader;

    uint64_t elections;
    uint64_t dropped;
    struct raft_memory memory;
#ifdef RAFT_MUTANTS
    int mutant;
#endif
};

/* alloc (start.c) */
void *raft_alloc_resize(struct raft *r, void *ptr, size_t size);

/* raft.c */
uint64_t raft_random(struct raft *r, uint64_t below);
struct raft_message *raft_message_new(struct raft *r, raft_id to, uint8_t type);

/* start.c */
int raft_start(struct raft *r, const struct raft_event_start *e);

/* trail and log end */
raft_index raft_last_index(const struct raft *r);
raft_term raft_last_term(const struct raft *r);

/* config.c */
const struct raft_config *raft_config_current(const struct raft *r);
raft_index raft_config_current_index(const struct raft *r);
const struct raft_config *raft_config_for(const struct raft *r, raft_index index);
int raft_configs_reserve(struct raft *r, uint32_t extra);
void raft_configs_push(struct raft *r, raft_index index, const struct raft_config *c);
void raft_configs_truncate(struct raft *r, raft_index last);
void raft_configs_trim(struct raft *r, raft_index snapshot);
void raft_configs_reset(struct raft *r, raft_index index, const struct raft_config *c);
bool raft_self_votes(const struct raft *r);
bool raft_self_electable(const struct raft *r);

/* persist.c */
bool raft_gate_open(const struct raft *r);
void raft_set_hard_state(struct raft *r, raft_term term, raft_id vote);
int raft_append_own(struct raft *r, uint8_t type, const struct raft_config *c);
void raft_log_truncate(struct raft *r, raft_index last);
raft_index raft_apply_index(const struct raft *r);
void raft_persist_finish(struct raft *r);
void raft_persisted(struct raft *r, uint64_t seq);

/* election.c */
void raft_election_timer(struct raft *r);
bool raft_may_campaign(const struct raft *r);
void raft_become_follower(struct raft *r, raft_term term, raft_id leader);
void raft_election_timeout(struct raft *r);
void raft_campaign(struct raft *r, bool transfer);
void raft_campaign_durable(struct raft *r);
void raft_on_vote(struct raft *r, const struct raft_message *m);
void raft_on_vote_reply(struct raft *r, const struct raft_message *m);
void raft_vote_durable(struct raft *r);
void raft_hear_leader(struct raft *r, raft_id from);
uint32_t raft_quorum(const struct raft *r);

/* append.c */
void raft_on_append(struct raft *r, const struct raft_message *m);
void raft_send_ack(struct raft *r);
void raft_answer_held(struct raft *r);
raft_index raft_match_here(const struct raft *r);
void raft_follower_commit(struct raft *r, raft_index index);

/* progress.c */
struct raft_peer *raft_peer_find(struct raft *r, raft_id id);
void raft_peers_rebuild(struct raft *r);
void raft_peers_reset(struct raft *r);
void raft_peer_probe(struct raft *r, struct raft_peer *p, raft_index next);
void raft_peer_replicate(struct raft *r, struct raft_peer *p, raft_index next);
void raft_peer_snapshot_begin(struct raft *r, struct raft_peer *p, raft_index snapshot);
void raft_peer_inflight_add(struct raft *r, struct raft_peer *p, raft_index last, uint64_t bytes);
void raft_peer_inflight_ack(struct raft *r, struct raft_peer *p, raft_index match);
bool raft_peer_full(const struct raft *r, const struct raft_peer *p);

/* replicate.c */
void raft_become_leader(struct raft *r);
void raft_broadcast(struct raft *r);
void raft_heartbeat(struct raft *r);
void raft_heartbeat_peer(struct raft *r, struct raft_peer *p);
void raft_replicate(struct raft *r, struct raft_peer *p);
void raft_on_append_reply(struct raft *r, const struct raft_message *m);
void raft_leader_match(struct raft *r, struct raft_peer *p, raft_index match);
void raft_leader_commit(struct raft *r);
void raft_leader_timers(struct raft *r);
bool raft_hears_majority(const struct raft *r, const struct raft_config *c);
bool raft_committed_own_term(const struct raft *r);
int raft_propose(struct raft *r, const struct raft_event_propose *e);

/* change.c */
int raft_change_request(struct raft *r, const struct raft_event_change *e);
void raft_change_progress(struct raft *r, struct raft_peer *p);
void raft_change_committed(struct raft *r);
void raft_change_timer(struct raft *r);
void raft_change_abort(struct raft *r, int result);
void raft_bind_incarnations(struct raft *r);

/* transfer.c */
int raft_transfer_request(struct raft *r, const struct raft_event_transfer *e);
void raft_transfer_progress(struct raft *r);
void raft_transfer_timer(struct raft *r);
void raft_on_timeout_now(struct raft *r, const struct raft_message *m);
struct raft_peer *raft_best_voter(struct raft *r);

/* read.c */
int raft_read_request(struct raft *r, const struct raft_event_read *e);
void raft_reads_round(struct raft *r);
void raft_reads_own_term(struct raft *r);
void raft_reads_fail(struct raft *r, int code);
void raft_forwards_fail(struct raft *r, int code);
void raft_forward(struct raft *r);
void raft_on_read(struct raft *r, const struct raft_message *m);
void raft_on_read_reply(struct raft *r, const struct raft_message *m);

/* snapshot.c */
void raft_peer_snapshot(struct raft *r, struct raft_peer *p);
void raft_resend_chunks(struct raft *r, struct raft_peer *p);
void raft_on_snapshot(struct raft *r, const struct raft_message *m);
void raft_on_snapshot_reply(struct raft *r, const struct raft_message *m);
int raft_snapshot_taken(struct raft *r, const struct raft_event_taken *e);
void raft_snapshot_stored(struct raft *r, const struct raft_event_stored *e);
void raft_snapshot_gone(struct raft *r, const struct raft_event_gone *e);
void raft_snapshot_installed(struct raft *r, raft_index index);

#endif
