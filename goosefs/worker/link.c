#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/version.h>
#include <gfs/rpc/client.h>

#include <goosefs_master.pb-c.h>

#define CALL_TIMEOUT (2 * GFS_NS_PER_S)
#define RETRY_MIN    (50 * GFS_NS_PER_MS)
#define BATCH        10000 /* files of one heartbeat, by the .proto */
#define TIERS_MAX    GFS_WORKER_DIRS_MAX

/* A reformatted cluster counts mount epochs from the start. When no master has been at ours for so
 * long, ours is of another time: ask for the whole table. */
#define EPOCH_LOST (10 * GFS_NS_PER_S)

struct master {
    struct gfsi_link *link;
    const char *address;
    struct gfs_rpc_channel *channel;
    pthread_t thread;
    bool started;
    bool up;
    bool poked;
    bool tried;   /* its first beat has ended */
    bool leaving; /* says so in its next beat; the thread's own */
    bool left;    /* has been told; mutex */
    uint64_t sequence;
    uint64_t since; /* changes of the store it has */
    struct gfsi_cached *cached;
};

struct gfsi_link {
    struct gfsi_link_config config;
    int64_t start_ms;
    pthread_mutex_t apply; /* one mount table at a time; before the mounts' and `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopping;
    bool leaving;
    uint64_t epoch; /* of the mount table in use; 0 = none */
    int64_t epoch_seen;
    struct master masters[GFS_WORKER_MASTERS_MAX];
    size_t n_masters;
    struct gfs_metric *m_up;
    struct gfs_metric *m_failures;
};

/* ---- the answer ----------------------------------------------------------------------------- */

static struct gfs_props *to_props(Goosefs__V1__KeyValue **list, size_t n)
{
    struct gfs_props *props = gfs_props_new();

    for (size_t i = 0; props != NULL && i < n; i++) {
        (void)gfs_props_set(props, list[i]->key, list[i]->value);
    }
    return props;
}

static void set_mounts(struct gfsi_link *link, const Goosefs__V1__WorkerHeartbeatResponse *response)
{
    size_t n = response->n_mounts;
    struct gfsi_mount *table gfs_auto_free = calloc(n + 1, sizeof(*table));
    struct gfs_props **props gfs_auto_free = calloc(n + 1, sizeof(struct gfs_props *));

    if (table == NULL || props == NULL) {
        return; /* the next heartbeat brings it again */
    }
    for (size_t i = 0; i < n; i++) {
        const Goosefs__V1__MountInfo *info = response->mounts[i];

        props[i] = to_props(info->properties, info->n_properties);
        table[i] = (struct gfsi_mount){.id = info->id, .uri = info->ufs_uri, .props = props[i]};
    }

    /* Two masters may bring two tables at the same time: the newer one stays. The link's mutex is
     * not held meanwhile: a fetch pokes it under the mounts' one. */
    (void)pthread_mutex_lock(&link->apply);
    (void)pthread_mutex_lock(&link->mutex);

    bool newer = response->mounts_epoch > link->epoch;

    (void)pthread_mutex_unlock(&link->mutex);
    if (newer) {
        gfsi_mounts_set(link->config.mounts, table, n);
        (void)pthread_mutex_lock(&link->mutex);
        link->epoch = response->mounts_epoch;
        link->epoch_seen = gfs_clock_mono();
        (void)pthread_mutex_unlock(&link->mutex);
    }
    (void)pthread_mutex_unlock(&link->apply);
    for (size_t i = 0; i < n; i++) {
        gfs_props_free(props[i]);
    }
}

static void watch_epoch(struct gfsi_link *link, uint64_t epoch)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&link->mutex);
    int64_t now = gfs_clock_mono();

    (void)guard;
    if (epoch >= link->epoch) {
        link->epoch_seen = now;
    } else if (now - link->epoch_seen > EPOCH_LOST) {
        gfs_warn("worker", "mount table is of another cluster, asking for a new one",
                 "epoch=%" PRIu64 " master_epoch=%" PRIu64, link->epoch, epoch);
        link->epoch = 0;
        link->epoch_seen = now;
    }
}

static void take_response(struct master *m, const Goosefs__V1__WorkerHeartbeatResponse *response)
{
    struct gfsi_link *link = m->link;

    if (response->mounts_changed) {
        set_mounts(link, response);
    }
    watch_epoch(link, response->mounts_epoch);
    for (size_t i = 0; i < response->n_free; i++) {
        gfsi_store_free(link->config.store, response->free[i]->inode_id,
                        response->free[i]->version_id);
    }
    if (response->resend_all) {
        m->sequence = 0;
        m->since = 0;
    }
}

/* ---- the request ---------------------------------------------------------------------------- */

struct request {
    Goosefs__V1__WorkerHeartbeatRequest message;
    Goosefs__V1__WorkerInfo worker;
    Goosefs__V1__TierInfo tiers[TIERS_MAX];
    Goosefs__V1__TierInfo *tier_pointers[TIERS_MAX];
    struct gfsi_tier_usage usage[TIERS_MAX];
    Goosefs__V1__CachedFile *files;
    Goosefs__V1__CachedFile **file_pointers;
};

/* The message's strings are only read. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void fill_worker(struct master *m, struct request *r)
{
    const struct gfsi_link_config *config = &m->link->config;

    goosefs__v1__worker_info__init(&r->worker);
    r->worker.id = config->id;
    r->worker.host = text(config->worker->hostname);
    r->worker.data_address = text(config->data_address);
    r->worker.local_socket = text(config->local_socket);
    r->worker.web_port = config->web_port;
    r->worker.start_time_ms = m->link->start_ms;
    r->worker.leaving = m->leaving;
    r->worker.version = text(gfs_version());
    r->worker.n_tiers = gfsi_store_usage(config->store, r->usage, TIERS_MAX);
    r->worker.tiers = r->tier_pointers;
    for (size_t i = 0; i < r->worker.n_tiers; i++) {
        goosefs__v1__tier_info__init(&r->tiers[i]);
        r->tiers[i].alias = r->usage[i].alias;
        r->tiers[i].capacity = r->usage[i].capacity;
        r->tiers[i].used = r->usage[i].used;
        r->tier_pointers[i] = &r->tiers[i];
    }
}

static int fill_request(struct master *m, struct request *r, uint64_t *next)
{
    bool complete = true;
    size_t n =
        gfsi_store_changes(m->link->config.store, m->since, m->cached, BATCH, next, &complete);

    if (!complete) {
        m->sequence = 0;
        m->since = 0;
        n = gfsi_store_changes(m->link->config.store, 0, m->cached, BATCH, next, &complete);
    }
    *r = (struct request){.files = calloc(n + 1, sizeof(*r->files)),
                          .file_pointers = calloc(n + 1, sizeof(Goosefs__V1__CachedFile *))};
    if (r->files == NULL || r->file_pointers == NULL) {
        return GFS_ENOMEM;
    }
    fill_worker(m, r);
    goosefs__v1__worker_heartbeat_request__init(&r->message);
    r->message.worker = &r->worker;
    r->message.sequence = m->sequence;
    r->message.n_cached = n;
    r->message.cached = r->file_pointers;
    for (size_t i = 0; i < n; i++) {
        goosefs__v1__cached_file__init(&r->files[i]);
        r->files[i].inode_id = m->cached[i].inode_id;
        r->files[i].version_id = m->cached[i].version_id;
        r->files[i].bytes = m->cached[i].bytes;
        r->file_pointers[i] = &r->files[i];
    }
    (void)pthread_mutex_lock(&m->link->mutex);
    r->message.mounts_epoch = m->link->epoch;
    (void)pthread_mutex_unlock(&m->link->mutex);
    return (int)n;
}

/* One heartbeat. Returns how many files it carried, or an error. */
static int beat(struct master *m, struct gfs_err *err)
{
    struct request r = {.files = NULL};
    ProtobufCMessage *response = NULL;
    uint64_t next = 0;
    int n = fill_request(m, &r, &next);
    int rc =
        n < 0 ? gfs_err_set(err, n, "out of memory")
              : gfs_rpc_call_sync(m->channel, &goosefs__v1__worker_master__descriptor, "Heartbeat",
                                  &r.message.base, &response, gfs_clock_mono() + CALL_TIMEOUT, err);

    free(r.files);
    free(r.file_pointers);
    if (rc < 0) {
        return rc;
    }
    m->sequence++;
    m->since = next;
    take_response(m, (const Goosefs__V1__WorkerHeartbeatResponse *)response);
    protobuf_c_message_free_unpacked(response, NULL);
    return n;
}

/* ---- threads -------------------------------------------------------------------------------- */

/* Under the mutex. */
static void note_result(struct master *m, int rc, const struct gfs_err *err)
{
    bool up = rc >= 0;

    if (!up) {
        gfs_metric_add(m->link->m_failures, 1);
    }
    if (up == m->up) {
        return;
    }
    m->up = up;
    gfs_metric_add(m->link->m_up, up ? 1 : -1);
    if (up) {
        gfs_info("worker", "master reached", "master=%s", GFS_Q(m->address));
    } else if (!m->link->stopping) {
        gfs_warn("worker", "master lost", "master=%s error=%s", GFS_Q(m->address),
                 GFS_Q(gfs_err_text(err, rc)));
    }
}

static void *master_main(void *arg)
{
    struct master *m = arg;
    struct gfsi_link *link = m->link;
    struct gfs_backoff backoff;

    gfs_backoff_init(&backoff, RETRY_MIN, link->config.worker->heartbeat_ns,
                     (uint64_t)(uintptr_t)m ^ (uint64_t)gfs_clock_mono());
    (void)pthread_mutex_lock(&link->mutex);
    while (!link->stopping) {
        struct gfs_err err = GFS_ERR_INIT;

        m->poked = false;
        m->leaving = link->leaving;
        (void)pthread_mutex_unlock(&link->mutex);

        int64_t start = gfs_clock_mono();
        int rc = beat(m, &err);

        (void)pthread_mutex_lock(&link->mutex);
        note_result(m, rc, &err);
        if (!m->tried || (rc >= 0 && m->leaving && !m->left)) {
            m->tried = true;
            m->left = rc >= 0 && m->leaving;
            (void)pthread_cond_broadcast(&link->changed);
        }
        if (rc >= 0) {
            gfs_backoff_reset(&backoff);
        }
        if (rc == BATCH || m->sequence == 0) {
            if (rc >= 0) {
                continue; /* there is more to tell */
            }
        }

        int64_t until = rc >= 0 ? start + link->config.worker->heartbeat_ns
                                : gfs_clock_mono() + gfs_backoff_next(&backoff);
        struct timespec ts = {.tv_sec = until / GFS_NS_PER_S, .tv_nsec = until % GFS_NS_PER_S};

        /* A poke does not cut a back-off short: the masters may all be starting. */
        while (!link->stopping && !(m->poked && rc >= 0) &&
               pthread_cond_timedwait(&link->changed, &link->mutex, &ts) != ETIMEDOUT) {
        }
    }
    (void)pthread_mutex_unlock(&link->mutex);
    return NULL;
}

void gfsi_link_poke(void *arg)
{
    struct gfsi_link *link = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&link->mutex);

    (void)guard;
    for (size_t i = 0; i < link->n_masters; i++) {
        link->masters[i].poked = true;
    }
    (void)pthread_cond_broadcast(&link->changed);
}

/* Under the mutex. A master that did not answer its last beat is not waited for, one that has not
 * had the time to answer its first one is. */
static bool all_told(const struct gfsi_link *link)
{
    for (size_t i = 0; i < link->n_masters; i++) {
        const struct master *m = &link->masters[i];

        if ((m->up || !m->tried) && !m->left) {
            return false;
        }
    }
    return true;
}

void gfsi_link_leave(struct gfsi_link *link, int64_t deadline)
{
    struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};

    (void)pthread_mutex_lock(&link->mutex);
    link->leaving = true;
    (void)pthread_mutex_unlock(&link->mutex);
    gfsi_link_poke(link);

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&link->mutex);

    (void)guard;
    while (!all_told(link) &&
           pthread_cond_timedwait(&link->changed, &link->mutex, &ts) != ETIMEDOUT) {
    }
}

unsigned gfsi_link_masters_up(struct gfsi_link *link)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&link->mutex);
    unsigned n = 0;

    (void)guard;
    for (size_t i = 0; i < link->n_masters; i++) {
        n += link->masters[i].up ? 1 : 0;
    }
    return n;
}

bool gfsi_link_has_mounts(struct gfsi_link *link)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&link->mutex);

    (void)guard;
    return link->epoch > 0;
}

static int start_master(struct gfsi_link *link, struct master *m, struct gfs_err *err)
{
    struct gfs_rpc_channel_opts opts = {.hosts = link->config.hosts};
    int rc = gfs_rpc_channel_new(m->address, &opts, &m->channel, err);

    if (rc < 0) {
        return rc;
    }
    m->cached = calloc(BATCH, sizeof(*m->cached));
    if (m->cached == NULL || pthread_create(&m->thread, NULL, master_main, m) != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }
    m->started = true;
    return 0;
}

int gfsi_link_start(const struct gfsi_link_config *config, struct gfsi_link **out,
                    struct gfs_err *err)
{
    struct gfsi_link *link = calloc(1, sizeof(*link));
    pthread_condattr_t attr;
    int rc = 0;

    if (link == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    link->config = *config;
    link->start_ms = gfs_clock_wall_ms();
    link->epoch_seen = gfs_clock_mono();
    (void)pthread_mutex_init(&link->apply, NULL);
    (void)pthread_mutex_init(&link->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&link->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (config->metrics != NULL) {
        link->m_up = gfs_metrics_get(config->metrics, GFS_METRIC_GAUGE, "goosefs_worker_masters_up",
                                     "", "Masters that answered the last heartbeat");
        link->m_failures =
            gfs_metrics_get(config->metrics, GFS_METRIC_COUNTER,
                            "goosefs_worker_heartbeat_failures_total", "", "Failed heartbeats");
    }
    gfsi_mounts_on_unknown(config->mounts, gfsi_link_poke, link);
    link->n_masters = config->worker->n_masters;
    for (size_t i = 0; i < link->n_masters && rc == 0; i++) {
        link->masters[i].link = link;
        link->masters[i].address = config->worker->masters[i];
        rc = start_master(link, &link->masters[i], err);
    }
    if (rc < 0) {
        gfsi_link_stop(link);
        return rc;
    }
    *out = link;
    return 0;
}

struct gfsi_link *gfsi_link_stop(struct gfsi_link *link)
{
    if (link == NULL) {
        return NULL;
    }
    gfsi_mounts_on_unknown(link->config.mounts, NULL, NULL);
    (void)pthread_mutex_lock(&link->mutex);
    link->stopping = true;
    (void)pthread_cond_broadcast(&link->changed);
    (void)pthread_mutex_unlock(&link->mutex);
    for (size_t i = 0; i < link->n_masters; i++) {
        if (link->masters[i].channel != NULL) {
            gfs_rpc_channel_close(link->masters[i].channel);
        }
    }
    for (size_t i = 0; i < link->n_masters; i++) {
        if (link->masters[i].started) {
            (void)pthread_join(link->masters[i].thread, NULL);
        }
        if (link->masters[i].channel != NULL) {
            gfs_rpc_channel_free(link->masters[i].channel);
        }
        free(link->masters[i].cached);
    }
    (void)pthread_cond_destroy(&link->changed);
    (void)pthread_mutex_destroy(&link->mutex);
    (void)pthread_mutex_destroy(&link->apply);
    free(link);
    return NULL;
}
