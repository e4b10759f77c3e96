/* Life of a client. */
#include "client_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define DEFAULT_RETRY_NS    (120 * GFS_NS_PER_S)
#define DEFAULT_TRY_NS      (5 * GFS_NS_PER_S)
#define DEFAULT_CONNECTIONS 32
#define CONNECTIONS_MAX     256

static int add_master(struct gfs_client *client, const char *address, size_t len,
                      struct gfs_err *err)
{
    if (client->n_masters >= GFS_CLIENT_MASTERS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "more than %d master addresses",
                           GFS_CLIENT_MASTERS_MAX);
    }
    struct gfsi_master *master = &client->masters[client->n_masters];
    if (len >= sizeof(master->address)) {
        return gfs_err_set(err, GFS_EINVAL, "a master address is longer than %zu bytes",
                           sizeof(master->address) - 1);
    }
    memcpy(master->address, address, len);
    master->address[len] = '\0';

    const struct gfs_rpc_channel_opts opts = {
        .hosts = client->hosts, .max_message = 16u << 20, .multiplex = true};
    const int rc = gfs_rpc_channel_new(master->address, &opts, &master->channel, err);
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "master address");
    }
    client->n_masters++;
    return 0;
}

static int parse_masters(struct gfs_client *client, const char *masters, struct gfs_err *err)
{
    const char *p = masters != NULL ? masters : "";
    while (*p != '\0') {
        p += strspn(p, ", ");
        const size_t len = strcspn(p, ", ");
        if (len > 0) {
            const int rc = add_master(client, p, len, err);
            if (rc < 0) {
                return rc;
            }
        }
        p += len;
    }
    return client->n_masters > 0
               ? 0
               : gfs_err_set(err, GFS_EINVAL,
                             "no master address is given (goosefs.master.rpc.addresses)");
}

static void add_metrics(struct gfs_client *client, struct gfs_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    client->retries =
        gfs_metrics_get(metrics, GFS_METRIC_COUNTER, "goosefs_client_master_retries_total", "",
                        "Calls to masters that were tried again");
    client->read_bytes =
        gfs_metrics_get(metrics, GFS_METRIC_COUNTER, "goosefs_client_read_bytes_total", "",
                        "Bytes read from workers");
    client->read_failovers =
        gfs_metrics_get(metrics, GFS_METRIC_COUNTER, "goosefs_client_read_failovers_total", "",
                        "Reads that went to another worker than the first");
}

int gfs_client_new(const struct gfs_client_opts *opts, struct gfs_client **out, struct gfs_err *err)
{
    if (opts->worker_connections > CONNECTIONS_MAX || opts->retry_ns < 0 || opts->try_ns < 0) {
        return gfs_err_set(err, GFS_EINVAL, "client option out of range");
    }
    struct gfs_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    client->hosts = opts->hosts;
    client->retry_ns = opts->retry_ns != 0 ? opts->retry_ns : DEFAULT_RETRY_NS;
    client->try_ns = opts->try_ns != 0 ? opts->try_ns : DEFAULT_TRY_NS;
    client->worker_connections =
        opts->worker_connections != 0 ? opts->worker_connections : DEFAULT_CONNECTIONS;
    client->budget = (struct gfs_rpc_retry_budget)GFS_RPC_RETRY_BUDGET_INIT;
    pthread_mutex_init(&client->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&client->changed, &attr);
    pthread_condattr_destroy(&attr);

    const int rc = parse_masters(client, opts->masters, err);
    if (rc < 0) {
        gfs_client_free(client);
        return rc;
    }
    add_metrics(client, opts->metrics);
    /* Readers spread over the masters. */
    unsigned seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
        seed = (unsigned)gfs_clock_mono();
    }
    client->reader = seed % client->n_masters;
    *out = client;
    return 0;
}

void gfs_client_close(struct gfs_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    client->closed = true;
    pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->mutex);
    for (unsigned i = 0; i < client->n_masters; i++) {
        gfs_rpc_channel_close(client->masters[i].channel);
    }
}

struct gfs_client *gfs_client_free(struct gfs_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    gfs_client_close(client);
    gfsi_workers_stop(client);
    for (unsigned i = 0; i < client->n_masters; i++) {
        gfs_rpc_channel_free(client->masters[i].channel);
    }
    gfs_hosts_free(client->own_hosts);
    pthread_mutex_destroy(&client->mutex);
    pthread_cond_destroy(&client->changed);
    free(client);
    return NULL;
}

size_t gfs_client_n_masters(const struct gfs_client *client)
{
    return client->n_masters;
}

const char *gfs_client_master(const struct gfs_client *client, size_t i)
{
    GFS_ASSERT_LT(i, client->n_masters);
    return client->masters[i].address;
}

void gfs_client_operation_id(uint8_t out[GFS_CLIENT_OPERATION_ID])
{
    /* Up to 256 bytes come whole and are not interrupted once the pool is ready. */
    while (getrandom(out, GFS_CLIENT_OPERATION_ID, 0) != GFS_CLIENT_OPERATION_ID) {
        GFS_ASSERT_EQ(errno, EINTR);
    }
}

int64_t gfsi_client_deadline(const struct gfs_client *client, int64_t deadline)
{
    return deadline != 0 ? deadline : gfs_clock_mono() + client->retry_ns;
}

bool gfsi_client_closed(struct gfs_client *client)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    return client->closed;
}

bool gfsi_client_sleep(struct gfs_client *client, int64_t until)
{
    const struct timespec ts = {.tv_sec = until / GFS_NS_PER_S, .tv_nsec = until % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    while (!client->closed && gfs_clock_mono() < until) {
        (void)pthread_cond_timedwait(&client->changed, &client->mutex, &ts);
    }
    return !client->closed;
}
