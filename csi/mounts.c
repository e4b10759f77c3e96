#include "mounts_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>

static int kernel_read(void *self, struct gfs_mounttable **out, struct gfs_err *err)
{
    (void)self;
    return gfs_mounttable_read(NULL, out, err);
}

static int kernel_bind(void *self, const struct gfsi_bind *bind, struct gfs_err *err)
{
    int tree gfs_auto_fd = -1;
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                    (bind->flags.read_only ? (uint64_t)MOUNT_ATTR_RDONLY : 0) |
                    (bind->flags.noexec ? (uint64_t)MOUNT_ATTR_NOEXEC : 0) |
                    (bind->flags.noatime ? (uint64_t)MOUNT_ATTR_NOATIME : 0) |
                    (bind->flags.nodiratime ? (uint64_t)MOUNT_ATTR_NODIRATIME : 0),
        .attr_clr = bind->flags.noatime ? MOUNT_ATTR__ATIME : 0,
        /* What is mounted at the source later does not show up in pods. The target's own
         * propagation is that of the directory it is attached to. */
        .propagation = MS_PRIVATE,
    };

    (void)self;
    tree = (int)syscall(SYS_open_tree, bind->source, "",
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0) {
        return gfs_err_set_errno(err, errno, "open_tree of %s", bind->source_path);
    }
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
        return gfs_err_set_errno(err, errno, "mount_setattr (Linux 5.12 is needed)");
    }
    if (syscall(SYS_move_mount, tree, "", bind->target, "",
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        return gfs_err_set_errno(err, errno, "move_mount to %s", bind->target_path);
    }
    return 0;
}

static int kernel_unmount(void *self, const struct gfsi_place *place, const char *path, bool lazy,
                          struct gfs_err *err)
{
    char name[64 + 256];

    (void)self;
    /* umount2 has no descriptor form; through /proc the walk starts at the one we hold, and ends at
     * the leaf itself. */
    if (snprintf(name, sizeof(name), "/proc/self/fd/%d/%s", place->parent, place->leaf) >=
        (int)sizeof(name)) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "%s", path);
    }
    if (umount2(name, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) {
        return 0;
    }
    if (errno == EBUSY) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s is busy", path);
    }
    return gfs_err_set_errno(err, errno, "unmount of %s", path);
}

const struct gfsi_mounts gfsi_mounts_kernel = {
    .read = kernel_read,
    .bind = kernel_bind,
    .unmount = kernel_unmount,
};
