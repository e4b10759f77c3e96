/* `goosefs-fuse launcher`: starts FUSE clients for a keeper in another container, and keeps their
 * devices while the keeper is away. See <gfs/mounter/launch_proto.h>. One thread, no RPC. */
#ifndef GFS_FUSE_LAUNCHER_H
#define GFS_FUSE_LAUNCHER_H

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_launcher_config {
    const char *directory; /* absolute; where the keeper listens; may come later */
    const char *name;      /* argv[0] of clients, which are this very program */
};

/* Runs until SIGTERM or SIGINT, which must be blocked (gfs_fuse_block_signals): then its clients
 * are told to leave, and 0 returned when they have; the mounts stay, the keeper has them. Call it
 * from a process with one thread. */
int gfs_launcher_run(const struct gfs_launcher_config *config, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
