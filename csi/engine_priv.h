/* Runs the operations that change mounts: in order per volume, in parallel between volumes.
 *
 *   submit ──▶ waits in its volume's queue ──▶ runs on a worker ──▶ done, once per submission
 *                    ▲ a repeated call joins here, waiting or running
 *
 * CSI gives two rules for time (spec.md "Timeouts", "Concurrency"): a caller that gave up has not
 * cancelled anything, so work goes on without it and a repeated call joins it; and only the
 * opposite operation on the same path conflicts: GFS_EABORTED while it runs. A caller hears
 * GFS_ETIMEOUT at its own deadline whatever its operation does.
 *
 * Limits, answered with GFS_EBUSY: GFSI_ENGINE_OPS_MAX operations, GFSI_ENGINE_WAITERS_MAX callers
 * of one. Volumes take turns: one operation of each, so a volume with a long queue delays nobody.
 *
 * Threads: up to n workers, started as needed, and one for deadlines. `done` runs on either, or in
 * submit's caller's thread never; it must not block nor call back into the engine. */
#ifndef GFSI_CSI_ENGINE_PRIV_H
#define GFSI_CSI_ENGINE_PRIV_H

#include <stdint.h>

#include "request_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_ENGINE_OPS_MAX     1024
#define GFSI_ENGINE_WAITERS_MAX 64
#define GFSI_ENGINE_WORKERS_MAX 64

/* Does the operation; blocks as long as it needs, but is meant to end by `deadline` (monotonic ns).
 */
typedef int (*gfsi_engine_run)(void *user, const struct gfsi_request *request, int64_t deadline,
                               struct gfs_err *err);
typedef void (*gfsi_engine_done)(void *arg, int code, const struct gfs_err *err);

struct gfsi_engine;

/* `run_ns`: time an operation is given. Starts the threads. */
int gfsi_engine_new(unsigned n_workers, int64_t run_ns, gfsi_engine_run run, void *user,
                    struct gfsi_engine **out, struct gfs_err *err);

/* Takes `request` (malloc'ed) in any case. 0: `done(arg, ...)` will run exactly once, at the latest
 * about `answer_by` (monotonic ns). Negative: it will not run. Thread: any. */
int gfsi_engine_submit(struct gfsi_engine *engine, struct gfsi_request *request, int64_t answer_by,
                       gfsi_engine_done done, void *arg, struct gfs_err *err);

/* Refuses new work (GFS_EUNAVAIL), waits until what is queued has run or `deadline` passes, then
 * answers what never started with GFS_EUNAVAIL. Operations that still run are waited for in free.
 */
void gfsi_engine_stop(struct gfsi_engine *engine, int64_t deadline);
struct gfsi_engine *gfsi_engine_free(struct gfsi_engine *engine);

/* Operations waiting or running. */
unsigned gfsi_engine_pending(struct gfsi_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
