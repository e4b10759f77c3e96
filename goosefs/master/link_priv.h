/* Inside of the transport: what transport.c and link.c share. */
#ifndef GFSI_LINK_PRIV_H
#define GFSI_LINK_PRIV_H

#include <pthread.h>

#include <gfs/base/clock.h>
#include <gfs/rpc/stream.h>

#include "transport_priv.h"

#define GFSI_LINK_METHOD "/goosefs.v1.RaftTransport/Connect"

struct gfsi_peer {
    uint64_t id; /* 0: free slot */
    char address[104];
    struct gfs_rpc_channel *channel;
    struct gfs_rpc_stream *out; /* up; a reference */
    struct gfs_rpc_stream *in;  /* up; a reference */
    bool dialing;               /* a stream of ours exists, up or not */
    int64_t next_try;
    struct gfs_backoff backoff;
};

struct gfsi_transport {
    struct gfsi_transport_opts opts;
    char cluster[256];
    struct gfs_rpc_server *server;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct gfsi_peer peers[GFSI_TRANSPORT_PEERS_MAX];
    bool stopping;
    bool dialer_runs;
    pthread_t dialer;
};

/* Under the lock. NULL when there is none. */
struct gfsi_peer *gfsi_peer_find(struct gfsi_transport *t, uint64_t id);
bool gfsi_peer_reachable(const struct gfsi_peer *p);

/* What the server does with streams that come in; its user is the transport. */
const struct gfs_rpc_stream_server *gfsi_link_server(void);

/* Opens a stream to a peer. Without the lock: callbacks may run before it returns. */
int gfsi_link_dial(struct gfsi_transport *t, struct gfs_rpc_channel *channel, uint64_t id);

#endif
