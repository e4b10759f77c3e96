/* csi-node-labeler: gives this machine's Node labels, or takes one away, and ends.
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
    .summary = "set, remove or check labels fluid.io/... of a Node",
    .operands = "set KEY | remove KEY | check KEY...",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
};

static const struct gfs_kube_resource nodes = {
    .group = "", .version = "v1", .plural = "nodes", .kind = "Node", .namespaced = false};

/* Leaves out of `labels` those the Node has: nobody has to write what is so. */
static int drop_present(struct gfs_kube_client *client, const char *name, json_t *labels,
                        struct gfs_err *err)
{
    json_t *node = NULL;
    json_t *present;
    const char *key;
    json_t *value;
    void *next;
    int rc = gfs_kube_get(client, &nodes, NULL, name, &node, err);

    if (rc < 0) {
        return rc;
    }
    present = json_object_get(json_object_get(node, "metadata"), "labels");
    json_object_foreach_safe(labels, next, key, value)
    {
        if (json_equal(json_object_get(present, key), value)) {
            (void)json_object_del(labels, key);
        }
    }
    json_decref(node);
    return 0;
}

/* Takes over `labels`. */
static int patch_labels(struct gfs_kube_client *client, const char *name, json_t *labels,
                        struct gfs_err *err)
{
    json_t *patch = json_pack("{s:{s:o}}", "metadata", "labels", labels);
    int rc = patch != NULL
                 ? gfs_kube_merge_patch(client, &nodes, NULL, name, NULL, patch, NULL, err)
                 : gfs_err_set(err, GFS_ENOMEM, "out of memory");

    json_decref(patch);
    return rc;
}

/* Takes over `labels`. */
static int apply(const struct gfs_cfg *cfg, json_t *labels, bool check, struct gfs_err *err)
{
    const struct gfs_kube_client_opts opts = {.user_agent = "csi-node-labeler",
                                              .connections = 1,
                                              .timeout_ns =
                                                  gfs_cfg_int(cfg, "timeout-ms") * GFS_NS_PER_MS};
    const char *name = gfs_cfg_str(cfg, "node");
    struct gfs_kube_config config = {0};
    struct gfs_kube_client *client = NULL;
    int rc = gfs_kube_config_load(gfs_cfg_str(cfg, "kubeconfig"), NULL, &config, err);

    if (rc == 0) {
        rc = gfs_kube_client_new(&config, &opts, &client, err);
    }
    gfs_kube_config_fini(&config);
    if (rc == 0 && check) {
        rc = drop_present(client, name, labels, err);
    }
    if (rc == 0 && json_object_size(labels) > 0) {
        rc = patch_labels(client, name, json_incref(labels), err);
    }
    json_decref(labels);
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

/* The labels of the command line, as a JSON merge patch (RFC 7396) has them: null removes. NULL:
 * not understood. */
static json_t *parse_labels(const struct gfs_cfg *cfg, bool *out_check)
{
    static const char prefix[] = "fluid.io/";
    size_t n = gfs_cfg_n_operands(cfg);
    const char *verb = n > 1 ? gfs_cfg_operand(cfg, 0) : "";
    bool removes = strcmp(verb, "remove") == 0;
    json_t *labels = json_object();

    *out_check = strcmp(verb, "check") == 0;
    if (!*out_check && (n != 2 || (!removes && strcmp(verb, "set") != 0))) {
        json_decref(labels);
        return NULL;
    }
    for (size_t i = 1; i < n; i++) {
        const char *key = gfs_cfg_operand(cfg, i);

        if (strncmp(key, prefix, sizeof(prefix) - 1) != 0 ||
            json_object_set_new(labels, key, removes ? json_null() : json_string("true")) < 0) {
            json_decref(labels);
            return NULL;
        }
    }
    return labels;
}

int main(int argc, char **argv)
{
    struct gfs_cfg *cfg = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    json_t *labels;
    bool check;
    int rc;

    (void)signal(SIGPIPE, SIG_IGN);
    rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);
    if (rc != 0) {
        if (rc < 0) {
            (void)fprintf(stderr, "csi-node-labeler: %s\n", gfs_err_text(&err, rc));
        }
        return rc < 0 ? EXIT_USAGE : 0;
    }
    labels = parse_labels(cfg, &check);
    rc = labels != NULL
             ? apply(cfg, labels, check, &err)
             : gfs_err_set(&err, GFS_EINVAL,
                           "operands are: set|remove fluid.io/..., or check and several");
    if (rc < 0) {
        (void)fprintf(stderr, "%s\n", gfs_err_text(&err, rc));
    }
    (void)gfs_cfg_free(cfg);
    return exit_code(rc);
}
