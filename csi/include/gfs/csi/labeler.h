/* How the plugin marks its node as a user of a dataset. In a cluster the label `fluid.io/f-NS-NAME`
 * makes the fuse DaemonSet start a pod here; on one machine nobody looks at it and there is no
 * labeler. */
#ifndef GFS_CSI_LABELER_H
#define GFS_CSI_LABELER_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_CSI_LABELS_MAX 64 /* of one check */

struct gfs_csi_node_labeler {
    void *self;

    /* Gives the node the label `key`="true". Idempotent: called again at every stage,
     * since a node object may be re-created. GFS_EUNAVAIL when the API cannot
     * be reached. Thread: any worker; may block until `deadline` (monotonic ns). */
    int (*set)(void *self, const char *key, int64_t deadline, struct gfs_err *err);

    /* Takes it away. Success when it is not there. */
    int (*remove)(void *self, const char *key, int64_t deadline, struct gfs_err *err);

    /* Sets those of `n` keys (1 to GFS_CSI_LABELS_MAX) that the node lacks. Reads the node first:
     * writes nothing as long as nobody took a label away. */
    int (*check)(void *self, const char *const *keys, size_t n, int64_t deadline,
                 struct gfs_err *err);
};

/* The labeler of a real node: runs `program` (csi-node-labeler) for each change, with the
 * kubeconfig of the node's own identity, with which it can change no other Node. */
struct gfs_csi_node_program;

/* Strings are copied. GFS_EINVAL when one of the files is not there. */
int gfs_csi_node_program_new(const char *program, const char *kubeconfig, const char *node,
                             struct gfs_csi_node_program **out, struct gfs_err *err);
struct gfs_csi_node_program *gfs_csi_node_program_free(struct gfs_csi_node_program *program);

/* Borrowed, as long as the program object lives. */
const struct gfs_csi_node_labeler *
gfs_csi_node_program_labeler(const struct gfs_csi_node_program *program);

#ifdef __cplusplus
}
#endif
#endif
