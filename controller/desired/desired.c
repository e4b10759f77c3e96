#include <gfs/controller/desired.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "desired/desired_priv.h"

#define PLAN_MAX_BYTES (64u << 20) /* 1000 workers with all their properties */
#define NOTES_MAX      32
#define DIRS_MAX       40

void *gfsi_zalloc(struct gfsi_build *b, size_t size)
{
    void *p = gfs_arena_alloc(b->plan->arena, size);

    if (p == NULL && b->error == 0) {
        b->error = gfs_err_set(b->err, GFS_ENOMEM, "out of memory while planning %s/%s",
                               b->plan->ns, b->plan->name);
    }

    return p;
}

const char *gfsi_textf(struct gfsi_build *b, const char *fmt, ...)
{
    char small[1024];
    va_list ap;

    va_start(ap, fmt);

    int len = vsnprintf(small, sizeof(small), fmt, ap);

    va_end(ap);
    if (len < 0) {
        return "";
    }

    char *text = gfsi_zalloc(b, (size_t)len + 1);

    if (text == NULL) {
        return "";
    }

    va_start(ap, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, ap);
    va_end(ap);
    return text;
}

void gfsi_kvs_put(struct gfsi_build *b, struct gfs_kvs *kvs, const char *key, const char *value)
{
    for (size_t i = 0; i < kvs->n; i++) {
        if (strcmp(kvs->items[i].key, key) == 0) {
            kvs->items[i].value = value;
            return;
        }
    }

    if (kvs->n % 32 == 0) {
        struct gfs_kv *grown = gfsi_zalloc(b, (kvs->n + 32) * sizeof(*grown));

        if (grown == NULL) {
            return;
        }
        if (kvs->n > 0) {
            memcpy(grown, kvs->items, kvs->n * sizeof(*grown));
        }
        kvs->items = grown;
    }

    kvs->items[kvs->n++] = (struct gfs_kv){.key = key, .value = value};
}

void gfsi_kvs_merge(struct gfsi_build *b, struct gfs_kvs *kvs, const struct gfs_kvs *from)
{
    for (size_t i = 0; i < from->n; i++) {
        gfsi_kvs_put(b, kvs, gfsi_textf(b, "%s", from->items[i].key),
                     gfsi_textf(b, "%s", from->items[i].value));
    }
}

void gfsi_note(struct gfsi_build *b, const char *note)
{
    struct gfs_plan *plan = b->plan;

    for (size_t i = 0; i < plan->n_notes; i++) {
        if (strcmp(plan->notes[i], note) == 0) {
            return;
        }
    }

    if (plan->notes == NULL) {
        plan->notes = gfsi_zalloc(b, NOTES_MAX * sizeof(*plan->notes));
    }
    if (plan->notes != NULL && plan->n_notes < NOTES_MAX) {
        plan->notes[plan->n_notes++] = note;
    }
}

const char *gfsi_pod_dir(struct gfsi_build *b, const struct gfs_pod *pod, const char *leaf)
{
    if (b->facts->pods_dir[0] == '\0') {
        return gfsi_textf(b, "/%s", leaf);
    }

    return gfsi_textf(b, "%s/%s/%s/%s", b->facts->pods_dir, pod->ns, pod->name, leaf);
}

void gfsi_pod_add_dir(struct gfsi_build *b, struct gfs_pod *pod, const char *dir)
{
    if (pod->dirs == NULL) {
        pod->dirs = gfsi_zalloc(b, DIRS_MAX * sizeof(*pod->dirs));
    }
    if (pod->dirs != NULL && pod->n_dirs < DIRS_MAX) {
        pod->dirs[pod->n_dirs++] = dir;
    }
}

static bool name_taken(const struct gfs_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_pods; i++) {
        if (strcmp(plan->pods[i].name, name) == 0) {
            return true;
        }
    }

    return false;
}

/* The document prints workers and clients with five characters, masters with their number. */
static const char *pod_name(struct gfsi_build *b, enum gfs_role role, const char *owner, int index)
{
    if (role == GFS_ROLE_MASTER) {
        return gfsi_textf(b, "%s-%d", owner, index);
    }

    for (unsigned salt = 0;; salt++) {
        char suffix[GFS_POD_SUFFIX_LEN + 1];

        gfs_pod_suffix(b->facts->seed, b->plan->ns, owner, index, salt, suffix);

        const char *name = gfsi_textf(b, "%s-%s", owner, suffix);

        if (!name_taken(b->plan, name)) {
            return name;
        }
    }
}

static struct gfs_pod *add_pod(struct gfsi_build *b, enum gfs_role role, int index,
                               const char *program)
{
    struct gfs_plan *plan = b->plan;
    const char *owner = gfsi_textf(b, "%s-%s", plan->name, gfs_role_name(role));
    struct gfs_pod pod = {
        .ns = plan->ns,
        .name = pod_name(b, role, owner, index),
        .owner = owner,
        .role = role,
        .index = index,
        .node = b->facts->nodes[(size_t)index % b->facts->n_nodes],
        .containers = {{.name = program, .program = program}},
        .n_containers = 1,
    };

    plan->pods[plan->n_pods] = pod;
    return &plan->pods[plan->n_pods++];
}

static void add_service(struct gfsi_build *b, const struct gfs_pod *master)
{
    struct gfs_plan *plan = b->plan;
    struct gfs_service *service = &plan->services[plan->n_services++];

    *service = (struct gfs_service){
        .ns = plan->ns,
        .name = master->name,
        .ports = {{"rpc", b->master_rpc}, {"web", b->master_web}, {"embedded", b->master_journal}},
        .n_ports = 3,
    };
}

static const char *address_list(struct gfsi_build *b, int n, uint16_t port)
{
    const char *list = "";

    for (int i = 0; i < n; i++) {
        list = gfsi_textf(b, "%s%s%s-master-%d:%u", list, i > 0 ? "," : "", b->plan->name, i, port);
    }

    return list;
}

static void add_pods(struct gfsi_build *b)
{
    const struct gfs_runtime *runtime = b->runtime->runtime;

    for (int i = 0; i < runtime->master.replicas; i++) {
        struct gfs_pod *pod = add_pod(b, GFS_ROLE_MASTER, i, "goosefs-master");

        pod->rpc_port = b->master_rpc;
        gfsi_properties_master(b, pod);
        gfsi_kvs_merge(b, &pod->env, &runtime->master.env);
        add_service(b, pod);
    }

    for (int i = 0; i < runtime->worker.replicas; i++) {
        struct gfs_pod *pod = add_pod(b, GFS_ROLE_WORKER, i, "goosefs-worker");

        pod->rpc_port = b->worker_rpc;
        gfsi_properties_worker(b, pod);
        gfsi_kvs_merge(b, &pod->env, &runtime->worker.env);
    }

    for (size_t i = 0; i < b->facts->n_nodes; i++) {
        struct gfs_pod *pod = add_pod(b, GFS_ROLE_FUSE, (int)i, "goosefs-fuse");

        pod->properties = b->plan->conf;
    }
}

static uint64_t hash_kvs(uint64_t hash, const struct gfs_kvs *kvs)
{
    for (size_t i = 0; i < kvs->n; i++) {
        hash = gfsi_hash(gfsi_hash(hash, kvs->items[i].key), kvs->items[i].value);
    }

    return hash;
}

static void hash_pod(struct gfs_pod *pod)
{
    uint64_t hash = gfsi_hash(GFSI_HASH_INIT, pod->name);

    for (size_t c = 0; c < pod->n_containers; c++) {
        hash = gfsi_hash(hash, pod->containers[c].program);
        for (size_t a = 0; a < pod->containers[c].n_args; a++) {
            hash = gfsi_hash(hash, pod->containers[c].args[a]);
        }
    }

    pod->hash = hash_kvs(hash_kvs(hash, &pod->properties), &pod->env);
}

static void allocate(struct gfsi_build *b)
{
    const struct gfs_runtime *runtime = b->runtime->runtime;
    struct gfs_plan *plan = b->plan;

    plan->desired[GFS_ROLE_MASTER] = (size_t)runtime->master.replicas;
    plan->desired[GFS_ROLE_WORKER] = (size_t)runtime->worker.replicas;
    plan->desired[GFS_ROLE_FUSE] = b->facts->n_nodes;

    size_t n = plan->desired[GFS_ROLE_MASTER] + plan->desired[GFS_ROLE_WORKER] +
               plan->desired[GFS_ROLE_FUSE];

    plan->pods = gfsi_zalloc(b, n * sizeof(*plan->pods));
    plan->services = gfsi_zalloc(b, plan->desired[GFS_ROLE_MASTER] * sizeof(*plan->services));
}

static void build(struct gfsi_build *b)
{
    struct gfs_plan *plan = b->plan;
    int masters = b->runtime->runtime->master.replicas;

    plan->fuse_global = b->runtime->runtime->fuse_global;
    plan->fuse_path =
        gfsi_textf(b, "%s/goosefs/%s/%s/goosefs-fuse", b->facts->mount_root, plan->ns, plan->name);
    plan->conf_path = gfsi_textf(b, "%s/goosefs/%s/%s/conf/goosefs-site.properties",
                                 b->facts->mount_root, plan->ns, plan->name);
    allocate(b);
    if (b->error == 0) {
        gfsi_ports_choose(b);
    }
    if (b->error < 0) {
        return;
    }

    b->journal_addresses = address_list(b, masters, b->master_journal);
    b->rpc_addresses = address_list(b, masters, b->master_rpc);
    plan->hcfs = gfsi_textf(b, "goosefs://%s-master-0.%s:%u", plan->name, plan->ns, b->master_rpc);
    gfsi_properties_client(b, &plan->conf);
    add_pods(b);
    gfsi_volume(b);
    for (size_t i = 0; b->error == 0 && i < plan->n_pods; i++) {
        hash_pod(&plan->pods[i]);
    }
}

int gfs_desired(const struct gfs_object *dataset, const struct gfs_object *runtime,
                const struct gfs_facts *facts, struct gfs_plan **out, struct gfs_err *err)
{
    struct gfs_arena *arena = gfs_arena_new(PLAN_MAX_BYTES);
    struct gfs_plan *plan = arena != NULL ? gfs_arena_alloc(arena, sizeof(*plan)) : NULL;

    if (plan == NULL) {
        (void)gfs_arena_free(arena);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    plan->arena = arena;

    struct gfsi_build b = {
        .plan = plan, .dataset = dataset, .runtime = runtime, .facts = facts, .err = err};

    plan->ns = "";
    plan->ns = gfsi_textf(&b, "%s", runtime->ns);
    plan->name = gfsi_textf(&b, "%s", runtime->name);
    build(&b);
    if (b.error < 0) {
        (void)gfs_plan_free(plan);
        return b.error;
    }

    *out = plan;
    return 0;
}

struct gfs_plan *gfs_plan_free(struct gfs_plan *plan)
{
    if (plan != NULL) {
        (void)gfs_arena_free(plan->arena); /* the plan itself lives in it */
    }

    return NULL;
}
