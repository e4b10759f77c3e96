/* Pods of clients: DaemonSet NAME-fuse. docs/decisions/003 */
#include <stdio.h>
#include <string.h>

#include "platform/kubernetes/objects_priv.h"

/* Puts the client's configuration where whoever starts the client looks for it. */
#define COPY_CONF                                                                                  \
    "set -eu\n"                                                                                    \
    "conf=$1\n"                                                                                    \
    "mkdir -p \"${conf%/*}\"\n"                                                                    \
    "cp " GFSI_KUBE_CONF_FILE " \"$conf.$POD_NAME\"\n"                                             \
    "mv -f \"$conf.$POD_NAME\" \"$conf\"\n"

/* Launch mode process: the client is the keeper's. The file goes when the pod ends and nothing is
 * mounted; the mount outlives this pod. */
static const char STAND_IN[] =
    COPY_CONF "leave() {\n"
              "    grep -qF \" $2 \" /proc/self/mountinfo || rm -f \"$conf\"\n"
              "    exit 0\n"
              "}\n"
              "trap 'leave \"$@\"' TERM INT\n"
              "sleep infinity &\n"
              "wait $!\n";

static json_t *dir_mount(const struct gfsi_kube_build *b)
{
    return json_pack("{s:s, s:o, s:s}", "name", "mount-root", "mountPath", gfsi_kube_runtime_dir(b),
                     "mountPropagation", "HostToContainer");
}

static json_t *container(const struct gfsi_kube_build *b)
{
    json_t *c = gfsi_kube_container(b, GFS_ROLE_FUSE, "fuse");

    gfsi_kube_set(c, "name", json_string("goosefs-fuse"));
    (void)json_array_append_new(json_object_get(c, "volumeMounts"), dir_mount(b));
    return c;
}

/* Ready: clients of this node can reach a leader. */
static void add_probe(json_t *c)
{
    gfsi_kube_set(c, "readinessProbe",
                  json_pack("{s:{s:[s, s, s]}, s:i, s:i, s:i}", "exec", "command", "goosefs", "fs",
                            "leader", "periodSeconds", 5, "timeoutSeconds", 10, "failureThreshold",
                            6));
}

static json_t *stand_in(const struct gfsi_kube_build *b)
{
    json_t *c = container(b);

    gfsi_kube_set(c, "command",
                  json_pack("[s, s, s, s, s, s]", "bash", "-c", STAND_IN, "goosefs-fuse",
                            b->plan->conf_path, b->plan->fuse_path));
    add_probe(c);
    return c;
}

/* As root, without a capability: the directory is kubelet's. */
static json_t *configure(const struct gfsi_kube_build *b)
{
    json_t *c = container(b);

    gfsi_kube_set(c, "name", json_string("conf"));
    gfsi_kube_set(
        c, "command",
        json_pack("[s, s, s, s, s]", "bash", "-c", COPY_CONF, "conf", b->plan->conf_path));
    return c;
}

/* Gets the FUSE device from the keeper and runs the client, with nobody's rights. */
static json_t *launcher(const struct gfsi_kube_build *b)
{
    json_t *c = container(b);

    gfsi_kube_set(c, "command",
                  json_pack("[s, s, o]", "goosefs-fuse", "launcher",
                            json_sprintf("--directory=%s/goosefs/%s/%s", b->place->mount_root,
                                         b->plan->ns, b->plan->name)));
    gfsi_kube_set(c, "securityContext",
                  gfsi_kube_security(GFSI_KUBE_CLIENT_ID, GFSI_KUBE_CLIENT_ID));
    add_probe(c);
    return c;
}

static json_t *node_selector(const struct gfsi_kube_build *b)
{
    const char *key = gfs_kvs_get(&b->plan->volume.attributes, "mount_pod_node_selector_key");
    /* A copy: what the API server gave is shared with other threads. */
    json_t *selector =
        json_copy(json_object_get(json_object_get(b->runtime, "fuse"), "nodeSelector"));

    selector = selector != NULL ? selector : json_object();
    if (!b->plan->fuse_global && key != NULL) {
        gfsi_kube_set(selector, key, json_string("true"));
    }

    return selector;
}

/* Critical, as applications stand still without it. */
json_t *gfsi_kube_fuse_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-fuse";
    bool pod = b->place->launch_pod;
    json_t *dir = json_pack("{s:s, s:{s:o, s:s}}", "name", "mount-root", "hostPath", "path",
                            gfsi_kube_runtime_dir(b), "type", "DirectoryOrCreate");
    json_t *spec =
        gfsi_kube_pod_spec(b->place, pod ? launcher(b) : stand_in(b),
                           json_pack("[o, o]", gfsi_kube_conf_volume(b, GFS_ROLE_FUSE), dir));

    if (pod) {
        gfsi_kube_set(spec, "initContainers", json_pack("[o]", configure(b)));
    }
    gfsi_kube_set(spec, "priorityClassName", json_string("system-node-critical"));
    gfsi_kube_set(spec, "nodeSelector", node_selector(b));
    gfsi_kube_set(spec, "tolerations", json_pack("[{s:s}]", "operator", "Exists"));
    return json_pack("{s:{s:{s:o}, s:o}}", "spec", "selector", "matchLabels",
                     gfsi_kube_selector(b, role), "template",
                     gfsi_kube_template(b, GFS_ROLE_FUSE, role, spec));
}
