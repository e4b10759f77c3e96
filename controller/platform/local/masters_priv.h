/* Shared by masters.c (who is there) and masters_mount.c (changes). */
#ifndef GFSI_CONTROLLER_MASTERS_PRIV_H
#define GFSI_CONTROLLER_MASTERS_PRIV_H

#include <sys/types.h>

#include <gfs/rpc/client.h>

#include "platform/local/masters.h"

struct gfsi_master {
    struct gfsi_masters *owner;
    struct gfs_rpc_channel *channel;
    struct gfsi_timer timer; /* next question */
    int64_t pause_ns;
    bool asking;
    bool answers; /* and knows a leader */
    bool leads;
};

struct gfsi_worker {
    char *host;
    bool live;
    uint64_t capacity, used;
};

struct gfsi_masters {
    unsigned refs; /* the owner's and one per call under way */
    bool dead;     /* the owner has let go */
    struct gfsi_loop *loop;
    gfsi_loop_fn changed;
    void *arg;
    struct gfsi_master *masters;
    size_t n;
    struct gfsi_worker *workers;
    size_t n_workers;
    size_t expected_workers;
    bool workers_known;
    bool asking_workers;
    int64_t workers_pause_ns;
    struct gfsi_timer workers_timer;
    bool loaded, loading, want_load;
    bool sized;
    bool asking_size;
    int64_t size_asked;
    uint64_t bytes, files, cached;
};

struct gfsi_call;
typedef void (*gfsi_call_fn)(struct gfsi_masters *m, struct gfsi_call *call);

/* One call under way. `response` lives during fn only. */
struct gfsi_call {
    struct gfsi_masters *masters;
    const char *method;
    size_t to;
    gfsi_call_fn fn;
    void *arg;
    void (*release)(void *arg); /* always called once, after fn or instead; may be NULL */
    struct gfs_rpc_result result;
    ProtobufCMessage *response;
};

/* NULL when out of memory. */
struct gfsi_call *gfsi_call_new(gfsi_call_fn fn);

/* fn runs on the loop in any case, unless the masters were freed before. Takes `call`. */
void gfsi_masters_call(struct gfsi_masters *m, size_t to, const ProtobufCServiceDescriptor *service,
                       const char *method, const ProtobufCMessage *request, int64_t timeout_ns,
                       struct gfsi_call *call);

ssize_t gfsi_masters_leader(const struct gfsi_masters *m); /* -1: none */

/* Loading has ended: the size may be asked. */
void gfsi_masters_loaded(struct gfsi_masters *m);

#endif
