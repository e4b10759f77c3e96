#include "api/fields_priv.h"

#include <string.h>

#include <gfs/base/str.h>

#define NO_JVM      "nothing here runs on a JVM"
#define NO_IMAGE    "the local platform runs programs, not images"
#define NO_JOB      "masters and workers run load jobs themselves"
#define ONE_NODE    "placement needs a cluster"
#define BY_PROPERTY "the client takes spec.fuse.properties"
#define NO_LIMITS   "the local platform sets no resource limits"

/* The document: "The parameter must be set to a positive odd number." */
static void read_master_replicas(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    struct gfs_component *master = out;
    const char *must = "a positive odd number";
    int replicas = 0;

    if (!gfsi_read_int(ctx, node, "spec.master.replicas", must, 1, GFS_MASTERS_MAX, &replicas)) {
        return;
    }
    if (replicas % 2 == 0) {
        gfsi_error(ctx, node, "spec.master.replicas must be %s, not %d", must, replicas);
        return;
    }

    master->replicas = replicas;
}

static void read_properties(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_properties(ctx, node, "properties", &((struct gfs_component *)out)->properties);
}

static void read_env(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_kvs(ctx, node, "env", &((struct gfs_component *)out)->env);
}

#define COMPONENT_FIELDS                                                                           \
    {.name = "properties", .read = read_properties}, {.name = "env", .read = read_env},            \
        {.name = "jvmOptions", .note = NO_JVM}, {.name = "ports"}, {.name = "enabled"},            \
        {.name = "annotations"}, {.name = "resources", .note = NO_LIMITS},                         \
    {                                                                                              \
        .name = "nodeSelector", .note = ONE_NODE                                                   \
    }

static const struct gfsi_field MASTER[] = {
    {.name = "replicas", .read = read_master_replicas},
    COMPONENT_FIELDS,
    {.name = "journal"}, /* volumeType, storageClass: always on the host's disk here */
    {.name = NULL},
};

static const struct gfsi_field WORKER[] = {
    COMPONENT_FIELDS,
    {.name = "replicas", .note = "spec.replicas counts workers"},
    {.name = NULL},
};

static void read_master(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_fields_read(ctx, node, "spec.master", MASTER, &((struct gfs_runtime *)out)->master);
}

static void read_worker(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_fields_read(ctx, node, "spec.worker", WORKER, &((struct gfs_runtime *)out)->worker);
}

static void read_fuse_properties(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    read_properties(ctx, node, &((struct gfs_runtime *)out)->fuse);
}

static void read_fuse_global(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_bool(ctx, node, "spec.fuse.global", &((struct gfs_runtime *)out)->fuse_global);
}

static void read_clean_policy(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    static const char *const names[] = {"OnRuntimeDeleted", "OnDemand", "OnFuseChanged"};
    const char *text = NULL;

    if (!gfsi_read_text(ctx, node, "spec.fuse.cleanPolicy", &text)) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            ((struct gfs_runtime *)out)->clean_policy = (enum gfs_clean_policy)i;
            return;
        }
    }

    gfsi_error(ctx, node,
               "spec.fuse.cleanPolicy must be OnDemand, OnRuntimeDeleted or OnFuseChanged, not "
               "'%.40s'",
               text);
}

static const struct gfsi_field FUSE[] = {
    {.name = "properties", .read = read_fuse_properties},
    {.name = "env", .note = BY_PROPERTY},
    {.name = "global", .read = read_fuse_global},
    {.name = "args", .note = BY_PROPERTY},
    {.name = "cleanPolicy", .read = read_clean_policy},
    {.name = "jvmOptions", .note = NO_JVM},
    {.name = "image", .note = NO_IMAGE},
    {.name = "imageTag", .note = NO_IMAGE},
    {.name = "imagePullPolicy", .note = NO_IMAGE},
    {.name = "resources", .note = NO_LIMITS},
    {.name = "nodeSelector", .note = ONE_NODE},
    {.name = "annotations"},
    {.name = NULL},
};

static void read_fuse(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_fields_read(ctx, node, "spec.fuse", FUSE, out);
}

static void read_replicas(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_int(ctx, node, "spec.replicas", "a number from 0 to 1000", 0, GFS_WORKERS_MAX,
                        &((struct gfs_runtime *)out)->worker.replicas);
}

static void read_runtime_properties(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_read_properties(ctx, node, "spec.properties", &((struct gfs_runtime *)out)->properties);
}

static void read_tieredstore(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    gfsi_tiers_read(ctx, node, out);
}

static void read_data_replicas(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    (void)gfsi_read_int(ctx, node, "spec.data.replicas", "a number from 0 to 100", 0, 100,
                        &((struct gfs_runtime *)out)->data_replicas);
}

static void read_data(struct gfsi_ctx *ctx, const struct gfsi_yaml *node, void *out)
{
    static const struct gfsi_field data[] = {
        {.name = "replicas", .read = read_data_replicas},
        {.name = "pin"},
        {.name = NULL},
    };

    gfsi_fields_read(ctx, node, "spec.data", data, out);
}

static const struct gfsi_field SPEC[] = {
    {.name = "replicas", .read = read_replicas},
    {.name = "master", .read = read_master},
    {.name = "worker", .read = read_worker},
    {.name = "fuse", .read = read_fuse},
    {.name = "tieredstore", .read = read_tieredstore},
    {.name = "properties", .read = read_runtime_properties},
    {.name = "data", .read = read_data},
    {.name = "jobMaster", .note = NO_JOB},
    {.name = "jobWorker", .note = NO_JOB},
    {.name = "apiGateway", .note = "there is no proxy process"},
    {.name = "jvmOptions", .note = NO_JVM},
    {.name = "goosefsVersion", .note = NO_IMAGE},
    {.name = "initUsers", .note = NO_IMAGE},
    {.name = "runAs", .note = "files belong to the user who reads them"},
    {.name = "disablePrometheus"},
    {.name = "hadoopConfig", .note = "there is no HDFS driver"},
    {.name = "cleanCachePolicy"},
    {.name = NULL},
};

struct gfs_runtime *gfsi_runtime_read(struct gfsi_ctx *ctx, const struct gfsi_yaml *root,
                                      const struct gfsi_yaml *spec)
{
    struct gfs_runtime *runtime = gfsi_alloc(ctx, sizeof(*runtime));

    (void)root;
    if (runtime == NULL) {
        return NULL;
    }

    runtime->master.replicas = 1;
    runtime->worker.replicas = 1;
    runtime->fuse_global = true;
    runtime->data_replicas = 1;
    if (spec != NULL) {
        gfsi_fields_read(ctx, spec, "spec", SPEC, runtime);
    }
    if (runtime->n_tiers == 0 && ctx->diags->errors == 0) {
        gfsi_tiers_read(ctx, NULL, runtime);
    }
    if (runtime->data_replicas == 0) {
        runtime->data_replicas = 1;
    }

    return runtime;
}
