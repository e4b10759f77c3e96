/* Usage figures of volumes, answered from a cache. A mount is asked by the prober (a process that
 * can be killed), at most one question per file system at a time; whoever asks meanwhile waits for
 * the same answer. All targets of one mount share its figures, so they are kept per device.
 *
 * A mount that does not answer costs its callers GFSI_STATS_PROBE_NS once, and nothing for a while
 * after: they get the last figures, marked stale, or GFS_EUNAVAIL.
 *
 * Limits: GFSI_STATS_MOUNTS_MAX file systems (the oldest figures go), GFSI_STATS_WAITERS_MAX
 * callers waiting for one, then GFS_EBUSY. Thread: any; `done` runs on the caller's or the
 * prober's. */
#ifndef GFSI_CSI_STATS_PRIV_H
#define GFSI_CSI_STATS_PRIV_H

#include "node_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_STATS_MOUNTS_MAX  256
#define GFSI_STATS_WAITERS_MAX 256
#define GFSI_STATS_PROBE_NS    (800 * GFS_NS_PER_MS) /* other callers are to hear within a second */
#define GFSI_STATS_FRESH_NS    (30 * GFS_NS_PER_S)
#define GFSI_STATS_SHUN_NS     (10 * GFS_NS_PER_S) /* after a question without an answer */

struct gfsi_stats_result {
    int64_t total, available, used; /* bytes, never negative */
    int64_t inodes, inodes_free, inodes_used;
    bool stale; /* the mount does not answer now; the figures are the last ones known */
};

/* `result` on success, `err` otherwise. */
typedef void (*gfsi_stats_done)(void *arg, int code, const struct gfsi_stats_result *result,
                                const struct gfs_err *err);

struct gfsi_stats;

/* `node` is borrowed. */
struct gfsi_stats *gfsi_stats_new(struct gfsi_node *node);

/* Waits for questions under way. No call may be made any more. */
struct gfsi_stats *gfsi_stats_free(struct gfsi_stats *stats);

/* `done` runs exactly once, perhaps before this returns. GFS_ENOENT: the volume is not at `path`
 * (neither a target nor a staging path of it), or nothing is mounted there. */
void gfsi_stats_get(struct gfsi_stats *stats, const char *volume_id, const char *path,
                    gfsi_stats_done done, void *arg);

#ifdef __cplusplus
}
#endif
#endif
