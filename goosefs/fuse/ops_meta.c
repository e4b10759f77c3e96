/* Names and attributes. */
#include "fuse_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <gfs/base/clock.h>

#define STATFS_BLOCK 4096
#define NAME_BYTES   255
#define BACKGROUND   64 /* readahead requests in flight */

void gfsi_op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct gfs_fuse *fuse = userdata;
    bool wanted = fuse->config.passthrough && fuse->config.backend.ops->backing != NULL;

    conn->max_readahead = GFS_FUSE_MAX_READ;
    conn->max_read = GFS_FUSE_MAX_READ;
    conn->max_background = BACKGROUND;
    conn->congestion_threshold = BACKGROUND * 3 / 4;
    conn->no_interrupt = 1; /* the library's way; here they are taken before it (interrupt.c) */
    fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ); /* only writes would profit */
    (void)fuse_set_feature_flag(conn, FUSE_CAP_ASYNC_READ);
    (void)fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
    (void)fuse_set_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
    (void)fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS);
    (void)fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
    (void)fuse_set_feature_flag(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
    /* Replies from a file: between this process and the device, no matter of the INIT reply. */
    fuse->splice = fuse->config.splice && fuse->config.backend.ops->backing != NULL;
    if (fuse->splice) {
        (void)fuse_set_feature_flag(conn, FUSE_CAP_SPLICE_WRITE);
    }
    /* A successor does what the mount's first client did, whatever it is told itself. */
    /* Asynchronous direct I/O is not for us: nothing wakes who waits for it, not even SIGKILL. */
    if (gfsi_channel_negotiated(fuse, GFSI_INIT_ASYNC_DIO, false)) {
        (void)fuse_set_feature_flag(conn, FUSE_CAP_ASYNC_DIO);
    } else {
        (void)fuse_unset_feature_flag(conn, FUSE_CAP_ASYNC_DIO);
    }
    if (gfsi_channel_negotiated(fuse, GFSI_INIT_PASSTHROUGH, wanted) &&
        fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
        conn->max_backing_stack_depth = 1;
        fuse->passthrough = true;
    }
}

void gfsi_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    const struct gfs_fuse_backend *b = &fuse->config.backend;
    int64_t started = gfs_clock_mono();
    uint64_t dir = gfsi_ino_from_node(fuse, parent);
    struct fuse_entry_param entry;
    struct gfs_fuse_attr attr;
    int rc;

    if (gfsi_stat_lookup(req, parent, name)) {
        return;
    }
    rc = strlen(name) > NAME_BYTES ? GFS_ENAMETOOLONG : b->ops->lookup(b->ctx, dir, name, &attr);

    if (rc == GFS_ENOENT) {
        /* Node 0: the kernel remembers that there is no such name. */
        entry = (struct fuse_entry_param){
            .entry_timeout = gfsi_seconds(fuse->config.negative_timeout_ns),
        };
        (void)fuse_reply_entry(req, &entry);
    } else if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_LOOKUP, dir, rc);
    } else {
        gfsi_entry_from_attr(fuse, &attr, &entry);
        (void)fuse_reply_entry(req, &entry);
    }
    gfsi_observe(fuse, GFSI_OP_LOOKUP, started);
}

/* Node ids are inode ids: there is nothing to forget. */
void gfsi_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    (void)ino;
    (void)nlookup;
    fuse_reply_none(req);
}

void gfsi_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    (void)count;
    (void)forgets;
    fuse_reply_none(req);
}

void gfsi_op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    const struct gfs_fuse_backend *b = &fuse->config.backend;
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    struct gfs_fuse_attr attr;
    struct stat st;
    int rc;

    (void)fi;
    if (gfsi_stat_getattr(req, node)) {
        return;
    }
    rc = b->ops->getattr(b->ctx, ino, &attr);
    if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_GETATTR, ino, rc);
    } else {
        gfsi_stat_from_attr(fuse, &attr, &st);
        gfsi_version_cache_tell(&fuse->versions, attr.ino, attr.version & GFSI_VERSION_BITS);
        (void)fuse_reply_attr(req, &st, gfsi_seconds(fuse->config.attr_timeout_ns));
    }
    gfsi_observe(fuse, GFSI_OP_GETATTR, started);
}

/* Reached only without default_permissions, where nobody but writers is turned away. */
void gfsi_op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();

    (void)ino;
    (void)fuse_reply_err(req, (mask & W_OK) != 0 ? EROFS : 0);
    gfsi_observe(fuse, GFSI_OP_ACCESS, started);
}

void gfsi_op_statfs(fuse_req_t req, fuse_ino_t node)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    const struct gfs_fuse_backend *b = &fuse->config.backend;
    int64_t started = gfs_clock_mono();
    struct gfs_fuse_statfs fs;
    struct statvfs st;
    int rc = b->ops->statfs(b->ctx, &fs);

    if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_STATFS, gfsi_ino_from_node(fuse, node), rc);
    } else {
        st = (struct statvfs){
            .f_bsize = STATFS_BLOCK,
            .f_frsize = STATFS_BLOCK,
            .f_blocks = (fs.total_bytes + STATFS_BLOCK - 1) / STATFS_BLOCK,
            .f_bfree = fs.free_bytes / STATFS_BLOCK,
            .f_bavail = fs.free_bytes / STATFS_BLOCK,
            .f_files = fs.files,
            .f_namemax = NAME_BYTES,
        };
        (void)fuse_reply_statfs(req, &st);
    }
    gfsi_observe(fuse, GFSI_OP_STATFS, started);
}
