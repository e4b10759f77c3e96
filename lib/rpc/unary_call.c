/* One unary call on the server.
 *
 *   accepted -> message received -> handler -> reply -> status sent
 *        \____________ closed by gRPC (cancelled, or the status is out) ____/
 *
 * Two lives: the gRPC call, released when gRPC reported it closed and no batch is under way; and
 * this object, which a handler may hold longer than that. After `closed` nothing is started on the
 * gRPC call, so a late reply goes nowhere, and the server can stop without waiting for it. */
#include "server_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

struct trailer {
    char key[32];
    char value[GFS_RPC_TRAILER_MAX];
};

struct gfs_rpc_call {
    struct gfs_rpc_server *server;
    struct gfsi_method *method; /* valid while !closed or a handler runs inside the server's life */
    char path[GFS_RPC_METHOD_MAX];
    char peer[GFS_RPC_PEER_MAX];
    int64_t deadline;
    int64_t started;
    struct gfsi_budget budget;
    ProtobufCMessage *request;

    pthread_mutex_t mutex; /* all below; held while a batch is started */
    grpc_call *grpc;
    unsigned refs; /* each batch under way, the handler until it replied, a running on_cancel */
    unsigned ops;  /* batches under way */
    bool closed;
    bool replied;
    int cancelled; /* written by gRPC before closed */
    struct gfsi_tag receive_tag, close_tag, send_tag;
    grpc_byte_buffer *received;
    grpc_byte_buffer *response;
    grpc_slice details;

    struct trailer *trailers; /* allocated at the first */
    size_t n_trailers;
    grpc_metadata metadata[GFS_RPC_TRAILERS_MAX + 1];

    void (*on_cancel)(struct gfs_rpc_call *call, void *arg);
    void (*release)(void *arg);
    void *cancel_arg;
};

static void call_free(struct gfs_rpc_call *call)
{
    struct gfs_rpc_server *server = call->server;
    if (call->release != NULL) {
        call->release(call->cancel_arg);
    }
    pthread_mutex_destroy(&call->mutex);
    free(call->trailers);
    free(call);

    (void)pthread_mutex_lock(&server->mutex);
    server->n_running--;
    (void)pthread_mutex_unlock(&server->mutex);
    gfsi_server_unref(server);
}

static void call_unref(struct gfs_rpc_call *call)
{
    (void)pthread_mutex_lock(&call->mutex);
    const bool last = --call->refs == 0;
    (void)pthread_mutex_unlock(&call->mutex);
    if (last) {
        call_free(call);
    }
}

/* Ends one batch: releases the gRPC call behind the last, and drops the batch's reference. */
static void op_done(struct gfs_rpc_call *call)
{
    (void)pthread_mutex_lock(&call->mutex);
    grpc_call *grpc = NULL;
    if (--call->ops == 0 && call->closed) {
        grpc = call->grpc;
        call->grpc = NULL;
    }
    struct gfs_rpc_server *server = call->server;
    (void)pthread_mutex_unlock(&call->mutex);

    if (grpc != NULL) {
        grpc_byte_buffer_destroy(call->response);
        call->response = NULL;
        grpc_slice_unref(call->details);
        grpc_call_unref(grpc);
    }
    call_unref(call);
    if (grpc != NULL) {
        gfsi_server_call_closed(server);
    }
}

/* Under call->mutex. */
static void start_batch(struct gfs_rpc_call *call, const grpc_op *ops, size_t n,
                        struct gfsi_tag *tag)
{
    call->ops++;
    call->refs++;
    const grpc_call_error rc = grpc_call_start_batch(call->grpc, ops, n, gfsi_tag_arm(tag), NULL);
    GFS_ASSERT_EQ(rc, GRPC_CALL_OK);
}

static void send_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    op_done(gfsi_container_of(tag, struct gfs_rpc_call, send_tag));
}

static void close_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct gfs_rpc_call *call = gfsi_container_of(tag, struct gfs_rpc_call, close_tag);

    (void)pthread_mutex_lock(&call->mutex);
    call->closed = true;
    void (*on_cancel)(struct gfs_rpc_call *, void *) = NULL;
    if (!call->replied) {
        on_cancel = call->on_cancel;
        gfs_metric_add(call->method->errors, 1);
    }
    (void)pthread_mutex_unlock(&call->mutex);

    /* The batch's own reference keeps the object alive meanwhile. */
    if (on_cancel != NULL) {
        on_cancel(call, call->cancel_arg);
    }
    op_done(call);
}

/* ---- the reply ---- */

static size_t fill_metadata(struct gfs_rpc_call *call, const char *error_name)
{
    size_t n = 0;
    for (; n < call->n_trailers; n++) {
        call->metadata[n] = (grpc_metadata){
            .key = grpc_slice_from_copied_string(call->trailers[n].key),
            .value = grpc_slice_from_copied_string(call->trailers[n].value),
        };
    }
    if (error_name != NULL) {
        call->metadata[n++] =
            (grpc_metadata){.key = grpc_slice_from_static_string(GFS_RPC_KEY_ERROR),
                            .value = grpc_slice_from_static_string(error_name)};
    }
    return n;
}

/* Sends status and, on success, the response. Ends the handler's hold on the call. Without a gRPC
 * call nothing of gRPC is touched: the library may be shut down already. */
static void finish(struct gfs_rpc_call *call, const ProtobufCMessage *response, int grpc_status,
                   const char *text, const char *error_name)
{
    (void)pthread_mutex_lock(&call->mutex);
    GFS_ASSERT(!call->replied);
    call->replied = true;
    ProtobufCMessage *request = GFS_TAKE_PTR(call->request);

    if (!call->closed) {
        gfs_metric_observe(call->method->seconds, gfs_clock_mono() - call->started);
        if (grpc_status != 0) {
            gfs_metric_add(call->method->errors, 1);
        }
        call->response = response != NULL ? gfsi_pack(response) : NULL;
        call->details = grpc_slice_from_copied_string(text);
        const size_t n_metadata = fill_metadata(call, error_name);
        grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                          {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                          {.op = GRPC_OP_SEND_MESSAGE}};
        ops[1].data.send_status_from_server.status = (grpc_status_code)grpc_status;
        ops[1].data.send_status_from_server.status_details = &call->details;
        ops[1].data.send_status_from_server.trailing_metadata = call->metadata;
        ops[1].data.send_status_from_server.trailing_metadata_count = n_metadata;
        ops[2].data.send_message.send_message = call->response;
        start_batch(call, ops, call->response != NULL ? 3 : 2, &call->send_tag);
        for (size_t i = 0; i < n_metadata; i++) {
            grpc_slice_unref(call->metadata[i].key);
            grpc_slice_unref(call->metadata[i].value);
        }
    }
    (void)pthread_mutex_unlock(&call->mutex);

    if (request != NULL) {
        protobuf_c_message_free_unpacked(request, &call->budget.allocator);
    }
    call_unref(call);
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
    finish(call, response, 0, "", NULL);
}

void gfs_rpc_fail(struct gfs_rpc_call *call, int code, const char *text)
{
    GFS_ASSERT_LT(code, 0);
    finish(call, NULL, gfs_err_to_grpc(code), text != NULL ? text : gfs_err_string(code),
           gfs_err_name(code));
}

void gfs_rpc_fail_err(struct gfs_rpc_call *call, int code, const struct gfs_err *err)
{
    gfs_rpc_fail(call, code, gfs_err_text(err, code));
}

void gfs_rpc_fail_status(struct gfs_rpc_call *call, int grpc_status, const char *text)
{
    GFS_ASSERT_LT(0, grpc_status);
    finish(call, NULL, grpc_status, text != NULL ? text : gfs_rpc_status_name(grpc_status), NULL);
}

/* ---- the request ---- */

static void receive_completed(struct gfsi_tag *tag, bool ok)
{
    struct gfs_rpc_call *call = gfsi_container_of(tag, struct gfs_rpc_call, receive_tag);
    (void)ok;

    if (call->received == NULL) {
        /* Without a message there are three cases: the message was over the limit, the client half
         * closed without sending one, or the call is cancelled, when this status goes nowhere. */
        const bool failed = grpc_call_failed_before_recv_message(call->grpc) != 0;
        gfs_rpc_fail_status(call,
                            failed ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_INVALID_ARGUMENT,
                            failed ? "the request is larger than the limit" : "no request message");
        op_done(call);
        return;
    }

    call->request = gfsi_unpack(call->method->input, call->received, &call->budget);
    grpc_byte_buffer_destroy(GFS_TAKE_PTR(call->received));
    if (call->request == NULL) {
        gfs_rpc_fail_status(call, GRPC_STATUS_INVALID_ARGUMENT, "the request does not parse");
    } else if (gfs_rpc_call_cancelled(call)) {
        gfs_rpc_fail(call, GFS_ECANCELLED, NULL);
    } else {
        call->method->handler(call, call->request, call->method->user);
    }
    op_done(call);
}

static struct gfs_rpc_call *call_new(struct gfs_rpc_server *server, struct gfsi_method *method,
                                     const struct gfsi_incoming *incoming)
{
    struct gfs_rpc_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->server = server;
    call->method = method;
    memcpy(call->path, method->path, sizeof(call->path));
    call->deadline = incoming->deadline;
    call->started = gfs_clock_mono();
    call->grpc = incoming->grpc;
    call->details = grpc_empty_slice();
    call->receive_tag.fn = receive_completed;
    call->close_tag.fn = close_completed;
    call->send_tag.fn = send_completed;
    gfsi_budget_init(&call->budget, server->max_message);
    pthread_mutex_init(&call->mutex, NULL);

    char *peer = grpc_call_get_peer(incoming->grpc);
    (void)snprintf(call->peer, sizeof(call->peer), "%s", peer);
    gpr_free(peer);
    return call;
}

void gfsi_call_start(struct gfs_rpc_server *server, struct gfsi_method *method,
                     const struct gfsi_incoming *incoming)
{
    struct gfs_rpc_call *call = call_new(server, method, incoming);
    if (call == NULL) {
        (void)pthread_mutex_lock(&server->mutex);
        server->n_running--;
        (void)pthread_mutex_unlock(&server->mutex);
        gfsi_call_refuse(server, incoming, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        gfsi_server_unref(server);
        return;
    }

    grpc_op close_op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close_op.data.recv_close_on_server.cancelled = &call->cancelled;
    grpc_op receive_op = {.op = GRPC_OP_RECV_MESSAGE};
    receive_op.data.recv_message.recv_message = &call->received;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&call->mutex);
    call->refs = 1; /* until the reply */
    start_batch(call, &close_op, 1, &call->close_tag);
    start_batch(call, &receive_op, 1, &call->receive_tag);
}

/* ---- refusing ---- */

struct refusal {
    struct gfsi_tag tag;
    struct gfs_rpc_server *server;
    grpc_call *grpc;
    grpc_slice details;
    int cancelled;
};

static void refusal_sent(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct refusal *refusal = gfsi_container_of(tag, struct refusal, tag);
    grpc_slice_unref(refusal->details);
    grpc_call_unref(refusal->grpc);
    gfsi_server_call_closed(refusal->server);
    free(refusal);
}

void gfsi_call_refuse(struct gfs_rpc_server *server, const struct gfsi_incoming *incoming,
                      int grpc_status, const char *text)
{
    struct refusal *refusal = calloc(1, sizeof(*refusal));
    if (refusal == NULL) {
        (void)grpc_call_cancel(incoming->grpc, NULL);
        grpc_call_unref(incoming->grpc);
        gfsi_server_call_closed(server);
        return;
    }
    refusal->tag.fn = refusal_sent;
    refusal->server = server;
    refusal->grpc = incoming->grpc;
    refusal->details = grpc_slice_from_copied_string(text);

    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    ops[1].data.send_status_from_server.status = (grpc_status_code)grpc_status;
    ops[1].data.send_status_from_server.status_details = &refusal->details;
    ops[2].data.recv_close_on_server.cancelled = &refusal->cancelled;
    const grpc_call_error rc =
        grpc_call_start_batch(incoming->grpc, ops, 3, gfsi_tag_arm(&refusal->tag), NULL);
    GFS_ASSERT_EQ(rc, GRPC_CALL_OK);
}

/* ---- accessors ---- */

static bool metadata_valid(const char *key, const char *value)
{
    return grpc_header_key_is_legal(grpc_slice_from_static_string(key)) &&
           !grpc_is_binary_header(grpc_slice_from_static_string(key)) &&
           strncmp(key, "grpc-", 5) != 0 && strlen(key) < sizeof(((struct trailer *)0)->key) &&
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
    struct trailer *trailer = &call->trailers[call->n_trailers++];
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
    return c->closed;
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
        call_unref(call);
    }
}

const char *gfs_rpc_call_peer(const struct gfs_rpc_call *call)
{
    return call->peer;
}

const char *gfs_rpc_call_method(const struct gfs_rpc_call *call)
{
    return call->path;
}
