/* What may block, off the loop: calls to the keeper, removing directories. A few threads share one
 * bounded queue. */
#ifndef GFSI_CONTROLLER_JOBS_H
#define GFSI_CONTROLLER_JOBS_H

#include "platform/local/loop.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_JOBS_MAX 1024 /* waiting; more are refused with GFS_EBUSY */

struct gfsi_jobs;

int gfsi_jobs_new(struct gfsi_loop *loop, unsigned n_threads, struct gfsi_jobs **out,
                  struct gfs_err *err);

/* Runs work(arg) on a thread, then done(arg) on the loop. Both run exactly once if this returns 0.
 */
int gfsi_jobs_run(struct gfsi_jobs *jobs, gfsi_loop_fn work, gfsi_loop_fn done, void *arg);

/* Waits for all work; what is done is posted to the loop, which must still exist. NULL is fine. */
struct gfsi_jobs *gfsi_jobs_free(struct gfsi_jobs *jobs);

#ifdef __cplusplus
}
#endif
#endif
