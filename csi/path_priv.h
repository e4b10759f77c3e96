/* Paths from outside, walked once from a trusted root to a descriptor (openat2 with
 * RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS: nothing a pod's author swaps in meanwhile leads
 * elsewhere, cf. CVE-2021-25741). Everything afterwards works on the descriptor.
 *
 * Only O_PATH is used, which sends a FUSE file system no request for its root; that no directory on
 * the way lies inside one is checked against the mount table first. Thread: any. */
#ifndef GFSI_CSI_PATH_PRIV_H
#define GFSI_CSI_PATH_PRIV_H

#include <stdbool.h>

#include <gfs/base/err.h>
#include <gfs/mounter/mounttable.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The last component of a path below a root, and its parent directory. */
struct gfsi_place {
    int parent;       /* O_PATH, owned; -1 when empty */
    const char *leaf; /* points into the path given to open */
};

#define GFSI_PLACE_INIT                                                                            \
    {                                                                                              \
        -1, NULL                                                                                   \
    }

void gfsi_place_close(struct gfsi_place *place);

/* GFS_EINVAL when a directory on the way from `root` to `path` (which passed gfsi_path_check) is a
 * FUSE mount: walking through it could hang. */
int gfsi_path_check_way(const struct gfs_mounttable *table, const char *root, const char *path,
                        struct gfs_err *err);

/* Opens the parent of `path`. GFS_ENOENT when it does not exist, GFS_EPERM when a symbolic link is
 * on the way. `place` must be empty; `path` must outlive it. */
int gfsi_place_open(const char *root, const char *path, struct gfsi_place *place,
                    struct gfs_err *err);

enum gfsi_leaf { GFSI_LEAF_NONE, GFSI_LEAF_DIRECTORY, GFSI_LEAF_SYMLINK, GFSI_LEAF_OTHER };

/* What is at the place. Only for places where nothing is mounted: it asks the file system. */
int gfsi_place_leaf(const struct gfsi_place *place, enum gfsi_leaf *out, struct gfs_err *err);

/* Opens the leaf, a directory or the root of a mount, with O_PATH. */
int gfsi_place_open_leaf(const struct gfsi_place *place, int *out_fd, struct gfs_err *err);

/* Creates the directory unless there is one. *out_created (may be NULL) tells. GFS_ENOTDIR when
 * something else is there. */
int gfsi_place_mkdir(const struct gfsi_place *place, bool *out_created, struct gfs_err *err);

/* Removes an empty directory or a symbolic link, nothing else, never what is inside. Success when
 * there is nothing. GFS_ENOTEMPTY: somebody's data; GFS_EPRECONDITION: a mount, or another kind. */
int gfsi_place_remove(const struct gfsi_place *place, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
