/* Directories. */
#include "fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <gfs/base/clock.h>

void gfsi_op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(fuse, node);
    uint64_t id;
    int rc = gfsi_dir_open(&fuse->dirs, ino, &id);

    if (rc != 0) {
        gfsi_reply_error(fuse, req, GFSI_OP_OPENDIR, ino, rc);
    } else {
        fi->fh = id;
        if (fuse_reply_open(req, fi) != 0) {
            gfsi_dir_release(&fuse->dirs, id);
        }
    }
    gfsi_observe(fuse, GFSI_OP_OPENDIR, started);
}

void gfsi_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();

    (void)ino;
    gfsi_dir_release(&fuse->dirs, fi->fh);
    (void)fuse_reply_err(req, 0);
    gfsi_observe(fuse, GFSI_OP_RELEASEDIR, started);
}

struct filler {
    struct gfs_fuse *fuse;
    fuse_req_t req;
    fuse_ino_t node;
    bool plus;
    char *buf;
    size_t size;
    size_t used;
};

/* False when it does not fit any more. `next` is the position behind the entry. */
static bool add_entry(struct filler *f, const char *name, const struct gfs_fuse_attr *attr,
                      uint64_t next)
{
    char *at = f->buf + f->used;
    size_t left = f->size - f->used;
    struct fuse_entry_param entry;
    size_t need;

    if (attr != NULL) {
        gfsi_entry_from_attr(f->fuse, attr, &entry);
    } else {
        /* "." and "..": entries without a look-up, which node 0 says to the kernel. */
        entry = (struct fuse_entry_param){.attr = {.st_ino = f->node, .st_mode = S_IFDIR}};
    }
    need = f->plus ? fuse_add_direntry_plus(f->req, at, left, name, &entry, (off_t)next)
                   : fuse_add_direntry(f->req, at, left, name, &entry.attr, (off_t)next);
    if (need > left) {
        return false;
    }
    f->used += need;
    return true;
}

static int fill(struct filler *f, struct gfsi_dir *dir, uint64_t position)
{
    static const char *const dots[GFSI_DIR_FIRST] = {".", ".."};
    struct gfsi_dir_entry entry;
    int rc;

    for (; position < GFSI_DIR_FIRST; position++) {
        if (!add_entry(f, dots[position], NULL, position + 1)) {
            return 0;
        }
    }
    for (;; position++) {
        rc = gfsi_dir_at(&f->fuse->dirs, dir, position, &entry);
        if (rc <= 0) {
            /* What is there already is given out; the error comes with the next call. */
            return f->used > 0 ? 0 : rc;
        }
        if (!add_entry(f, entry.name, &entry.attr, position + 1)) {
            return 0;
        }
    }
}

static void read_directory(struct filler *f, enum gfsi_fuse_op op, uint64_t position, uint64_t id)
{
    int64_t started = gfs_clock_mono();
    uint64_t ino = gfsi_ino_from_node(f->fuse, f->node);
    struct gfsi_dir *dir;
    int rc = GFS_ENOMEM;

    f->buf = f->size <= GFS_FUSE_MAX_READ ? malloc(f->size) : NULL;
    if (f->buf != NULL) {
        rc = gfsi_dir_begin(&f->fuse->dirs, id, ino, &dir);
    }
    if (rc == 0) {
        if (position == 0) {
            gfsi_dir_rewind(dir);
        }
        rc = fill(f, dir, position);
        gfsi_dir_done(&f->fuse->dirs, dir);
    }
    if (rc != 0) {
        gfsi_reply_error(f->fuse, f->req, op, ino, rc);
    } else {
        (void)fuse_reply_buf(f->req, f->buf, f->used);
    }
    free(f->buf);
    gfsi_observe(f->fuse, op, started);
}

void gfsi_op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct filler f = {.fuse = fuse_req_userdata(req), .req = req, .node = node, .size = size};

    read_directory(&f, GFSI_OP_READDIR, (uint64_t)off, fi->fh);
}

void gfsi_op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                         struct fuse_file_info *fi)
{
    struct filler f = {
        .fuse = fuse_req_userdata(req), .req = req, .node = node, .plus = true, .size = size};

    read_directory(&f, GFSI_OP_READDIRPLUS, (uint64_t)off, fi->fh);
}
