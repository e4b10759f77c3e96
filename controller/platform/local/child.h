/* One supervised process: started with posix_spawn, watched by a pidfd, started again with growing
 * pauses when it ends, stopped with SIGTERM and then SIGKILL.
 *
 *              start                      exits by itself
 *   STOPPED ---------> RUNNING --------------------------> BACKOFF
 *      ^                 |  ^                                 |
 *      |   gone          |  +---------------------------------+  pause over
 *      +------ STOPPING <+------------------------------------+  stop
 *
 * RUNNING: a process exists and is ours to signal, by pidfd, so never a stranger with a recycled
 * number. BACKOFF and STOPPED: no process. STOPPING: SIGTERM was sent.
 *
 * The process outlives this one if this one is killed; its pid and start time are in a file, by
 * which the next supervisor adopts it (same program, arguments and configuration, told by `hash`),
 * or stops it and starts it anew. Children are sessions of their own, so that Ctrl-C reaches only
 * the supervisor, which stops them in order.
 *
 * Thread: the loop's. */
#ifndef GFSI_CONTROLLER_CHILD_H
#define GFSI_CONTROLLER_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>

#include "platform/local/loop.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gfsi_child_state {
    GFSI_CHILD_STOPPED,
    GFSI_CHILD_RUNNING,
    GFSI_CHILD_BACKOFF,
    GFSI_CHILD_STOPPING,
};

struct gfsi_child;

/* All copied. */
struct gfsi_child_spec {
    const char *program; /* absolute */
    const char *const *argv;
    const char *const *env; /* the whole environment */
    const char *directory;  /* working directory */
    const char *log_path;   /* stdout and stderr are appended to it */
    const char *pid_path;   /* "PID START HASH\n" while it runs */
    uint64_t hash;          /* of what makes a running process the one wanted */
    int64_t grace_ns;       /* between SIGTERM and SIGKILL; 0: 10 s */
    int64_t backoff_ns;     /* first pause; 0: 500 ms. Doubles up to 60 times that */
};

/* After every change of state. May start or stop the child, not free it. */
typedef void (*gfsi_child_fn)(void *arg, struct gfsi_child *child);

int gfsi_child_new(struct gfsi_loop *loop, const struct gfsi_child_spec *spec, gfsi_child_fn fn,
                   void *arg, struct gfsi_child **out);

/* Only when stopped or never started: a process still there would be nobody's. */
struct gfsi_child *gfsi_child_free(struct gfsi_child *child);

/* Starts or adopts. A failure to start is an exit like any other: BACKOFF with its reason. */
void gfsi_child_start(struct gfsi_child *child);

/* Ends in STOPPED, at once when no process exists. */
void gfsi_child_stop(struct gfsi_child *child);

enum gfsi_child_state gfsi_child_state(const struct gfsi_child *child);
pid_t gfsi_child_pid(const struct gfsi_child *child);          /* 0: none */
unsigned gfsi_child_restarts(const struct gfsi_child *child);  /* starts after the first */
int64_t gfsi_child_started_ms(const struct gfsi_child *child); /* wall clock; 0: never */
const char *
gfsi_child_reason(const struct gfsi_child *child); /* of the last end: "exit status 1" */

/* Stops a process left behind by an earlier supervisor, if the pid file still names one; returns
 * whether it did. Waits at most `grace_ns`, so only for start-up, before the loop runs. */
bool gfsi_child_reap_leftover(const char *pid_path, int64_t grace_ns);

#ifdef __cplusplus
}
#endif
#endif
