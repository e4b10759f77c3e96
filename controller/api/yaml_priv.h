/* A YAML document as a small tree with positions. libfyaml does the parsing; this bounds what it
 * may produce, refuses anchors and aliases, and remembers where everything was. */
#ifndef GFSI_CONTROLLER_YAML_PRIV_H
#define GFSI_CONTROLLER_YAML_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/controller/arena.h>
#include <gfs/controller/diag.h>
#include <gfs/controller/object.h>

#define GFSI_YAML_MAX_NODES 20000
#define GFSI_YAML_MAX_DEPTH 32

enum gfsi_yaml_kind { GFSI_YAML_SCALAR, GFSI_YAML_SEQUENCE, GFSI_YAML_MAPPING };

struct gfsi_yaml {
    enum gfsi_yaml_kind kind;
    int line; /* from 1 */
    int column;
    const char *text;        /* scalars */
    bool plain;              /* scalars: written without quotes, so 3 is a number and "3" is not */
    struct gfsi_yaml *first; /* children of sequences and mappings */
    struct gfsi_yaml *last;
    struct gfsi_yaml *next;
    const struct gfsi_yaml *key; /* children of mappings: a scalar */
};

struct gfsi_yaml_doc {
    struct gfs_arena *arena;
    struct gfsi_yaml *root; /* NULL for an empty document */
};

struct gfsi_yaml_docs {
    struct gfsi_yaml_doc items[GFS_MANIFEST_MAX_DOCS];
    size_t n;
};

/* Errors go to `diags`; GFS_EINVAL then. Each document has its own arena, which the caller frees
 * with gfsi_yaml_docs_fini or takes over. */
int gfsi_yaml_parse(const char *text, size_t len, struct gfs_diags *diags,
                    struct gfsi_yaml_docs *out);
void gfsi_yaml_docs_fini(struct gfsi_yaml_docs *docs);

/* Value of `key` in a mapping; NULL when absent or `node` is NULL or no mapping. */
const struct gfsi_yaml *gfsi_yaml_get(const struct gfsi_yaml *node, const char *key);

/* "a mapping", "a list", "text", "nothing": for messages. */
const char *gfsi_yaml_describe(const struct gfsi_yaml *node);

/* null, ~ or empty, unquoted. */
bool gfsi_yaml_is_null(const struct gfsi_yaml *node);

/* Compact JSON with sorted keys; NULL when out of memory. Plain scalars become null, booleans and
 * integers where they look like them (YAML 1.2 core schema), everything else text. `ns` is put in
 * as metadata.namespace (NULL: nothing is): an object read back says itself where it belongs. */
char *gfsi_yaml_to_json(const struct gfsi_yaml *node, const char *ns, struct gfs_arena *arena);

#endif
