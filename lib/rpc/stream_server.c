/* Streams as the server sees them. */
#include "server_priv.h"
#include "stream_priv.h"

#include <stdio.h>

#include <grpc/support/alloc.h>

#include <gfs/base/auto.h>

static void on_message(struct gfs_rpc_stream *stream, const void *data, size_t len)
{
    stream->method->stream.on_message(stream, stream->stream_user, data, len);
}

static void unlink_stream(struct gfs_rpc_stream *stream)
{
    struct gfs_rpc_server *server = stream->server;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    stream->method->n_streams--;
    *(stream->prev != NULL ? &stream->prev->next : &server->streams) = stream->next;
    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }
}

static void on_closed(struct gfs_rpc_stream *stream)
{
    struct gfs_rpc_server *server = stream->server;
    unlink_stream(stream);
    if (stream->closed_here) {
        stream->method->stream.on_close(stream, stream->stream_user, GFS_ECANCELLED,
                                        "closed by this side");
    } else {
        stream->method->stream.on_close(stream, stream->stream_user, GFS_EUNAVAIL,
                                        "the peer closed the stream or went away");
    }
    gfsi_server_call_closed(server);
}

/* The client sends no more: for us that ends the stream. */
static void on_ended(struct gfs_rpc_stream *stream)
{
    gfsi_stream_fail(stream, false);
}

static void open_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    gfsi_stream_op_done(gfsi_container_of(tag, struct gfs_rpc_stream, open_tag));
}

/* Always comes, and ends the stream: cancelled, connection lost, or closed by us. */
static void close_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    struct gfs_rpc_stream *stream = gfsi_container_of(tag, struct gfs_rpc_stream, close_tag);
    gfsi_stream_fail(stream, false);
    gfsi_stream_op_done(stream);
}

/* Takes a place among the method's streams, and puts the stream in the server's list. */
static bool link_stream(struct gfs_rpc_server *server, struct gfsi_method *method,
                        struct gfs_rpc_stream *stream)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    if (method->n_streams >= method->max_streams || server->state != GFSI_SERVER_RUNNING) {
        return false;
    }
    method->n_streams++;
    stream->prev = NULL;
    stream->next = server->streams;
    if (stream->next != NULL) {
        stream->next->prev = stream;
    }
    server->streams = stream;
    return true;
}

static struct gfs_rpc_stream *stream_make(struct gfs_rpc_server *server, struct gfsi_method *method,
                                          const struct gfsi_incoming *incoming)
{
    struct gfs_rpc_stream *stream = gfsi_stream_new(&method->stream_opts, server->max_message);
    if (stream == NULL) {
        return NULL;
    }
    stream->server = server;
    stream->method = method;
    stream->grpc = incoming->grpc;
    stream->message = on_message;
    stream->closed = on_closed;
    stream->ended = on_ended;
    stream->open_tag.fn = open_completed;
    stream->close_tag.fn = close_completed;
    char *peer = grpc_call_get_peer(incoming->grpc);
    (void)snprintf(stream->peer, sizeof(stream->peer), "%s", peer);
    gpr_free(peer);
    return stream;
}

static void start(struct gfs_rpc_stream *stream)
{
    grpc_metadata accepted = {.key = grpc_slice_from_static_string(GFSI_STREAM_ACCEPTED),
                              .value = grpc_slice_from_static_string("1")};
    grpc_op open_op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    open_op.data.send_initial_metadata.metadata = &accepted;
    open_op.data.send_initial_metadata.count = 1;
    grpc_op close_op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close_op.data.recv_close_on_server.cancelled = &stream->cancelled;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    gfsi_stream_start(stream, &close_op, 1, &stream->close_tag);
    gfsi_stream_start(stream, &open_op, 1, &stream->open_tag);
    stream->may_send = true;
    if (stream->state == GFSI_STREAM_OPENING) {
        stream->state = GFSI_STREAM_OPEN;
    }
    gfsi_stream_receive(stream);
    gfsi_stream_pump(stream);
}

/* A stream that never started: its gRPC call goes to the refusal. */
static void drop(struct gfs_rpc_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&stream->mutex);
    stream->grpc = NULL;
    gfsi_stream_release(stream);
    (void)pthread_mutex_unlock(&stream->mutex);
    gfs_rpc_stream_unref(stream);
}

void gfsi_stream_accept(struct gfs_rpc_server *server, struct gfsi_method *method,
                        const struct gfsi_incoming *incoming)
{
    struct gfs_rpc_stream *stream = stream_make(server, method, incoming);
    if (stream == NULL || !link_stream(server, method, stream)) {
        drop(stream);
        gfsi_call_refuse(server, incoming, GRPC_STATUS_RESOURCE_EXHAUSTED,
                         "too many streams are open");
        return;
    }

    const int rc = method->stream.on_open(stream, method->user, &stream->stream_user);
    if (rc < 0) {
        unlink_stream(stream);
        drop(stream);
        gfsi_call_refuse(server, incoming, gfs_err_to_grpc(rc), gfs_err_string(rc));
        return;
    }
    start(stream);
}

void gfsi_stream_close_all(struct gfs_rpc_server *server)
{
    /* The state keeps new ones out; a stream leaves the list only through its close. */
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);
    for (struct gfs_rpc_stream *s = server->streams; s != NULL; s = s->next) {
        if (s->method->drain != NULL) {
            s->method->drain(s);
        } else {
            gfsi_stream_fail(s, true);
        }
    }
}
