/* Files of extents and the janitor, which writes the index and unlinks what nobody uses. The index
 * lags behind the files: a block it calls valid was written before. After an unclean boot of the
 * machine that order is not kept by the disk, so blocks are compared with their CRC then. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>

#include "record.h"
#include "store_priv.h"

#define SUBDIRS      256
#define FLUSH_PERIOD (500 * GFS_NS_PER_MS)
#define INDEX_MAX    (UINT64_C(1) << 30) /* address space, not disk */

void gfsi_extent_path(const struct gfsi_store *store, const struct gfsi_extent *extent, char *out,
                      size_t size)
{
    (void)snprintf(out, size, "%s/extents/%02x/%" PRIx64 "-%" PRIx64 "-%" PRIx32 "-%" PRIx64,
                   store->dirs[extent->dir].folder, (unsigned)(extent->seq % SUBDIRS),
                   extent->inode_id, extent->version_id, extent->number, extent->seq);
}

int gfsi_extent_open(struct gfsi_store *store, struct gfsi_extent *extent, struct gfs_err *err)
{
    char path[1536];

    (void)pthread_mutex_lock(&store->mutex);

    int fd = extent->fd;
    bool fresh = !extent->created;

    (void)pthread_mutex_unlock(&store->mutex);
    if (fd >= 0) {
        return fd;
    }
    gfsi_extent_path(store, extent, path, sizeof(path));
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_CREAT : 0), 0600);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "%s", path);
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    if (extent->fd >= 0) {
        (void)close(fd); /* somebody was faster */
    } else {
        extent->fd = fd;
        store->n_open++;
    }
    extent->created = true;
    return extent->fd;
}

/* ---- directories ---------------------------------------------------------------------------- */

static int check_format(const struct gfsi_dir *dir, struct gfs_err *err)
{
    char path[1536];
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, 256);
    (void)snprintf(path, sizeof(path), "%s/FORMAT", dir->folder);

    int rc = gfs_file_read(path, &text, NULL);

    if (rc == GFS_ENOENT) {
        return gfs_file_write_atomic(path, GFSI_FORMAT, strlen(GFSI_FORMAT), 0644, err);
    }
    if (rc < 0 || strcmp(gfs_buf_str(&text), GFSI_FORMAT) != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "%s holds data of another version of goosefs-worker: it is a cache, "
                           "remove the directory to go on",
                           dir->folder);
    }
    return 0;
}

static int lock_dir(struct gfsi_dir *dir, struct gfs_err *err)
{
    char path[1536];

    (void)snprintf(path, sizeof(path), "%s/LOCK", dir->folder);

    int fd gfs_auto_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "%s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return gfs_err_set(err, GFS_EBUSY, "%s is in use by another goosefs-worker", dir->folder);
    }
    dir->lock_fd = GFS_TAKE_FD(fd);
    return 0;
}

int gfsi_dir_prepare(struct gfsi_store *store, struct gfsi_dir *dir, struct gfs_err *err)
{
    char path[1536];
    bool recreated = false;
    int n = snprintf(dir->folder, sizeof(dir->folder), "%s/%s", dir->tier.path, store->data_folder);

    if (n < 0 || (size_t)n >= sizeof(dir->folder)) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "%s: path is too long", dir->tier.path);
    }

    int rc = gfs_mkdirs(dir->folder, 0755, err);

    for (unsigned i = 0; i < SUBDIRS && rc == 0; i++) {
        (void)snprintf(path, sizeof(path), "%s/extents/%02x", dir->folder, i);
        rc = gfs_mkdirs(path, 0700, err);
    }
    if (rc == 0) {
        rc = lock_dir(dir, err);
    }
    if (rc == 0) {
        rc = check_format(dir, err);
    }
    if (rc < 0) {
        return rc;
    }
    (void)snprintf(path, sizeof(path), "%s/index", dir->folder);
    rc = gfsi_index_open(path, INDEX_MAX, &dir->index, &recreated, err);
    if (rc == 0 && recreated) {
        gfs_warn("worker", "index was unusable, its directory starts empty", "dir=%s",
                 GFS_Q(dir->folder));
    }
    return rc;
}

/* ---- unlinking ------------------------------------------------------------------------------ */

void gfsi_extent_bury(struct gfsi_store *store, struct gfsi_extent *extent)
{
    struct gfsi_dir *dir = &store->dirs[extent->dir];
    char path[1536];

    gfsi_extent_path(store, extent, path, sizeof(path));
    if (unlink(path) < 0 && errno != ENOENT) {
        gfs_warn("worker", "cannot unlink an extent", "path=%s errno=%d", GFS_Q(path), errno);
    }

    /* The disk has its blocks back only when the last descriptor is closed. */
    bool was_open = extent->fd >= 0;

    if (was_open) {
        (void)close(extent->fd);
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    extent->fd = -1;
    store->n_open -= was_open ? 1 : 0;
    gfsi_space_forget(&dir->space, &extent->space);
    gfs_metric_set(store->metrics.used[extent->dir], (int64_t)dir->space.used);
    extent->buried = true;
    gfsi_extent_dirty(store, extent);
}

bool gfsi_store_reserve(struct gfsi_store *store, struct gfsi_dir *dir, uint64_t bytes)
{
    struct gfsi_space_entry *victims[GFSI_VICTIMS_MAX];
    size_t n = gfsi_space_plan(&dir->space, bytes, victims, GFSI_VICTIMS_MAX);

    for (size_t i = 0; i < n; i++) {
        struct gfsi_extent *extent = (struct gfsi_extent *)victims[i];

        gfs_metric_add(store->metrics.evicted, 1);
        gfs_metric_add(store->metrics.evicted_bytes, (int64_t)extent->space.bytes);

        /* Planned means out of the order already; the rest of detach by hand. */
        gfsi_extent_pin(extent);
        gfsi_extent_detach(store, extent);
    }
    if (n > 0) {
        (void)pthread_mutex_unlock(&store->mutex);
        for (size_t i = 0; i < n; i++) {
            gfsi_extent_bury(store, (struct gfsi_extent *)victims[i]);
        }
        (void)pthread_mutex_lock(&store->mutex);
    }

    bool ok = gfsi_space_reserve(&dir->space, bytes);

    gfs_metric_set(store->metrics.used[dir - store->dirs], (int64_t)dir->space.used);
    return ok;
}

/* ---- the janitor ---------------------------------------------------------------------------- */

static int encode_extent(const struct gfsi_store *store, struct gfsi_extent *extent,
                         struct gfs_buf *out)
{
    uint8_t *valid gfs_auto_free = malloc(extent->n_blocks);
    struct gfsi_record record = {
        .block_size = store->config.block_size,
        .extent_size = store->config.extent_size,
        .file_length = extent->file->length,
        .seq = extent->seq,
        .stamp = extent->space.stamp,
        .n_blocks = extent->n_blocks,
        .valid = valid,
    };

    if (valid == NULL) {
        return GFS_ENOMEM;
    }
    for (uint32_t i = 0; i < extent->n_blocks; i++) {
        valid[i] = extent->blocks[i] == GFSI_BLOCK_VALID     ? GFSI_RECORD_VALID
                   : extent->blocks[i] == GFSI_BLOCK_SUSPECT ? GFSI_RECORD_SUSPECT
                                                             : GFSI_RECORD_EMPTY;
    }
    memcpy(record.exact, extent->file->exact, sizeof(record.exact));
    extent->recorded_stamp = extent->space.stamp;
    return gfsi_record_encode(out, &record, extent->crcs);
}

struct flush {
    struct gfsi_index_change changes[GFSI_FLUSH_BATCH];
    struct gfsi_extent *dead[GFSI_FLUSH_BATCH];
    struct gfs_buf values[GFSI_FLUSH_BATCH];
    size_t n;
    size_t n_dead;
};

/* One of the dirty: its record is written, or deleted when its file is gone. */
static void collect_one(struct gfsi_store *store, struct gfsi_extent *extent, struct flush *f)
{
    struct gfsi_index_change *change = &f->changes[f->n];
    struct gfs_buf *value = &f->values[f->n];

    if (extent->file == NULL && !extent->buried) {
        return; /* between detach and burial, which brings it here again */
    }
    *change = (struct gfsi_index_change){.value = NULL};
    gfsi_record_key(extent->inode_id, extent->version_id, extent->number, change->key);
    gfs_buf_init(value, 16u << 20);
    if (extent->file != NULL) {
        if (encode_extent(store, extent, value) == 0) {
            change->value = value->data;
            change->value_len = value->len;
            extent->indexed = true;
        }
        f->n++;
        return;
    }

    /* A successor with the same key may have its record there already: it is written again. */
    struct gfsi_file *file = gfsi_file_find(store, extent->inode_id, extent->version_id);
    struct gfsi_extent *successor = file != NULL ? gfsi_extent_find(file, extent->number) : NULL;

    if (successor != NULL && successor->indexed) {
        gfsi_extent_dirty(store, successor);
    }
    f->n += extent->indexed ? 1 : 0;
    f->dead[f->n_dead++] = extent;
}

/* Takes the dirty extents of one directory, as many as fit; returns how many. Under the mutex. */
static size_t collect(struct gfsi_store *store, uint32_t dir, struct flush *f)
{
    struct gfsi_extent **slot = &store->dirty;
    struct gfsi_extent *taken[GFSI_FLUSH_BATCH];
    size_t n = 0;

    while (*slot != NULL && n < GFSI_FLUSH_BATCH) {
        struct gfsi_extent *extent = *slot;

        if (extent->dir != dir) {
            slot = &extent->dirty_next;
            continue;
        }
        *slot = extent->dirty_next;
        extent->dirty = false;
        extent->dirty_next = NULL;
        taken[n++] = extent;
    }
    for (size_t i = 0; i < n; i++) {
        collect_one(store, taken[i], f); /* may make one of them dirty again */
    }
    return n;
}

static bool flush_dir(struct gfsi_store *store, uint32_t dir)
{
    struct flush *f gfs_auto_free = calloc(1, sizeof(*f));
    struct gfs_err err = GFS_ERR_INIT;

    if (f == NULL) {
        return false;
    }
    if (collect(store, dir, f) == 0) {
        return false;
    }
    (void)pthread_mutex_unlock(&store->mutex);
    if (f->n > 0 && gfsi_index_apply(store->dirs[dir].index, f->changes, f->n, &err) < 0) {
        gfs_warn("worker", "index not written, some blocks will be fetched again after a restart",
                 "dir=%s error=%s", GFS_Q(store->dirs[dir].folder), GFS_Q(err.text));
    }
    for (size_t i = 0; i < f->n; i++) {
        gfs_buf_fini(&f->values[i]);
    }
    (void)pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < f->n_dead; i++) {
        gfsi_extent_destroy(store, f->dead[i]);
    }
    return true;
}

void gfsi_store_flush(struct gfsi_store *store)
{
    bool more = true;

    while (more || store->graves != NULL) {
        while (store->graves != NULL) {
            struct gfsi_extent *extent = store->graves;

            store->graves = extent->grave_next;
            (void)pthread_mutex_unlock(&store->mutex);
            gfsi_extent_bury(store, extent);
            (void)pthread_mutex_lock(&store->mutex);
        }
        more = false;
        for (uint32_t i = 0; i < store->n_dirs; i++) {
            more = flush_dir(store, i) || more;
        }
    }
}

void *gfsi_janitor_main(void *arg)
{
    struct gfsi_store *store = arg;

    (void)pthread_mutex_lock(&store->mutex);
    while (!store->closing) {
        if (store->dirty == NULL && store->graves == NULL) {
            (void)pthread_cond_broadcast(&store->settled);
            (void)pthread_cond_wait(&store->janitor, &store->mutex);
            continue;
        }

        /* Blocks of a sequential read become valid one by one: one record for many. */
        int64_t until = gfs_clock_mono() + FLUSH_PERIOD;
        struct timespec ts = {.tv_sec = until / GFS_NS_PER_S, .tv_nsec = until % GFS_NS_PER_S};

        while (!store->closing && store->graves == NULL && store->settling == 0 &&
               pthread_cond_timedwait(&store->janitor, &store->mutex, &ts) != ETIMEDOUT) {
        }
        store->janitor_busy = true;
        gfsi_store_flush(store);
        store->janitor_busy = false;
    }
    (void)pthread_mutex_unlock(&store->mutex);
    return NULL;
}
