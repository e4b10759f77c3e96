/* What a runtime leaves on nodes when its pods are gone: journals, caches, the clients' directory.
 *
 * Which nodes its pods were on is kept in an annotation of the runtime. When it goes, one pod per
 * node removes the directories; a bound ends the waiting, an event then names what remained. */
#ifndef GFSI_CONTROLLER_KUBE_CLEANUP_H
#define GFSI_CONTROLLER_KUBE_CLEANUP_H

#include <jansson.h>
#include <stdbool.h>

#include <gfs/controller/object.h>

#include "platform/kubernetes/objects.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_KUBE_NODES_NOTE "goosefs.data.fluid.io/nodes" /* annotation of the runtime */
#define GFSI_KUBE_NODES_MAX  200000 /* bytes of it; what does not fit is not cleaned up */
#define GFSI_KUBE_CLEAN_ROLE "goosefs-clean"

/* What a pod of a role leaves: letters of the annotation's "NODE=LETTERS,...". 0: nothing. */
char gfsi_kube_leaves(const json_t *runtime, enum gfs_role role);

/* The annotation as {"node": "letters"}, a new reference, and back (freed by the caller; NULL when
 * longer than GFSI_KUBE_NODES_MAX or out of memory). What is malformed is left out. */
json_t *gfsi_kube_nodes_parse(const char *text);
/* Whether it was not known. */
bool gfsi_kube_nodes_add(json_t *nodes, const char *node, char letter);
char *gfsi_kube_nodes_print(const json_t *nodes);

/* The pod that removes from `node` what `letters` stand for; a new reference, NULL when out of
 * memory. `runtime` as the API server gave it, `parsed` the same. */
json_t *gfsi_kube_cleaner(const json_t *runtime, const struct gfs_object *parsed, const char *node,
                          const char *letters, const struct gfsi_kube_place *place);

/* spec.cleanCachePolicy: how long one node may take, seconds. */
int gfsi_kube_clean_seconds(const json_t *runtime);

#ifdef __cplusplus
}
#endif
#endif
