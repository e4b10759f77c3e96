/* PersistentVolume and claim; reference: fluid.md §1.4 (attributes), §2.7. */
#include <string.h>

#include "desired/desired_priv.h"

#define ANNOTATION_CAPACITY "pvc.fluid.io/resources.requests.storage"
#define ANNOTATION_SKIP     "fluid.io/skip-check-mount-ready-target"

static const char *label_key(struct gfsi_build *b, const char *prefix)
{
    char key[GFS_LABEL_KEY_MAX];

    gfs_label_key(prefix, b->plan->ns, b->plan->name, key);
    return gfsi_textf(b, "%s", key);
}

static const char *clean_policy_name(enum gfs_clean_policy policy)
{
    switch (policy) {
    case GFS_CLEAN_ON_DEMAND: return "OnDemand";
    case GFS_CLEAN_ON_FUSE_CHANGED: return "OnFuseChanged";
    default: return "OnRuntimeDeleted";
    }
}

void gfsi_volume(struct gfsi_build *b)
{
    struct gfs_plan *plan = b->plan;
    struct gfs_volume *v = &plan->volume;
    const char *capacity = gfs_kvs_get(&b->dataset->annotations, ANNOTATION_CAPACITY);
    const char *skip = gfs_kvs_get(&b->runtime->annotations, ANNOTATION_SKIP);
    const char **modes = gfsi_zalloc(b, (b->dataset->dataset->n_access_modes + 1) * sizeof(*modes));

    v->ns = plan->ns;
    v->pv = gfsi_textf(b, "%s-%s", plan->ns, plan->name);
    v->pvc = plan->name;
    v->capacity = gfsi_textf(b, "%s", capacity != NULL ? capacity : "100Pi");
    for (size_t i = 0; modes != NULL && i < b->dataset->dataset->n_access_modes; i++) {
        modes[i] = gfsi_textf(b, "%s", b->dataset->dataset->access_modes[i]);
        v->n_access_modes++;
    }
    v->access_modes = modes;

    gfsi_kvs_put(b, &v->labels, label_key(b, "fluid.io/s-"), "true");
    gfsi_kvs_put(b, &v->labels, "fluid.io/dataset-id", v->pv);
    gfsi_kvs_put(b, &v->labels, "fluid.io/managed-by", "fluid");

    gfsi_kvs_put(b, &v->attributes, "fluid_path", plan->fuse_path);
    gfsi_kvs_put(b, &v->attributes, "mount_type", GFS_FUSE_TYPE);
    gfsi_kvs_put(b, &v->attributes, "runtime_name", plan->name);
    gfsi_kvs_put(b, &v->attributes, "runtime_namespace", plan->ns);
    gfsi_kvs_put(b, &v->attributes, "mount_pod_node_selector_key", label_key(b, "fluid.io/f-"));
    if (b->runtime->runtime->clean_policy != GFS_CLEAN_ON_RUNTIME_DELETED) {
        gfsi_kvs_put(b, &v->attributes, "fuse_clean_policy",
                     clean_policy_name(b->runtime->runtime->clean_policy));
    }
    if (skip != NULL) {
        gfsi_kvs_put(b, &v->attributes, ANNOTATION_SKIP, gfsi_textf(b, "%s", skip));
    }
}
