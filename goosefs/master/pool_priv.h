/* Threads that run tasks from one bounded queue. */
#ifndef GFSI_POOL_PRIV_H
#define GFSI_POOL_PRIV_H

#include <stddef.h>

#include <gfs/base/err.h>

struct gfsi_pool;

/* `name` for thread names, at most 9 bytes used. */
int gfsi_pool_new(const char *name, unsigned threads, size_t max_queue, struct gfsi_pool **out);

/* BUSY when max_queue tasks wait, CANCELLED after stop. Any thread, also one of the pool. */
int gfsi_pool_submit(struct gfsi_pool *pool, void (*task)(void *arg), void *arg);

/* Runs what is queued, takes nothing more, joins. Not from a task. Once; NULL is fine. */
void gfsi_pool_free(struct gfsi_pool *pool);

size_t gfsi_pool_waiting(struct gfsi_pool *pool);

#endif
