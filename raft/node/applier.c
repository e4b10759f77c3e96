/*
 * The applier: brings committed entries to the state machine in order, then answers the clients who
 * proposed them and the reads that waited for them.
 */
#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One batch, and where its bytes live. */
struct apply_batch {
    struct rafti_entry cached[RAFTI_APPLY_BATCH];
    size_t n_cached;
    struct raft_wal_entry read[RAFTI_APPLY_BATCH];
    struct raft_node_entry entries[RAFTI_APPLY_BATCH]; /* commands only */
    int64_t results[RAFTI_APPLY_BATCH];
    size_t n; /* of entries */
    uint8_t *buf;
    size_t buf_len;
};

void rafti_applier_advance(struct raft_node *node, uint64_t target)
{
    struct rafti_applier *applier = &node->applier;

    pthread_mutex_lock(&applier->lock);
    if (target > applier->target) {
        applier->target = target;
        pthread_cond_signal(&applier->work);
    }
    pthread_mutex_unlock(&applier->lock);
}

void rafti_applier_restore(struct raft_node *node, uint64_t index)
{
    struct rafti_applier *applier = &node->applier;

    pthread_mutex_lock(&applier->lock);
    applier->restore = index;
    if (index > applier->target) {
        applier->target = index;
    }
    pthread_cond_signal(&applier->work);
    pthread_mutex_unlock(&applier->lock);
}

uint64_t rafti_applier_applied(struct raft_node *node)
{
    pthread_mutex_lock(&node->applier.lock);
    uint64_t applied = node->applier.applied;
    pthread_mutex_unlock(&node->applier.lock);
    return applied;
}

void rafti_applier_add_read(struct raft_node *node, struct rafti_read *read)
{
    struct rafti_applier *applier = &node->applier;

    pthread_mutex_lock(&applier->lock);
    bool now = applier->applied >= read->index;
    if (!now) {
        RAFTI_LIST_PUSH(&applier->reads, read);
    }
    pthread_mutex_unlock(&applier->lock);
    if (now) {
        rafti_read_end(node, read, RAFT_NODE_OK);
    }
}

void rafti_applier_add_pending(struct raft_node *node, rafti_proposals *list)
{
    struct rafti_applier *applier = &node->applier;

    if (list->head == NULL) {
        return;
    }
    pthread_mutex_lock(&applier->lock);
    *applier->pending.tail = list->head;
    applier->pending.tail = list->tail;
    pthread_mutex_unlock(&applier->lock);
}

void rafti_applier_lose(struct raft_node *node, uint64_t commit)
{
    struct rafti_applier *applier = &node->applier;

    pthread_mutex_lock(&applier->lock);
    struct rafti_proposal **at = &applier->pending.head;
    while (*at != NULL && (*at)->index <= commit) {
        at = &(*at)->next;
    }
    struct rafti_proposal *lost = *at;
    *at = NULL;
    applier->pending.tail = at;
    pthread_mutex_unlock(&applier->lock);

    while (lost != NULL) {
        struct rafti_proposal *next = lost->next;
        rafti_proposal_end(node, lost, RAFT_NODE_UNKNOWN, 0);
        lost = next;
    }
}

/* ---- getting entries ---------------------------------------------------------------------------
 */

static void add_command(struct apply_batch *batch, uint64_t index, uint64_t term, uint8_t type,
                        const void *data, size_t len)
{
    if (type == RAFT_ENTRY_COMMAND) {
        batch->entries[batch->n++] =
            (struct raft_node_entry){.index = index, .term = term, .data = data, .len = len};
    }
}

static int read_log(struct raft_node *node, struct apply_batch *batch, uint64_t index, size_t max,
                    size_t *out_n)
{
    for (;;) {
        int err =
            raft_wal_read(node->wal, index, batch->read, max, batch->buf, batch->buf_len, out_n);
        if (err != RAFT_WAL_OK || *out_n > 0) {
            return err;
        }
        size_t need = batch->read[0].len + RAFT_WAL_READ_OVERHEAD;
        uint8_t *buf = realloc(batch->buf, need);
        if (buf == NULL) {
            return RAFT_WAL_NO_MEMORY;
        }
        batch->buf = buf;
        batch->buf_len = need;
    }
}

/* Loads up to @max entries from @index on. *out_n counts those of any type. */
static int load(struct raft_node *node, struct apply_batch *batch, uint64_t index, size_t max,
                size_t *out_n)
{
    size_t n = rafti_cache_get(&node->cache, index, batch->cached, max, RAFTI_APPLY_BYTES);

    batch->n = 0;
    batch->n_cached = n;
    for (size_t i = 0; i < n; i++) {
        const struct rafti_entry *e = &batch->cached[i];
        add_command(batch, e->index, e->term, e->type, e->payload->bytes, e->payload->size);
    }
    if (n > 0) {
        *out_n = n;
        return RAFT_WAL_OK;
    }

    int err = read_log(node, batch, index, max, &n);
    if (err != RAFT_WAL_OK) {
        return err;
    }
    for (size_t i = 0; i < n; i++) {
        const struct raft_wal_entry *e = &batch->read[i];
        add_command(batch, e->index, e->term, e->type, e->data, e->len);
    }
    *out_n = n;
    return RAFT_WAL_OK;
}

/* ---- applying -----------------------------------------------------------------------------------
 */

/* Moves applied and takes what now can be answered. */
static void settle(struct raft_node *node, uint64_t applied, rafti_proposals *done,
                   rafti_reads *ready)
{
    struct rafti_applier *applier = &node->applier;
    struct rafti_read **at = &applier->reads.head;

    RAFTI_LIST_INIT(done);
    RAFTI_LIST_INIT(ready);
    pthread_mutex_lock(&applier->lock);
    applier->applied = applied;
    while (applier->pending.head != NULL && applier->pending.head->index <= applied) {
        struct rafti_proposal *p = applier->pending.head;
        RAFTI_LIST_POP(&applier->pending);
        RAFTI_LIST_PUSH(done, p);
    }
    while (*at != NULL) {
        struct rafti_read *read = *at;
        if (read->index > applied) {
            at = &read->next;
            continue;
        }
        *at = read->next;
        RAFTI_LIST_PUSH(ready, read);
    }
    applier->reads.tail = at;
    pthread_cond_broadcast(&applier->progress);
    pthread_mutex_unlock(&applier->lock);
}

static void answer(struct raft_node *node, const struct apply_batch *batch, uint64_t applied)
{
    rafti_proposals done;
    rafti_reads ready;
    size_t i = 0;

    settle(node, applied, &done, &ready);
    while (done.head != NULL) {
        struct rafti_proposal *p = done.head;

        RAFTI_LIST_POP(&done);
        while (i < batch->n && batch->entries[i].index < p->index) {
            i++;
        }
        bool own = i < batch->n && batch->entries[i].index == p->index &&
                   batch->entries[i].term == p->term;
        rafti_proposal_end(node, p, own ? RAFT_NODE_OK : RAFT_NODE_UNKNOWN,
                           own ? batch->results[i] : 0);
    }
    while (ready.head != NULL) {
        struct rafti_read *read = ready.head;

        RAFTI_LIST_POP(&ready);
        rafti_read_end(node, read, RAFT_NODE_OK);
    }
}

static bool apply_some(struct raft_node *node, struct apply_batch *batch, uint64_t applied,
                       uint64_t target)
{
    size_t n =
        target - applied < RAFTI_APPLY_BATCH ? (size_t)(target - applied) : RAFTI_APPLY_BATCH;
    int err = load(node, batch, applied + 1, n, &n);

    if (err != RAFT_WAL_OK) {
        rafti_fatal(node, rafti_status_of_wal(err), "committed entry %llu cannot be read: %s",
                    (unsigned long long)(applied + 1), raft_wal_strerror(err));
        return false;
    }
    if (batch->n > 0) {
        memset(batch->results, 0, batch->n * sizeof batch->results[0]);
        err = node->opts.fsm.apply(node->opts.fsm.arg, batch->entries, batch->n, batch->results);
    }
    if (err != 0) {
        rafti_fatal(node, RAFT_NODE_FSM, "state machine refused entries %llu..%llu: %d",
                    (unsigned long long)batch->entries[0].index,
                    (unsigned long long)batch->entries[batch->n - 1].index, err);
    } else {
        answer(node, batch, applied + n);
    }
    rafti_entries_unref(batch->cached, batch->n_cached);
    batch->n_cached = 0;
    return err == 0;
}

int rafti_restore(struct raft_node *node, uint64_t index, uint64_t *out_term)
{
    struct rafti_snap snap;

    int fd = rafti_snapstore_open_image(&node->store, index);
    if (fd < 0) {
        return fd;
    }
    (void)rafti_snapstore_newest(&node->store, &snap);
    int err = node->opts.fsm.snapshot_restore(node->opts.fsm.arg, fd, index, snap.term);
    close(fd);
    *out_term = snap.term;
    return err == 0 ? RAFT_NODE_OK : RAFT_NODE_FSM;
}

static bool restore(struct raft_node *node, struct apply_batch *batch, uint64_t index)
{
    uint64_t term;

    int err = rafti_restore(node, index, &term);
    if (err != RAFT_NODE_OK) {
        rafti_fatal(node, err, "snapshot %llu cannot be restored: %s", (unsigned long long)index,
                    raft_node_strerror(err));
        return false;
    }
    rafti_log(node, RAFT_NODE_LOG_INFO, "raft snapshot restored id=%llu index=%llu term=%llu",
              (unsigned long long)node->opts.id, (unsigned long long)index,
              (unsigned long long)term);
    batch->n = 0;
    answer(node, batch, index);
    return true;
}

/* Waits for work. False when the node stops. */
static bool next(struct raft_node *node, uint64_t *applied, uint64_t *target, uint64_t *restore_at)
{
    struct rafti_applier *applier = &node->applier;

    pthread_mutex_lock(&applier->lock);
    while (!applier->stop && applier->target <= applier->applied && applier->restore == 0) {
        pthread_cond_wait(&applier->work, &applier->lock);
    }
    bool go = !applier->stop;
    *applied = applier->applied;
    *target = applier->target;
    *restore_at = applier->restore > applier->applied ? applier->restore : 0;
    applier->restore = 0;
    pthread_mutex_unlock(&applier->lock);
    return go;
}

void *rafti_applier_main(void *arg)
{
    struct raft_node *node = arg;
    struct apply_batch *batch = calloc(1, sizeof *batch);
    uint64_t applied;
    uint64_t target;
    uint64_t restore_at;

    if (batch == NULL) {
        rafti_fatal(node, RAFT_NODE_NO_MEMORY, "no memory for the applier");
        return NULL;
    }
    batch->buf_len = (size_t)1 << 20;
    batch->buf = malloc(batch->buf_len);
    bool ok = batch->buf != NULL;
    while (ok && next(node, &applied, &target, &restore_at)) {
        if (restore_at != 0) {
            ok = restore(node, batch, restore_at);
        } else if (target > applied) {
            ok = apply_some(node, batch, applied, target);
        }
    }
    free(batch->buf);
    free(batch);
    return NULL;
}
