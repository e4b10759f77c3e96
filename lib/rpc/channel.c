/* Life of a channel. */
#include "mux_priv.h"
#include "mux_wire.h"

#include <stdio.h>
#include <stdlib.h>

#include <grpc/grpc_security.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

/* How long a connection that does not change is looked after behind the last failed call. */
#define WATCH_NS (10 * GFS_NS_PER_S)

static void watch_completed(struct gfsi_tag *tag, bool ok);

static grpc_channel *grpc_channel_make(const char *where, const char *authority, size_t max_message)
{
    struct gfsi_args args;
    gfsi_args_init(&args, max_message);
    gfsi_args_str(&args, GRPC_ARG_DEFAULT_AUTHORITY, authority);

    /* Reconnecting is what a failover waits for. The minimum is the time one attempt may take. */
    gfsi_args_int(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
    gfsi_args_int(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
    gfsi_args_int(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
    gfsi_args_int(&args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);

    /* Retries are ours, where the deadline and the other masters are known. No proxy stands between
     * the parts of one cluster, whatever the environment says for the web. A channel is one
     * connection: two instances in a process do not share it. */
    gfsi_args_int(&args, GRPC_ARG_ENABLE_RETRIES, 0);
    gfsi_args_int(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    gfsi_args_int(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    gfsi_args_int(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);

    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(where, credentials, &args.list);
    grpc_channel_credentials_release(credentials);
    return channel;
}

int gfs_rpc_channel_new(const char *target, const struct gfs_rpc_channel_opts *opts,
                        struct gfs_rpc_channel **out, struct gfs_err *err)
{
    const struct gfs_rpc_channel_opts none = {0};
    if (opts == NULL) {
        opts = &none;
    }
    char where[GFSI_TARGET_MAX], authority[GFSI_TARGET_MAX];
    int rc = gfsi_target_resolve(target, opts->hosts, where, sizeof(where), authority,
                                 sizeof(authority), err);
    if (rc < 0) {
        return rc;
    }
    struct gfs_rpc_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (gfs_str_copy(channel->target, sizeof(channel->target), target) < 0) {
        free(channel);
        return gfs_err_set(err, GFS_ENAMETOOLONG, "address '%.64s...' is too long", target);
    }

    channel->max_message = opts->max_message != 0 ? opts->max_message : GFS_RPC_MAX_MESSAGE;
    channel->wait_for_ready = opts->wait_for_ready;
    channel->watch_tag.fn = watch_completed;
    channel->max_async = opts->max_async != 0 ? opts->max_async : 1024;
    if (opts->multiplex && channel->max_message >= GFSI_MUX_MESSAGE_MAX) {
        channel->mux = gfsi_mux_new(channel);
    }
    gfs_rpc_init();
    rc = gfsi_loop_init(&channel->loop, err);
    if (rc < 0) {
        gfs_rpc_shutdown();
        gfsi_mux_free(channel->mux);
        free(channel);
        return rc;
    }
    if (channel->mux != NULL) {
        channel->loop.tick = gfsi_mux_tick;
        channel->loop.tick_arg = channel->mux;
    }
    channel->grpc = grpc_channel_make(where, opts->authority != NULL ? opts->authority : authority,
                                      channel->max_message);
    pthread_mutex_init(&channel->mutex, NULL);
    pthread_cond_init(&channel->idle, NULL);
    *out = channel;
    return 0;
}

void gfs_rpc_channel_close(struct gfs_rpc_channel *channel)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&channel->mutex);
    channel->closed = true;
    for (struct gfsi_inflight *i = channel->inflight; i != NULL; i = i->next) {
        (void)grpc_call_cancel(i->grpc, NULL);
    }
}

struct gfs_rpc_channel *gfs_rpc_channel_free(struct gfs_rpc_channel *channel)
{
    if (channel == NULL) {
        return NULL;
    }
    GFS_ASSERT(!gfsi_loop_is_current(&channel->loop));
    gfs_rpc_channel_close(channel);

    (void)pthread_mutex_lock(&channel->mutex);
    while (channel->n_async > 0) {
        pthread_cond_wait(&channel->idle, &channel->mutex);
    }
    GFS_ASSERT(channel->inflight == NULL);
    (void)pthread_mutex_unlock(&channel->mutex);

    grpc_channel_destroy(channel->grpc); /* ends a watch, for which the loop waits */
    gfsi_loop_fini(&channel->loop);
    gfsi_mux_free(channel->mux);
    for (unsigned i = 0; i < channel->n_queues; i++) {
        grpc_completion_queue_shutdown(channel->queues[i]);
        (void)grpc_completion_queue_pluck(channel->queues[i], NULL,
                                          gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(channel->queues[i]);
    }
    gfs_rpc_shutdown();
    pthread_mutex_destroy(&channel->mutex);
    pthread_cond_destroy(&channel->idle);
    free(channel);
    return NULL;
}

const char *gfs_rpc_channel_target(const struct gfs_rpc_channel *channel)
{
    return channel->target;
}

int gfsi_channel_begin(struct gfs_rpc_channel *channel, struct gfsi_inflight *inflight,
                       const char *path, int64_t deadline, grpc_completion_queue *cq,
                       struct gfs_err *err)
{
    /* gRPC would start such a call, and might even get its answer before it looks at the clock. */
    if (deadline <= gfs_clock_mono()) {
        return gfs_err_set(err, GFS_ETIMEOUT, "the deadline passed before the call to %s",
                           channel->target);
    }

    grpc_slice method = grpc_slice_from_copied_string(path);
    grpc_call *call = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, cq,
                                               method, NULL, gfsi_deadline_to_gpr(deadline), NULL);
    grpc_slice_unref(method);

    (void)pthread_mutex_lock(&channel->mutex);
    const bool closed = channel->closed;
    if (!closed) {
        *inflight = (struct gfsi_inflight){.grpc = call, .next = channel->inflight};
        if (inflight->next != NULL) {
            inflight->next->prev = inflight;
        }
        channel->inflight = inflight;
    }
    (void)pthread_mutex_unlock(&channel->mutex);
    if (closed) {
        grpc_call_unref(call);
        return gfs_err_set(err, GFS_ECANCELLED, "the channel to %s is closed", channel->target);
    }
    return 0;
}

void gfsi_channel_end(struct gfs_rpc_channel *channel, struct gfsi_inflight *inflight)
{
    (void)pthread_mutex_lock(&channel->mutex);
    *(inflight->prev != NULL ? &inflight->prev->next : &channel->inflight) = inflight->next;
    if (inflight->next != NULL) {
        inflight->next->prev = inflight->prev;
    }
    (void)pthread_mutex_unlock(&channel->mutex);
    grpc_call_unref(GFS_TAKE_PTR(inflight->grpc));
}

/* Under the mutex. */
static int start_thread(struct gfs_rpc_channel *channel, struct gfs_err *err)
{
    return channel->loop.n_threads > 0 ? 0 : gfsi_loop_start(&channel->loop, 1, "client", err);
}

int gfsi_channel_enter_async(struct gfs_rpc_channel *channel, struct gfs_err *err)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&channel->mutex);
    if (channel->closed) {
        return gfs_err_set(err, GFS_ECANCELLED, "the channel to %s is closed", channel->target);
    }
    if (channel->n_async >= channel->max_async) {
        return gfs_err_set(err, GFS_EBUSY, "%u calls to %s are in flight", channel->n_async,
                           channel->target);
    }
    const int rc = start_thread(channel, err);
    if (rc < 0) {
        return rc;
    }
    channel->n_async++;
    return 0;
}

/* Waits for the connection's next state, on the channel's thread, unless it is there or the channel
 * is closed. Under the mutex, which keeps the gRPC channel alive. */
static void watch(struct gfs_rpc_channel *channel)
{
    const grpc_connectivity_state state =
        channel->closed ? GRPC_CHANNEL_SHUTDOWN
                        : grpc_channel_check_connectivity_state(channel->grpc, 1);
    channel->watching = state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_SHUTDOWN;
    if (channel->watching) {
        grpc_channel_watch_connectivity_state(channel->grpc, state,
                                              gfsi_deadline_to_gpr(gfs_clock_mono() + WATCH_NS),
                                              channel->loop.cq, gfsi_tag_arm(&channel->watch_tag));
    }
}

static void watch_completed(struct gfsi_tag *tag, bool ok)
{
    struct gfs_rpc_channel *channel = gfsi_container_of(tag, struct gfs_rpc_channel, watch_tag);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&channel->mutex);
    if (ok) {
        watch(channel);
    } else {
        channel->watching = false; /* nothing changed: the next failed call begins again */
    }
}

void gfsi_channel_reconnect(struct gfs_rpc_channel *channel)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&channel->mutex);
    if (!channel->closed && !channel->watching && start_thread(channel, NULL) == 0) {
        watch(channel);
    }
}

void gfsi_channel_leave_async(struct gfs_rpc_channel *channel)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&channel->mutex);
    if (--channel->n_async == 0) {
        pthread_cond_broadcast(&channel->idle);
    }
}
