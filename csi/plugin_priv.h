/* The plugin's parts, shared by plugin.c and the services. */
#ifndef GFSI_CSI_PLUGIN_PRIV_H
#define GFSI_CSI_PLUGIN_PRIV_H

#include <stdatomic.h>

#include <gfs/csi/plugin.h>
#include <gfs/rpc/server.h>

#include "engine_priv.h"
#include "node_priv.h"
#include "relabel_priv.h"
#include "repair_priv.h"
#include "stats_priv.h"

struct gfs_csi_plugin {
    /* copies of the configuration's strings */
    char *node_id, *endpoint, *kubelet_root, *mount_root, *state_dir;
    char *kubelet_real, *mount_real; /* without symbolic links */
    char *keeper_socket, *fuse_program, *fuse_log_dir, *registration_socket;
    uid_t peer_uids[GFS_CSI_PEER_UIDS_MAX];
    size_t n_peer_uids;
    bool volume_condition;
    int64_t answer_ns;
    unsigned n_workers;

    struct gfsi_node node;
    struct gfsi_engine *engine;
    struct gfsi_stats *stats;
    struct gfsi_repair *repair;
    struct gfsi_relabel *relabel;
    int64_t label_check_ns;
    struct gfs_rpc_server *server;       /* Identity and Node */
    struct gfs_rpc_server *registration; /* NULL: not wanted */

    atomic_ullong next_request; /* number in log lines */
    struct gfs_metric *volumes_gauge, *targets_gauge;
    struct gfs_metrics *metrics;
};

/* Adds the services to the servers that exist. */
int gfsi_identity_add(struct gfs_csi_plugin *plugin, struct gfs_err *err);
int gfsi_node_service_add(struct gfs_csi_plugin *plugin, struct gfs_err *err);
int gfsi_registration_add(struct gfs_csi_plugin *plugin, struct gfs_err *err);

#endif
