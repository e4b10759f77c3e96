#include "api/fields_priv.h"

#include <stdint.h>
#include <string.h>

#include <gfs/base/str.h>

#define NO_SECRETS "has no effect on the local platform: it has no Secrets"
#define ONE_NODE   "placement needs a cluster"

/* Schemes with a driver in goosefs/ufs. */
static const char *const SCHEMES[] = {"http", "https"};

static void read_mount_point(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_dataset_mount *mount = out;
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "mountPoint", &text)) {
        return;
    }

    mount->mount_point = text;

    const char *sep = strstr(text, "://");

    if (sep == NULL || sep == text) {
        gfsi_error(ctx, node, "mountPoint '%.100s' is not a URL (scheme://host/path)", text);
        return;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            gfsi_error(ctx, node, "mountPoint '%.100s' contains a blank or control character",
                       text);
            return;
        }
    }

    for (size_t i = 0; i < sizeof(SCHEMES) / sizeof(SCHEMES[0]); i++) {
        if (strlen(SCHEMES[i]) == (size_t)(sep - text) &&
            strncmp(text, SCHEMES[i], (size_t)(sep - text)) == 0) {
            if (sep[3] == '\0' || sep[3] == '/') {
                gfsi_error(ctx, node, "mountPoint '%.100s' names no host", text);
            }
            return;
        }
    }

    gfsi_error(ctx, node, "mountPoint '%.100s': unsupported scheme '%.*s' (supported: http, https)",
               text, (int)(sep - text > 20 ? 20 : sep - text), text);
}

static void read_mount_name(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_dataset_mount *mount = out;
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "mounts[].name", &text)) {
        return;
    }
    if (!gfs_name_valid(text, strlen(text)) || !gfs_utf8_valid(text, strlen(text))) {
        gfsi_error(ctx, node, "mounts[].name '%.60s' is not a directory name", text);
        return;
    }

    mount->name = text;
}

static void read_mount_path(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_dataset_mount *mount = out;
    const char *text = NULL;
    char normal[1024];

    if (!gfsi_read_text(ctx, node, "mounts[].path", &text)) {
        return;
    }
    if (!gfs_utf8_valid(text, strlen(text)) ||
        gfs_path_normalize(text, normal, sizeof(normal)) < 0) {
        gfsi_error(ctx, node, "mounts[].path '%.100s' is not an absolute path", text);
        return;
    }

    mount->path = gfs_arena_strdup(ctx->arena, normal);
    ctx->nomem = ctx->nomem || mount->path == NULL;
}

static void read_mount_options(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_kvs(ctx, node, "mounts[].options", &((struct gfs_dataset_mount *)out)->options);
}

static void read_mount_secrets(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_warn(ctx, node->key, "spec.mounts[].encryptOptions " NO_SECRETS);
    gfsi_read_secrets(ctx, node, "spec.mounts[].encryptOptions",
                      &((struct gfs_dataset_mount *)out)->secrets);
}

static void read_mount_ro(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_bool(ctx, node, "mounts[].readOnly",
                         &((struct gfs_dataset_mount *)out)->read_only);
}

static void read_mount_shared(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_bool(ctx, node, "mounts[].shared", &((struct gfs_dataset_mount *)out)->shared);
}

static const struct gfsi_field MOUNT[] = {
    {.name = "mountPoint", .read = read_mount_point},
    {.name = "name", .read = read_mount_name},
    {.name = "path", .read = read_mount_path},
    {.name = "options", .read = read_mount_options},
    {.name = "readOnly", .read = read_mount_ro},
    {.name = "shared", .read = read_mount_shared},
    {.name = "encryptOptions", .read = read_mount_secrets},
    {.name = NULL},
};

static void read_mount(struct gfsi_ctx *ctx, const struct gfsi_yaml *node,
                       struct gfs_dataset_mount *mount)
{
    size_t before = ctx->diags->errors;

    gfsi_fields_read(ctx, node, "spec.mounts[]", MOUNT, mount);
    if (ctx->diags->errors > before || ctx->nomem) {
        return;
    }

    if (mount->mount_point == NULL) {
        gfsi_error(ctx, node, "spec.mounts[] has no mountPoint");
        return;
    }
    if (mount->path == NULL && mount->name == NULL) {
        gfsi_error(ctx, node, "spec.mounts[] has neither name nor path: where should it appear?");
        return;
    }
    if (mount->path == NULL) {
        mount->path = gfs_arena_printf(ctx->arena, "/%s", mount->name);
        ctx->nomem = ctx->nomem || mount->path == NULL;
    }
}

static bool path_inside(const char *outer, const char *inner)
{
    size_t len = strlen(outer);

    return strncmp(outer, inner, len) == 0 && (inner[len] == '/' || inner[len] == '\0');
}

/* Two mounts at one place, or one inside another: the second would hide part of the first. */
static void check_overlap(struct gfsi_ctx *ctx, const struct gfsi_yaml *node,
                          const struct gfs_dataset *dataset, size_t i)
{
    const struct gfs_dataset_mount *mount = &dataset->mounts[i];

    for (size_t j = 0; mount->path != NULL && j < i; j++) {
        const struct gfs_dataset_mount *other = &dataset->mounts[j];

        if (other->path == NULL) {
            continue;
        }
        if (strcmp(mount->path, other->path) == 0 ||
            (mount->name != NULL && other->name != NULL && strcmp(mount->name, other->name) == 0)) {
            gfsi_error(ctx, node, "spec.mounts[] has two mounts named '%.100s'",
                       mount->name != NULL ? mount->name : mount->path);
            return;
        }
        if (path_inside(mount->path, other->path) || path_inside(other->path, mount->path)) {
            gfsi_error(ctx, node, "mounts '%.100s' and '%.100s' lie one inside the other",
                       other->path, mount->path);
            return;
        }
    }
}

static void read_mounts(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_dataset *dataset = out;
    size_t count = gfsi_yaml_count(node);

    if (node->kind != GFSI_YAML_SEQUENCE) {
        gfsi_error(ctx, node, "spec.mounts must be a list, not %s", gfsi_yaml_describe(node));
        return;
    }
    if (count == 0 || count > GFS_DATASET_MAX_MOUNTS) {
        gfsi_error(ctx, node, "spec.mounts must have 1 to %d entries, not %zu",
                   GFS_DATASET_MAX_MOUNTS, count);
        return;
    }

    dataset->mounts = gfsi_alloc(ctx, count * sizeof(*dataset->mounts));
    if (dataset->mounts == NULL) {
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        read_mount(ctx, child, &dataset->mounts[dataset->n_mounts]);
        check_overlap(ctx, child, dataset, dataset->n_mounts);
        dataset->n_mounts++;
    }
}

static void read_access_modes(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    static const char *const known[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                        "ReadWriteOncePod"};
    struct gfs_dataset *dataset = out;

    gfsi_read_texts(ctx, node, "spec.accessModes", 4, &dataset->access_modes,
                    &dataset->n_access_modes);
    for (size_t i = 0; i < dataset->n_access_modes; i++) {
        bool found = false;

        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
            found = found || strcmp(dataset->access_modes[i], known[k]) == 0;
        }
        if (!found) {
            gfsi_error(ctx, node, "spec.accessModes: unknown mode '%.40s'",
                       dataset->access_modes[i]);
        } else if (strcmp(dataset->access_modes[i], "ReadOnlyMany") != 0) {
            gfsi_error(ctx, node, "spec.accessModes: %s is not there yet: data sets are read-only",
                       dataset->access_modes[i]);
        }
    }
}

static void read_placement(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_dataset *dataset = out;
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "spec.placement", &text)) {
        return;
    }
    if (strcmp(text, "Exclusive") != 0 && strcmp(text, "Shared") != 0 && text[0] != '\0') {
        gfsi_error(ctx, node, "spec.placement must be Exclusive or Shared, not '%.40s'", text);
        return;
    }

    dataset->placement = text[0] != '\0' ? text : "Exclusive";
}

static const struct gfsi_field SPEC[] = {
    {.name = "mounts", .read = read_mounts},
    {.name = "accessModes", .read = read_access_modes},
    {.name = "placement", .read = read_placement},
    /* Merged into every mount once all are known (share). */
    {.name = "sharedOptions"},
    {.name = "sharedEncryptOptions"},
    {.name = "owner", .note = "files belong to the user who reads them"},
    {.name = "nodeAffinity", .note = ONE_NODE},
    {.name = "tolerations", .note = ONE_NODE},
    {.name = "dataRestoreLocation", .note = "masters keep their journal"},
    {.name = "runtimes"}, /* filled in by controllers */
    {.name = NULL},
};

/* What is there already wins. */
static void add_missing(struct gfsi_ctx *ctx, struct gfs_kvs *own, const struct gfs_kvs *shared)
{
    for (size_t i = 0; i < shared->n; i++) {
        if (gfs_kvs_get(own, shared->items[i].key) == NULL) {
            gfsi_kvs_set(ctx, own, shared->items[i].key, shared->items[i].value);
        }
    }
}

/* What is shared applies to every mount; a mount's own option of the same name wins. */
static void share(struct gfsi_ctx *ctx, const struct gfsi_yaml *spec, struct gfs_dataset *dataset)
{
    const struct gfsi_yaml *options = gfsi_yaml_get(spec, "sharedOptions");
    const struct gfsi_yaml *secrets = gfsi_yaml_get(spec, "sharedEncryptOptions");
    struct gfs_kvs shared = {.n = 0};
    struct gfs_kvs hidden = {.n = 0};

    if (options != NULL && !gfsi_yaml_is_null(options)) {
        gfsi_read_kvs(ctx, options, "spec.sharedOptions", &shared);
    }
    if (secrets != NULL && !gfsi_yaml_is_null(secrets)) {
        gfsi_warn(ctx, secrets->key, "spec.sharedEncryptOptions " NO_SECRETS);
        gfsi_read_secrets(ctx, secrets, "spec.sharedEncryptOptions", &hidden);
    }
    for (size_t m = 0; m < dataset->n_mounts; m++) {
        add_missing(ctx, &dataset->mounts[m].options, &shared);
        add_missing(ctx, &dataset->mounts[m].secrets, &hidden);
    }
}

struct gfs_dataset *gfsi_dataset_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *root,
                                      const struct gfsi_yaml *spec)
{
    static const char *default_modes[] = {"ReadOnlyMany"};
    struct gfs_dataset *dataset = gfsi_alloc(ctx, sizeof(*dataset));

    if (dataset == NULL) {
        return NULL;
    }

    dataset->placement = "Exclusive";
    if (spec != NULL) {
        gfsi_fields_read(ctx, spec, "spec", SPEC, dataset);
    }
    if (gfsi_yaml_get(spec, "mounts") == NULL) {
        gfsi_error(ctx, spec != NULL ? spec : root, "a Dataset needs spec.mounts");
    }

    share(ctx, spec, dataset);
    if (dataset->n_access_modes == 0) {
        dataset->access_modes = default_modes;
        dataset->n_access_modes = 1;
    }

    return dataset;
}
