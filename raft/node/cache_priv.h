/*
 * Payloads and the cache of the newest log entries. The core keeps no payload bytes: what has to
 * be sent, applied or written is found here, or, once durable, in the log.
 */
#ifndef RAFT_NODE_CACHE_PRIV_H
#define RAFT_NODE_CACHE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Immutable bytes shared by the cache, the log writer and readers. */
struct rafti_payload {
    atomic_uint refs;
    uint32_t size;
    uint8_t bytes[];
};

/* A copy of @size bytes with one reference; NULL without memory. */
struct rafti_payload *rafti_payload_new(const void *data, size_t size);
struct rafti_payload *rafti_payload_ref(struct rafti_payload *payload);
void rafti_payload_unref(struct rafti_payload *payload); /* NULL is fine */

struct rafti_entry {
    uint64_t index;
    uint64_t term;
    uint8_t type;
    struct rafti_payload *payload;
};

/* Entries [first, last], gapless, in a ring that grows; bytes bounded except for what is not yet
 * durable, which the core's own caps bound. */
struct rafti_cache {
    pthread_mutex_t lock;
    struct rafti_entry *ring;
    size_t cap; /* power of two */
    uint64_t first;
    uint64_t last; /* first - 1 when empty */
    uint64_t durable;
    size_t bytes;
    size_t max_bytes;
};

void rafti_cache_init(struct rafti_cache *cache, size_t max_bytes);
void rafti_cache_fini(struct rafti_cache *cache);

/* Puts @entry at its index, dropping what the cache held there and behind; takes a reference of its
 * own. An index that does not follow empties the cache first. False without memory. */
bool rafti_cache_put(struct rafti_cache *cache, const struct rafti_entry *entry);

/* Forgets everything. */
void rafti_cache_clear(struct rafti_cache *cache);

/* Entries up to @index are in the log now and may be evicted. */
void rafti_cache_durable(struct rafti_cache *cache, uint64_t index);

/* Up to @max entries from @index on, each with a reference for the caller. Returns how many: 0 if
 * the first is not here. Stops before the payloads exceed @max_bytes, but takes at least one. */
size_t rafti_cache_get(struct rafti_cache *cache, uint64_t index, struct rafti_entry *out,
                       size_t max, size_t max_bytes);

/* Index of the oldest entry held; behind all when empty. */
uint64_t rafti_cache_first(struct rafti_cache *cache);

/* Drops the references of @n entries. */
void rafti_entries_unref(struct rafti_entry *entries, size_t n);

#endif
