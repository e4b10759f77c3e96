#include "kv_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>

struct item {
    struct item *next;
    uint16_t value_len;
    uint8_t key_len;
    uint8_t key[BENCH_KV_KEY_MAX];
    uint8_t value[BENCH_KV_VALUE_MAX];
};

struct bench_kv {
    pthread_mutex_t mutex;
    uint64_t applied;
    size_t n;
    struct item *buckets[BENCH_KV_BUCKETS];
};

struct bench_kv *bench_kv_new(void)
{
    struct bench_kv *kv = calloc(1, sizeof(*kv));

    if (kv != NULL) {
        (void)pthread_mutex_init(&kv->mutex, NULL);
    }

    return kv;
}

static void clear(struct bench_kv *kv)
{
    for (size_t i = 0; i < BENCH_KV_BUCKETS; i++) {
        while (kv->buckets[i] != NULL) {
            struct item *item = kv->buckets[i];

            kv->buckets[i] = item->next;
            free(item);
        }
    }

    kv->n = 0;
    kv->applied = 0;
}

void bench_kv_free(struct bench_kv *kv)
{
    if (kv == NULL) {
        return;
    }

    clear(kv);
    (void)pthread_mutex_destroy(&kv->mutex);
    free(kv);
}

size_t bench_kv_entry(uint8_t *out, const void *key, size_t key_len, const void *value,
                      size_t value_len)
{
    if (key_len == 0 || key_len > BENCH_KV_KEY_MAX || value_len > BENCH_KV_VALUE_MAX) {
        return 0;
    }

    out[0] = (uint8_t)key_len;
    memcpy(out + 1, key, key_len);
    if (value_len > 0) {
        memcpy(out + 1 + key_len, value, value_len);
    }

    return 1 + key_len + value_len;
}

/* FNV-1a: keys are the benchmark's own. */
static struct item **find(struct bench_kv *kv, const uint8_t *key, size_t len)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    struct item **at;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ key[i]) * UINT64_C(1099511628211);
    }

    at = &kv->buckets[hash % BENCH_KV_BUCKETS];
    while (*at != NULL && ((*at)->key_len != len || memcmp((*at)->key, key, len) != 0)) {
        at = &(*at)->next;
    }

    return at;
}

/* 0, or -1: malformed or full. The same on every node. */
static int put(struct bench_kv *kv, const uint8_t *data, size_t len)
{
    size_t key_len = len > 0 ? data[0] : 0;
    size_t value_len = len - 1 - key_len;
    struct item **at;

    if (key_len == 0 || len < 1 + key_len || value_len > BENCH_KV_VALUE_MAX) {
        return -1;
    }

    at = find(kv, data + 1, key_len);
    if (*at == NULL) {
        if (kv->n == BENCH_KV_MAX) {
            return -1;
        }

        *at = calloc(1, sizeof(**at));
        if (*at == NULL) {
            abort(); /* one node must not decide differently from the others */
        }

        kv->n++;
        (*at)->key_len = (uint8_t)key_len;
        memcpy((*at)->key, data + 1, key_len);
    }

    (*at)->value_len = (uint16_t)value_len;
    memcpy((*at)->value, data + 1 + key_len, value_len);
    return 0;
}

int bench_kv_get(struct bench_kv *kv, const void *key, size_t key_len, uint8_t *out)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&kv->mutex);
    const struct item *item = *find(kv, key, key_len);

    if (item == NULL) {
        return -1;
    }

    memcpy(out, item->value, item->value_len);
    return item->value_len;
}

/* ---- what Raft calls ------------------------------------------------------------------------ */

static int apply(void *arg, const struct raft_node_entry *entries, size_t n, int64_t *out_results)
{
    struct bench_kv *kv = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&kv->mutex);

    for (size_t i = 0; i < n; i++) {
        out_results[i] = put(kv, entries[i].data, entries[i].len);
        kv->applied = entries[i].index;
    }

    return 0;
}

static uint64_t applied_index(void *arg)
{
    struct bench_kv *kv = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&kv->mutex);

    return kv->applied;
}

/* The image: entries as in the log, each behind its length (4 bytes of this machine's order). */
static uint8_t *image(struct bench_kv *kv, size_t *out_len, uint64_t *out_index)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&kv->mutex);
    uint8_t *bytes = malloc(kv->n * (sizeof(uint32_t) + BENCH_KV_ENTRY_MAX) + 1);
    size_t used = 0;

    if (bytes == NULL) {
        return NULL;
    }

    for (size_t i = 0; i < BENCH_KV_BUCKETS; i++) {
        for (const struct item *item = kv->buckets[i]; item != NULL; item = item->next) {
            uint32_t len = (uint32_t)bench_kv_entry(bytes + used + sizeof(len), item->key,
                                                    item->key_len, item->value, item->value_len);

            memcpy(bytes + used, &len, sizeof(len));
            used += sizeof(len) + len;
        }
    }

    *out_len = used;
    *out_index = kv->applied;
    return bytes;
}

static int snapshot_write(void *arg, int fd, uint64_t *out_index)
{
    size_t len = 0;
    uint8_t *bytes gfs_auto_free = image(arg, &len, out_index);

    if (bytes == NULL) {
        return -1;
    }

    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, bytes + at, len - at);

        if (n <= 0) {
            return -1;
        }

        at += (size_t)n;
    }

    return 0;
}

static int snapshot_restore(void *arg, int fd, uint64_t index, uint64_t term)
{
    struct bench_kv *kv = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&kv->mutex);
    int copy = dup(fd);
    FILE *file gfs_auto_file = copy < 0 ? NULL : fdopen(copy, "r");
    uint8_t entry[BENCH_KV_ENTRY_MAX];
    uint32_t len;

    (void)term;
    if (file == NULL) {
        return -1;
    }

    clear(kv);
    while (fread(&len, sizeof(len), 1, file) == 1) {
        if (len > sizeof(entry) || fread(entry, 1, len, file) != len || put(kv, entry, len) != 0) {
            return -1;
        }
    }

    kv->applied = index;
    return ferror(file) == 0 ? 0 : -1;
}

struct raft_fsm bench_kv_fsm(struct bench_kv *kv)
{
    return (struct raft_fsm){kv, apply, applied_index, snapshot_write, snapshot_restore};
}
