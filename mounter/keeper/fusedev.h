/* The kernel's side of one mount: the device, the mount, the INIT request, the unmount. Never looks
 * at a path below the mount, so it cannot wait for a client. Kernel documentation: fuse.rst. */
#ifndef GFSI_FUSEDEV_H
#define GFSI_FUSEDEV_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>
#include <gfs/mounter/session.h>

struct gfsi_fusedev {
    int fd;         /* -1: none */
    uint32_t minor; /* of the connection */
    bool made_dir;  /* the mountpoint was created here and is removed after the unmount */
};

/* Mounts spec at its mountpoint (creating it if missing, detaching mounts of the same type that an
 * earlier keeper left there) and records the INIT request in `session`. On failure nothing stays
 * mounted. */
int gfsi_fusedev_mount(const struct gfs_keeper_spec *spec, struct gfs_session *session,
                       struct gfsi_fusedev *out, struct gfs_err *err);

/* Takes the mount off the table, if it is (still) the top one at the mountpoint. Busy:
 * GFS_EPRECONDITION unless `lazy`; *out_detached tells that the connection goes on for open files
 * or bind mounts. Does not close the device. */
int gfsi_fusedev_unmount(const struct gfsi_fusedev *dev, const char *mountpoint, bool lazy,
                         bool *out_detached, struct gfs_err *err);

/* False once the connection was aborted or the last user of the mount is gone. */
bool gfsi_fusedev_alive(const struct gfsi_fusedev *dev);

/* Requests that the kernel waits for an answer to; -1 where fusectl is not mounted. */
int64_t gfsi_fusedev_waiting(const struct gfsi_fusedev *dev);

/* Ends the connection: who waits gets an error, the mount stays and answers ENOTCONN. */
int gfsi_fusedev_abort(const struct gfsi_fusedev *dev, const char *mountpoint, struct gfs_err *err);

#endif
