/* Listing at the origin: single flight per inode, on the bounded UFS pool. */
#include "loader_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "master_priv.h"

#define BUCKETS      1024
#define MAX_LOADS    4096  /* in progress or queued */
#define MAX_WAITERS  65536 /* of all loads together */
#define MAX_INFLIGHT 4     /* batches of one listing proposed and not yet applied */

struct waiter {
    gfsi_loaded done;
    void *arg;
    struct waiter *next;
};

struct load {
    struct gfsi_loader *loader;
    uint64_t inode;
    struct waiter *waiters;
    struct load *next;
};

struct gfsi_loader {
    struct gfs_master *m;
    pthread_mutex_t mutex;
    struct load *buckets[BUCKETS];
    size_t n_loads;
    size_t n_waiters;
    atomic_ullong listing_id;
};

int gfsi_loader_new(struct gfs_master *m, struct gfsi_loader **out)
{
    struct gfsi_loader *loader = calloc(1, sizeof(*loader));
    uint64_t seed;

    if (loader == NULL) {
        return GFS_ENOMEM;
    }

    /* Random start: a listing of an earlier leader must not be continued by mistake. */
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        free(loader);
        return gfs_err_from_errno(errno);
    }

    loader->m = m;
    atomic_init(&loader->listing_id, seed);
    (void)pthread_mutex_init(&loader->mutex, NULL);
    *out = loader;
    return 0;
}

void gfsi_loader_free(struct gfsi_loader *loader)
{
    if (loader != NULL) {
        (void)pthread_mutex_destroy(&loader->mutex);
        free(loader);
    }
}

/* ---- proposing a listing -------------------------------------------------------------------- */

struct flight {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned inflight;
    int rc; /* first failure */
};

static void batch_done(void *arg, int rc, int64_t result)
{
    struct flight *f = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&f->mutex);

    rc = rc != 0 ? rc : result < 0 ? (int)result : 0;
    f->rc = f->rc != 0 ? f->rc : rc;
    f->inflight--;
    (void)pthread_cond_signal(&f->cond);
}

static int wait_below(struct flight *f, unsigned limit)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&f->mutex);

    while (f->inflight >= limit) {
        (void)pthread_cond_wait(&f->cond, &f->mutex);
    }

    return f->rc;
}

static void child_from_stat(const char *name, const struct gfs_ufs_stat *st, struct gfsi_child *out)
{
    *out = (struct gfsi_child){
        .name = {name, strlen(name)},
        .version = {st->version, strlen(st->version)},
        .directory = st->type == GFS_UFS_DIRECTORY,
        .length_unknown = st->type == GFS_UFS_FILE && !st->size_known,
        .version_exact = st->version_exact,
        .mode = st->mode,
        .mtime_granularity_ms = st->mtime_granularity_ms,
        .length = st->size,
        .mtime_ms = st->mtime_ms,
    };
}

static void stat_from_inode(const struct gfsi_inode *inode, struct gfs_ufs_stat *out)
{
    *out = (struct gfs_ufs_stat){
        .type = (inode->flags & GFSI_DIRECTORY) != 0 ? GFS_UFS_DIRECTORY : GFS_UFS_FILE,
        .size_known = (inode->flags & GFSI_LENGTH_UNKNOWN) == 0,
        .version_exact = (inode->flags & GFSI_VERSION_EXACT) != 0,
        .mode = inode->mode,
        .size = inode->length,
        .mtime_ms = inode->mtime_ms,
        .mtime_granularity_ms = inode->mtime_granularity_ms,
    };
    memcpy(out->version, inode->version.s, inode->version.len);
    out->version[inode->version.len] = '\0';
}

/* What is known already and shows no change stays as it is: a row of an index tells less than an
 * answer of the object itself, and that must not look like a new version. *kept holds the text. */
static void keep_known(struct gfsi_view *view, uint64_t dir, const struct gfs_ufs_stat *now,
                       struct gfsi_child *child, struct gfs_ufs_stat *kept)
{
    struct gfsi_inode inode;

    if (child->directory ||
        gfsi_view_child(view, dir, child->name.s, child->name.len, &inode) != 0 ||
        (inode.flags & (GFSI_DIRECTORY | GFSI_LENGTH_UNKNOWN)) != 0) {
        return;
    }

    stat_from_inode(&inode, kept);
    if (!gfs_ufs_stat_same(kept, now) || (now->version_exact && !kept->version_exact)) {
        return;
    }

    child_from_stat(child->name.s, kept, child);
}

struct batch {
    struct gfsi_child children[GFSI_BATCH_MAX];
    struct gfs_ufs_stat kept[GFSI_BATCH_MAX];
};

static int fill_batch(struct gfsi_loader *loader, uint64_t dir,
                      const struct gfs_ufs_listing *listing, size_t at, struct batch *batch,
                      size_t *out_n, struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    size_t count = gfs_ufs_listing_count(listing);
    size_t n = count - at < GFSI_BATCH_MAX ? count - at : GFSI_BATCH_MAX;
    int rc = gfsi_view_open(loader->m->ns, &view, err);

    if (rc != 0) {
        return rc;
    }

    for (size_t i = 0; i < n; i++) {
        const struct gfs_ufs_entry *entry = gfs_ufs_listing_at(listing, at + i);

        child_from_stat(entry->name, &entry->stat, &batch->children[i]);
        keep_known(view, dir, &entry->stat, &batch->children[i], &batch->kept[i]);
    }

    *out_n = n;
    return 0;
}

int gfsi_loader_apply(struct gfsi_loader *loader, uint64_t dir, int64_t time_ms,
                      const struct gfs_ufs_listing *listing, struct gfs_err *err)
{
    struct flight flight = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    struct batch *batch gfs_auto_free = calloc(1, sizeof(*batch));
    uint64_t id = atomic_fetch_add(&loader->listing_id, 1);
    size_t count = gfs_ufs_listing_count(listing);
    size_t at = 0;
    bool last = false;
    int rc = 0;

    if (batch == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    while (rc == 0 && !last) {
        struct gfsi_op op = {
            .type = GFSI_OP_SYNC_DIRECTORY,
            .directory_id = dir,
            .time_ms = time_ms,
            .listing_id = id == 0 ? 1 : id,
            .first = at == 0,
            .children = batch->children,
        };

        rc = fill_batch(loader, dir, listing, at, batch, &op.n_children, err);
        if (rc != 0) {
            break;
        }

        at += op.n_children;
        last = at == count;
        op.last = last;
        (void)pthread_mutex_lock(&flight.mutex);
        flight.inflight++;
        (void)pthread_mutex_unlock(&flight.mutex);
        gfsi_propose(loader->m, &op, batch_done, &flight);
        rc = wait_below(&flight, MAX_INFLIGHT);
    }

    /* Applied in order on one leader, so the end of the last is the end of all. */
    if (wait_below(&flight, 1) != 0 && rc == 0) {
        rc = flight.rc;
    }

    (void)pthread_cond_destroy(&flight.cond);
    (void)pthread_mutex_destroy(&flight.mutex);
    gfs_metric_add(loader->m->count.loaded_entries, (int64_t)at);
    return rc == 0
               ? 0
               : gfs_err_set(err, rc, "the listing could not be recorded: %s", gfs_err_string(rc));
}

/* ---- one load ------------------------------------------------------------------------------- */

/* What has to be known before the origin is asked, without keeping a view open meanwhile. */
struct target {
    uint64_t id;
    uint64_t parent_id;
    bool directory;
    bool mount_point;
    char name[GFSI_NAME_MAX + 1];
    char path[GFSI_PATH_MAX]; /* below the mount's URI */
    char mount_path[GFSI_PATH_MAX];
    struct gfsi_origin *origin;
};

static int find_target(struct gfs_master *m, uint64_t id, struct target *out, struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_mount *mount gfs_auto_free = malloc(sizeof(*mount));
    struct gfsi_inode inode;
    int rc = mount == NULL ? GFS_ENOMEM : gfsi_view_open(m->ns, &view, err);

    rc = rc != 0 ? rc : gfsi_view_inode(view, id, &inode);
    if (rc != 0) {
        return gfs_err_set(err, rc, "no such entry");
    }

    if (inode.mount_id == 0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "nothing is mounted there");
    }

    rc = gfsi_view_ufs_path(view, &inode, out->path, sizeof(out->path));
    rc = rc != 0 ? rc : gfsi_view_mount(view, inode.mount_id, mount);
    if (rc != 0) {
        return gfs_err_set(err, rc, "%s", gfs_err_string(rc));
    }

    out->id = inode.id;
    out->parent_id = inode.parent_id;
    out->directory = (inode.flags & GFSI_DIRECTORY) != 0;
    out->mount_point = (inode.flags & GFSI_MOUNT_POINT) != 0;
    memcpy(out->name, inode.name.s, inode.name.len);
    out->name[inode.name.len] = '\0';
    (void)gfs_str_copy(out->mount_path, sizeof(out->mount_path), mount->path);
    return gfsi_origins_get(m->origins, mount, &out->origin, err);
}

/* The origin does not have it any more. */
static void remove_target(struct gfs_master *m, const struct target *target)
{
    struct gfsi_child child = {.name = {target->name, strlen(target->name)}};
    struct gfsi_op op = {
        .type = GFSI_OP_SYNC_CHILD,
        .directory_id = target->parent_id,
        .time_ms = gfs_clock_wall_ms(),
        .removed = true,
        .children = &child,
        .n_children = 1,
    };
    int64_t ignored;

    if (!target->mount_point) {
        (void)gfsi_propose_wait(m, &op, &ignored, NULL);
    }
}

static int load_directory(struct gfs_master *m, const struct target *target, struct gfs_err *err)
{
    struct gfs_ufs_listing *listing = NULL;
    int64_t time_ms = gfs_clock_wall_ms();
    int rc = gfs_ufs_list(gfsi_origin_ufs(target->origin), target->path, &listing, err);

    if (rc != 0) {
        return gfs_err_wrap(err, rc, "mount %s", target->mount_path);
    }

    rc = gfsi_loader_apply(m->loader, target->id, time_ms, listing, err);
    (void)gfs_ufs_listing_free(listing);
    return rc;
}

static int load_file(struct gfs_master *m, const struct target *target, struct gfs_err *err)
{
    struct gfs_ufs_stat st;
    struct gfsi_child child;
    struct gfsi_op op = {
        .type = GFSI_OP_SYNC_CHILD,
        .directory_id = target->parent_id,
        .time_ms = gfs_clock_wall_ms(),
        .children = &child,
        .n_children = 1,
    };
    int64_t ignored;
    int rc = gfs_ufs_stat_path(gfsi_origin_ufs(target->origin), target->path, &st, err);

    if (rc != 0) {
        return gfs_err_wrap(err, rc, "mount %s", target->mount_path);
    }

    child_from_stat(target->name, &st, &child);
    return gfsi_propose_wait(m, &op, &ignored, err);
}

static int run_load(struct gfs_master *m, uint64_t id, struct gfs_err *err)
{
    struct target *target gfs_auto_free = calloc(1, sizeof(*target));
    int64_t begin = gfs_clock_mono();
    int rc;

    if (target == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    if (!raft_node_is_leader(m->node)) {
        return gfs_err_set(err, GFS_ENOTLEADER, "only the leader loads metadata");
    }

    rc = find_target(m, id, target, err);
    if (rc != 0) {
        return rc;
    }

    rc = target->directory ? load_directory(m, target, err) : load_file(m, target, err);
    if (rc == GFS_ENOENT) {
        remove_target(m, target);
    }

    gfsi_origin_put(m->origins, target->origin);
    gfs_metric_add(rc == 0 ? m->count.loads : m->count.load_failures, 1);
    gfs_metric_observe(m->count.load_ns, gfs_clock_mono() - begin);
    return rc;
}

/* ---- single flight -------------------------------------------------------------------------- */

static struct load **find_load(struct gfsi_loader *loader, uint64_t inode)
{
    struct load **at = &loader->buckets[inode % BUCKETS];

    while (*at != NULL && (*at)->inode != inode) {
        at = &(*at)->next;
    }

    return at;
}

static void finish(struct gfsi_loader *loader, struct load *load, int rc, const struct gfs_err *err)
{
    struct waiter *waiters;
    size_t n = 0;

    (void)pthread_mutex_lock(&loader->mutex);
    *find_load(loader, load->inode) = load->next;
    loader->n_loads--;
    waiters = load->waiters;
    (void)pthread_mutex_unlock(&loader->mutex);
    free(load);

    while (waiters != NULL) {
        struct waiter *next = waiters->next;

        waiters->done(waiters->arg, rc, err);
        free(waiters);
        waiters = next;
        n++;
    }

    (void)pthread_mutex_lock(&loader->mutex);
    loader->n_waiters -= n;
    (void)pthread_mutex_unlock(&loader->mutex);
}

static void load_task(void *arg)
{
    struct load *load = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = run_load(load->loader->m, load->inode, &err);

    finish(load->loader, load, rc, &err);
}

/* Under the lock: the load to wait for, queued when it is new. */
static int join_load(struct gfsi_loader *loader, uint64_t inode, struct load **out)
{
    struct load *load = *find_load(loader, inode);
    int rc;

    if (load != NULL) {
        *out = load;
        return 0;
    }

    if (loader->n_loads == MAX_LOADS) {
        return GFS_EBUSY;
    }

    load = calloc(1, sizeof(*load));
    if (load == NULL) {
        return GFS_ENOMEM;
    }

    load->loader = loader;
    load->inode = inode;
    rc = gfsi_pool_submit(loader->m->ufs_pool, load_task, load);
    if (rc != 0) {
        free(load);
        return rc;
    }

    load->next = loader->buckets[inode % BUCKETS];
    loader->buckets[inode % BUCKETS] = load;
    loader->n_loads++;
    *out = load;
    return 0;
}

int gfsi_loader_load(struct gfsi_loader *loader, uint64_t inode, gfsi_loaded done, void *arg)
{
    struct waiter *waiter = malloc(sizeof(*waiter));
    struct load *load = NULL;
    int rc = waiter == NULL ? GFS_ENOMEM : 0;

    (void)pthread_mutex_lock(&loader->mutex);
    if (rc == 0 && loader->n_waiters == MAX_WAITERS) {
        rc = GFS_EBUSY;
    }

    rc = rc != 0 ? rc : join_load(loader, inode, &load);
    if (rc == 0) {
        *waiter = (struct waiter){done, arg, load->waiters};
        load->waiters = waiter;
        loader->n_waiters++;
    }
    (void)pthread_mutex_unlock(&loader->mutex);
    if (rc != 0) {
        free(waiter);
    }

    return rc;
}
