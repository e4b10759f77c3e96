/* A unary call on the server with a gRPC call of its own.
 *
 *   accepted -> message received -> handler -> reply -> status sent
 *        \____________ closed by gRPC (cancelled, or the status is out) ____/
 *
 * Two lives: the gRPC call, released when gRPC reported it closed and no batch is under way; and
 * the call, which a handler may hold longer than that. After `closed` nothing is started on the
 * gRPC call. */
#include "call_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include <grpc/support/alloc.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>

struct unary_call {
    struct gfs_rpc_call base; /* its mutex guards what follows; each batch holds a reference */
    char peer[GFS_RPC_PEER_MAX];
    grpc_call *grpc;
    unsigned ops;  /* batches under way */
    int cancelled; /* written by gRPC before closed */
    struct gfsi_tag receive_tag, close_tag, send_tag;
    grpc_byte_buffer *received;
    grpc_byte_buffer *response;
    grpc_slice details;
    grpc_metadata metadata[GFS_RPC_TRAILERS_MAX + 1];
};

static void carrier_free(struct gfs_rpc_call *base)
{
    free(gfsi_container_of(base, struct unary_call, base));
}

/* Ends one batch: releases the gRPC call behind the last, and drops the batch's reference. */
static void op_done(struct unary_call *call)
{
    (void)pthread_mutex_lock(&call->base.mutex);
    grpc_call *grpc = NULL;
    if (--call->ops == 0 && call->base.closed) {
        grpc = call->grpc;
        call->grpc = NULL;
    }
    struct gfs_rpc_server *server = call->base.server;
    (void)pthread_mutex_unlock(&call->base.mutex);

    if (grpc != NULL) {
        grpc_byte_buffer_destroy(call->response);
        call->response = NULL;
        grpc_slice_unref(call->details);
        grpc_call_unref(grpc);
    }
    gfsi_call_unref(&call->base);
    if (grpc != NULL) {
        gfsi_server_call_closed(server);
    }
}

/* Under the mutex. */
static void start_batch(struct unary_call *call, const grpc_op *ops, size_t n, struct gfsi_tag *tag)
{
    call->ops++;
    call->base.refs++;
    const grpc_call_error rc = grpc_call_start_batch(call->grpc, ops, n, gfsi_tag_arm(tag), NULL);
    GFS_ASSERT_EQ(rc, GRPC_CALL_OK);
}

static void send_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    op_done(gfsi_container_of(tag, struct unary_call, send_tag));
}

static void close_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct unary_call *call = gfsi_container_of(tag, struct unary_call, close_tag);
    gfsi_call_close(&call->base);
    op_done(call);
}

/* ---- the reply ---- */

static size_t fill_metadata(struct unary_call *call, const char *error_name)
{
    size_t n = 0;
    for (; n < call->base.n_trailers; n++) {
        call->metadata[n] = (grpc_metadata){
            .key = grpc_slice_from_copied_string(call->base.trailers[n].key),
            .value = grpc_slice_from_copied_string(call->base.trailers[n].value),
        };
    }
    if (error_name != NULL) {
        call->metadata[n++] =
            (grpc_metadata){.key = grpc_slice_from_static_string(GFS_RPC_KEY_ERROR),
                            .value = grpc_slice_from_static_string(error_name)};
    }
    return n;
}

/* Status and, on success, the response, in one batch. */
static void carrier_reply(struct gfs_rpc_call *base, const struct gfsi_reply *reply)
{
    struct unary_call *call = gfsi_container_of(base, struct unary_call, base);
    call->response = reply->response != NULL ? gfsi_pack(reply->response) : NULL;
    call->details = grpc_slice_from_copied_string(reply->text);
    const size_t n_metadata = fill_metadata(call, reply->error_name);
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.send_status_from_server.status = (grpc_status_code)reply->grpc_status;
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

/* ---- the request ---- */

/* Fails the call when a text of its request is none. */
static bool check_text(struct unary_call *call)
{
    const char *field = NULL;
    char text[128];
    grpc_slice bytes;
    bool good;

    if (!gfsi_bytes_flatten(call->received, &bytes)) {
        return true; /* unpacking fails as well, and says so */
    }
    good = gfsi_text_check(call->base.method->input, GRPC_SLICE_START_PTR(bytes),
                           GRPC_SLICE_LENGTH(bytes), &field);
    grpc_slice_unref(bytes);
    if (!good) {
        (void)snprintf(text, sizeof(text), "%.64s is not plain UTF-8 text",
                       field != NULL ? field : "the request");
        gfs_rpc_fail_status(&call->base, GRPC_STATUS_INVALID_ARGUMENT, text);
    }
    return good;
}

static void receive_completed(struct gfsi_tag *tag, bool ok)
{
    struct unary_call *call = gfsi_container_of(tag, struct unary_call, receive_tag);
    (void)ok;

    if (call->received == NULL) {
        /* Without a message there are three cases: the message was over the limit, the client half
         * closed without sending one, or the call is cancelled, when this status goes nowhere. */
        const bool failed = grpc_call_failed_before_recv_message(call->grpc) != 0;
        gfs_rpc_fail_status(&call->base,
                            failed ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_INVALID_ARGUMENT,
                            failed ? "the request is larger than the limit" : "no request message");
        op_done(call);
        return;
    }

    if (call->base.server->strict_text && !check_text(call)) {
        grpc_byte_buffer_destroy(GFS_TAKE_PTR(call->received));
        op_done(call);
        return;
    }
    ProtobufCMessage *request =
        gfsi_unpack(call->base.method->input, call->received, &call->base.budget);
    grpc_byte_buffer_destroy(GFS_TAKE_PTR(call->received));
    gfsi_call_run(&call->base, request);
    op_done(call);
}

static struct unary_call *call_new(struct gfs_rpc_server *server, struct gfsi_method *method,
                                   const struct gfsi_incoming *incoming)
{
    static const struct gfsi_carrier carrier = {.reply = carrier_reply, .free = carrier_free};
    struct unary_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    gfsi_call_init(&call->base, &carrier, server, method, incoming->deadline);
    call->grpc = incoming->grpc;
    call->details = grpc_empty_slice();
    call->receive_tag.fn = receive_completed;
    call->close_tag.fn = close_completed;
    call->send_tag.fn = send_completed;

    char *peer = grpc_call_get_peer(incoming->grpc);
    (void)snprintf(call->peer, sizeof(call->peer), "%s", peer);
    gpr_free(peer);
    call->base.peer = call->peer;
    return call;
}

void gfsi_call_start(struct gfs_rpc_server *server, struct gfsi_method *method,
                     const struct gfsi_incoming *incoming)
{
    struct unary_call *call = call_new(server, method, incoming);
    if (call == NULL) {
        gfsi_call_refuse(server, incoming, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        gfsi_server_leave(server);
        return;
    }

    grpc_op close_op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close_op.data.recv_close_on_server.cancelled = &call->cancelled;
    grpc_op receive_op = {.op = GRPC_OP_RECV_MESSAGE};
    receive_op.data.recv_message.recv_message = &call->received;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&call->base.mutex);
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
