/* The three things the plugin does to the mount table, behind a table of functions so that tests
 * can stand in for the kernel. The real ones work on descriptors only (see path_priv.h). */
#ifndef GFSI_CSI_MOUNTS_PRIV_H
#define GFSI_CSI_MOUNTS_PRIV_H

#include <gfs/base/err.h>
#include <gfs/mounter/mounttable.h>

#include "attrs_priv.h"
#include "path_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_bind {
    int source;              /* directory, or root of a mount; O_PATH */
    const char *source_path; /* the same for people and tests */
    int target;              /* directory; O_PATH */
    const char *target_path;
    struct gfsi_mount_flags flags; /* nosuid and nodev come on top */
};

struct gfsi_mounts {
    void *self;

    /* As gfs_mounttable_read. */
    int (*read)(void *self, struct gfs_mounttable **out, struct gfs_err *err);

    /* A private copy of the mount at `source`, its attributes set before anybody can see it, on top
     * of `target`. */
    int (*bind)(void *self, const struct gfsi_bind *bind, struct gfs_err *err);

    /* The top mount at `place` (`path` for people and tests). GFS_EPRECONDITION when busy and not
     * `lazy`. */
    int (*unmount)(void *self, const struct gfsi_place *place, const char *path, bool lazy,
                   struct gfs_err *err);
};

extern const struct gfsi_mounts gfsi_mounts_kernel;

#ifdef __cplusplus
}
#endif
#endif
