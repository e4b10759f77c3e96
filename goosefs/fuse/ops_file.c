/* Files. A handle is the version that was opened and, in its two lowest bits, the I/O mode. */
#include "fuse_priv.h"

#include <errno.h>
#include <fcntl.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

static uint64_t version_of(uint64_t handle)
{
    return handle & GFSI_VERSION_BITS;
}

static enum gfsi_io_mode mode_of(uint64_t handle)
{
    return (enum gfsi_io_mode)(handle & ~GFSI_VERSION_BITS);
}

/* A local file with the pair's bytes is asked for, and used in the best way there is: 1. the kernel
 * reads it alone, 2. replies are spliced from it. Each falls to the next by what works, not by
 * versions; without a file, bytes are copied through this process. Returns the backing id, 0: not
 * the first way. */
static uint32_t find_local(struct gfs_fuse *fuse, uint64_t ino, uint64_t version, bool may_back)
{
    int fd gfs_auto_fd = -1;
    int id = 0;

    may_back = may_back && fuse->config.passthrough;
    if ((!may_back && !fuse->splice) || gfsi_file_backing(&fuse->files, ino, version, &fd) != 0) {
        return 0;
    }
    if (may_back) {
        id = gfsi_fuse_backing_open(fuse, ino, fd);
    }
    if (id <= 0 && fuse->splice) {
        gfsi_file_local_keep(&fuse->files, ino, version, GFS_TAKE_FD(fd));
    }
    return id > 0 ? (uint32_t)id : 0;
}

/* For an open that will not be in passthrough mode. */
static void find_splice_source(struct gfs_fuse *fuse, uint64_t ino, uint64_t version)
{
    if (fuse->splice && gfsi_file_local_wants(&fuse->files, ino, version)) {
        (void)find_local(fuse, ino, version, false);
    }
}

static enum gfsi_io_mode choose_mode(struct gfs_fuse *fuse, uint64_t ino, uint64_t version,
                                     uint32_t *out_id)
{
    enum gfsi_io_mode mode;
    uint32_t id;

    if (!fuse->passthrough) {
        *out_id = 0;
        find_splice_source(fuse, ino, version);
        return GFSI_IO_CACHED; /* nothing to mix it with, nothing to remember */
    }
    if (gfsi_mode_join(&fuse->modes, ino, version, &mode, out_id)) {
        if (mode != GFSI_IO_PASSTHROUGH) {
            find_splice_source(fuse, ino, version);
        }
        return mode;
    }
    id = find_local(fuse, ino, version, true);
    if (!gfsi_mode_decide(&fuse->modes, ino, version, id, &mode, out_id) && id != 0) {
        gfsi_fuse_backing_close(fuse, ino, id);
    }
    return mode;
}

static void leave_mode(struct gfs_fuse *fuse, uint64_t ino, enum gfsi_io_mode mode)
{
    uint32_t id;

    if (!fuse->passthrough || mode == GFSI_IO_DIRECT) {
        return;
    }
    gfsi_mode_leave(&fuse->modes, ino, &id);
    if (id != 0) {
        gfsi_fuse_backing_close(fuse, ino, id);
    }
}

static void finish_open(struct gfs_fuse *fuse, fuse_req_t req, fuse_ino_t node, uint64_t version,
                        uint64_t size, struct fuse_file_info *fi)
{
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    bool stale;
    bool same = gfsi_version_cache_open(&fuse->versions, ino, version, &stale);
    uint32_t id;
    enum gfsi_io_mode mode = choose_mode(fuse, ino, version, &id);

    fi->fh = version | (uint64_t)mode;
    fi->backing_id = (int32_t)id;
    fi->direct_io = mode == GFSI_IO_DIRECT || mode == GFSI_IO_DIRECT_HELD ? 1 : 0;
    fi->keep_cache = same && mode == GFSI_IO_CACHED ? 1 : 0;
    if (stale) {
        /* The object changed since the kernel was told its size: it must ask before it reads.
         * Attributes only (negative offset): that takes no lock an open could hold. */
        (void)fuse_lowlevel_notify_inval_inode(fuse->session, node, -1, 0);
    }
    if (mode == GFSI_IO_PASSTHROUGH) {
        gfs_metric_add(fuse->passthrough_opens, 1);
        gfs_metric_add(fuse->passthrough_bytes, (int64_t)size);
    }
    if (fuse_reply_open(req, fi) != 0) {
        /* The opener was killed meanwhile: no RELEASE will come. */
        gfsi_file_release(&fuse->files, ino, version);
        leave_mode(fuse, ino, mode);
    }
}

void gfsi_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    uint64_t version;
    uint64_t size;
    int rc;

    if (gfsi_stat_open(req, node, fi)) {
        return;
    }
    if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & (O_TRUNC | O_APPEND)) != 0) {
        (void)fuse_reply_err(req, EROFS);
        return;
    }
    rc = gfsi_file_open(&fuse->files, ino, &version, &size);
    if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_OPEN, ino, rc);
    } else {
        finish_open(fuse, req, node, version, size, fi);
    }
    gfsi_observe(fuse, GFSI_OP_OPEN, started);
}

/* Replies from the local file, if there is one, by splice where the device takes that. */
static bool read_spliced(struct gfs_fuse *fuse, fuse_req_t req, uint64_t ino, uint64_t version,
                         size_t size, uint64_t offset)
{
    struct gfsi_file *file;
    uint64_t length;
    int fd;

    if (!fuse->splice || !gfsi_file_local_begin(&fuse->files, ino, version, &file, &fd, &length)) {
        return false;
    }
    if (offset >= length) {
        size = 0;
    } else if (size > length - offset) {
        size = length - offset;
    }
    struct fuse_bufvec bytes = {
        .count = 1,
        .buf = {{.size = size,
                 .flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY,
                 .fd = fd,
                 .pos = (off_t)offset}},
    };
    /* Not by moving pages: they are the worker's cache. */
    (void)fuse_reply_data(req, &bytes, 0);
    gfs_metric_add(fuse->read_bytes, (int64_t)size);
    gfs_metric_add(fuse->spliced_bytes, (int64_t)size);
    gfsi_file_local_end(&fuse->files, file);
    return true;
}

static void read_copied(struct gfs_fuse *fuse, fuse_req_t req, uint64_t ino, uint64_t version,
                        size_t size, uint64_t offset)
{
    char *buf = size <= GFS_FUSE_MAX_READ ? gfsi_reply_bufs_take(&fuse->reply_bufs) : NULL;
    ssize_t n = GFS_ENOMEM;

    if (buf != NULL) {
        n = gfsi_file_read(&fuse->files, ino, version, buf, size, offset);
    }
    if (n < 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_READ, ino, (int)n);
    } else {
        (void)fuse_reply_buf(req, buf, (size_t)n);
        gfs_metric_add(fuse->read_bytes, n);
    }
    gfsi_reply_bufs_give(&fuse->reply_bufs, buf);
}

void gfsi_op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                  struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    uint64_t version = version_of(fi->fh);

    if (gfsi_stat_read(fuse, req, node, size, off)) {
        return;
    }
    if (!read_spliced(fuse, req, ino, version, size, (uint64_t)off)) {
        read_copied(fuse, req, ino, version, size, (uint64_t)off);
    }
    gfsi_observe(fuse, GFSI_OP_READ, started);
}

void gfsi_op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    const struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();

    if (gfsi_stat_release(req, node)) {
        return;
    }
    gfsi_file_release(&fuse->files, ino, version_of(fi->fh));
    /* A predecessor may have counted this one already: too many are safe, too few are not. */
    if (w == NULL || !w->again) {
        leave_mode(fuse, ino, mode_of(fi->fh));
    }
    (void)fuse_reply_err(req, 0);
    gfsi_observe(fuse, GFSI_OP_RELEASE, started);
}
