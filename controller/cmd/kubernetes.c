/* run --platform kubernetes. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <gfs/base/hosts.h>
#include <gfs/base/version.h>

#include "cmd/cmd.h"

/* Fluid's charts say these in the environment; a flag wins. */
static const char *setting(const char *flag, const char *variable, const char *fallback)
{
    const char *value = getenv(variable);

    return flag[0] != '\0' ? flag : value != NULL && value[0] != '\0' ? value : fallback;
}

int gfsi_run_kubernetes(const struct gfsi_options *options)
{
    char host[GFS_HOST_NAME_MAX + 1] = "";
    char image[128];
    struct gfs_err err = GFS_ERR_INIT;

    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(image, sizeof(image), "goosefs.local/goosefs:%s", gfs_version());

    const struct gfs_kubernetes_opts opts = {
        .kubeconfig = options->kubeconfig,
        .controllers = options->controllers,
        .leader_elect = options->leader_elect,
        .lease_ns = options->lease_ns,
        .identity = setting("", "POD_NAME", host),
        .image = setting(options->image, "GOOSEFS_RUNTIME_IMAGE_ENV", image),
        .mount_root = setting("", "MOUNT_ROOT", options->mount_root),
        .pull_secrets = setting("", "IMAGE_PULL_SECRETS", ""),
        .launch_pod = options->launch_pod,
        .metrics_addr = options->metrics_addr,
    };

    /* Twenty threads, each with a heap of its own, keep twenty times what a list costs for a
     * moment. */
    (void)mallopt(M_ARENA_MAX, 2);
    if (gfs_kubernetes_run(&opts, &err) < 0) {
        fprintf(stderr, "fluid-controller: %s\n", err.text);
        return 1;
    }

    return 0;
}
