/* The CSI node plugin fuse.csi.fluid.io: Identity and Node services of CSI on a unix socket,
 * kubelet's registration service on another. A process may hold several.
 *
 *   gfs_csi_prober_new (before the first thread) -> gfs_csi_plugin_new -> start -> stop -> free
 *
 * The truth is the mount table, the keeper and, for what those cannot tell, a small journal;
 * killing the plugin at any moment loses nothing. Names and attributes follow Fluid's plugin. */
#ifndef GFS_CSI_PLUGIN_H
#define GFS_CSI_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>
#include <gfs/csi/labeler.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_CSI_DRIVER_NAME   "fuse.csi.fluid.io"
#define GFS_CSI_PEER_UIDS_MAX 8
#define GFS_CSI_MESSAGE_MAX   65536 /* bytes of a request: the largest legal one is about 20 KiB */

/* Asks file systems what may block: a child process, forked before there are threads, that forks
 * once per question, so that a question a dead mount does not answer can be killed. */
struct gfs_csi_prober;
int gfs_csi_prober_new(struct gfs_csi_prober **out, struct gfs_err *err);
struct gfs_csi_prober *gfs_csi_prober_free(struct gfs_csi_prober *prober);

enum gfs_csi_launch_mode {
    GFS_CSI_LAUNCH_PROCESS, /* the keeper on this machine mounts and runs the FUSE client */
    GFS_CSI_LAUNCH_POD,     /* the keeper mounts, the launcher in the runtime's pod runs the client;
                               without a keeper the pod mounts, too. The plugin labels the node */
};

enum gfs_csi_clean_policy {
    GFS_CSI_CLEAN_ON_RUNTIME_DELETED, /* the mount stays after the last unstage (Fluid's default) */
    GFS_CSI_CLEAN_ON_DEMAND,          /* goes with the last unstage */
    GFS_CSI_CLEAN_ON_FUSE_CHANGED,    /* goes if the client's configuration changed since */
};

/* Strings are copied by gfs_csi_plugin_new. */
struct gfs_csi_config {
    const char *node_id;          /* required, <= 256 bytes */
    const char *endpoint;         /* "unix:///path/csi.sock" */
    const char *kubelet_root;     /* staging and target paths lie below it */
    const char *mount_root;       /* fluid_path lies below it */
    const char *state_dir;        /* holds the journal; created 0700 */
    const char *keeper_socket;    /* of fuse-keeper; may be "" with GFS_CSI_LAUNCH_POD */
    const char *fuse_program;     /* absolute path of goosefs-fuse (a launcher runs its own) */
    const char *fuse_log_dir;     /* "": the client writes to the keeper's log */
    const char *registration_dir; /* kubelet's plugins_registry; "": no registration service */
    enum gfs_csi_launch_mode launch_mode;
    enum gfs_csi_clean_policy clean_policy;     /* of volumes that do not say */
    bool symlink_method;                        /* of volumes that do not say */
    bool volume_condition;                      /* report it in NodeGetVolumeStats */
    const uid_t *peer_uids;                     /* users that may call; NULL: root */
    size_t n_peer_uids;                         /* <= GFS_CSI_PEER_UIDS_MAX */
    unsigned n_workers;                         /* operations at the same time; 0: 32 */
    int64_t answer_ns;                          /* every call is answered within; 0: 110 s */
    const struct gfs_csi_node_labeler *labeler; /* NULL: none; borrowed */
    int64_t label_check_ns;                     /* how often labels are looked for; 0: 60 s */
    struct gfs_metrics *metrics;                /* NULL: none; borrowed */
};

struct gfs_csi_plugin;

/* Checks the configuration, loads the journal and compares it with the mount table. Takes nothing
 * over; `prober` is borrowed for the plugin's life. GFS_EINVAL names the setting. */
int gfs_csi_plugin_new(const struct gfs_csi_config *config, struct gfs_csi_prober *prober,
                       struct gfs_csi_plugin **out, struct gfs_err *err);

/* Creates the sockets (mode 0600; only the configured users get in, as the kernel knows them) and
 * serves. */
int gfs_csi_plugin_start(struct gfs_csi_plugin *plugin, struct gfs_err *err);

/* Stops accepting, lets calls and operations finish until `deadline` (monotonic ns). What is
 * mounted stays mounted. */
void gfs_csi_plugin_stop(struct gfs_csi_plugin *plugin, int64_t deadline);
struct gfs_csi_plugin *gfs_csi_plugin_free(struct gfs_csi_plugin *plugin);

/* 0 when the plugin can do its work; else the reason, as Probe answers it. Never blocks. Thread:
 * any. */
int gfs_csi_plugin_health(struct gfs_csi_plugin *plugin, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
