/* One call on the server, whatever carried it here: a gRPC call of its own (unary_call.c) or a
 * stream shared with others (mux_server.c).
 *
 *   started -> handler -> reply
 *        \______ closed (client gone, cancelled, deadline, server stops) ___/
 *
 * A handler may hold the call longer than its carrier lives: once `closed`, a reply goes nowhere,
 * so a server can stop without waiting for handlers. */
#ifndef GFSI_RPC_CALL_PRIV_H
#define GFSI_RPC_CALL_PRIV_H

#include "server_priv.h"

struct gfsi_trailer {
    char key[32];
    char value[GFS_RPC_TRAILER_MAX];
};

struct gfsi_reply {
    const ProtobufCMessage *response; /* NULL unless grpc_status is 0 */
    size_t response_size;             /* its bytes */
    int grpc_status;
    const char *text;
    const char *error_name; /* trailing GFS_RPC_KEY_ERROR; NULL: none */
};

struct gfsi_carrier {
    /* Sends the reply. Under call->mutex, once, never after `closed`. */
    void (*reply)(struct gfs_rpc_call *call, const struct gfsi_reply *reply);
    void (*free)(struct gfs_rpc_call *call); /* the last thing that happens to it */
};

/* The first member of what a carrier keeps of a call. */
struct gfs_rpc_call {
    const struct gfsi_carrier *carrier;
    struct gfs_rpc_server *server; /* a reference */
    struct gfsi_method *method;    /* its metrics only before `closed` */
    const char *peer;
    int64_t deadline;
    int64_t started;
    struct gfsi_budget budget;
    ProtobufCMessage *request;

    pthread_mutex_t mutex; /* all below; held while the carrier replies */
    unsigned refs;         /* the carrier's, the handler until it replied, a running on_cancel */
    bool closed;
    bool replied;
    struct gfsi_trailer *trailers; /* allocated at the first */
    size_t n_trailers;
    void (*on_cancel)(struct gfs_rpc_call *call, void *arg);
    void (*release)(void *arg);
    void *cancel_arg;
};

/* Fills in a zeroed call with one reference, the handler's. */
void gfsi_call_init(struct gfs_rpc_call *call, const struct gfsi_carrier *carrier,
                    struct gfs_rpc_server *server, struct gfsi_method *method, int64_t deadline);
void gfsi_call_ref(struct gfs_rpc_call *call);
void gfsi_call_unref(struct gfs_rpc_call *call);

/* Hands the request, already parsed (NULL: it did not parse), to the handler. */
void gfsi_call_run(struct gfs_rpc_call *call, ProtobufCMessage *request);

/* The carrier is gone, or the client took the call back: runs on_cancel unless it is replied. The
 * caller holds a reference. */
void gfsi_call_close(struct gfs_rpc_call *call);

#endif
