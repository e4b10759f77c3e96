/* Reads: pins the extents, waits (without a thread) for the blocks that are missing, says where the
 * bytes are. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#include "store_priv.h"

static int check_target(const struct gfsi_store *store, const struct gfsi_target *t,
                        struct gfs_err *err)
{
    if (t->path[0] == '\0' || strlen(t->path) >= GFS_UFS_PATH_MAX ||
        strlen(t->version) > GFS_UFS_VERSION_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "path or version of the request is not usable");
    }
    if (t->file_length > INT64_MAX || t->file_length / store->config.extent_size >= UINT32_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "file length is not usable");
    }
    if (t->length == 0 || t->offset >= t->file_length || t->length > t->file_length - t->offset) {
        return gfs_err_set(err, GFS_ERANGE,
                           "range %" PRIu64 "+%" PRIu64 " is not within the file's %" PRIu64,
                           t->offset, t->length, t->file_length);
    }
    return 0;
}

/* The block at `at`, and where it ends: both of the file. */
static uint64_t block_end(const struct gfsi_store *store, uint64_t at, uint64_t end,
                          uint32_t *extent, uint32_t *block)
{
    uint64_t in_extent = at % store->config.extent_size;
    uint64_t next = at - at % store->config.block_size + store->config.block_size;

    *extent = (uint32_t)(at / store->config.extent_size);
    *block = (uint32_t)(in_extent / store->config.block_size);
    return next < end ? next : end;
}

static size_t count_blocks(const struct gfsi_store *store, uint64_t offset, uint64_t length)
{
    uint64_t first = offset / store->config.block_size;
    uint64_t last = (offset + length - 1) / store->config.block_size;

    return (size_t)(last - first + 1);
}

/* Doubles its window while a file is read in order; one block ahead of a first read, none of a
 * random one. */
static void read_ahead(struct gfsi_store *store, struct gfsi_extent *extent, uint32_t first,
                       uint32_t last)
{
    bool sequential = first == 0 || first == extent->last_block || first == extent->last_block + 1;

    extent->last_block = last;
    if (!sequential || store->config.readahead_blocks == 0) {
        extent->ahead_window = 0;
        extent->ahead_next = 0;
        return;
    }
    extent->ahead_window = extent->ahead_window == 0 ? 1 : extent->ahead_window * 2;
    if (extent->ahead_window > store->config.readahead_blocks) {
        extent->ahead_window = store->config.readahead_blocks;
    }

    uint32_t from = extent->ahead_next > last + 1 ? extent->ahead_next : last + 1;
    uint64_t to = (uint64_t)last + 1 + extent->ahead_window;

    if (to > extent->n_blocks) {
        to = extent->n_blocks;
    }
    if (from < to && !extent->sealed &&
        gfsi_range_enqueue(store, extent, from, (uint32_t)to) == 0) {
        extent->ahead_next = (uint32_t)to;
    }
}

/* Pins the extents and enqueues what is missing. Under the mutex. */
static int begin(struct gfsi_store *store, const struct gfsi_target *t, struct gfsi_read *read,
                 struct gfs_err *err)
{
    struct gfsi_file *file = NULL;
    struct gfsi_extent *extent = NULL;
    uint64_t end = t->offset + t->length;
    uint32_t first_block = 0;
    uint32_t last_block = 0;
    int rc = gfsi_extent_room(store, 2, err);

    if (rc == 0) {
        rc = gfsi_file_get(store, t, &file, err);
    }
    if (rc < 0) {
        return rc;
    }
    for (uint64_t at = t->offset; at < end && rc == 0;) {
        uint32_t number = 0;
        uint32_t block = 0;
        uint64_t next = block_end(store, at, end, &number, &block);
        struct gfsi_wait *wait = &read->waits[read->n_waits++];

        wait->read = read;
        if (extent == NULL || extent->number != number) {
            rc = read->n_extents < 2 ? gfsi_extent_get(store, file, number, &extent, err)
                                     : gfs_err_set(err, GFS_EINVAL, "range has too many extents");
            if (rc < 0) {
                break;
            }
            gfsi_extent_pin(extent);
            read->extents[read->n_extents++] = extent;
            first_block = block;
        }
        last_block = block;
        if (extent->blocks[block] == GFSI_BLOCK_VALID) {
            gfs_metric_add(store->metrics.hit_bytes, (int64_t)(next - at));
        } else {
            gfs_metric_add(store->metrics.miss_bytes, (int64_t)(next - at));
            rc = gfsi_fill_enqueue(store, extent, block, wait, err);
        }
        at = next;
    }
    if (rc == 0) {
        read_ahead(store, extent, first_block, last_block);
    } else if (read->n_extents == 0) {
        gfsi_file_release(store, file);
    }
    return rc;
}

int gfsi_store_read(struct gfsi_store *store, const struct gfsi_target *target, gfsi_read_done done,
                    void *arg, struct gfsi_read **out, struct gfs_err *err)
{
    struct gfs_err local = GFS_ERR_INIT;
    int rc = check_target(store, target, err);

    if (rc < 0) {
        return rc;
    }

    size_t n = count_blocks(store, target->offset, target->length);

    if (n > GFSI_WAITS_MAX) {
        return gfs_err_set(err, GFS_ERANGE, "range has too many blocks");
    }

    struct gfsi_read *read = calloc(1, sizeof(*read) + n * sizeof(read->waits[0]));

    if (read == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    read->store = store;
    read->done = done;
    read->arg = arg;
    read->offset = target->offset;
    read->length = target->length;
    (void)pthread_mutex_lock(&store->mutex);
    rc = begin(store, target, read, &local);

    unsigned pending = read->pending;

    if (rc < 0 && pending > 0) {
        /* Some blocks are on their way: the read ends, with this error, when they have come. */
        read->error = rc;
        (void)snprintf(read->text, sizeof(read->text), "%s", gfs_err_text(&local, rc));
        rc = 0;
    }
    if (rc == 0) {
        *out = read; /* before the mutex goes: `done` may run at once then */
    }
    (void)pthread_mutex_unlock(&store->mutex);
    if (rc < 0) {
        gfsi_read_free(read);
        return gfs_err_set(err, rc, "%s", local.text);
    }
    return pending == 0 ? 1 : 0;
}

int gfsi_read_result(const struct gfsi_read *read, const char **text)
{
    *text = read->text;
    return read->error;
}

struct gfsi_read *gfsi_read_free(struct gfsi_read *read)
{
    if (read == NULL) {
        return NULL;
    }

    struct gfsi_store *store = read->store;

    (void)pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < read->n_waits; i++) {
        gfsi_through_unref(store, read->waits[i].through);
    }
    for (size_t i = 0; i < read->n_extents; i++) {
        gfsi_extent_unpin(store, read->extents[i]);
    }
    (void)pthread_mutex_unlock(&store->mutex);
    free(read);
    return NULL;
}

int gfsi_read_pieces(struct gfsi_read *read, struct gfsi_piece pieces[GFSI_PIECES_MAX],
                     struct gfs_err *err)
{
    struct gfsi_store *store = read->store;
    uint64_t end = read->offset + read->length;
    uint64_t at = read->offset;
    int n = 0;

    for (size_t i = 0; i < read->n_waits; i++) {
        uint32_t number = 0;
        uint32_t block = 0;
        uint64_t next = block_end(store, at, end, &number, &block);
        const struct gfsi_through *through = read->waits[i].through;
        struct gfsi_extent *extent =
            read->extents[0]->number == number ? read->extents[0] : read->extents[1];
        struct gfsi_piece piece = {.fd = -1, .len = (size_t)(next - at)};

        if (through != NULL) {
            piece.data = through->data + at % store->config.block_size;
        } else {
            piece.fd = gfsi_extent_open(store, extent, err);
            piece.offset = at % store->config.extent_size;
            if (piece.fd < 0) {
                return piece.fd;
            }
        }

        struct gfsi_piece *last = n > 0 ? &pieces[n - 1] : NULL;

        if (last != NULL && last->fd >= 0 && last->fd == piece.fd &&
            last->offset + last->len == piece.offset) {
            last->len += piece.len;
        } else {
            pieces[n++] = piece;
        }
        at = next;
    }
    return n;
}

void gfsi_read_broken(struct gfsi_read *read)
{
    struct gfsi_store *store = read->store;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    for (size_t i = 0; i < read->n_extents; i++) {
        gfsi_extent_detach(store, read->extents[i]);
    }
}

int gfsi_store_load(struct gfsi_store *store, const struct gfsi_target *target, struct gfs_err *err)
{
    struct gfsi_file *file = NULL;
    uint64_t end = target->offset + target->length;
    int rc = check_target(store, target, err);

    if (rc < 0) {
        return rc;
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&store->mutex);

    (void)guard;
    rc = gfsi_extent_room(store,
                          (size_t)((end - 1) / store->config.extent_size -
                                   target->offset / store->config.extent_size + 1),
                          err);
    if (rc == 0) {
        rc = gfsi_file_get(store, target, &file, err);
    }
    for (uint64_t at = target->offset; at < end && rc == 0;) {
        uint32_t number = (uint32_t)(at / store->config.extent_size);
        uint64_t start = number * store->config.extent_size;
        uint64_t stop = start + store->config.extent_size;
        struct gfsi_extent *extent = NULL;

        stop = stop < end ? stop : end;
        rc = gfsi_extent_get(store, file, number, &extent, err);
        if (rc < 0) {
            break;
        }
        gfsi_extent_pin(extent); /* unpin drops an extent that got no range and has no bytes */

        uint32_t first = (uint32_t)((at - start) / store->config.block_size);
        uint32_t last = (uint32_t)((stop - 1 - start) / store->config.block_size);

        rc = extent->sealed ? 0 : gfsi_range_enqueue(store, extent, first, last + 1);
        gfsi_extent_unpin(store, extent);
        if (rc < 0) {
            return gfs_err_set(err, rc, "too many loads are waiting already");
        }
        at = stop;
    }
    if (rc < 0 && file != NULL && file->extents == NULL) {
        gfsi_file_release(store, file);
    }
    return rc;
}

/* The extent at target->offset when it is sealed, pinned. */
static int find_sealed(struct gfsi_store *store, const struct gfsi_target *target,
                       struct gfsi_extent **out, struct gfs_err *err)
{
    struct gfsi_file *file = gfsi_file_lookup(store, target);
    uint32_t number = (uint32_t)(target->offset / store->config.extent_size);
    struct gfsi_extent *extent = file != NULL ? gfsi_extent_find(file, number) : NULL;

    if (extent == NULL || !extent->sealed || file->length != target->file_length) {
        return gfs_err_set(err, GFS_EPRECONDITION, "extent is not complete yet");
    }
    gfsi_space_touch(&store->dirs[extent->dir].space, &extent->space, ++store->stamp);
    gfsi_extent_pin(extent);
    *out = extent;
    return 0;
}

int gfsi_store_open_sealed(struct gfsi_store *store, const struct gfsi_target *target, int *out_fd,
                           struct gfs_data_opened *opened, struct gfs_err *err)
{
    struct gfsi_target whole = *target;
    struct gfsi_extent *extent = NULL;
    char path[1536];

    whole.length = 1;

    int rc = check_target(store, &whole, err);

    if (rc < 0) {
        return rc;
    }
    (void)pthread_mutex_lock(&store->mutex);
    rc = find_sealed(store, target, &extent, err);
    (void)pthread_mutex_unlock(&store->mutex);
    if (rc < 0 && target->length != 0) {
        return rc;
    }
    if (rc < 0) {
        whole.offset = target->offset - target->offset % store->config.extent_size;
        whole.length = gfsi_extent_length(store, target->file_length,
                                          (uint32_t)(target->offset / store->config.extent_size));

        int loaded = gfsi_store_load(store, &whole, NULL); /* BUSY: the client asks again anyway */

        (void)loaded;
        return rc;
    }
    gfsi_extent_path(store, extent, path, sizeof(path));

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int saved = errno;

    (void)pthread_mutex_lock(&store->mutex);
    *opened = (struct gfs_data_opened){
        .extent_offset = extent->number * store->config.extent_size,
        .extent_length = extent->length,
    };
    if (fd < 0) {
        gfsi_extent_detach(store, extent); /* somebody removed the file: fetch it again */
    }
    gfsi_extent_unpin(store, extent);
    (void)pthread_mutex_unlock(&store->mutex);
    if (fd < 0) {
        return gfs_err_set_errno(err, saved, "%s", path);
    }
    *out_fd = fd;
    return 0;
}
