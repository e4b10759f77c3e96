/* What every call on the server has in common: see call_priv.h. */
#include "call_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

void gfsi_call_init(struct gfs_rpc_call *call, const struct gfsi_carrier *carrier,
                    struct gfs_rpc_server *server, struct gfsi_method *method, int64_t deadline)
{
    call->carrier = carrier;
    call->server = server;
    call->method = method;
    call->deadline = deadline;
    call->started = gfs_clock_mono();
    call->refs = 1;
    gfsi_budget_init(&call->budget, server->max_message);
    pthread_mutex_init(&call->mutex, NULL);
}

static void call_free(struct gfs_rpc_call *call)
{
    struct gfs_rpc_server *server = call->server;
    if (call->release != NULL) {
        call->release(call->cancel_arg);
    }
    pthread_mutex_destroy(&call->mutex);
    free(call->trailers);
    call->carrier->free(call);
    gfsi_server_leave(server);
}

void gfsi_call_ref(struct gfs_rpc_call *call)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&call->mutex);
    call->refs++;
}

void gfsi_call_unref(struct gfs_rpc_call *call)
{
    (void)pthread_mutex_lock(&call->mutex);
    const bool last = --call->refs == 0;
    (void)pthread_mutex_unlock(&call->mutex);
    if (last) {
        call_free(call);
    }
}

void gfsi_call_run(struct gfs_rpc_call *call, ProtobufCMessage *request)
{
    call->request = request;
    if (request == NULL) {
        gfs_rpc_fail_status(call, GRPC_STATUS_INVALID_ARGUMENT, "the request does not parse");
    } else if (gfs_rpc_call_cancelled(call)) {
        gfs_rpc_fail(call, GFS_ECANCELLED, NULL);
    } else {
        call->method->handler(call, request, call->method->user);
    }
}

void gfsi_call_close(struct gfs_rpc_call *call)
{
    (void)pthread_mutex_lock(&call->mutex);
    void (*on_cancel)(struct gfs_rpc_call *, void *) = NULL;
    if (!call->closed && !call->replied) {
        on_cancel = call->on_cancel;
        gfs_metric_add(call->method->errors, 1);
    }
    call->closed = true;
    (void)pthread_mutex_unlock(&call->mutex);

    if (on_cancel != NULL) {
        on_cancel(call, call->cancel_arg);
    }
}

/* ---- the reply ---- */

/* Ends the handler's hold on the call. Without a carrier nothing of gRPC is touched: the library
 * may be shut down already. */
static void finish(struct gfs_rpc_call *call, const struct gfsi_reply *reply)
{
    (void)pthread_mutex_lock(&call->mutex);
    GFS_ASSERT(!call->replied);
    call->replied = true;
    ProtobufCMessage *request = GFS_TAKE_PTR(call->request);
    if (!call->closed) {
        gfs_metric_observe(call->method->seconds, gfs_clock_mono() - call->started);
        if (reply->grpc_status != 0) {
            gfs_metric_add(call->method->errors, 1);
        }
        call->carrier->reply(call, reply);
    }
    (void)pthread_mutex_unlock(&call->mutex);

    if (request != NULL) {
        protobuf_c_message_free_unpacked(request, &call->budget.allocator);
    }
    gfsi_call_unref(call);
}

void gfs_rpc_reply(struct gfs_rpc_call *call, const ProtobufCMessage *response)
{
    GFS_ASSERT(response->descriptor == call->method->output);
    const size_t size = protobuf_c_message_get_packed_size(response);
    if (size > call->server->max_message) {
        char text[128];
        (void)snprintf(text, sizeof(text), "the response has %zu bytes, the limit is %zu", size,
                       call->server->max_message);
        gfs_rpc_fail_status(call, GRPC_STATUS_RESOURCE_EXHAUSTED, text);
        return;
    }
    const struct gfsi_reply reply = {.response = response, .response_size = size, .text = ""};
    finish(call, &reply);
}

void gfs_rpc_fail(struct gfs_rpc_call *call, int code, const char *text)
{
    GFS_ASSERT_LT(code, 0);
    const struct gfsi_reply reply = {
        .grpc_status = gfs_err_to_grpc(code),
        .text = text != NULL ? text : gfs_err_string(code),
        .error_name = gfs_err_name(code),
    };
    finish(call, &reply);
}

void gfs_rpc_fail_err(struct gfs_rpc_call *call, int code, const struct gfs_err *err)
{
    gfs_rpc_fail(call, code, gfs_err_text(err, code));
}

void gfs_rpc_fail_status(struct gfs_rpc_call *call, int grpc_status, const char *text)
{
    GFS_ASSERT_LT(0, grpc_status);
    const struct gfsi_reply reply = {
        .grpc_status = grpc_status,
        .text = text != NULL ? text : gfs_rpc_status_name(grpc_status),
    };
    finish(call, &reply);
}

/* ---- accessors ---- */

static bool metadata_valid(const char *key, const char *value)
{
    return grpc_header_key_is_legal(grpc_slice_from_static_string(key)) &&
           !grpc_is_binary_header(grpc_slice_from_static_string(key)) &&
           strncmp(key, "grpc-", 5) != 0 && strlen(key) < sizeof(((struct gfsi_trailer *)0)->key) &&
           strlen(value) < GFS_RPC_TRAILER_MAX &&
           grpc_header_nonbin_value_is_legal(grpc_slice_from_static_string(value));
}

int gfs_rpc_call_set_trailer(struct gfs_rpc_call *call, const char *key, const char *value)
{
    if (!metadata_valid(key, value)) {
        return GFS_EINVAL;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&call->mutex);
    if (call->n_trailers >= GFS_RPC_TRAILERS_MAX) {
        return GFS_EBUSY;
    }
    if (call->trailers == NULL) {
        call->trailers = calloc(GFS_RPC_TRAILERS_MAX, sizeof(*call->trailers));
        if (call->trailers == NULL) {
            return GFS_ENOMEM;
        }
    }
    struct gfsi_trailer *trailer = &call->trailers[call->n_trailers++];
    (void)snprintf(trailer->key, sizeof(trailer->key), "%s", key);
    (void)snprintf(trailer->value, sizeof(trailer->value), "%s", value);
    return 0;
}

int64_t gfs_rpc_call_deadline(const struct gfs_rpc_call *call)
{
    return call->deadline;
}

bool gfs_rpc_call_cancelled(const struct gfs_rpc_call *call)
{
    struct gfs_rpc_call *c = (struct gfs_rpc_call *)(uintptr_t)call;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&c->mutex);
    return c->closed || (c->deadline != GFS_RPC_NO_DEADLINE && gfs_clock_mono() >= c->deadline);
}

void gfs_rpc_call_on_cancel(struct gfs_rpc_call *call,
                            void (*on_cancel)(struct gfs_rpc_call *call, void *arg),
                            void (*release)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&call->mutex);
    GFS_ASSERT(call->on_cancel == NULL && !call->replied);
    call->on_cancel = on_cancel;
    call->release = release;
    call->cancel_arg = arg;
    const bool now = call->closed;
    call->refs += now ? 1 : 0;
    (void)pthread_mutex_unlock(&call->mutex);

    if (now) {
        on_cancel(call, arg);
        gfsi_call_unref(call);
    }
}

const char *gfs_rpc_call_peer(const struct gfs_rpc_call *call)
{
    return call->peer;
}

const char *gfs_rpc_call_method(const struct gfs_rpc_call *call)
{
    return call->method->path;
}
