/*
 * The log writer: everything that was queued while the last flush ran goes into the next one, so
 * batches grow with the load by themselves (group commit, thesis 10.2).
 */
#include "node/node_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define FULL_RETRY_NS 200000000u

void rafti_write_free(struct rafti_write *write)
{
    if (write != NULL) {
        rafti_entries_unref(write->entries, write->n_entries);
        free(write);
    }
}

void rafti_writer_push(struct raft_node *node, struct rafti_write *write)
{
    pthread_mutex_lock(&node->writer.lock);
    RAFTI_LIST_PUSH(&node->writer.queue, write);
    pthread_mutex_unlock(&node->writer.lock);
    pthread_cond_signal(&node->writer.filled);
}

/* Waits a little for space. False when the node stops. */
static bool wait_for_space(struct raft_node *node)
{
    uint64_t at = rafti_now_ns() + FULL_RETRY_NS;
    struct timespec until = {.tv_sec = (time_t)(at / 1000000000u),
                             .tv_nsec = (long)(at % 1000000000u)};

    pthread_mutex_lock(&node->writer.lock);
    while (!node->writer.stop &&
           pthread_cond_timedwait(&node->writer.filled, &node->writer.lock, &until) != ETIMEDOUT) {
    }
    bool stop = node->writer.stop;
    pthread_mutex_unlock(&node->writer.lock);
    return !stop;
}

/* A full disk is not fatal: nothing was written, nothing is acknowledged until there is space. */
static int flush(struct raft_node *node)
{
    int err = raft_wal_flush(node->wal);

    while (err == RAFT_WAL_FULL) {
        if (!wait_for_space(node)) {
            return RAFT_WAL_FULL;
        }
        err = raft_wal_flush(node->wal);
    }
    return err;
}

static int add(struct raft_node *node, const struct rafti_write *write)
{
    struct raft_wal *wal = node->wal;
    int err = RAFT_WAL_OK;

    if (write->hard_state) {
        err = raft_wal_add_hard_state(wal, write->term, write->vote);
    }
    if (err == RAFT_WAL_OK && write->reset) {
        err = raft_wal_add_reset(wal, write->reset_index, write->reset_term);
        if (err == RAFT_WAL_BATCH_FULL) {
            err = flush(node);
            err = err != RAFT_WAL_OK
                      ? err
                      : raft_wal_add_reset(wal, write->reset_index, write->reset_term);
        }
    }
    for (size_t i = 0; i < write->n_entries && err == RAFT_WAL_OK; i++) {
        const struct rafti_entry *from = &write->entries[i];
        struct raft_wal_entry entry = {
            .index = from->index,
            .term = from->term,
            .type = from->type,
            .data = from->payload->bytes,
            .len = from->payload->size,
        };

        err = raft_wal_add_entry(wal, &entry);
        if (err == RAFT_WAL_BATCH_FULL) {
            err = flush(node);
            err = err != RAFT_WAL_OK ? err : raft_wal_add_entry(wal, &entry);
        }
    }
    return err;
}

/* Writes all of @list. */
static int write_all(struct raft_node *node, const rafti_writes *list)
{
    uint64_t seq = 0;
    uint64_t release = 0;
    bool recovered = false;
    int err = RAFT_WAL_OK;

    for (const struct rafti_write *w = list->head; w != NULL && err == RAFT_WAL_OK; w = w->next) {
        err = add(node, w);
        seq = w->seq > seq ? w->seq : seq;
        release = w->release > release ? w->release : release;
        recovered = recovered || w->recovered;
    }
    if (err == RAFT_WAL_OK) {
        err = flush(node);
    }
    if (err == RAFT_WAL_OK && seq != 0) {
        rafti_note(node, RAFTI_NOTE_PERSISTED, seq, 0, false);
    }
    if (err == RAFT_WAL_OK && release != 0) {
        err = raft_wal_release(node->wal, release);
    }
    if (err == RAFT_WAL_OK && recovered) {
        err = raft_wal_recovered(node->wal);
    }
    return err;
}

static bool is_idle(struct raft_node *node)
{
    pthread_mutex_lock(&node->writer.lock);
    bool idle = node->writer.queue.head == NULL;
    pthread_mutex_unlock(&node->writer.lock);
    return idle;
}

void *rafti_writer_main(void *arg)
{
    struct raft_node *node = arg;
    struct rafti_writer *writer = &node->writer;

    for (;;) {
        rafti_writes list;

        pthread_mutex_lock(&writer->lock);
        while (!writer->stop && writer->queue.head == NULL) {
            pthread_cond_wait(&writer->filled, &writer->lock);
        }
        if (writer->stop) {
            pthread_mutex_unlock(&writer->lock);
            return NULL;
        }
        list.head = writer->queue.head;
        RAFTI_LIST_INIT(&writer->queue);
        pthread_mutex_unlock(&writer->lock);

        int err = rafti_is_dead(node) ? RAFT_WAL_OK : write_all(node, &list);
        if (err == RAFT_WAL_OK && is_idle(node)) {
            err = raft_wal_idle(node->wal);
        }
        while (list.head != NULL) {
            struct rafti_write *write = list.head;
            list.head = write->next;
            rafti_write_free(write);
        }
        if (err != RAFT_WAL_OK && err != RAFT_WAL_FULL) {
            rafti_fatal(node, rafti_status_of_wal(err), "log: %s", raft_wal_strerror(err));
        }
    }
}
