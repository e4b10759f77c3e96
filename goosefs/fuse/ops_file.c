/* Files. A handle is the version that was opened, nothing more. */
#include "fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include <gfs/base/clock.h>

void gfsi_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    uint64_t version;
    bool stale;
    int rc;

    if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & (O_TRUNC | O_APPEND)) != 0) {
        (void)fuse_reply_err(req, EROFS);
        return;
    }
    rc = gfsi_file_open(&fuse->files, ino, &version);
    if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_OPEN, ino, rc);
    } else {
        fi->fh = version;
        fi->keep_cache = gfsi_version_cache_open(&fuse->versions, ino, version, &stale) ? 1 : 0;
        if (stale) {
            /* The object changed since the kernel was told its size: it must ask before it reads.
             * Attributes only (negative offset): that takes no lock an open could hold. */
            (void)fuse_lowlevel_notify_inval_inode(fuse->session, node, -1, 0);
        }
        if (fuse_reply_open(req, fi) != 0) {
            /* The opener was killed meanwhile: no RELEASE will come. */
            gfsi_file_release(&fuse->files, ino, version);
        }
    }
    gfsi_observe(fuse, GFSI_OP_OPEN, started);
}

static char *reply_buffer(size_t size)
{
    struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();

    if (w == NULL || size > GFS_FUSE_MAX_READ) {
        return NULL;
    }
    if (w->buf == NULL) {
        w->buf = malloc(GFS_FUSE_MAX_READ);
    }
    return w->buf;
}

void gfsi_op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                  struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    char *buf = reply_buffer(size);
    ssize_t n = GFS_ENOMEM;

    if (buf != NULL) {
        n = gfsi_file_read(&fuse->files, ino, fi->fh, buf, size, (uint64_t)off);
    }
    if (n < 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_READ, ino, (int)n);
    } else {
        (void)fuse_reply_buf(req, buf, (size_t)n);
        gfs_metric_add(fuse->read_bytes, n);
    }
    gfsi_observe(fuse, GFSI_OP_READ, started);
}

void gfsi_op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();

    gfsi_file_release(&fuse->files, gfsi_ino_from_node(fuse, node), fi->fh);
    (void)fuse_reply_err(req, 0);
    gfsi_observe(fuse, GFSI_OP_RELEASE, started);
}
