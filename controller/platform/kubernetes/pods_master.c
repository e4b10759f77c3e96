/* Pods of masters: StatefulSet NAME-master. */
#include <stdio.h>
#include <string.h>

#include "platform/kubernetes/objects_priv.h"

#define JOURNAL_SIZE "30Gi" /* of a claim that names none; Fluid's emptyDir had it */

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
    return gfsi_kube_host_volume("journal", path);
}

static json_t *journal_claims(const struct gfsi_kube_build *b)
{
    const char *size = journal_text(b, "size");
    json_t *spec = json_pack("{s:[s], s:{s:{s:s}}}", "accessModes", "ReadWriteOnce", "resources",
                             "requests", "storage", size != NULL ? size : JOURNAL_SIZE);

    if (journal_text(b, "storageClass") != NULL) {
        gfsi_kube_set(spec, "storageClassName", json_string(journal_text(b, "storageClass")));
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
    (void)json_array_append_new(mounts, journal_mount("journal"));
    (void)json_array_append_new(mounts, journal_mount("metastore"));
    return c;
}

/* Parallel: no master is ready before a majority runs. OnDelete: the controller replaces pods, the
 * leader last (rollout.h). */
json_t *gfsi_kube_master_set(const struct gfsi_kube_build *b)
{
    static const char role[] = "goosefs-master";
    bool claims = journal_is(b, "pvc");
    json_t *volumes = json_pack("[o]", gfsi_kube_conf_volume(b, GFS_ROLE_MASTER));

    if (!claims) {
        (void)json_array_append_new(volumes, journal_volume(b));
    }

    json_t *c = master_container(b);

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
        gfsi_kube_set(sts, "volumeClaimTemplates", journal_claims(b));
    }

    return json_pack("{s:o}", "spec", sts);
}
