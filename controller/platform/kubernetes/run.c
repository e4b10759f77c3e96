/* Informers, workers, election: what keeps the controllers running. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/metrics.h>
#include <gfs/http/http.h>
#include <gfs/kube/config.h>
#include <gfs/kube/lease.h>
#include <gfs/rpc/rpc.h>

#include "platform/kubernetes/kube_priv.h"

#define RUNTIME_WORKERS 4
#define KEYS_MAX        10000
#define BACKOFF_NS      (500 * GFS_NS_PER_MS)
#define BACKOFF_MAX_NS  (30 * GFS_NS_PER_S)
#define THREADS_MAX     (RUNTIME_WORKERS + 3)

struct runner {
    struct gfsi_kube kube;
    struct gfs_metrics *metrics;
    struct gfs_http *http;
    struct gfs_kube_elector *elector;
    pthread_t threads[THREADS_MAX];
    size_t n_threads;
    int signal_fd;
    int leading_fd; /* eventfd: +1 leadership won, +16 lost */
};

/* ---- workers ---- */

typedef int64_t (*reconcile_fn)(struct gfsi_kube *k, const char *key, struct gfs_err *err);

static void serve(struct gfsi_kube *k, struct gfs_kube_queue *queue, reconcile_fn reconcile)
{
    char key[GFS_KUBE_KEY_MAX];

    while (gfs_kube_queue_take(queue, key, sizeof(key))) {
        struct gfs_err err = GFS_ERR_INIT;
        int64_t next = reconcile(k, key, &err);

        if (next == GFS_EABORTED) {
            /* Our copy was behind: the change that made it so is on its way. */
            (void)gfs_kube_queue_retry(queue, key);
        } else if (next < 0) {
            gfs_warn("kubernetes", "round failed", "key=%s error=%s", key,
                     GFS_Q(gfs_err_text(&err, (int)next)));
            (void)gfs_kube_queue_retry(queue, key);
        } else {
            gfs_kube_queue_forget(queue, key);
            if (next > 0) {
                (void)gfs_kube_queue_add_after(queue, key, next);
            }
        }
        gfs_kube_queue_done(queue, key);
    }
}

static void *dataset_thread(void *arg)
{
    struct gfsi_kube *k = arg;

    serve(k, k->datasets, gfsi_kube_reconcile_dataset);
    return NULL;
}

static void *runtime_thread(void *arg)
{
    struct gfsi_kube *k = arg;

    serve(k, k->runtimes, gfsi_kube_reconcile_runtime);
    return NULL;
}

static void *node_thread(void *arg)
{
    struct gfsi_kube *k = arg;

    serve(k, k->nodes, gfsi_kube_reconcile_node);
    return NULL;
}

static void *load_thread(void *arg)
{
    struct gfsi_kube *k = arg;
    char key[GFS_KUBE_KEY_MAX];

    while (gfs_kube_queue_take(k->loads, key, sizeof(key))) {
        gfsi_kube_load(k, key);
        gfs_kube_queue_done(k->loads, key);
    }

    return NULL;
}

static int start_thread(struct runner *r, void *(*fn)(void *), struct gfs_err *err)
{
    int errnum = pthread_create(&r->threads[r->n_threads], NULL, fn, &r->kube);

    if (errnum != 0) {
        return gfs_err_set_errno(err, errnum, "can't start a thread");
    }

    r->n_threads++;
    return 0;
}

static int start_work(struct runner *r, struct gfs_err *err)
{
    struct gfsi_kube *k = &r->kube;
    int rc = gfsi_kube_watch(k, err);

    if (rc == 0 && k->datasets != NULL) {
        rc = start_thread(r, dataset_thread, err);
    }
    for (int i = 0; rc == 0 && k->runtimes != NULL && i < RUNTIME_WORKERS; i++) {
        rc = start_thread(r, runtime_thread, err);
    }
    if (rc == 0 && k->loads != NULL) {
        rc = start_thread(r, load_thread, err);
    }
    if (rc == 0 && k->nodes != NULL) {
        rc = start_thread(r, node_thread, err);
    }
    if (rc == 0) {
        gfs_info("kubernetes", "working", "datasets=%zu runtimes=%zu",
                 gfs_kube_informer_count(k->informers[GFSI_KUBE_DATASETS]),
                 gfs_kube_informer_count(k->informers[GFSI_KUBE_RUNTIMES]));
    }

    return rc;
}

static void stop_queue(struct gfs_kube_queue *queue)
{
    if (queue != NULL) {
        gfs_kube_queue_stop(queue);
    }
}

static void stop_work(struct runner *r)
{
    struct gfsi_kube *k = &r->kube;

    stop_queue(k->datasets);
    stop_queue(k->runtimes);
    stop_queue(k->loads);
    stop_queue(k->nodes);
    {
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

        k->stopping = true;
        if (k->loading != NULL) {
            gfs_client_close(k->loading);
        }
    }
    for (size_t i = 0; i < r->n_threads; i++) {
        (void)pthread_join(r->threads[i], NULL);
    }
    r->n_threads = 0;
}

/* ---- election ---- */

static void on_leading(void *arg, bool leading)
{
    const struct runner *r = arg;
    uint64_t add = leading ? 1 : 16;

    if (write(r->leading_fd, &add, sizeof(add)) < 0) {
        gfs_error("kubernetes", "can't tell of leadership", "errno=%d", errno);
    }
}

static int start_election(struct runner *r, struct gfs_err *err)
{
    const struct gfs_kubernetes_opts *o = &r->kube.opts;
    const struct gfs_kube_lease_opts lease = {
        .ns = o->lease_ns,
        .name = (o->controllers & GFS_CONTROLLER_RUNTIME) != 0 ? "goosefs.data.fluid.io"
                                                               : "dataset.data.fluid.io",
        .identity = o->identity,
    };

    if (!o->leader_elect) {
        on_leading(r, true);
        return 0;
    }

    return gfs_kube_elector_start(r->kube.client, &lease, on_leading, r, &r->elector, err);
}

/* Until a signal comes or leadership goes. */
static int wait_for_end(struct runner *r, struct gfs_err *err)
{
    struct pollfd fds[] = {{.fd = r->signal_fd, .events = POLLIN},
                           {.fd = r->leading_fd, .events = POLLIN}};
    bool working = false;

    for (;;) {
        uint64_t news = 0;

        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return gfs_err_set_errno(err, errno, "poll");
        }
        if ((fds[0].revents & POLLIN) != 0) {
            return 0;
        }
        if ((fds[1].revents & POLLIN) == 0 ||
            read(r->leading_fd, &news, sizeof(news)) != sizeof(news)) {
            continue;
        }
        if (news >= 16) {
            return gfs_err_set(err, GFS_EABORTED, "leadership lost");
        }
        if (!working) {
            int rc = start_work(r, err);

            if (rc < 0) {
                return rc;
            }
            working = true;
        }
    }
}

/* ---- life ---- */

/* Answering is enough: a replica that waits for the Lease is as healthy as the one that has it. */
static bool healthy(struct gfs_buf *reason, void *user)
{
    (void)reason;
    (void)user;
    return true;
}

static int start_http(struct runner *r, struct gfs_err *err)
{
    if (r->kube.opts.metrics_addr[0] == '\0') {
        return 0;
    }

    r->http = gfs_http_new();
    if (r->http == NULL || gfs_http_route_metrics(r->http, r->metrics) < 0 ||
        gfs_http_route_health(r->http, "/healthz", healthy, r) < 0) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    return gfs_http_start(r->http, r->kube.opts.metrics_addr, err);
}

static int open_client(struct runner *r, struct gfs_err *err)
{
    struct gfs_kube_config config = {0};
    const struct gfs_kube_client_opts opts = {
        .user_agent = "fluid-controller",
        .qps = 50,
        .burst = 100,
        .connections = 32, /* one per watch, and the workers' */
        .metrics = r->metrics,
    };
    int rc = gfs_kube_config_default(r->kube.opts.kubeconfig, &config, err);

    if (rc == 0) {
        rc = gfs_kube_client_new(&config, &opts, &r->kube.client, err);
    }
    gfs_kube_config_fini(&config);
    return rc;
}

static int make_queues(struct gfsi_kube *k, struct gfs_err *err)
{
    bool runtimes = (k->opts.controllers & GFS_CONTROLLER_RUNTIME) != 0;
    bool datasets = (k->opts.controllers & GFS_CONTROLLER_DATASET) != 0;

    if (datasets) {
        k->datasets = gfs_kube_queue_new(KEYS_MAX, BACKOFF_NS, BACKOFF_MAX_NS);
    }
    if (runtimes) {
        k->runtimes = gfs_kube_queue_new(KEYS_MAX, BACKOFF_NS, BACKOFF_MAX_NS);
        k->loads = gfs_kube_queue_new(KEYS_MAX, BACKOFF_NS, BACKOFF_MAX_NS);
        k->nodes = gfs_kube_queue_new(KEYS_MAX, BACKOFF_NS, BACKOFF_MAX_NS);
    }
    k->recorder = gfs_kube_recorder_new(k->client, runtimes ? "GooseFSRuntime" : "Dataset");

    bool fine = k->recorder != NULL && (!datasets || k->datasets != NULL) &&
                (!runtimes || (k->runtimes != NULL && k->loads != NULL && k->nodes != NULL));

    return fine ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");
}

static void fini(struct runner *r)
{
    struct gfsi_kube *k = &r->kube;

    stop_work(r);
    r->elector = gfs_kube_elector_stop(r->elector);
    if (k->client != NULL) {
        gfs_kube_client_cancel(k->client);
    }
    for (size_t i = 0; i < GFSI_KUBE_KINDS; i++) {
        if (k->informers[i] != NULL) {
            gfs_kube_informer_stop(k->informers[i]);
            k->informers[i] = gfs_kube_informer_free(k->informers[i]);
        }
    }
    while (k->pairs != NULL) {
        gfsi_kube_pair_drop(k, k->pairs->key);
    }
    r->http = gfs_http_free(r->http);
    k->recorder = gfs_kube_recorder_free(k->recorder);
    k->datasets = gfs_kube_queue_free(k->datasets);
    k->runtimes = gfs_kube_queue_free(k->runtimes);
    k->loads = gfs_kube_queue_free(k->loads);
    k->nodes = gfs_kube_queue_free(k->nodes);
    k->client = gfs_kube_client_free(k->client);
    r->metrics = gfs_metrics_free(r->metrics);
    (void)pthread_mutex_destroy(&k->mutex);
    if (r->signal_fd >= 0) {
        (void)close(r->signal_fd);
    }
    if (r->leading_fd >= 0) {
        (void)close(r->leading_fd);
    }
}

/* A pool of memory for each thread, and large pieces that stay in one once the library has learned
 * their size, took a third more with a hundred data sets. Settings of the whole process, the same
 * each time. */
static void settle_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

int gfs_kubernetes_run(const struct gfs_kubernetes_opts *opts, struct gfs_err *err)
{
    struct runner r = {.kube = {.opts = *opts}, .signal_fd = -1, .leading_fd = -1};
    sigset_t signals;

    (void)pthread_mutex_init(&r.kube.mutex, NULL);
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    settle_malloc();
    gfs_rpc_init();
    r.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    r.leading_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r.metrics = gfs_metrics_new();

    int rc = r.signal_fd >= 0 && r.leading_fd >= 0 && r.metrics != NULL
                 ? open_client(&r, err)
                 : gfs_err_set_errno(err, errno, "can't start");

    if (rc == 0) {
        rc = make_queues(&r.kube, err);
    }
    if (rc == 0) {
        rc = start_http(&r, err);
    }
    if (rc == 0) {
        rc = start_election(&r, err);
    }
    if (rc == 0) {
        rc = wait_for_end(&r, err);
    }

    gfs_info("kubernetes", "stopping", "code=%d", rc);
    fini(&r);
    gfs_rpc_shutdown();
    return rc;
}
