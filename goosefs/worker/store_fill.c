/* Fetching. A fill is the one fetch of a block; it is made by the first read that needs the block
 * (and queued), or by a thread that works on a background range.
 *
 *   queued --> reserve space --> fetch --> write --> VALID        waits get the file
 *                    |             |          \--> no space:      waits get the memory, block EMPTY
 *                    |             \--> failed: waits get the error, block EMPTY
 *                    \--> full: fetch only when somebody waits */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "crc32c.h"
#include "store_priv.h"

/* One fill at work: what was copied under the mutex, and what came of it. */
struct work {
    struct gfsi_fill *fill;
    struct gfsi_dir *dir;
    uint32_t mount_id;
    char path[GFS_UFS_PATH_MAX];
    char version[GFS_UFS_VERSION_MAX + 1]; /* expected, "" = any */
    char exact[GFS_UFS_VERSION_MAX + 1];   /* read */
    uint64_t file_length;
    uint64_t offset; /* of the file */
    uint64_t len;
    uint64_t reserved;
    uint32_t crc;
    bool stored;
    bool suspect; /* on disk and charged, not compared yet */
    struct gfsi_through *block;
    struct gfs_err err;
    int rc;
};

void gfsi_through_unref(struct gfsi_store *store, struct gfsi_through *through)
{
    if (through != NULL && --through->refs == 0) {
        store->through_bytes -= through->len;
        free(through);
    }
}

/* ---- one fill ------------------------------------------------------------------------------- */

/* Under the mutex: everything the fetch needs, since the file may go meanwhile. */
static int prepare(struct gfsi_store *store, struct work *w)
{
    const struct gfsi_extent *extent = w->fill->extent;
    const struct gfsi_file *file = extent->file;

    w->dir = &store->dirs[extent->dir];
    w->len = gfsi_block_length(store, extent, w->fill->block);
    w->offset = extent->number * store->config.extent_size +
                (uint64_t)w->fill->block * store->config.block_size;
    if (store->cancelled) {
        return gfs_err_set(&w->err, GFS_ECANCELLED, "worker is stopping");
    }

    const char *path = file != NULL ? file->path : extent->left_path;
    const char *version = extent->left_version;

    if (file != NULL) {
        version = file->exact[0] != '\0' ? file->exact : file->version;
    }
    if (path == NULL || version == NULL) {
        return gfs_err_set(&w->err, GFS_EABORTED, "file was freed from the cache meanwhile");
    }
    w->mount_id = file != NULL ? file->mount_id : extent->left_mount;
    w->file_length = extent->file_length;
    (void)snprintf(w->path, sizeof(w->path), "%s", path);
    (void)snprintf(w->version, sizeof(w->version), "%s", version);
    return 0;
}

/* A block from before an unclean boot: good when it still matches its CRC. */
static bool verify(struct gfsi_store *store, struct work *w)
{
    const struct gfsi_fill *fill = w->fill;
    int fd = gfsi_extent_open(store, fill->extent, NULL);
    ssize_t n = fd < 0 ? -1
                       : pread(fd, w->block->data, (size_t)w->len,
                               (off_t)((uint64_t)fill->block * store->config.block_size));

    w->crc = n == (ssize_t)w->len ? gfsi_crc32c(0, w->block->data, (size_t)w->len) : 0;
    if (n == (ssize_t)w->len && w->crc == fill->extent->crcs[fill->block]) {
        return true;
    }
    if (fd >= 0) {
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)((uint64_t)fill->block * store->config.block_size), (off_t)w->len);
    }
    return false;
}

static int fetch(struct gfsi_store *store, struct work *w)
{
    struct gfs_ufs_range range = {
        .path = w->path,
        .version = w->version[0] != '\0' ? w->version : NULL,
        .object_size = w->file_length,
        .offset = w->offset,
        .length = w->len,
    };
    int64_t start = gfs_clock_mono();
    int rc = store->config.fetch(store->config.fetch_arg, w->mount_id, &range, w->block->data,
                                 w->exact, &w->err);

    gfs_metric_observe(store->metrics.fetch_seconds, gfs_clock_mono() - start);
    if (rc < 0) {
        gfs_metric_add(store->metrics.fetch_errors, 1);
        return rc;
    }
    gfs_metric_add(store->metrics.ufs_bytes, (int64_t)w->len);
    w->crc = gfsi_crc32c(0, w->block->data, (size_t)w->len);
    return 0;
}

/* A disk that takes no more is no error of the read: the bytes go out from memory. */
static bool write_block(struct gfsi_store *store, struct work *w)
{
    struct gfs_err err = GFS_ERR_INIT;
    int fd = gfsi_extent_open(store, w->fill->extent, &err);
    uint64_t at = (uint64_t)w->fill->block * store->config.block_size;

    for (uint64_t done = 0; fd >= 0 && done < w->len;) {
        size_t left = (size_t)(w->len - done);
        ssize_t n = store->config.pwrite != NULL
                        ? store->config.pwrite(store->config.fetch_arg, fd, w->block->data + done,
                                               left, at + done)
                        : pwrite(fd, w->block->data + done, left, (off_t)(at + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            (void)gfs_err_set_errno(&err, n == 0 ? EIO : errno, "write");
            fd = -1;
        }
        done += n > 0 ? (uint64_t)n : 0;
    }
    if (fd < 0) {
        gfs_metric_add(store->metrics.write_errors, 1);
        if (err.code == GFS_ENOENT) {
            (void)pthread_mutex_lock(&store->mutex);
            gfsi_extent_detach(store, w->fill->extent); /* somebody removed its file */
            (void)pthread_mutex_unlock(&store->mutex);
        }
        gfs_warn("worker", "block not cached", "dir=%s error=%s", GFS_Q(w->dir->folder),
                 GFS_Q(err.text));
        return false;
    }
    return true;
}

static void unlink_fill(struct gfsi_fill *fill)
{
    struct gfsi_fill **slot = &fill->extent->fills;

    while (*slot != fill) {
        slot = &(*slot)->next_in_extent;
    }
    *slot = fill->next_in_extent;
}

static void mark_valid(struct gfsi_store *store, struct work *w)
{
    struct gfsi_extent *extent = w->fill->extent;
    struct gfsi_file *file = extent->file;

    extent->blocks[w->fill->block] = GFSI_BLOCK_VALID;
    extent->crcs[w->fill->block] = w->crc;
    extent->n_valid++;
    extent->sealed = extent->n_valid == extent->n_blocks;
    if (file != NULL) {
        file->bytes += w->len;
        gfsi_file_changed(store, file);
        gfsi_extent_dirty(store, extent);
    }
}

/* Two first fetches of an object known by an inexact version may have met two of them: the first to
 * arrive decides. Under the mutex. */
static int settle_version(struct work *w)
{
    struct gfsi_file *file = w->fill->extent->file;

    if (file == NULL || w->exact[0] == '\0') {
        return 0;
    }
    if (file->exact[0] == '\0') {
        memcpy(file->exact, w->exact, sizeof(file->exact));
        return 0;
    }
    if (strcmp(file->exact, w->exact) != 0) {
        return gfs_err_set(&w->err, GFS_ECHANGED, "%s: changed: version %s is not %s", w->path,
                           w->exact, file->exact);
    }
    return 0;
}

/* Hands the result to the waits; those reads that wait for nothing more go into *ready. */
static void hand_out(struct gfsi_store *store, struct work *w, struct gfsi_wait **ready)
{
    bool through = w->rc == 0 && !w->stored && w->fill->waits != NULL;

    if (through && store->through_bytes + w->len > store->config.read_through_max) {
        w->rc = gfs_err_set(&w->err, GFS_EBUSY,
                            "no space in the cache and too much is read through it already");
        through = false;
    }
    if (through) {
        gfs_metric_add(store->metrics.read_through, (int64_t)w->len);
        store->through_bytes += w->len;
        w->block->len = w->len;
    }
    while (w->fill->waits != NULL) {
        struct gfsi_wait *wait = w->fill->waits;
        struct gfsi_read *read = wait->read;

        w->fill->waits = wait->next;
        wait->next = NULL;
        if (through) {
            wait->through = w->block;
            w->block->refs++;
        }
        if (w->rc < 0 && read->error == 0) {
            read->error = w->rc;
            (void)snprintf(read->text, sizeof(read->text), "%s", gfs_err_text(&w->err, w->rc));
        }
        if (--read->pending == 0) {
            wait->next = *ready;
            *ready = wait;
        }
    }
    if (through) {
        w->block = NULL; /* owned by the reads */
    }
}

static void call_ready(struct gfsi_wait *ready)
{
    while (ready != NULL) {
        struct gfsi_wait *next = ready->next;
        struct gfsi_read *read = ready->read;

        ready->next = NULL;
        read->done(read->arg, read); /* may free it */
        ready = next;
    }
}

/* Ends a fill with w's result. With the mutex; drops and retakes it around the callbacks. */
static void finish(struct gfsi_store *store, struct work *w)
{
    struct gfsi_extent *extent = w->fill->extent;
    struct gfsi_wait *ready = NULL;

    if (w->rc == 0) {
        w->rc = settle_version(w);
    }
    if (w->rc == 0 && w->stored) {
        gfsi_space_charge(&w->dir->space, &extent->space, w->reserved);
        mark_valid(store, w);
    } else {
        gfsi_space_unreserve(&w->dir->space, w->reserved);
        extent->blocks[w->fill->block] = w->suspect ? GFSI_BLOCK_SUSPECT : GFSI_BLOCK_EMPTY;
    }
    unlink_fill(w->fill);
    hand_out(store, w, &ready);
    free(w->fill);
    w->fill = NULL;
    (void)pthread_mutex_unlock(&store->mutex);
    call_ready(ready);
    free(w->block);
    (void)pthread_mutex_lock(&store->mutex);
    gfsi_extent_unpin(store, extent);
}

/* A suspect block is charged already: either it is good, or its bytes are given back. */
static bool settle_suspect(struct gfsi_store *store, struct work *w)
{
    (void)pthread_mutex_unlock(&store->mutex);

    bool good = verify(store, w);

    (void)pthread_mutex_lock(&store->mutex);
    w->suspect = false;
    if (good) {
        w->stored = true;
        return true;
    }
    gfs_metric_add(store->metrics.crc_errors, 1);
    gfs_warn("worker", "block does not match its checksum, fetched again", "dir=%s path=%s",
             GFS_Q(w->dir->folder), GFS_Q(w->path));
    gfsi_space_uncharge(&w->dir->space, &w->fill->extent->space, gfsi_space_round(w->len));
    gfsi_extent_dirty(store, w->fill->extent);
    return false;
}

static void work_on(struct gfsi_store *store, struct work *w)
{
    w->rc = prepare(store, w);
    if (w->rc < 0) {
        return;
    }
    w->block = malloc(sizeof(*w->block) + (size_t)w->len);
    if (w->block == NULL) {
        w->rc = gfs_err_set(&w->err, GFS_ENOMEM, "out of memory");
        return;
    }
    *w->block = (struct gfsi_through){.refs = 0};
    if (w->suspect && settle_suspect(store, w)) {
        return;
    }

    uint64_t wanted = gfsi_space_round(w->len);
    bool room = !w->fill->extent->space.leaving && gfsi_store_reserve(store, w->dir, wanted);

    w->reserved = room ? wanted : 0;
    if (!room && w->fill->waits == NULL) {
        w->rc = gfs_err_set(&w->err, GFS_ENOSPC, "no space in the cache");
        return;
    }
    (void)pthread_mutex_unlock(&store->mutex);
    w->rc = fetch(store, w);
    if (w->rc == 0 && room) {
        w->stored = write_block(store, w);
    }
    (void)pthread_mutex_lock(&store->mutex);
}

void gfsi_fill_run(struct gfsi_store *store, struct gfsi_fill *fill)
{
    struct work *w = calloc(1, sizeof(*w));
    struct work small = {.rc = 0};

    /* Without memory the fill still ends, with its error: nobody waits for ever. */
    if (w == NULL) {
        small.fill = fill;
        small.suspect = fill->suspect;
        small.dir = &store->dirs[fill->extent->dir];
        small.rc = gfs_err_set(&small.err, GFS_ENOMEM, "out of memory");
        finish(store, &small);
        return;
    }
    w->fill = fill;
    w->suspect = fill->suspect;
    store->n_active++;
    work_on(store, w);
    finish(store, w);
    store->n_active--;
    free(w);
}
