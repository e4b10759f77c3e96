/* Life of a server: listeners, accepting, drain. */
#include "server_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <grpc/grpc_security.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define THREADS_MAX 64

/* A standing request for the next incoming call. */
struct gfsi_slot {
    struct gfsi_tag tag;
    struct gfs_rpc_server *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

static void shutdown_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct gfs_rpc_server *server = gfsi_container_of(tag, struct gfs_rpc_server, shutdown_tag);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    server->shutdown_done = true;
    pthread_cond_broadcast(&server->changed);
}

static grpc_server *grpc_server_make(size_t max_message, unsigned max_calls)
{
    struct gfsi_args args;
    gfsi_args_init(&args, max_message);
    gfsi_args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    gfsi_args_int(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)max_calls);
    /* Our own clients ping; others may ping as they like, they only cost what a call costs. */
    gfsi_args_int(&args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
    gfsi_args_int(&args, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    gfsi_args_int(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000);
    return grpc_server_create(&args.list, NULL);
}

int gfs_rpc_server_new(const struct gfs_rpc_server_opts *opts, struct gfs_rpc_server **out,
                       struct gfs_err *err)
{
    const struct gfs_rpc_server_opts none = {0};
    if (opts == NULL) {
        opts = &none;
    }
    if (opts->n_threads > THREADS_MAX || opts->max_message > INT32_MAX / 2 ||
        opts->max_calls > INT32_MAX || (opts->multiplex && opts->strict_text)) {
        return gfs_err_set(err, GFS_EINVAL, "server option out of range");
    }

    struct gfs_rpc_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    (void)snprintf(server->name, sizeof(server->name), "%.9s",
                   opts->name != NULL ? opts->name : "rpc");
    server->max_message = opts->max_message != 0 ? opts->max_message : GFS_RPC_MAX_MESSAGE;
    server->n_threads = opts->n_threads != 0 ? opts->n_threads : 2;
    server->max_calls = opts->max_calls != 0 ? opts->max_calls : 4096;
    server->multiplex = opts->multiplex;
    server->strict_text = opts->strict_text;
    server->metrics = opts->metrics;
    server->shutdown_tag.fn = shutdown_completed;
    atomic_init(&server->refs, 1);
    atomic_init(&server->n_running, 0);

    gfs_rpc_init();
    const int rc = gfsi_loop_init(&server->loop, err);
    if (rc < 0) {
        gfs_rpc_shutdown();
        free(server);
        return rc;
    }
    server->grpc = grpc_server_make(server->max_message, server->max_calls);
    grpc_server_register_completion_queue(server->grpc, server->loop.cq, NULL);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);

    *out = server;
    return 0;
}

int gfs_rpc_server_listen(struct gfs_rpc_server *server, const char *address,
                          const struct gfs_hosts *hosts, mode_t mode, uint16_t *out_port,
                          struct gfs_err *err)
{
    GFS_ASSERT_EQ(server->state, GFSI_SERVER_NEW);
    if (server->n_listeners >= GFSI_SERVER_LISTENERS_MAX) {
        return gfs_err_set(err, GFS_ERANGE, "more than %d addresses to listen on",
                           GFSI_SERVER_LISTENERS_MAX);
    }

    char where[GFSI_TARGET_MAX], unix_path[128];
    const int rc = gfsi_listen_resolve(address, hosts, where, sizeof(where), unix_path,
                                       sizeof(unix_path), err);
    if (rc < 0) {
        return rc;
    }

    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    const int port = grpc_server_add_http2_port(server->grpc, where, credentials);
    grpc_server_credentials_release(credentials);
    if (port == 0) {
        return gfs_err_set(err, GFS_EBUSY, "cannot listen on %s", address);
    }
    server->n_listeners++;
    if (unix_path[0] != '\0' && mode != 0 && chmod(unix_path, mode) < 0) {
        return gfs_err_set_errno(err, errno, "cannot set the mode of %s", unix_path);
    }

    if (out_port != NULL) {
        *out_port = unix_path[0] != '\0' ? 0 : (uint16_t)port;
    }
    return 0;
}

/* ---- accepting ---- */

static void slot_free(struct gfsi_slot *slot)
{
    grpc_call_details_destroy(&slot->details);
    grpc_metadata_array_destroy(&slot->metadata);
    free(slot);
}

/* Asks for the next call; frees the slot when the server does not take it because it is stopping.
 */
static void slot_arm(struct gfsi_slot *slot)
{
    struct gfs_rpc_server *server = slot->server;
    slot->call = NULL;
    const grpc_call_error rc =
        grpc_server_request_call(server->grpc, &slot->call, &slot->details, &slot->metadata,
                                 server->loop.cq, server->loop.cq, gfsi_tag_arm(&slot->tag));
    if (rc != GRPC_CALL_OK) {
        slot_free(slot);
    }
}

static void dispatch(struct gfs_rpc_server *server, struct gfsi_method *method,
                     const struct gfsi_incoming *incoming)
{
    if (method == NULL) {
        gfsi_call_refuse(server, incoming, GRPC_STATUS_UNIMPLEMENTED, "unknown method");
        return;
    }
    if (method->is_stream) {
        gfsi_stream_accept(server, method, incoming);
        return;
    }

    if (!gfsi_server_enter(server)) {
        gfsi_call_refuse(server, incoming, GRPC_STATUS_RESOURCE_EXHAUSTED,
                         "too many calls are running");
        return;
    }
    gfsi_call_start(server, method, incoming);
}

static void slot_filled(struct gfsi_tag *tag, bool ok)
{
    struct gfsi_slot *slot = gfsi_container_of(tag, struct gfsi_slot, tag);
    struct gfs_rpc_server *server = slot->server;
    if (!ok) {
        slot_free(slot);
        return;
    }

    const struct gfsi_incoming incoming = {
        .grpc = slot->call, .deadline = gfsi_deadline_from_gpr(slot->details.deadline)};
    struct gfsi_method *method =
        gfsi_method_find(server, (const char *)GRPC_SLICE_START_PTR(slot->details.method),
                         GRPC_SLICE_LENGTH(slot->details.method));
    grpc_call_details_destroy(&slot->details);
    grpc_metadata_array_destroy(&slot->metadata);
    grpc_call_details_init(&slot->details);
    grpc_metadata_array_init(&slot->metadata);

    (void)pthread_mutex_lock(&server->mutex);
    server->n_open++;
    (void)pthread_mutex_unlock(&server->mutex);

    /* The next caller first: a handler may take its time. */
    slot_arm(slot);
    dispatch(server, method, &incoming);
}

int gfs_rpc_server_start(struct gfs_rpc_server *server, struct gfs_err *err)
{
    GFS_ASSERT_EQ(server->state, GFSI_SERVER_NEW);
    int rc = server->multiplex ? gfsi_mux_serve(server, err) : 0;
    if (rc < 0) {
        return rc;
    }
    rc = gfsi_loop_start(&server->loop, server->n_threads, server->name, err);
    if (rc < 0) {
        return rc;
    }

    gfsi_methods_sort(server);
    server->state = GFSI_SERVER_RUNNING;
    grpc_server_start(server->grpc);
    for (unsigned i = 0; i < GFSI_SERVER_SLOTS; i++) {
        struct gfsi_slot *slot = calloc(1, sizeof(*slot));
        if (slot == NULL) {
            break; /* fewer slots serve as well, and without any no call gets in */
        }
        slot->server = server;
        slot->tag.fn = slot_filled;
        grpc_call_details_init(&slot->details);
        grpc_metadata_array_init(&slot->metadata);
        slot_arm(slot);
    }
    return gfsi_peers_start(server, err);
}

/* ---- stopping ---- */

void gfsi_server_call_closed(struct gfs_rpc_server *server)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    server->n_open--;
    if (server->n_open == 0) {
        pthread_cond_broadcast(&server->changed);
    }
}

/* Waits for the running calls until the deadline. */
static void drain(struct gfs_rpc_server *server, int64_t deadline)
{
    const struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S,
                                   .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    while (server->n_open > 0 && gfs_clock_mono() < deadline) {
        if (deadline > gfs_clock_mono() + 3600 * GFS_NS_PER_S) {
            pthread_cond_wait(&server->changed, &server->mutex);
        } else {
            pthread_cond_timedwait(&server->changed, &server->mutex, &until);
        }
    }
    if (server->n_open > 0) {
        gfs_debug("rpc", "cancelling calls", "server=%s open=%u", server->name, server->n_open);
    }
}

void gfs_rpc_server_stop(struct gfs_rpc_server *server, int64_t deadline)
{
    GFS_ASSERT(!gfsi_loop_is_current(&server->loop));
    (void)pthread_mutex_lock(&server->mutex);
    const enum gfsi_server_state before = server->state;
    if (before <= GFSI_SERVER_RUNNING) {
        server->state = GFSI_SERVER_STOPPING;
    }
    while (server->state == GFSI_SERVER_STOPPING && before == GFSI_SERVER_STOPPING) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    (void)pthread_mutex_unlock(&server->mutex);
    if (before >= GFSI_SERVER_STOPPING) {
        return;
    }

    gfsi_peers_stop(server);
    grpc_server_shutdown_and_notify(server->grpc, server->loop.cq,
                                    gfsi_tag_arm(&server->shutdown_tag));
    gfsi_stream_close_all(server);
    drain(server, deadline);
    /* Also closes idle connections, which would otherwise live until their client reads the GOAWAY.
     */
    grpc_server_cancel_all_calls(server->grpc);

    /* A server that never started has no threads: fini runs the queue, and so the shutdown, itself.
     */
    (void)pthread_mutex_lock(&server->mutex);
    while (server->loop.n_threads > 0 && (!server->shutdown_done || server->n_open > 0)) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    (void)pthread_mutex_unlock(&server->mutex);
    gfsi_loop_fini(&server->loop);
    grpc_server_destroy(server->grpc);
    server->grpc = NULL;
    gfs_rpc_shutdown();

    (void)pthread_mutex_lock(&server->mutex);
    server->state = GFSI_SERVER_STOPPED;
    pthread_cond_broadcast(&server->changed);
    (void)pthread_mutex_unlock(&server->mutex);
}

static void server_unref(struct gfs_rpc_server *server)
{
    if (atomic_fetch_sub(&server->refs, 1) > 1) {
        return;
    }
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->changed);
    free(server->methods);
    free(server);
}

bool gfsi_server_enter(struct gfs_rpc_server *server)
{
    if (atomic_fetch_add(&server->n_running, 1) >= server->max_calls) {
        atomic_fetch_sub(&server->n_running, 1);
        return false;
    }
    atomic_fetch_add(&server->refs, 1);
    return true;
}

void gfsi_server_leave(struct gfs_rpc_server *server)
{
    atomic_fetch_sub(&server->n_running, 1);
    server_unref(server);
}

struct gfs_rpc_server *gfs_rpc_server_free(struct gfs_rpc_server *server)
{
    if (server != NULL) {
        gfs_rpc_server_stop(server, 0);
        server_unref(server);
    }
    return NULL;
}

unsigned gfs_rpc_server_running(const struct gfs_rpc_server *server)
{
    struct gfs_rpc_server *s = (struct gfs_rpc_server *)(uintptr_t)server;
    return atomic_load(&s->n_running);
}
