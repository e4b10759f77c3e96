/* The masters of one runtime as the controllers see them: which answer, who leads, which workers
 * live, how large the namespace is; and the calls that change something, to the leader.
 *
 * Polls on its own: fast while something is missing, slowly at rest. Thread: the loop's. */
#ifndef GFSI_CONTROLLER_MASTERS_H
#define GFSI_CONTROLLER_MASTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/controller/desired.h>

#include "platform/local/loop.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_MASTERS_WORKERS_MAX GFS_WORKERS_MAX

struct gfsi_masters;

/* `targets`: "127.x.y.z:26000", one per master. changed(arg) is called on the loop when any answer
 * below may have changed. */
int gfsi_masters_new(struct gfsi_loop *loop, const char *const *targets, size_t n,
                     gfsi_loop_fn changed, void *arg, struct gfsi_masters **out,
                     struct gfs_err *err);

/* Nothing is called back afterwards. */
struct gfsi_masters *gfsi_masters_free(struct gfsi_masters *masters);

/* Something was started or ended: ask all again soon and often. */
void gfsi_masters_hurry(struct gfsi_masters *masters);

/* How many workers have to be live before it may rest. */
void gfsi_masters_expect_workers(struct gfsi_masters *masters, size_t n);

bool gfsi_masters_answers(const struct gfsi_masters *masters, size_t i);
bool gfsi_masters_has_leader(const struct gfsi_masters *masters);

/* Whether the worker of that name reports to the masters. *out_capacity and *out_used (may be NULL)
 * are set only then: bytes over all its tiers. */
bool gfsi_masters_worker_live(const struct gfsi_masters *masters, const char *host,
                              uint64_t *out_capacity, uint64_t *out_used);
bool gfsi_masters_workers_known(const struct gfsi_masters *masters);

/* Bytes of current versions that are cached. false: not known yet. */
bool gfsi_masters_cached(const struct gfsi_masters *masters, uint64_t *out_cached);

/* Of the whole namespace, once loading it has ended. false: not known yet. */
bool gfsi_masters_size(const struct gfsi_masters *masters, uint64_t *out_bytes,
                       uint64_t *out_files);

/* Mounts at the leader and looks whether the origin can be listed. done(arg, index, code, text) on
 * the loop, unless freed before. A mount of the same URI at the path is success, of another it is
 * replaced. code is GFS_ENOTLEADER when it was about the masters, not about the origin. */
typedef void (*gfsi_masters_mounted_fn)(void *arg, size_t index, int code, const char *text);
void gfsi_masters_mount(struct gfsi_masters *masters, const struct gfs_dataset_mount *mount,
                        size_t index, gfsi_masters_mounted_fn done, void *arg);

/* Takes a mount away; nobody waits for it. */
void gfsi_masters_unmount(struct gfsi_masters *masters, const char *path);

/* Walks the whole namespace once, in the background; then its size is known and kept fresh. */
void gfsi_masters_load(struct gfsi_masters *masters);

#ifdef __cplusplus
}
#endif
#endif
