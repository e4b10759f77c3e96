/* Pods of workers: ReplicaSet NAME-worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#include "platform/kubernetes/nodes.h"
#include "platform/kubernetes/objects_priv.h"

#define SOCKET_PROPERTY "goosefs.worker.data.server.domain.socket.address"

static bool exclusive(const struct gfsi_kube_build *b)
{
    const char *placement = json_string_value(json_object_get(b->dataset, "placement"));

    return placement == NULL || strcmp(placement, "Shared") != 0;
}

/* {key: fluid.io/dataset, Exists} or {key: fluid.io/dataset-placement, In [Exclusive]}: other data
 * sets' workers. Holds across namespaces: a node is one whoever uses it. */
static json_t *others(bool any)
{
    json_t *other = any ? json_pack("{s:s, s:s}", "key", "fluid.io/dataset", "operator", "Exists")
                        : json_pack("{s:s, s:s, s:[s]}", "key", "fluid.io/dataset-placement",
                                    "operator", "In", "values", "Exclusive");

    return json_pack("{s:{s:[o]}, s:{}, s:s}", "labelSelector", "matchExpressions", other,
                     "namespaceSelector", "topologyKey", GFSI_KUBE_HOSTNAME);
}

/* Nodes with a client first: it reads from the worker's files without a network. */
static json_t *node_affinity(const struct gfsi_kube_build *b)
{
    const char *key = gfs_kvs_get(&b->plan->volume.attributes, "mount_pod_node_selector_key");
    json_t *required = json_object_get(json_object_get(b->dataset, "nodeAffinity"), "required");
    json_t *affinity =
        json_pack("{s:[{s:i, s:{s:[{s:s, s:s, s:[s]}]}}]}",
                  "preferredDuringSchedulingIgnoredDuringExecution", "weight", 100, "preference",
                  "matchExpressions", "key", key, "operator", "In", "values", "true");

    if (required != NULL) {
        gfsi_kube_set(affinity, "requiredDuringSchedulingIgnoredDuringExecution",
                      json_incref(required));
    }

    return affinity;
}

/* fluid.md §4.4 */
static json_t *worker_affinity(const struct gfsi_kube_build *b)
{
    bool alone = exclusive(b);
    json_t *pods = json_pack("{s:[o, o]}", "requiredDuringSchedulingIgnoredDuringExecution",
                             gfsi_kube_apart(b, "goosefs-worker"), others(alone));

    if (!alone) {
        gfsi_kube_set(pods, "preferredDuringSchedulingIgnoredDuringExecution",
                      json_pack("[{s:i, s:o}]", "weight", 50, "podAffinityTerm", others(true)));
    }

    return json_pack("{s:o, s:o}", "podAntiAffinity", pods, "nodeAffinity", node_affinity(b));
}

/* The directories of the plan, each a directory of the node of the same name and the uid of the
 * runtime: what a former runtime cached belongs to other files. */
static void add_tiers(const struct gfsi_kube_build *b, const struct gfs_pod *pod, json_t *mounts,
                      json_t *volumes)
{
    const json_t *levels = json_object_get(json_object_get(b->runtime, "tieredstore"), "levels");
    const char *kind = json_string_value(json_object_get(json_array_get(levels, 0), "volumeType"));
    bool node = json_array_size(levels) == 0 || kind == NULL || strcmp(kind, "emptyDir") != 0;

    for (size_t i = 0; i < pod->n_dirs; i++) {
        char name[32];
        char path[4096];

        (void)snprintf(name, sizeof(name), "tier-%zu", i);
        (void)snprintf(path, sizeof(path), "%s/%s", pod->dirs[i], b->uid);
        (void)json_array_append_new(mounts, gfsi_kube_mount(name, pod->dirs[i]));
        (void)json_array_append_new(volumes,
                                    node ? gfsi_kube_host_volume(name, path)
                                         : json_pack("{s:s, s:{}}", "name", name, "emptyDir"));
    }
}

/* Capacity by kind, for the labels of its node (nodes.h). */
static json_t *capacity(const struct gfs_pod *pod)
{
    uint64_t bytes[2] = {0, 0}; /* memory, disk */

    for (int level = 0; level < GFS_TIER_MAX_LEVELS; level++) {
        char key[96];

        (void)snprintf(key, sizeof(key), "goosefs.worker.tieredstore.level%d.alias", level);

        const char *alias = gfs_kvs_get(&pod->properties, key);

        (void)snprintf(key, sizeof(key), "goosefs.worker.tieredstore.level%d.dirs.quota", level);

        const char *quotas = gfs_kvs_get(&pod->properties, key);

        while (alias != NULL && quotas != NULL && *quotas != '\0') {
            size_t len = strcspn(quotas, ",");
            char one[64];
            uint64_t size = 0;

            (void)snprintf(one, sizeof(one), "%.*s", (int)len, quotas);
            bytes[strcmp(alias, "MEM") != 0] += gfs_parse_size(one, &size) == 0 ? size : 0;
            quotas += len + (quotas[len] == ',');
        }
    }

    return json_sprintf("%llu %llu", (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
}

/* Where clients of the node are handed files: the socket lies in the runtime's directory, which the
 * client's pod has under the same name. The worker is in the clients' group, so they may connect.
 */
static void add_socket(const struct gfsi_kube_build *b, const struct gfs_pod *pod, json_t *mounts,
                       json_t *volumes)
{
    const char *path = gfs_kvs_get(&pod->properties, SOCKET_PROPERTY);
    json_t *dir = gfsi_kube_runtime_dir(b);
    char expected[4096];

    (void)snprintf(expected, sizeof(expected), "%s/worker", json_string_value(dir));
    json_decref(dir);
    if (path != NULL && strncmp(path, expected, strlen(expected)) == 0) {
        (void)json_array_append_new(mounts, gfsi_kube_mount("socket", expected));
        (void)json_array_append_new(volumes, gfsi_kube_host_volume("socket", expected));
    }
}

static json_t *worker_container(const struct gfsi_kube_build *b, const struct gfs_pod *pod,
                                json_t *volumes)
{
    json_t *c = gfsi_kube_container(b, GFS_ROLE_WORKER, "worker");
    const char *web = gfs_kvs_get(&pod->properties, "goosefs.worker.web.port");
    int port = web != NULL ? (int)strtol(web, NULL, 10) : GFS_PORT_WORKER_WEB;

    gfsi_kube_set(c, "name", json_string("goosefs-worker"));
    gfsi_kube_set(c, "command", gfsi_kube_command("goosefs-worker"));
    gfsi_kube_set(c, "ports",
                  json_pack("[{s:s, s:i, s:s}, {s:s, s:i, s:s}]", "name", "rpc", "containerPort",
                            (int)pod->rpc_port, "protocol", "TCP", "name", "web", "containerPort",
                            port, "protocol", "TCP"));
    gfsi_kube_set(c, "readinessProbe", gfsi_kube_http_probe("/healthz", port, 2, 3));
    gfsi_kube_set(c, "livenessProbe", gfsi_kube_http_probe("/healthz", port, 10, 6));
    add_tiers(b, pod, json_object_get(c, "volumeMounts"), volumes);
    add_socket(b, pod, json_object_get(c, "volumeMounts"), volumes);
    gfsi_kube_secrets(b, json_object_get(c, "volumeMounts"), volumes);
    return c;
}

json_t *gfsi_kube_worker_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-worker";
    static const struct gfs_pod none = {.rpc_port = GFS_PORT_WORKER_RPC};
    const struct gfs_pod *pod = gfsi_kube_pod(b->plan, GFS_ROLE_WORKER);
    json_t *volumes = json_pack("[o]", gfsi_kube_conf_volume(b, GFS_ROLE_WORKER));

    if (pod == NULL) { /* none wanted: the set is there to be scaled */
        pod = &none;
    }

    json_t *spec = gfsi_kube_pod_spec(b->place, worker_container(b, pod, volumes), volumes);

    gfsi_kube_set(spec, "affinity", worker_affinity(b));
    gfsi_kube_set(spec, "nodeSelector", gfsi_kube_component(b, "worker", "nodeSelector"));
    gfsi_kube_set(spec, "tolerations", json_incref(json_object_get(b->dataset, "tolerations")));

    json_t *pods = gfsi_kube_template(b, GFS_ROLE_WORKER, role, spec);
    json_t *labels = json_object_get(json_object_get(pods, "metadata"), "labels");

    gfsi_kube_set(gfs_kube_at(pods, "metadata", "annotations", NULL), GFSI_KUBE_CACHE,
                  capacity(pod));

    gfsi_kube_set(labels, "fluid.io/dataset-placement",
                  json_string(exclusive(b) ? "Exclusive" : "Shared"));
    if (json_object_get(labels, "fluid.io/dataset-id") != NULL) {
        gfsi_kube_set(labels, "fluid.io/dataset",
                      json_incref(json_object_get(labels, "fluid.io/dataset-id")));
    } else {
        gfsi_kube_set(labels, "fluid.io/dataset", json_string(b->uid));
    }

    return json_pack("{s:{s:i, s:{s:o}, s:o}}", "spec", "replicas",
                     (int)b->plan->desired[GFS_ROLE_WORKER], "selector", "matchLabels",
                     gfsi_kube_selector(b, role), "template", pods);
}
