/* Calls of one channel that share a stream.
 *
 *   idle -> opening -> up -> leaving (the server stops) -> idle
 *             \______________ closed: idle, or unsupported for a while
 *
 * Only `up` takes calls. In every other state, and for what does not fit, begin says no and the
 * call is made as a plain unary one: so nothing waits for the stream, a server that does not know
 * it serves as well, and a channel that makes few calls never opens one. */
#ifndef GFSI_RPC_MUX_PRIV_H
#define GFSI_RPC_MUX_PRIV_H

#include <semaphore.h>

#include "channel_priv.h"

struct gfsi_mux;

/* One call: on the stack of a synchronous caller, on the heap of an asynchronous one. */
struct gfsi_mux_call {
    const ProtobufCMessageDescriptor *output;
    int64_t deadline;
    gfs_rpc_done done; /* NULL: synchronous */
    void *arg;

    uint32_t id;
    uint8_t *partial; /* the response so far */
    size_t partial_len;
    struct gfs_rpc_result result;
    ProtobufCMessage *response;
    sem_t answered; /* synchronous */
};

/* NULL when out of memory. */
struct gfsi_mux *gfsi_mux_new(struct gfs_rpc_channel *channel);
/* Behind the end of the channel's loop. Accepts NULL. */
void gfsi_mux_free(struct gfsi_mux *mux);

/* Sends `request`, of `path`. false: it was not sent, make a unary call. An asynchronous call
 * ends on the channel's thread by `done`, is free()d and leaves its asynchronous place. */
bool gfsi_mux_begin(struct gfsi_mux *mux, struct gfsi_mux_call *call, const char *path,
                    const ProtobufCMessage *request);

/* Waits for a synchronous call until its deadline; result and response are filled in. */
void gfsi_mux_wait(struct gfsi_mux *mux, struct gfsi_mux_call *call);

/* A unary call of the channel was answered: opens the stream when it is worth it. */
void gfsi_mux_note_answer(struct gfsi_mux *mux);

/* Whether calls go over the stream now; for tests. */
bool gfsi_mux_is_up(struct gfs_rpc_channel *channel);

/* On the channel's thread: ends asynchronous calls that are late. `arg`: the mux. When to come
 * again, or INT64_MAX. */
int64_t gfsi_mux_tick(void *arg);

#endif
