/* fuse-keeper's figures among the plugin's. */
#ifndef GFSI_CSI_KEEPER_METRICS_PRIV_H
#define GFSI_CSI_KEEPER_METRICS_PRIV_H

#include <stdint.h>

#include <gfs/base/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Appends what the keeper at `socket_path` says of its mounts, as Prometheus text; that it does not
 * answer until `deadline`, if so. */
void gfsi_keeper_metrics_print(const char *socket_path, int64_t deadline, struct gfs_buf *out);

#ifdef __cplusplus
}
#endif
#endif
