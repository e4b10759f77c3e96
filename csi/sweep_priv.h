/* Mounts of ours that nobody will ever take down: their file system has ended, and neither the
 * journal nor the keeper nor kubelet knows them. They come from a state directory that was lost, or
 * from a keeper and a client that died while the plugin was away.
 *
 * What is swept lies at a place only we mount at (kubelet's layout of CSI targets; the runtimes'
 * layout below the mount root), is of the type and source the keeper gives, and is dead. What still
 * answers, hangs, or may be somebody else's stays. Used by the repair's thread. */
#ifndef GFSI_CSI_SWEEP_PRIV_H
#define GFSI_CSI_SWEEP_PRIV_H

#include <gfs/base/err.h>
#include <gfs/mounter/mounttable.h>

#include "node_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_sweep {
    struct gfsi_node *node;
    const struct gfs_mounttable *table;
    /* Asks the file system with this minor through `fd`: GFS_EUNAVAIL when it has ended. */
    int (*ask)(void *arg, unsigned minor, int fd);
    void *arg;
};

/* A target that is the top mount at its path, is in no record, and whose file system is mounted
 * nowhere below the mount root. True: it is gone. */
bool gfsi_sweep_target(const struct gfsi_sweep *sweep, const struct gfs_mount_entry *entry);

/* Every mount below the mount root that no record uses and the keeper does not hold. Returns how
 * many are gone; GFS_EUNAVAIL when the keeper did not say what it holds, to be repeated. */
int gfsi_sweep_origins(const struct gfsi_sweep *sweep);

#ifdef __cplusplus
}
#endif
#endif
