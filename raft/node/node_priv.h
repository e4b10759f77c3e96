/*
 * Inside of struct raft_node.
 *
 *   clients ──▶ inbox ──▶ raft thread ──▶ writer thread (log: group commit) ──PERSISTED──▶ inbox
 *   frames  ──▶   ▲         │  │  │
 *                 │         │  │  └─────▶ courier thread (old entries and snapshot chunks, both
 * ways) │         │  └────────▶ applier thread (state machine; answers clients) │ └───────────▶
 * transport └──────────────────────  snapshotter thread (writes images)
 *
 * Only the raft thread touches the core. Each queue below has its own lock; no two of them are ever
 * held together. Callbacks are called without any.
 */
#ifndef RAFT_NODE_NODE_PRIV_H
#define RAFT_NODE_NODE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <raft/node.h>
#include <raft/raft.h>
#include <raft/wal.h>

#include "node/cache_priv.h"
#include "node/snapstore_priv.h"

#define RAFTI_PROPOSE_BATCH 512u /* proposals handed to the core in one step */
#define RAFTI_APPLY_BATCH   256u
#define RAFTI_APPLY_BYTES   ((size_t)4 << 20)
#define RAFTI_COURIER_MAX   256u /* queued sends; more are dropped, the core repairs */

/* ---- client operations ------------------------------------------------------------------------
 */

struct rafti_proposal {
    struct rafti_proposal *next;
    raft_node_propose_cb cb;
    void *arg;
    struct rafti_payload *payload;
    uint64_t index; /* once the core took it */
    uint64_t term;
};

struct rafti_read {
    struct rafti_read *next;
    raft_node_read_cb cb;
    void *arg;
    uint64_t index;
};

enum rafti_admin_kind {
    RAFTI_ADMIN_ADD_LEARNER,
    RAFTI_ADMIN_PROMOTE,
    RAFTI_ADMIN_REMOVE,
    RAFTI_ADMIN_READMIT,
    RAFTI_ADMIN_TRANSFER,
    RAFTI_ADMIN_SNAPSHOT,
};

struct rafti_admin {
    struct rafti_admin *next;
    enum rafti_admin_kind kind;
    uint64_t peer;
    char address[RAFT_NODE_ADDRESS_MAX];
    struct raft_uuid incarnation;
    raft_node_done_cb cb; /* may be NULL inside */
    void *arg;
    uint64_t limit_ns; /* of a transfer; 0 = four election timeouts */
    uint64_t deadline_ns;
};

/* First in, first out lists; the tail pointer makes appending cheap. */
#define RAFTI_LIST(type)                                                                           \
    struct {                                                                                       \
        type *head;                                                                                \
        type **tail;                                                                               \
    }
#define RAFTI_LIST_INIT(list) ((list)->head = NULL, (list)->tail = &(list)->head)
#define RAFTI_LIST_PUSH(list, item)                                                                \
    do {                                                                                           \
        (item)->next = NULL;                                                                       \
        *(list)->tail = (item);                                                                    \
        (list)->tail = &(item)->next;                                                              \
    } while (0)
#define RAFTI_LIST_POP(list)                                                                       \
    do {                                                                                           \
        (list)->head = (list)->head->next;                                                         \
        if ((list)->head == NULL) {                                                                \
            (list)->tail = &(list)->head;                                                          \
        }                                                                                          \
    } while (0)

/* Appends all of one list to another. */
#define RAFTI_LIST_TAKE(from, to)                                                                  \
    do {                                                                                           \
        if ((from)->head != NULL) {                                                                \
            *(to)->tail = (from)->head;                                                            \
            (to)->tail = (from)->tail;                                                             \
            RAFTI_LIST_INIT(from);                                                                 \
        }                                                                                          \
    } while (0)

typedef RAFTI_LIST(struct rafti_proposal) rafti_proposals;
typedef RAFTI_LIST(struct rafti_read) rafti_reads;
typedef RAFTI_LIST(struct rafti_admin) rafti_admins;

/* Reads of one turn share one question to the core. */
struct rafti_read_batch {
    struct rafti_read_batch *next;
    rafti_reads reads;
};

typedef RAFTI_LIST(struct rafti_read_batch) rafti_read_batches;

/* ---- inbox: everything the raft thread reacts to --------------------------------------------- */

enum rafti_note_kind {
    RAFTI_NOTE_FRAME,
    RAFTI_NOTE_LINK_DOWN,
    RAFTI_NOTE_LINK_UP,
    RAFTI_NOTE_PERSISTED,     /* a: seq */
    RAFTI_NOTE_STORED,        /* a: index, b: end, flag: failed */
    RAFTI_NOTE_GONE,          /* a: index */
    RAFTI_NOTE_IMAGE_WRITTEN, /* a: index of the image the snapshotter wrote */
    RAFTI_NOTE_TAKEN,         /* a: index, b: bytes */
};

struct rafti_note {
    struct rafti_note *next;
    enum rafti_note_kind kind;
    bool flag;
    uint64_t a;
    uint64_t b;
    size_t len; /* of the frame */
    uint8_t bytes[];
};

typedef RAFTI_LIST(struct rafti_note) rafti_notes;

struct rafti_inbox {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* CLOCK_MONOTONIC */
    bool stop;
    bool running;     /* a thread runs a turn: all that is "raft thread only" is its alone */
    uint64_t wake_ns; /* when the raft thread looks again by itself */
    rafti_notes notes;
    size_t frame_bytes;
    rafti_proposals proposals;
    rafti_reads reads;
    rafti_admins admins;
    size_t pending_proposals; /* from acceptance until the callback */
    size_t pending_bytes;
    size_t pending_reads;
    size_t pending_admins;
    pthread_cond_t drained; /* nothing is pending; CLOCK_MONOTONIC */
};

/* ---- writer -----------------------------------------------------------------------------------
 */

struct rafti_write {
    struct rafti_write *next;
    uint64_t seq;
    uint64_t term;
    uint64_t vote;
    bool hard_state;
    bool reset;
    bool recovered; /* what a damaged log had lost is back */
    uint64_t reset_index;
    uint64_t reset_term;
    uint64_t release; /* entries up to here may go, once all of this is durable */
    size_t n_entries;
    struct rafti_entry entries[];
};

typedef RAFTI_LIST(struct rafti_write) rafti_writes;

struct rafti_writer {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    bool stop;
    rafti_writes queue;
};

/* ---- applier ----------------------------------------------------------------------------------
 */

struct rafti_applier {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t progress; /* applied moved */
    bool stop;
    uint64_t target;
    uint64_t restore;        /* snapshot to load first; 0 = none */
    uint64_t applied;        /* entries of any type up to here are in the state machine */
    rafti_proposals pending; /* taken by the core, by rising index */
    rafti_reads reads;       /* confirmed, waiting for their index */
};

/* ---- courier ----------------------------------------------------------------------------------
 */

enum rafti_parcel_kind {
    RAFTI_PARCEL_APPEND,   /* entries out of the log */
    RAFTI_PARCEL_SNAPSHOT, /* a chunk to send */
    RAFTI_PARCEL_STORE,    /* a chunk to store */
};

struct rafti_parcel {
    struct rafti_parcel *next;
    enum rafti_parcel_kind kind;
    struct raft_message message;
    struct raft_config config; /* message.u.snapshot.config */
    uint64_t index;            /* STORE */
    uint64_t term;
    uint64_t offset;
    bool last;
    uint32_t len;
    uint8_t bytes[];
};

typedef RAFTI_LIST(struct rafti_parcel) rafti_parcels;

struct rafti_courier {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    bool stop;
    rafti_parcels queue;
    size_t n_sends;
};

/* ---- snapshotter ------------------------------------------------------------------------------
 */

/*
 *   IDLE ──▶ WANTED ──▶ WRITING (image) ──▶ WRITTEN (asks the raft thread for term and
 *     ▲                   │                 membership at its index) ──▶ META ──▶ COMMITTING ─┐
 *     └───────────────────┴──────────────────────────────────────────────────────────────────┘
 */
enum rafti_snapper_state {
    RAFTI_SNAPPER_IDLE,
    RAFTI_SNAPPER_WANTED,
    RAFTI_SNAPPER_WRITING,
    RAFTI_SNAPPER_WRITTEN,
    RAFTI_SNAPPER_META,
    RAFTI_SNAPPER_COMMITTING,
};

struct rafti_snapper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    enum rafti_snapper_state state;
    int meta_status; /* of the raft thread's answer */
    struct rafti_snap snap;
};

/* ---- outgoing frames, raft thread only ---------------------------------------------------------
 */

struct rafti_outbox {
    uint64_t peer;
    uint8_t *bytes;
    size_t len;
    size_t cap;
};

/* ---- the node -----------------------------------------------------------------------------------
 */

struct raft_node {
    /* fixed after open */
    struct raft_node_opts opts; /* strings and voters are void */
    struct raft_options core_opts;
    struct raft_uuid cluster;
    struct raft_uuid incarnation;
    struct raft_wal *wal;
    struct rafti_snapstore store;
    bool has_store;

    struct rafti_cache cache;
    struct rafti_inbox inbox;
    struct rafti_writer writer;
    struct rafti_applier applier;
    struct rafti_courier courier;
    struct rafti_snapper snapper;

    pthread_t threads[5];
    size_t n_threads;
    atomic_bool started;
    bool stopped; /* only the caller of start, stop and free */

    atomic_int fatal;
    atomic_int role;          /* enum raft_role */
    atomic_bool ready;        /* leader with an own entry committed */
    atomic_bool handing_over; /* a transfer is in progress: proposals wait for its end */
    atomic_uint_fast64_t leader;
    atomic_uint_fast64_t frames_dropped;

    /* raft thread only */
    struct raft *core;
    struct raft_event_start start; /* until the thread has used it */
    struct raft_config start_config;
    struct raft_entry *start_entries;
    uint64_t deadline_ns;
    uint64_t commit_index;
    bool recovering; /* the log was damaged and is not known to be whole again */
    enum raft_role last_role;
    uint64_t last_term;
    uint64_t last_leader;
    bool announce;           /* the host is still to be told of these three */
    struct raft_entry *room; /* RAFT_MAX_MESSAGE_ENTRIES, for decoding */
    struct rafti_outbox outboxes[RAFT_MAX_SERVERS];
    rafti_proposals unsent;       /* taken from the inbox, not yet by the core */
    rafti_reads unread;           /* the same; both wait for the end of a transfer */
    struct rafti_admin *transfer; /* the one in progress */
    rafti_admins snapshots;       /* waiting for a snapshot */
    rafti_admins changes;         /* in the core; their address is the context */
    rafti_read_batches reading;   /* the same */

    pthread_mutex_t status_lock; /* what the raft thread publishes after each turn */
    struct raft_status status;
    struct raft_config config;
    uint64_t status_ns;
};

/* node.c */
uint64_t rafti_now_ns(void);
__attribute__((format(printf, 3, 4))) void
rafti_log(struct raft_node *node, enum raft_node_log_level level, const char *fmt, ...);
/* Ends the node: nothing is acknowledged any more. Tells the host once. Any thread. */
__attribute__((format(printf, 3, 4))) void rafti_fatal(struct raft_node *node, int status,
                                                       const char *fmt, ...);
bool rafti_is_dead(struct raft_node *node);
int rafti_cond_init(pthread_cond_t *cond); /* on CLOCK_MONOTONIC */
int rafti_status_of_core(int err);         /* RAFT_ERR_ to RAFT_NODE_ */
int rafti_status_of_wal(int err);

/* recover.c */
int rafti_recover(struct raft_node *node, const struct raft_node_opts *opts);
void rafti_recover_release(struct raft_node *node); /* what START needed */

/* inbox.c */
void rafti_inbox_init(struct rafti_inbox *inbox);
void rafti_inbox_fini(struct rafti_inbox *inbox);
/* Never lost, except without memory: then the node ends. */
void rafti_note(struct raft_node *node, enum rafti_note_kind kind, uint64_t a, uint64_t b,
                bool flag);

/* client.c: the end of client operations; called without locks */
void rafti_proposal_end(struct raft_node *node, struct rafti_proposal *p, int status,
                        int64_t result);
void rafti_read_end(struct raft_node *node, struct rafti_read *read, int status);
void rafti_transfer_within(struct raft_node *node, uint64_t limit_ns, raft_node_done_cb cb,
                           void *arg);
void rafti_admin_end(struct raft_node *node, struct rafti_admin *admin, int status);
/* Waits until every proposal and read has been answered, or until @until_ns. */
void rafti_clients_drain(struct raft_node *node, uint64_t until_ns);

/* loop.c: the raft thread, and turns of others. With the inbox locked, whether the caller is to run
 * a turn; then without the lock, and without any other. */
void *rafti_loop_main(void *arg);
bool rafti_loop_claim(struct raft_node *node);
void rafti_loop_turn(struct raft_node *node);

/* events.c: one event each, on the raft thread */
void rafti_event_frame(struct raft_node *node, const uint8_t *bytes, size_t len, bool more);
void rafti_event_proposals(struct raft_node *node);
void rafti_event_reads(struct raft_node *node, rafti_reads *reads);
void rafti_event_admin(struct raft_node *node, struct rafti_admin *admin);
void rafti_event_note(struct raft_node *node, const struct rafti_note *note);
void rafti_event_check_transfer(struct raft_node *node, uint64_t now);

/* effects.c */
struct rafti_batch { /* payloads of the proposals of the running step */
    struct rafti_payload *const *payloads;
    size_t n;
};
/* Steps the core and carries the effects out. Returns what the core returned. */
int rafti_step(struct raft_node *node, const struct raft_event *event,
               const struct rafti_batch *batch, uint64_t *out_first);

/* outbox.c */
void rafti_outbox_add(struct raft_node *node, const struct raft_message *message);
void rafti_outbox_flush(struct raft_node *node);
void rafti_outbox_fini(struct raft_node *node);

/* status.c */
enum raft_node_role rafti_public_role(const struct raft_config *config, uint64_t id,
                                      enum raft_role role);
void rafti_publish(struct raft_node *node, uint64_t now);

/* writer.c */
void rafti_writer_push(struct raft_node *node, struct rafti_write *write);
void *rafti_writer_main(void *arg);
void rafti_write_free(struct rafti_write *write);

/* applier.c */
void rafti_applier_advance(struct raft_node *node, uint64_t target);
void rafti_applier_restore(struct raft_node *node, uint64_t index);
void rafti_applier_add_read(struct raft_node *node, struct rafti_read *read);
void rafti_applier_add_pending(struct raft_node *node, rafti_proposals *list);
/* Ends with UNKNOWN what was proposed behind @commit. */
void rafti_applier_lose(struct raft_node *node, uint64_t commit);
uint64_t rafti_applier_applied(struct raft_node *node);
void *rafti_applier_main(void *arg);
int rafti_restore(struct raft_node *node, uint64_t index, uint64_t *out_term);

/* courier.c */
void rafti_courier_append(struct raft_node *node, const struct raft_message *message);
void rafti_courier_snapshot(struct raft_node *node, const struct raft_message *message);
void rafti_courier_store(struct raft_node *node, const struct raft_snapshot_chunk *chunk);
void *rafti_courier_main(void *arg);
void rafti_courier_clear(struct raft_node *node);

/* snapper.c */
bool rafti_snapper_want(struct raft_node *node); /* false: one is being made already */
void rafti_snapper_meta(struct raft_node *node, int status, const struct rafti_snap *snap);
void *rafti_snapper_main(void *arg);

#endif
