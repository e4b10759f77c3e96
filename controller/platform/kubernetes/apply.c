/* Writing objects: only what is missing, planned differently or changed behind our back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"

json_t *gfsi_kube_get(struct gfsi_kube *k, enum gfsi_kube_kind kind, const char *ns,
                      const char *name)
{
    return gfs_kube_informer_get(k->informers[kind], ns, name);
}

static struct gfs_kube_informer *informer_of(struct gfsi_kube *k,
                                             const struct gfs_kube_resource *resource)
{
    const struct {
        const struct gfs_kube_resource *resource;
        enum gfsi_kube_kind kind;
    } table[] = {
        {&gfs_kube_services, GFSI_KUBE_SERVICES},
        {&gfs_kube_configmaps, GFSI_KUBE_CONFIGMAPS},
        {&gfs_kube_statefulsets, GFSI_KUBE_STATEFULSETS},
        {&gfs_kube_replicasets, GFSI_KUBE_REPLICASETS},
        {&gfs_kube_daemonsets, GFSI_KUBE_DAEMONSETS},
        {&gfs_kube_poddisruptionbudgets, GFSI_KUBE_BUDGETS},
        {&gfs_kube_persistentvolumes, GFSI_KUBE_VOLUMES},
        {&gfs_kube_persistentvolumeclaims, GFSI_KUBE_CLAIMS},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].resource == resource) {
            return k->informers[table[i].kind];
        }
    }

    return NULL;
}

/* What changes when somebody edits the object, and not with its status: the generation, where the
 * kind has one. Volumes have neither; their spec can't be changed. */
static uint64_t version_of(const json_t *object, const struct gfs_kube_resource *resource)
{
    const json_t *generation = gfs_kube_at(object, "metadata", "generation", NULL);
    char text[24];

    if (generation != NULL) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(generation));
        return gfsi_kube_hash64(text);
    }
    if (resource == &gfs_kube_persistentvolumes || resource == &gfs_kube_persistentvolumeclaims) {
        return 0;
    }

    return gfsi_kube_hash64(gfs_kube_version(object));
}

static struct gfsi_kube_applied *note_of(const struct gfsi_kube_rest *rest, uint64_t name)
{
    for (size_t i = 0; i < rest->n_applied; i++) {
        if (rest->applied[i].name == name) {
            return &rest->applied[i];
        }
    }

    return NULL;
}

/* Without memory it is written once more. */
static void note(struct gfsi_kube_rest *rest, const struct gfsi_kube_applied *applied)
{
    struct gfsi_kube_applied *known = note_of(rest, applied->name);
    struct gfsi_kube_applied *more = NULL;

    if (known == NULL) {
        more = realloc(rest->applied, (rest->n_applied + 1) * sizeof(*more));
        if (more == NULL) {
            return;
        }
        rest->applied = more;
        known = &more[rest->n_applied++];
    }

    *known = *applied;
}

static bool up_to_date(struct gfsi_kube *k, const struct gfsi_kube_pair *pair,
                       const struct gfsi_kube_object *object,
                       const struct gfsi_kube_applied *planned)
{
    const struct gfsi_kube_applied *noted = note_of(pair->rest, planned->name);

    if (noted == NULL || noted->content != planned->content) {
        return false;
    }

    const char *ns = object->resource->namespaced ? gfs_kube_namespace(object->json) : "";
    json_t *now = gfs_kube_informer_get(informer_of(k, object->resource), ns, object->name);
    /* A copy that is behind shows the version of before: one more write, no loop. */
    bool same = now != NULL && version_of(now, object->resource) == noted->version;

    json_decref(now);
    return same;
}

static int apply(struct gfsi_kube *k, struct gfsi_kube_pair *pair, struct gfsi_kube_object *object,
                 struct gfs_err *err)
{
    char key[GFS_KUBE_NAME_MAX + 64];
    char *text = json_dumps(object->json, JSON_COMPACT | JSON_SORT_KEYS);
    json_t *result = NULL;

    if (text == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    (void)snprintf(key, sizeof(key), "%s/%s", object->resource->plural, object->name);

    struct gfsi_kube_applied applied = {
        .name = gfsi_kube_hash64(key),
        .content = gfsi_kube_hash64(text),
    };

    free(text);
    if (up_to_date(k, pair, object, &applied)) {
        return 0;
    }

    const char *ns = object->resource->namespaced ? gfs_kube_namespace(object->json) : NULL;
    int rc = gfs_kube_apply(k->client, object->resource, ns, object->name, NULL, GFSI_KUBE_MANAGER,
                            true, object->json, &result, err);

    if (rc < 0) {
        return gfs_err_wrap(err, rc, "%s", key);
    }

    gfs_info("kubernetes", "applied", "pair=%s object=%s", pair->key, key);
    applied.version = version_of(result, object->resource);
    note(pair->rest, &applied);
    json_decref(result);
    return 0;
}

int gfsi_kube_apply_all(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                        struct gfsi_kube_objects *objects, struct gfs_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < objects->n; i++) {
        rc = apply(k, pair, &objects->items[i], err);
    }

    return rc;
}

bool gfsi_kube_deleting(const json_t *object)
{
    return gfs_kube_at(object, "metadata", "deletionTimestamp", NULL) != NULL;
}

int gfsi_kube_finalizer(struct gfsi_kube *k, const struct gfs_kube_resource *resource,
                        const json_t *object, const char *finalizer, bool present,
                        struct gfs_err *err)
{
    json_t *list = json_array();
    json_t *item = NULL;
    size_t i = 0;
    bool found = false;

    json_array_foreach(gfs_kube_at(object, "metadata", "finalizers", NULL), i, item)
    {
        bool mine = strcmp(json_string_value(item), finalizer) == 0;

        found = found || mine;
        if (!mine || present) {
            (void)json_array_append(list, item);
        }
    }
    if (found == present) {
        json_decref(list);
        return 0;
    }
    if (present) {
        (void)json_array_append_new(list, json_string(finalizer));
    }

    /* With the version: a finalizer somebody else adds meanwhile must not get lost. */
    json_t *patch = json_pack("{s:{s:s, s:o}}", "metadata", "resourceVersion",
                              gfs_kube_version(object), "finalizers", list);
    int rc = gfs_kube_merge_patch(k->client, resource, gfs_kube_namespace(object),
                                  gfs_kube_name(object), NULL, patch, NULL, err);

    json_decref(patch);
    return rc == GFS_ENOENT && !present ? 0 : rc;
}

int gfsi_kube_delete(struct gfsi_kube *k, const struct gfs_kube_resource *resource, const char *ns,
                     const char *name, struct gfs_err *err)
{
    const struct gfs_kube_delete_opts opts = {.grace_seconds = -1, .propagation = "Background"};
    int rc = gfs_kube_delete(k->client, resource, ns, name, &opts, err);

    return rc == GFS_ENOENT ? 0 : rc;
}

/* An event that can't be written is no reason to stop: it is said in the log. */
void gfsi_kube_event(struct gfsi_kube *k, const json_t *object, bool warning, const char *reason,
                     const char *message)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfs_kube_recorder_event(k->recorder, object, warning ? "Warning" : "Normal", reason,
                                     message, &err);

    if (rc < 0) {
        gfs_warn("kubernetes", "event not written", "reason=%s message=%s error=%s", reason,
                 GFS_Q(message), GFS_Q(gfs_err_text(&err, rc)));
    }
}
