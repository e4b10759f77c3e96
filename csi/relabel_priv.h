/* Labels of the Node that should be there and are not: somebody stripped them, or the Node object
 * was made anew, while volumes stay staged and kubelet has no reason to stage again. One thread
 * looks now and then and sets what is missing; it asks for the Node once, whatever the number of
 * labels. */
#ifndef GFSI_CSI_RELABEL_PRIV_H
#define GFSI_CSI_RELABEL_PRIV_H

#include "node_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_relabel;

/* First looks after `period_ns` (> 0). `node` is borrowed, outlives it, and has a labeler. */
int gfsi_relabel_start(struct gfsi_node *node, int64_t period_ns, struct gfsi_relabel **out,
                       struct gfs_err *err);

/* Ends the thread; waits for a look under way (GFSI_RELABEL_NS at most). Accepts NULL. */
struct gfsi_relabel *gfsi_relabel_stop(struct gfsi_relabel *relabel);

#define GFSI_RELABEL_NS (5 * GFS_NS_PER_S)

#ifdef __cplusplus
}
#endif
#endif
