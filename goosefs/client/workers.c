/* The list of live workers, refreshed by a thread of its own: a read never waits for a master, but
 * for the first list. */
#include "client_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define REFRESH_NS (5 * GFS_NS_PER_S)
#define PAUSE_NS   (200 * GFS_NS_PER_MS) /* between refreshes that readers ask for */

static struct gfsi_worker *worker_new(const struct gfs_client *client,
                                      const Goosefs__V1__WorkerInfo *info)
{
    struct gfsi_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL ||
        gfs_str_copy(worker->address, sizeof(worker->address), info->data_address) < 0) {
        free(worker);
        return NULL;
    }
    if (info->local_socket != NULL &&
        gfs_str_copy(worker->local_socket, sizeof(worker->local_socket), info->local_socket) < 0) {
        worker->local_socket[0] = '\0'; /* no socket can have that name */
    }
    worker->id = info->id;
    worker->hosts = client->hosts;
    worker->max_conns = client->worker_connections;
    worker->refs = 1;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->changed, &attr);
    pthread_condattr_destroy(&attr);
    return worker;
}

static struct gfsi_worker *worker_ref(struct gfsi_worker *worker)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    worker->refs++;
    return worker;
}

static void worker_unref(struct gfsi_worker *worker)
{
    (void)pthread_mutex_lock(&worker->mutex);
    const bool last = --worker->refs == 0;
    (void)pthread_mutex_unlock(&worker->mutex);
    if (!last) {
        return;
    }
    gfsi_conn_drop_idle(worker);
    GFS_ASSERT_EQ(worker->n_conns, 0);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->changed);
    free(worker);
}

static void list_free(struct gfsi_workers *workers)
{
    for (size_t i = 0; i < workers->n; i++) {
        worker_unref(workers->list[i]);
    }
    free(workers->list);
    free(workers->ids);
    free(workers);
}

void gfsi_workers_release(struct gfs_client *client, struct gfsi_workers *workers)
{
    (void)pthread_mutex_lock(&client->mutex);
    const bool last = --workers->refs == 0;
    (void)pthread_mutex_unlock(&client->mutex);
    if (last) {
        list_free(workers);
    }
}

/* The worker as the present list has it, with its connections, or a new one. */
static struct gfsi_worker *same_or_new(const struct gfs_client *client,
                                       const struct gfsi_workers *present,
                                       const Goosefs__V1__WorkerInfo *info)
{
    for (size_t i = 0; present != NULL && i < present->n; i++) {
        struct gfsi_worker *worker = present->list[i];
        if (worker->id == info->id && strcmp(worker->address, info->data_address) == 0 &&
            strcmp(worker->local_socket, info->local_socket) == 0) {
            return worker_ref(worker);
        }
    }
    return worker_new(client, info);
}

static struct gfsi_workers *list_make(const struct gfs_client *client,
                                      const struct gfsi_workers *present,
                                      const Goosefs__V1__ListWorkersResponse *response)
{
    struct gfsi_workers *workers = calloc(1, sizeof(*workers));
    if (workers == NULL) {
        return NULL;
    }
    workers->refs = 1;
    workers->list = calloc(response->n_workers + 1, sizeof(struct gfsi_worker *));
    workers->ids = calloc(response->n_workers + 1, sizeof(*workers->ids));
    if (workers->list == NULL || workers->ids == NULL) {
        list_free(workers);
        return NULL;
    }
    for (size_t i = 0; i < response->n_workers && workers->n < GFS_CLIENT_WORKERS_MAX; i++) {
        const Goosefs__V1__WorkerInfo *info = response->workers[i];
        struct gfsi_worker *worker =
            info->live && info->data_address[0] != '\0' ? same_or_new(client, present, info) : NULL;
        if (worker != NULL) {
            workers->ids[workers->n] = worker->id;
            workers->list[workers->n++] = worker;
        }
    }
    return workers;
}

/* Puts a new list in place. One without workers does not replace one that has some: a master that
 * just started has not heard of any yet. */
static void install(struct gfs_client *client, const Goosefs__V1__ListWorkersResponse *response)
{
    (void)pthread_mutex_lock(&client->mutex);
    struct gfsi_workers *present = client->workers;
    if (present != NULL) {
        present->refs++;
    }
    (void)pthread_mutex_unlock(&client->mutex);

    struct gfsi_workers *workers = list_make(client, present, response);
    if (workers != NULL && workers->n > 0) {
        (void)pthread_mutex_lock(&client->mutex);
        client->workers = workers;
        pthread_cond_broadcast(&client->changed);
        (void)pthread_mutex_unlock(&client->mutex);
        if (present != NULL) {
            gfsi_workers_release(client, present); /* the client's own reference */
        }
    } else if (workers != NULL) {
        list_free(workers);
    }
    if (present != NULL) {
        gfsi_workers_release(client, present);
    }
}

/* Waits for the next refresh to be due or wanted; false when the client is closed. */
static bool refresh_due(struct gfs_client *client, int64_t last)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    for (;;) {
        const bool soon = client->refresh_wanted || client->workers == NULL;
        const int64_t due = last + (soon ? PAUSE_NS : REFRESH_NS);
        if (client->closed || gfs_clock_mono() >= due) {
            client->refresh_wanted = false;
            return !client->closed;
        }
        const struct timespec ts = {.tv_sec = due / GFS_NS_PER_S, .tv_nsec = due % GFS_NS_PER_S};
        (void)pthread_cond_timedwait(&client->changed, &client->mutex, &ts);
    }
}

static void *refresh(void *arg)
{
    struct gfs_client *client = arg;
    int64_t last = gfs_clock_mono() - REFRESH_NS;
    while (refresh_due(client, last)) {
        last = gfs_clock_mono();
        const Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
        Goosefs__V1__ListWorkersResponse *response = NULL;
        struct gfs_err err = GFS_ERR_INIT;
        const int rc =
            gfs_client_list_workers(client, &request, &response, last + client->retry_ns, &err);
        if (rc < 0) {
            gfs_debug("client", "no list of workers", "error=%s", err.text);
            continue;
        }
        install(client, response);
        goosefs__v1__list_workers_response__free_unpacked(response, NULL);
    }
    return NULL;
}

void gfsi_workers_want_refresh(struct gfs_client *client)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    client->refresh_wanted = true;
    pthread_cond_broadcast(&client->changed);
}

struct gfsi_workers *gfsi_workers_get(struct gfs_client *client, int64_t deadline,
                                      struct gfs_err *err)
{
    const struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S,
                                .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    if (!client->refresher_started && !client->closed) {
        const int rc = pthread_create(&client->refresher, NULL, refresh, client);
        if (rc != 0) {
            (void)gfs_err_set_errno(err, rc, "cannot start a thread");
            return NULL;
        }
        client->refresher_started = true;
    }
    while (client->workers == NULL && !client->closed && gfs_clock_mono() < deadline) {
        (void)pthread_cond_timedwait(&client->changed, &client->mutex, &ts);
    }

    if (client->closed) {
        (void)gfs_err_set(err, GFS_ECANCELLED, "the client is closed");
        return NULL;
    }
    if (client->workers == NULL) {
        (void)gfs_err_set(err, GFS_EUNAVAIL, "no worker is known to the masters");
        return NULL;
    }
    client->workers->refs++;
    return client->workers;
}

void gfsi_workers_stop(struct gfs_client *client)
{
    if (client->refresher_started) {
        (void)pthread_join(client->refresher, NULL);
    }
    if (client->workers != NULL) {
        GFS_ASSERT_EQ(client->workers->refs, 1);
        list_free(GFS_TAKE_PTR(client->workers));
    }
}
