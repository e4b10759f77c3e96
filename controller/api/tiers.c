/* spec.tieredstore; reference: fluid.md §3.3 and §5. */
#include "api/fields_priv.h"

#include <stdint.h>
#include <string.h>

#include <gfs/base/str.h>

#define PATH_MAX_LEN 1024

/* Alluxio's defaults of worker.tieredstore.levelX.watermark.* */
#define DEFAULT_HIGH "0.95"
#define DEFAULT_LOW  "0.7"

#define DEFAULT_MEM_QUOTA (UINT64_C(1) << 30)

struct level {
    struct gfs_tier tier;
    const char *path;
    const char *quota;
    const char *quota_list;
    const struct gfsi_yaml *medium_at, *path_at, *quota_at, *list_at, *high_at, *low_at;
};

const char *gfs_medium_name(enum gfs_medium medium)
{
    static const char *const names[] = {"MEM", "SSD", "HDD"};

    return names[medium];
}

static void read_medium(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct level *level = out;
    const char *text = NULL;

    level->medium_at = node;
    if (!gfsi_read_text(ctx, node, "mediumtype", &text)) {
        return;
    }
    for (int m = GFS_MEDIUM_MEM; m <= GFS_MEDIUM_HDD; m++) {
        if (strcmp(text, gfs_medium_name((enum gfs_medium)m)) == 0) {
            level->tier.medium = (enum gfs_medium)m;
            return;
        }
    }

    gfsi_error(ctx, node, "unknown mediumtype '%.40s' (one of MEM, SSD, HDD)", text);
}

#define TEXT_FIELD(field, what)                                                                    \
    static void read_##field(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)        \
    {                                                                                              \
        struct level *level = out;                                                                 \
        level->field##_AT = node;                                                                  \
        (void)gfsi_read_text(ctx, node, what, &level->field);                                      \
    }

#define path_AT       path_at
#define quota_AT      quota_at
#define quota_list_AT list_at
TEXT_FIELD(path, "path")
TEXT_FIELD(quota, "quota")
TEXT_FIELD(quota_list, "quotaList")

static void read_ratio(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                       double *out, const char **out_text)
{
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, what, &text)) {
        return;
    }
    if (gfs_parse_ratio(text, out) < 0) {
        gfsi_error(ctx, node, "%s must be a ratio from 0 to 1 such as \"0.8\", not '%.40s'", what,
                   text);
        return;
    }

    *out_text = text;
}

static void read_high(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct level *level = out;

    level->high_at = node;
    read_ratio(ctx, node, "high", &level->tier.high, &level->tier.high_text);
}

static void read_low(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct level *level = out;

    level->low_at = node;
    read_ratio(ctx, node, "low", &level->tier.low, &level->tier.low_text);
}

static const struct gfsi_field LEVEL[] = {
    {.name = "mediumtype", .read = read_medium},
    {.name = "path", .read = read_path},
    {.name = "quota", .read = read_quota},
    {.name = "quotaList", .read = read_quota_list},
    {.name = "high", .read = read_high},
    {.name = "low", .read = read_low},
    {.name = "volumeType"}, /* hostPath, and emptyDir in a cluster */
    {.name = "volumeSource"},
    {.name = NULL},
};

/* The next part of a comma list, blanks around it cut; false at the end. */
static bool next_part(const char **rest, const char **part, size_t *len)
{
    if (*rest == NULL) {
        return false;
    }

    const char *comma = strchr(*rest, ',');
    const char *end = comma != NULL ? comma : *rest + strlen(*rest);

    *part = *rest + strspn(*rest, " ");
    *len = end > *part ? (size_t)(end - *part) : 0;
    while (*len > 0 && (*part)[*len - 1] == ' ') {
        (*len)--;
    }

    *rest = comma != NULL ? comma + 1 : NULL;
    return true;
}

static void split_paths(struct gfsi_ctx *ctx, struct level *level)
{
    const char *rest = level->path;
    const char *part = NULL;
    size_t len = 0;

    while (next_part(&rest, &part, &len)) {
        char normal[PATH_MAX_LEN];
        char *copy = gfs_arena_dup(ctx->arena, part, len);

        if (copy == NULL) {
            ctx->nomem = true;
            return;
        }
        if (gfs_path_normalize(copy, normal, sizeof(normal)) < 0 || strcmp(normal, "/") == 0) {
            gfsi_error(ctx, level->path_at, "path '%.100s' is not an absolute directory", copy);
            return;
        }
        if (level->tier.n_paths == GFS_TIER_MAX_PATHS) {
            gfsi_error(ctx, level->path_at, "path lists more than %d directories",
                       GFS_TIER_MAX_PATHS);
            return;
        }

        for (size_t i = 0; i < level->tier.n_paths; i++) {
            if (strcmp(level->tier.paths[i], normal) == 0) {
                gfsi_error(ctx, level->path_at, "path lists '%.100s' twice", normal);
                return;
            }
        }

        level->tier.paths[level->tier.n_paths++] = gfs_arena_strdup(ctx->arena, normal);
    }
}

static bool parse_quota(struct gfsi_ctx *ctx, const struct gfsi_yaml *at, const char *what,
                        const char *text, uint64_t *out)
{
    if (gfs_parse_size(text, out) < 0 || *out == 0) {
        gfsi_error(ctx, at, "%s '%.40s' is not a size such as 2G, 512Mi or 10GB", what, text);
        return false;
    }

    return true;
}

static void split_quota_list(struct gfsi_ctx *ctx, struct level *level)
{
    const char *rest = level->quota_list;
    const char *part = NULL;
    size_t len = 0;
    size_t n = 0;

    while (next_part(&rest, &part, &len)) {
        char text[64];
        uint64_t bytes = 0;

        if (len >= sizeof(text)) {
            len = sizeof(text) - 1;
        }
        memcpy(text, part, len);
        text[len] = '\0';
        if (!parse_quota(ctx, level->list_at, "quotaList", text, &bytes)) {
            return;
        }
        if (n < level->tier.n_paths) {
            level->tier.quotas[n] = bytes;
        }
        n++;
    }

    if (n != level->tier.n_paths) {
        gfsi_error(ctx, level->list_at, "quotaList has %zu quotas for %zu paths", n,
                   level->tier.n_paths);
    }
}

static void set_quotas(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, struct level *level)
{
    uint64_t total = 0;

    if (level->quota_list != NULL) {
        split_quota_list(ctx, level);
        return;
    }
    if (level->quota == NULL) {
        gfsi_error(ctx, node, "a tier needs quota or quotaList");
        return;
    }
    if (!parse_quota(ctx, level->quota_at, "quota", level->quota, &total)) {
        return;
    }
    if (level->tier.n_paths > 0 && total / level->tier.n_paths == 0) {
        gfsi_error(ctx, level->quota_at, "quota '%.40s' leaves nothing for each of %zu paths",
                   level->quota, level->tier.n_paths);
        return;
    }

    for (size_t i = 0; i < level->tier.n_paths; i++) {
        level->tier.quotas[i] = total / level->tier.n_paths;
    }
}

static bool read_level(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, struct gfs_tier *out)
{
    struct level level = {
        .tier = {.high = 0.95, .low = 0.7, .high_text = DEFAULT_HIGH, .low_text = DEFAULT_LOW}};
    size_t before = ctx->diags->errors;

    gfsi_fields_read(ctx, node, "spec.tieredstore.levels[]", LEVEL, &level);
    if (ctx->diags->errors > before) {
        return false;
    }
    if (level.medium_at == NULL) {
        gfsi_error(ctx, node, "a tier needs mediumtype (MEM, SSD or HDD)");
        return false;
    }
    if (level.path == NULL) {
        gfsi_error(ctx, node, "a tier needs path");
        return false;
    }

    split_paths(ctx, &level);
    if (ctx->diags->errors == before && !ctx->nomem) {
        set_quotas(ctx, node, &level);
    }
    if (level.tier.high < level.tier.low) {
        gfsi_error(ctx, level.high_at != NULL ? level.high_at : level.low_at,
                   "high %s is lower than low %s", level.tier.high_text, level.tier.low_text);
    }

    *out = level.tier;
    return ctx->diags->errors == before;
}

/* Fastest first, whatever the order in the file. One level of a medium: two of them would get the
 * same index (defect D-36 of the predecessor). */
static void insert_level(struct gfsi_ctx *ctx, const struct gfsi_yaml *node,
                         const struct gfs_tier *tier, struct gfs_runtime *out)
{
    size_t at = 0;

    while (at < out->n_tiers && out->tiers[at].medium < tier->medium) {
        at++;
    }
    if (at < out->n_tiers && out->tiers[at].medium == tier->medium) {
        gfsi_error(ctx, node,
                   "two tiers with mediumtype %s: put their paths into one, with a comma between",
                   gfs_medium_name(tier->medium));
        return;
    }

    memmove(&out->tiers[at + 1], &out->tiers[at], (out->n_tiers - at) * sizeof(out->tiers[0]));
    out->tiers[at] = *tier;
    out->n_tiers++;
}

static void read_levels(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    if (node->kind != GFSI_YAML_SEQUENCE) {
        gfsi_error(ctx, node, "spec.tieredstore.levels must be a list, not %s",
                   gfsi_yaml_describe(node));
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        struct gfs_tier tier;

        if (read_level(ctx, child, &tier)) {
            insert_level(ctx, child, &tier, out);
        }
    }
}

static const struct gfsi_field TIEREDSTORE[] = {
    {.name = "levels", .read = read_levels},
    {.name = NULL},
};

void gfsi_tiers_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, struct gfs_runtime *out)
{
    if (node != NULL) {
        gfsi_fields_read(ctx, node, "spec.tieredstore", TIEREDSTORE, out);
        if (out->n_tiers > 0 || ctx->diags->errors > 0) {
            return;
        }
    }

    out->tiers[0] = (struct gfs_tier){
        .medium = GFS_MEDIUM_MEM,
        .paths = {"/dev/shm"},
        .quotas = {DEFAULT_MEM_QUOTA},
        .n_paths = 1,
        .high = 0.95,
        .low = 0.7,
        .high_text = DEFAULT_HIGH,
        .low_text = DEFAULT_LOW,
    };
    out->n_tiers = 1;
}
