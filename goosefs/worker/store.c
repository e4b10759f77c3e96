/* The store: opening, closing, reporting. */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "store_priv.h"

static void make_metrics(struct gfsi_store *store)
{
    struct gfs_metrics *m = store->config.metrics;
    struct gfsi_store_metrics *s = &store->metrics;
    const struct {
        struct gfs_metric **slot;
        enum gfs_metric_type type;
        const char *name;
        const char *help;
    } table[] = {
        {&s->hit_bytes, GFS_METRIC_COUNTER, "goosefs_worker_cache_hit_bytes_total",
         "Bytes asked for that were cached"},
        {&s->miss_bytes, GFS_METRIC_COUNTER, "goosefs_worker_cache_miss_bytes_total",
         "Bytes asked for that had to be fetched"},
        {&s->ufs_bytes, GFS_METRIC_COUNTER, "goosefs_worker_ufs_read_bytes_total",
         "Bytes fetched from under file systems"},
        {&s->fetch_errors, GFS_METRIC_COUNTER, "goosefs_worker_ufs_errors_total",
         "Fetches that failed"},
        {&s->fetch_seconds, GFS_METRIC_HISTOGRAM, "goosefs_worker_ufs_fetch_seconds",
         "Time of one fetch of a block"},
        {&s->evicted, GFS_METRIC_COUNTER, "goosefs_worker_evicted_extents_total",
         "Extents evicted for space"},
        {&s->evicted_bytes, GFS_METRIC_COUNTER, "goosefs_worker_evicted_bytes_total",
         "Bytes evicted for space"},
        {&s->read_through, GFS_METRIC_COUNTER, "goosefs_worker_read_through_bytes_total",
         "Bytes served without being cached, for want of space"},
        {&s->write_errors, GFS_METRIC_COUNTER, "goosefs_worker_cache_write_errors_total",
         "Blocks a tier directory did not take"},
        {&s->crc_errors, GFS_METRIC_COUNTER, "goosefs_worker_cache_checksum_errors_total",
         "Cached blocks that did not match their checksum after an unclean boot"},
        {&s->extents, GFS_METRIC_GAUGE, "goosefs_worker_extents", "Extents in the cache"},
    };

    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        *table[i].slot = gfs_metrics_get(m, table[i].type, table[i].name, "", table[i].help);
    }
    for (size_t i = 0; i < store->n_dirs; i++) {
        char labels[64];

        (void)snprintf(labels, sizeof(labels), "tier=\"%s\",dir=\"%zu\"", store->dirs[i].tier.alias,
                       i);
        gfs_metric_set(gfs_metrics_get(m, GFS_METRIC_GAUGE, "goosefs_worker_capacity_bytes", labels,
                                       "Quota of a tier directory"),
                       (int64_t)store->dirs[i].tier.quota);
        s->used[i] = gfs_metrics_get(m, GFS_METRIC_GAUGE, "goosefs_worker_used_bytes", labels,
                                     "Bytes of extents in a tier directory");
        gfs_metric_set(s->used[i], (int64_t)store->dirs[i].space.used);
    }
}

static int check_config(const struct gfsi_store_config *c, struct gfs_err *err)
{
    if (c->n_tiers == 0 || c->n_tiers > GFS_WORKER_DIRS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "1 to %d tier directories are needed, not %zu",
                           GFS_WORKER_DIRS_MAX, c->n_tiers);
    }
    if (c->block_size < 4096 || (c->block_size & (c->block_size - 1)) != 0 || c->extent_size == 0 ||
        c->extent_size % c->block_size != 0 || c->extent_size / c->block_size > UINT32_MAX / 2) {
        return gfs_err_set(err, GFS_EINVAL, "block size %u is not a power of two from 4096",
                           c->block_size);
    }
    if (c->fetch_threads == 0 || c->fetch_threads > 64) {
        return gfs_err_set(err, GFS_EINVAL, "fetch threads: %u is not within 1..64",
                           c->fetch_threads);
    }
    return 0;
}

static void read_boot_id(struct gfsi_store *store)
{
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, 60);
    if (store->config.boot_id != NULL) {
        (void)snprintf(store->boot_id, sizeof(store->boot_id), "%s", store->config.boot_id);
        return;
    }

    /* Without one (a stripped container) every start counts as a boot: blocks are verified. */
    if (gfs_file_read("/proc/sys/kernel/random/boot_id", &text, NULL) < 0) {
        (void)snprintf(store->boot_id, sizeof(store->boot_id), "start-%lld",
                       (long long)gfs_clock_wall_ms());
        return;
    }
    (void)snprintf(store->boot_id, sizeof(store->boot_id), "%.40s", gfs_buf_str(&text));
    store->boot_id[strcspn(store->boot_id, "\n")] = '\0';
}

static int start_threads(struct gfsi_store *store, struct gfs_err *err)
{
    if (pthread_create(&store->janitor_thread, NULL, gfsi_janitor_main, store) != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }
    store->janitor_started = true;
    while (store->n_threads < store->config.fetch_threads) {
        if (pthread_create(&store->threads[store->n_threads], NULL, gfsi_fetch_main, store) != 0) {
            return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
        }
        store->n_threads++;
    }
    return 0;
}

static int open_dirs(struct gfsi_store *store, struct gfs_err *err)
{
    for (size_t i = 0; i < store->config.n_tiers; i++) {
        struct gfsi_dir *dir = &store->dirs[i];

        dir->tier = store->config.tiers[i];
        dir->lock_fd = -1;
        store->n_dirs = i + 1;
        gfsi_space_init(&dir->space, dir->tier.quota, dir->tier.high, dir->tier.low);

        int rc = gfsi_dir_prepare(store, dir, err);

        if (rc == 0) {
            rc = gfsi_dir_load(store, (uint32_t)i, err);
        }
        if (rc < 0) {
            return gfs_err_wrap(err, rc, "tier %s", dir->tier.alias);
        }
    }
    return 0;
}

int gfsi_store_open(const struct gfsi_store_config *config, struct gfsi_store **out,
                    struct gfs_err *err)
{
    pthread_condattr_t attr;
    int rc = check_config(config, err);

    if (rc < 0) {
        return rc;
    }

    struct gfsi_store *store = calloc(1, sizeof(*store));

    if (store == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    store->config = *config;
    store->config.tiers = NULL;
    if (store->config.readahead_blocks > GFSI_READAHEAD_MAX) {
        store->config.readahead_blocks = GFSI_READAHEAD_MAX;
    }
    (void)snprintf(store->data_folder, sizeof(store->data_folder), "%s", config->data_folder);
    (void)pthread_mutex_init(&store->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&store->work, &attr);
    (void)pthread_cond_init(&store->janitor, &attr);
    (void)pthread_cond_init(&store->settled, &attr);
    (void)pthread_condattr_destroy(&attr);
    read_boot_id(store);
    store->config.tiers = config->tiers;
    rc = open_dirs(store, err);
    store->config.tiers = NULL; /* borrowed for the call only */
    make_metrics(store);
    if (rc == 0) {
        rc = start_threads(store, err);
    }
    if (rc < 0) {
        gfsi_store_close(store);
        return rc;
    }
    *out = store;
    return 0;
}

void gfsi_store_cancel(struct gfsi_store *store)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    store->cancelled = true;
    gfsi_fills_cancel(store);
}

static void stop_threads(struct gfsi_store *store)
{
    (void)pthread_mutex_lock(&store->mutex);
    store->closing = true;
    (void)pthread_cond_broadcast(&store->work);
    (void)pthread_cond_broadcast(&store->janitor);
    (void)pthread_mutex_unlock(&store->mutex);
    for (unsigned i = 0; i < store->n_threads; i++) {
        (void)pthread_join(store->threads[i], NULL);
    }
    if (store->janitor_started) {
        (void)pthread_join(store->janitor_thread, NULL);
    }
}

/* The order of use since the last record: what the next start evicts by. */
static void record_order(struct gfsi_store *store)
{
    for (size_t i = 0; i < store->n_dirs; i++) {
        struct gfsi_space_entry *e = store->dirs[i].space.oldest;

        for (; e != NULL; e = e->newer) {
            struct gfsi_extent *extent = (struct gfsi_extent *)e;

            if (extent->recorded_stamp != e->stamp && extent->n_valid > 0) {
                gfsi_extent_dirty(store, extent);
            }
        }
    }
}

static void free_tables(struct gfsi_store *store)
{
    for (size_t i = 0; i < GFSI_FILE_BUCKETS; i++) {
        while (store->buckets[i] != NULL) {
            struct gfsi_file *file = store->buckets[i];

            store->buckets[i] = file->hash_next;
            while (file->extents != NULL) {
                struct gfsi_extent *extent = file->extents;

                file->extents = extent->next;
                gfsi_extent_destroy(store, extent);
            }
            free(file->path);
            free(file->version);
            free(file);
        }
    }
}

struct gfsi_store *gfsi_store_close(struct gfsi_store *store)
{
    if (store == NULL) {
        return NULL;
    }
    gfsi_store_cancel(store);
    stop_threads(store);
    if (store->janitor_started) {
        (void)pthread_mutex_lock(&store->mutex);
        record_order(store);
        gfsi_store_flush(store);
        (void)pthread_mutex_unlock(&store->mutex);
    }
    free_tables(store);
    for (size_t i = 0; i < store->n_dirs; i++) {
        gfsi_index_close(store->dirs[i].index);
        if (store->dirs[i].lock_fd >= 0) {
            (void)close(store->dirs[i].lock_fd);
        }
    }
    (void)pthread_cond_destroy(&store->work);
    (void)pthread_cond_destroy(&store->janitor);
    (void)pthread_cond_destroy(&store->settled);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
    return NULL;
}

void gfsi_store_free(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);
    bool again = true;

    (void)guard;
    while (again) {
        struct gfsi_file *file = gfsi_file_first(store, inode_id);

        again = false;
        while (file != NULL && !again) {
            if (file->inode_id == inode_id && file->extents != NULL &&
                (version_id == 0 || file->version_id == version_id)) {
                gfsi_extent_detach(store, file->extents); /* may free the file */
                again = true;
            } else {
                file = file->hash_next;
            }
        }
    }
}

size_t gfsi_store_usage(struct gfsi_store *store, struct gfsi_tier_usage *out, size_t max)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);
    size_t n = 0;

    (void)guard;
    for (size_t i = 0; i < store->n_dirs; i++) {
        const struct gfsi_dir *dir = &store->dirs[i];
        size_t at = 0;

        while (at < n && strcmp(out[at].alias, dir->tier.alias) != 0) {
            at++;
        }
        if (at == n) {
            if (n == max) {
                break;
            }
            out[n] = (struct gfsi_tier_usage){.capacity = 0};
            (void)gfs_str_copy(out[n].alias, sizeof(out[n].alias), dir->tier.alias);
            n++;
        }
        out[at].capacity += dir->tier.quota;
        out[at].used += dir->space.used;
    }
    return n;
}

size_t gfsi_store_changes(struct gfsi_store *store, uint64_t since, struct gfsi_cached *out,
                          size_t max, uint64_t *next, bool *complete)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);
    const struct gfsi_file *file = store->change_newest;
    size_t n = 0;

    (void)guard;
    *complete = since == 0 || since >= store->forgotten;
    *next = since;
    if (file == NULL || file->change <= since) {
        return 0;
    }
    while (file->change_older != NULL && file->change_older->change > since) {
        file = file->change_older;
    }
    for (; file != NULL && n < max; file = file->change_newer) {
        *next = file->change;
        if (since == 0 && file->bytes == 0) {
            continue; /* who begins has not heard of it */
        }
        out[n++] = (struct gfsi_cached){
            .inode_id = file->inode_id, .version_id = file->version_id, .bytes = file->bytes};
    }
    return n;
}

void gfsi_store_settle(struct gfsi_store *store)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    store->settling++;
    while (store->queue_head != NULL || store->ranges_head != NULL || store->n_active > 0 ||
           store->dirty != NULL || store->graves != NULL || store->janitor_busy) {
        (void)pthread_cond_signal(&store->janitor);
        (void)pthread_cond_wait(&store->settled, &store->mutex);
    }
    store->settling--;
}

bool gfsi_store_consistent(struct gfsi_store *store)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);
    size_t extents = 0;

    (void)guard;
    for (size_t i = 0; i < store->n_dirs; i++) {
        if (!gfsi_space_consistent(&store->dirs[i].space) ||
            store->dirs[i].space.used > store->dirs[i].space.quota) {
            return false;
        }
    }
    for (size_t i = 0; i < GFSI_FILE_BUCKETS; i++) {
        for (const struct gfsi_file *f = store->buckets[i]; f != NULL; f = f->hash_next) {
            uint64_t bytes = 0;

            for (const struct gfsi_extent *e = f->extents; e != NULL; e = e->next) {
                uint32_t valid = 0;

                for (uint32_t b = 0; b < e->n_blocks; b++) {
                    bool is_valid = e->blocks[b] == GFSI_BLOCK_VALID;

                    valid += is_valid ? 1 : 0;
                    bytes += is_valid ? gfsi_block_length(store, e, b) : 0;
                }
                extents++;
                if (valid != e->n_valid || e->file != f || e->sealed != (valid == e->n_blocks)) {
                    return false;
                }
            }
            if (bytes != f->bytes) {
                return false;
            }
        }
    }
    return extents == store->n_attached && extents <= store->n_extents;
}
