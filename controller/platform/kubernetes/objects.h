/* A plan as the objects an API server takes: pure, the same input gives the same JSON.
 *
 *   headless Service NAME-master-i      names of the masters; also while they are not ready
 *   ConfigMap NAME-config               goosefs-site.properties of masters, workers and clients
 *   StatefulSet NAME-master             journals on claims: journal.h
 *   PodDisruptionBudget NAME-master     a majority stays
 *   PodDisruptionBudget NAME-worker     one at a time
 *   ReplicaSet NAME-worker              pods NAME-worker-xxxxx, one per node
 *   DaemonSet NAME-fuse                 pods NAME-fuse-xxxxx: the client, or its configuration
 *   PersistentVolume NS-NAME, PersistentVolumeClaim NAME
 *
 * Labels, attributes and names: fluid.md §2.7, §4.2. */
#ifndef GFSI_CONTROLLER_KUBE_OBJECTS_H
#define GFSI_CONTROLLER_KUBE_OBJECTS_H

#include <jansson.h>

#include <gfs/base/err.h>
#include <gfs/controller/desired.h>
#include <gfs/kube/resources.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_KUBE_OBJECTS_MAX (GFS_MASTERS_MAX + 8)

struct gfsi_kube_place {
    const char *image;        /* when the runtime names none */
    const char *mount_root;   /* "/runtime-mnt" on every node */
    const char *journal_root; /* on the nodes; "/var/lib/goosefs" */
    const char *pull_secrets; /* names, separated by commas; NULL or "": none */
    bool launch_pod;          /* clients run in their own pods; false: in the keeper's */
};

struct gfsi_kube_object {
    const struct gfs_kube_resource *resource;
    const char *name; /* borrowed from json */
    json_t *json;
};

struct gfsi_kube_objects {
    struct gfsi_kube_object items[GFSI_KUBE_OBJECTS_MAX];
    size_t n;
};

/* `dataset` and `runtime` as the API server gave them: fields only a cluster knows (selectors,
 * tolerations, resources) and the owner's uid are read from there. GFS_ENOMEM, GFS_EINVAL. */
int gfsi_kube_objects_build(const struct gfs_plan *plan, const json_t *dataset,
                            const json_t *runtime, const struct gfsi_kube_place *place,
                            struct gfsi_kube_objects *out, struct gfs_err *err);
void gfsi_kube_objects_fini(struct gfsi_kube_objects *objects);

/* PV and PVC alone: they come when the data set is ready to be bound. The PV is for nodes where the
 * cache may be and clients may run: spec.nodeAffinity of the data set, spec.fuse.nodeSelector.
 * volume.c */
int gfsi_kube_volume_build(const struct gfs_plan *plan, const json_t *dataset,
                           const json_t *runtime, struct gfsi_kube_objects *out,
                           struct gfs_err *err);

/* "default/hbase" -> what masters are called by pods of other namespaces:
 * "hbase-master-0.default:26000,...". NULL when out of memory; the caller frees. */
char *gfsi_kube_master_addresses(const struct gfs_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
