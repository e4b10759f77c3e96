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
#define GFSI_STREAM_BATCH_FRAMES 128

struct gfsi_frame {
    struct gfsi_frame *next;
    grpc_slice slice; /* 4 bytes of length, then the message */
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
    struct gfsi_frame *head, *tail;
    size_t queued_bytes;
    unsigned queued;
    grpc_byte_buffer *outgoing, *incoming;
    struct gfsi_tag open_tag, receive_tag, send_tag, close_tag;

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
