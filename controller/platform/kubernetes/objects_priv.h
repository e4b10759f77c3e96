/* Shared by objects.c and pods.c. */
#ifndef GFSI_CONTROLLER_KUBE_OBJECTS_PRIV_H
#define GFSI_CONTROLLER_KUBE_OBJECTS_PRIV_H

#include "platform/kubernetes/objects.h"

struct gfsi_kube_build {
    const struct gfs_plan *plan;
    const json_t *dataset; /* its spec; may be NULL */
    const json_t *runtime; /* its spec */
    const char *uid;       /* of the runtime */
    const struct gfsi_kube_place *place;
    struct gfsi_kube_objects *out;
};

/* Labels of everything of a runtime; `role` may be NULL. New reference. */
json_t *gfsi_kube_labels(const struct gfsi_kube_build *b, const char *role);
/* What selects the pods of a role. */
json_t *gfsi_kube_selector(const struct gfsi_kube_build *b, const char *role);

/* goosefs-site.properties of the role's pods, as they are mounted. NULL when out of memory. */
char *gfsi_kube_properties(const struct gfs_plan *plan, enum gfs_role role);

/* The first pod of a role. NULL when there is none. */
const struct gfs_pod *gfsi_kube_pod(const struct gfs_plan *plan, enum gfs_role role);

/* Names of the ConfigMap's keys, by role. */
extern const char *const gfsi_kube_conf_keys[GFS_ROLES];

void gfsi_kube_hash(const char *text, char out[17]);

/* Pod templates; new references, NULL when out of memory. pods.c */
json_t *gfsi_kube_master_set(const struct gfsi_kube_build *b);
json_t *gfsi_kube_worker_set(const struct gfsi_kube_build *b);
json_t *gfsi_kube_fuse_set(const struct gfsi_kube_build *b);

#endif
