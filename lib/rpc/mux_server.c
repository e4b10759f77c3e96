/* Calls that share one stream, on the server: frames become calls, replies become frames. A
 * stream's callbacks run one at a time, so do the handlers of its calls; replies come from any
 * thread. */
#include "call_priv.h"
#include "mux_wire.h"
#include "stream_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define STREAMS_MAX 4096
#define TEXT_MAX    1024u /* bytes of an error's text */

/* Replies a client may leave unread before it is not listened to any more. */
#define HOLD_BYTES (1u << 20)

struct session {
    struct gfs_rpc_server *server;
    struct gfs_rpc_stream *stream; /* a reference */

    pthread_mutex_t mutex; /* all below; taken behind a call's mutex, before the stream's */
    unsigned refs;         /* the open stream, each call object */
    bool draining;
    struct mux_call *calls; /* those to answer */
};

struct mux_call {
    struct gfs_rpc_call base;
    struct session *session;
    uint32_t id;
    bool linked; /* in session->calls, which then has a reference */
    struct mux_call *next, *prev;
};

static void session_unref(struct session *session)
{
    (void)pthread_mutex_lock(&session->mutex);
    const bool last = --session->refs == 0;
    (void)pthread_mutex_unlock(&session->mutex);
    if (last) {
        gfs_rpc_stream_unref(session->stream);
        pthread_mutex_destroy(&session->mutex);
        free(session);
    }
}

/* ---- sending ---- */

/* A reply that there is no memory for would leave its client waiting: the stream ends with it. One
 * that finds the stream ending goes nowhere, as the client knows by that end. */
static void not_sent(struct session *session, int code)
{
    if (code != GFS_EUNAVAIL) {
        gfs_rpc_stream_close(session->stream);
    }
}

/* One frame with its body copied into it. */
static void send_frame(struct session *session, const struct gfsi_mux_frame *frame)
{
    const size_t head = gfsi_mux_head_size(frame);
    int rc;
    uint8_t *p = gfsi_stream_reserve(session->stream, head + frame->body_len, &rc);
    if (p == NULL) {
        not_sent(session, rc);
        return;
    }
    gfsi_mux_head_put(frame, p);
    if (frame->body_len > 0) {
        memcpy(p + head, frame->body, frame->body_len);
    }
    gfsi_stream_commit(session->stream);
}

static void refuse(struct session *session, uint32_t id, int grpc_status, const char *text)
{
    const struct gfsi_mux_frame frame = {.kind = GFSI_MUX_REPLY,
                                         .id = id,
                                         .status = (uint8_t)grpc_status,
                                         .body = (const uint8_t *)text,
                                         .body_len = strlen(text)};
    send_frame(session, &frame);
}

/* A response of one frame is packed where it is sent from. */
static void send_short(struct session *session, const struct gfsi_mux_frame *frame,
                       const struct gfsi_reply *reply)
{
    const size_t head = gfsi_mux_head_size(frame);
    int rc;
    uint8_t *p = gfsi_stream_reserve(session->stream, head + reply->response_size, &rc);
    if (p == NULL) {
        not_sent(session, rc);
        return;
    }
    gfsi_mux_head_put(frame, p);
    (void)protobuf_c_message_pack(reply->response, p + head);
    gfsi_stream_commit(session->stream);
}

static void send_long(struct session *session, struct gfsi_mux_frame *frame,
                      const struct gfsi_reply *reply)
{
    uint8_t *bytes gfs_auto_free = malloc(reply->response_size);
    if (bytes == NULL) {
        refuse(session, frame->id, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    size_t left = protobuf_c_message_pack(reply->response, bytes);
    frame->body = bytes;
    while (left > 0) {
        frame->body_len = left < GFSI_MUX_BODY_MAX ? left : GFSI_MUX_BODY_MAX;
        left -= frame->body_len;
        frame->flags = left > 0 ? GFSI_MUX_MORE : 0;
        send_frame(session, frame);
        frame->body += frame->body_len;
        frame->n_trailers = 0;
    }
}

static void add_trailer(struct gfsi_mux_frame *frame, const char *key, const char *value)
{
    frame->trailers[frame->n_trailers++] = (struct gfsi_mux_trailer){
        .key = key, .key_len = strlen(key), .value = value, .value_len = strlen(value)};
}

/* Under the mutex of a call that is in the list or was. Whether it was. */
static bool unlink_call(struct mux_call *call)
{
    struct session *session = call->session;
    if (!call->linked) {
        return false;
    }
    call->linked = false;
    *(call->prev != NULL ? &call->prev->next : &session->calls) = call->next;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    return true;
}

static void carrier_reply(struct gfs_rpc_call *base, const struct gfsi_reply *reply)
{
    struct mux_call *call = gfsi_container_of(base, struct mux_call, base);
    struct session *session = call->session;
    struct gfsi_mux_frame frame = {
        .kind = GFSI_MUX_REPLY, .id = call->id, .status = (uint8_t)reply->grpc_status};
    for (size_t i = 0; i < base->n_trailers; i++) {
        add_trailer(&frame, base->trailers[i].key, base->trailers[i].value);
    }
    if (reply->error_name != NULL) {
        add_trailer(&frame, GFS_RPC_KEY_ERROR, reply->error_name);
    }

    if (reply->response == NULL) {
        frame.body = (const uint8_t *)reply->text;
        frame.body_len = strnlen(reply->text, TEXT_MAX);
        send_frame(session, &frame);
    } else if (reply->response_size <= GFSI_MUX_BODY_MAX) {
        send_short(session, &frame, reply);
    } else {
        send_long(session, &frame, reply);
    }

    /* Behind the send: the last reply ends a stream that is drained. */
    (void)pthread_mutex_lock(&session->mutex);
    if (unlink_call(call)) {
        base->refs--; /* the list's; the handler's is still there */
    }
    const bool drained = session->draining && session->calls == NULL;
    (void)pthread_mutex_unlock(&session->mutex);
    if (drained) {
        gfsi_stream_finish(session->stream);
    }
}

static void carrier_free(struct gfs_rpc_call *base)
{
    struct mux_call *call = gfsi_container_of(base, struct mux_call, base);
    session_unref(call->session);
    free(call);
}

/* ---- calls ---- */

static struct mux_call *call_new(struct session *session, struct gfsi_method *method,
                                 const struct gfsi_mux_frame *frame)
{
    static const struct gfsi_carrier carrier = {.reply = carrier_reply, .free = carrier_free};
    struct mux_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    const int64_t now = gfs_clock_mono();
    const int64_t deadline =
        frame->timeout_ns == 0 || frame->timeout_ns > (uint64_t)(GFS_RPC_NO_DEADLINE - now)
            ? GFS_RPC_NO_DEADLINE
            : now + (int64_t)frame->timeout_ns;
    gfsi_call_init(&call->base, &carrier, session->server, method, deadline);
    call->base.peer = session->stream->peer;
    call->session = session;
    call->id = frame->id;
    return call;
}

/* Enters it in the list; false when the stream is being drained. */
static bool link_call(struct session *session, struct mux_call *call)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&session->mutex);
    session->refs++;
    if (session->draining) {
        return false;
    }
    call->linked = true;
    call->base.refs++; /* nobody else knows it yet */
    call->next = session->calls;
    if (call->next != NULL) {
        call->next->prev = call;
    }
    session->calls = call;
    return true;
}

static void take_call(struct session *session, const struct gfsi_mux_frame *frame)
{
    struct gfs_rpc_server *server = session->server;
    struct gfsi_method *method = gfsi_method_find(server, frame->path, frame->path_len);
    if (method == NULL || method->is_stream) {
        refuse(session, frame->id, GRPC_STATUS_UNIMPLEMENTED, "unknown method");
        return;
    }
    if (!gfsi_server_enter(server)) {
        refuse(session, frame->id, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many calls are running");
        return;
    }
    struct mux_call *call = call_new(session, method, frame);
    if (call == NULL) {
        refuse(session, frame->id, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        gfsi_server_leave(server);
        return;
    }
    if (!link_call(session, call)) {
        gfs_rpc_fail(&call->base, GFS_EUNAVAIL, "the server is stopping");
        return;
    }
    gfsi_call_run(&call->base,
                  protobuf_c_message_unpack(method->input, &call->base.budget.allocator,
                                            frame->body_len, frame->body));
}

static void cancel_call(struct session *session, uint32_t id)
{
    (void)pthread_mutex_lock(&session->mutex);
    struct mux_call *call = session->calls;
    while (call != NULL && call->id != id) {
        call = call->next;
    }
    if (call != NULL) {
        (void)unlink_call(call);
    }
    const bool drained = session->draining && session->calls == NULL;
    (void)pthread_mutex_unlock(&session->mutex);

    if (call != NULL) {
        gfsi_call_close(&call->base);
        gfsi_call_unref(&call->base);
    }
    if (drained) {
        gfsi_stream_finish(session->stream);
    }
}

/* ---- the stream ---- */

static int on_open(struct gfs_rpc_stream *stream, void *user, void **out_stream_user)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        return GFS_ENOMEM;
    }
    session->server = user;
    session->stream = gfs_rpc_stream_ref(stream);
    session->refs = 1;
    pthread_mutex_init(&session->mutex, NULL);
    stream->max_message = GFSI_MUX_MESSAGE_MAX;
    stream->hold_bytes = HOLD_BYTES;
    *out_stream_user = session;
    return 0;
}

static void on_message(struct gfs_rpc_stream *stream, void *stream_user, const void *data,
                       size_t len)
{
    struct session *session = stream_user;
    struct gfsi_mux_frame frame;
    if (!gfsi_mux_decode(data, len, &frame)) {
        gfs_rpc_stream_close(stream);
        return;
    }
    switch (frame.kind) {
    case GFSI_MUX_CALL: take_call(session, &frame); break;
    case GFSI_MUX_CANCEL: cancel_call(session, frame.id); break;
    case GFSI_MUX_REPLY:
    case GFSI_MUX_GOAWAY: gfs_rpc_stream_close(stream); break;
    }
}

/* Every call that is left is cancelled. */
static void on_close(struct gfs_rpc_stream *stream, void *stream_user, int code, const char *text)
{
    struct session *session = stream_user;
    (void)stream, (void)code, (void)text;

    (void)pthread_mutex_lock(&session->mutex);
    struct mux_call *calls = session->calls;
    session->calls = NULL;
    session->draining = true;
    for (struct mux_call *call = calls; call != NULL; call = call->next) {
        call->linked = false;
    }
    (void)pthread_mutex_unlock(&session->mutex);

    while (calls != NULL) {
        struct mux_call *call = calls;
        calls = call->next;
        gfsi_call_close(&call->base);
        gfsi_call_unref(&call->base);
    }
    session_unref(session);
}

/* The client is told to go elsewhere; what runs is answered, and the last answer ends the stream.
 * A stream that is not open yet just ends. */
static void on_drain(struct gfs_rpc_stream *stream)
{
    const struct gfsi_mux_frame goaway = {.kind = GFSI_MUX_GOAWAY};
    (void)pthread_mutex_lock(&stream->mutex);
    struct session *session = stream->state == GFSI_STREAM_OPEN ? stream->stream_user : NULL;
    (void)pthread_mutex_unlock(&stream->mutex);
    if (session == NULL) {
        gfsi_stream_fail(stream, true);
        return;
    }

    (void)pthread_mutex_lock(&session->mutex);
    session->draining = true;
    const bool idle = session->calls == NULL;
    (void)pthread_mutex_unlock(&session->mutex);
    send_frame(session, &goaway);
    if (idle) {
        gfsi_stream_finish(stream);
    }
}

int gfsi_mux_serve(struct gfs_rpc_server *server, struct gfs_err *err)
{
    const struct gfsi_method method = {
        .path = GFSI_MUX_PATH,
        .user = server,
        .is_stream = true,
        .stream = {.on_open = on_open, .on_message = on_message, .on_close = on_close},
        /* Bounded by what is read: see HOLD_BYTES, and max_calls. */
        .stream_opts = {.queue_bytes = SIZE_MAX, .queue_messages = UINT_MAX},
        .max_streams = STREAMS_MAX,
        .drain = on_drain,
    };
    /* Frames must fit; without this method clients make unary calls. */
    return server->max_message < GFSI_MUX_MESSAGE_MAX ? 0 : gfsi_method_add(server, &method, err);
}
