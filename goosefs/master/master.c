/* Putting a master together, and taking it apart in the opposite order. */
#include "master_priv.h"
#include "quorum_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define POOL_THREADS   4
#define POOL_QUEUE     16384
#define UFS_THREADS    16
#define UFS_QUEUE      8192
#define RPC_CALLS      32768 /* most of them wait for a barrier or an origin */
#define WORKER_TIMEOUT 10000
#define BLOCK_SIZE     (4u << 20)
#define DRAIN_AT_LEAST (100 * GFS_NS_PER_MS)

/* ---- options -------------------------------------------------------------------------------- */

static char *dup_text(const char *s)
{
    return strdup(s == NULL ? "" : s);
}

static int copy_opts(struct gfs_master *m, const struct gfs_master_opts *from)
{
    struct gfs_master_opts *to = &m->opts;

    *to = *from;
    to->hostname = dup_text(from->hostname);
    to->journal_addresses = dup_text(from->journal_addresses);
    to->rpc_addresses = dup_text(from->rpc_addresses);
    to->rpc_bind_host = dup_text(from->rpc_bind_host);
    to->journal_bind_host = dup_text(from->journal_bind_host);
    to->web_bind_host = dup_text(from->web_bind_host);
    to->journal_dir = dup_text(from->journal_dir);
    to->metastore_dir = dup_text(from->metastore_dir);
    to->cluster_id = dup_text(from->cluster_id);
    to->rpc_port = from->rpc_port != 0 ? from->rpc_port : GFS_MASTER_DEFAULT_RPC_PORT;
    to->journal_port =
        from->journal_port != 0 ? from->journal_port : GFS_MASTER_DEFAULT_JOURNAL_PORT;
    to->web_port = from->web_port != 0 ? from->web_port : GFS_MASTER_DEFAULT_WEB_PORT;
    to->sync_interval_ms = from->has_sync_interval ? from->sync_interval_ms : -1;
    to->worker_timeout_ms = from->worker_timeout_ms > 0 ? from->worker_timeout_ms : WORKER_TIMEOUT;
    to->ufs_threads = from->ufs_threads != 0 ? from->ufs_threads : UFS_THREADS;
    to->rpc_calls = from->rpc_calls != 0 ? from->rpc_calls : RPC_CALLS;
    to->block_size = from->block_size != 0 ? from->block_size : BLOCK_SIZE;
    return to->hostname == NULL || to->journal_addresses == NULL || to->rpc_addresses == NULL ||
                   to->rpc_bind_host == NULL || to->journal_bind_host == NULL ||
                   to->web_bind_host == NULL || to->journal_dir == NULL ||
                   to->metastore_dir == NULL || to->cluster_id == NULL
               ? GFS_ENOMEM
               : 0;
}

static void free_opts(struct gfs_master_opts *opts)
{
    const char *texts[] = {opts->hostname,      opts->journal_addresses, opts->rpc_addresses,
                           opts->rpc_bind_host, opts->journal_bind_host, opts->web_bind_host,
                           opts->journal_dir,   opts->metastore_dir,     opts->cluster_id};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free((void *)(uintptr_t)texts[i]);
    }
}

/* Every master derives the same from the same list. */
static int choose_cluster(struct gfs_master *m, struct gfs_err *err)
{
    struct gfs_buf list gfs_auto_buf;
    int n;

    gfs_buf_init(&list, 8192);
    if (*m->opts.cluster_id != '\0') {
        if (gfs_str_copy(m->cluster, sizeof(m->cluster), m->opts.cluster_id) != 0 ||
            strpbrk(m->cluster, "\r\n") != NULL) {
            return gfs_err_set(
                err, GFS_EINVAL,
                "goosefs.master.cluster.id is longer than %zu bytes or has line ends",
                sizeof(m->cluster) - 1);
        }
        return 0;
    }

    for (size_t i = 0; i < m->members.n; i++) {
        (void)gfs_buf_printf(&list, "%s,", m->members.v[i].raft);
    }

    n = snprintf(m->cluster, sizeof(m->cluster), "goosefs-%016" PRIx64,
                 gfsi_hash_text(gfs_buf_str(&list)));
    return n > 0 && (size_t)n < sizeof(m->cluster) ? 0 : GFS_ERANGE;
}

static int check_opts(struct gfs_master *m, struct gfs_err *err)
{
    const struct gfsi_members_config config = {
        .hostname = m->opts.hostname,
        .journal_addresses = m->opts.journal_addresses,
        .rpc_addresses = m->opts.rpc_addresses,
        .rpc_port = m->opts.rpc_port,
        .journal_port = m->opts.journal_port,
    };
    int rc;

    if (*m->opts.hostname == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "goosefs.master.hostname is not set");
    }

    if (*m->opts.journal_dir == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "goosefs.master.journal.folder is not set");
    }

    rc = gfsi_members_parse(&config, &m->members, err);
    return rc != 0 ? rc : choose_cluster(m, err);
}

int gfs_master_new(const struct gfs_master_opts *opts, struct gfs_master **out, struct gfs_err *err)
{
    struct gfs_master *m = calloc(1, sizeof(*m));
    int rc;

    if (m == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    (void)pthread_mutex_init(&m->mutex, NULL);
    (void)pthread_cond_init(&m->changed, NULL);
    atomic_init(&m->stopping, false);
    m->stopped = true; /* nothing runs yet */
    m->metrics = gfs_metrics_new();
    rc = m->metrics == NULL || copy_opts(m, opts) != 0
             ? gfs_err_set(err, GFS_ENOMEM, "out of memory")
             : check_opts(m, err);
    if (rc != 0) {
        (void)gfs_master_free(m);
        return rc;
    }

    gfsi_counters_init(&m->count, m->metrics);
    *out = m;
    return 0;
}

/* ---- start ---------------------------------------------------------------------------------- */

static void worker_lost(void *arg, const struct gfsi_worker *worker)
{
    (void)arg;
    gfs_warn(GFSI_LOG, "worker is lost", "host=%s data=%s id=%016" PRIx64, GFS_Q(worker->host),
             GFS_Q(worker->data_address), worker->id);
}

/* Looks after what only time changes. */
static void *clerk_main(void *arg)
{
    struct gfs_master *m = arg;
    int64_t step = m->opts.worker_timeout_ms / 4 + 1;

    step = (step < 1000 ? step : 1000) * GFS_NS_PER_MS;
    (void)pthread_mutex_lock(&m->mutex);
    while (!m->stopped) {
        int64_t at = gfs_clock_mono() + step;
        struct timespec until = {.tv_sec = at / GFS_NS_PER_S, .tv_nsec = at % GFS_NS_PER_S};

        (void)pthread_cond_clockwait(&m->changed, &m->mutex, CLOCK_MONOTONIC, &until);
        (void)pthread_mutex_unlock(&m->mutex);
        gfsi_registry_expire(m->registry, gfs_clock_mono() / GFS_NS_PER_MS, worker_lost, NULL);
        (void)pthread_mutex_lock(&m->mutex);
    }

    (void)pthread_mutex_unlock(&m->mutex);
    return NULL;
}

static int make_parts(struct gfs_master *m, struct gfs_err *err)
{
    int rc = gfsi_pool_new("ns-read", POOL_THREADS, POOL_QUEUE, &m->pool);

    rc = rc != 0 ? rc : gfsi_pool_new("ufs", m->opts.ufs_threads, UFS_QUEUE, &m->ufs_pool);
    rc = rc != 0 ? rc : gfsi_origins_new(&m->origins);
    rc = rc != 0 ? rc : gfsi_loader_new(m, &m->loader);
    rc = rc != 0 ? rc : gfsi_registry_new(m->opts.worker_timeout_ms, &m->registry);
    return rc == 0 ? 0 : gfs_err_set(err, rc, "master: %s", gfs_err_string(rc));
}

/* The client port is bound before Raft starts: a master that cannot serve must not vote either, or
 * a misconfigured one could lead. It answers when everything behind it is there. */
static int make_rpc(struct gfs_master *m, struct gfs_err *err)
{
    const struct gfs_rpc_server_opts opts = {
        .name = "rpc",
        .n_threads = 2,
        .max_calls = m->opts.rpc_calls,
        .multiplex = true,
        .metrics = m->metrics,
    };
    char listen[GFS_HOST_NAME_MAX + 8];
    int rc =
        gfsi_bind_address(m, m->opts.rpc_bind_host, m->opts.rpc_port, listen, sizeof(listen), err);

    rc = rc != 0 ? rc : gfs_rpc_server_new(&opts, &m->rpc, err);
    if (rc != 0) {
        return rc;
    }

    rc = gfs_rpc_server_listen(m->rpc, listen, m->opts.hosts, 0, NULL, err);
    if (rc != 0) {
        return gfs_err_wrap(err, rc, "goosefs.master.rpc.port");
    }

    rc = gfsi_fs_service_add(m, err);
    rc = rc != 0 ? rc : gfsi_meta_service_add(m, err);
    return rc != 0 ? rc : gfsi_worker_service_add(m, err);
}

int gfs_master_start(struct gfs_master *m, struct gfs_err *err)
{
    const struct gfsi_member *self = &m->members.v[m->members.self - 1];
    int rc;

    m->start_ms = gfs_clock_wall_ms();
    m->stopped = false;
    rc = make_parts(m, err);
    rc = rc != 0 ? rc : make_rpc(m, err);
    rc = rc != 0 ? rc : gfsi_journal_start(m, err);
    rc = rc != 0 ? rc : gfsi_web_start(m, err);
    rc = rc != 0 ? rc : gfs_rpc_server_start(m->rpc, err);
    if (rc == 0 && pthread_create(&m->clerk, NULL, clerk_main, m) != 0) {
        rc = gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }

    if (rc != 0) {
        gfs_master_stop(m, 0);
        return rc;
    }

    m->clerk_runs = true;
    rc = gfsi_rejoin_start(m, err);
    if (rc != 0) {
        gfs_master_stop(m, 0);
        return rc;
    }

    gfs_info(GFSI_LOG, "started", "rpc=%s raft=%s id=%" PRIu64 " masters=%zu cluster=%s", self->rpc,
             self->raft, m->members.self, m->members.n, GFS_Q(m->cluster));
    return 0;
}

/* ---- stop ----------------------------------------------------------------------------------- */

static uint32_t time_left(int64_t deadline)
{
    int64_t now = gfs_clock_mono();

    return deadline <= now ? 0 : (uint32_t)((deadline - now) / GFS_NS_PER_MS);
}

/* Leadership first, while this master serves on; from then on it answers with its successor's name.
 * Then Raft; then origins, so that nobody waits for one; then the calls that are left; then what
 * they used. */
void gfs_master_stop(struct gfs_master *m, uint32_t timeout_ms)
{
    int64_t deadline = gfs_clock_mono() + timeout_ms * GFS_NS_PER_MS;
    int64_t soon = gfs_clock_mono() + DRAIN_AT_LEAST;

    (void)pthread_mutex_lock(&m->mutex);
    if (m->stopped) {
        (void)pthread_mutex_unlock(&m->mutex);
        return;
    }

    m->stopped = true;
    (void)pthread_cond_broadcast(&m->changed);
    (void)pthread_mutex_unlock(&m->mutex);

    gfsi_journal_hand_over(m, timeout_ms);
    atomic_store(&m->stopping, true);
    gfsi_journal_stop(m, time_left(deadline));
    if (m->origins != NULL) {
        gfsi_origins_cancel(m->origins);
    }

    if (m->rpc != NULL) {
        gfs_rpc_server_stop(m->rpc, timeout_ms == 0 ? 0 : deadline > soon ? deadline : soon);
    }

    if (m->clerk_runs) {
        (void)pthread_join(m->clerk, NULL);
    }
    gfsi_rejoin_join(m);

    m->web = gfs_http_free(m->web);
    /* A load ends by handing its requests to the readers' pool, so that one goes last. */
    gfsi_pool_free(m->ufs_pool);
    gfsi_pool_free(m->pool);
    m->rpc = gfs_rpc_server_free(m->rpc);
    gfsi_loader_free(m->loader);
    gfsi_origins_free(m->origins);
    gfsi_registry_free(m->registry);
    gfsi_journal_close(m, timeout_ms > 0);
    m->ufs_pool = NULL;
    m->pool = NULL;
    m->loader = NULL;
    m->origins = NULL;
    m->registry = NULL;
    if (m->clerk_runs) { /* it had started */
        m->clerk_runs = false;
        gfs_info(GFSI_LOG, "stopped", "id=%" PRIu64, m->members.self);
    }
}

struct gfs_master *gfs_master_free(struct gfs_master *m)
{
    if (m == NULL) {
        return NULL;
    }

    gfs_master_stop(m, 0);
    m->metrics = gfs_metrics_free(m->metrics);
    free_opts(&m->opts);
    (void)pthread_cond_destroy(&m->changed);
    (void)pthread_mutex_destroy(&m->mutex);
    free(m);
    return NULL;
}

/* ---- looking -------------------------------------------------------------------------------- */

bool gfs_master_is_leader(const struct gfs_master *m)
{
    return m->node != NULL && raft_node_is_leader(m->node);
}

const char *gfs_master_leader(const struct gfs_master *m, char *buf, size_t size)
{
    if (gfs_str_copy(buf, size, gfsi_leader_address(m)) != 0 && size > 0) {
        buf[0] = '\0';
    }

    return buf;
}

int gfs_master_wait_leader(struct gfs_master *m, bool self, int64_t timeout_ms)
{
    int64_t deadline = gfs_clock_mono() + timeout_ms * GFS_NS_PER_MS;

    for (;;) {
        int64_t now = gfs_clock_mono();

        if (self ? gfs_master_is_leader(m) : *gfsi_leader_address(m) != '\0') {
            return 0;
        }

        if (now >= deadline) {
            return GFS_ETIMEOUT;
        }

        /* Being able to serve comes a commit after the election and is not announced. */
        gfs_clock_sleep_until(now + 2 * GFS_NS_PER_MS);
    }
}
