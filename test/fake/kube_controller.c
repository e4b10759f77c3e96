/* The controllers against a server named on the command line, as `fluid-controller run` runs them,
 * but with masters that do at once what they are asked. For tests: what a run needs of a cluster is
 * then an API server alone. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/auto.h>

#include "platform/kubernetes/kube_priv.h"

void __wrap_gfsi_kube_masters_observe(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                                      struct gfs_observation *seen);
int __wrap_gfsi_kube_masters_mount(struct gfsi_kube_pair *pair,
                                   const struct gfs_dataset_mount *mount, struct gfs_err *err);
int __wrap_gfsi_kube_masters_hand_over(struct gfsi_kube_pair *pair, struct gfs_err *err);
void __wrap_gfsi_kube_load(struct gfsi_kube *k, const char *key);

void __wrap_gfsi_kube_masters_observe(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                                      struct gfs_observation *seen)
{
    bool loaded = gfsi_kube_pair_loaded(k, pair->key);

    seen->has_leader = true;
    seen->cache_known = loaded;
    seen->capacity = UINT64_C(6) << 30;
    seen->sized = loaded;
    seen->ufs_total = 52 << 20;
    seen->files = 42;
}

int __wrap_gfsi_kube_masters_mount(struct gfsi_kube_pair *pair,
                                   const struct gfs_dataset_mount *mount, struct gfs_err *err)
{
    (void)pair;
    (void)mount;
    (void)err;
    return 0;
}

void __wrap_gfsi_kube_load(struct gfsi_kube *k, const char *key)
{
    gfsi_kube_pair_set_loaded(k, key);
    (void)gfs_kube_queue_add(k->runtimes, key);
}

int __wrap_gfsi_kube_masters_hand_over(struct gfsi_kube_pair *pair, struct gfs_err *err)
{
    (void)pair;
    (void)err;
    return 0;
}

/* KUBECONFIG IDENTITY [dataset|runtime]; an identity that is not "" takes part in an election.
 * Without the last both controllers run. */
int main(int argc, char **argv)
{
    struct gfs_err err = GFS_ERR_INIT;
    unsigned controllers = GFS_CONTROLLER_DATASET | GFS_CONTROLLER_RUNTIME;

    if (argc == 4) {
        controllers =
            strcmp(argv[3], "dataset") == 0 ? GFS_CONTROLLER_DATASET : GFS_CONTROLLER_RUNTIME;
    } else if (argc != 3) {
        return 2;
    }

    const struct gfs_kubernetes_opts opts = {
        .kubeconfig = argv[1],
        .controllers = controllers,
        .leader_elect = argv[2][0] != '\0',
        .lease_ns = "fluid-system",
        .identity = argv[2],
        .image = "goosefs.local/goosefs:1",
        .mount_root = "/runtime-mnt",
        .launch_pod = true,
        .metrics_addr = "",
    };

    if (gfs_kubernetes_run(&opts, &err) < 0) {
        fprintf(stderr, "kube_controller: %s\n", err.text);
        return 1;
    }

    return 0;
}
