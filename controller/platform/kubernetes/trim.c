/* What of each kind is kept in memory. Whole objects would be ten times as large: field managers,
 * templates and volumes of pods nobody looks at. */
#include <string.h>

#include "platform/kubernetes/kube_priv.h"

/* A shallow copy of a map, without what is long and not read. */
static json_t *metadata(const json_t *object)
{
    json_t *copy = json_copy(json_object_get(object, "metadata"));
    json_t *notes = json_object_get(copy, "annotations");

    (void)json_object_del(copy, "managedFields");
    if (json_object_get(notes, "kubectl.kubernetes.io/last-applied-configuration") != NULL) {
        notes = json_copy(notes);
        (void)json_object_del(notes, "kubectl.kubernetes.io/last-applied-configuration");
        (void)json_object_set_new(copy, "annotations", notes);
    }

    return copy;
}

json_t *gfsi_kube_trim_users(json_t *object)
{
    json_t *copy = json_copy(object);

    (void)json_object_set_new(copy, "metadata", metadata(object));
    return copy;
}

json_t *gfsi_kube_trim_part(json_t *object)
{
    return json_pack("{s:o}", "metadata", metadata(object));
}

json_t *gfsi_kube_trim_set(json_t *object)
{
    return json_pack("{s:o, s:O*}", "metadata", metadata(object), "status",
                     json_object_get(object, "status"));
}

json_t *gfsi_kube_trim_pod(json_t *object)
{
    return json_pack("{s:o, s:{s:O*}, s:{s:O*, s:O*}}", "metadata", metadata(object), "spec",
                     "nodeName", gfs_kube_at(object, "spec", "nodeName", NULL), "status", "phase",
                     gfs_kube_at(object, "status", "phase", NULL), "conditions",
                     gfs_kube_at(object, "status", "conditions", NULL));
}

json_t *gfsi_kube_trim_volume(json_t *object)
{
    return json_pack("{s:o, s:{s:O*}, s:{s:O*}}", "metadata", metadata(object), "spec", "claimRef",
                     gfs_kube_at(object, "spec", "claimRef", NULL), "status", "phase",
                     gfs_kube_at(object, "status", "phase", NULL));
}

json_t *gfsi_kube_trim_claim(json_t *object)
{
    const json_t *spec = json_object_get(object, "spec");

    return json_pack("{s:o, s:{s:O*, s:O*, s:O*}}", "metadata", metadata(object), "spec",
                     "storageClassName", json_object_get(spec, "storageClassName"), "volumeName",
                     json_object_get(spec, "volumeName"), "resources",
                     json_object_get(spec, "resources"));
}

json_t *gfsi_kube_trim_node(json_t *object)
{
    const json_t *m = json_object_get(object, "metadata");

    return json_pack("{s:{s:O*, s:O*, s:O*, s:O*}}", "metadata", "name", json_object_get(m, "name"),
                     "uid", json_object_get(m, "uid"), "resourceVersion",
                     json_object_get(m, "resourceVersion"), "labels", json_object_get(m, "labels"));
}
