/* Binds of pods whose file system has ended: keeper and client of a mount died together, the keeper
 * mounted anew, and what pods were given still shows the old connection (ENOTCONN for ever). Each
 * such target gets a bind of the new mount.
 *
 * The new bind goes over the dead one, not beneath it and the dead one away: a container that asked
 * for HostToContainer has a slave copy of the dead mount, and only what is mounted on that one
 * reaches it. A mount beneath would mend the node's path and no running pod. What earlier repairs
 * left in between goes first, so no target is ever more than two mounts deep.
 *
 * One thread, woken by changes of the mount table. It asks nothing of a file system itself (the
 * prober does), holds a target as the operations do, and leaves alone what still answers, what
 * hangs, and what the journal does not know. */
#ifndef GFSI_CSI_REPAIR_PRIV_H
#define GFSI_CSI_REPAIR_PRIV_H

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>

#include "node_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_repair;

/* Looks at once, then at every change. `node` and `metrics` (may be NULL) are borrowed and outlive
 * it. */
int gfsi_repair_start(struct gfsi_node *node, struct gfs_metrics *metrics, struct gfsi_repair **out,
                      struct gfs_err *err);

/* Ends the thread; waits for a question under way (node->probe_ns at most). Accepts NULL. */
struct gfsi_repair *gfsi_repair_stop(struct gfsi_repair *repair);

#ifdef __cplusplus
}
#endif
#endif
