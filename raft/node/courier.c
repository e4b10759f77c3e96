/* The courier: what has to be read from or written to disk for a peer, off the raft thread. */
#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

static void push(struct raft_node *node, struct rafti_parcel *parcel)
{
    struct rafti_courier *courier = &node->courier;
    bool is_send = parcel->kind != RAFTI_PARCEL_STORE;

    pthread_mutex_lock(&courier->lock);
    bool room = !is_send || courier->n_sends < RAFTI_COURIER_MAX;
    if (room) {
        courier->n_sends += is_send;
        RAFTI_LIST_PUSH(&courier->queue, parcel);
        pthread_cond_signal(&courier->filled);
    }
    pthread_mutex_unlock(&courier->lock);
    if (!room) {
        free(parcel);
    }
}

void rafti_courier_append(struct raft_node *node, const struct raft_message *message)
{
    struct rafti_parcel *parcel = calloc(1, sizeof *parcel);

    if (parcel != NULL) { /* else: like a lost message */
        parcel->kind = RAFTI_PARCEL_APPEND;
        parcel->message = *message;
        push(node, parcel);
    }
}

void rafti_courier_snapshot(struct raft_node *node, const struct raft_message *message)
{
    struct rafti_parcel *parcel = calloc(1, sizeof *parcel);

    if (parcel != NULL) {
        parcel->kind = RAFTI_PARCEL_SNAPSHOT;
        parcel->message = *message;
        parcel->config = *message->u.snapshot.config;
        push(node, parcel);
    }
}

void rafti_courier_store(struct raft_node *node, const struct raft_snapshot_chunk *chunk)
{
    struct rafti_parcel *parcel = malloc(sizeof *parcel + chunk->len);

    if (parcel == NULL) {
        rafti_note(node, RAFTI_NOTE_STORED, chunk->meta.index, chunk->offset, true);
        return;
    }
    memset(parcel, 0, sizeof *parcel);
    parcel->kind = RAFTI_PARCEL_STORE;
    parcel->index = chunk->meta.index;
    parcel->term = chunk->meta.term;
    parcel->offset = chunk->offset;
    parcel->last = chunk->last;
    parcel->len = chunk->len;
    if (chunk->len > 0) {
        memcpy(parcel->bytes, chunk->data, chunk->len);
    }
    push(node, parcel);
}

static void send_message(struct raft_node *node, const struct raft_message *message)
{
    size_t len = raft_message_size(message);
    uint8_t *bytes = malloc(len);

    if (bytes == NULL) {
        return;
    }
    int64_t n = raft_message_encode(message, bytes, len);
    if (n > 0) {
        struct iovec iov = {.iov_base = bytes, .iov_len = (size_t)n};
        (void)node->opts.transport.send(node->opts.transport.arg, message->to, &iov, 1);
    }
    free(bytes);
}

/* Bytes that the @n durable entries from @first on take with their overhead; 0 if one is missing.
 */
static size_t log_bytes(struct raft_node *node, uint64_t first, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        struct raft_wal_entry entry;
        if (raft_wal_peek(node->wal, first + i, &entry) != RAFT_WAL_OK) {
            return 0;
        }
        bytes += entry.len + RAFT_WAL_READ_OVERHEAD;
    }
    return bytes;
}

/* Where the entries of one message come from. */
struct append_load {
    struct raft_entry *entries;
    struct raft_wal_entry *read;
    struct rafti_entry *cached;
    size_t n_cached;
    uint8_t *buf;
};

/* The first @n entries, out of the log. */
static bool load_log(struct raft_node *node, struct append_load *load, uint64_t first, size_t n)
{
    size_t bytes = log_bytes(node, first, n);
    size_t got = 0;

    load->buf = bytes == 0 ? NULL : malloc(bytes);
    if (load->buf == NULL ||
        raft_wal_read(node->wal, first, load->read, n, load->buf, bytes, &got) != RAFT_WAL_OK ||
        got != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        load->entries[i] = (struct raft_entry){.term = load->read[i].term,
                                               .data = load->read[i].data,
                                               .size = (uint32_t)load->read[i].len,
                                               .type = load->read[i].type};
    }
    return true;
}

/*
 * Entries that the cache has lost lie in the log; what is not durable yet is always cached. A
 * message can need both: the head from the log, the tail from the cache.
 */
static bool load_entries(struct raft_node *node, struct append_load *load, uint64_t first, size_t n)
{
    uint64_t cached_from = rafti_cache_first(&node->cache);
    size_t head = cached_from <= first ? 0 : (size_t)(cached_from - first);

    if (head > n) {
        head = n;
    }
    load->n_cached = rafti_cache_get(&node->cache, first + head, load->cached, n - head, SIZE_MAX);
    if (load->n_cached != n - head || (head > 0 && !load_log(node, load, first, head))) {
        return false;
    }
    for (size_t i = head; i < n; i++) {
        const struct rafti_entry *entry = &load->cached[i - head];

        load->entries[i] = (struct raft_entry){.term = entry->term,
                                               .data = entry->payload->bytes,
                                               .size = entry->payload->size,
                                               .type = entry->type};
    }
    return true;
}

static void deliver_append(struct raft_node *node, struct rafti_parcel *parcel)
{
    struct raft_msg_append *append = &parcel->message.u.append;
    size_t n = append->n_entries;
    struct append_load load = {
        .entries = calloc(n, sizeof *load.entries),
        .read = calloc(n, sizeof *load.read),
        .cached = calloc(n, sizeof *load.cached),
    };

    if (load.entries != NULL && load.read != NULL && load.cached != NULL &&
        load_entries(node, &load, append->prev_index + 1, n)) {
        append->entries = load.entries;
        send_message(node, &parcel->message);
    }
    if (load.cached != NULL) {
        rafti_entries_unref(load.cached, load.n_cached);
    }
    free(load.cached);
    free(load.read);
    free(load.entries);
    free(load.buf);
}

static void deliver_snapshot(struct raft_node *node, struct rafti_parcel *parcel)
{
    struct raft_msg_snapshot *chunk = &parcel->message.u.snapshot;
    uint8_t *buf = malloc(chunk->len + 1);

    if (buf == NULL) {
        return;
    }
    int err = rafti_snapstore_read(&node->store, chunk->index, chunk->offset, buf, chunk->len);
    if (err == RAFT_NODE_OK) {
        chunk->config = &parcel->config;
        chunk->data = buf;
        send_message(node, &parcel->message);
    } else {
        rafti_log(node, RAFT_NODE_LOG_WARN, "raft snapshot chunk not sent index=%llu why=\"%s\"",
                  (unsigned long long)chunk->index, raft_node_strerror(err));
        rafti_note(node, RAFTI_NOTE_GONE, chunk->index, 0, false);
    }
    if (err == RAFT_NODE_CORRUPT || err == RAFT_NODE_IO) {
        (void)rafti_snapper_want(node); /* the state machine can still write a good one */
    }
    free(buf);
}

static void store(struct raft_node *node, const struct rafti_parcel *parcel)
{
    int err = rafti_snapstore_receive(&node->store, parcel->offset, parcel->bytes, parcel->len,
                                      parcel->last, parcel->index, parcel->term);

    if (err != RAFT_NODE_OK) {
        rafti_log(node, RAFT_NODE_LOG_WARN, "raft snapshot chunk not stored index=%llu why=\"%s\"",
                  (unsigned long long)parcel->index, raft_node_strerror(err));
    }
    rafti_note(node, RAFTI_NOTE_STORED, parcel->index, parcel->offset + parcel->len,
               err != RAFT_NODE_OK);
}

void *rafti_courier_main(void *arg)
{
    struct raft_node *node = arg;
    struct rafti_courier *courier = &node->courier;

    for (;;) {
        pthread_mutex_lock(&courier->lock);
        while (!courier->stop && courier->queue.head == NULL) {
            pthread_cond_wait(&courier->filled, &courier->lock);
        }
        if (courier->stop) {
            pthread_mutex_unlock(&courier->lock);
            return NULL;
        }
        struct rafti_parcel *parcel = courier->queue.head;
        RAFTI_LIST_POP(&courier->queue);
        courier->n_sends -= parcel->kind != RAFTI_PARCEL_STORE;
        pthread_mutex_unlock(&courier->lock);

        switch (parcel->kind) {
        case RAFTI_PARCEL_APPEND: deliver_append(node, parcel); break;
        case RAFTI_PARCEL_SNAPSHOT: deliver_snapshot(node, parcel); break;
        case RAFTI_PARCEL_STORE: store(node, parcel); break;
        }
        free(parcel);
    }
}

void rafti_courier_clear(struct raft_node *node)
{
    while (node->courier.queue.head != NULL) {
        struct rafti_parcel *parcel = node->courier.queue.head;

        RAFTI_LIST_POP(&node->courier.queue);
        free(parcel);
    }
}
