/* The instance: preconditions, start, the orderly stop. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/mounter/mounttable.h>
#include <gfs/rpc/rpc.h>

#include "platform/local/local_priv.h"
#include "platform/local/state.h"
#include "platform/local/pathf.h"

#define JOB_THREADS    4
#define TICK_FAST_NS   (50 * GFS_NS_PER_MS)
#define TICK_SLOW_NS   (1 * GFS_NS_PER_S)
#define FUSE_DEVICE    makedev(10, 229) /* Documentation/admin-guide/devices.txt */
#define LONGEST_SOCKET "/csi/csi.sock"

/* ---- may it run here ---- */

static int check_program(const char *bin_dir, const char *name, struct gfs_err *err)
{
    char path[PATH_MAX];

    gfsi_pathf(path, sizeof(path), "%s/%s", bin_dir, name);
    if (access(path, X_OK) == 0) {
        return 0;
    }

    return gfs_err_set(err, GFS_ENOENT,
                       "cannot run %s: %s. Build or install all programs, or name their directory "
                       "with --bin-dir",
                       path, strerror(errno));
}

static int check_place(const struct gfs_local_opts *opts, struct gfs_err *err)
{
    static const char *const programs[] = {"goosefs-master", "goosefs-worker", "goosefs-fuse",
                                           "fuse-keeper", "csi-nodeplugin-fluid"};
    const char *const dirs[] = {opts->mount_root, opts->kubelet_root, opts->bin_dir};
    struct stat st;

    if (geteuid() != 0) {
        return gfs_err_set(err, GFS_EPERM, "mounting needs root: run it as root");
    }
    if (stat("/dev/fuse", &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != FUSE_DEVICE) {
        return gfs_err_set(
            err, GFS_ENOENT,
            "/dev/fuse is missing: load the fuse module (modprobe fuse), or give the "
            "container the device");
    }
    if (strlen(opts->state_dir) + strlen(LONGEST_SOCKET) >=
        sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return gfs_err_set(err, GFS_ENAMETOOLONG,
                           "%s is too long for the sockets below it: give a shorter --state-dir",
                           opts->state_dir);
    }

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (strlen(dirs[i]) > GFSI_DIR_MAX) {
            return gfs_err_set(err, GFS_ENAMETOOLONG, "%.60s... is longer than %d bytes", dirs[i],
                               GFSI_DIR_MAX);
        }
    }
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        int rc = check_program(opts->bin_dir, programs[i], err);

        if (rc < 0) {
            return rc;
        }
    }

    return 0;
}

/* ---- events and changes ---- */

void gfsi_local_event(struct gfsi_local *local, const char *ns, const char *kind, const char *name,
                      bool warning, const char *reason, const char *message)
{
    gfsi_events_add(&local->events, ns, kind, name, warning, reason, message, gfs_clock_wall_ms());
}

static void on_changed(void *arg)
{
    struct gfsi_local *local = arg;

    gfsi_control_check_waiters(local);
    if (local->stage != GFSI_STAGE_RUNNING) {
        gfsi_local_advance_stop(local);
    }
}

void gfsi_local_changed(struct gfsi_local *local)
{
    gfsi_timer_set(local->loop, &local->waiters_timer, 1, on_changed, local);
}

/* ---- stopping, stage by stage ---- */

static void stop_role(struct gfsi_local *local, enum gfs_role role)
{
    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
            if (pod->role == role) {
                gfsi_pod_delete(pod, true);
            }
        }
    }
}

static bool role_stopped(const struct gfsi_local *local, enum gfs_role role)
{
    for (const struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
            if (pod->role == role && !gfsi_pod_stopped(pod)) {
                return false;
            }
        }
    }

    return true;
}

static bool clients_busy(const struct gfsi_local *local)
{
    for (const struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
            if (pod->held.busy || pod->removing) {
                return true;
            }
        }
    }

    return local->polling || local->sweeping;
}

/* Each stage begins once the one before has ended: nothing loses what it works with. */
void gfsi_local_advance_stop(struct gfsi_local *local)
{
    if (local->stage == GFSI_STAGE_CLIENTS) {
        if (!clients_busy(local)) {
            gfsi_clients_release(local); /* ends in GFSI_STAGE_SYSTEM */
        }
        return;
    }
    if (local->stage == GFSI_STAGE_SYSTEM) {
        gfsi_pod_delete(local->node_pod, true);
        if (!gfsi_pod_stopped(local->node_pod)) {
            return;
        }
        local->stage = GFSI_STAGE_WORKERS;
        stop_role(local, GFS_ROLE_WORKER);
    }
    if (local->stage == GFSI_STAGE_WORKERS) {
        if (!role_stopped(local, GFS_ROLE_WORKER)) {
            return;
        }
        local->stage = GFSI_STAGE_MASTERS;
        stop_role(local, GFS_ROLE_MASTER);
    }
    if (local->stage == GFSI_STAGE_MASTERS && role_stopped(local, GFS_ROLE_MASTER)) {
        gfsi_loop_stop(local->loop);
    }
}

static void stop(struct gfsi_local *local)
{
    if (local->stage != GFSI_STAGE_RUNNING) {
        return;
    }

    gfs_info("local", "stopping", "state=%s", GFS_Q(local->opts.state_dir));
    local->stage = GFSI_STAGE_CLIENTS;
    gfsi_local_changed(local);
}

static void on_signal(void *arg)
{
    struct gfsi_local *local = arg;
    struct signalfd_siginfo info;

    if (read(local->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        stop(local);
    }
}

/* ---- the tick ---- */

static bool all_clients_serve(const struct gfsi_local *local)
{
    for (const struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
            if (pod->role == GFS_ROLE_FUSE && !pod->held.serving) {
                return false;
            }
        }
    }

    return true;
}

static void on_tick(void *arg)
{
    struct gfsi_local *local = arg;
    bool rest = gfsi_node_ready(local) && all_clients_serve(local);

    if (local->stage == GFSI_STAGE_RUNNING) {
        gfsi_clients_poll(local);
        gfsi_node_probe(local);
    }
    if (rest) {
        gfsi_logs_trim(local);
    }
    if (local->stage != GFSI_STAGE_RUNNING) {
        gfsi_local_changed(local);
    }

    gfsi_control_check_waiters(local); /* clients that went away */
    gfsi_timer_set(local->loop, &local->tick,
                   gfs_clock_mono() + (rest ? TICK_SLOW_NS : TICK_FAST_NS), on_tick, local);
}

/* ---- starting ---- */

static void on_stored(void *arg, struct gfs_object *object, int64_t created_ms)
{
    struct gfsi_local *local = arg;
    struct gfs_err err = GFS_ERR_INIT;

    if (gfsi_pair_apply(local, object, created_ms, &err) == NULL) {
        gfs_error("local", "cannot use a stored object", "error=%s", GFS_Q(err.text));
        (void)gfs_object_free(object);
    }
}

static int apply_file(struct gfsi_local *local, const char *file, struct gfs_err *err)
{
    struct gfs_buf text gfs_auto_buf;
    struct gfs_buf messages gfs_auto_buf;
    struct gfs_manifest *manifest = NULL;
    struct gfs_diags diags;

    gfs_buf_init(&text, GFS_MANIFEST_MAX_BYTES + 1);
    gfs_buf_init(&messages, 65536);

    int rc = gfs_file_read(file, &text, err);

    if (rc < 0 || gfs_diags_init(&diags, file) < 0) {
        return rc < 0 ? rc : GFS_ENOMEM;
    }

    rc = gfs_manifest_parse(gfs_buf_str(&text), text.len, "default", &diags, &manifest);
    gfs_diags_print(&diags, &messages);
    gfs_diags_fini(&diags);
    if (rc < 0) {
        return gfs_err_set(err, rc, "%.480s", gfs_buf_str(&messages));
    }
    if (messages.len > 0) {
        gfs_warn("local", "manifest", "findings=%s", GFS_Q(gfs_buf_str(&messages)));
    }

    for (size_t i = 0; rc == 0 && i < manifest->n; i++) {
        struct gfs_object *object = gfs_manifest_take(manifest, i);

        if (gfsi_pair_apply(local, object, 0, err) == NULL) {
            (void)gfs_object_free(object);
            rc = err->code;
        }
    }

    (void)gfs_manifest_free(manifest);
    return rc;
}

static int watch_signals(struct gfsi_local *local, struct gfs_err *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    /* Before any thread: all of them inherit it. */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    local->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (local->signal_fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot watch signals");
    }

    return gfsi_loop_watch(local->loop, local->signal_fd, on_signal, local, &local->signal_watch);
}

static int open_local(struct gfsi_local *local, struct gfs_err *err)
{
    const struct gfs_local_opts *opts = &local->opts;
    int rc = gfsi_state_open(opts->state_dir, &local->lock_fd, err);

    gfsi_pathf(local->keeper_socket, sizeof(local->keeper_socket), "%s/keeper.sock",
               opts->state_dir);
    gfsi_pathf(local->csi_socket, sizeof(local->csi_socket), "%s/csi/csi.sock", opts->state_dir);
    gfsi_pathf(local->pods_dir, sizeof(local->pods_dir), "%s/pods", opts->state_dir);
    gfsi_pathf(local->disks_dir, sizeof(local->disks_dir), "%s/disks", opts->state_dir);
    if (gethostname(local->node, sizeof(local->node) - 1) < 0 || local->node[0] == '\0') {
        gfsi_pathf(local->node, sizeof(local->node), "localhost");
    }

    local->started_ms = gfs_clock_wall_ms();
    rc = rc < 0 ? rc : gfs_mkdirs(opts->mount_root, 0755, err);
    rc = rc < 0 ? rc : gfs_mkdirs(opts->kubelet_root, 0755, err);
    rc =
        rc < 0 ? rc : gfsi_addresses_load(opts->state_dir, opts->state_dir, &local->addresses, err);
    rc = rc < 0 ? rc : gfsi_loop_new(&local->loop, err);
    rc = rc < 0 ? rc : watch_signals(local, err);
    return rc < 0 ? rc : gfsi_jobs_new(local->loop, JOB_THREADS, &local->jobs, err);
}

static void close_local(struct gfsi_local *local)
{
    local->jobs = gfsi_jobs_free(local->jobs);
    if (local->loop != NULL) {
        gfsi_loop_drain(local->loop);
        gfsi_control_stop(local);
    }
    if (local->csi_channel != NULL) {
        local->csi_channel = gfs_rpc_channel_free(local->csi_channel);
    }
    while (local->pairs != NULL) {
        struct gfsi_pair *pair = local->pairs;

        local->pairs = pair->next;
        if (pair->conf_path[0] != '\0') {
            /* Only what a keeper left that died: it has unmounted the rest. */
            (void)gfs_mount_unmount(pair->fuse_path, GFS_UNMOUNT_LAZY | GFS_UNMOUNT_ALL, NULL);
            (void)rmdir(pair->fuse_path);
            gfsi_client_remove_conf(pair->conf_path); /* written again at the next start */
        }
        gfsi_pair_free(pair);
    }

    /* Answers that were on their way are still to be thrown away; they name pods of fluid-system.
     */
    struct gfsi_pod *system_pods = local->system_pods;

    if (local->loop != NULL) {
        local->signal_watch = gfsi_loop_unwatch(local->loop, local->signal_watch);
        gfsi_loop_drain(local->loop);
    }
    while (system_pods != NULL) {
        struct gfsi_pod *pod = system_pods;

        system_pods = pod->next;
        gfsi_pod_free(pod);
    }

    local->loop = gfsi_loop_free(local->loop);
    local->addresses = gfsi_addresses_free(local->addresses);
    if (local->signal_fd >= 0) {
        (void)close(local->signal_fd);
    }
    if (local->lock_fd >= 0) {
        (void)close(local->lock_fd);
    }
}

static int start(struct gfsi_local *local, struct gfs_err *err)
{
    int rc = gfsi_state_load(local->opts.state_dir, on_stored, local, err);

    for (size_t i = 0; rc == 0 && i < local->opts.n_files; i++) {
        rc = apply_file(local, local->opts.files[i], err);
    }

    if (rc == 0) {
        gfsi_strays_stop(local);
        gfsi_leftovers_clear(local);
    }
    rc = rc < 0 ? rc : gfsi_node_start(local, err);
    return rc < 0 ? rc : gfsi_control_start(local, err);
}

int gfs_local_run(const struct gfs_local_opts *opts, struct gfs_err *err)
{
    int rc = check_place(opts, err);

    if (rc < 0) {
        return rc;
    }

    struct gfsi_local *local = calloc(1, sizeof(*local));

    if (local == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    local->opts = *opts;
    local->lock_fd = local->signal_fd = -1;
    gfs_rpc_init();
    rc = open_local(local, err);
    rc = rc < 0 ? rc : start(local, err);
    if (rc == 0) {
        gfs_info("local", "running", "state=%s node=%s", GFS_Q(opts->state_dir), local->node);
        gfsi_timer_set(local->loop, &local->tick, 1, on_tick, local);
        gfsi_loop_run(local->loop);
        gfs_info("local", "stopped", "state=%s", GFS_Q(opts->state_dir));
    } else if (local->node_pod != NULL) {
        /* Started halfway: what runs has to end. */
        local->stage = GFSI_STAGE_SYSTEM;
        gfsi_local_changed(local);
        gfsi_loop_run(local->loop);
    }

    close_local(local);
    gfs_rpc_shutdown();
    free(local);
    return rc;
}
