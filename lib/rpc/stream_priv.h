/* Inside streams: what client and server have in common. */
#ifndef GFSI_RPC_STREAM_PRIV_H
#define GFSI_RPC_STREAM_PRIV_H

#include "channel_priv.h"

#include <gfs/rpc/stream.h>

/* Initial metadata by which a server says that it accepted the stream: a refusal has initial
 * metadata as well. */
#define GFSI_STREAM_ACCEPTED "goosefs-stream"

/* What goes out in one write, unless a single message is larger. */
#define GFSI_STREAM_BATCH_BYTES  (256u << 10)
#define GFSI_STREAM_BATCH_CHUNKS 128

/* Frames that wait share pieces of at least this size, so that many small ones go out as few. */
#define GFSI_STREAM_CHUNK_BYTES (8u << 10)

struct gfsi_chunk {
    struct gfsi_chunk *next;
    grpc_slice slice; /* frames: 4 bytes of length, then the message */
    size_t used;
    unsigned frames;
};

/*
 *   opening --> open --> closing --> closed
 *       \_________________/
 *
 * opening: messages queue; the client's may already be on their way. open: both directions run.
 * closing: nothing new is started; batches under way come back. closed: none is under way, the gRPC
 * call is released, on_close runs or has run.
 */
enum gfsi_stream_state {
    GFSI_STREAM_OPENING,
    GFSI_STREAM_OPEN,
    GFSI_STREAM_CLOSING,
    GFSI_STREAM_CLOSED,
};

struct gfs_rpc_stream {
    size_t max_message; /* of one message, frame header included */
    size_t queue_bytes_max;
    unsigned queue_messages_max;
    void *user;
    char peer[GFSI_TARGET_MAX];

    /* The side's ends of it: called without the lock, never at the same time. */
    void (*message)(struct gfs_rpc_stream *stream, const void *data, size_t len);
    /* The gRPC call is gone: on_close, unlink from the owner. The last thing that happens. */
    void (*closed)(struct gfs_rpc_stream *stream);
    /* The peer sent its last message. */
    void (*ended)(struct gfs_rpc_stream *stream);

    pthread_mutex_t mutex; /* all below; held while a batch is started */
    enum gfsi_stream_state state;
    unsigned refs;
    unsigned ops; /* batches under way */
    grpc_call *grpc;
    bool closed_here;
    bool may_send; /* initial metadata is on its way */
    bool sending;
    bool finishing;  /* server: the status follows what is queued */
    bool delivering; /* on_message runs, on this thread: what it sends goes out together */
    pthread_t deliverer;
    size_t hold_bytes; /* nothing is read while more than this waits to be sent; 0: never held */
    bool held;
    struct gfsi_chunk *head, *tail;
    size_t queued_bytes;
    unsigned queued;
    grpc_byte_buffer *outgoing, *incoming;
    struct gfsi_tag open_tag, receive_tag, send_tag, status_tag, close_tag;

    /* client */
    struct gfs_rpc_channel *channel;
    struct gfs_rpc_stream_client client;
    struct gfsi_inflight inflight; /* holds a reference of its own to the gRPC call */
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    int code; /* how it ended */
    char text[GFS_ERR_TEXT_MAX];

    /* server */
    struct gfs_rpc_server *server;
    struct gfsi_method *method;
    void *stream_user;
    int cancelled;

    struct gfs_rpc_stream *next, *prev; /* the owner's list, under the owner's mutex */
};

struct gfs_rpc_stream *gfsi_stream_new(const struct gfs_rpc_stream_opts *opts, size_t max_message);

/* gfs_rpc_stream_open with another limit for what the stream sends and no bound of its queue's own:
 * for a user who bounds it. */
int gfsi_stream_open_sized(struct gfs_rpc_channel *channel, const char *method, size_t max_message,
                           const struct gfs_rpc_stream_client *callbacks, void *user,
                           struct gfs_rpc_stream **out);

/* Room for a message of @len bytes at the end of the queue, to be filled under the mutex, which is
 * held on success. NULL, without it, and *out_code: what gfs_rpc_stream_send would return. */
uint8_t *gfsi_stream_reserve(struct gfs_rpc_stream *stream, size_t len, int *out_code);
/* Behind the last gfsi_stream_reserve: sends what is queued, releases the mutex. */
void gfsi_stream_commit(struct gfs_rpc_stream *stream);
/* Server: ends the stream with OK behind what is queued. Thread: any. */
void gfsi_stream_finish(struct gfs_rpc_stream *stream);

/* Starts a batch and counts it. Under the mutex. */
void gfsi_stream_start(struct gfs_rpc_stream *stream, const grpc_op *ops, size_t n,
                       struct gfsi_tag *tag);
/* Starts reading the next message. Under the mutex. */
void gfsi_stream_receive(struct gfs_rpc_stream *stream);
/* Sends what is queued if nothing is on its way. Under the mutex. */
void gfsi_stream_pump(struct gfs_rpc_stream *stream);
/* Gives back everything of gRPC's, and refuses to send from here on. Under the mutex. */
void gfsi_stream_release(struct gfs_rpc_stream *stream);
/* One batch came back. Without the mutex; the stream may be gone afterwards. */
void gfsi_stream_op_done(struct gfs_rpc_stream *stream);
/* Nothing more is to be started; `here`: because this side closed it. Takes the mutex. */
void gfsi_stream_fail(struct gfs_rpc_stream *stream, bool here);

#endif
