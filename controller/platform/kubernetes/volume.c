/* PersistentVolume and claim. fluid.md §2.7 */
#include <string.h>

#include "platform/kubernetes/objects_priv.h"

/* `longest`: values beyond are left out, as labels have a maximum. */
static json_t *kvs_json(const struct gfs_kvs *kvs, size_t longest)
{
    json_t *out = json_object();

    for (size_t i = 0; i < kvs->n; i++) {
        if (strlen(kvs->items[i].value) <= longest) {
            (void)json_object_set_new(out, kvs->items[i].key, json_string(kvs->items[i].value));
        }
    }

    return out;
}

static json_t *modes_json(const struct gfs_volume *v)
{
    json_t *modes = json_array();

    for (size_t i = 0; i < v->n_access_modes; i++) {
        (void)json_array_append_new(modes, json_string(v->access_modes[i]));
    }

    return modes;
}

/* `terms` of the data set, each with what `selector` asks for; NULL when neither asks. The terms
 * are alternatives, so each has to carry the selector. */
static json_t *node_affinity(const json_t *terms, json_t *selector)
{
    json_t *list = json_array_size(terms) > 0 ? json_deep_copy(terms) : json_pack("[{}]");
    json_t *term = NULL;
    size_t i = 0;

    if (json_array_size(terms) == 0 && json_object_size(selector) == 0) {
        json_decref(list);
        return NULL;
    }

    json_array_foreach(list, i, term)
    {
        json_t *wanted = json_object_get(term, "matchExpressions");
        const char *key = NULL;
        json_t *value = NULL;

        if (wanted == NULL && json_object_size(selector) > 0) {
            wanted = json_array();
            (void)json_object_set_new(term, "matchExpressions", wanted);
        }
        json_object_foreach(selector, key, value)
        {
            (void)json_array_append_new(wanted, json_pack("{s:s, s:s, s:[O]}", "key", key,
                                                          "operator", "In", "values", value));
        }
    }

    return json_pack("{s:{s:o}}", "required", "nodeSelectorTerms", list);
}

static json_t *pv_json(const struct gfs_volume *v)
{
    json_t *metadata =
        json_pack("{s:s, s:o, s:{s:s}}", "name", v->pv, "labels",
                  kvs_json(&v->labels, GFSI_KUBE_LABEL_MAX), "annotations", "CreatedBy", "fluid");
    json_t *csi = json_pack("{s:s, s:s, s:o}", "driver", GFS_CSI_DRIVER, "volumeHandle", v->pv,
                            "volumeAttributes", kvs_json(&v->attributes, SIZE_MAX));
    json_t *claim = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", "v1", "kind",
                              "PersistentVolumeClaim", "namespace", v->ns, "name", v->pvc);

    return json_pack("{s:s, s:s, s:o, s:{s:s, s:{s:s}, s:o, s:o, s:s, s:o}}", "apiVersion", "v1",
                     "kind", "PersistentVolume", "metadata", metadata, "spec", "storageClassName",
                     GFS_STORAGE_CLASS, "capacity", "storage", v->capacity, "accessModes",
                     modes_json(v), "claimRef", claim, "persistentVolumeReclaimPolicy", "Retain",
                     "csi", csi);
}

static json_t *pvc_json(const struct gfs_volume *v)
{
    json_t *metadata =
        json_pack("{s:s, s:s, s:o, s:{s:s}}", "name", v->pvc, "namespace", v->ns, "labels",
                  kvs_json(&v->labels, GFSI_KUBE_LABEL_MAX), "annotations", "CreatedBy", "fluid");

    return json_pack("{s:s, s:s, s:o, s:{s:s, s:s, s:o, s:{s:{s:s}}}}", "apiVersion", "v1", "kind",
                     "PersistentVolumeClaim", "metadata", metadata, "spec", "storageClassName",
                     GFS_STORAGE_CLASS, "volumeName", v->pv, "accessModes", modes_json(v),
                     "resources", "requests", "storage", v->capacity);
}

/* Near the cache, unless clients are said to be everywhere. */
static const json_t *cache_terms(const json_t *dataset, const json_t *runtime)
{
    return json_is_true(gfs_kube_at(runtime, "spec", "fuse", "global", NULL))
               ? NULL
               : gfs_kube_at(dataset, "spec", "nodeAffinity", "required", "nodeSelectorTerms",
                             NULL);
}

int gfsi_kube_volume_build(const struct gfs_plan *plan, const json_t *dataset,
                           const json_t *runtime, struct gfsi_kube_objects *out,
                           struct gfs_err *err)
{
    json_t *affinity = node_affinity(cache_terms(dataset, runtime),
                                     gfs_kube_at(runtime, "spec", "fuse", "nodeSelector", NULL));
    json_t *pv = pv_json(&plan->volume);
    json_t *pvc = pvc_json(&plan->volume);

    if (affinity != NULL && pv != NULL) {
        (void)json_object_set_new(json_object_get(pv, "spec"), "nodeAffinity", affinity);
    } else {
        json_decref(affinity);
    }

    out->n = 2;
    out->items[0] = (struct gfsi_kube_object){
        .resource = &gfs_kube_persistentvolumes, .name = plan->volume.pv, .json = pv};
    out->items[1] = (struct gfsi_kube_object){
        .resource = &gfs_kube_persistentvolumeclaims, .name = plan->volume.pvc, .json = pvc};
    if (pv == NULL || pvc == NULL) {
        gfsi_kube_objects_fini(out);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory while building the volume");
    }

    return 0;
}
