/* One call that reads the namespace: barrier, view, perhaps a load from the origin, reply. */
#ifndef GFSI_REQUEST_PRIV_H
#define GFSI_REQUEST_PRIV_H

#include <protobuf-c/protobuf-c.h>

#include "master_priv.h"

struct gfsi_request;

/* What `run` answers besides 0 (it has replied) and a negative error. */
enum {
    GFSI_RUN_LOAD = 1, /* load inode r->load, then run again */
    GFSI_RUN_TREE = 2, /* load the subtree r->load, then run again with r->tree_loaded */
};

/* On a thread of a pool, behind the barrier. May be called several times. */
typedef int (*gfsi_run)(struct gfsi_request *r, struct gfs_err *err);

struct gfsi_request {
    struct gfs_master *m;
    struct gfs_rpc_call *call;
    const ProtobufCMessage *message;
    gfsi_run run;
    bool heavy; /* walks whole subtrees: not on the threads that answer look-ups */
    uint64_t load;
    unsigned loads;       /* done so far; bounded */
    uint64_t revalidated; /* inode that was fetched again for this request */
    bool tree_loaded;
    bool tree_force;
    int64_t fresh_after_ms; /* what was compared with the origin before has to be again; 0: never */
};

/* Takes the call over. */
void gfsi_request_start(struct gfs_master *m, struct gfs_rpc_call *call,
                        const ProtobufCMessage *message, gfsi_run run, bool heavy);

/* Fails a call the way all services do: NOTLEADER names the leader in the trailer, or becomes
 * UNAVAIL while there is none. */
void gfsi_fail(struct gfs_master *m, struct gfs_rpc_call *call, int code,
               const struct gfs_err *err);

/* The moment before which a comparison with the origin is too old. */
int64_t gfsi_fresh_after(const struct gfs_master *m, bool has_interval, int64_t interval_ms);

/* ---- memory of one reply -------------------------------------------------------------------- */

struct gfsi_arena_chunk;
struct gfsi_arena {
    struct gfsi_arena_chunk *chunks;
    size_t bytes; /* handed out so far */
};

/* Zeroed; NULL when out of memory. */
void *gfsi_arena_alloc(struct gfsi_arena *arena, size_t size);
char *gfsi_arena_text(struct gfsi_arena *arena, const char *s, size_t len);
void gfsi_arena_fini(struct gfsi_arena *arena);
#define gfsi_auto_arena __attribute__((cleanup(gfsi_arena_fini)))

#endif
