/* The one thread everything of the local platform happens on: descriptors, timers, and work posted
 * by other threads. Callbacks never block. */
#ifndef GFSI_CONTROLLER_LOOP_H
#define GFSI_CONTROLLER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_LOOP_POSTS_MAX 4096 /* waiting posts; more are refused with GFS_EBUSY */

struct gfsi_loop;

int gfsi_loop_new(struct gfsi_loop **out, struct gfs_err *err);
/* Runs what is still posted (so that it can free what it carries), then frees. NULL is fine. */
struct gfsi_loop *gfsi_loop_free(struct gfsi_loop *loop);

/* Until gfsi_loop_stop. Thread: the loop's. */
void gfsi_loop_run(struct gfsi_loop *loop);
/* One round: waits for something to do, does it. For tests. */
void gfsi_loop_turn(struct gfsi_loop *loop);
void gfsi_loop_drain(struct gfsi_loop *loop); /* runs what is posted now, and nothing else */
void gfsi_loop_stop(struct gfsi_loop *loop);  /* thread: the loop's */

/* Calls fn(arg) on the loop's thread, in order of the posts. Thread: any. */
typedef void (*gfsi_loop_fn)(void *arg);
int gfsi_loop_post(struct gfsi_loop *loop, gfsi_loop_fn fn, void *arg);

/* ---- below: thread of the loop only ---- */

struct gfsi_watch;

/* Calls fn(arg) whenever `fd` is readable. The descriptor stays the caller's. */
int gfsi_loop_watch(struct gfsi_loop *loop, int fd, gfsi_loop_fn fn, void *arg,
                    struct gfsi_watch **out);
/* fn is not called again, not even for what is ready already. NULL is fine. */
struct gfsi_watch *gfsi_loop_unwatch(struct gfsi_loop *loop, struct gfsi_watch *watch);

/* In the owner's storage; zero it before first use. */
struct gfsi_timer {
    struct gfsi_timer *prev, *next;
    int64_t deadline; /* 0: not set */
    gfsi_loop_fn fn;
    void *arg;
};

/* (Re)arms; fires once at the monotonic time `deadline`. */
void gfsi_timer_set(struct gfsi_loop *loop, struct gfsi_timer *timer, int64_t deadline,
                    gfsi_loop_fn fn, void *arg);
void gfsi_timer_clear(struct gfsi_loop *loop, struct gfsi_timer *timer);

#ifdef __cplusplus
}
#endif
#endif
