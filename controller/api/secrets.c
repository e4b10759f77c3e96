/* encryptOptions: options whose values are in Secrets. fluid.md §3.1 */
#include <stdio.h>
#include <string.h>

#include "api/fields_priv.h"

/* As file and directory names, and as the API server checks them. */
static bool is_word(const char *text, size_t max)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t len = strlen(text);

    return len > 0 && len <= max && strspn(text, allowed) == len && strcmp(text, ".") != 0 &&
           strcmp(text, "..") != 0;
}

struct reference {
    const char *name, *secret, *key;
};

static void read_secret(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_text(ctx, node, "secretKeyRef.name", &((struct reference *)out)->secret);
}

static void read_key(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_text(ctx, node, "secretKeyRef.key", &((struct reference *)out)->key);
}

static void read_ref(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    static const struct gfsi_field table[] = {
        {.name = "name", .read = read_secret},
        {.name = "key", .read = read_key},
        {.name = NULL},
    };

    gfsi_fields_read(ctx, node, "secretKeyRef", table, out);
}

static void read_from(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    static const struct gfsi_field table[] = {
        {.name = "secretKeyRef", .read = read_ref},
        {.name = NULL},
    };

    gfsi_fields_read(ctx, node, "encryptOptions[].valueFrom", table, out);
}

static void read_name(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_text(ctx, node, "encryptOptions[].name", &((struct reference *)out)->name);
}

static void read_option(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                        struct gfs_kvs *out)
{
    static const struct gfsi_field table[] = {
        {.name = "name", .read = read_name},
        {.name = "valueFrom", .read = read_from},
        {.name = NULL},
    };
    struct reference ref = {.name = NULL};
    size_t before = ctx->diags->errors;

    gfsi_fields_read(ctx, node, what, table, &ref);
    if (ctx->diags->errors > before || ctx->nomem) {
        return;
    }
    if (ref.name == NULL || ref.secret == NULL || ref.key == NULL) {
        gfsi_error(ctx, node, "%s needs name and valueFrom.secretKeyRef with name and key", what);
        return;
    }
    if (!is_word(ref.secret, 253) || !is_word(ref.key, 253)) {
        gfsi_error(ctx, node, "%s: '%.80s' key '%.80s' can't be a Secret", what, ref.secret,
                   ref.key);
        return;
    }

    const char *value = gfs_arena_printf(ctx->arena, "%s/%s", ref.secret, ref.key);

    ctx->nomem = ctx->nomem || value == NULL;
    if (value != NULL) {
        gfsi_kvs_set(ctx, out, ref.name, value);
    }
}

void gfsi_read_secrets(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                       struct gfs_kvs *out)
{
    if (node->kind != GFSI_YAML_SEQUENCE) {
        gfsi_error(ctx, node, "%s must be a list, not %s", what, gfsi_yaml_describe(node));
        return;
    }
    if (gfsi_yaml_count(node) > GFSI_KVS_MAX - out->n) {
        gfsi_error(ctx, node, "%s has more than %d entries", what, GFSI_KVS_MAX);
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        read_option(ctx, child, what, out);
    }
}
