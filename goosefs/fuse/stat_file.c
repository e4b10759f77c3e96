/* A file in the root that no listing shows: GFSI_STAT_NAME, whose text is this mount's /metrics, so
 * that whoever sees the mount can ask what it does, without a port, a configuration or the keeper's
 * socket (`goosefs fuse stat MOUNTPOINT`). It is made at each read from offset 0; one read of
 * GFS_FUSE_MAX_READ bytes has all of it. An object of that name below the root is hidden by it. */
#include "fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <gfs/base/buf.h>

static void fill_stat(struct stat *out)
{
    *out = (struct stat){.st_ino = GFSI_STAT_INO, .st_mode = S_IFREG | 0444, .st_nlink = 1};
}

bool gfsi_stat_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.ino = GFSI_STAT_INO, .generation = 1};

    if (parent != FUSE_ROOT_ID || strcmp(name, GFSI_STAT_NAME) != 0) {
        return false;
    }
    fill_stat(&entry.attr);
    (void)fuse_reply_entry(req, &entry);
    return true;
}

bool gfsi_stat_getattr(fuse_req_t req, fuse_ino_t node)
{
    struct stat st;

    if (node != GFSI_STAT_INO) {
        return false;
    }
    fill_stat(&st);
    (void)fuse_reply_attr(req, &st, 0);
    return true;
}

bool gfsi_stat_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (node != GFSI_STAT_INO) {
        return false;
    }
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        (void)fuse_reply_err(req, EROFS);
        return true;
    }
    fi->fh = 0;
    fi->direct_io = 1; /* its size is not known before it is read */
    (void)fuse_reply_open(req, fi);
    return true;
}

/* Over all clients of the mount, from the session they share. */
static void print_session(const struct gfs_fuse *fuse, struct gfs_buf *out)
{
    const struct gfs_session *s = fuse->state;

    (void)gfs_buf_printf(out,
                         "goosefs_fuse_mount_restarts_total %u\n"
                         "goosefs_fuse_mount_resent_total %llu\n"
                         "goosefs_fuse_mount_requests_total %llu\n",
                         s != NULL && s->generation > 0 ? s->generation - 1 : 0,
                         s != NULL ? (unsigned long long)s->resent : 0ULL,
                         s != NULL ? (unsigned long long)s->taken : 0ULL);
}

static void reply_text(struct gfs_fuse *fuse, fuse_req_t req, size_t size, size_t at)
{
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, GFS_FUSE_MAX_READ);
    print_session(fuse, &text);
    (void)gfs_metrics_print(fuse->metrics, &text);
    if (text.error != 0) {
        (void)fuse_reply_err(req, ENOMEM);
        return;
    }
    at = at < text.len ? at : text.len;
    size = size < text.len - at ? size : text.len - at;
    (void)fuse_reply_buf(req, text.data + at, size);
}

bool gfsi_stat_read(struct gfs_fuse *fuse, fuse_req_t req, fuse_ino_t node, size_t size, off_t off)
{
    if (node != GFSI_STAT_INO) {
        return false;
    }
    reply_text(fuse, req, size, (size_t)off);
    return true;
}

bool gfsi_stat_release(fuse_req_t req, fuse_ino_t node)
{
    if (node != GFSI_STAT_INO) {
        return false;
    }
    (void)fuse_reply_err(req, 0);
    return true;
}
