/* The half of a stream that client and server share: queue, framing, life of the gRPC call. */
#include "frame.h"
#include "stream_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>

static void send_completed(struct gfsi_tag *tag, bool ok);
static void receive_completed(struct gfsi_tag *tag, bool ok);

struct gfs_rpc_stream *gfsi_stream_new(const struct gfs_rpc_stream_opts *opts, size_t max_message)
{
    struct gfs_rpc_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    stream->max_message = max_message;
    stream->queue_bytes_max =
        opts != NULL && opts->queue_bytes != 0 ? opts->queue_bytes : GFS_RPC_STREAM_QUEUE_BYTES;
    stream->queue_messages_max = opts != NULL && opts->queue_messages != 0
                                     ? opts->queue_messages
                                     : GFS_RPC_STREAM_QUEUE_MESSAGES;
    stream->send_tag.fn = send_completed;
    stream->receive_tag.fn = receive_completed;
    stream->details = grpc_empty_slice();
    stream->refs = 1;
    grpc_metadata_array_init(&stream->initial);
    grpc_metadata_array_init(&stream->trailing);
    pthread_mutex_init(&stream->mutex, NULL);
    return stream;
}

struct gfs_rpc_stream *gfs_rpc_stream_ref(struct gfs_rpc_stream *stream)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    stream->refs++;
    return stream;
}

void gfs_rpc_stream_unref(struct gfs_rpc_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&stream->mutex);
    const bool last = --stream->refs == 0;
    (void)pthread_mutex_unlock(&stream->mutex);
    if (last) {
        pthread_mutex_destroy(&stream->mutex);
        free(stream);
    }
}

void *gfs_rpc_stream_user(const struct gfs_rpc_stream *stream)
{
    return stream->channel != NULL ? stream->user : stream->stream_user;
}

const char *gfs_rpc_stream_peer(const struct gfs_rpc_stream *stream)
{
    return stream->peer;
}

void gfsi_stream_start(struct gfs_rpc_stream *stream, const grpc_op *ops, size_t n,
                       struct gfsi_tag *tag)
{
    stream->ops++;
    const grpc_call_error rc = grpc_call_start_batch(stream->grpc, ops, n, gfsi_tag_arm(tag), NULL);
    GFS_ASSERT_EQ(rc, GRPC_CALL_OK);
}

/* ---- closing ---- */

/* Before the owner may shut the library down; references to the stream itself may live on. */
void gfsi_stream_release(struct gfs_rpc_stream *stream)
{
    stream->state = GFSI_STREAM_CLOSED;
    while (stream->head != NULL) {
        struct gfsi_frame *frame = stream->head;
        stream->head = frame->next;
        grpc_slice_unref(frame->slice);
        free(frame);
    }
    stream->tail = NULL;
    grpc_byte_buffer_destroy(GFS_TAKE_PTR(stream->outgoing));
    grpc_byte_buffer_destroy(GFS_TAKE_PTR(stream->incoming));
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_slice_unref(stream->details);
    stream->details = grpc_empty_slice();
    if (stream->grpc != NULL) {
        grpc_call_unref(GFS_TAKE_PTR(stream->grpc));
    }
}

void gfsi_stream_op_done(struct gfs_rpc_stream *stream)
{
    (void)pthread_mutex_lock(&stream->mutex);
    const bool last = --stream->ops == 0;
    if (last) {
        gfsi_stream_release(stream);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    if (last) {
        stream->closed(stream);
        gfs_rpc_stream_unref(stream);
    }
}

void gfsi_stream_fail(struct gfs_rpc_stream *stream, bool here)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    if (stream->state >= GFSI_STREAM_CLOSING) {
        return;
    }
    stream->state = GFSI_STREAM_CLOSING;
    stream->closed_here = here;
    (void)grpc_call_cancel(stream->grpc, NULL);
}

void gfs_rpc_stream_close(struct gfs_rpc_stream *stream)
{
    gfsi_stream_fail(stream, true);
}

/* ---- sending ---- */

int gfs_rpc_stream_send2(struct gfs_rpc_stream *stream, const void *head, size_t head_len,
                         const void *data, size_t len)
{
    if (len > stream->max_message || head_len > stream->max_message ||
        head_len + len + GFSI_FRAME_HEADER > stream->max_message) {
        return GFS_ERANGE;
    }
    const size_t size = GFSI_FRAME_HEADER + head_len + len;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    if (stream->state >= GFSI_STREAM_CLOSING) {
        return GFS_EUNAVAIL;
    }
    if (stream->queued >= stream->queue_messages_max ||
        (stream->queued > 0 && stream->queued_bytes + size > stream->queue_bytes_max)) {
        return GFS_EBUSY;
    }
    struct gfsi_frame *frame = malloc(sizeof(*frame));
    if (frame == NULL) {
        return GFS_ENOMEM;
    }

    frame->next = NULL;
    frame->slice = grpc_slice_malloc(size);
    uint8_t *p = GRPC_SLICE_START_PTR(frame->slice);
    gfsi_frame_put_header(p, (uint32_t)(head_len + len));
    if (head_len > 0) {
        memcpy(p + GFSI_FRAME_HEADER, head, head_len);
    }
    if (len > 0) {
        memcpy(p + GFSI_FRAME_HEADER + head_len, data, len);
    }
    *(stream->head == NULL ? &stream->head : &stream->tail->next) = frame;
    stream->tail = frame;
    stream->queued++;
    stream->queued_bytes += size;
    gfsi_stream_pump(stream);
    return 0;
}

int gfs_rpc_stream_send(struct gfs_rpc_stream *stream, const void *data, size_t len)
{
    return gfs_rpc_stream_send2(stream, NULL, 0, data, len);
}

void gfsi_stream_pump(struct gfs_rpc_stream *stream)
{
    if (stream->sending || !stream->may_send || stream->head == NULL ||
        stream->state >= GFSI_STREAM_CLOSING) {
        return;
    }

    grpc_slice slices[GFSI_STREAM_BATCH_FRAMES];
    const size_t limit = stream->max_message < GFSI_STREAM_BATCH_BYTES ? stream->max_message
                                                                       : GFSI_STREAM_BATCH_BYTES;
    size_t n = 0, bytes = 0;
    while (stream->head != NULL && n < GFSI_STREAM_BATCH_FRAMES) {
        struct gfsi_frame *frame = stream->head;
        const size_t size = GRPC_SLICE_LENGTH(frame->slice);
        if (n > 0 && bytes + size > limit) {
            break;
        }
        slices[n++] = frame->slice;
        bytes += size;
        stream->head = frame->next;
        stream->queued--;
        stream->queued_bytes -= size;
        free(frame);
    }

    stream->outgoing = grpc_raw_byte_buffer_create(slices, n);
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(slices[i]);
    }
    stream->sending = true;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = stream->outgoing;
    gfsi_stream_start(stream, &op, 1, &stream->send_tag);
}

static void send_completed(struct gfsi_tag *tag, bool ok)
{
    struct gfs_rpc_stream *stream = gfsi_container_of(tag, struct gfs_rpc_stream, send_tag);

    (void)pthread_mutex_lock(&stream->mutex);
    grpc_byte_buffer_destroy(GFS_TAKE_PTR(stream->outgoing));
    stream->sending = false;
    /* A failed write means that the call is over; its status says so next. */
    if (ok) {
        gfsi_stream_pump(stream);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
    gfsi_stream_op_done(stream);
}

/* ---- receiving ---- */

void gfsi_stream_receive(struct gfs_rpc_stream *stream)
{
    if (stream->state >= GFSI_STREAM_CLOSING) {
        return;
    }
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->incoming;
    gfsi_stream_start(stream, &op, 1, &stream->receive_tag);
}

/* Hands out each frame. false when the bytes are no whole number of frames. */
static bool deliver(struct gfs_rpc_stream *stream, const uint8_t *p, size_t len)
{
    const uint8_t *message;
    size_t n;
    while (len > 0) {
        const size_t used = gfsi_frame_next(p, len, &message, &n);
        if (used == 0) {
            return false;
        }
        stream->message(stream, message, n);
        p += used;
        len -= used;
    }
    return true;
}

static void receive_completed(struct gfsi_tag *tag, bool ok)
{
    struct gfs_rpc_stream *stream = gfsi_container_of(tag, struct gfs_rpc_stream, receive_tag);
    grpc_byte_buffer *incoming = GFS_TAKE_PTR(stream->incoming);
    if (!ok || incoming == NULL) {
        stream->ended(stream);
        gfsi_stream_op_done(stream);
        return;
    }

    grpc_slice slice;
    bool valid = gfsi_bytes_flatten(incoming, &slice);
    if (valid) {
        valid = deliver(stream, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
    }
    grpc_byte_buffer_destroy(incoming);
    if (!valid) {
        gfsi_stream_fail(stream, false);
    }

    (void)pthread_mutex_lock(&stream->mutex);
    gfsi_stream_receive(stream);
    (void)pthread_mutex_unlock(&stream->mutex);
    gfsi_stream_op_done(stream);
}
