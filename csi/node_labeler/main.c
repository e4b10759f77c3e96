/* csi-node-labeler: gives this machine's Node a label, or takes it away, and ends.
 *
 * A program of its own so that TLS, HTTP and the node's credentials are in memory for the fraction
 * of a second they are needed, not in the plugin that runs for months. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/kube/client.h>
#include <gfs/kube/config.h>

/* sysexits.h: what the plugin tells apart. */
#define EXIT_USAGE    64
#define EXIT_TEMPFAIL 75
#define EXIT_NOPERM   77

static const struct gfs_cfg_option options[] = {
    {.flag = "kubeconfig",
     .type = GFS_CFG_STR,
     .default_value = "/etc/kubernetes/kubelet.conf",
     .metavar = "FILE",
     .help = "kubeconfig with the node's identity"},
    {.flag = "node", .type = GFS_CFG_STR, .metavar = "NAME", .help = "name of the Node"},
    {.flag = "timeout-ms",
     .type = GFS_CFG_INT,
     .default_value = "10000",
     .min = 1,
     .max = 600000,
     .metavar = "MS",
     .help = "time the API server has"},
};

static const struct gfs_cfg_program program = {
    .name = "csi-node-labeler",
    .summary = "set or remove a label fluid.io/... of a Node",
    .operands = "set|remove KEY",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
};

static const struct gfs_kube_resource nodes = {
    .group = "", .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false};

static int patch_label(const struct gfs_cfg *cfg, const char *key, bool set, struct gfs_err *err)
{
    const struct gfs_kube_client_opts opts = {.user_agent = "csi-node-labeler",
                                              .connections = 1,
                                              .timeout_ns =
                                                  gfs_cfg_int(cfg, "timeout-ms") * GFS_NS_PER_MS};
    struct gfs_kube_config config = {0};
    struct gfs_kube_client *client = NULL;
    json_t *patch;
    int rc = gfs_kube_config_load(gfs_cfg_str(cfg, "kubeconfig"), NULL, &config, err);

    if (rc == 0) {
        rc = gfs_kube_client_new(&config, &opts, &client, err);
    }
    gfs_kube_config_fini(&config);
    if (rc < 0) {
        return rc;
    }
    /* JSON merge patch (RFC 7396): null removes, and what is there already stays as it is. */
    patch = json_pack("{s:{s:{s:o}}}", "metadata", "labels", key,
                      set ? json_string("true") : json_null());
    rc = patch != NULL ? gfs_kube_merge_patch(client, &nodes, NULL, gfs_cfg_str(cfg, "node"), NULL,
                                              patch, NULL, err)
                       : gfs_err_set(err, GFS_ENOMEM, "out of memory");
    json_decref(patch);
    (void)gfs_kube_client_free(client);
    return rc;
}

static int exit_code(int rc)
{
    switch (rc) {
    case 0: return 0;
    case GFS_EINVAL: return EXIT_USAGE;
    case GFS_EPERM:
    case GFS_EUNAUTH: return EXIT_NOPERM;
    case GFS_EUNAVAIL:
    case GFS_ETIMEOUT:
    case GFS_EBUSY: return EXIT_TEMPFAIL;
    default: return 1;
    }
}

int main(int argc, char **argv)
{
    struct gfs_cfg *cfg = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    bool set;
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);
    if (rc != 0) {
        if (rc < 0) {
            (void)fprintf(stderr, "csi-node-labeler: %s\n", gfs_err_text(&err, rc));
        }
        return rc < 0 ? EXIT_USAGE : 0;
    }
    set = gfs_cfg_n_operands(cfg) == 2 && strcmp(gfs_cfg_operand(cfg, 0), "set") == 0;
    if (gfs_cfg_n_operands(cfg) != 2 || (!set && strcmp(gfs_cfg_operand(cfg, 0), "remove") != 0) ||
        strncmp(gfs_cfg_operand(cfg, 1), "fluid.io/", strlen("fluid.io/")) != 0) {
        rc = gfs_err_set(&err, GFS_EINVAL, "operands are: set|remove fluid.io/...");
    } else {
        rc = patch_label(cfg, gfs_cfg_operand(cfg, 1), set, &err);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "%s\n", gfs_err_text(&err, rc));
    }
    (void)gfs_cfg_free(cfg);
    return exit_code(rc);
}
