/* What a keeper writes down so that its successor can go on: one small file per mount, named by the
 * mount's id, in a directory of the keeper's own. Enough to find the client, take over its
 * descriptors, or make the mount anew when the client is gone too. Written by rename but not
 * synced: a file system that is mounted does not outlive the machine's boot, and the boot's id is
 * in the file.
 *
 * Only root writes there; what is read is checked all the same. */
#ifndef GFSI_STATE_H
#define GFSI_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_STATE_MAX (2 * GFS_KEEPER_MSG_MAX + 256)

struct gfsi_state {
    uint64_t cookie; /* of the session */
    pid_t pid;       /* of the client; 0 if its launcher has not said */
    uint32_t minor;
    bool made_dir;
    const struct gfs_keeper_spec *spec; /* as asked for */
    const char *const *argv;            /* of a RESTART since then, or NULL */
};

/* A decoded file; the texts of `state` live in it. */
struct gfsi_state_file {
    struct gfsi_state state;
    struct gfs_keeper_msg mount;
    struct gfs_keeper_msg restart;
};

/* Pure. `boot_id` is that of this boot; GFS_ENOENT when the bytes are of another. */
int gfsi_state_encode(const struct gfsi_state *state, const char *boot_id, struct gfs_buf *out);
int gfsi_state_decode(const void *data, size_t len, const char *boot_id,
                      struct gfsi_state_file *out, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
