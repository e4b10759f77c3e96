#include "api/fields_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#define API_VERSION "data.fluid.io/v1alpha1"

const char *gfs_kvs_get(const struct gfs_kvs *kvs, const char *key)
{
    for (size_t i = 0; i < kvs->n; i++) {
        if (strcmp(kvs->items[i].key, key) == 0) {
            return kvs->items[i].value;
        }
    }

    return NULL;
}

const struct gfs_kind_names *gfs_object_kind_names(enum gfs_object_kind kind)
{
    static const struct gfs_kind_names names[] = {
        [GFS_KIND_DATASET] = {"Dataset", "dataset", "datasets", "ds"},
        [GFS_KIND_RUNTIME] = {"GooseFSRuntime", "goosefsruntime", "goosefsruntimes", "goose"},
    };

    return &names[kind];
}

struct gfs_object *gfs_object_free(struct gfs_object *object)
{
    if (object != NULL) {
        (void)gfs_arena_free(object->arena); /* the object itself lives in it */
    }

    return NULL;
}

struct gfs_manifest *gfs_manifest_free(struct gfs_manifest *manifest)
{
    for (size_t i = 0; manifest != NULL && i < manifest->n; i++) {
        (void)gfs_object_free(manifest->objects[i]);
    }

    free(manifest);
    return NULL;
}

struct gfs_object *gfs_manifest_take(struct gfs_manifest *manifest, size_t i)
{
    struct gfs_object *object = manifest->objects[i];

    manifest->objects[i] = NULL;
    return object;
}

static void read_name(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_object *object = out;
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "metadata.name", &text)) {
        return;
    }
    if (!gfs_dns1035_valid(text)) {
        gfsi_error(ctx, node,
                   "metadata.name '%.80s' is not a DNS-1035 label: lower case letters, digits and "
                   "'-', starting with a letter and ending with a letter or digit",
                   text);
        return;
    }
    if (strlen(text) > GFS_OBJECT_NAME_MAX) {
        gfsi_error(ctx, node, "metadata.name '%.80s' is longer than %d: pods are named after it",
                   text, GFS_OBJECT_NAME_MAX);
        return;
    }

    object->name = text;
}

static void read_namespace(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_object *object = out;
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "metadata.namespace", &text)) {
        return;
    }
    if (!gfs_dns1035_valid(text)) {
        gfsi_error(ctx, node, "metadata.namespace '%.80s' is not a DNS-1035 label", text);
        return;
    }

    object->ns = text;
}

static void read_labels(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_kvs(ctx, node, "metadata.labels", &((struct gfs_object *)out)->labels);
}

static void read_annotations(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_kvs(ctx, node, "metadata.annotations", &((struct gfs_object *)out)->annotations);
}

static const struct gfsi_field METADATA[] = {
    {.name = "name", .read = read_name},
    {.name = "namespace", .read = read_namespace},
    {.name = "labels", .read = read_labels},
    {.name = "annotations", .read = read_annotations},
    /* What an object read back from an API server carries. */
    {.name = "uid"},
    {.name = "resourceVersion"},
    {.name = "generation"},
    {.name = "creationTimestamp"},
    {.name = "deletionTimestamp"},
    {.name = "finalizers"},
    {.name = "ownerReferences"},
    {.name = "managedFields"},
    {.name = "selfLink"},
    {.name = NULL},
};

static bool read_kind(struct gfsi_ctx *ctx, const struct gfsi_yaml *root, enum gfs_object_kind *out)
{
    const struct gfsi_yaml *version = gfsi_yaml_get(root, "apiVersion");
    const struct gfsi_yaml *kind = gfsi_yaml_get(root, "kind");
    const char *text = NULL;

    if (version == NULL || kind == NULL) {
        gfsi_error(ctx, root, "an object needs apiVersion and kind");
        return false;
    }
    if (!gfsi_read_text(ctx, version, "apiVersion", &text)) {
        return false;
    }
    if (strcmp(text, API_VERSION) != 0) {
        gfsi_error(ctx, version, "unknown apiVersion '%.80s' (expected " API_VERSION ")", text);
        return false;
    }
    if (!gfsi_read_text(ctx, kind, "kind", &text)) {
        return false;
    }

    for (int k = GFS_KIND_DATASET; k <= GFS_KIND_RUNTIME; k++) {
        if (strcmp(text, gfs_object_kind_names((enum gfs_object_kind)k)->kind) == 0) {
            *out = (enum gfs_object_kind)k;
            return true;
        }
    }

    gfsi_error(ctx, kind, "unknown kind '%.80s' (one of Dataset, GooseFSRuntime)", text);
    return false;
}

static void check_top_level(struct gfsi_ctx *ctx, const struct gfsi_yaml *root)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status"};

    for (const struct gfsi_yaml *child = root->first; child != NULL; child = child->next) {
        bool found = false;

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            found = found || strcmp(child->key->text, known[i]) == 0;
        }
        if (!found) {
            gfsi_warn(ctx, child->key, "unknown field %.100s is ignored", child->key->text);
        }
    }
}

static void read_metadata(struct gfsi_ctx *ctx, const struct gfsi_yaml *root,
                          struct gfs_object *object)
{
    const struct gfsi_yaml *metadata = gfsi_yaml_get(root, "metadata");

    object->ns = gfs_arena_strdup(ctx->arena, ctx->default_ns);
    ctx->nomem = ctx->nomem || object->ns == NULL;
    if (metadata != NULL && !gfsi_yaml_is_null(metadata)) {
        gfsi_fields_read(ctx, metadata, "metadata", METADATA, object);
    }
    if (gfsi_yaml_get(metadata, "name") == NULL) {
        gfsi_error(ctx, metadata != NULL ? metadata : root, "an object needs metadata.name");
    }
}

static void read_spec(struct gfsi_ctx *ctx, const struct gfsi_yaml *root, struct gfs_object *object)
{
    const struct gfsi_yaml *spec = gfsi_yaml_get(root, "spec");

    if (spec != NULL && gfsi_yaml_is_null(spec)) {
        spec = NULL;
    }

    if (object->kind == GFS_KIND_DATASET) {
        object->dataset = gfsi_dataset_read(ctx, root, spec);
    } else {
        object->runtime = gfsi_runtime_read(ctx, root, spec);
    }

    object->spec_json = spec != NULL ? gfsi_yaml_to_json(spec, NULL, ctx->arena) : "{}";
    if (ctx->diags->errors == 0) {
        object->json = gfsi_yaml_to_json(root, object->ns, ctx->arena);
        ctx->nomem = ctx->nomem || object->json == NULL || object->spec_json == NULL;
    }
}

/* NULL with a finding, or with ctx->nomem. */
static struct gfs_object *read_object(struct gfsi_ctx *ctx, const struct gfsi_yaml *root)
{
    enum gfs_object_kind kind = GFS_KIND_DATASET;

    if (root->kind != GFSI_YAML_MAPPING) {
        gfsi_error(ctx, root, "an object is a mapping, not %s", gfsi_yaml_describe(root));
        return NULL;
    }
    if (!read_kind(ctx, root, &kind)) {
        return NULL;
    }

    struct gfs_object *object = gfsi_alloc(ctx, sizeof(*object));

    if (object == NULL) {
        return NULL;
    }

    object->kind = kind;
    object->arena = ctx->arena;
    object->line = root->line;
    check_top_level(ctx, root);
    read_metadata(ctx, root, object);
    read_spec(ctx, root, object);
    return ctx->nomem ? NULL : object;
}

static void check_duplicate(struct gfsi_ctx *ctx, const struct gfs_manifest *manifest,
                            const struct gfs_object *object, const struct gfsi_yaml *root)
{
    for (size_t i = 0; object->name != NULL && i < manifest->n; i++) {
        const struct gfs_object *other = manifest->objects[i];

        if (other->kind == object->kind && other->name != NULL &&
            strcmp(other->name, object->name) == 0 && strcmp(other->ns, object->ns) == 0) {
            gfsi_error(ctx, root, "%s %s/%s is in this file twice",
                       gfs_object_kind_names(object->kind)->kind, object->ns, object->name);
        }
    }
}

int gfs_manifest_parse(const char *text, size_t len, const char *default_ns,
                       struct gfs_diags *diags, struct gfs_manifest **out)
{
    struct gfsi_yaml_docs docs = {.n = 0};
    int rc = gfsi_yaml_parse(text, len, diags, &docs);

    if (rc < 0) {
        return rc;
    }

    struct gfs_manifest *manifest = calloc(1, sizeof(*manifest));
    struct gfsi_ctx ctx = {.diags = diags, .default_ns = default_ns, .nomem = manifest == NULL};

    for (size_t i = 0; !ctx.nomem && i < docs.n; i++) {
        struct gfsi_yaml *root = docs.items[i].root;

        if (root == NULL || gfsi_yaml_is_null(root)) {
            continue; /* "---" with nothing behind it */
        }

        ctx.arena = docs.items[i].arena;

        struct gfs_object *object = read_object(&ctx, root);

        if (object != NULL) {
            check_duplicate(&ctx, manifest, object, root);
            docs.items[i].arena = NULL; /* the object owns it now */
            manifest->objects[manifest->n++] = object;
        }
    }

    gfsi_yaml_docs_fini(&docs);
    if (!ctx.nomem && diags->errors == 0 && manifest->n == 0) {
        gfs_diags_error(diags, 0, 0, "contains no object");
    }
    if (ctx.nomem || diags->errors > 0) {
        (void)gfs_manifest_free(manifest);
        return ctx.nomem ? GFS_ENOMEM : GFS_EINVAL;
    }

    *out = manifest;
    return 0;
}
