/* Bind mounts by descriptor: clone the subtree detached, set its attributes, then attach it. */
#include <gfs/mounter/mounttable.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>

/* For kernels without open_tree and mount_setattr (before 5.12), and only for these. */
static bool is_missing(int errnum)
{
    return errnum == ENOSYS;
}

/* An O_PATH descriptor of what is to be shown. O_PATH and the mount root's own look-up ask a FUSE
 * file system nothing; only the walk along sub_path does. */
static int open_source(const struct gfs_bind *bind, struct gfs_err *err)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int root gfs_auto_fd = open(bind->source, O_PATH | O_CLOEXEC);
    int fd;

    if (root < 0) {
        return gfs_err_set_errno(err, errno, "bind source %s", bind->source);
    }
    if (bind->sub_path == NULL || bind->sub_path[0] == '\0') {
        return GFS_TAKE_FD(root);
    }
    fd = (int)syscall(SYS_openat2, root, bind->sub_path, &how, sizeof(how));
    if (fd < 0 && (errno == EXDEV || errno == ELOOP)) {
        return gfs_err_set(err, GFS_EINVAL, "sub path '%s' leads out of %s", bind->sub_path,
                           bind->source);
    }
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "sub path '%s' of %s", bind->sub_path, bind->source);
    }
    return fd;
}

static unsigned long old_flags(const struct gfs_bind *bind)
{
    return (bind->read_only ? MS_RDONLY : 0UL) | (bind->nosuid ? MS_NOSUID : 0UL) |
           (bind->nodev ? MS_NODEV : 0UL) | (bind->noexec ? MS_NOEXEC : 0UL) |
           (bind->noatime ? MS_NOATIME : 0UL);
}

/* Before 5.12: visible writable for a moment, as every tool of that time does it. */
static int bind_classic(int source, const struct gfs_bind *bind, struct gfs_err *err)
{
    char path[64];
    unsigned long flags = old_flags(bind);

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", source);
    if (mount(path, bind->target, NULL, MS_BIND, NULL) != 0) {
        return gfs_err_set_errno(err, errno, "bind mount on %s", bind->target);
    }
    if (flags != 0 && mount(NULL, bind->target, NULL, MS_BIND | MS_REMOUNT | flags, NULL) != 0) {
        int saved = errno;

        (void)umount2(bind->target, MNT_DETACH | UMOUNT_NOFOLLOW);
        return gfs_err_set_errno(err, saved, "setting mount flags of %s", bind->target);
    }
    return 0;
}

static struct mount_attr new_attributes(const struct gfs_bind *bind)
{
    struct mount_attr attr = {
        .attr_set = (bind->read_only ? MOUNT_ATTR_RDONLY : 0U) |
                    (bind->nosuid ? MOUNT_ATTR_NOSUID : 0U) |
                    (bind->nodev ? MOUNT_ATTR_NODEV : 0U) | (bind->noexec ? MOUNT_ATTR_NOEXEC : 0U),
    };

    if (bind->noatime) {
        attr.attr_clr = MOUNT_ATTR__ATIME;
        attr.attr_set |= MOUNT_ATTR_NOATIME;
    }
    return attr;
}

/* Directory on directory, file on file. `tree` is our own clone; the target's own attributes come
 * from O_PATH and statx without a sync, which a FUSE root answers from the kernel. */
static int check_kinds(int source, int target, const struct gfs_bind *bind, struct gfs_err *err)
{
    struct statx from;
    struct statx to;
    int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;

    if (statx(source, "", flags, STATX_TYPE, &from) != 0) {
        return gfs_err_set_errno(err, errno, "bind source %s", bind->source);
    }
    if (statx(target, "", flags, STATX_TYPE, &to) != 0) {
        return gfs_err_set_errno(err, errno, "bind target %s", bind->target);
    }
    if (S_ISDIR(from.stx_mode) && !S_ISDIR(to.stx_mode)) {
        return gfs_err_set(err, GFS_ENOTDIR, "bind target %s is not a directory", bind->target);
    }
    if (!S_ISDIR(from.stx_mode) && S_ISDIR(to.stx_mode)) {
        return gfs_err_set(err, GFS_EISDIR, "bind target %s is a directory, the source is a file",
                           bind->target);
    }
    return 0;
}

int gfs_mount_bind(const struct gfs_bind *bind, struct gfs_err *err)
{
    struct mount_attr attr = new_attributes(bind);
    int source gfs_auto_fd = open_source(bind, err);
    int target gfs_auto_fd = -1;
    int tree gfs_auto_fd = -1;
    int rc;

    if (source < 0) {
        return source;
    }
    target = open(bind->target, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0) {
        return gfs_err_set_errno(err, errno, "bind target %s", bind->target);
    }
    rc = check_kinds(source, target, bind, err);
    if (rc != 0) {
        return rc;
    }

    tree = open_tree(source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0 && is_missing(errno)) {
        return bind_classic(source, bind, err);
    }
    if (tree < 0) {
        return gfs_err_set_errno(err, errno, "cloning %s", bind->source);
    }
    if ((attr.attr_set | attr.attr_clr) != 0 &&
        mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0) {
        return is_missing(errno)
                   ? bind_classic(source, bind, err)
                   : gfs_err_set_errno(err, errno, "mount attributes for %s", bind->target);
    }
    if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
        return gfs_err_set_errno(err, errno, "attaching the bind mount at %s", bind->target);
    }
    return 0;
}
