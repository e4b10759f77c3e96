/* The two objects users write, typed: Dataset and GooseFSRuntime of data.fluid.io/v1alpha1.
 *
 * Parsed from YAML (or JSON, which is YAML); validated as a whole, so that whatever reaches the
 * controllers can be acted on. Fields nobody knows are warnings: the API server would prune them
 * too. Strings and arrays belong to the object's arena and live as long as the object.
 *
 * Limits: a file of 1 MiB, 64 documents, 20,000 YAML nodes, nesting of 32, 64 mounts, 8 paths in a
 * tier. No anchors and aliases: nothing an object needs, and the way YAML bombs are made.
 *
 * Thread: an object is read-only once parsed. */
#ifndef GFS_CONTROLLER_OBJECT_H
#define GFS_CONTROLLER_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/controller/arena.h>
#include <gfs/controller/diag.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_MANIFEST_MAX_BYTES (1u << 20)
#define GFS_MANIFEST_MAX_DOCS  64
#define GFS_DATASET_MAX_MOUNTS 64
#define GFS_TIER_MAX_PATHS     8
#define GFS_TIER_MAX_LEVELS    3 /* MEM, SSD, HDD: one level each */
#define GFS_MASTERS_MAX        7 /* voters of one Raft group */
#define GFS_WORKERS_MAX        1000
#define GFS_OBJECT_NAME_MAX    50 /* "NAME-worker-xxxxx" has to fit into a DNS label of 63 */

struct gfs_kv {
    const char *key;
    const char *value;
};

struct gfs_kvs {
    struct gfs_kv *items;
    size_t n;
};

/* NULL when absent. */
const char *gfs_kvs_get(const struct gfs_kvs *kvs, const char *key);

/* Where a cluster's pods have Secrets as files: GFS_SECRETS_DIR/SECRET/KEY. */
#define GFS_SECRETS_DIR "/etc/fluid/secrets"

/* spec.mounts[]; reference: fluid.md §3.1 */
struct gfs_dataset_mount {
    const char *mount_point; /* "https://host/path/" */
    const char *name;
    const char *path; /* in the namespace of the masters: spec's path, else "/" + name */
    bool read_only;
    bool shared;
    struct gfs_kvs options; /* sharedOptions first; never printed */
    /* encryptOptions, sharedEncryptOptions first: option to "SECRET/KEY". They win over options. */
    struct gfs_kvs secrets;
};

struct gfs_dataset {
    struct gfs_dataset_mount *mounts;
    size_t n_mounts;
    const char **access_modes; /* ReadOnlyMany unless given */
    size_t n_access_modes;
    const char *placement; /* "Exclusive" or "Shared" */
};

enum gfs_medium { GFS_MEDIUM_MEM, GFS_MEDIUM_SSD, GFS_MEDIUM_HDD };

const char *gfs_medium_name(enum gfs_medium medium);

/* spec.tieredstore.levels[]; fluid.md §3.3, §5 */
struct gfs_tier {
    enum gfs_medium medium;
    const char *paths[GFS_TIER_MAX_PATHS];
    uint64_t quotas[GFS_TIER_MAX_PATHS]; /* bytes, one per path */
    size_t n_paths;
    double high; /* watermarks, 0..1 */
    double low;
    const char *high_text; /* as written, for the properties */
    const char *low_text;
};

struct gfs_component {
    int replicas;
    struct gfs_kvs properties; /* spec.X.properties */
    struct gfs_kvs env;
};

enum gfs_clean_policy {
    GFS_CLEAN_ON_RUNTIME_DELETED,
    GFS_CLEAN_ON_DEMAND,
    GFS_CLEAN_ON_FUSE_CHANGED
};

struct gfs_runtime {
    struct gfs_component master; /* replicas odd, 1..GFS_MASTERS_MAX */
    struct gfs_component worker; /* replicas is spec.replicas */
    struct gfs_component fuse;
    bool fuse_global; /* one client per node from the start; false: on NodeStage */
    enum gfs_clean_policy clean_policy;
    struct gfs_tier tiers[GFS_TIER_MAX_LEVELS]; /* fastest first */
    size_t n_tiers;
    struct gfs_kvs properties; /* spec.properties, all components */
    int data_replicas;         /* spec.data.replicas, >= 1 */
};

enum gfs_object_kind { GFS_KIND_DATASET, GFS_KIND_RUNTIME };

/* Names of a kind as users meet them. */
struct gfs_kind_names {
    const char *kind;     /* "GooseFSRuntime" */
    const char *singular; /* "goosefsruntime" */
    const char *plural;   /* "goosefsruntimes" */
    const char *short_name;
};
const struct gfs_kind_names *gfs_object_kind_names(enum gfs_object_kind kind);

struct gfs_object {
    struct gfs_arena *arena;
    enum gfs_object_kind kind;
    const char *name;
    const char *ns;
    struct gfs_kvs labels;
    struct gfs_kvs annotations;
    const char *json; /* the whole manifest, compact, keys sorted: equal texts are equal objects */
    const char *spec_json;       /* its spec alone */
    int line;                    /* where it starts in its file */
    struct gfs_dataset *dataset; /* for GFS_KIND_DATASET */
    struct gfs_runtime *runtime; /* for GFS_KIND_RUNTIME */
};

struct gfs_object *gfs_object_free(struct gfs_object *object);

struct gfs_manifest {
    struct gfs_object *objects[GFS_MANIFEST_MAX_DOCS];
    size_t n;
};

/* Parses `text`, named `file` in messages. `default_ns` is for objects that name no namespace.
 * Returns 0 and *out (free with gfs_manifest_free), possibly with warnings in `diags`; GFS_EINVAL
 * when there is an error in `diags`, and nothing is returned then; GFS_ENOMEM. */
int gfs_manifest_parse(const char *text, size_t len, const char *default_ns,
                       struct gfs_diags *diags, struct gfs_manifest **out);
struct gfs_manifest *gfs_manifest_free(struct gfs_manifest *manifest);

/* Takes object i out: the caller frees it. */
struct gfs_object *gfs_manifest_take(struct gfs_manifest *manifest, size_t i);

#ifdef __cplusplus
}
#endif
#endif
