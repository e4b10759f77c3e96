/* Unary calls of the client, waiting and not. */
#include "mux_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>

#define N_OPS 6

/* One call: on the stack of a synchronous caller, on the heap of an asynchronous one. */
struct client_call {
    struct gfs_rpc_channel *channel;
    const ProtobufCMessageDescriptor *output;
    struct gfsi_inflight inflight;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;

    struct gfsi_tag tag; /* asynchronous */
    gfs_rpc_done done;
    void *arg;
};

static int find_method(const ProtobufCServiceDescriptor *service, const char *name,
                       const ProtobufCMessage *request, char *path, size_t size,
                       const ProtobufCMessageDescriptor **out_output, struct gfs_err *err)
{
    const ProtobufCMethodDescriptor *method =
        protobuf_c_service_descriptor_get_method_by_name(service, name);
    if (method == NULL || method->input != request->descriptor) {
        return gfs_err_set(err, GFS_EINVAL, "service %s has no method %s that takes a %s",
                           service->name, name, request->descriptor->name);
    }
    const int len = snprintf(path, size, "/%s/%s", service->name, name);
    if (len < 0 || (size_t)len >= size) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "method name %s is too long", name);
    }
    *out_output = method->output;
    return 0;
}

static void call_init(struct client_call *call, struct gfs_rpc_channel *channel,
                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *output)
{
    *call = (struct client_call){.channel = channel, .output = output};
    call->request = gfsi_pack(request);
    call->details = grpc_empty_slice();
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
}

static void call_fini(struct client_call *call)
{
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->response);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->details);
}

/* Everything of a unary call is one batch. */
static void call_start(struct client_call *call, struct gfsi_tag *tag)
{
    grpc_call *grpc = call->inflight.grpc; /* before the start: an answer may free `call` */
    grpc_op ops[N_OPS] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    if (call->channel->wait_for_ready) {
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    }
    ops[1].data.send_message.send_message = call->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_message.recv_message = &call->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->details;
    const grpc_call_error rc = grpc_call_start_batch(grpc, ops, N_OPS, gfsi_tag_arm(tag), NULL);
    GFS_ASSERT_EQ(rc, GRPC_CALL_OK);
}

/* Turns what arrived into result and response (NULL unless result->code is 0). */
static ProtobufCMessage *call_result(struct client_call *call, struct gfs_rpc_result *result)
{
    char error_name[32];
    *result = (struct gfs_rpc_result){.grpc_status = (int)call->status};
    gfsi_metadata_find(&call->trailing, GFS_RPC_KEY_LEADER, result->leader, sizeof(result->leader));
    gfsi_metadata_find(&call->trailing, GFS_RPC_KEY_ERROR, error_name, sizeof(error_name));
    gfsi_slice_text(call->details, result->text, sizeof(result->text));
    result->code = gfsi_code_of_status(result->grpc_status, error_name);
    if (result->code < 0) {
        return NULL;
    }

    struct gfsi_budget budget;
    gfsi_budget_init(&budget, call->channel->max_message);
    ProtobufCMessage *response =
        call->response != NULL ? gfsi_unpack(call->output, call->response, &budget) : NULL;
    if (response == NULL) {
        result->code = GFS_EPROTO;
        (void)snprintf(result->text, sizeof(result->text), "the answer of %s does not parse",
                       call->channel->target);
    }
    return response;
}

/* ---- synchronous ---- */

static grpc_completion_queue *take_queue(struct gfs_rpc_channel *channel)
{
    (void)pthread_mutex_lock(&channel->mutex);
    grpc_completion_queue *cq = channel->n_queues > 0 ? channel->queues[--channel->n_queues] : NULL;
    (void)pthread_mutex_unlock(&channel->mutex);
    return cq != NULL ? cq : grpc_completion_queue_create_for_pluck(NULL);
}

static void give_queue(struct gfs_rpc_channel *channel, grpc_completion_queue *cq)
{
    (void)pthread_mutex_lock(&channel->mutex);
    const bool kept = channel->n_queues < GFSI_CHANNEL_IDLE_QUEUES;
    if (kept) {
        channel->queues[channel->n_queues++] = cq;
    }
    (void)pthread_mutex_unlock(&channel->mutex);
    if (!kept) {
        grpc_completion_queue_shutdown(cq);
        (void)grpc_completion_queue_pluck(cq, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_completion_queue_destroy(cq);
    }
}

/* A call of its own. *out_response is set only on success. */
static int call_unary(struct gfs_rpc_channel *channel, const char *path,
                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *output,
                      int64_t deadline, struct gfs_rpc_result *result,
                      ProtobufCMessage **out_response, struct gfs_err *err)
{
    struct client_call call;
    call_init(&call, channel, request, output);
    grpc_completion_queue *cq = take_queue(channel);
    const int rc = gfsi_channel_begin(channel, &call.inflight, path, deadline, cq, err);
    if (rc == 0) {
        call_start(&call, &call.tag);
        (void)grpc_completion_queue_pluck(cq, &call.tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        *out_response = call_result(&call, result);
        gfsi_channel_end(channel, &call.inflight);
        if (channel->mux != NULL && result->code == 0) {
            gfsi_mux_note_answer(channel->mux);
        }
    }
    give_queue(channel, cq);
    call_fini(&call);
    return rc;
}

/* The same over the shared stream; false: it takes no call now. */
static bool call_shared(struct gfs_rpc_channel *channel, const char *path,
                        const ProtobufCMessage *request, const ProtobufCMessageDescriptor *output,
                        int64_t deadline, struct gfs_rpc_result *result,
                        ProtobufCMessage **out_response)
{
    struct gfsi_mux_call call = {.output = output, .deadline = deadline};
    if (channel->mux == NULL || !gfsi_mux_begin(channel->mux, &call, path, request)) {
        return false;
    }
    gfsi_mux_wait(channel->mux, &call);
    *result = call.result;
    *out_response = call.response;
    return true;
}

int gfs_rpc_call_sync_result(struct gfs_rpc_channel *channel,
                             const ProtobufCServiceDescriptor *service, const char *method,
                             const ProtobufCMessage *request, ProtobufCMessage **out_response,
                             int64_t deadline, struct gfs_rpc_result *result, struct gfs_err *err)
{
    GFS_ASSERT(!gfsi_loop_is_current(&channel->loop));
    struct gfs_rpc_result local = {0};
    ProtobufCMessage *response = NULL;
    char path[GFS_RPC_METHOD_MAX];
    const ProtobufCMessageDescriptor *output = NULL;
    int rc = find_method(service, method, request, path, sizeof(path), &output, err);

    if (rc == 0 && !call_shared(channel, path, request, output, deadline, &local, &response)) {
        rc = call_unary(channel, path, request, output, deadline, &local, &response, err);
    }
    if (rc == 0) { /* made: err is still as it came */
        rc = local.code;
        if (rc < 0 && local.grpc_status == GRPC_STATUS_UNAVAILABLE) {
            gfsi_channel_reconnect(channel);
            (void)gfs_err_set(err, rc, "%s: %s", channel->target, local.text);
        } else if (rc < 0) {
            (void)gfs_err_set(err, rc, "%s", local.text);
        }
    }
    local.code = rc;

    if (result != NULL) {
        *result = local;
    }
    if (rc == 0) {
        *out_response = response;
    }
    return rc;
}

/* ---- asynchronous ---- */

static void async_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok; /* receiving the status always succeeds */
    struct client_call *call = gfsi_container_of(tag, struct client_call, tag);
    struct gfs_rpc_channel *channel = call->channel;
    struct gfs_rpc_result result;
    ProtobufCMessage *response = call_result(call, &result);
    gfsi_channel_end(channel, &call->inflight);
    call_fini(call);
    if (result.grpc_status == GRPC_STATUS_UNAVAILABLE) {
        gfsi_channel_reconnect(channel);
    } else if (channel->mux != NULL && result.code == 0) {
        gfsi_mux_note_answer(channel->mux);
    }

    call->done(call->arg, &result, response);
    free(call);
    gfsi_channel_leave_async(channel);
}

/* The same over the shared stream; false: it takes no call now. */
static bool async_shared(struct gfs_rpc_channel *channel, const char *path,
                         const ProtobufCMessage *request, const ProtobufCMessageDescriptor *output,
                         int64_t deadline, gfs_rpc_done done, void *arg)
{
    struct gfsi_mux_call *call = channel->mux != NULL ? malloc(sizeof(*call)) : NULL;
    if (call == NULL) {
        return false;
    }
    *call =
        (struct gfsi_mux_call){.output = output, .deadline = deadline, .done = done, .arg = arg};
    if (!gfsi_mux_begin(channel->mux, call, path, request)) {
        free(call);
        return false;
    }
    return true;
}

int gfs_rpc_call_async(struct gfs_rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                       const char *method, const ProtobufCMessage *request, int64_t deadline,
                       gfs_rpc_done done, void *arg, struct gfs_err *err)
{
    char path[GFS_RPC_METHOD_MAX];
    const ProtobufCMessageDescriptor *output = NULL;
    int rc = find_method(service, method, request, path, sizeof(path), &output, err);
    if (rc < 0) {
        return rc;
    }
    rc = gfsi_channel_enter_async(channel, err);
    if (rc < 0) {
        return rc;
    }
    if (async_shared(channel, path, request, output, deadline, done, arg)) {
        return 0;
    }

    struct client_call *call = malloc(sizeof(*call));
    if (call == NULL) {
        gfsi_channel_leave_async(channel);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    call_init(call, channel, request, output);
    call->done = done;
    call->arg = arg;
    call->tag.fn = async_completed;
    rc = gfsi_channel_begin(channel, &call->inflight, path, deadline, channel->loop.cq, err);
    if (rc < 0) {
        call_fini(call);
        free(call);
        gfsi_channel_leave_async(channel);
        return rc;
    }
    call_start(call, &call->tag);
    return 0;
}
