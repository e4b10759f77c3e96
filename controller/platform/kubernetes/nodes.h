/* Labels of nodes that hold caches, for those who schedule near data: Fluid's, fluid.md §4.2-4.3.
 *
 *   fluid.io/s-NS-NAME, fluid.io/s-goosefs-NS-NAME            "true"
 *   fluid.io/s-h-goosefs-{m,d,t}-NS-NAME                      memory, disk, together: "2GiB"
 *   fluid_exclusive                                           "NS_NAME", when placed alone
 *   fluid.io/dataset-num                                      how many
 *
 * Always computed from the workers there are, so nothing needs to be remembered and nothing leaks.
 * Labels of other runtimes of Fluid are left alone. Pure. */
#ifndef GFSI_CONTROLLER_KUBE_NODES_H
#define GFSI_CONTROLLER_KUBE_NODES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_NODE_CACHES_MAX 64 /* of one node; more are not labelled */

/* Annotation of worker pods: "MEMORY DISK", bytes. */
#define GFSI_KUBE_CACHE "goosefs.data.fluid.io/cache"

struct gfsi_node_cache {
    const char *ns, *name; /* of the runtime */
    bool exclusive;
    uint64_t memory, disk; /* bytes */
};

/* What to merge into metadata.labels (null removes); NULL when they are right already. */
json_t *gfsi_node_labels_patch(const json_t *labels, const struct gfsi_node_cache *caches,
                               size_t n);

#ifdef __cplusplus
}
#endif
#endif
