/* What the plugin wants from fuse-keeper, behind a table of functions. The real one opens a
 * connection per call: the keeper may have been restarted in between, and workers need not share.
 */
#ifndef GFSI_CSI_KEEPER_PRIV_H
#define GFSI_CSI_KEEPER_PRIV_H

#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_keeper {
    void *self;
    /* All block until `deadline` at most; errors are those of gfs/mounter/keeper_client.h. */
    int (*mount)(void *self, const struct gfs_keeper_spec *spec, int64_t deadline,
                 struct gfs_err *err);
    int (*state)(void *self, const char *id, int64_t deadline, uint32_t *out_state,
                 struct gfs_err *err);
    int (*unmount)(void *self, const char *id, uint32_t flags, int64_t deadline,
                   struct gfs_err *err);
};

/* `socket_path` is borrowed. */
void gfsi_keeper_init(struct gfsi_keeper *keeper, const char *socket_path);

#ifdef __cplusplus
}
#endif
#endif
