/* The Kubernetes platform: the objects of a Dataset and a GooseFSRuntime as StatefulSets,
 * DaemonSets, Services and volumes of a cluster. */
#ifndef GFS_CONTROLLER_KUBERNETES_H
#define GFS_CONTROLLER_KUBERNETES_H

#include <stdbool.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GFS_CONTROLLER_DATASET = 1,
    GFS_CONTROLLER_RUNTIME = 2,
};

/* Borrowed for the call. */
struct gfs_kubernetes_opts {
    const char *kubeconfig;   /* "": the pod's service account */
    unsigned controllers;     /* GFS_CONTROLLER_..., or-ed */
    bool leader_elect;        /* work only while holding the Lease */
    const char *lease_ns;     /* "fluid-system" */
    const char *identity;     /* in the Lease; the pod's name */
    const char *image;        /* of runtimes that name none */
    const char *mount_root;   /* "/runtime-mnt" on every node */
    const char *pull_secrets; /* for images of runtimes: names, separated by commas; "": none */
    bool launch_pod;          /* clients run in pods NAME-fuse-xxxxx; false: the keeper's pods */
    const char *metrics_addr; /* "0.0.0.0:8080" for /metrics and /healthz; "": off */
};

/* Runs until SIGTERM or SIGINT: 0. GFS_EABORTED when leadership was lost: start again. Other
 * errors: no usable credentials, an address in use. The caller has started no thread. */
int gfs_kubernetes_run(const struct gfs_kubernetes_opts *opts, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
