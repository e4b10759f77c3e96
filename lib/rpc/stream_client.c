/* Streams as the client sees them. */
#include "stream_priv.h"

#include <limits.h>
#include <stdio.h>

#include <gfs/base/auto.h>

static void on_message(struct gfs_rpc_stream *stream, const void *data, size_t len)
{
    stream->client.on_message(stream, stream->user, data, len);
}

/* No more messages: the status follows and tells why. */
static void on_ended(struct gfs_rpc_stream *stream)
{
    (void)stream;
}

static void on_closed(struct gfs_rpc_stream *stream)
{
    struct gfs_rpc_channel *channel = stream->channel;
    gfsi_channel_end(channel, &stream->inflight);
    if (stream->code == GFS_EUNAVAIL) {
        gfsi_channel_reconnect(channel);
    }
    stream->client.on_close(stream, stream->user, stream->code, stream->text);
    gfsi_channel_leave_async(channel);
}

/* The server's initial metadata, or the end of a call that got none. */
static void open_completed(struct gfsi_tag *tag, bool ok)
{
    struct gfs_rpc_stream *stream = gfsi_container_of(tag, struct gfs_rpc_stream, open_tag);
    char mark[8];
    gfsi_metadata_find(&stream->initial, GFSI_STREAM_ACCEPTED, mark, sizeof(mark));
    const bool accepted = ok && mark[0] != '\0';

    (void)pthread_mutex_lock(&stream->mutex);
    const bool open = accepted && stream->state == GFSI_STREAM_OPENING;
    if (open) {
        stream->state = GFSI_STREAM_OPEN;
    }
    (void)pthread_mutex_unlock(&stream->mutex);

    if (open) {
        if (stream->client.on_open != NULL) {
            stream->client.on_open(stream, stream->user);
        }
        (void)pthread_mutex_lock(&stream->mutex);
        gfsi_stream_receive(stream);
        (void)pthread_mutex_unlock(&stream->mutex);
    }
    gfsi_stream_op_done(stream);
}

/* The status, with which every call ends. */
static void close_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct gfs_rpc_stream *stream = gfsi_container_of(tag, struct gfs_rpc_stream, close_tag);
    char error_name[32];
    gfsi_metadata_find(&stream->trailing, GFS_RPC_KEY_ERROR, error_name, sizeof(error_name));
    gfsi_slice_text(stream->details, stream->text, sizeof(stream->text));
    (void)pthread_mutex_lock(&stream->channel->mutex);
    const bool channel_closed = stream->channel->closed;
    (void)pthread_mutex_unlock(&stream->channel->mutex);

    (void)pthread_mutex_lock(&stream->mutex);
    stream->code = gfsi_code_of_status((int)stream->status, error_name);
    if (stream->closed_here || channel_closed) {
        stream->code = GFS_ECANCELLED;
    } else if (stream->code == 0 || stream->code == GFS_ECANCELLED) {
        /* The server ended or reset it: for the user the peer is gone. */
        stream->code = GFS_EUNAVAIL;
    }
    if (stream->state < GFSI_STREAM_CLOSING) {
        stream->state = GFSI_STREAM_CLOSING;
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    gfsi_stream_op_done(stream);
}

/* Opens the gRPC call, under the stream's mutex: callbacks wait for it. */
static void start(struct gfs_rpc_stream *stream)
{
    grpc_op open_ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                           {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    if (stream->channel->wait_for_ready) {
        open_ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                            GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    }
    open_ops[1].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    grpc_op close_op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    close_op.data.recv_status_on_client.trailing_metadata = &stream->trailing;
    close_op.data.recv_status_on_client.status = &stream->status;
    close_op.data.recv_status_on_client.status_details = &stream->details;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    gfsi_stream_start(stream, open_ops, 2, &stream->open_tag);
    gfsi_stream_start(stream, &close_op, 1, &stream->close_tag);
    stream->may_send = true;
}

static int stream_open(struct gfs_rpc_channel *channel, const char *method, size_t max_message,
                       const struct gfs_rpc_stream_opts *opts,
                       const struct gfs_rpc_stream_client *callbacks, void *user,
                       struct gfs_rpc_stream **out, struct gfs_err *err)
{
    int rc = gfsi_channel_enter_async(channel, err);
    if (rc < 0) {
        return rc;
    }
    struct gfs_rpc_stream *stream = gfsi_stream_new(opts, max_message);
    if (stream == NULL) {
        gfsi_channel_leave_async(channel);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    stream->channel = channel;
    stream->user = user;
    stream->client = *callbacks;
    stream->message = on_message;
    stream->closed = on_closed;
    stream->ended = on_ended;
    stream->open_tag.fn = open_completed;
    stream->close_tag.fn = close_completed;
    (void)snprintf(stream->peer, sizeof(stream->peer), "%s", channel->target);

    rc = gfsi_channel_begin(channel, &stream->inflight, method, GFS_RPC_NO_DEADLINE,
                            channel->loop.cq, err);
    if (rc < 0) {
        gfs_rpc_stream_unref(stream);
        gfsi_channel_leave_async(channel);
        return rc;
    }
    stream->grpc = stream->inflight.grpc;
    grpc_call_ref(stream->grpc);
    stream->refs++; /* the caller's */

    *out = stream;
    start(stream);
    return 0;
}

int gfs_rpc_stream_open(struct gfs_rpc_channel *channel, const char *method,
                        const struct gfs_rpc_stream_opts *opts,
                        const struct gfs_rpc_stream_client *callbacks, void *user,
                        struct gfs_rpc_stream **out, struct gfs_err *err)
{
    return stream_open(channel, method, channel->max_message, opts, callbacks, user, out, err);
}

int gfsi_stream_open_sized(struct gfs_rpc_channel *channel, const char *method, size_t max_message,
                           const struct gfs_rpc_stream_client *callbacks, void *user,
                           struct gfs_rpc_stream **out)
{
    const struct gfs_rpc_stream_opts opts = {.queue_bytes = SIZE_MAX, .queue_messages = UINT_MAX};
    return stream_open(channel, method, max_message, &opts, callbacks, user, out, NULL);
}
