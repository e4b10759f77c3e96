#include "api/fields_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/str.h>

#define MESSAGE_MAX 400

void gfsi_error(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    gfs_diags_error(ctx->diags, node->line, node->column, "%s", text);
}

void gfsi_warn(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    gfs_diags_warn(ctx->diags, node->line, node->column, "%s", text);
}

void *gfsi_alloc(struct gfsi_ctx *ctx, size_t size)
{
    void *p = gfs_arena_alloc(ctx->arena, size);

    if (p == NULL) {
        ctx->nomem = true;
    }

    return p;
}

static const struct gfsi_field *find(const struct gfsi_field *table, const char *name)
{
    for (; table->name != NULL; table++) {
        if (strcmp(table->name, name) == 0) {
            return table;
        }
    }

    return NULL;
}

void gfsi_fields_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                      const struct gfsi_field *table, void *out)
{
    if (node->kind != GFSI_YAML_MAPPING) {
        gfsi_error(ctx, node, "%s must be a mapping, not %s", what, gfsi_yaml_describe(node));
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        const struct gfsi_field *field = find(table, child->key->text);

        if (field == NULL) {
            gfsi_warn(ctx, child->key, "unknown field %s.%.100s is ignored", what,
                      child->key->text);
        } else if (gfsi_yaml_is_null(child)) {
            continue;
        } else if (field->read != NULL) {
            field->read(ctx, child, out);
        } else if (field->note != NULL) {
            gfsi_warn(ctx, child->key, "%s.%s has no effect: %s", what, field->name, field->note);
        }
    }
}

bool gfsi_read_text(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                    const char **out)
{
    if (node->kind != GFSI_YAML_SCALAR || gfsi_yaml_is_null(node)) {
        gfsi_error(ctx, node, "%s must be text, not %s", what, gfsi_yaml_describe(node));
        return false;
    }

    *out = node->text;
    return true;
}

bool gfsi_read_bool(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what, bool *out)
{
    bool is_true = node->kind == GFSI_YAML_SCALAR && node->plain && strcmp(node->text, "true") == 0;
    bool is_false =
        node->kind == GFSI_YAML_SCALAR && node->plain && strcmp(node->text, "false") == 0;

    if (!is_true && !is_false) {
        gfsi_error(ctx, node, "%s must be true or false", what);
        return false;
    }

    *out = is_true;
    return true;
}

bool gfsi_read_int(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                   const char *must, int min, int max, int *out)
{
    int64_t value = 0;

    if (node->kind != GFSI_YAML_SCALAR) {
        gfsi_error(ctx, node, "%s must be %s, not %s", what, must, gfsi_yaml_describe(node));
        return false;
    }
    if (!node->plain || gfs_parse_i64(node->text, min, max, &value) < 0) {
        gfsi_error(ctx, node, "%s must be %s, not %s%.40s%s", what, must, node->plain ? "" : "\"",
                   node->text, node->plain ? "" : "\"");
        return false;
    }

    *out = (int)value;
    return true;
}

void gfsi_kvs_set(struct gfsi_ctx *ctx, struct gfs_kvs *kvs, const char *key, const char *value)
{
    for (size_t i = 0; i < kvs->n; i++) {
        if (strcmp(kvs->items[i].key, key) == 0) {
            kvs->items[i].value = value;
            return;
        }
    }

    if (kvs->items == NULL) {
        kvs->items = gfsi_alloc(ctx, GFSI_KVS_MAX * sizeof(*kvs->items));
    }
    if (kvs->items != NULL && kvs->n < GFSI_KVS_MAX) {
        kvs->items[kvs->n++] = (struct gfs_kv){.key = key, .value = value};
    }
}

void gfsi_read_kvs(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                   struct gfs_kvs *out)
{
    if (node->kind != GFSI_YAML_MAPPING) {
        gfsi_error(ctx, node, "%s must be a mapping of text to text, not %s", what,
                   gfsi_yaml_describe(node));
        return;
    }
    if (gfsi_yaml_count(node) > GFSI_KVS_MAX - out->n) {
        gfsi_error(ctx, node, "%s has more than %d entries", what, GFSI_KVS_MAX);
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        const char *value = NULL;

        if (gfsi_read_text(ctx, child, what, &value)) {
            gfsi_kvs_set(ctx, out, child->key->text, value);
        }
    }
}

static bool has_control_byte(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < ' ' || *c == 0x7f) {
            return true;
        }
    }

    return false;
}

void gfsi_read_properties(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                          struct gfs_kvs *out)
{
    const struct gfsi_yaml *first = node->kind == GFSI_YAML_MAPPING ? node->first : NULL;

    for (const struct gfsi_yaml *child = first; child != NULL; child = child->next) {
        const char *key = child->key->text;

        if (key[0] == '\0' || has_control_byte(key) || strpbrk(key, "=: #!\\") != NULL) {
            gfsi_error(ctx, child->key, "%s: '%.80s' is not the name of a property", what, key);
            return;
        }
        if (child->kind == GFSI_YAML_SCALAR && has_control_byte(child->text)) {
            gfsi_error(ctx, child, "%s: the value of %.80s contains a control character", what,
                       key);
            return;
        }
    }

    gfsi_read_kvs(ctx, node, what, out);
}

void gfsi_read_texts(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                     size_t max, const char ***out, size_t *out_n)
{
    size_t count = gfsi_yaml_count(node);

    if (node->kind != GFSI_YAML_SEQUENCE) {
        gfsi_error(ctx, node, "%s must be a list, not %s", what, gfsi_yaml_describe(node));
        return;
    }
    if (count > max) {
        gfsi_error(ctx, node, "%s has more than %zu entries", what, max);
        return;
    }

    const char **texts = gfsi_alloc(ctx, (count + 1) * sizeof(*texts));
    size_t n = 0;

    if (texts == NULL) {
        return;
    }

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        if (gfsi_read_text(ctx, child, what, &texts[n])) {
            n++;
        }
    }

    *out = texts;
    *out_n = n;
}

size_t gfsi_yaml_count(const struct gfsi_yaml *node)
{
    size_t n = 0;

    for (const struct gfsi_yaml *child = node->first; child != NULL; child = child->next) {
        n++;
    }

    return n;
}
