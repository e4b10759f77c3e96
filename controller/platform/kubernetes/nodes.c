#include "platform/kubernetes/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/log.h>
#include <gfs/controller/desired.h>

#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"

#define OURS      "fluid.io/s-goosefs-"
#define CACHE     "fluid.io/s-"
#define CAPACITY  "fluid.io/s-h-goosefs-"
#define EXCLUSIVE "fluid_exclusive"
#define COUNT     "fluid.io/dataset-num"

/* ---- what the labels should be: pure ---- */

/* Whole numbers with the largest unit, as Fluid has it: labels hold no more. */
static void put_size(json_t *out, const char *kind, const struct gfsi_node_cache *c, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char prefix[sizeof(CAPACITY) + 4];
    char key[GFS_LABEL_KEY_MAX];
    size_t unit = 0;

    if (bytes == 0) {
        return;
    }
    while (bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024;
        unit++;
    }

    (void)snprintf(prefix, sizeof(prefix), CAPACITY "%s-", kind);
    gfs_label_key(prefix, c->ns, c->name, key);
    (void)json_object_set_new(out, key,
                              json_sprintf("%llu%s", (unsigned long long)bytes, units[unit]));
}

static void put_cache(json_t *out, const struct gfsi_node_cache *c)
{
    char key[GFS_LABEL_KEY_MAX];

    gfs_label_key(OURS, c->ns, c->name, key);
    (void)json_object_set_new(out, key, json_string("true"));
    gfs_label_key(CACHE, c->ns, c->name, key);
    (void)json_object_set_new(out, key, json_string("true"));
    put_size(out, "m", c, c->memory);
    put_size(out, "d", c, c->disk);
    put_size(out, "t", c, c->memory + c->disk);
    if (c->exclusive && strlen(c->ns) + 1 + strlen(c->name) <= GFSI_KUBE_LABEL_MAX) {
        (void)json_object_set_new(out, EXCLUSIVE, json_sprintf("%s_%s", c->ns, c->name));
    }
}

/* Are both keys of one runtime? `ours` is OURS and more. Long names have their hash at the end. */
static bool same_runtime(const char *key, const char *prefix, const char *ours)
{
    const char *a = key + strlen(prefix);
    const char *b = ours + sizeof(OURS) - 1;
    size_t la = strlen(a);
    size_t lb = strlen(b);
    bool cut = strlen(strchr(ours, '/') + 1) == GFSI_KUBE_LABEL_MAX && la > 17 && lb > 17;

    return strcmp(a, b) == 0 || (cut && strcmp(a + la - 17, b + lb - 17) == 0);
}

/* Takes what belongs to `ours`, a label that is no longer wanted, out of the node's. */
static void drop_cache(json_t *patch, const json_t *labels, const json_t *wanted, const char *ours)
{
    static const char *const prefixes[] = {OURS, CACHE, CAPACITY "m-", CAPACITY "d-",
                                           CAPACITY "t-"};
    const char *suffix = ours + sizeof(OURS) - 1;
    const char *key = NULL;
    json_t *value = NULL;

    /* One put back a moment ago may not be in our copy yet, and without the one that says whose
     * they are nobody would take it later. */
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        char other[GFS_LABEL_KEY_MAX];
        int n = snprintf(other, sizeof(other), "%s%s", prefixes[i], suffix);

        if (n > 0 && (size_t)n < sizeof(other) &&
            strlen(strchr(other, '/') + 1) < GFSI_KUBE_LABEL_MAX &&
            json_object_get(wanted, other) == NULL) {
            (void)json_object_set_new(patch, other, json_null());
        }
    }

    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        bool mine = false;

        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
            mine = mine || (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0 &&
                            same_runtime(key, prefixes[i], ours));
        }
        if (strcmp(key, EXCLUSIVE) == 0) {
            char text[GFSI_KUBE_LABEL_MAX + 1];

            (void)snprintf(text, sizeof(text), "%s", json_string_value(value));
            for (char *c = text; *c != '\0'; c++) {
                *c = (char)(*c == '_' ? '-' : *c);
            }
            mine = strcmp(text, ours + sizeof(OURS) - 1) == 0;
        }
        if (mine && json_object_get(wanted, key) == NULL) {
            (void)json_object_set_new(patch, key, json_null());
        }
    }
}

json_t *gfsi_node_labels_patch(const json_t *labels, const struct gfsi_node_cache *caches, size_t n)
{
    json_t *wanted = json_object();
    json_t *patch = json_object();
    const char *key = NULL;
    json_t *value = NULL;
    bool had = false;

    for (size_t i = 0; i < n; i++) {
        put_cache(wanted, &caches[i]);
    }
    if (n > 0) {
        (void)json_object_set_new(wanted, COUNT, json_sprintf("%zu", n));
    }

    json_object_foreach(wanted, key, value)
    {
        if (!json_equal(json_object_get(labels, key), value)) {
            (void)json_object_set(patch, key, value);
        }
    }
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        if (strncmp(key, OURS, sizeof(OURS) - 1) == 0) {
            had = true;
            if (json_object_get(wanted, key) == NULL) {
                drop_cache(patch, labels, wanted, key);
            }
        }
    }
    if (n == 0 && had && json_object_get(labels, COUNT) != NULL) {
        (void)json_object_set_new(patch, COUNT, json_null());
    }

    json_decref(wanted);
    if (json_object_size(patch) > 0) {
        return patch;
    }
    json_decref(patch);
    return NULL;
}

/* ---- one round for one node ---- */

struct caches {
    const char *node;
    json_t *pods[GFSI_NODE_CACHES_MAX]; /* references */
    struct gfsi_node_cache items[GFSI_NODE_CACHES_MAX];
    size_t n;
};

static bool collect(void *arg, json_t *pod)
{
    struct caches *c = arg;
    const char *node = json_string_value(gfs_kube_at(pod, "spec", "nodeName", NULL));
    const char *phase = json_string_value(gfs_kube_at(pod, "status", "phase", NULL));
    bool over = phase != NULL && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
    unsigned long long memory = 0;
    unsigned long long disk = 0;

    if (node == NULL || strcmp(node, c->node) != 0 || over || c->n == GFSI_NODE_CACHES_MAX ||
        strcmp(gfsi_kube_meta(pod, "labels", "role"), "goosefs-worker") != 0) {
        return true;
    }

    (void)sscanf(gfsi_kube_meta(pod, "annotations", GFSI_KUBE_CACHE), /* NOLINT(cert-err34-c) */
                 "%llu %llu", &memory, &disk);
    c->pods[c->n] = json_incref(pod);
    c->items[c->n] = (struct gfsi_node_cache){
        .ns = gfs_kube_namespace(pod),
        .name = gfsi_kube_meta(pod, "labels", "release"),
        .exclusive =
            strcmp(gfsi_kube_meta(pod, "labels", "fluid.io/dataset-placement"), "Shared") != 0,
        .memory = memory,
        .disk = disk,
    };
    c->n++;
    return true;
}

static int patch_labels(struct gfsi_kube *k, const char *node, json_t *labels, struct gfs_err *err)
{
    json_t *patch = json_pack("{s:{s:o}}", "metadata", "labels", labels);
    int rc = gfs_kube_merge_patch(k->client, &gfs_kube_nodes, NULL, node, NULL, patch, NULL, err);

    json_decref(patch);
    return rc == GFS_ENOENT ? 0 : rc;
}

int64_t gfsi_kube_reconcile_node(struct gfsi_kube *k, const char *key, struct gfs_err *err)
{
    struct caches c = {.node = key};
    json_t *node = gfsi_kube_get(k, GFSI_KUBE_NODES, "", key);
    int rc = 0;

    if (node == NULL) {
        return 0;
    }

    char with[GFS_KUBE_NAME_MAX + 16];

    (void)snprintf(with, sizeof(with), "\"nodeName\":\"%s\"", key);
    gfs_kube_informer_each_with(k->informers[GFSI_KUBE_PODS], with, collect, &c);

    json_t *patch =
        gfsi_node_labels_patch(gfs_kube_at(node, "metadata", "labels", NULL), c.items, c.n);

    if (patch != NULL) {
        gfs_info("kubernetes", "labelling a node", "node=%s caches=%zu", key, c.n);
        rc = patch_labels(k, key, patch, err);
    }
    for (size_t i = 0; i < c.n; i++) {
        json_decref(c.pods[i]);
    }
    json_decref(node);
    return rc;
}

/* ---- the label of clients ---- */

struct marked {
    const char *label;
    json_t *names;
};

static bool find_marked(void *arg, json_t *node)
{
    struct marked *m = arg;

    if (gfs_kube_at(node, "metadata", "labels", m->label, NULL) != NULL) {
        (void)json_array_append_new(m->names, json_string(gfs_kube_name(node)));
    }

    return true;
}

int gfsi_kube_unmark_nodes(struct gfsi_kube *k, const char *ns, const char *name,
                           struct gfs_err *err)
{
    char label[GFS_LABEL_KEY_MAX];
    struct marked m = {.label = label, .names = json_array()};
    json_t *node = NULL;
    size_t i = 0;
    int rc = 0;

    gfs_label_key("fluid.io/f-", ns, name, label);
    gfs_kube_informer_each(k->informers[GFSI_KUBE_NODES], find_marked, &m);
    json_array_foreach(m.names, i, node)
    {
        rc = rc < 0 ? rc : patch_labels(k, json_string_value(node), json_pack("{s:n}", label), err);
    }
    json_decref(m.names);
    return rc;
}
