#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "plugin_priv.h"

#define DEFAULT_ANSWER_NS (110 * GFS_NS_PER_S) /* kubelet gives up after 120 s */
#define DEFAULT_WORKERS   32
#define PROBE_NS          (5 * GFS_NS_PER_S)
#define WAIT_NS           (90 * GFS_NS_PER_S)
#define LABEL_CHECK_NS    (60 * GFS_NS_PER_S)
#define NODE_ID_MAX       256

static int copy_text(char **out, const char *text, struct gfs_err *err)
{
    *out = strdup(text != NULL ? text : "");
    return *out != NULL ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");
}

/* Copies a directory path in normal form. */
static int copy_path(char **out, const char *path, const char *what, struct gfs_err *err)
{
    char normal[GFSI_PATH_MAX + 1];

    if (path == NULL || gfs_path_normalize(path, normal, sizeof(normal)) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s must be an absolute path", what);
    }
    return copy_text(out, normal, err);
}

/* "unix:///path" from that or "unix:/path". */
static int copy_endpoint(char **out, const char *endpoint, struct gfs_err *err)
{
    char normal[GFSI_PATH_MAX + 1];

    if (endpoint == NULL || !gfs_str_has_prefix(endpoint, "unix:") ||
        gfs_path_normalize(endpoint + sizeof("unix:") - 1, normal, sizeof(normal)) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "endpoint must be unix:///PATH: CSI is served on unix sockets only");
    }
    return asprintf(out, "unix://%s", normal) >= 0 ? 0
                                                   : gfs_err_set(err, GFS_ENOMEM, "out of memory");
}

static int copy_config(struct gfs_csi_plugin *p, const struct gfs_csi_config *c,
                       struct gfs_err *err)
{
    /* Without a keeper pods mount by themselves. */
    bool keeper = c->launch_mode == GFS_CSI_LAUNCH_PROCESS ||
                  (c->keeper_socket != NULL && c->keeper_socket[0] != '\0');
    int rc;

    if (c->node_id == NULL || c->node_id[0] == '\0' || strlen(c->node_id) > NODE_ID_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "nodeid must have 1 to %d bytes", NODE_ID_MAX);
    }
    if ((rc = copy_text(&p->node_id, c->node_id, err)) < 0 ||
        (rc = copy_endpoint(&p->endpoint, c->endpoint, err)) < 0 ||
        (rc = copy_path(&p->kubelet_root, c->kubelet_root, "kubelet-root", err)) < 0 ||
        (rc = copy_path(&p->mount_root, c->mount_root, "mount-root", err)) < 0 ||
        (rc = copy_path(&p->state_dir, c->state_dir, "state-dir", err)) < 0 ||
        (rc = copy_text(&p->fuse_log_dir, c->fuse_log_dir, err)) < 0) {
        return rc;
    }
    if (keeper &&
        ((rc = copy_path(&p->keeper_socket, c->keeper_socket, "keeper-socket", err)) < 0 ||
         (rc = copy_path(&p->fuse_program, c->fuse_program, "fuse-program", err)) < 0)) {
        return rc;
    }
    if (!keeper && ((rc = copy_text(&p->keeper_socket, "", err)) < 0 ||
                    (rc = copy_text(&p->fuse_program, "", err)) < 0)) {
        return rc;
    }
    if (c->registration_dir != NULL && c->registration_dir[0] != '\0' &&
        asprintf(&p->registration_socket, "unix://%s/" GFS_CSI_DRIVER_NAME "-reg.sock",
                 c->registration_dir) < 0) {
        p->registration_socket = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (c->n_peer_uids > GFS_CSI_PEER_UIDS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "peer-uids: at most %d", GFS_CSI_PEER_UIDS_MAX);
    }
    if (c->n_workers > GFSI_ENGINE_WORKERS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "workers: at most %d", GFSI_ENGINE_WORKERS_MAX);
    }

    p->n_peer_uids = c->peer_uids != NULL ? c->n_peer_uids : 1; /* else root, who is 0 */
    for (size_t i = 0; c->peer_uids != NULL && i < c->n_peer_uids; i++) {
        p->peer_uids[i] = c->peer_uids[i];
    }
    p->n_workers = c->n_workers != 0 ? c->n_workers : DEFAULT_WORKERS;
    p->answer_ns = c->answer_ns != 0 ? c->answer_ns : DEFAULT_ANSWER_NS;
    p->label_check_ns = c->label_check_ns != 0 ? c->label_check_ns : LABEL_CHECK_NS;
    p->volume_condition = c->volume_condition;
    return 0;
}

/* A root that does not exist yet will be made by somebody who makes a plain directory. */
static char *real_root(const char *root)
{
    char *real = realpath(root, NULL);

    return real != NULL ? real : strdup(root);
}

static void fill_node(struct gfs_csi_plugin *p, const struct gfs_csi_config *c,
                      struct gfs_csi_prober *prober)
{
    p->node.rules = (struct gfsi_request_rules){
        .kubelet_root = p->kubelet_real,
        .mount_root = p->mount_real,
        .clean_policy = c->clean_policy,
        .kubelet_text = strcmp(p->kubelet_root, p->kubelet_real) != 0 ? p->kubelet_root : NULL,
        .mount_text = strcmp(p->mount_root, p->mount_real) != 0 ? p->mount_root : NULL,
    };
    p->node.state_dir = p->state_dir;
    p->node.fuse_program = p->fuse_program;
    p->node.fuse_log_dir = p->fuse_log_dir;
    p->node.launch_mode = c->launch_mode;
    p->node.symlink_method = c->symlink_method;
    p->node.probe_ns = PROBE_NS;
    p->node.wait_ns = WAIT_NS < p->answer_ns ? WAIT_NS : p->answer_ns;
    p->node.wait_max = p->n_workers > 1 ? p->n_workers / 2 : 1;
    p->node.mounts = gfsi_mounts_kernel;
    if (p->keeper_socket[0] != '\0') {
        gfsi_keeper_init(&p->node.keeper, p->keeper_socket);
    }
    p->node.labeler = c->labeler;
    p->node.prober = prober;
}

int gfs_csi_plugin_new(const struct gfs_csi_config *config, struct gfs_csi_prober *prober,
                       struct gfs_csi_plugin **out, struct gfs_err *err)
{
    struct gfs_csi_plugin *p = calloc(1, sizeof(*p));
    int rc;

    if (p == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    gfsi_holds_init(&p->node.holds);
    rc = copy_config(p, config, err);
    if (rc == 0) {
        p->kubelet_real = real_root(p->kubelet_root);
        p->mount_real = real_root(p->mount_root);
        if (p->kubelet_real == NULL || p->mount_real == NULL) {
            rc = gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
    }
    if (rc == 0) {
        fill_node(p, config, prober);
        rc = gfsi_journal_open(p->state_dir, &p->node.journal, err);
    }
    if (rc == 0 && (p->stats = gfsi_stats_new(&p->node)) == NULL) {
        rc = gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (rc < 0) {
        (void)gfs_csi_plugin_free(p);
        return rc;
    }

    if (config->metrics != NULL) {
        p->metrics = config->metrics;
        p->volumes_gauge = gfs_metrics_get(p->metrics, GFS_METRIC_GAUGE, "fluid_csi_volumes", "",
                                           "Volumes staged or published on this node.");
        p->targets_gauge = gfs_metrics_get(p->metrics, GFS_METRIC_GAUGE, "fluid_csi_targets", "",
                                           "Targets published on this node.");
    }
    *out = p;
    return 0;
}

/* The directory of a "unix://..." address, for our eyes only. */
static int make_socket_dir(const char *address, struct gfs_err *err)
{
    char dir[GFSI_PATH_MAX + 1];
    char *slash;

    if (gfs_str_copy(dir, sizeof(dir), address + sizeof("unix://") - 1) < 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "endpoint");
    }
    slash = strrchr(dir, '/');
    if (slash == NULL || slash == dir) {
        return 0;
    }
    *slash = '\0';
    return gfs_mkdirs(dir, 0750, err);
}

static int open_server(struct gfs_csi_plugin *p, const char *name, const char *address,
                       struct gfs_rpc_server **out, struct gfs_err *err)
{
    struct gfs_rpc_server_opts opts = {
        .name = name,
        .max_message = GFS_CSI_MESSAGE_MAX,
        .n_threads = 2,
        .strict_text = true,
        .metrics = p->metrics,
    };
    int rc = make_socket_dir(address, err);

    if (rc == 0) {
        rc = gfs_rpc_server_new(&opts, out, err);
    }
    if (rc == 0) {
        rc = gfs_rpc_server_listen_peers(*out, address, 0600, p->peer_uids, p->n_peer_uids, err);
    }
    return rc;
}

int gfs_csi_plugin_start(struct gfs_csi_plugin *p, struct gfs_err *err)
{
    struct gfsi_journal_totals counts;
    int rc = gfsi_node_reconcile(&p->node, err);

    if (rc == 0) {
        rc = gfsi_engine_new(p->n_workers, p->answer_ns, gfsi_node_run, &p->node, &p->engine, err);
    }
    if (rc == 0) {
        rc = gfsi_repair_start(&p->node, p->metrics, &p->repair, err);
    }
    if (rc == 0 && p->node.labeler != NULL) {
        rc = gfsi_relabel_start(&p->node, p->label_check_ns, &p->relabel, err);
    }
    if (rc == 0) {
        rc = open_server(p, "csi", p->endpoint, &p->server, err);
    }
    if (rc == 0) {
        rc = gfsi_identity_add(p, err);
    }
    if (rc == 0) {
        rc = gfsi_node_service_add(p, err);
    }
    if (rc == 0) {
        rc = gfs_rpc_server_start(p->server, err);
    }
    /* Kubelet calls back as soon as it sees the socket: last. */
    if (rc == 0 && p->registration_socket != NULL) {
        rc = open_server(p, "csi-reg", p->registration_socket, &p->registration, err);
        if (rc == 0) {
            rc = gfsi_registration_add(p, err);
        }
        if (rc == 0) {
            rc = gfs_rpc_server_start(p->registration, err);
        }
    }
    if (rc < 0) {
        return rc;
    }

    gfsi_journal_counts(p->node.journal, &counts);
    gfs_metric_set(p->volumes_gauge, counts.volumes);
    gfs_metric_set(p->targets_gauge, counts.published);
    gfs_info("csi", "serving",
             "driver=" GFS_CSI_DRIVER_NAME " node=%s endpoint=%s mode=%s volumes=%u targets=%u",
             GFS_Q(p->node_id), GFS_Q(p->endpoint),
             p->node.launch_mode == GFS_CSI_LAUNCH_PROCESS ? "process" : "pod", counts.volumes,
             counts.published);
    return 0;
}

void gfs_csi_plugin_stop(struct gfs_csi_plugin *p, int64_t deadline)
{
    if (p->registration != NULL) {
        gfs_rpc_server_stop(p->registration, deadline);
    }
    if (p->server != NULL) {
        gfs_rpc_server_stop(p->server, deadline);
    }
    if (p->engine != NULL) {
        gfsi_engine_stop(p->engine, deadline);
    }
    p->repair = gfsi_repair_stop(p->repair);
    p->relabel = gfsi_relabel_stop(p->relabel);
}

struct gfs_csi_plugin *gfs_csi_plugin_free(struct gfs_csi_plugin *p)
{
    if (p == NULL) {
        return NULL;
    }

    gfs_csi_plugin_stop(p, 0);
    p->engine = gfsi_engine_free(p->engine); /* answers calls of the server: before it */
    p->stats = gfsi_stats_free(p->stats);
    p->registration = gfs_rpc_server_free(p->registration);
    p->server = gfs_rpc_server_free(p->server);
    p->node.journal = gfsi_journal_free(p->node.journal);
    gfsi_holds_fini(&p->node.holds);
    free(p->node_id);
    free(p->endpoint);
    free(p->kubelet_root);
    free(p->mount_root);
    free(p->kubelet_real);
    free(p->mount_real);
    free(p->state_dir);
    free(p->keeper_socket);
    free(p->fuse_program);
    free(p->fuse_log_dir);
    free(p->registration_socket);
    free(p);
    return NULL;
}

int gfs_csi_plugin_health(struct gfs_csi_plugin *p, struct gfs_err *err)
{
    if (access(p->kubelet_root, F_OK) < 0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "there is no kubelet root at %s",
                           p->kubelet_root);
    }
    if (p->keeper_socket[0] != '\0' && access(p->keeper_socket, F_OK) < 0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "no fuse-keeper listens at %s",
                           p->keeper_socket);
    }
    if (!gfsi_prober_alive(p->node.prober)) {
        return gfs_err_set(err, GFS_EUNAVAIL, "the probing process is gone: restart the plugin");
    }
    return 0;
}
