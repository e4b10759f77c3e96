/* csi-nodeplugin-fluid: the CSI node plugin of this machine. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/csi/plugin.h>
#include <gfs/http/http.h>
#include <gfs/rpc/rpc.h>

#include "attrs_priv.h"
#include "keeper_metrics_priv.h"
#include "updatedb_priv.h"

#define DRAIN_NS (25 * GFS_NS_PER_S) /* below the 30 s a supervisor gives */

static const struct gfs_cfg_option options[] = {
    {.flag = "nodeid",
     .type = GFS_CFG_STR,
     .metavar = "NAME",
     .help = "name of this node; also from NODE_ID"},
    {.flag = "endpoint",
     .type = GFS_CFG_STR,
     .metavar = "unix:///PATH",
     .help = "socket to serve CSI on; also from CSI_ENDPOINT"},
    {.flag = "kubelet-root",
     .type = GFS_CFG_STR,
     .default_value = "/var/lib/kubelet",
     .metavar = "DIR",
     .help = "staging and target paths lie below it; also from KUBELET_ROOTDIR"},
    {.flag = "mount-root",
     .type = GFS_CFG_STR,
     .default_value = "/runtime-mnt",
     .metavar = "DIR",
     .help = "FUSE mounts of datasets lie below it; also from MOUNT_ROOT"},
    {.flag = "state-dir",
     .type = GFS_CFG_STR,
     .default_value = "/var/lib/fluid/csi",
     .metavar = "DIR",
     .help = "journal of staged and published volumes"},
    {.flag = "launch-mode",
     .type = GFS_CFG_STR,
     .default_value = "process",
     .metavar = "process|pod",
     .help = "where FUSE clients run: started by fuse-keeper itself, or by the launcher in the "
             "runtime's fuse pod"},
    {.flag = "keeper-socket",
     .type = GFS_CFG_STR,
     .default_value = "/run/fluid/fuse-keeper.sock",
     .metavar = "PATH",
     .help = "socket of fuse-keeper; \"\" with launch mode pod: fuse pods mount by themselves"},
    {.flag = "fuse-program",
     .type = GFS_CFG_STR,
     .default_value = "/usr/local/bin/goosefs-fuse",
     .metavar = "PATH",
     .help = "FUSE client the keeper is to run (launch mode process)"},
    {.flag = "fuse-log-dir",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "DIR",
     .help = "where FUSE clients write their logs; default: the keeper's own"},
    {.flag = "kubelet-kube-config",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "FILE",
     .help = "kubeconfig with the node's identity, to label the Node; default, and where there is "
             "no such file: no label"},
    {.flag = "node-labeler",
     .type = GFS_CFG_STR,
     .default_value = "/usr/local/bin/csi-node-labeler",
     .metavar = "PATH",
     .help = "program that sets the label"},
    {.flag = "clean-policy",
     .type = GFS_CFG_STR,
     .default_value = "OnRuntimeDeleted",
     .metavar = "POLICY",
     .help = "OnRuntimeDeleted, OnDemand or OnFuseChanged, for volumes that do not say"},
    {.flag = "node-publish-method",
     .type = GFS_CFG_STR,
     .default_value = "bindMount",
     .metavar = "METHOD",
     .help = "bindMount or symlink; also from NODEPUBLISH_METHOD"},
    {.flag = "registration-dir",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "DIR",
     .help = "kubelet's plugins_registry; default: below --kubelet-root"},
    {.flag = "registrar",
     .type = GFS_CFG_BOOL,
     .default_value = "true",
     .help = "register with kubelet; --no-registrar leaves it to node-driver-registrar"},
    {.flag = "volume-condition",
     .type = GFS_CFG_BOOL,
     .default_value = "false",
     .help = "report VolumeCondition (alpha) with volume stats"},
    {.flag = "peer-uids",
     .type = GFS_CFG_STR,
     .default_value = "0",
     .metavar = "UID,...",
     .help = "users that may call, as the kernel knows them"},
    {.flag = "workers",
     .type = GFS_CFG_INT,
     .default_value = "32",
     .min = 2,
     .max = 64,
     .metavar = "N",
     .help = "operations on mounts at the same time"},
    {.flag = "metrics-addr",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "HOST:PORT",
     .help = "serve /metrics and /healthz; default: off"},
    {.flag = "updatedb-conf",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "FILE",
     .help = "keep locate(1) out of the mounts by editing this updatedb.conf; default: off"},
    {.flag = "prune-fs",
     .type = GFS_CFG_STR,
     .default_value = "fuse.alluxio-fuse fuse.jindofs-fuse fuse.juicefs fuse.goosefs-fuse ossfs",
     .metavar = "LIST",
     .help = "file system types added to PRUNEFS, separated by blanks or commas"},
    {.flag = "prune-path",
     .type = GFS_CFG_STR,
     .default_value = "/runtime-mnt",
     .metavar = "LIST",
     .help = "paths added to PRUNEPATHS"},
};

static const struct gfs_cfg_program program = {
    .name = "csi-nodeplugin-fluid",
    .summary = "CSI node plugin " GFS_CSI_DRIVER_NAME,
    .operands = "[start]",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
};

/* Fluid's plugin takes these from its environment; a flag wins. */
static const char *setting(const struct gfs_cfg *cfg, const char *flag, const char *variable)
{
    const char *value = getenv(variable);

    return !gfs_cfg_is_set(cfg, flag) && value != NULL && value[0] != '\0' ? value
                                                                           : gfs_cfg_str(cfg, flag);
}

static int choose(const char *value, const char *what, const char *no, const char *yes, bool *out,
                  struct gfs_err *err)
{
    if (strcmp(value, no) != 0 && strcmp(value, yes) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "--%s must be %s or %s, not '%s'", what, no, yes,
                           value);
    }
    *out = strcmp(value, yes) == 0;
    return 0;
}

struct daemon {
    struct gfs_cfg *cfg;
    uid_t peer_uids[GFS_CSI_PEER_UIDS_MAX];
    char *registration_dir;
    struct gfs_metrics *metrics;
    struct gfs_csi_node_program *labeler;
    struct gfs_csi_prober *prober;
    struct gfs_csi_plugin *plugin;
    struct gfs_http *http;
};

static int parse_uids(const char *text, uid_t *out, size_t *out_n, struct gfs_err *err)
{
    size_t n = 0;

    for (const char *at = text; n < GFS_CSI_PEER_UIDS_MAX; at++) {
        size_t len = strcspn(at, ",");
        char number[16];
        uint64_t uid;

        if (len >= sizeof(number)) {
            break;
        }
        memcpy(number, at, len);
        number[len] = '\0';
        if (gfs_parse_u64(number, UINT32_MAX - 1, &uid) < 0) {
            break;
        }
        out[n++] = (uid_t)uid;
        at += len;
        if (*at == '\0') {
            *out_n = n;
            return 0;
        }
    }
    return gfs_err_set(err, GFS_EINVAL, "--peer-uids: 1 to %d numbers with commas between",
                       GFS_CSI_PEER_UIDS_MAX);
}

static int fill_labeler(struct daemon *d, struct gfs_csi_config *out, struct gfs_err *err)
{
    const char *kubeconfig = gfs_cfg_str(d->cfg, "kubelet-kube-config");
    int rc;

    if (kubeconfig[0] == '\0') {
        return 0;
    }
    if (access(kubeconfig, R_OK) < 0) {
        gfs_warn("csi", "no identity of this node: it gets no labels", "file=%s error=%s",
                 GFS_Q(kubeconfig), GFS_Q(strerror(errno)));
        return 0;
    }
    rc = gfs_csi_node_program_new(gfs_cfg_str(d->cfg, "node-labeler"), kubeconfig, out->node_id,
                                  &d->labeler, err);
    if (rc == 0) {
        out->labeler = gfs_csi_node_program_labeler(d->labeler);
    }
    return rc;
}

static int fill_config(struct daemon *d, struct gfs_csi_config *out, struct gfs_err *err)
{
    const struct gfs_cfg *cfg = d->cfg;
    bool pod;
    int rc;

    *out = (struct gfs_csi_config){
        .node_id = setting(cfg, "nodeid", "NODE_ID"),
        .endpoint = setting(cfg, "endpoint", "CSI_ENDPOINT"),
        .kubelet_root = setting(cfg, "kubelet-root", "KUBELET_ROOTDIR"),
        .mount_root = setting(cfg, "mount-root", "MOUNT_ROOT"),
        .state_dir = gfs_cfg_str(cfg, "state-dir"),
        .keeper_socket = gfs_cfg_str(cfg, "keeper-socket"),
        .fuse_program = gfs_cfg_str(cfg, "fuse-program"),
        .fuse_log_dir = gfs_cfg_str(cfg, "fuse-log-dir"),
        .volume_condition = gfs_cfg_bool(cfg, "volume-condition"),
        .n_workers = (unsigned)gfs_cfg_int(cfg, "workers"),
        .metrics = d->metrics,
    };
    rc = choose(gfs_cfg_str(cfg, "launch-mode"), "launch-mode", "process", "pod", &pod, err);
    if (rc == 0) {
        rc = choose(setting(cfg, "node-publish-method", "NODEPUBLISH_METHOD"),
                    "node-publish-method", "bindMount", "symlink", &out->symlink_method, err);
    }
    if (rc == 0) {
        rc = parse_uids(gfs_cfg_str(cfg, "peer-uids"), d->peer_uids, &out->n_peer_uids, err);
        out->peer_uids = d->peer_uids;
    }
    if (rc < 0) {
        return rc;
    }
    out->launch_mode = pod ? GFS_CSI_LAUNCH_POD : GFS_CSI_LAUNCH_PROCESS;
    if (gfsi_clean_policy_parse(gfs_cfg_str(cfg, "clean-policy"), &out->clean_policy) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "--clean-policy must be OnRuntimeDeleted, OnDemand or OnFuseChanged");
    }

    rc = fill_labeler(d, out, err);
    if (rc < 0) {
        return rc;
    }
    if (!gfs_cfg_bool(cfg, "registrar")) {
        return 0;
    }
    if (gfs_cfg_str(cfg, "registration-dir")[0] != '\0') {
        out->registration_dir = gfs_cfg_str(cfg, "registration-dir");
        return 0;
    }
    if (asprintf(&d->registration_dir, "%s/plugins_registry", out->kubelet_root) < 0) {
        d->registration_dir = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    out->registration_dir = d->registration_dir;
    return 0;
}

static bool is_healthy(struct gfs_buf *reason, void *user)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfs_csi_plugin_health(user, &err);

    if (rc < 0) {
        (void)gfs_buf_puts(reason, gfs_err_text(&err, rc));
    }
    return rc == 0;
}

#define KEEPER_ANSWER_NS GFS_NS_PER_S

static void serve_metrics(const struct gfs_http_request *request,
                          struct gfs_http_response *response, void *user)
{
    const struct daemon *d = user;
    const char *keeper = gfs_cfg_str(d->cfg, "keeper-socket");

    (void)request;
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (gfs_metrics_print(d->metrics, &response->body) < 0) {
        response->status = 500;
        return;
    }
    if (keeper[0] != '\0') {
        gfsi_keeper_metrics_print(keeper, gfs_clock_mono() + KEEPER_ANSWER_NS, &response->body);
    }
}

static int start_http(struct daemon *d, struct gfs_err *err)
{
    const char *address = gfs_cfg_str(d->cfg, "metrics-addr");
    int rc;

    if (address[0] == '\0') {
        return 0;
    }
    d->http = gfs_http_new();
    if (d->http == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    rc = gfs_http_route(d->http, "/metrics", serve_metrics, d);
    if (rc == 0) {
        rc = gfs_http_route_health(d->http, "/healthz", is_healthy, d->plugin);
    }
    return rc < 0 ? rc : gfs_http_start(d->http, address, err);
}

static int run(struct daemon *d, struct gfs_err *err)
{
    struct gfs_csi_config config;
    const char *updatedb = gfs_cfg_str(d->cfg, "updatedb-conf");
    sigset_t signals;
    int number = 0;
    int rc = fill_config(d, &config, err);

    if (rc < 0 || (rc = gfs_csi_prober_new(&d->prober, err)) < 0) {
        return rc;
    }
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);

    gfs_rpc_init();
    if (updatedb[0] != '\0') {
        struct gfs_err why = GFS_ERR_INIT;

        rc = gfsi_updatedb_prune(updatedb, gfs_cfg_str(d->cfg, "prune-fs"),
                                 gfs_cfg_str(d->cfg, "prune-path"), &why);
        if (rc < 0) {
            gfs_warn("csi", "updatedb.conf not changed", "error=%s", GFS_Q(gfs_err_text(&why, rc)));
        }
    }
    rc = gfs_csi_plugin_new(&config, d->prober, &d->plugin, err);
    if (rc == 0) {
        rc = gfs_csi_plugin_start(d->plugin, err);
    }
    if (rc == 0) {
        rc = start_http(d, err);
    }
    if (rc < 0) {
        return rc;
    }

    while (sigwait(&signals, &number) != 0) {
    }
    gfs_info("csi", "stopping", "signal=%s", strsignal(number));
    gfs_csi_plugin_stop(d->plugin, gfs_clock_mono() + DRAIN_NS);
    return 0;
}

int main(int argc, char **argv)
{
    struct daemon d = {0};
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    /* Sockets and state are root's only, and so are core dumps: requests carry secrets. */
    (void)umask(0077);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)signal(SIGPIPE, SIG_IGN);

    rc = gfs_cfg_parse(&program, argc, argv, &d.cfg, &err);
    if (rc != 0) {
        if (rc < 0) {
            (void)fprintf(stderr, "csi-nodeplugin-fluid: %s\n", gfs_err_text(&err, rc));
        }
        return rc < 0 ? 2 : 0;
    }
    if (gfs_cfg_n_operands(d.cfg) > 1 ||
        (gfs_cfg_n_operands(d.cfg) == 1 && strcmp(gfs_cfg_operand(d.cfg, 0), "start") != 0)) {
        (void)fprintf(stderr, "csi-nodeplugin-fluid: the only operand is 'start'\n");
        (void)gfs_cfg_free(d.cfg);
        return 2;
    }

    d.metrics = gfs_metrics_new();
    rc = d.metrics != NULL ? run(&d, &err) : GFS_ENOMEM;
    if (rc < 0) {
        gfs_error("csi", "cannot serve", "error=%s", GFS_Q(gfs_err_text(&err, rc)));
    }

    d.http = gfs_http_free(d.http);
    d.plugin = gfs_csi_plugin_free(d.plugin);
    d.labeler = gfs_csi_node_program_free(d.labeler);
    d.prober = gfs_csi_prober_free(d.prober);
    if (d.metrics != NULL) {
        d.metrics = gfs_metrics_free(d.metrics);
    }
    free(d.registration_dir);
    (void)gfs_cfg_free(d.cfg);
    return rc == 0 ? 0 : rc == GFS_EINVAL ? 2 : 1;
}
