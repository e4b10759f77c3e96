/* A plan as Kubernetes objects in JSON, for people, tests and `get -o json`. */
#include <string.h>

#include <jansson.h>

#include <gfs/controller/desired.h>

static json_t *kvs_json(const struct gfs_kvs *kvs)
{
    json_t *out = json_object();

    for (size_t i = 0; i < kvs->n; i++) {
        (void)json_object_set_new(out, kvs->items[i].key, json_string(kvs->items[i].value));
    }

    return out;
}

static json_t *texts_json(const char *const *texts, size_t n)
{
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(out, json_string(texts[i]));
    }

    return out;
}

static json_t *container_json(const struct gfs_container *c)
{
    return json_pack("{s:s, s:[s], s:o}", "name", c->name, "command", c->program, "args",
                     texts_json((const char *const *)c->args, c->n_args));
}

static json_t *pod_json(const struct gfs_plan *plan, const struct gfs_pod *pod)
{
    json_t *containers = json_array();

    for (size_t i = 0; i < pod->n_containers; i++) {
        (void)json_array_append_new(containers, container_json(&pod->containers[i]));
    }

    const char *kind = pod->role == GFS_ROLE_FUSE ? "DaemonSet" : "StatefulSet";
    char role[32];

    (void)snprintf(role, sizeof(role), "goosefs-%s", gfs_role_name(pod->role));

    json_t *labels = json_pack("{s:s, s:s, s:s, s:s}", "app", "goosefs", "release", plan->name,
                               "role", role, "fluid.io/dataset-id", plan->volume.pv);
    json_t *owner = json_pack("[{s:s, s:s}]", "kind", kind, "name", pod->owner);

    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:{s:s, s:o, s:o, s:o, s:o}}",
                     "apiVersion", "v1", "kind", "Pod", "metadata", "name", pod->name, "namespace",
                     pod->ns, "labels", labels, "ownerReferences", owner, "spec", "nodeName",
                     pod->node, "containers", containers, "env", kvs_json(&pod->env), "directories",
                     texts_json((const char *const *)pod->dirs, pod->n_dirs), "properties",
                     kvs_json(&pod->properties));
}

static json_t *service_json(const struct gfs_service *service)
{
    json_t *ports = json_array();

    for (size_t i = 0; i < service->n_ports; i++) {
        (void)json_array_append_new(ports, json_pack("{s:s, s:i}", "name", service->ports[i].name,
                                                     "port", (int)service->ports[i].port));
    }

    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:o, s:{s:s}}}", "apiVersion", "v1", "kind",
                     "Service", "metadata", "name", service->name, "namespace", service->ns, "spec",
                     "clusterIP", "None", "ports", ports, "selector",
                     "statefulset.kubernetes.io/pod-name", service->name);
}

static json_t *pv_json(const struct gfs_volume *v)
{
    json_t *csi = json_pack("{s:s, s:s, s:o}", "driver", GFS_CSI_DRIVER, "volumeHandle", v->pv,
                            "volumeAttributes", kvs_json(&v->attributes));

    return json_pack("{s:s, s:s, s:{s:s, s:o, s:{s:s}}, s:{s:s, s:{s:s}, s:o, s:{s:s, s:s}, s:o}}",
                     "apiVersion", "v1", "kind", "PersistentVolume", "metadata", "name", v->pv,
                     "labels", kvs_json(&v->labels), "annotations", "CreatedBy", "fluid", "spec",
                     "storageClassName", GFS_STORAGE_CLASS, "capacity", "storage", v->capacity,
                     "accessModes", texts_json(v->access_modes, v->n_access_modes), "claimRef",
                     "namespace", v->ns, "name", v->pvc, "csi", csi);
}

static json_t *pvc_json(const struct gfs_volume *v)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:{s:s}}, s:{s:s, s:s, s:o, s:{s:{s:s}}}}",
                     "apiVersion", "v1", "kind", "PersistentVolumeClaim", "metadata", "name",
                     v->pvc, "namespace", v->ns, "labels", kvs_json(&v->labels), "annotations",
                     "CreatedBy", "fluid", "spec", "storageClassName", GFS_STORAGE_CLASS,
                     "volumeName", v->pv, "accessModes",
                     texts_json(v->access_modes, v->n_access_modes), "resources", "requests",
                     "storage", v->capacity);
}

static int print_json(json_t *json, struct gfs_buf *out)
{
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    int rc = text != NULL ? gfs_buf_puts(out, text) : GFS_ENOMEM;

    free(text);
    json_decref(json);
    return rc < 0 ? rc : gfs_buf_puts(out, "\n");
}

int gfs_plan_print(const struct gfs_plan *plan, struct gfs_buf *out)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->n_pods; i++) {
        (void)json_array_append_new(list, pod_json(plan, &plan->pods[i]));
    }
    for (size_t i = 0; i < plan->n_services; i++) {
        (void)json_array_append_new(list, service_json(&plan->services[i]));
    }

    (void)json_array_append_new(list, pv_json(&plan->volume));
    (void)json_array_append_new(list, pvc_json(&plan->volume));
    return print_json(list, out);
}
