/* goosefs-fuse: shows a GooseFS namespace as a mount. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/metrics.h>
#include <gfs/base/str.h>
#include <gfs/client/client.h>
#include <gfs/fuse/confine.h>
#include <gfs/fuse/launcher.h>
#include <gfs/fuse/server.h>
#include <gfs/http/http.h>

#include "goosefs_backend.h"

#define EXIT_USAGE 2
#define ID_MAX     UINT32_MAX

static const struct gfs_cfg_option options[] = {
    {.property = "goosefs.master.rpc.addresses",
     .type = GFS_CFG_STR,
     .metavar = "HOST:PORT,...",
     .help = "the masters; or goosefs.master.hostname and goosefs.master.rpc.port"},
    {.property = "goosefs.fuse.mount.point",
     .type = GFS_CFG_STR,
     .metavar = "DIR",
     .help = "where to mount when MOUNTPOINT is not given"},
    {.property = "goosefs.fuse.mount.goosefs.path",
     .type = GFS_CFG_STR,
     .default_value = "/",
     .metavar = "PATH",
     .help = "what to show when GFS_PATH is not given"},
    {.property = "goosefs.fuse.threads",
     .type = GFS_CFG_INT,
     .default_value = "16",
     .min = 1,
     .max = GFS_FUSE_THREADS_MAX,
     .metavar = "N",
     .help = "threads that serve requests, to begin with"},
    {.property = "goosefs.fuse.attr.timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "60s",
     .help = "how long the kernel may believe attributes"},
    {.property = "goosefs.fuse.entry.timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "60s",
     .help = "how long the kernel may believe names"},
    {.property = "goosefs.fuse.negative.timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "1s",
     .help = "how long the kernel may believe that a name is absent"},
    {.property = "goosefs.fuse.uid",
     .type = GFS_CFG_INT,
     .default_value = "0",
     .min = 0,
     .max = ID_MAX,
     .help = "user id that files are shown to belong to"},
    {.property = "goosefs.fuse.gid",
     .type = GFS_CFG_INT,
     .default_value = "0",
     .min = 0,
     .max = ID_MAX,
     .help = "group id that files are shown to belong to"},
    {.property = "goosefs.fuse.passthrough.enabled",
     .type = GFS_CFG_BOOL,
     .default_value = "true",
     .help = "let the kernel read files that a worker on this machine has whole by itself"},
    {.property = "goosefs.fuse.seccomp.enabled",
     .type = GFS_CFG_BOOL,
     .default_value = "true",
     .help = "under fuse-keeper: deny this process the system calls it has no use for"},
    {.property = "goosefs.fuse.splice.enabled",
     .type = GFS_CFG_BOOL,
     .default_value = "true",
     .help = "where the kernel cannot, splice such files to readers instead of copying them"},
    {.property = "goosefs.fuse.start.timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "30s",
     .help = "give up mounting when no master answers for so long"},
    {.flag = "directory",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "DIR",
     .help = "launcher: the runtime's directory, where fuse-keeper is found"},
    {.flag = "allow-other",
     .property = "goosefs.fuse.allow.other",
     .type = GFS_CFG_BOOL,
     .default_value = "true",
     .help = "let all users see the mount"},
    {.flag = "web-address",
     .property = "goosefs.fuse.web.address",
     .type = GFS_CFG_STR,
     .metavar = "HOST:PORT",
     .help = "serve /metrics and /healthz there; unset: do not"},
};

static const struct gfs_cfg_program program = {
    .name = "goosefs-fuse",
    .summary = "shows a GooseFS namespace, read-only, as a mount",
    .operands = "[mount] [MOUNTPOINT [GFS_PATH]] | unmount MOUNTPOINT | launcher",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .epilog =
        "mount stays in the foreground; SIGTERM or SIGINT unmounts. Started by fuse-keeper the\n"
        "mount is inherited and MOUNTPOINT only names it. launcher starts clients for a "
        "fuse-keeper\n"
        "in another container; SIGTERM stops them, the mounts stay.",
};

struct app {
    struct gfs_cfg *cfg;
    struct gfs_metrics *metrics;
    struct gfs_http *http;
    struct gfs_client *client;
    struct gfsi_goosefs_backend backend;
    struct gfs_fuse *fuse;
};

static void app_fini(struct app *app)
{
    (void)gfs_http_free(app->http);
    if (app->client != NULL) {
        gfs_client_close(app->client);
    }
    (void)gfs_fuse_free(app->fuse);
    (void)gfs_client_free(app->client);
    (void)gfs_metrics_free(app->metrics);
    (void)gfs_cfg_free(app->cfg);
}

static const char *property(void *arg, const char *key)
{
    return gfs_cfg_property(arg, key);
}

/* A process that answers serves: its threads block in calls that end by deadlines of their own. */
static bool is_healthy(struct gfs_buf *reason, void *user)
{
    (void)reason;
    (void)user;
    return true;
}

static int start_web(struct app *app, struct gfs_err *err)
{
    const char *address = gfs_cfg_str(app->cfg, "goosefs.fuse.web.address");
    int rc;

    if (address[0] == '\0') {
        return 0;
    }
    app->http = gfs_http_new();
    if (app->http == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "web server");
    }
    rc = gfs_http_route_metrics(app->http, app->metrics);
    if (rc == 0) {
        rc = gfs_http_route_health(app->http, "/healthz", is_healthy, NULL);
    }
    if (rc != 0) {
        return gfs_err_set(err, rc, "web server");
    }
    return gfs_http_start(app->http, address, err);
}

/* A first client that finds no master says so instead of showing a mount that hangs. A successor
 * has readers waiting: it serves whatever the masters do. */
static int find_root(struct app *app, const char *path, uint64_t *out_ino, struct gfs_err *err)
{
    int64_t timeout = gfs_cfg_duration(app->cfg, "goosefs.fuse.start.timeout");
    bool first = gfs_fuse_generation() == 1;

    if (!first && strcmp(path, "/") == 0) {
        *out_ino = 1;
        return 0;
    }
    return gfsi_goosefs_resolve(app->client, path, first ? gfs_clock_mono() + timeout : 0, out_ino,
                                err);
}

static int set_up(struct app *app, const char *path, struct gfs_err *err)
{
    struct gfs_fuse_config config = {
        .backend = {.ops = &gfsi_goosefs_backend_ops, .ctx = &app->backend},
        .threads = (uint32_t)gfs_cfg_int(app->cfg, "goosefs.fuse.threads"),
        .attr_timeout_ns = gfs_cfg_duration(app->cfg, "goosefs.fuse.attr.timeout"),
        .entry_timeout_ns = gfs_cfg_duration(app->cfg, "goosefs.fuse.entry.timeout"),
        .negative_timeout_ns = gfs_cfg_duration(app->cfg, "goosefs.fuse.negative.timeout"),
        .passthrough = gfs_cfg_bool(app->cfg, "goosefs.fuse.passthrough.enabled"),
        .splice = gfs_cfg_bool(app->cfg, "goosefs.fuse.splice.enabled"),
        .subtype = "goosefs-fuse",
        .source = "goosefs-fuse",
        .allow_other = gfs_cfg_bool(app->cfg, "goosefs.fuse.allow.other"),
    };
    int rc;

    app->metrics = gfs_metrics_new();
    if (app->metrics == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "metrics");
    }
    config.metrics = app->metrics;
    rc = gfs_client_new_from_props(property, app->cfg, app->metrics, &app->client, err);
    if (rc != 0) {
        return rc;
    }
    app->backend = (struct gfsi_goosefs_backend){
        .client = app->client,
        .uid = (uint32_t)gfs_cfg_int(app->cfg, "goosefs.fuse.uid"),
        .gid = (uint32_t)gfs_cfg_int(app->cfg, "goosefs.fuse.gid"),
    };
    rc = find_root(app, path, &config.root_ino, err);
    if (rc == 0) {
        rc = start_web(app, err);
    }
    return rc != 0 ? rc : gfs_fuse_new(&config, &app->fuse, err);
}

/* After everything was set up, before the first byte from a user's file system is looked at. On our
 * own we must be able to unmount, perhaps by another program. */
static void confine(const struct app *app)
{
    struct gfs_err err = GFS_ERR_INIT;

    if (!gfs_fuse_inherited()) {
        return;
    }
    if (!gfs_cfg_bool(app->cfg, "goosefs.fuse.seccomp.enabled")) {
        gfs_warn("fuse", "no system call filter", "reason=goosefs.fuse.seccomp.enabled");
        return;
    }
    if (gfs_fuse_confine(&err) != 0) {
        gfs_warn("fuse", "no system call filter", "reason=%s", GFS_Q(err.text));
    }
}

static int run_mount(struct app *app, const char *mountpoint, const char *path)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc = set_up(app, path, &err);

    if (rc == 0 && !gfs_fuse_inherited()) {
        rc = gfs_fuse_mount(app->fuse, mountpoint, &err);
    }
    if (rc != 0) {
        gfs_fuse_report_failure(rc, err.text);
    } else {
        confine(app);
        rc = gfs_fuse_run(app->fuse, &err);
    }
    if (rc != 0) {
        (void)fprintf(stderr, "goosefs-fuse: %s\n", gfs_err_text(&err, rc));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run_unmount(const char *mountpoint)
{
    if (umount2(mountpoint, UMOUNT_NOFOLLOW) != 0) {
        (void)fprintf(stderr, "goosefs-fuse: unmounting %s: %s\n", mountpoint, strerror(errno));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run_launcher(const struct app *app)
{
    struct gfs_launcher_config config = {
        .directory = gfs_cfg_str(app->cfg, "directory"),
        .name = program.name,
    };
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfs_launcher_run(&config, &err);

    if (rc != 0) {
        (void)fprintf(stderr, "goosefs-fuse: %s\n", gfs_err_text(&err, rc));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "goosefs-fuse: %s (see --help)\n", what);
    return EXIT_USAGE;
}

/* [mount] [MOUNTPOINT [GFS_PATH]] | unmount MOUNTPOINT */
static int run_mounting(struct app *app)
{
    size_t n = gfs_cfg_n_operands(app->cfg);
    const char *verb = n > 0 ? gfs_cfg_operand(app->cfg, 0) : "";
    bool unmount = strcmp(verb, "unmount") == 0 || strcmp(verb, "umount") == 0;
    size_t at = unmount || strcmp(verb, "mount") == 0 ? 1 : 0;
    const char *mountpoint =
        n > at ? gfs_cfg_operand(app->cfg, at) : gfs_cfg_str(app->cfg, "goosefs.fuse.mount.point");
    const char *shown = n > at + 1 ? gfs_cfg_operand(app->cfg, at + 1)
                                   : gfs_cfg_str(app->cfg, "goosefs.fuse.mount.goosefs.path");
    char path[PATH_MAX];

    if (n > at + (unmount ? 1 : 2)) {
        return usage("too many operands");
    }
    if (mountpoint[0] == '\0') {
        return usage("no MOUNTPOINT");
    }
    if (unmount) {
        return run_unmount(mountpoint);
    }
    if (gfs_path_normalize(shown, path, sizeof(path)) != 0) {
        return usage("GFS_PATH is not an absolute path");
    }
    return run_mount(app, mountpoint, path);
}

static int run(struct app *app)
{
    const struct gfs_cfg *cfg = app->cfg;

    if (gfs_cfg_n_operands(cfg) == 0 || strcmp(gfs_cfg_operand(cfg, 0), "launcher") != 0) {
        return run_mounting(app);
    }
    if (gfs_cfg_n_operands(cfg) > 1 || gfs_cfg_str(cfg, "directory")[0] != '/') {
        return usage("launcher takes --directory with an absolute path, and nothing else");
    }
    return run_launcher(app);
}

int main(int argc, char **argv)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct app app = {.cfg = NULL};
    int rc;

    gfs_fuse_block_signals();
    rc = gfs_cfg_parse(&program, argc, argv, &app.cfg, &err);
    if (rc > 0) {
        return EXIT_SUCCESS;
    }
    if (rc < 0) {
        gfs_fuse_report_failure(rc, err.text);
        (void)fprintf(stderr, "goosefs-fuse: %s\n", err.text);
        return EXIT_USAGE;
    }
    rc = run(&app);
    app_fini(&app);
    return rc;
}
