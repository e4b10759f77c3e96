/* Life of a node: open, start, stop, free; and what all files of it use. */
#include "node/node_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define LOG_LINE_MAX 512
#define MS           1000000ull

const char *raft_node_strerror(int status)
{
    switch (status) {
#define RAFT_NODE_STATUS_TEXT(name, value, text)                                                   \
    case value: return text;
        RAFT_NODE_STATUS_TABLE(RAFT_NODE_STATUS_TEXT)
#undef RAFT_NODE_STATUS_TEXT
    default: return "unknown status";
    }
}

int rafti_status_of_core(int err)
{
    switch (err) {
    case RAFT_OK: return RAFT_NODE_OK;
    case RAFT_ERR_NOMEM: return RAFT_NODE_NO_MEMORY;
    case RAFT_ERR_NOT_LEADER:
    case RAFT_ERR_NO_LEADER: return RAFT_NODE_NOT_LEADER;
    case RAFT_ERR_BUSY: return RAFT_NODE_BUSY;
    case RAFT_ERR_TRANSFER:
    case RAFT_ERR_CONFIG_PENDING: return RAFT_NODE_PENDING;
    case RAFT_ERR_NOT_READY:
    case RAFT_ERR_CATCH_UP: return RAFT_NODE_NOT_READY;
    case RAFT_ERR_UNKNOWN_SERVER: return RAFT_NODE_NOT_FOUND;
    case RAFT_ERR_LOST: return RAFT_NODE_UNKNOWN;
    case RAFT_ERR_TIMEOUT: return RAFT_NODE_TIMEOUT;
    case RAFT_ERR_TOO_BIG: return RAFT_NODE_TOO_BIG;
    case RAFT_ERR_IO: return RAFT_NODE_IO;
    case RAFT_ERR_CORRUPT: return RAFT_NODE_CORRUPT;
    default: return RAFT_NODE_INVALID;
    }
}

int rafti_status_of_wal(int err)
{
    switch (err) {
    case RAFT_WAL_OK: return RAFT_NODE_OK;
    case RAFT_WAL_FULL: return RAFT_NODE_FULL;
    case RAFT_WAL_CORRUPT:
    case RAFT_WAL_RANGE: return RAFT_NODE_CORRUPT;
    case RAFT_WAL_LOCKED: return RAFT_NODE_LOCKED;
    case RAFT_WAL_MISMATCH: return RAFT_NODE_MISMATCH;
    case RAFT_WAL_NO_MEMORY: return RAFT_NODE_NO_MEMORY;
    case RAFT_WAL_INVALID: return RAFT_NODE_INVALID;
    default: return RAFT_NODE_IO;
    }
}

uint64_t rafti_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int rafti_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int err = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return err;
}

void rafti_log(struct raft_node *node, enum raft_node_log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    va_list ap;

    if (node->opts.log == NULL) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    node->opts.log(node->opts.log_arg, level, line);
}

bool rafti_is_dead(struct raft_node *node)
{
    return atomic_load(&node->fatal) != 0;
}

void rafti_fatal(struct raft_node *node, int status, const char *fmt, ...)
{
    char why[LOG_LINE_MAX];
    int none = 0;
    va_list ap;

    if (!atomic_compare_exchange_strong(&node->fatal, &none, status)) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (node->opts.on_fatal == NULL) {
        abort();
    }
    node->opts.on_fatal(node->opts.on_fatal_arg, status, why);
}

/* ---- open ---------------------------------------------------------------------------------------
 */

#define DEFAULT(field, value) ((field) = (field) != 0 ? (field) : (value))

static void set_defaults(struct raft_node_opts *o)
{
    DEFAULT(o->heartbeat_ms, 30);
    DEFAULT(o->election_ms, 150);
    DEFAULT(o->max_entry_bytes, (size_t)1 << 20);
    DEFAULT(o->max_pending_proposals, 4096);
    DEFAULT(o->max_pending_bytes, (size_t)64 << 20);
    DEFAULT(o->max_pending_reads, 16384);
    DEFAULT(o->max_inbox_bytes, (size_t)64 << 20);
    DEFAULT(o->cache_bytes, (size_t)32 << 20);
    DEFAULT(o->segment_bytes, (size_t)16 << 20);
    DEFAULT(o->snapshot_entries, 100000);
    DEFAULT(o->trailing_entries, 10000);
    DEFAULT(o->snapshot_chunk_bytes, (size_t)256 << 10);
}

static int check_opts(const struct raft_node_opts *o)
{
    bool ok =
        o->dir != NULL && o->id != 0 && o->cluster_id != 0 && o->fsm.apply != NULL &&
        o->fsm.applied_index != NULL && o->fsm.snapshot_write != NULL &&
        o->fsm.snapshot_restore != NULL && o->transport.send != NULL &&
        o->n_voters <= RAFT_NODE_MAX_PEERS && (o->voters != NULL || o->n_voters == 0) &&
        o->max_entry_bytes <= RAFT_MAX_ENTRY_BYTES && o->max_entry_bytes <= o->segment_bytes / 2 &&
        o->snapshot_chunk_bytes <= RAFT_MAX_MESSAGE_BYTES / 4 && o->election_ms > o->heartbeat_ms;

    return ok ? RAFT_NODE_OK : RAFT_NODE_INVALID;
}

static uint64_t make_seed(const struct raft_node_opts *o)
{
    uint64_t seed = o->seed;

    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = rafti_now_ns();
    }
    return seed ^ (o->id * 0x9e3779b97f4a7c15ull);
}

static void set_core_opts(struct raft_node *node)
{
    const struct raft_node_opts *o = &node->opts;
    struct raft_options *core = &node->core_opts;

    raft_options_init(core);
    core->id = o->id;
    core->cluster = node->cluster;
    core->incarnation = node->incarnation;
    core->seed = make_seed(o);
    core->heartbeat_ns = o->heartbeat_ms * MS;
    core->election_ns = o->election_ms * MS;
    core->max_uncommitted_bytes = o->max_pending_bytes;
    core->trailing_entries = o->trailing_entries;
    core->snapshot_threshold = o->snapshot_entries;
    core->snapshot_chunk_bytes = (uint32_t)o->snapshot_chunk_bytes;
}

size_t raft_node_max_frame(const struct raft_node *node)
{
    size_t payload = (size_t)1 << 20; /* raft_options.max_append_bytes */

    if (node->opts.max_entry_bytes > payload) {
        payload = node->opts.max_entry_bytes;
    }
    if (node->opts.snapshot_chunk_bytes > payload) {
        payload = node->opts.snapshot_chunk_bytes;
    }
    /* Headers of 1024 entries, a configuration, and the message's own. */
    return payload + 64 * 1024u;
}

static void init_parts(struct raft_node *node)
{
    pthread_mutex_init(&node->status_lock, NULL);
    rafti_cache_init(&node->cache, node->opts.cache_bytes);
    rafti_inbox_init(&node->inbox);
    pthread_mutex_init(&node->writer.lock, NULL);
    rafti_cond_init(&node->writer.filled);
    RAFTI_LIST_INIT(&node->writer.queue);
    pthread_mutex_init(&node->applier.lock, NULL);
    rafti_cond_init(&node->applier.work);
    rafti_cond_init(&node->applier.progress);
    RAFTI_LIST_INIT(&node->applier.pending);
    RAFTI_LIST_INIT(&node->applier.reads);
    pthread_mutex_init(&node->courier.lock, NULL);
    rafti_cond_init(&node->courier.filled);
    RAFTI_LIST_INIT(&node->courier.queue);
    pthread_mutex_init(&node->snapper.lock, NULL);
    rafti_cond_init(&node->snapper.changed);
    RAFTI_LIST_INIT(&node->unsent);
    RAFTI_LIST_INIT(&node->unread);
    RAFTI_LIST_INIT(&node->snapshots);
    RAFTI_LIST_INIT(&node->changes);
    RAFTI_LIST_INIT(&node->reading);
}

int raft_node_open(const struct raft_node_opts *opts, struct raft_node **out)
{
    struct raft_node *node = calloc(1, sizeof *node);

    if (node == NULL) {
        return RAFT_NODE_NO_MEMORY;
    }
    node->opts = *opts;
    set_defaults(&node->opts);
    init_parts(node);
    memcpy(node->cluster.bytes, &opts->cluster_id, sizeof opts->cluster_id);

    int err = check_opts(&node->opts);
    if (err == RAFT_NODE_OK) {
        err = rafti_recover(node, opts);
    }
    if (err == RAFT_NODE_OK) {
        set_core_opts(node);
        node->core = raft_new(&node->core_opts);
        node->room = calloc(RAFT_MAX_MESSAGE_ENTRIES, sizeof *node->room);
        err = node->core == NULL || node->room == NULL ? RAFT_NODE_NO_MEMORY : RAFT_NODE_OK;
    }
    if (err != RAFT_NODE_OK) {
        raft_node_free(node);
        return err;
    }
    node->opts.dir = NULL; /* the caller's */
    node->opts.voters = NULL;
    node->config = node->start_config;
    *out = node;
    return RAFT_NODE_OK;
}

/* ---- start and stop
 * ------------------------------------------------------------------------------ */

int raft_node_start(struct raft_node *node)
{
    /* The raft thread last: it needs the others. */
    static void *(*const mains[])(void *) = {rafti_writer_main, rafti_applier_main,
                                             rafti_courier_main, rafti_snapper_main,
                                             rafti_loop_main};

    if (atomic_load(&node->started) || node->stopped) {
        return RAFT_NODE_INVALID;
    }
    atomic_store(&node->started, true);
    for (size_t i = 0; i < sizeof mains / sizeof mains[0]; i++) {
        if (pthread_create(&node->threads[i], NULL, mains[i], node) != 0) {
            raft_node_stop(node, 0);
            return RAFT_NODE_NO_MEMORY;
        }
        node->n_threads++;
    }
    return RAFT_NODE_OK;
}

struct handover {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool ended;
    int status;
};

static void on_handed_over(void *arg, int status)
{
    struct handover *handover = arg;

    pthread_mutex_lock(&handover->lock);
    handover->ended = true;
    handover->status = status;
    pthread_cond_signal(&handover->done);
    pthread_mutex_unlock(&handover->lock);
}

/* One transfer. It ends by itself after @limit_ns, so waiting for its callback is bounded. */
static int transfer_once(struct raft_node *node, uint64_t limit_ns)
{
    struct handover handover = {.ended = false};

    pthread_mutex_init(&handover.lock, NULL);
    rafti_cond_init(&handover.done);
    rafti_transfer_within(node, limit_ns, on_handed_over, &handover);
    pthread_mutex_lock(&handover.lock);
    while (!handover.ended) {
        pthread_cond_wait(&handover.done, &handover.lock);
    }
    pthread_mutex_unlock(&handover.lock);
    pthread_cond_destroy(&handover.done);
    pthread_mutex_destroy(&handover.lock);
    return handover.status;
}

int raft_node_hand_over(struct raft_node *node, uint32_t timeout_ms)
{
    uint64_t until = rafti_now_ns() + timeout_ms * MS;
    int status = RAFT_NODE_TIMEOUT;

    if (!atomic_load(&node->started) || node->stopped) {
        return RAFT_NODE_STOPPED;
    }
    /* The core gives one attempt an election timeout; on a slow disk that may not be enough. */
    while (status == RAFT_NODE_TIMEOUT) {
        uint64_t now = rafti_now_ns();

        if (rafti_is_dead(node) || atomic_load(&node->role) != RAFT_LEADER) {
            return RAFT_NODE_OK;
        }
        if (now >= until) {
            return RAFT_NODE_TIMEOUT;
        }
        status = transfer_once(node, until - now);
    }
    return status == RAFT_NODE_NOT_LEADER ? RAFT_NODE_OK : status;
}

static void signal_stop(pthread_mutex_t *lock, pthread_cond_t *cond, bool *stop)
{
    pthread_mutex_lock(lock);
    *stop = true;
    pthread_cond_broadcast(cond);
    pthread_mutex_unlock(lock);
}

/* Clients' operations that were taken but can't be answered any more. */
static void end_pending(struct raft_node *node)
{
    struct rafti_inbox *inbox = &node->inbox;

    while (node->applier.reads.head != NULL) {
        struct rafti_read *read = node->applier.reads.head;
        RAFTI_LIST_POP(&node->applier.reads);
        rafti_read_end(node, read, RAFT_NODE_STOPPED);
    }
    rafti_applier_lose(node, 0);
    while (inbox->proposals.head != NULL) {
        struct rafti_proposal *p = inbox->proposals.head;
        RAFTI_LIST_POP(&inbox->proposals);
        rafti_proposal_end(node, p, RAFT_NODE_STOPPED, 0);
    }
    while (inbox->reads.head != NULL) {
        struct rafti_read *read = inbox->reads.head;
        RAFTI_LIST_POP(&inbox->reads);
        rafti_read_end(node, read, RAFT_NODE_STOPPED);
    }
    while (inbox->admins.head != NULL) {
        struct rafti_admin *admin = inbox->admins.head;
        RAFTI_LIST_POP(&inbox->admins);
        rafti_admin_end(node, admin, RAFT_NODE_STOPPED);
    }
}

void raft_node_stop(struct raft_node *node, uint32_t timeout_ms)
{
    if (node->stopped) {
        return;
    }
    if (timeout_ms > 0 && atomic_load(&node->started)) {
        uint64_t until = rafti_now_ns() + timeout_ms * MS;

        (void)raft_node_hand_over(node, timeout_ms);
        uint64_t soon = rafti_now_ns() + node->core_opts.election_ns;
        rafti_clients_drain(node, soon < until ? soon : until);
    }
    node->stopped = true;
    signal_stop(&node->inbox.lock, &node->inbox.filled, &node->inbox.stop);
    signal_stop(&node->writer.lock, &node->writer.filled, &node->writer.stop);
    signal_stop(&node->applier.lock, &node->applier.work, &node->applier.stop);
    signal_stop(&node->courier.lock, &node->courier.filled, &node->courier.stop);
    signal_stop(&node->snapper.lock, &node->snapper.changed, &node->snapper.stop);
    for (size_t i = 0; i < node->n_threads; i++) {
        pthread_join(node->threads[i], NULL);
    }
    node->n_threads = 0;
    end_pending(node);
    atomic_store(&node->role, RAFT_STOPPED);
    atomic_store(&node->ready, false);
}

static void fini_parts(struct raft_node *node)
{
    while (node->writer.queue.head != NULL) {
        struct rafti_write *write = node->writer.queue.head;
        RAFTI_LIST_POP(&node->writer.queue);
        rafti_write_free(write);
    }
    rafti_courier_clear(node);
    rafti_outbox_fini(node);
    rafti_inbox_fini(&node->inbox);
    rafti_cache_fini(&node->cache);
    pthread_cond_destroy(&node->writer.filled);
    pthread_mutex_destroy(&node->writer.lock);
    pthread_cond_destroy(&node->applier.work);
    pthread_cond_destroy(&node->applier.progress);
    pthread_mutex_destroy(&node->applier.lock);
    pthread_cond_destroy(&node->courier.filled);
    pthread_mutex_destroy(&node->courier.lock);
    pthread_cond_destroy(&node->snapper.changed);
    pthread_mutex_destroy(&node->snapper.lock);
    pthread_mutex_destroy(&node->status_lock);
}

void raft_node_free(struct raft_node *node)
{
    if (node == NULL) {
        return;
    }
    raft_node_stop(node, 0);
    rafti_recover_release(node);
    raft_free(node->core);
    if (node->has_store) {
        rafti_snapstore_fini(&node->store);
    }
    raft_wal_close(node->wal);
    fini_parts(node);
    free(node->room);
    free(node);
}
