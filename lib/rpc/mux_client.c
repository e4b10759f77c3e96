/* Calls that share one stream, on the client: see mux_priv.h. */
#include "mux_priv.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#include "mux_wire.h"
#include "stream_priv.h"

#define CALLS_MAX      1024u /* under way; more are unary calls */
#define OPEN_AFTER     3u    /* answered unary calls, since the start or the last stream */
#define UNSUPPORTED_NS (60 * GFS_NS_PER_S) /* until a server is asked again */

enum state { IDLE, OPENING, UP, LEAVING };

struct slot {
    struct gfsi_mux_call *call; /* NULL: free */
    uint32_t id;                /* of the call, or of the next: generation * CALLS_MAX + index */
    uint32_t next_free;
};

struct gfsi_mux {
    struct gfs_rpc_channel *channel;
    atomic_int_fast64_t earliest; /* no asynchronous call ends before; written under the mutex */

    pthread_mutex_t mutex; /* all below; taken before the stream's */
    enum state state;
    struct gfs_rpc_stream *stream; /* a reference; while UP and LEAVING */
    unsigned answers;
    int64_t again; /* no stream is opened before */
    uint32_t first_free;
    struct slot slots[CALLS_MAX];
};

struct gfsi_mux *gfsi_mux_new(struct gfs_rpc_channel *channel)
{
    struct gfsi_mux *mux = calloc(1, sizeof(*mux));
    if (mux == NULL) {
        return NULL;
    }
    mux->channel = channel;
    atomic_init(&mux->earliest, INT64_MAX);
    pthread_mutex_init(&mux->mutex, NULL);
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        mux->slots[i] = (struct slot){.id = i, .next_free = i + 1};
    }
    return mux;
}

void gfsi_mux_free(struct gfsi_mux *mux)
{
    if (mux != NULL) {
        pthread_mutex_destroy(&mux->mutex);
        free(mux);
    }
}

/* ---- the table of calls; under the mutex ---- */

static bool slot_take(struct gfsi_mux *mux, struct gfsi_mux_call *call)
{
    if (mux->first_free == CALLS_MAX) {
        return false;
    }
    struct slot *slot = &mux->slots[mux->first_free];
    mux->first_free = slot->next_free;
    slot->call = call;
    call->id = slot->id;
    if (call->done != NULL && call->deadline < atomic_load(&mux->earliest)) {
        atomic_store(&mux->earliest, call->deadline);
    }
    return true;
}

static void slot_give(struct gfsi_mux *mux, struct slot *slot)
{
    slot->call = NULL;
    slot->id += CALLS_MAX;
    slot->next_free = mux->first_free;
    mux->first_free = (uint32_t)(slot - mux->slots);
}

/* The slot of a call under way, or NULL. */
static struct slot *slot_find(struct gfsi_mux *mux, uint32_t id)
{
    struct slot *slot = &mux->slots[id % CALLS_MAX];
    return slot->call != NULL && slot->id == id ? slot : NULL;
}

/* ---- the end of a call, which is in the table no more; without the mutex ---- */

static void end(struct gfsi_mux *mux, struct gfsi_mux_call *call)
{
    free(GFS_TAKE_PTR(call->partial));
    if (call->done == NULL) {
        gfsi_tsan_release(call);
        (void)sem_post(&call->answered); /* the caller may be gone right behind the addition */
        return;
    }
    call->done(call->arg, &call->result, call->response);
    free(call);
    gfsi_channel_leave_async(mux->channel);
}

static void end_with(struct gfsi_mux *mux, struct gfsi_mux_call *call, int grpc_status, int code,
                     const char *text)
{
    call->result = (struct gfs_rpc_result){.code = code, .grpc_status = grpc_status};
    (void)snprintf(call->result.text, sizeof(call->result.text), "%s", text);
    end(mux, call);
}

static void end_late(struct gfsi_mux *mux, struct gfsi_mux_call *call)
{
    end_with(mux, call, GRPC_STATUS_DEADLINE_EXCEEDED, GFS_ETIMEOUT, "Deadline Exceeded");
}

/* ---- replies ---- */

static void end_with_reply(struct gfsi_mux *mux, struct gfsi_mux_call *call,
                           const struct gfsi_mux_frame *frame)
{
    char error_name[32];
    struct gfs_rpc_result *result = &call->result;
    *result = (struct gfs_rpc_result){.grpc_status = frame->status};
    gfsi_mux_trailer_find(frame, GFS_RPC_KEY_LEADER, result->leader, sizeof(result->leader));
    if (frame->status != GRPC_STATUS_OK) {
        gfsi_mux_trailer_find(frame, GFS_RPC_KEY_ERROR, error_name, sizeof(error_name));
        gfsi_mux_text(frame->body, frame->body_len, result->text, sizeof(result->text));
        result->code = gfsi_code_of_status(frame->status, error_name);
        end(mux, call);
        return;
    }

    struct gfsi_budget budget;
    gfsi_budget_init(&budget, mux->channel->max_message);
    const bool whole = call->partial == NULL;
    call->response = protobuf_c_message_unpack(call->output, &budget.allocator,
                                               whole ? frame->body_len : call->partial_len,
                                               whole ? frame->body : call->partial);
    if (call->response == NULL) {
        result->code = GFS_EPROTO;
        (void)snprintf(result->text, sizeof(result->text), "the answer of %s does not parse",
                       mux->channel->target);
    }
    end(mux, call);
}

/* Adds a piece to a response of several frames. false: too long, or no memory. */
static bool add_piece(struct gfsi_mux *mux, struct gfsi_mux_call *call,
                      const struct gfsi_mux_frame *frame)
{
    if (frame->body_len > mux->channel->max_message - call->partial_len) {
        return false;
    }
    uint8_t *grown = realloc(call->partial, call->partial_len + frame->body_len + 1);
    if (grown == NULL) {
        return false;
    }
    memcpy(grown + call->partial_len, frame->body, frame->body_len);
    call->partial = grown;
    call->partial_len += frame->body_len;
    return true;
}

static void take_reply(struct gfsi_mux *mux, const struct gfsi_mux_frame *frame)
{
    const bool more = (frame->flags & GFSI_MUX_MORE) != 0;
    (void)pthread_mutex_lock(&mux->mutex);
    struct slot *slot = slot_find(mux, frame->id);
    if (slot == NULL) { /* its deadline has passed */
        (void)pthread_mutex_unlock(&mux->mutex);
        return;
    }
    struct gfsi_mux_call *call = slot->call;
    const bool pieces = more || call->partial != NULL;
    const bool fits = !pieces || frame->status != GRPC_STATUS_OK || add_piece(mux, call, frame);
    const bool last = !more || !fits;
    if (last) {
        slot_give(mux, slot);
    }
    (void)pthread_mutex_unlock(&mux->mutex);

    if (!fits) {
        end_with(mux, call, GRPC_STATUS_RESOURCE_EXHAUSTED,
                 gfsi_code_of_status(GRPC_STATUS_RESOURCE_EXHAUSTED, ""),
                 "the response is larger than the limit");
    } else if (last) {
        end_with_reply(mux, call, frame);
    }
}

/* ---- the stream ---- */

static void on_open(struct gfs_rpc_stream *stream, void *user)
{
    struct gfsi_mux *mux = user;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mux->mutex);
    mux->stream = gfs_rpc_stream_ref(stream);
    mux->state = UP;
}

static void on_message(struct gfs_rpc_stream *stream, void *user, const void *data, size_t len)
{
    struct gfsi_mux *mux = user;
    struct gfsi_mux_frame frame;
    if (!gfsi_mux_decode(data, len, &frame) || frame.kind == GFSI_MUX_CALL ||
        frame.kind == GFSI_MUX_CANCEL) {
        gfs_rpc_stream_close(stream);
        return;
    }
    if (frame.kind == GFSI_MUX_REPLY) {
        take_reply(mux, &frame);
        return;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mux->mutex);
    mux->state = LEAVING;
}

/* What is under way ends as a unary call does whose connection breaks: it may or may not have run.
 */
static void on_close(struct gfs_rpc_stream *stream, void *user, int code, const char *text)
{
    struct gfsi_mux *mux = user;
    (void)stream;
    (void)pthread_mutex_lock(&mux->channel->mutex);
    const bool here = mux->channel->closed;
    mux->channel->max_async--;
    (void)pthread_mutex_unlock(&mux->channel->mutex);

    (void)pthread_mutex_lock(&mux->mutex);
    struct gfs_rpc_stream *old = GFS_TAKE_PTR(mux->stream);
    mux->state = IDLE;
    mux->answers = 0;
    mux->again = code == GFS_EUNSUPPORTED ? gfs_clock_mono() + UNSUPPORTED_NS : 0;
    (void)pthread_mutex_unlock(&mux->mutex);
    gfs_rpc_stream_unref(old);

    /* No call enters any more before this returns: a new stream opens later, on this thread. */
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        (void)pthread_mutex_lock(&mux->mutex);
        struct gfsi_mux_call *call = mux->slots[i].call;
        if (call != NULL) {
            slot_give(mux, &mux->slots[i]);
        }
        (void)pthread_mutex_unlock(&mux->mutex);
        if (call != NULL && here) {
            end_with(mux, call, GRPC_STATUS_CANCELLED, GFS_ECANCELLED, "the channel is closed");
        } else if (call != NULL) {
            end_with(mux, call, GRPC_STATUS_UNAVAILABLE, GFS_EUNAVAIL,
                     text[0] != '\0' ? text : "the connection is lost");
        }
    }
}

void gfsi_mux_note_answer(struct gfsi_mux *mux)
{
    static const struct gfs_rpc_stream_client callbacks = {
        .on_open = on_open, .on_message = on_message, .on_close = on_close};
    (void)pthread_mutex_lock(&mux->mutex);
    const bool open = mux->state == IDLE && ++mux->answers >= OPEN_AFTER &&
                      (mux->again == 0 || gfs_clock_mono() >= mux->again);
    if (open) {
        mux->state = OPENING;
    }
    (void)pthread_mutex_unlock(&mux->mutex);
    if (!open) {
        return;
    }

    /* The stream takes an asynchronous place, which calls shall not miss. */
    (void)pthread_mutex_lock(&mux->channel->mutex);
    mux->channel->max_async++;
    (void)pthread_mutex_unlock(&mux->channel->mutex);
    struct gfs_rpc_stream *stream;
    if (gfsi_stream_open_sized(mux->channel, GFSI_MUX_PATH, GFSI_MUX_MESSAGE_MAX, &callbacks, mux,
                               &stream) == 0) {
        gfs_rpc_stream_unref(stream);
        return;
    }
    (void)pthread_mutex_lock(&mux->channel->mutex);
    mux->channel->max_async--;
    (void)pthread_mutex_unlock(&mux->channel->mutex);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mux->mutex);
    mux->state = IDLE;
    mux->answers = 0;
}

/* ---- asking ---- */

/* Sends one frame, packing the request where it is sent from. */
static int send_call(struct gfs_rpc_stream *stream, const struct gfsi_mux_call *call,
                     const char *path, const ProtobufCMessage *request, size_t size)
{
    const int64_t left = call->deadline - gfs_clock_mono();
    const struct gfsi_mux_frame frame = {
        .kind = GFSI_MUX_CALL,
        .id = call->id,
        .timeout_ns = call->deadline == GFS_RPC_NO_DEADLINE ? 0
                      : left < 1                            ? 1
                                                            : (uint64_t)left,
        .path = path,
        .path_len = strlen(path),
    };
    const size_t head = gfsi_mux_head_size(&frame);
    int rc;
    uint8_t *p = gfsi_stream_reserve(stream, head + size, &rc);
    if (p == NULL) {
        return rc;
    }
    gfsi_mux_head_put(&frame, p);
    (void)protobuf_c_message_pack(request, p + head);
    gfsi_stream_commit(stream);
    return 0;
}

static void send_cancel(struct gfs_rpc_stream *stream, uint32_t id)
{
    const struct gfsi_mux_frame frame = {.kind = GFSI_MUX_CANCEL, .id = id};
    uint8_t bytes[GFSI_MUX_HEADER];
    gfsi_mux_head_put(&frame, bytes);
    (void)gfs_rpc_stream_send(stream, bytes, sizeof(bytes)); /* it would only spare work */
}

bool gfsi_mux_begin(struct gfsi_mux *mux, struct gfsi_mux_call *call, const char *path,
                    const ProtobufCMessage *request)
{
    const size_t size = protobuf_c_message_get_packed_size(request);
    if (size > GFSI_MUX_BODY_MAX || call->deadline <= gfs_clock_mono()) {
        return false;
    }
    if (call->done == NULL) {
        (void)sem_init(&call->answered, 0, 0);
    }

    (void)pthread_mutex_lock(&mux->mutex);
    struct gfs_rpc_stream *stream = NULL;
    if (mux->state == UP && slot_take(mux, call)) {
        stream = gfs_rpc_stream_ref(mux->stream);
    }
    const uint32_t id = call->id;
    (void)pthread_mutex_unlock(&mux->mutex);
    if (stream == NULL) {
        return false;
    }

    /* From here on the call may end, and be freed, at any time: unless it is still in its slot when
     * the send fails. */
    const struct gfsi_mux_call copy = {.id = id, .deadline = call->deadline};
    bool taken = true;
    if (send_call(stream, &copy, path, request, size) != 0) {
        (void)pthread_mutex_lock(&mux->mutex);
        struct slot *slot = slot_find(mux, id);
        if (slot != NULL) {
            slot_give(mux, slot);
            taken = false;
        }
        (void)pthread_mutex_unlock(&mux->mutex);
    }
    gfs_rpc_stream_unref(stream);
    return taken;
}

/* Takes a late call out; false: its answer is being delivered. */
static bool take_back(struct gfsi_mux *mux, uint32_t id)
{
    (void)pthread_mutex_lock(&mux->mutex);
    struct slot *slot = slot_find(mux, id);
    struct gfs_rpc_stream *stream = NULL;
    if (slot != NULL) {
        slot_give(mux, slot);
        stream = mux->stream != NULL ? gfs_rpc_stream_ref(mux->stream) : NULL;
    }
    (void)pthread_mutex_unlock(&mux->mutex);
    if (stream != NULL) {
        send_cancel(stream, id);
        gfs_rpc_stream_unref(stream);
    }
    return slot != NULL;
}

void gfsi_mux_wait(struct gfsi_mux *mux, struct gfsi_mux_call *call)
{
    const struct timespec until = {.tv_sec = call->deadline / GFS_NS_PER_S,
                                   .tv_nsec = call->deadline % GFS_NS_PER_S};
    int rc;
    do {
        rc = call->deadline == GFS_RPC_NO_DEADLINE
                 ? sem_wait(&call->answered)
                 : sem_clockwait(&call->answered, CLOCK_MONOTONIC, &until);
    } while (rc < 0 && errno == EINTR);

    if (rc < 0) {
        if (take_back(mux, call->id)) {
            end_late(mux, call);
        }
        while (sem_wait(&call->answered) < 0) { /* posted, or about to be */
        }
    }
    gfsi_tsan_acquire(call);
    (void)sem_destroy(&call->answered);
}

int64_t gfsi_mux_tick(void *arg)
{
    struct gfsi_mux *mux = arg;
    const int64_t earliest = atomic_load(&mux->earliest);
    const int64_t now = earliest == INT64_MAX ? 0 : gfs_clock_mono();
    if (now < earliest) {
        return earliest;
    }

    int64_t next = INT64_MAX;
    struct gfsi_mux_call *late[CALLS_MAX];
    uint32_t ids[CALLS_MAX];
    unsigned n = 0;
    (void)pthread_mutex_lock(&mux->mutex);
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        struct gfsi_mux_call *call = mux->slots[i].call;
        if (call == NULL || call->done == NULL) {
            continue;
        }
        if (call->deadline > now) {
            next = call->deadline < next ? call->deadline : next;
            continue;
        }
        ids[n] = mux->slots[i].id;
        late[n++] = call;
        slot_give(mux, &mux->slots[i]);
    }
    atomic_store(&mux->earliest, next);
    struct gfs_rpc_stream *stream =
        n > 0 && mux->stream != NULL ? gfs_rpc_stream_ref(mux->stream) : NULL;
    (void)pthread_mutex_unlock(&mux->mutex);

    for (unsigned i = 0; i < n; i++) {
        if (stream != NULL) {
            send_cancel(stream, ids[i]);
        }
        end_late(mux, late[i]);
    }
    gfs_rpc_stream_unref(stream);
    return next;
}

bool gfsi_mux_is_up(struct gfs_rpc_channel *channel)
{
    struct gfsi_mux *mux = channel->mux;
    if (mux == NULL) {
        return false;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mux->mutex);
    return mux->state == UP;
}
