/* How the plugin marks its node as a user of a dataset. In a cluster the label `fluid.io/f-NS-NAME`
 * makes the fuse DaemonSet start a pod here; on one machine nobody looks at it and there is no
 * labeler. */
#ifndef GFS_CSI_LABELER_H
#define GFS_CSI_LABELER_H

#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_csi_node_labeler {
    void *self;

    /* Gives the node the label `key`="true". Idempotent: called again at every stage,
     * since a node object may be re-created. GFS_EUNAVAIL when the API cannot
     * be reached. Thread: any worker; may block until `deadline` (monotonic ns). */
    int (*set)(void *self, const char *key, int64_t deadline, struct gfs_err *err);

    /* Takes it away. Success when it is not there. */
    int (*remove)(void *self, const char *key, int64_t deadline, struct gfs_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
