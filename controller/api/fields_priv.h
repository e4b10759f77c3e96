/* Tables of fields: which there are, how each is read, what is accepted without effect. Unknown
 * ones become warnings with their position. */
#ifndef GFSI_CONTROLLER_FIELDS_PRIV_H
#define GFSI_CONTROLLER_FIELDS_PRIV_H

#include "api/yaml_priv.h"

struct gfsi_ctx {
    struct gfs_diags *diags;
    struct gfs_arena *arena;
    const char *default_ns;
    bool nomem; /* sticky */
};

struct gfsi_field {
    const char *name;
    /* NULL: known, and without effect; `note` says why, NULL: nothing needs to be said. */
    void (*read)(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out);
    const char *note;
};

/* Reads a mapping through a table that ends with {NULL}. `what` ("spec.master") names it in
 * messages. A null value counts as an absent field, as for the API server. */
void gfsi_fields_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                      const struct gfsi_field *table, void *out);

void gfsi_error(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void gfsi_warn(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Arena allocation that remembers a failure in the context. */
void *gfsi_alloc(struct gfsi_ctx *ctx, size_t size);

/* One value of a type; `what` for messages. false (and a finding) when it is something else. */
bool gfsi_read_text(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                    const char **out);
bool gfsi_read_bool(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                    bool *out);
bool gfsi_read_int(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                   const char *must, int min, int max, int *out);

#define GFSI_KVS_MAX 256 /* entries of one map of texts */

/* A mapping of texts: labels, options, properties. Keys already in *out are replaced. */
void gfsi_read_kvs(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                   struct gfs_kvs *out);
/* The same for what is written into a properties file: no control bytes, no '=' or ':' in keys. */
void gfsi_read_properties(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                          struct gfs_kvs *out);
void gfsi_kvs_set(struct gfsi_ctx *ctx, struct gfs_kvs *kvs, const char *key, const char *value);

/* A list of encryptOptions: option to "SECRET/KEY". secrets.c */
void gfsi_read_secrets(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                       struct gfs_kvs *out);

/* A list of texts of at most `max`. */
void gfsi_read_texts(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, const char *what,
                     size_t max, const char ***out, size_t *out_n);

size_t gfsi_yaml_count(const struct gfsi_yaml *node); /* children */

/* The specs. */
struct gfs_dataset *gfsi_dataset_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *root,
                                      const struct gfsi_yaml *spec);
struct gfs_runtime *gfsi_runtime_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *root,
                                      const struct gfsi_yaml *spec);
void gfsi_tiers_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, struct gfs_runtime *out);

#endif
