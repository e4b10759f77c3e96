/* The operations. Whatever would change something is answered here: EROFS. (On a mount with
 * MS_RDONLY the kernel says so itself; this is for mounts that somebody made writable.)
 *
 * Left out on purpose, answered ENOSYS by the library, which the kernel remembers: flush and fsync
 * (nothing to write), extended attributes (there are none: EOPNOTSUPP to callers), locks (the
 * kernel keeps them itself), lseek (the kernel's own is right for files without holes). */
#include "fuse_priv.h"

#include <errno.h>
#include <stdint.h>

#include <gfs/base/clock.h>

static void deny(fuse_req_t req)
{
    struct gfs_fuse *fuse = fuse_req_userdata(req);
    int64_t started = gfs_clock_mono();

    (void)fuse_reply_err(req, EROFS);
    gfsi_observe(fuse, GFSI_OP_DENIED, started);
}

#define DENY(name, ...)                                                                            \
    static void deny_##name(fuse_req_t req, __VA_ARGS__)                                           \
    {                                                                                              \
        deny(req);                                                                                 \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
DENY(setattr, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
DENY(mknod, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
DENY(mkdir, fuse_ino_t parent, const char *name, mode_t mode)
DENY(remove, fuse_ino_t parent, const char *name)
DENY(symlink, const char *link, fuse_ino_t parent, const char *name)
DENY(rename, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *to_name,
     unsigned int flags)
DENY(link, fuse_ino_t ino, fuse_ino_t parent, const char *name)
DENY(write, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
DENY(setxattr, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
DENY(create, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
DENY(fallocate, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
#pragma GCC diagnostic pop

const struct fuse_lowlevel_ops gfsi_fuse_ops = {
    .init = gfsi_op_init,
    .lookup = gfsi_op_lookup,
    .forget = gfsi_op_forget,
    .forget_multi = gfsi_op_forget_multi,
    .getattr = gfsi_op_getattr,
    .access = gfsi_op_access,
    .statfs = gfsi_op_statfs,
    .open = gfsi_op_open,
    .read = gfsi_op_read,
    .release = gfsi_op_release,
    .opendir = gfsi_op_opendir,
    .readdir = gfsi_op_readdir,
    .readdirplus = gfsi_op_readdirplus,
    .releasedir = gfsi_op_releasedir,
    .setattr = deny_setattr,
    .mknod = deny_mknod,
    .mkdir = deny_mkdir,
    .unlink = deny_remove,
    .rmdir = deny_remove,
    .symlink = deny_symlink,
    .rename = deny_rename,
    .link = deny_link,
    .write = deny_write,
    .setxattr = deny_setxattr,
    .removexattr = deny_remove,
    .create = deny_create,
    .fallocate = deny_fallocate,
};
