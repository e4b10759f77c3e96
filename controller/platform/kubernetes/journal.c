#include "platform/kubernetes/journal.h"

#include <stdbool.h>
#include <string.h>

#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"

static const char *field(const json_t *spec, const char *name)
{
    const char *text = json_string_value(gfs_kube_at(spec, "master", "journal", name, NULL));

    return text != NULL ? text : "";
}

const char *gfsi_kube_journal_kind(const json_t *spec)
{
    const char *kind = field(spec, "volumeType");

    if (kind[0] != '\0') {
        return kind;
    }

    return gfs_kube_at(spec, "master", "journal", "storageClass", NULL) != NULL ? "pvc"
                                                                                : "hostPath";
}

const char *gfsi_kube_journal_root(const json_t *spec, const struct gfsi_kube_place *place)
{
    const char *path = field(spec, "path");

    return path[0] == '/' ? path : place->journal_root;
}

const char *gfsi_kube_journal_wanted(const json_t *claim)
{
    const char *class = json_string_value(gfs_kube_at(claim, "spec", "storageClassName", NULL));
    const char *volume = json_string_value(gfs_kube_at(claim, "spec", "volumeName", NULL));
    const char *node = gfsi_kube_meta(claim, "annotations", GFSI_KUBE_SELECTED_NODE);

    if (class == NULL || strcmp(class, GFSI_KUBE_JOURNAL_CLASS) != 0 || node[0] == '\0' ||
        (volume != NULL && volume[0] != '\0') || gfsi_kube_deleting(claim)) {
        return NULL;
    }

    return node;
}

/* "journal-NAME-master-i" */
static const char *master_of(const json_t *claim)
{
    const char *name = gfs_kube_name(claim);

    return strncmp(name, "journal-", 8) == 0 ? name + 8 : name;
}

static json_t *metadata(const json_t *claim, const char *hash, const char *node)
{
    json_t *labels = json_copy(gfs_kube_at(claim, "metadata", "labels", NULL));
    /* Without the hash it could be the name of a data set's volume, NS-NAME. */
    json_t *name =
        json_sprintf("journal-%.63s-%.160s-%s", gfs_kube_namespace(claim), master_of(claim), hash);

    return json_pack("{s:o, s:o, s:{s:s, s:s}}", "name", name, "labels", labels, "annotations",
                     GFSI_KUBE_PROVISIONED_BY, GFSI_KUBE_JOURNAL_PROVISIONER,
                     GFSI_KUBE_JOURNAL_NODE, node);
}

static json_t *affinity(const char *hostname)
{
    return json_pack("{s:{s:[{s:[{s:s, s:s, s:[s]}]}]}}", "required", "nodeSelectorTerms",
                     "matchExpressions", "key", GFSI_KUBE_HOSTNAME, "operator", "In", "values",
                     hostname);
}

/* With the uid: a claim made anew under that name gets a volume of its own. */
static json_t *claim_ref(const json_t *claim)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "apiVersion", "v1", "kind",
                     "PersistentVolumeClaim", "namespace", gfs_kube_namespace(claim), "name",
                     gfs_kube_name(claim), "uid", gfs_kube_uid(claim));
}

json_t *gfsi_kube_journal_volume(const json_t *claim, const json_t *runtime, const char *node,
                                 const char *hostname, const struct gfsi_kube_place *place)
{
    const json_t *spec = json_object_get(runtime, "spec");
    const char *size =
        json_string_value(gfs_kube_at(claim, "spec", "resources", "requests", "storage", NULL));
    char hash[17];

    gfsi_kube_hash(gfs_kube_uid(claim), hash);

    json_t *path = json_sprintf("%s/%s/%s/%s/%s-%s", gfsi_kube_journal_root(spec, place),
                                gfs_kube_namespace(runtime), gfs_kube_name(runtime),
                                gfs_kube_uid(runtime), master_of(claim), hash);

    return json_pack(
        "{s:s, s:s, s:o, s:{s:s, s:{s:s}, s:[s], s:s, s:o, s:o, s:{s:o, s:s}}}", "apiVersion", "v1",
        "kind", "PersistentVolume", "metadata", metadata(claim, hash, node), "spec",
        "storageClassName", GFSI_KUBE_JOURNAL_CLASS, "capacity", "storage",
        size != NULL ? size : GFSI_KUBE_JOURNAL_SIZE, "accessModes", "ReadWriteOnce",
        "persistentVolumeReclaimPolicy", "Retain", "claimRef", claim_ref(claim), "nodeAffinity",
        affinity(hostname), "hostPath", "path", path, "type", "DirectoryOrCreate");
}

bool gfsi_kube_journal_left(const json_t *volume, const json_t *claim)
{
    const char *phase = json_string_value(gfs_kube_at(volume, "status", "phase", NULL));
    const char *uid = json_string_value(gfs_kube_at(volume, "spec", "claimRef", "uid", NULL));

    /* Both have to say so: our copy of claims may lack one that has lost its label, and the cluster
     * looks at all of them. */
    return phase != NULL && (strcmp(phase, "Released") == 0 || strcmp(phase, "Failed") == 0) &&
           uid != NULL && (claim == NULL || strcmp(gfs_kube_uid(claim), uid) != 0) &&
           !gfsi_kube_deleting(volume);
}
