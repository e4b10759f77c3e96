/* The half of a stream that client and server share: queue, framing, life of the gRPC call. */
#include "frame.h"
#include "stream_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>

static void send_completed(struct gfsi_tag *tag, bool ok);
static void receive_completed(struct gfsi_tag *tag, bool ok);
static void status_completed(struct gfsi_tag *tag, bool ok);

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
    stream->status_tag.fn = status_completed;
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
        struct gfsi_chunk *chunk = stream->head;
        stream->head = chunk->next;
        grpc_slice_unref(chunk->slice);
        free(chunk);
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

/* Where the next @size bytes go: behind the last chunk if there is room. While nothing is under way
 * the frame goes out at once and gets a chunk of its own size. Under the mutex. */
static uint8_t *chunk_room(struct gfs_rpc_stream *stream, size_t size)
{
    struct gfsi_chunk *chunk = stream->tail;
    if (stream->head == NULL || GRPC_SLICE_LENGTH(chunk->slice) - chunk->used < size) {
        const size_t least = stream->sending || stream->delivering ? GFSI_STREAM_CHUNK_BYTES : 0;
        chunk = malloc(sizeof(*chunk));
        if (chunk == NULL) {
            return NULL;
        }
        *chunk = (struct gfsi_chunk){.slice = grpc_slice_malloc(size < least ? least : size)};
        *(stream->head == NULL ? &stream->head : &stream->tail->next) = chunk;
        stream->tail = chunk;
    }
    uint8_t *p = GRPC_SLICE_START_PTR(chunk->slice) + chunk->used;
    chunk->used += size;
    chunk->frames++;
    return p;
}

uint8_t *gfsi_stream_reserve(struct gfs_rpc_stream *stream, size_t len, int *out_code)
{
    if (len > stream->max_message || len + GFSI_FRAME_HEADER > stream->max_message) {
        *out_code = GFS_ERANGE;
        return NULL;
    }
    const size_t size = GFSI_FRAME_HEADER + len;

    (void)pthread_mutex_lock(&stream->mutex);
    uint8_t *p = NULL;
    if (stream->state >= GFSI_STREAM_CLOSING || stream->finishing) {
        *out_code = GFS_EUNAVAIL;
    } else if (stream->queued >= stream->queue_messages_max ||
               (stream->queued > 0 && stream->queued_bytes + size > stream->queue_bytes_max)) {
        *out_code = GFS_EBUSY;
    } else {
        p = chunk_room(stream, size);
        *out_code = p == NULL ? GFS_ENOMEM : 0;
    }
    if (p == NULL) {
        (void)pthread_mutex_unlock(&stream->mutex);
        return NULL;
    }

    stream->queued++;
    stream->queued_bytes += size;
    gfsi_frame_put_header(p, (uint32_t)len);
    return p + GFSI_FRAME_HEADER;
}

void gfsi_stream_commit(struct gfs_rpc_stream *stream)
{
    /* What a callback sends goes out when the message it is about is done with. */
    if (!stream->delivering || !pthread_equal(stream->deliverer, pthread_self())) {
        gfsi_stream_pump(stream);
    }
    (void)pthread_mutex_unlock(&stream->mutex);
}

int gfs_rpc_stream_send2(struct gfs_rpc_stream *stream, const void *head, size_t head_len,
                         const void *data, size_t len)
{
    if (len > stream->max_message || head_len > stream->max_message) {
        return GFS_ERANGE;
    }
    int rc;
    uint8_t *p = gfsi_stream_reserve(stream, head_len + len, &rc);
    if (p == NULL) {
        return rc;
    }

    if (head_len > 0) {
        memcpy(p, head, head_len);
    }
    if (len > 0) {
        memcpy(p + head_len, data, len);
    }
    gfsi_stream_commit(stream);
    return 0;
}

int gfs_rpc_stream_send(struct gfs_rpc_stream *stream, const void *data, size_t len)
{
    return gfs_rpc_stream_send2(stream, NULL, 0, data, len);
}

/* Takes what goes out in one gRPC message from the queue. Returns the number of slices. */
static size_t take_batch(struct gfs_rpc_stream *stream, grpc_slice slices[GFSI_STREAM_BATCH_CHUNKS])
{
    const size_t limit = stream->max_message < GFSI_STREAM_BATCH_BYTES ? stream->max_message
                                                                       : GFSI_STREAM_BATCH_BYTES;
    size_t n = 0, bytes = 0;
    while (stream->head != NULL && n < GFSI_STREAM_BATCH_CHUNKS) {
        struct gfsi_chunk *chunk = stream->head;
        if (n > 0 && bytes + chunk->used > limit) {
            break;
        }
        slices[n] = chunk->slice;
        GRPC_SLICE_SET_LENGTH(slices[n], chunk->used);
        n++;
        bytes += chunk->used;
        stream->head = chunk->next;
        stream->queued -= chunk->frames;
        stream->queued_bytes -= chunk->used;
        free(chunk);
    }
    return n;
}

/* The status that ends the call. Under the mutex. */
static void send_status(struct gfs_rpc_stream *stream)
{
    stream->may_send = false;
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = GRPC_STATUS_OK;
    gfsi_stream_start(stream, &op, 1, &stream->status_tag);
}

void gfsi_stream_pump(struct gfs_rpc_stream *stream)
{
    if (stream->sending || !stream->may_send || stream->state >= GFSI_STREAM_CLOSING) {
        return;
    }
    if (stream->head == NULL) {
        if (stream->finishing) {
            send_status(stream);
        }
        return;
    }

    grpc_slice slices[GFSI_STREAM_BATCH_CHUNKS];
    const size_t n = take_batch(stream, slices);
    stream->outgoing = grpc_raw_byte_buffer_create(slices, n);
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(slices[i]);
    }
    stream->sending = true;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = stream->outgoing;
    gfsi_stream_start(stream, &op, 1, &stream->send_tag);
}

void gfsi_stream_finish(struct gfs_rpc_stream *stream)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&stream->mutex);
    if (!stream->finishing) {
        stream->finishing = true;
        gfsi_stream_pump(stream);
    }
}

static void status_completed(struct gfsi_tag *tag, bool ok)
{
    (void)ok;
    gfsi_stream_op_done(gfsi_container_of(tag, struct gfs_rpc_stream, status_tag));
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
    if (stream->held && stream->queued_bytes <= stream->hold_bytes) {
        stream->held = false;
        gfsi_stream_receive(stream);
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
    if (stream->hold_bytes != 0 && stream->queued_bytes > stream->hold_bytes) {
        stream->held = true; /* until the peer has read what is queued for it */
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

    (void)pthread_mutex_lock(&stream->mutex);
    stream->delivering = true;
    stream->deliverer = pthread_self();
    (void)pthread_mutex_unlock(&stream->mutex);
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
    stream->delivering = false;
    gfsi_stream_pump(stream);
    gfsi_stream_receive(stream);
    (void)pthread_mutex_unlock(&stream->mutex);
    gfsi_stream_op_done(stream);
}
