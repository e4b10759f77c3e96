/* The tree as JSON: what `get -o json` shows, what is stored, and what tells two objects apart. */
#include "api/yaml_priv.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <gfs/base/str.h>

static json_t *scalar(const struct gfsi_yaml *node)
{
    int64_t number = 0;

    if (!node->plain) {
        return json_string(node->text);
    }
    if (gfsi_yaml_is_null(node)) {
        return json_null();
    }
    if (strcmp(node->text, "true") == 0) {
        return json_true();
    }
    if (strcmp(node->text, "false") == 0) {
        return json_false();
    }
    if (gfs_parse_i64(node->text, INT64_MIN, INT64_MAX, &number) == 0) {
        return json_integer(number);
    }

    return json_string(node->text);
}

/* Depth is bounded by the parser (GFSI_YAML_MAX_DEPTH). */
static json_t *convert(const struct gfsi_yaml *node)
{
    if (node->kind == GFSI_YAML_SCALAR) {
        return scalar(node);
    }

    json_t *out = node->kind == GFSI_YAML_MAPPING ? json_object() : json_array();

    for (const struct gfsi_yaml *child = node->first; out != NULL && child != NULL;
         child = child->next) {
        json_t *value = convert(child);
        int rc = node->kind == GFSI_YAML_MAPPING ? json_object_set_new(out, child->key->text, value)
                                                 : json_array_append_new(out, value);

        if (rc != 0) {
            json_decref(out);
            out = NULL;
        }
    }

    return out;
}

char *gfsi_yaml_to_json(const struct gfsi_yaml *node, const char *ns, struct gfs_arena *arena)
{
    json_t *json = convert(node);

    if (json == NULL) {
        return NULL;
    }
    if (ns != NULL &&
        json_object_set_new(json_object_get(json, "metadata"), "namespace", json_string(ns)) != 0) {
        json_decref(json);
        return NULL;
    }

    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *copy = text != NULL ? gfs_arena_strdup(arena, text) : NULL;

    free(text);
    json_decref(json);
    return copy;
}
