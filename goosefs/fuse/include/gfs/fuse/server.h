/* A read-only FUSE server over a backend: libfuse's low-level API, a fixed pool of threads.
 *
 * Stateless by construction: node id = inode id, a file handle names an inode and the version
 * opened, so a successor on the same device serves handles it never opened. Two ways to run:
 *
 *   under a keeper (gfs_fuse_inherited() is true): the mounted device and the session memfd are
 *   inherited, see <gfs/mounter/session.h>; gfs_fuse_run returns when the mount is gone;
 *   on its own: gfs_fuse_mount() mounts, SIGTERM and SIGINT unmount.
 *
 * Thread: new, mount, run and free from one thread, the process's first; gfs_fuse_run blocks
 * SIGTERM and SIGINT before it starts threads. The backend and the metrics are borrowed and outlive
 * it. */
#ifndef GFS_FUSE_SERVER_H
#define GFS_FUSE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>
#include <gfs/fuse/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_FUSE_THREADS_MAX 128
#define GFS_FUSE_MAX_READ    (UINT32_C(1) << 20) /* bytes of one read request; readahead too */

struct gfs_fuse;

struct gfs_fuse_config {
    struct gfs_fuse_backend backend;
    struct gfs_metrics *metrics; /* may be NULL */
    uint64_t root_ino;           /* the inode shown as the root of the mount */
    uint32_t threads;            /* to begin with, 1..GFS_FUSE_THREADS_MAX; grows to that */
    int64_t attr_timeout_ns;     /* how long the kernel may believe attributes */
    int64_t entry_timeout_ns;    /* ... and names */
    int64_t negative_timeout_ns; /* ... and the absence of names */
    const char *subtype;         /* fstype = fuse.SUBTYPE when mounting itself */
    const char *source;          /* ... and its first column in the mount table */
    bool allow_other;            /* ... */
    bool passthrough;            /* use the backend's backing files (kernel >= 6.9) */
    bool splice;                 /* ... and where that cannot be, splice replies from them */
    int64_t interrupt_grace_ns;  /* a reader that got a signal waits so long; 0: 1 s */
    bool no_resend;              /* behave as on a kernel without FUSE_NOTIFY_RESEND (tests) */
};

/* The first thing a program does. */
void gfs_fuse_block_signals(void);

int gfs_fuse_new(const struct gfs_fuse_config *config, struct gfs_fuse **out, struct gfs_err *err);
struct gfs_fuse *gfs_fuse_free(struct gfs_fuse *fuse);

/* Did a keeper start this process? */
bool gfs_fuse_inherited(void);

/* Which of the mount's clients this is: 1 for the first, also without a keeper. */
uint32_t gfs_fuse_generation(void);

/* Tells the keeper why this process cannot serve; call it instead of gfs_fuse_run. Without a keeper
 * it does nothing. */
void gfs_fuse_report_failure(int code, const char *text);

/* Mounts at `mountpoint` (not under a keeper). */
int gfs_fuse_mount(struct gfs_fuse *fuse, const char *mountpoint, struct gfs_err *err);

/* Serves until the mount is gone, or SIGTERM or SIGINT: on its own it then unmounts first; under a
 * keeper it just returns, the keeper's next client takes over. Failures before the first request
 * are reported to the keeper. */
int gfs_fuse_run(struct gfs_fuse *fuse, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
