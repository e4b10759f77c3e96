#include "path_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#include "attrs_priv.h"

#define RESOLVE_SAFE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

void gfsi_place_close(struct gfsi_place *place)
{
    if (place->parent >= 0) {
        (void)close(place->parent);
        place->parent = -1;
    }
    place->leaf = NULL;
}

/* openat2 may answer EAGAIN when a rename races with a RESOLVE_BENEATH walk; few tries are enough.
 */
static int open_beneath(int dir, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_SAFE};
    int fd = -1;

    for (int tries = 0; tries < 16; tries++) {
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN) {
            break;
        }
    }
    return fd;
}

static int walk_error(int errnum, const char *path, struct gfs_err *err)
{
    switch (errnum) {
    case ELOOP:
    case EXDEV: return gfs_err_set(err, GFS_EPERM, "%s: a symbolic link is on the way", path);
    case ENOTCONN:
    case ECONNABORTED:
        return gfs_err_set(err, GFS_EUNAVAIL, "%s: a dead mount is on the way", path);
    default: return gfs_err_set_errno(err, errnum, "%s", path);
    }
}

int gfsi_path_check_way(const struct gfs_mounttable *table, const char *root, const char *path,
                        struct gfs_err *err)
{
    for (size_t i = 0; i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);

        if (gfs_str_has_prefix(e->fstype, "fuse") && gfsi_path_below(path, e->target) != NULL &&
            gfsi_path_below(e->target, root) != NULL) {
            return gfs_err_set(err, GFS_EINVAL, "%s lies inside another FUSE mount", path);
        }
    }
    return 0;
}

int gfsi_place_open(const char *root, const char *path, struct gfsi_place *place,
                    struct gfs_err *err)
{
    const char *below = gfsi_path_below(path, root);
    char parent[GFSI_PATH_MAX + 1];
    int root_fd gfs_auto_fd = -1;
    const char *slash;
    int fd;

    if (below == NULL || gfs_str_copy(parent, sizeof(parent), below) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s does not lie below %s", path, root);
    }
    /* The root itself is the operator's word; it may be a symbolic link. */
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) {
        return gfs_err_set_errno(err, errno, "%s", root);
    }

    slash = strrchr(below, '/');
    if (slash == NULL) {
        place->parent = GFS_TAKE_FD(root_fd);
        place->leaf = below;
        return 0;
    }

    parent[slash - below] = '\0';
    fd = open_beneath(root_fd, parent, O_DIRECTORY);
    if (fd < 0) {
        return walk_error(errno, path, err);
    }
    place->parent = fd;
    place->leaf = slash + 1;
    return 0;
}

int gfsi_place_leaf(const struct gfsi_place *place, enum gfsi_leaf *out, struct gfs_err *err)
{
    struct stat st;

    if (fstatat(place->parent, place->leaf, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
        if (errno != ENOENT) {
            return gfs_err_set_errno(err, errno, "%s", place->leaf);
        }
        *out = GFSI_LEAF_NONE;
        return 0;
    }

    *out = S_ISDIR(st.st_mode)   ? GFSI_LEAF_DIRECTORY
           : S_ISLNK(st.st_mode) ? GFSI_LEAF_SYMLINK
                                 : GFSI_LEAF_OTHER;
    return 0;
}

int gfsi_place_open_leaf(const struct gfsi_place *place, int *out_fd, struct gfs_err *err)
{
    int fd = open_beneath(place->parent, place->leaf, O_DIRECTORY);

    if (fd < 0) {
        return walk_error(errno, place->leaf, err);
    }
    *out_fd = fd;
    return 0;
}

int gfsi_place_mkdir(const struct gfsi_place *place, bool *out_created, struct gfs_err *err)
{
    enum gfsi_leaf leaf;
    int rc;

    if (mkdirat(place->parent, place->leaf, 0750) == 0) {
        if (out_created != NULL) {
            *out_created = true;
        }
        return 0;
    }
    if (errno != EEXIST) {
        return gfs_err_set_errno(err, errno, "mkdir %s", place->leaf);
    }

    rc = gfsi_place_leaf(place, &leaf, err);
    if (rc < 0) {
        return rc;
    }
    if (leaf != GFSI_LEAF_DIRECTORY) {
        return gfs_err_set(err, GFS_ENOTDIR, "%s exists and is no directory", place->leaf);
    }
    if (out_created != NULL) {
        *out_created = false;
    }
    return 0;
}

int gfsi_place_remove(const struct gfsi_place *place, struct gfs_err *err)
{
    enum gfsi_leaf leaf;
    int rc = gfsi_place_leaf(place, &leaf, err);

    if (rc < 0 || leaf == GFSI_LEAF_NONE) {
        return rc;
    }
    if (leaf == GFSI_LEAF_OTHER) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s is neither a directory nor a link",
                           place->leaf);
    }
    if (unlinkat(place->parent, place->leaf, leaf == GFSI_LEAF_DIRECTORY ? AT_REMOVEDIR : 0) == 0 ||
        errno == ENOENT) {
        return 0;
    }
    if (errno == ENOTEMPTY || errno == EEXIST) {
        return gfs_err_set(err, GFS_ENOTEMPTY, "%s holds files that are not the plugin's",
                           place->leaf);
    }
    return gfs_err_set_errno(err, errno, "remove %s", place->leaf);
}
