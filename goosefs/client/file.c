/* Reading a file: which extents, which workers, what next when one fails. */
#include "file_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/client/placement.h>

#define SUSPECT_NS (1 * GFS_NS_PER_S)
#define HUNG_NS    (30 * GFS_NS_PER_S) /* finding out again would cost seconds again */
#define PATIENCE   6 /* times try_ns, with a worker that lives: its origin may be slow */

int gfs_client_file_open(struct gfs_client *client, const Goosefs__V1__FileInfo *info,
                         struct gfs_client_file **out, struct gfs_err *err)
{
    if (info->directory) {
        return gfs_err_set(err, GFS_EISDIR, "%s is a directory", info->path);
    }
    const size_t path_len = strlen(info->ufs_path), version_len = strlen(info->version);
    if (path_len > GFS_DATA_PATH_MAX || version_len > GFS_DATA_VERSION_MAX) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "path or version at the origin is too long");
    }
    struct gfs_client_file *file = calloc(1, sizeof(*file) + path_len + version_len);
    if (file == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    file->client = client;
    file->inode_id = info->id;
    file->version_id = info->version_id;
    file->length = info->length;
    file->mount_id = info->mount_id;
    file->path_len = (uint16_t)path_len;
    file->version_len = (uint16_t)version_len;
    memcpy(file->tail, info->ufs_path, path_len);
    memcpy(file->tail + path_len, info->version, version_len);
    *out = file;
    return 0;
}

struct gfs_client_file *gfs_client_file_close(struct gfs_client_file *file)
{
    free(file);
    return NULL;
}

uint64_t gfs_client_file_length(const struct gfs_client_file *file)
{
    return file->length;
}

/* Errors about the file, which no other worker would answer otherwise. */
static bool is_final(int code)
{
    switch (code) {
    case GFS_ECHANGED:
    case GFS_ENOENT:
    case GFS_EINVAL:
    case GFS_ERANGE:
    case GFS_EPERM:
    case GFS_EUNAUTH:
    case GFS_EISDIR:
    case GFS_ENOTDIR:
    case GFS_EUNSUPPORTED:
    case GFS_ECANCELLED: return true;
    default: return false;
    }
}

static bool is_suspect(struct gfsi_worker *worker, int64_t now)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    return worker->suspect_until > now;
}

static void note(struct gfsi_worker *worker, int code)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    if (code == 0) {
        worker->suspect_until = 0;
    } else if (code == GFS_EUNAVAIL || code == GFS_ETIMEOUT || code == GFS_EPROTO) {
        worker->suspect_until = gfs_clock_mono() + (code == GFS_ETIMEOUT ? HUNG_NS : SUSPECT_NS);
    }
}

size_t gfsi_file_candidates(const struct gfsi_workers *workers, uint64_t inode_id, uint64_t extent,
                            struct gfsi_worker **out)
{
    uint32_t order[GFSI_CANDIDATES_MAX];
    const size_t n =
        gfs_placement_order(workers->ids, workers->n, inode_id, extent, order, GFSI_CANDIDATES_MAX);
    const int64_t now = gfs_clock_mono();
    bool suspect[GFSI_CANDIDATES_MAX];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        suspect[i] = is_suspect(workers->list[order[i]], now);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            if (suspect[i] == (pass == 1)) {
                out[k++] = workers->list[order[i]];
            }
        }
    }
    return n;
}

/* Asks one worker after the other. *out_stays: every one gave an error that will not pass. */
static int ask_in_turn(struct gfs_client_file *file, const struct gfsi_workers *workers,
                       enum gfs_data_type type, struct gfsi_chunk *chunks, size_t n,
                       int64_t deadline, bool *out_stays, struct gfs_err *err)
{
    struct gfsi_worker *order[GFSI_CANDIDATES_MAX];
    const size_t n_order =
        gfsi_file_candidates(workers, file->inode_id, chunks[0].offset / GFS_EXTENT_SIZE, order);
    int rc = GFS_EUNAVAIL;
    *out_stays = true;
    for (size_t i = 0; i < n_order; i++) {
        struct gfs_err one = GFS_ERR_INIT;
        rc = gfsi_request(file, order[i], type, chunks, n, PATIENCE * file->client->try_ns,
                          deadline, &one);
        note(order[i], rc);
        if (rc == 0) {
            gfs_metric_add(file->client->read_failovers, i > 0 ? 1 : 0);
            return 0;
        }
        (void)gfs_err_set(err, rc, "worker %s: %s", order[i]->address, gfs_err_text(&one, rc));
        if (is_final(rc) || gfs_clock_mono() >= deadline) {
            *out_stays = is_final(rc);
            return rc;
        }
        *out_stays = *out_stays && !gfs_err_retryable(rc);
        gfs_debug("client", "worker failed", "worker=%s error=%s", order[i]->address, one.text);
    }
    return rc;
}

/* Until it is done or the deadline. All chunks lie in one extent. */
static int ask_until_done(struct gfs_client_file *file, enum gfs_data_type type,
                          struct gfsi_chunk *chunks, size_t n, int64_t deadline,
                          struct gfs_err *err)
{
    struct gfs_client *client = file->client;
    struct gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, deadline, NULL);
    for (;;) {
        struct gfs_err now = GFS_ERR_INIT;
        struct gfsi_workers *workers = gfsi_workers_get(client, deadline, &now);
        if (workers == NULL) {
            return gfs_err_set(err, now.code, "%s", now.text);
        }
        bool stays = false;
        const int rc = ask_in_turn(file, workers, type, chunks, n, deadline, &stays, &now);
        gfsi_workers_release(client, workers);
        if (rc == 0) {
            return 0;
        }
        if (stays) {
            return gfs_err_set(err, rc, "%s", now.text);
        }

        gfsi_workers_want_refresh(client);
        int64_t delay;
        if (!gfs_rpc_retry_delay(&retry, GFS_EUNAVAIL, &delay)) {
            return gfs_err_set(err, rc, "no worker could read it in time: %s", now.text);
        }
        if (!gfsi_client_sleep(client, gfs_clock_mono() + delay)) {
            return gfs_err_set(err, GFS_ECANCELLED, "the client is closed");
        }
    }
}

/* Cuts [offset, end) into the next pipeline: chunks of one extent, ending at multiples of their
 * size, so that each is one block at the worker. */
static size_t cut(uint64_t offset, uint64_t end, uint64_t step, char *buf,
                  struct gfsi_chunk chunks[GFSI_CHUNKS_MAX])
{
    const uint64_t extent = offset / GFS_EXTENT_SIZE;
    size_t n = 0;
    while (offset < end && n < GFSI_CHUNKS_MAX && offset / GFS_EXTENT_SIZE == extent) {
        uint64_t stop = (offset / step + 1) * step;
        stop = stop < end ? stop : end;
        chunks[n++] =
            (struct gfsi_chunk){.offset = offset, .length = (uint32_t)(stop - offset), .buf = buf};
        buf = buf != NULL ? buf + (stop - offset) : NULL;
        offset = stop;
    }
    return n;
}

ssize_t gfs_client_file_pread(struct gfs_client_file *file, void *buf, size_t size, uint64_t offset,
                              int64_t deadline, struct gfs_err *err)
{
    if (offset >= file->length || size == 0) {
        return 0;
    }
    deadline = gfsi_client_deadline(file->client, deadline);
    const uint64_t left = file->length - offset;
    const uint64_t end = offset + (size < left ? size : left);

    uint64_t at = offset;
    while (at < end) {
        struct gfsi_chunk chunks[GFSI_CHUNKS_MAX];
        const size_t n = cut(at, end, GFS_DATA_READ_MAX, (char *)buf + (at - offset), chunks);
        const int rc = ask_until_done(file, GFS_DATA_READ, chunks, n, deadline, err);
        if (rc < 0) {
            return rc;
        }
        at = chunks[n - 1].offset + chunks[n - 1].length;
    }
    gfs_metric_add(file->client->read_bytes, (int64_t)(end - offset));
    return (ssize_t)(end - offset);
}

int gfs_client_file_load(struct gfs_client_file *file, uint64_t offset, uint64_t length,
                         int64_t deadline, struct gfs_err *err)
{
    deadline = gfsi_client_deadline(file->client, deadline);
    const uint64_t left = offset < file->length ? file->length - offset : 0;
    const uint64_t end = offset + (length != 0 && length < left ? length : left);
    while (offset < end) {
        struct gfsi_chunk chunks[GFSI_CHUNKS_MAX];
        const size_t n = cut(offset, end, GFS_EXTENT_SIZE, NULL, chunks);
        const int rc = ask_until_done(file, GFS_DATA_LOAD, chunks, n, deadline, err);
        if (rc < 0) {
            return rc;
        }
        offset = chunks[n - 1].offset + chunks[n - 1].length;
    }
    return 0;
}
