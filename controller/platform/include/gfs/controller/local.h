/* The local platform: the objects of a Dataset and a GooseFSRuntime as supervised processes on this
 * machine, each "pod" with an address 127.x.y.z of its own. */
#ifndef GFS_CONTROLLER_LOCAL_H
#define GFS_CONTROLLER_LOCAL_H

#include <stddef.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_LOCAL_FILES_MAX 64 /* -f of one command */

/* Borrowed for the call. Paths absolute and normalised. */
struct gfs_local_opts {
    const char *state_dir;
    const char *mount_root;   /* "/runtime-mnt" */
    const char *kubelet_root; /* "/var/lib/kubelet" */
    const char *bin_dir;      /* holds goosefs-master and the others */
    const char *const *files; /* manifests to apply at start */
    size_t n_files;
};

/* Runs until SIGTERM or SIGINT, then stops everything in order: clients, node plugin, workers,
 * masters. 0 after a clean stop. The caller has started no thread and not blocked those signals.
 * Errors: not root, /dev/fuse missing, a program missing, another instance, another version, a
 * manifest that is wrong (then nothing was started); the text says what to do. */
int gfs_local_run(const struct gfs_local_opts *opts, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
