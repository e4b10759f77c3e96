#include "node/cache_priv.h"

#include <stdlib.h>
#include <string.h>

#define RING_MIN 256u

struct rafti_payload *rafti_payload_new(const void *data, size_t size)
{
    struct rafti_payload *payload = malloc(sizeof *payload + size);

    if (payload == NULL) {
        return NULL;
    }
    atomic_init(&payload->refs, 1);
    payload->size = (uint32_t)size;
    if (size > 0) {
        memcpy(payload->bytes, data, size);
    }
    return payload;
}

struct rafti_payload *rafti_payload_ref(struct rafti_payload *payload)
{
    atomic_fetch_add_explicit(&payload->refs, 1, memory_order_relaxed);
    return payload;
}

void rafti_payload_unref(struct rafti_payload *payload)
{
    if (payload != NULL &&
        atomic_fetch_sub_explicit(&payload->refs, 1, memory_order_acq_rel) == 1) {
        free(payload);
    }
}

void rafti_entries_unref(struct rafti_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rafti_payload_unref(entries[i].payload);
    }
}

void rafti_cache_init(struct rafti_cache *cache, size_t max_bytes)
{
    pthread_mutex_init(&cache->lock, NULL);
    cache->max_bytes = max_bytes;
    cache->first = 1;
    cache->last = 0;
}

static struct rafti_entry *slot(struct rafti_cache *cache, uint64_t index)
{
    return &cache->ring[index & (cache->cap - 1)];
}

static void drop_first(struct rafti_cache *cache)
{
    struct rafti_entry *entry = slot(cache, cache->first);

    cache->bytes -= entry->payload->size;
    rafti_payload_unref(entry->payload);
    cache->first++;
}

static void drop_behind(struct rafti_cache *cache, uint64_t last)
{
    while (cache->last > last && cache->last >= cache->first) {
        struct rafti_entry *entry = slot(cache, cache->last);

        cache->bytes -= entry->payload->size;
        rafti_payload_unref(entry->payload);
        cache->last--;
    }
}

static bool grow(struct rafti_cache *cache)
{
    size_t cap = cache->cap == 0 ? RING_MIN : cache->cap * 2;
    struct rafti_entry *ring = malloc(cap * sizeof *ring);

    if (ring == NULL) {
        return false;
    }
    for (uint64_t i = cache->first; i <= cache->last; i++) {
        ring[i & (cap - 1)] = *slot(cache, i);
    }
    free(cache->ring);
    cache->ring = ring;
    cache->cap = cap;
    return true;
}

static void evict(struct rafti_cache *cache)
{
    while (cache->bytes > cache->max_bytes && cache->first <= cache->last &&
           cache->first <= cache->durable) {
        drop_first(cache);
    }
}

static void clear_locked(struct rafti_cache *cache)
{
    while (cache->first <= cache->last) {
        drop_first(cache);
    }
}

bool rafti_cache_put(struct rafti_cache *cache, const struct rafti_entry *entry)
{
    bool ok = true;

    pthread_mutex_lock(&cache->lock);
    if (entry->index < cache->first || entry->index > cache->last + 1) {
        clear_locked(cache);
        cache->first = entry->index;
        cache->last = entry->index - 1;
    }
    drop_behind(cache, entry->index - 1);
    if (cache->durable >= entry->index) {
        cache->durable = entry->index - 1;
    }
    if (cache->last + 1 - cache->first >= cache->cap) {
        ok = grow(cache);
    }
    if (ok) {
        cache->last = entry->index;
        *slot(cache, entry->index) = *entry;
        rafti_payload_ref(entry->payload);
        cache->bytes += entry->payload->size;
        evict(cache);
    }
    pthread_mutex_unlock(&cache->lock);
    return ok;
}

void rafti_cache_clear(struct rafti_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    clear_locked(cache);
    pthread_mutex_unlock(&cache->lock);
}

void rafti_cache_durable(struct rafti_cache *cache, uint64_t index)
{
    pthread_mutex_lock(&cache->lock);
    if (index > cache->durable) {
        cache->durable = index < cache->last ? index : cache->last;
    }
    evict(cache);
    pthread_mutex_unlock(&cache->lock);
}

uint64_t rafti_cache_first(struct rafti_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    uint64_t first = cache->first <= cache->last ? cache->first : UINT64_MAX;
    pthread_mutex_unlock(&cache->lock);
    return first;
}

size_t rafti_cache_get(struct rafti_cache *cache, uint64_t index, struct rafti_entry *out,
                       size_t max, size_t max_bytes)
{
    size_t n = 0;
    size_t bytes = 0;

    pthread_mutex_lock(&cache->lock);
    if (index >= cache->first) {
        for (; n < max && index + n <= cache->last; n++) {
            const struct rafti_entry *entry = slot(cache, index + n);

            if (n > 0 && bytes + entry->payload->size > max_bytes) {
                break;
            }
            bytes += entry->payload->size;
            out[n] = *entry;
            rafti_payload_ref(entry->payload);
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return n;
}

void rafti_cache_fini(struct rafti_cache *cache)
{
    rafti_cache_clear(cache);
    free(cache->ring);
    pthread_mutex_destroy(&cache->lock);
}
