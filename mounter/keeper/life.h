/* The life of one held mount and of the clients that serve it: a pure state machine. It says what
 * is to be done; held.c does it.
 *
 *               ready                 client lost               ready
 *   STARTING ----------> SERVING ------------------> RESTARTING ------> SERVING
 *      |                    |  ^                        |   ^ |
 *      | client lost,       |  '---- restart asked -----|---' | client lost again: back-off
 *      | start timeout      |                           |
 *      v                    | connection ended          |
 *   (rolled back)           '-----------> BROKEN <------'
 *
 *   any state --unmounted--> STOPPING --client gone and connection ended--> (removed)
 *
 *   RESTARTING --nobody can start a client--> WAITING --a launcher is there--> RESTARTING
 *   any but STARTING --clients fail again and again, or one cannot be killed--> BROKEN (given up)
 *
 * What may be trusted: from SERVING on the INIT exchange is complete and callers never see an error
 * for a lost client; in RESTARTING and WAITING callers wait; in BROKEN the kernel answers ENOTCONN
 * and no client is started; in STOPPING the mountpoint is free and the id may be used again. */
#ifndef GFSI_LIFE_H
#define GFSI_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/clock.h>
#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the caller must do, in this order. */
enum gfsi_life_action {
    GFSI_LIFE_KILL = 1u << 0,   /* SIGKILL the client */
    GFSI_LIFE_HUNG = 1u << 1,   /* say that it was because it did not answer */
    GFSI_LIFE_PING = 1u << 2,   /* send a ping */
    GFSI_LIFE_SERVES = 1u << 3, /* answer those who wait for the mount */
    GFSI_LIFE_REVERT = 1u << 4, /* the new arguments failed: put the old ones back, say so */
    GFSI_LIFE_SPAWN = 1u << 5,  /* start a client */
    GFSI_LIFE_BROKE = 1u << 6,  /* say that the connection ended */
    GFSI_LIFE_FAILED = 1u << 7, /* the first client failed: unmount, say so, remove */
    GFSI_LIFE_GONE = 1u << 8,   /* nothing is left: remove */
    GFSI_LIFE_ABORT = 1u << 9,  /* no client can be had: abort the connection, say so */
};

struct gfsi_life {
    enum gfs_keeper_state state;
    bool running;          /* a client process exists */
    bool dying;            /* it was sent SIGKILL */
    bool swap;             /* it dies because a restart was asked for */
    bool swap_new;         /* ... with new arguments */
    bool probation;        /* it runs new arguments that have not got ready yet */
    bool no_launcher;      /* nobody can start a client now */
    bool parked;           /* one is to be started when somebody can */
    bool hung;             /* it was killed for not answering */
    unsigned failures;     /* clients in a row that served nothing */
    unsigned max_failures; /* then the connection is aborted; 0: never */
    int64_t killed_at;     /* when it was sent SIGKILL */
    int64_t ready_at;      /* when it got ready; 0: not yet */
    int64_t deadline;      /* kill it if nothing happens until then; 0: none */
    int64_t spawn_at;      /* start the next one then; 0: not planned */
    int64_t ping_at;       /* send the next ping then; 0: none */
    int64_t ping_sent;     /* the oldest ping without an answer; 0: none */
    int64_t start_timeout; /* ns */
    int64_t hang_timeout;  /* ns, 0: never */
    int64_t stall_timeout; /* ns, 0: never; without hang_timeout there are no pings to tell */
    struct gfs_backoff backoff;
    uint64_t restarts;
    uint64_t hangs;
};

/* A client that lived this long after it was ready was healthy: its successor starts at once. */
#define GFSI_LIFE_HEALTHY_NS (50 * GFS_NS_PER_MS)

/* A client that SIGKILL has not ended after this long is stuck in the kernel. */
#define GFSI_LIFE_UNKILLABLE_NS (30 * GFS_NS_PER_S)

/* `spec` gives the timeouts; no limit to failures. Nothing runs yet; state STARTING. */
void gfsi_life_init(struct gfsi_life *l, const struct gfs_keeper_spec *spec, uint64_t seed);

/* What a successor waits at most when the client died young but had answered requests: it may be
 * killed often, or crash on one request while it serves the others. */
#define GFSI_LIFE_PROGRESS_PAUSE_NS (50 * GFS_NS_PER_MS)

/* Each returns actions. `alive`: the FUSE connection has not ended; `progress`: the client that
 * ended had answered requests. */
unsigned gfsi_life_start(struct gfsi_life *l, int64_t now);
/* A client that runs already and was taken over, `ready` or still starting. */
void gfsi_life_adopt(struct gfsi_life *l, int64_t now, bool ready);
/* A mount that was served, taken over without a client. */
unsigned gfsi_life_adopt_lost(struct gfsi_life *l, int64_t now);
/* Can clients be started (they can until this says otherwise)? */
unsigned gfsi_life_launcher(struct gfsi_life *l, int64_t now, bool here);
unsigned gfsi_life_ready(struct gfsi_life *l, int64_t now);
unsigned gfsi_life_exited(struct gfsi_life *l, int64_t now, bool alive, bool progress);
unsigned gfsi_life_restart(struct gfsi_life *l, int64_t now, bool new_argv);
unsigned gfsi_life_unmounted(struct gfsi_life *l);
unsigned gfsi_life_tick(struct gfsi_life *l, int64_t now, bool alive);
/* The client answers, and has worked for `oldest` ns at the oldest of its requests. */
unsigned gfsi_life_pong(struct gfsi_life *l, int64_t now, int64_t oldest);

/* May a restart be asked for now? Not while another one is under way. */
bool gfsi_life_can_restart(const struct gfsi_life *l);

/* When gfsi_life_tick is due at the latest. */
int64_t gfsi_life_next(const struct gfsi_life *l, int64_t now);

/* NULL, or what is wrong with the struct (a bug). */
const char *gfsi_life_check(const struct gfsi_life *l);

#ifdef __cplusplus
}
#endif
#endif
