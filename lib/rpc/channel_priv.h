/* Inside the client: the channel, and what calls and streams need of it. */
#ifndef GFSI_RPC_CHANNEL_PRIV_H
#define GFSI_RPC_CHANNEL_PRIV_H

#include "rpc_priv.h"

#include <gfs/rpc/client.h>

#define GFSI_CHANNEL_IDLE_QUEUES 16

/* A gRPC call that close must be able to cancel. */
struct gfsi_inflight {
    grpc_call *grpc;
    struct gfsi_inflight *next, *prev;
};

struct gfsi_mux;

struct gfs_rpc_channel {
    char target[GFSI_TARGET_MAX];
    size_t max_message;
    bool wait_for_ready;
    grpc_channel *grpc;
    struct gfsi_mux *mux; /* NULL: every call is a unary one */

    pthread_mutex_t mutex;
    pthread_cond_t idle; /* n_async became 0 */
    bool closed;
    bool watching; /* watch_tag is under way */
    struct gfsi_tag watch_tag;
    struct gfsi_loop loop; /* asynchronous calls and streams; threads from the first on */
    unsigned n_async, max_async;
    struct gfsi_inflight *inflight;
    grpc_completion_queue *queues[GFSI_CHANNEL_IDLE_QUEUES]; /* for synchronous calls, reused */
    unsigned n_queues;
};

/* Creates the gRPC call and enters it in the list; GFS_ECANCELLED once the channel is closed. `cq`
 * receives its completions. */
int gfsi_channel_begin(struct gfs_rpc_channel *channel, struct gfsi_inflight *inflight,
                       const char *path, int64_t deadline, grpc_completion_queue *cq,
                       struct gfs_err *err);
/* Takes it out and releases it. */
void gfsi_channel_end(struct gfs_rpc_channel *channel, struct gfsi_inflight *inflight);

/* Reserves one of the asynchronous places, starting the channel's thread for the first. */
int gfsi_channel_enter_async(struct gfs_rpc_channel *channel, struct gfs_err *err);
void gfsi_channel_leave_async(struct gfs_rpc_channel *channel);

/* The server cannot be reached: the channel's thread looks after the connection until it is there.
 * gRPC itself does so only while a call waits for it, else every 5 s. */
void gfsi_channel_reconnect(struct gfs_rpc_channel *channel);

#endif
