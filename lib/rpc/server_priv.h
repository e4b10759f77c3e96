/* Inside the server: the method table, what a call and a stream need of it. */
#ifndef GFSI_RPC_SERVER_PRIV_H
#define GFSI_RPC_SERVER_PRIV_H

#include "rpc_priv.h"

#include <stdatomic.h>

#include <gfs/rpc/server.h>
#include <gfs/rpc/stream.h>

/* One entry of the server's table: a unary method or a stream. */
struct gfsi_method {
    char path[GFS_RPC_METHOD_MAX];
    void *user;

    const ProtobufCMessageDescriptor *input; /* unary */
    const ProtobufCMessageDescriptor *output;
    gfs_rpc_handler handler;
    struct gfs_metric *seconds;
    struct gfs_metric *errors;

    bool is_stream;
    struct gfs_rpc_stream_server stream;
    struct gfs_rpc_stream_opts stream_opts;
    unsigned max_streams;
    unsigned n_streams; /* under server->mutex */
    /* The server stops: ends the stream when it is done with; NULL: at once. */
    void (*drain)(struct gfs_rpc_stream *stream);
};

enum gfsi_server_state {
    GFSI_SERVER_NEW,      /* listeners and methods may be added */
    GFSI_SERVER_RUNNING,  /* threads run, calls are accepted */
    GFSI_SERVER_STOPPING, /* one thread is in stop */
    GFSI_SERVER_STOPPED,  /* no gRPC object is left */
};

#define GFSI_SERVER_METHODS_MAX   512
#define GFSI_SERVER_LISTENERS_MAX 8
#define GFSI_SERVER_SLOTS         32 /* calls that may arrive before one is looked at */

struct gfsi_slot;

struct gfs_rpc_server {
    char name[16];
    size_t max_message;
    unsigned n_threads;
    unsigned max_calls;
    bool multiplex;
    bool strict_text;
    struct gfs_metrics *metrics;

    grpc_server *grpc;
    struct gfsi_loop loop;
    unsigned n_listeners;
    struct gfsi_peers *peers;    /* NULL: none */
    struct gfsi_method *methods; /* sorted by path once running */
    size_t n_methods;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum gfsi_server_state state;
    struct gfsi_tag shutdown_tag;
    bool shutdown_done;
    unsigned n_open;                /* gRPC calls not yet released, unary and stream */
    struct gfs_rpc_stream *streams; /* list through stream->next */

    atomic_uint refs;      /* the owner, each call object */
    atomic_uint n_running; /* calls not yet freed: bounded by max_calls */
};

/* What arrived, handed from accept to the call or stream that takes it over. */
struct gfsi_incoming {
    grpc_call *grpc;
    int64_t deadline;
};

/* unary_call.c */
void gfsi_call_start(struct gfs_rpc_server *server, struct gfsi_method *method,
                     const struct gfsi_incoming *incoming);
/* Answers with a status and nothing else; takes incoming->grpc over. */
void gfsi_call_refuse(struct gfs_rpc_server *server, const struct gfsi_incoming *incoming,
                      int grpc_status, const char *text);

/* stream_server.c */
void gfsi_stream_accept(struct gfs_rpc_server *server, struct gfsi_method *method,
                        const struct gfsi_incoming *incoming);
void gfsi_stream_close_all(struct gfs_rpc_server *server);

/* server.c: a gRPC call was released; the object that held it may live on. */
void gfsi_server_call_closed(struct gfs_rpc_server *server);
/* A place among the running calls and a reference; false when max_calls are running. */
bool gfsi_server_enter(struct gfs_rpc_server *server);
void gfsi_server_leave(struct gfs_rpc_server *server);

/* peers.c; both do nothing without a socket of that kind */
int gfsi_peers_start(struct gfs_rpc_server *server, struct gfs_err *err);
void gfsi_peers_stop(struct gfs_rpc_server *server);

/* server_methods.c */
struct gfsi_method *gfsi_method_find(const struct gfs_rpc_server *server, const char *path,
                                     size_t len);
void gfsi_methods_sort(struct gfs_rpc_server *server);
/* The same for an entry made by the library itself. */
int gfsi_method_add(struct gfs_rpc_server *server, const struct gfsi_method *method,
                    struct gfs_err *err);

/* mux_server.c: takes calls that share a stream; before start. */
int gfsi_mux_serve(struct gfs_rpc_server *server, struct gfs_err *err);

#endif
