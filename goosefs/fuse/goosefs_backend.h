/* The FUSE server's backend on top of the GooseFS client: metadata from the masters, bytes from the
 * workers. Waiting out elections and dead workers is the client's business; what reaches a reader
 * as an error has lasted for its whole retry time. */
#ifndef GFSI_GOOSEFS_BACKEND_H
#define GFSI_GOOSEFS_BACKEND_H

#include <stdint.h>

#include <gfs/client/client.h>
#include <gfs/fuse/backend.h>

struct gfsi_goosefs_backend {
    struct gfs_client *client; /* borrowed */
    uint32_t uid, gid;         /* everything belongs to them */
};

extern const struct gfs_fuse_backend_ops gfsi_goosefs_backend_ops; /* ctx: the struct above */

/* The inode id of `path`. GFS_ENOTDIR when it is a file. `deadline` as for client calls. */
int gfsi_goosefs_resolve(struct gfs_client *client, const char *path, int64_t deadline,
                         uint64_t *out_ino, struct gfs_err *err);

#endif
