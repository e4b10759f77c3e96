/*
 * Messages of one turn to one peer leave as one frame. Appends whose entries are still in the cache
 * are encoded here; older ones and snapshot chunks go to the courier, because reading a disk must
 * not keep the raft thread from its heartbeats.
 */
#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

static void flush_one(struct raft_node *node, struct rafti_outbox *box)
{
    struct iovec iov = {.iov_base = box->bytes, .iov_len = box->len};

    if (box->len > 0) {
        /* Dropped frames need no care: the core repeats what matters. */
        (void)node->opts.transport.send(node->opts.transport.arg, box->peer, &iov, 1);
        box->len = 0;
    }
}

static struct rafti_outbox *box_of(struct raft_node *node, uint64_t peer)
{
    struct rafti_outbox *empty = NULL;

    for (size_t i = 0; i < RAFT_MAX_SERVERS; i++) {
        if (node->outboxes[i].peer == peer) {
            return &node->outboxes[i];
        }
        if (node->outboxes[i].len == 0 && empty == NULL) {
            empty = &node->outboxes[i];
        }
    }
    if (empty == NULL) { /* more peers than a configuration has, within one turn */
        empty = &node->outboxes[0];
        flush_one(node, empty);
    }
    empty->peer = peer;
    return empty;
}

static bool reserve(struct rafti_outbox *box, size_t len)
{
    if (box->cap - box->len >= len) {
        return true;
    }
    size_t cap = box->cap < 4096 ? 4096 : box->cap;
    while (cap - box->len < len) {
        cap *= 2;
    }
    uint8_t *bytes = realloc(box->bytes, cap);
    if (bytes == NULL) {
        return false;
    }
    box->bytes = bytes;
    box->cap = cap;
    return true;
}

static void encode(struct raft_node *node, const struct raft_message *message)
{
    struct rafti_outbox *box = box_of(node, message->to);
    size_t len = raft_message_size(message);

    if (box->len + len > raft_node_max_frame(node)) {
        flush_one(node, box);
    }
    if (!reserve(box, len)) {
        return; /* like a lost message */
    }
    int64_t n = raft_message_encode(message, box->bytes + box->len, box->cap - box->len);
    if (n > 0) {
        box->len += (size_t)n;
    } else if (n != RAFT_ERR_STALE) {
        rafti_log(node, RAFT_NODE_LOG_ERROR, "raft message not encoded type=%s error=\"%s\"",
                  raft_message_type_name(message->type), raft_strerror((int)n));
    }
}

/* Entries from the cache; false when they aren't all there. */
static bool encode_append(struct raft_node *node, const struct raft_message *message)
{
    struct raft_message copy = *message;
    size_t n = message->u.append.n_entries;
    struct rafti_entry *cached = calloc(n, sizeof *cached);
    struct raft_entry *entries = calloc(n, sizeof *entries);
    size_t got = 0;

    if (cached != NULL && entries != NULL) {
        got = rafti_cache_get(&node->cache, message->u.append.prev_index + 1, cached, n, SIZE_MAX);
    }
    if (got == n) {
        for (size_t i = 0; i < n; i++) {
            entries[i] = (struct raft_entry){
                .term = cached[i].term,
                .data = cached[i].payload->bytes,
                .size = cached[i].payload->size,
                .type = cached[i].type,
            };
        }
        copy.u.append.entries = entries;
        encode(node, &copy);
    }
    rafti_entries_unref(cached, got);
    free(cached);
    free(entries);
    return got == n;
}

void rafti_outbox_add(struct raft_node *node, const struct raft_message *message)
{
    if (message->type == RAFT_MSG_SNAPSHOT) {
        rafti_courier_snapshot(node, message);
    } else if (message->type == RAFT_MSG_APPEND && message->u.append.n_entries > 0) {
        if (!encode_append(node, message)) {
            rafti_courier_append(node, message);
        }
    } else {
        encode(node, message);
    }
}

void rafti_outbox_flush(struct raft_node *node)
{
    for (size_t i = 0; i < RAFT_MAX_SERVERS; i++) {
        flush_one(node, &node->outboxes[i]);
    }
}

void rafti_outbox_fini(struct raft_node *node)
{
    for (size_t i = 0; i < RAFT_MAX_SERVERS; i++) {
        free(node->outboxes[i].bytes);
    }
}
