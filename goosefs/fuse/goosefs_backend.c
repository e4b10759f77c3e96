#include "goosefs_backend.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/client/data_proto.h>
#include <gfs/client/file.h>

#define PERMISSIONS   07777u
#define DIRECTORY_HAS 0111u                 /* who may read a directory may enter it */
#define BACKING_NS    (500 * GFS_NS_PER_MS) /* an open(2) waits for it */

static void attr_from_info(const struct gfsi_goosefs_backend *b, const Goosefs__V1__FileInfo *info,
                           struct gfs_fuse_attr *out)
{
    uint32_t mode = info->mode & PERMISSIONS;

    if (info->directory) {
        mode |= S_IFDIR | ((mode >> 2) & DIRECTORY_HAS);
    } else {
        mode |= S_IFREG;
    }
    *out = (struct gfs_fuse_attr){
        .ino = info->id,
        .size = info->directory ? 0 : info->length,
        .version = info->version_id,
        .mtime_ms = info->mtime_ms,
        .mode = mode,
        .uid = b->uid,
        .gid = b->gid,
    };
}

/* The client's words are for the log; the caller of read(2) gets an errno only. */
static int fail(const char *op, int rc, const struct gfs_err *err)
{
    if (rc != GFS_ENOENT) {
        gfs_debug("fuse", "backend", "op=%s error=%s", op, GFS_Q(gfs_err_text(err, rc)));
    }
    return rc;
}

static int backend_lookup(void *ctx, uint64_t parent, const char *name, struct gfs_fuse_attr *out)
{
    const struct gfsi_goosefs_backend *b = ctx;
    Goosefs__V1__LookupRequest request = GOOSEFS__V1__LOOKUP_REQUEST__INIT;
    Goosefs__V1__LookupResponse *response = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    request.parent_id = parent;
    request.name = (char *)(uintptr_t)name;
    rc = gfs_client_lookup(b->client, &request, &response, 0, &err);
    if (rc != 0) {
        return fail("lookup", rc, &err);
    }
    if (response->info == NULL || response->info->id == 0) {
        rc = GFS_EPROTO;
    } else {
        attr_from_info(b, response->info, out);
    }
    goosefs__v1__lookup_response__free_unpacked(response, NULL);
    return rc;
}

/* *out is freed by the caller; its info is there. */
static int get_status(struct gfs_client *client, const char *path, uint64_t ino, int64_t deadline,
                      Goosefs__V1__GetStatusResponse **out, struct gfs_err *err)
{
    Goosefs__V1__GetStatusRequest request = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    int rc;

    target.path = (char *)(uintptr_t)path;
    target.id = ino;
    request.target = &target;
    rc = gfs_client_get_status(client, &request, out, deadline, err);
    if (rc == 0 && ((*out)->info == NULL || (*out)->info->id == 0)) {
        goosefs__v1__get_status_response__free_unpacked(*out, NULL);
        *out = NULL;
        return gfs_err_set(err, GFS_EPROTO, "master's answer has no file status");
    }
    return rc;
}

static int backend_getattr(void *ctx, uint64_t ino, struct gfs_fuse_attr *out)
{
    const struct gfsi_goosefs_backend *b = ctx;
    Goosefs__V1__GetStatusResponse *response = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = get_status(b->client, "", ino, 0, &response, &err);

    if (rc != 0) {
        return fail("getattr", rc, &err);
    }
    attr_from_info(b, response->info, out);
    goosefs__v1__get_status_response__free_unpacked(response, NULL);
    return 0;
}

static int backend_list(void *ctx, uint64_t dir, const char *after, size_t max,
                        gfs_fuse_entry_fn each, void *arg, bool *out_end)
{
    const struct gfsi_goosefs_backend *b = ctx;
    Goosefs__V1__ListStatusRequest request = GOOSEFS__V1__LIST_STATUS_REQUEST__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    Goosefs__V1__ListStatusResponse *response = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    size_t i;
    int rc;

    target.id = dir;
    request.target = &target;
    request.after = (char *)(uintptr_t)after;
    request.limit = (uint32_t)max;
    rc = gfs_client_list_status(b->client, &request, &response, 0, &err);
    if (rc != 0) {
        return fail("list", rc, &err);
    }
    for (i = 0; i < response->n_entries; i++) {
        const Goosefs__V1__FileInfo *info = response->entries[i];
        struct gfs_fuse_attr attr;

        if (info->id == 0) {
            continue;
        }
        attr_from_info(b, info, &attr);
        if (!each(arg, info->name, &attr)) {
            break;
        }
    }
    *out_end = i == response->n_entries && !response->more;
    goosefs__v1__list_status_response__free_unpacked(response, NULL);
    return 0;
}

static int backend_open(void *ctx, uint64_t ino, struct gfs_fuse_attr *out, void **out_file)
{
    const struct gfsi_goosefs_backend *b = ctx;
    Goosefs__V1__GetStatusResponse *response = NULL;
    struct gfs_client_file *file = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = get_status(b->client, "", ino, 0, &response, &err);

    if (rc == 0) {
        rc = gfs_client_file_open(b->client, response->info, &file, &err);
    }
    if (rc == 0) {
        attr_from_info(b, response->info, out);
        *out_file = file;
    }
    goosefs__v1__get_status_response__free_unpacked(response, NULL);
    return rc == 0 ? 0 : fail("open", rc, &err);
}

static ssize_t backend_pread(void *ctx, void *file, void *buf, size_t size, uint64_t offset)
{
    struct gfs_err err = GFS_ERR_INIT;
    ssize_t n = gfs_client_file_pread(file, buf, size, offset, 0, &err);

    (void)ctx;
    return n >= 0 ? n : fail("read", (int)n, &err);
}

static void backend_close(void *ctx, void *file)
{
    (void)ctx;
    (void)gfs_client_file_close(file);
}

/* A file of one extent, when the extent's worker is here and has all of it. It is not asked to
 * fetch the rest: a file that is only opened, or read in part, must not cost a whole extent. What
 * is read to its end is complete, and the next open finds it. */
static int backend_backing(void *ctx, void *file, int *out_fd)
{
    uint64_t length = gfs_client_file_length(file);
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    (void)ctx;
    if (length == 0 || length > GFS_EXTENT_SIZE) {
        return GFS_EUNSUPPORTED;
    }
    rc = gfs_client_file_open_extent(file, 0, false, gfs_clock_mono() + BACKING_NS, out_fd, &length,
                                     &err);
    return rc == 0 ? 0 : fail("backing", rc, &err);
}

/* The cache's size is what there is to say: the origin has no answer to "how large are you". */
static int backend_statfs(void *ctx, struct gfs_fuse_statfs *out)
{
    const struct gfsi_goosefs_backend *b = ctx;
    Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    Goosefs__V1__ListWorkersResponse *response = NULL;
    struct gfs_fuse_statfs fs = {.total_bytes = 0};
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfs_client_list_workers(b->client, &request, &response, 0, &err);
    size_t i;
    size_t t;

    if (rc != 0) {
        return fail("statfs", rc, &err);
    }
    for (i = 0; i < response->n_workers; i++) {
        const Goosefs__V1__WorkerInfo *worker = response->workers[i];

        for (t = 0; worker->live && t < worker->n_tiers; t++) {
            uint64_t used = worker->tiers[t]->used;
            uint64_t capacity = worker->tiers[t]->capacity;

            fs.total_bytes += capacity;
            fs.free_bytes += capacity > used ? capacity - used : 0;
        }
    }
    goosefs__v1__list_workers_response__free_unpacked(response, NULL);
    *out = fs;
    return 0;
}

const struct gfs_fuse_backend_ops gfsi_goosefs_backend_ops = {
    .lookup = backend_lookup,
    .getattr = backend_getattr,
    .list = backend_list,
    .open = backend_open,
    .pread = backend_pread,
    .close = backend_close,
    .backing = backend_backing,
    .statfs = backend_statfs,
};

int gfsi_goosefs_resolve(struct gfs_client *client, const char *path, int64_t deadline,
                         uint64_t *out_ino, struct gfs_err *err)
{
    Goosefs__V1__GetStatusResponse *response = NULL;
    int rc = get_status(client, path, 0, deadline, &response, err);

    if (rc != 0) {
        return gfs_err_wrap(err, rc, "%s", path);
    }
    if (!response->info->directory) {
        rc = gfs_err_set(err, GFS_ENOTDIR, "%s is not a directory", path);
    } else {
        *out_ino = response->info->id;
    }
    goosefs__v1__get_status_response__free_unpacked(response, NULL);
    return rc;
}
