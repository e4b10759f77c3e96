/* The pure part of cleanup.h: the annotation, and the pod that cleans one node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>

#include "platform/kubernetes/cleanup.h"
#include "platform/kubernetes/journal.h"
#include "platform/kubernetes/objects_priv.h"

#define GRACE_SECONDS 60 /* Fluid's defaults of cleanCachePolicy */
#define ATTEMPTS      3

/* Each directory, then the two above it if nothing else is in them: /mnt/disk1/NS/NAME/UID. A mount
 * that is still there is left alone, and an error. */
static const char SCRIPT[] = "rc=0\n"
                             "for dir in \"$@\"; do\n"
                             "    rm -rf --one-file-system -- \"$dir\" || rc=1\n"
                             "    up=${dir%/*}\n"
                             "    { rm -d -- \"$up\" && rm -d -- \"${up%/*}\"; } 2>/dev/null\n"
                             "done\n"
                             "exit $rc\n";

static const json_t *spec(const json_t *runtime)
{
    return json_object_get(runtime, "spec");
}

char gfsi_kube_leaves(const json_t *runtime, enum gfs_role role)
{
    switch (role) {
    case GFS_ROLE_MASTER:
        return strcmp(gfsi_kube_journal_kind(spec(runtime)), "hostPath") == 0 ? 'm' : (char)0;
    case GFS_ROLE_WORKER: return 'w';
    case GFS_ROLE_FUSE: return 'f';
    default: return 0;
    }
}

json_t *gfsi_kube_nodes_parse(const char *text)
{
    json_t *nodes = json_object();

    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, ",");
        size_t name = strcspn(text, "=,");

        if (name > 0 && name + 1 < len) {
            (void)json_object_setn_new(nodes, text, name,
                                       json_stringn(text + name + 1, len - name - 1));
        }
        text += len + (text[len] == ',');
    }

    return nodes;
}

bool gfsi_kube_nodes_add(json_t *nodes, const char *node, char letter)
{
    static const char order[] = "mwf"; /* the same set is always the same text */
    const char *known = json_string_value(json_object_get(nodes, node));
    char letters[sizeof(order)];
    size_t n = 0;

    if (known != NULL && strchr(known, letter) != NULL) {
        return false;
    }
    for (const char *c = order; *c != '\0'; c++) {
        if (*c == letter || (known != NULL && strchr(known, *c) != NULL)) {
            letters[n++] = *c;
        }
    }
    letters[n] = '\0';
    return json_object_set_new(nodes, node, json_string(letters)) == 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *gfsi_kube_nodes_print(const json_t *nodes)
{
    size_t n = json_object_size(nodes);
    const char **names gfs_auto_free = calloc(n + 1, sizeof(*names));
    struct gfs_buf text;
    const char *key = NULL;
    json_t *value = NULL;
    size_t at = 0;

    if (names == NULL) {
        return NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)nodes, key, value)
    {
        names[at++] = key;
    }
    qsort(names, n, sizeof(*names), compare);

    gfs_buf_init(&text, GFSI_KUBE_NODES_MAX);
    for (size_t i = 0; i < n; i++) {
        (void)gfs_buf_printf(&text, "%s%s=%s", i > 0 ? "," : "", names[i],
                             json_string_value(json_object_get(nodes, names[i])));
    }

    char *out = text.error < 0 ? NULL : text.len > 0 ? gfs_buf_take(&text) : strdup("");

    gfs_buf_fini(&text);
    return out;
}

static int number(const json_t *runtime, const char *field, int fallback)
{
    const json_t *value = gfs_kube_at(spec(runtime), "cleanCachePolicy", field, NULL);
    json_int_t n = json_integer_value(value);

    return json_is_integer(value) && n > 0 && n <= 3600 ? (int)n : fallback;
}

int gfsi_kube_clean_seconds(const json_t *runtime)
{
    return number(runtime, "gracePeriodSeconds", GRACE_SECONDS) *
           number(runtime, "maxRetryAttempts", ATTEMPTS);
}

/* ---- the pod ---- */

struct cleaner {
    json_t *args, *mounts, *volumes;
    const char *ns, *name, *uid;
    bool failed;
};

/* `root` of the node, from which `below` goes. */
static void add(struct cleaner *c, const char *root, const char *below)
{
    char volume[32];
    char path[64];
    json_t *arg = NULL;

    (void)snprintf(volume, sizeof(volume), "dir-%zu", json_array_size(c->volumes));
    (void)snprintf(path, sizeof(path), "/node/%zu", json_array_size(c->volumes));
    arg = json_sprintf("%s/%s", path, below);
    (void)json_array_append_new(c->args, arg);
    (void)json_array_append_new(c->mounts, json_pack("{s:s, s:s, s:s}", "name", volume, "mountPath",
                                                     path, "mountPropagation", "HostToContainer"));
    (void)json_array_append_new(c->volumes, gfsi_kube_host_volume(volume, root));
    c->failed = c->failed || arg == NULL;
}

static void add_journal(struct cleaner *c, const json_t *runtime,
                        const struct gfsi_kube_place *place)
{
    char below[1024];

    (void)snprintf(below, sizeof(below), "%s/%s/%s", c->ns, c->name, c->uid);
    add(c, gfsi_kube_journal_root(spec(runtime), place), below);
}

static void add_tiers(struct cleaner *c, const json_t *runtime, const struct gfs_runtime *parsed)
{
    const json_t *levels = gfs_kube_at(spec(runtime), "tieredstore", "levels", NULL);
    const char *kind = json_string_value(json_object_get(json_array_get(levels, 0), "volumeType"));
    char below[1024];

    if (kind != NULL && strcmp(kind, "emptyDir") == 0) {
        return;
    }

    (void)snprintf(below, sizeof(below), "%s/%s/%s", c->ns, c->name, c->uid);
    for (size_t level = 0; level < parsed->n_tiers; level++) {
        for (size_t i = 0; i < parsed->tiers[level].n_paths; i++) {
            add(c, parsed->tiers[level].paths[i], below);
        }
    }
}

static void add_clients(struct cleaner *c, const struct gfsi_kube_place *place)
{
    char below[1024];

    (void)snprintf(below, sizeof(below), "goosefs/%s/%s", c->ns, c->name);
    add(c, place->mount_root, below);
}

static json_t *image(const json_t *runtime, const struct gfsi_kube_place *place)
{
    const json_t *version = json_object_get(spec(runtime), "goosefsVersion");
    const char *name = json_string_value(json_object_get(version, "image"));
    const char *tag = json_string_value(json_object_get(version, "imageTag"));

    if (name == NULL || name[0] == '\0') {
        return json_string(place->image);
    }

    return tag != NULL && tag[0] != '\0' ? json_sprintf("%s:%s", name, tag) : json_string(name);
}

static json_t *pod_metadata(const struct cleaner *c, const char *node)
{
    char hash[17];

    gfsi_kube_hash(node, hash);
    return json_pack("{s:o, s:s, s:{s:s, s:s, s:s, s:s, s:s}, s:[{s:s, s:s, s:s, s:s, s:b, s:b}]}",
                     "name", json_sprintf("%s-clean-%s", c->name, hash), "namespace", c->ns,
                     "labels", "app", "goosefs", "release", c->name, "role", GFSI_KUBE_CLEAN_ROLE,
                     "fluid.io/managed-by", "fluid", "sidecar.istio.io/inject", "false",
                     "ownerReferences", "apiVersion", "data.fluid.io/v1alpha1", "kind",
                     "GooseFSRuntime", "name", c->name, "uid", c->uid, "controller", 1,
                     "blockOwnerDeletion", 0);
}

/* By node name and past taints: it goes where the files are, as kubelet's own pods do. */
static json_t *pod_spec(struct cleaner *c, const json_t *runtime, const char *node,
                        const struct gfsi_kube_place *place)
{
    json_t *container =
        json_pack("{s:s, s:o, s:s, s:[s, s, s, s], s:O, s:O, s:o, s:s}", "name", "clean", "image",
                  image(runtime, place), "imagePullPolicy", "IfNotPresent", "command", "bash", "-c",
                  SCRIPT, "clean", "args", c->args, "volumeMounts", c->mounts, "securityContext",
                  gfsi_kube_security(0, 0), "terminationMessagePolicy", "FallbackToLogsOnError");
    json_t *spec = gfsi_kube_pod_spec(place, container, json_incref(c->volumes));
    json_t *more =
        json_pack("{s:s, s:s, s:i, s:i, s:[{s:s}]}", "nodeName", node, "restartPolicy", "OnFailure",
                  "activeDeadlineSeconds", gfsi_kube_clean_seconds(runtime),
                  "terminationGracePeriodSeconds", 1, "tolerations", "operator", "Exists");

    (void)json_object_update(spec, more);
    json_decref(more);
    return spec;
}

json_t *gfsi_kube_cleaner(const json_t *runtime, const struct gfs_object *parsed, const char *node,
                          const char *letters, const struct gfsi_kube_place *place)
{
    struct cleaner c = {
        .args = json_array(),
        .mounts = json_array(),
        .volumes = json_array(),
        .ns = gfs_kube_namespace(runtime),
        .name = gfs_kube_name(runtime),
        .uid = gfs_kube_uid(runtime),
    };
    json_t *pod = NULL;

    if (strchr(letters, 'm') != NULL) {
        add_journal(&c, runtime, place);
    }
    if (strchr(letters, 'w') != NULL) {
        add_tiers(&c, runtime, parsed->runtime);
    }
    if (strpbrk(letters, "wf") != NULL) {
        add_clients(&c, place);
    }
    if (!c.failed) {
        pod = json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata",
                        pod_metadata(&c, node), "spec", pod_spec(&c, runtime, node, place));
    }

    json_decref(c.args);
    json_decref(c.mounts);
    json_decref(c.volumes);
    return pod;
}
