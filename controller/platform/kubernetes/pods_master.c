/* Pods of masters: StatefulSet NAME-master. */
#include <stdbool.h>
#include <string.h>

#include <gfs/kube/client.h>

#include "platform/kubernetes/journal.h"
#include "platform/kubernetes/objects_priv.h"

static const char *journal_text(const struct gfsi_kube_build *b, const char *field)
{
    return json_string_value(gfs_kube_at(b->runtime, "master", "journal", field, NULL));
}

/* Of the user's storage class, or of the one whose volumes we make: journal.h. */
static json_t *journal_claims(const struct gfsi_kube_build *b, bool on_node)
{
    const char *size = journal_text(b, "size");
    const char *class = on_node ? GFSI_KUBE_JOURNAL_CLASS : journal_text(b, "storageClass");
    json_t *spec = json_pack("{s:[s], s:{s:{s:s}}}", "accessModes", "ReadWriteOnce", "resources",
                             "requests", "storage", size != NULL ? size : GFSI_KUBE_JOURNAL_SIZE);

    if (class != NULL) {
        gfsi_kube_set(spec, "storageClassName", json_string(class));
    }

    return json_pack("[{s:{s:s, s:o}, s:o}]", "metadata", "name", "journal", "labels",
                     gfsi_kube_labels(b, "goosefs-master"), "spec", spec);
}

/* A volume of ours is one master's already; others may hold more than journals. */
static json_t *journal_mount(const char *leaf, bool on_node)
{
    return json_pack("{s:s, s:o, s:o}", "name", "journal", "mountPath", json_sprintf("/%s", leaf),
                     on_node ? "subPath" : "subPathExpr",
                     on_node ? json_string(leaf) : json_sprintf("$(POD_NAME)/%s", leaf));
}

static json_t *master_container(const struct gfsi_kube_build *b, bool on_node)
{
    const struct gfs_service *service = &b->plan->services[0];
    json_t *c = gfsi_kube_container(b, GFS_ROLE_MASTER, "master");
    json_t *ports = json_array();
    json_t *mounts = json_object_get(c, "volumeMounts");
    int web = service->ports[1].port;

    for (size_t i = 0; i < service->n_ports; i++) {
        (void)json_array_append_new(
            ports, json_pack("{s:s, s:i, s:s}", "name", service->ports[i].name, "containerPort",
                             (int)service->ports[i].port, "protocol", "TCP"));
    }

    gfsi_kube_set(c, "name", json_string("goosefs-master"));
    gfsi_kube_set(c, "command", gfsi_kube_command("goosefs-master"));
    gfsi_kube_set(c, "ports", ports);
    gfsi_kube_set(c, "readinessProbe", gfsi_kube_http_probe("/readyz", web, 2, 3));
    gfsi_kube_set(c, "livenessProbe", gfsi_kube_http_probe("/healthz", web, 10, 6));
    (void)json_array_append_new(mounts, journal_mount("journal", on_node));
    (void)json_array_append_new(mounts, journal_mount("metastore", on_node));
    return c;
}

/* Parallel: no master is ready before a majority runs. OnDelete: the controller replaces pods, the
 * leader last (rollout.h). */
json_t *gfsi_kube_master_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-master";
    const char *kind = gfsi_kube_journal_kind(b->runtime);
    bool on_node = strcmp(kind, "hostPath") == 0;
    bool claims = strcmp(kind, "emptyDir") != 0;
    json_t *volumes = json_pack("[o]", gfsi_kube_conf_volume(b, GFS_ROLE_MASTER));

    if (!claims) {
        (void)json_array_append_new(volumes,
                                    json_pack("{s:s, s:{}}", "name", "journal", "emptyDir"));
    }

    json_t *c = master_container(b, on_node);

    gfsi_kube_secrets(b, json_object_get(c, "volumeMounts"), volumes);

    json_t *spec = gfsi_kube_pod_spec(b->place, c, volumes);

    gfsi_kube_set(spec, "affinity",
                  json_pack("{s:{s:[{s:i, s:o}]}}", "podAntiAffinity",
                            "preferredDuringSchedulingIgnoredDuringExecution", "weight", 100,
                            "podAffinityTerm", gfsi_kube_apart(b, role)));
    gfsi_kube_set(spec, "nodeSelector", gfsi_kube_component(b, "master", "nodeSelector"));
    gfsi_kube_set(spec, "tolerations", json_incref(json_object_get(b->dataset, "tolerations")));

    json_t *sts = json_pack("{s:i, s:o, s:s, s:{s:s}, s:{s:o}, s:o}", "replicas",
                            (int)b->plan->desired[GFS_ROLE_MASTER], "serviceName",
                            json_sprintf("%s-master", b->plan->name), "podManagementPolicy",
                            "Parallel", "updateStrategy", "type", "OnDelete", "selector",
                            "matchLabels", gfsi_kube_selector(b, role), "template",
                            gfsi_kube_template(b, GFS_ROLE_MASTER, role, spec));

    if (claims) {
        gfsi_kube_set(sts, "volumeClaimTemplates", journal_claims(b, on_node));
    }

    return json_pack("{s:o}", "spec", sts);
}
