#include "platform/kubernetes/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/buf.h>

#include "platform/kubernetes/objects_priv.h"

#define PROPERTIES_MAX_BYTES (1u << 20)

const char *const gfsi_kube_conf_keys[GFS_ROLES] = {
    [GFS_ROLE_MASTER] = "master.properties",
    [GFS_ROLE_WORKER] = "worker.properties",
    [GFS_ROLE_FUSE] = "fuse.properties",
};

/* FNV-1a. Tells revisions apart; nobody gains by making two texts collide but their own author. */
uint64_t gfsi_kube_hash64(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }

    return hash;
}

void gfsi_kube_hash(const char *text, char out[17])
{
    (void)snprintf(out, 17, "%016llx", (unsigned long long)gfsi_kube_hash64(text));
}

const struct gfs_pod *gfsi_kube_pod(const struct gfs_plan *plan, enum gfs_role role)
{
    for (size_t i = 0; i < plan->n_pods; i++) {
        if (plan->pods[i].role == role) {
            return &plan->pods[i];
        }
    }

    return NULL;
}

char *gfsi_kube_master_addresses(const struct gfs_plan *plan)
{
    struct gfs_buf text;

    gfs_buf_init(&text, PROPERTIES_MAX_BYTES);
    for (size_t i = 0; i < plan->n_services; i++) {
        (void)gfs_buf_printf(&text, "%s%s.%s:%u", i > 0 ? "," : "", plan->services[i].name,
                             plan->ns, plan->services[i].ports[0].port);
    }

    char *out = text.len > 0 ? gfs_buf_take(&text) : NULL;

    gfs_buf_fini(&text);
    return out;
}

/* What a pod knows of itself better than a file that many pods share. */
static bool left_to_pod(const char *key)
{
    return strcmp(key, "goosefs.master.hostname") == 0 ||
           strcmp(key, "goosefs.worker.hostname") == 0;
}

/* The client's process lives in the node plugin's pod, in another namespace: it needs longer names,
 * and has no use for the masters' own ports. */
static const struct gfs_kvs *role_properties(const struct gfs_plan *plan, enum gfs_role role)
{
    const struct gfs_pod *pod = gfsi_kube_pod(plan, role);

    return role == GFS_ROLE_FUSE ? &plan->conf : pod != NULL ? &pod->properties : NULL;
}

char *gfsi_kube_properties(const struct gfs_plan *plan, enum gfs_role role)
{
    const struct gfs_kvs *kvs = role_properties(plan, role);
    char *addresses = gfsi_kube_master_addresses(plan);
    struct gfs_buf text;
    bool failed = addresses == NULL;

    gfs_buf_init(&text, PROPERTIES_MAX_BYTES);
    for (size_t i = 0; kvs != NULL && i < kvs->n; i++) {
        const char *key = kvs->items[i].key;
        const char *value = kvs->items[i].value;
        bool fuse = role == GFS_ROLE_FUSE;

        if (left_to_pod(key) ||
            (fuse && strcmp(key, "goosefs.master.embedded.journal.addresses") == 0)) {
            continue;
        }
        if (fuse && addresses != NULL && strcmp(key, "goosefs.master.rpc.addresses") == 0) {
            value = addresses;
        }
        failed = gfs_buf_printf(&text, "%s=%s\n", key, value) < 0 || failed;
    }

    char *out = failed ? NULL : text.len > 0 ? gfs_buf_take(&text) : strdup("");

    free(addresses);
    gfs_buf_fini(&text);
    return out;
}

json_t *gfsi_kube_selector(const struct gfsi_kube_build *b, const char *role)
{
    return json_pack("{s:s, s:s, s:s}", "app", "goosefs", "release", b->plan->name, "role", role);
}

json_t *gfsi_kube_labels(const struct gfsi_kube_build *b, const char *role)
{
    json_t *labels =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "app", "goosefs", "release", b->plan->name,
                  "fluid.io/managed-by", "fluid", "app.kubernetes.io/name", "goosefs",
                  "app.kubernetes.io/instance", b->plan->name);

    if (strlen(b->plan->volume.pv) <= GFSI_KUBE_LABEL_MAX) {
        (void)json_object_set_new(labels, "fluid.io/dataset-id", json_string(b->plan->volume.pv));
    }
    if (role != NULL) {
        (void)json_object_set_new(labels, "role", json_string(role));
    }

    return labels;
}

static json_t *owner(const struct gfsi_kube_build *b)
{
    return json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", "data.fluid.io/v1alpha1",
                     "kind", "GooseFSRuntime", "name", b->plan->name, "uid", b->uid, "controller",
                     1, "blockOwnerDeletion", 0);
}

/* Takes `json`, which lacks what all objects have. */
static int add(struct gfsi_kube_build *b, const struct gfs_kube_resource *resource,
               const char *name, const char *role, json_t *json)
{
    char version[64];
    json_t *metadata = json_pack("{s:s, s:s, s:o, s:o}", "name", name, "namespace", b->plan->ns,
                                 "labels", gfsi_kube_labels(b, role), "ownerReferences", owner(b));

    if (json == NULL || metadata == NULL || b->out->n == GFSI_KUBE_OBJECTS_MAX) {
        json_decref(json);
        json_decref(metadata);
        return GFS_ENOMEM;
    }

    (void)snprintf(version, sizeof(version), "%s%s%s", resource->group,
                   resource->group[0] != '\0' ? "/" : "", resource->version);
    (void)json_object_set_new(json, "apiVersion", json_string(version));
    (void)json_object_set_new(json, "kind", json_string(resource->kind));
    (void)json_object_set_new(json, "metadata", metadata);
    b->out->items[b->out->n++] = (struct gfsi_kube_object){
        .resource = resource,
        .name = json_string_value(json_object_get(metadata, "name")),
        .json = json,
    };
    return 0;
}

static json_t *service_ports(const struct gfs_service *service)
{
    json_t *ports = json_array();

    for (size_t i = 0; i < service->n_ports; i++) {
        (void)json_array_append_new(
            ports, json_pack("{s:s, s:i, s:i, s:s}", "name", service->ports[i].name, "port",
                             (int)service->ports[i].port, "targetPort", (int)service->ports[i].port,
                             "protocol", "TCP"));
    }

    return ports;
}

/* publishNotReadyAddresses: masters find each other by these names before any of them is ready. */
static int add_service(struct gfsi_kube_build *b, const struct gfs_service *service,
                       const char *name, bool one)
{
    json_t *selector = gfsi_kube_selector(b, "goosefs-master");

    if (one) {
        (void)json_object_set_new(selector, "statefulset.kubernetes.io/pod-name",
                                  json_string(name));
    }

    return add(b, &gfs_kube_services, name, "goosefs-master",
               json_pack("{s:{s:s, s:b, s:o, s:o}}", "spec", "clusterIP", "None",
                         "publishNotReadyAddresses", 1, "selector", selector, "ports",
                         service_ports(service)));
}

static int add_config(struct gfsi_kube_build *b, const char *name)
{
    json_t *data = json_object();

    for (int role = 0; role < GFS_ROLES; role++) {
        char *text = gfsi_kube_properties(b->plan, (enum gfs_role)role);

        if (text == NULL ||
            json_object_set_new(data, gfsi_kube_conf_keys[role], json_string(text)) < 0) {
            free(text);
            json_decref(data);
            return GFS_ENOMEM;
        }
        free(text);
    }

    return add(b, &gfs_kube_configmaps, name, NULL, json_pack("{s:o}", "data", data));
}

static int build(struct gfsi_kube_build *b)
{
    const struct gfs_plan *plan = b->plan;
    char master[GFS_OBJECT_NAME_MAX + 16];
    char other[GFS_OBJECT_NAME_MAX + 16];
    int rc = 0;

    (void)snprintf(master, sizeof(master), "%s-master", plan->name);
    (void)snprintf(other, sizeof(other), "%s-config", plan->name);
    rc = add_config(b, other);
    for (size_t i = 0; rc == 0 && i < plan->n_services; i++) {
        rc = add_service(b, &plan->services[i], plan->services[i].name, true);
    }
    if (rc == 0) {
        rc = add_service(b, &plan->services[0], master, false);
    }
    if (rc == 0 && plan->n_services > 1) {
        rc = add(b, &gfs_kube_poddisruptionbudgets, master, "goosefs-master",
                 json_pack("{s:{s:i, s:{s:o}}}", "spec", "minAvailable",
                           (int)(plan->n_services / 2 + 1), "selector", "matchLabels",
                           gfsi_kube_selector(b, "goosefs-master")));
    }
    if (rc == 0) {
        (void)snprintf(other, sizeof(other), "%s-worker", plan->name);
        rc = add(b, &gfs_kube_poddisruptionbudgets, other, "goosefs-worker",
                 json_pack("{s:{s:i, s:{s:o}}}", "spec", "maxUnavailable", 1, "selector",
                           "matchLabels", gfsi_kube_selector(b, "goosefs-worker")));
    }
    if (rc == 0) {
        rc = add(b, &gfs_kube_statefulsets, master, "goosefs-master", gfsi_kube_master_set(b));
    }
    if (rc == 0) {
        rc = add(b, &gfs_kube_replicasets, other, "goosefs-worker", gfsi_kube_worker_set(b));
    }
    if (rc == 0) {
        (void)snprintf(other, sizeof(other), "%s-fuse", plan->name);
        rc = add(b, &gfs_kube_daemonsets, other, "goosefs-fuse", gfsi_kube_fuse_set(b));
    }

    return rc;
}

int gfsi_kube_objects_build(const struct gfs_plan *plan, const json_t *dataset,
                            const json_t *runtime, const struct gfsi_kube_place *place,
                            struct gfsi_kube_objects *out, struct gfs_err *err)
{
    struct gfsi_kube_build b = {
        .plan = plan,
        .dataset = json_object_get(dataset, "spec"),
        .runtime = json_object_get(runtime, "spec"),
        .uid = json_string_value(json_object_get(json_object_get(runtime, "metadata"), "uid")),
        .place = place,
        .out = out,
    };

    out->n = 0;
    if (b.uid == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "the runtime has no uid");
    }

    int rc = build(&b);

    if (rc < 0) {
        gfsi_kube_objects_fini(out);
        return gfs_err_set(err, rc, "out of memory while building objects");
    }

    return 0;
}

void gfsi_kube_objects_fini(struct gfsi_kube_objects *objects)
{
    for (size_t i = 0; i < objects->n; i++) {
        json_decref(objects->items[i].json);
    }

    objects->n = 0;
}
