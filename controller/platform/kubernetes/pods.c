/* Pod templates of masters, workers and clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/kubernetes/objects_priv.h"

#define CONF_DIR     "/etc/goosefs"
#define CONF_FILE    CONF_DIR "/goosefs-site.properties"
#define HOSTNAME_KEY "kubernetes.io/hostname"
#define STOP_SECONDS 30
#define JOURNAL_SIZE "30Gi" /* of a claim that names none; Fluid's emptyDir had it */
#define HOST_DIR     "DirectoryOrCreate"

/* Puts the client's configuration where the node plugin finds it, and takes it away when the pod
 * ends and nothing is mounted. The mount itself is the keeper's: it outlives this pod. */
static const char FUSE_SCRIPT[] =
    "set -eu\n"
    "conf=$1 mount=$2\n"
    "mkdir -p \"${conf%/*}\"\n"
    "cp " CONF_FILE " \"$conf.$POD_NAME\"\n"
    "mv -f \"$conf.$POD_NAME\" \"$conf\"\n"
    "leave() {\n"
    "    grep -qF \" $mount \" /proc/self/mountinfo || rm -f \"$conf\"\n"
    "    exit 0\n"
    "}\n"
    "trap leave TERM INT\n"
    "sleep infinity &\n"
    "wait $!\n";

/* spec.COMPONENT.FIELD of the runtime, a new reference; NULL when it is not there. */
static json_t *component(const struct gfsi_kube_build *b, const char *name, const char *field)
{
    return json_incref(json_object_get(json_object_get(b->runtime, name), field));
}

/* Takes `value`; nothing when it is NULL. */
static void set(json_t *object, const char *key, json_t *value)
{
    if (value != NULL) {
        (void)json_object_set_new(object, key, value);
    }
}

/* spec.goosefsVersion, for the client spec.fuse. */
static json_t *image(const struct gfsi_kube_build *b, const char *where)
{
    const json_t *version = json_object_get(b->runtime, where);
    const char *name = json_string_value(json_object_get(version, "image"));
    const char *tag = json_string_value(json_object_get(version, "imageTag"));

    if (name == NULL || name[0] == '\0') {
        return json_string(b->place->image);
    }

    return tag != NULL && tag[0] != '\0' ? json_sprintf("%s:%s", name, tag) : json_string(name);
}

static json_t *field_env(const char *name, const char *path)
{
    return json_pack("{s:s, s:{s:{s:s}}}", "name", name, "valueFrom", "fieldRef", "fieldPath",
                     path);
}

static json_t *env(const struct gfsi_kube_build *b, enum gfs_role role)
{
    const struct gfs_pod *pod = gfsi_kube_pod(b->plan, role);
    json_t *list = json_pack("[{s:s, s:s}, o]", "name", "GOOSEFS_CONF_DIR", "value", CONF_DIR,
                             field_env("POD_NAME", "metadata.name"));

    if (role == GFS_ROLE_MASTER) {
        (void)json_array_append_new(list, field_env("GOOSEFS_MASTER_HOSTNAME", "metadata.name"));
    }
    if (role == GFS_ROLE_WORKER) {
        (void)json_array_append_new(list, field_env("GOOSEFS_WORKER_HOSTNAME", "status.podIP"));
    }
    for (size_t i = 0; pod != NULL && i < pod->env.n; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "name", pod->env.items[i].key,
                                                    "value", pod->env.items[i].value));
    }

    return list;
}

/* Root in the container, because directories of the node belong to root; without a capability. */
static json_t *security(void)
{
    return json_pack("{s:i, s:b, s:{s:[s]}, s:{s:s}}", "runAsUser", 0, "allowPrivilegeEscalation",
                     0, "capabilities", "drop", "ALL", "seccompProfile", "type", "RuntimeDefault");
}

static json_t *http_probe(const char *path, int port, int period, int failures)
{
    return json_pack("{s:{s:s, s:i}, s:i, s:i, s:i}", "httpGet", "path", path, "port", port,
                     "periodSeconds", period, "timeoutSeconds", 5, "failureThreshold", failures);
}

static json_t *mount(const char *volume, const char *path)
{
    return json_pack("{s:s, s:s}", "name", volume, "mountPath", path);
}

static json_t *host_volume(const char *name, const char *path)
{
    return json_pack("{s:s, s:{s:s, s:s}}", "name", name, "hostPath", "path", path, "type",
                     HOST_DIR);
}

static json_t *conf_volume(const struct gfsi_kube_build *b, enum gfs_role role)
{
    return json_pack("{s:s, s:{s:o, s:[{s:s, s:s}]}}", "name", "conf", "configMap", "name",
                     json_sprintf("%s-config", b->plan->name), "items", "key",
                     gfsi_kube_conf_keys[role], "path", "goosefs-site.properties");
}

/* The container every role has; probes and mounts beyond the configuration come later. */
static json_t *container(const struct gfsi_kube_build *b, enum gfs_role role, const char *part)
{
    const json_t *named =
        json_object_get(b->runtime, role == GFS_ROLE_FUSE ? "fuse" : "goosefsVersion");
    const char *policy = json_string_value(json_object_get(named, "imagePullPolicy"));
    json_t *c =
        json_pack("{s:s, s:o, s:s, s:o, s:o, s:[o], s:s}", "name", part, "image",
                  image(b, role == GFS_ROLE_FUSE ? "fuse" : "goosefsVersion"), "imagePullPolicy",
                  policy != NULL && policy[0] != '\0' ? policy : "IfNotPresent", "env",
                  env(b, role), "securityContext", security(), "volumeMounts",
                  mount("conf", CONF_DIR), "terminationMessagePolicy", "FallbackToLogsOnError");

    set(c, "resources", component(b, part, "resources"));
    return c;
}

static json_t *command(const char *program)
{
    return json_pack("[s, s]", program, "--properties=" CONF_FILE);
}

/* {app, release, role} on another node than its equals. */
static json_t *apart(const struct gfsi_kube_build *b, const char *role)
{
    return json_pack("{s:{s:o}, s:s}", "labelSelector", "matchLabels", gfsi_kube_selector(b, role),
                     "topologyKey", HOSTNAME_KEY);
}

static json_t *template(const struct gfsi_kube_build *b, enum gfs_role role, const char *role_label,
                        json_t *spec)
{
    char *conf = gfsi_kube_properties(b->plan, role);
    char hash[17] = "";
    json_t *labels = gfsi_kube_labels(b, role_label);

    if (conf != NULL) {
        gfsi_kube_hash(conf, hash);
    }

    free(conf);
    (void)json_object_set_new(labels, "sidecar.istio.io/inject", json_string("false"));
    return json_pack("{s:{s:o, s:{s:s, s:s}}, s:o}", "metadata", "labels", labels, "annotations",
                     "goosefs.data.fluid.io/conf", hash, "sidecar.istio.io/inject", "false", "spec",
                     spec);
}

static json_t *pod_spec(json_t *c, json_t *volumes)
{
    return json_pack("{s:[o], s:o, s:b, s:b, s:i}", "containers", c, "volumes", volumes,
                     "automountServiceAccountToken", 0, "enableServiceLinks", 0,
                     "terminationGracePeriodSeconds", STOP_SECONDS);
}

/* ---- masters ---- */

static const char *journal_text(const struct gfsi_kube_build *b, const char *field)
{
    const json_t *journal = json_object_get(json_object_get(b->runtime, "master"), "journal");

    return json_string_value(json_object_get(journal, field));
}

static bool journal_is(const struct gfsi_kube_build *b, const char *type)
{
    const char *wanted = journal_text(b, "volumeType");

    if (wanted == NULL || wanted[0] == '\0') {
        wanted = journal_text(b, "storageClass") != NULL ? "pvc" : "hostPath";
    }

    return strcmp(wanted, type) == 0;
}

/* By uid: a runtime made anew under the same name must not find the log of the one before. */
static json_t *journal_volume(const struct gfsi_kube_build *b)
{
    const char *root = journal_text(b, "path");
    char path[4096];

    if (journal_is(b, "emptyDir")) {
        return json_pack("{s:s, s:{}}", "name", "journal", "emptyDir");
    }

    (void)snprintf(path, sizeof(path), "%s/%s/%s/%s",
                   root != NULL && root[0] == '/' ? root : b->place->journal_root, b->plan->ns,
                   b->plan->name, b->uid);
    return host_volume("journal", path);
}

static json_t *journal_claims(const struct gfsi_kube_build *b)
{
    const char *size = journal_text(b, "size");
    json_t *spec = json_pack("{s:[s], s:{s:{s:s}}}", "accessModes", "ReadWriteOnce", "resources",
                             "requests", "storage", size != NULL ? size : JOURNAL_SIZE);

    if (journal_text(b, "storageClass") != NULL) {
        set(spec, "storageClassName", json_string(journal_text(b, "storageClass")));
    }

    return json_pack("[{s:{s:s, s:o}, s:o}]", "metadata", "name", "journal", "labels",
                     gfsi_kube_labels(b, "goosefs-master"), "spec", spec);
}

static json_t *journal_mount(const char *leaf)
{
    return json_pack("{s:s, s:o, s:o}", "name", "journal", "mountPath", json_sprintf("/%s", leaf),
                     "subPathExpr", json_sprintf("$(POD_NAME)/%s", leaf));
}

static json_t *master_container(const struct gfsi_kube_build *b)
{
    const struct gfs_service *service = &b->plan->services[0];
    json_t *c = container(b, GFS_ROLE_MASTER, "master");
    json_t *ports = json_array();
    json_t *mounts = json_object_get(c, "volumeMounts");
    int web = service->ports[1].port;

    for (size_t i = 0; i < service->n_ports; i++) {
        (void)json_array_append_new(
            ports, json_pack("{s:s, s:i, s:s}", "name", service->ports[i].name, "containerPort",
                             (int)service->ports[i].port, "protocol", "TCP"));
    }

    set(c, "name", json_string("goosefs-master"));
    set(c, "command", command("goosefs-master"));
    set(c, "ports", ports);
    set(c, "readinessProbe", http_probe("/readyz", web, 2, 3));
    set(c, "livenessProbe", http_probe("/healthz", web, 10, 6));
    (void)json_array_append_new(mounts, journal_mount("journal"));
    (void)json_array_append_new(mounts, journal_mount("metastore"));
    return c;
}

/* Parallel: no master is ready before a majority runs. */
json_t *gfsi_kube_master_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-master";
    bool claims = journal_is(b, "pvc");
    json_t *volumes = json_pack("[o]", conf_volume(b, GFS_ROLE_MASTER));

    if (!claims) {
        (void)json_array_append_new(volumes, journal_volume(b));
    }

    json_t *spec = pod_spec(master_container(b), volumes);

    set(spec, "affinity",
        json_pack("{s:{s:[{s:i, s:o}]}}", "podAntiAffinity",
                  "preferredDuringSchedulingIgnoredDuringExecution", "weight", 100,
                  "podAffinityTerm", apart(b, role)));
    set(spec, "nodeSelector", component(b, "master", "nodeSelector"));
    set(spec, "tolerations", json_incref(json_object_get(b->dataset, "tolerations")));

    json_t *sts = json_pack("{s:i, s:o, s:s, s:{s:o}, s:o}", "replicas",
                            (int)b->plan->desired[GFS_ROLE_MASTER], "serviceName",
                            json_sprintf("%s-master", b->plan->name), "podManagementPolicy",
                            "Parallel", "selector", "matchLabels", gfsi_kube_selector(b, role),
                            "template", template(b, GFS_ROLE_MASTER, role, spec));

    if (claims) {
        set(sts, "volumeClaimTemplates", journal_claims(b));
    }

    return json_pack("{s:o}", "spec", sts);
}

/* ---- workers ---- */

static bool exclusive(const struct gfsi_kube_build *b)
{
    const char *placement = json_string_value(json_object_get(b->dataset, "placement"));

    return placement == NULL || strcmp(placement, "Shared") != 0;
}

/* fluid.md §4.4. Terms hold across namespaces: a node is one whoever uses it. */
static json_t *worker_affinity(const struct gfsi_kube_build *b)
{
    json_t *other = exclusive(b)
                        ? json_pack("{s:s, s:s}", "key", "fluid.io/dataset", "operator", "Exists")
                        : json_pack("{s:s, s:s, s:[s]}", "key", "fluid.io/dataset-placement",
                                    "operator", "In", "values", "Exclusive");
    json_t *terms =
        json_pack("[o, {s:{s:[o]}, s:{}, s:s}]", apart(b, "goosefs-worker"), "labelSelector",
                  "matchExpressions", other, "namespaceSelector", "topologyKey", HOSTNAME_KEY);
    json_t *affinity = json_pack("{s:{s:o}}", "podAntiAffinity",
                                 "requiredDuringSchedulingIgnoredDuringExecution", terms);
    json_t *required = json_object_get(json_object_get(b->dataset, "nodeAffinity"), "required");

    if (required != NULL) {
        set(affinity, "nodeAffinity",
            json_pack("{s:O}", "requiredDuringSchedulingIgnoredDuringExecution", required));
    }

    return affinity;
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
        (void)json_array_append_new(mounts, mount(name, pod->dirs[i]));
        (void)json_array_append_new(volumes,
                                    node ? host_volume(name, path)
                                         : json_pack("{s:s, s:{}}", "name", name, "emptyDir"));
    }
}

static json_t *worker_container(const struct gfsi_kube_build *b, const struct gfs_pod *pod,
                                json_t *volumes)
{
    json_t *c = container(b, GFS_ROLE_WORKER, "worker");
    const char *web = gfs_kvs_get(&pod->properties, "goosefs.worker.web.port");
    int port = web != NULL ? (int)strtol(web, NULL, 10) : GFS_PORT_WORKER_WEB;

    set(c, "name", json_string("goosefs-worker"));
    set(c, "command", command("goosefs-worker"));
    set(c, "ports",
        json_pack("[{s:s, s:i, s:s}, {s:s, s:i, s:s}]", "name", "rpc", "containerPort",
                  (int)pod->rpc_port, "protocol", "TCP", "name", "web", "containerPort", port,
                  "protocol", "TCP"));
    set(c, "readinessProbe", http_probe("/healthz", port, 2, 3));
    set(c, "livenessProbe", http_probe("/healthz", port, 10, 6));
    add_tiers(b, pod, json_object_get(c, "volumeMounts"), volumes);
    return c;
}

json_t *gfsi_kube_worker_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-worker";
    static const struct gfs_pod none = {.rpc_port = GFS_PORT_WORKER_RPC};
    const struct gfs_pod *pod = gfsi_kube_pod(b->plan, GFS_ROLE_WORKER);
    json_t *volumes = json_pack("[o]", conf_volume(b, GFS_ROLE_WORKER));

    if (pod == NULL) { /* none wanted: the set is there to be scaled */
        pod = &none;
    }

    json_t *spec = pod_spec(worker_container(b, pod, volumes), volumes);

    set(spec, "affinity", worker_affinity(b));
    set(spec, "nodeSelector", component(b, "worker", "nodeSelector"));
    set(spec, "tolerations", json_incref(json_object_get(b->dataset, "tolerations")));

    json_t *pods = template(b, GFS_ROLE_WORKER, role, spec);
    json_t *labels = json_object_get(json_object_get(pods, "metadata"), "labels");

    set(labels, "fluid.io/dataset-placement", json_string(exclusive(b) ? "Exclusive" : "Shared"));
    if (json_object_get(labels, "fluid.io/dataset-id") != NULL) {
        set(labels, "fluid.io/dataset",
            json_incref(json_object_get(labels, "fluid.io/dataset-id")));
    } else {
        set(labels, "fluid.io/dataset", json_string(b->uid));
    }

    return json_pack("{s:{s:i, s:{s:o}, s:o}}", "spec", "replicas",
                     (int)b->plan->desired[GFS_ROLE_WORKER], "selector", "matchLabels",
                     gfsi_kube_selector(b, role), "template", pods);
}

/* ---- clients ---- */

static json_t *fuse_container(const struct gfsi_kube_build *b, const char *dir)
{
    json_t *c = container(b, GFS_ROLE_FUSE, "fuse");

    set(c, "name", json_string("goosefs-fuse"));
    set(c, "command",
        json_pack("[s, s, s, s, s, s]", "bash", "-c", FUSE_SCRIPT, "goosefs-fuse",
                  b->plan->conf_path, b->plan->fuse_path));
    /* Ready: clients of this node can reach a leader. */
    set(c, "readinessProbe",
        json_pack("{s:{s:[s, s, s]}, s:i, s:i, s:i}", "exec", "command", "goosefs", "fs", "leader",
                  "periodSeconds", 5, "timeoutSeconds", 10, "failureThreshold", 6));
    (void)json_array_append_new(json_object_get(c, "volumeMounts"),
                                json_pack("{s:s, s:s, s:s}", "name", "mount-root", "mountPath", dir,
                                          "mountPropagation", "HostToContainer"));
    return c;
}

json_t *gfsi_kube_fuse_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-fuse";
    const char *key = gfs_kvs_get(&b->plan->volume.attributes, "mount_pod_node_selector_key");
    /* A copy: what the API server gave is shared with other threads. */
    json_t *selector =
        json_copy(json_object_get(json_object_get(b->runtime, "fuse"), "nodeSelector"));
    char dir[4096];

    (void)snprintf(dir, sizeof(dir), "%s/goosefs/%s/%s", b->place->mount_root, b->plan->ns,
                   b->plan->name);

    json_t *volumes =
        json_pack("[o, o]", conf_volume(b, GFS_ROLE_FUSE), host_volume("mount-root", dir));
    json_t *spec = pod_spec(fuse_container(b, dir), volumes);

    selector = selector != NULL ? selector : json_object();
    if (!b->plan->fuse_global && key != NULL) {
        set(selector, key, json_string("true"));
    }
    set(spec, "nodeSelector", selector);
    set(spec, "tolerations", json_pack("[{s:s}]", "operator", "Exists"));
    return json_pack("{s:{s:{s:o}, s:o}}", "spec", "selector", "matchLabels",
                     gfsi_kube_selector(b, role), "template",
                     template(b, GFS_ROLE_FUSE, role, spec));
}
