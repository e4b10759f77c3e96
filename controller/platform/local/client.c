/* FUSE clients: the keeper mounts and runs them; here it is told to, and asked how they are. Mount,
 * id and arguments are those the node plugin uses, so that whoever comes second joins the first. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/mounter/keeper_client.h>
#include <gfs/mounter/mounttable.h>

#include "platform/local/client_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"

#define MOUNT_LIMIT_NS   (60 * GFS_NS_PER_S)
#define START_TIMEOUT_MS 60000
#define HANG_TIMEOUT_MS  20000
#define PAUSE_FIRST_NS   (50 * GFS_NS_PER_MS)
#define PAUSE_MAX_NS     (10 * GFS_NS_PER_S)
#define CONF_MAX         (1u << 20)

/* One blocking call about one client. */
struct work {
    struct gfsi_pod *pod;
    struct gfsi_local *local;
    char socket[PATH_MAX];
    char id[GFS_KEEPER_ID_MAX + 1];
    char fuse_path[PATH_MAX];
    char conf_path[PATH_MAX];
    char program[PATH_MAX];
    char log_path[PATH_MAX];
    bool restart;
    int rc;
    uint32_t pid;
    struct gfs_err err;
};

/* "NS.NAME": neither can hold a '.'. */
void gfsi_keeper_id(const struct gfsi_pair *pair, char *out, size_t size)
{
    (void)snprintf(out, size, "%s.%s", pair->ns, pair->name);
}

static struct work *work_new(struct gfsi_pod *pod)
{
    struct work *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return NULL;
    }

    w->pod = pod;
    w->local = pod->local;
    gfsi_keeper_id(pod->pair, w->id, sizeof(w->id));
    gfsi_pathf(w->socket, sizeof(w->socket), "%s", pod->local->keeper_socket);
    gfsi_pathf(w->fuse_path, sizeof(w->fuse_path), "%s", pod->pair->fuse_path);
    gfsi_pathf(w->conf_path, sizeof(w->conf_path), "%s", pod->pair->conf_path);
    gfsi_pathf(w->program, sizeof(w->program), "%s/goosefs-fuse", pod->local->opts.bin_dir);
    gfsi_pathf(w->log_path, sizeof(w->log_path), "%s", pod->containers[0].log_path);
    return w;
}

static int mount_call(struct work *w, struct gfs_keeper_client *client, int64_t deadline)
{
    const char *const argv[] = {w->program, "--properties", w->conf_path, w->fuse_path, NULL};
    const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               NULL};
    struct gfs_keeper_spec spec = {
        .id = w->id,
        .mountpoint = w->fuse_path,
        .fstype = GFS_FUSE_TYPE,
        .source = "goosefs-fuse",
        .options = GFS_KEEPER_ALLOW_OTHER | GFS_KEEPER_READ_ONLY | GFS_KEEPER_DEFAULT_PERMISSIONS,
        .start_timeout_ms = START_TIMEOUT_MS,
        .hang_timeout_ms = HANG_TIMEOUT_MS,
        .log_path = w->log_path,
        .argv = argv,
        .env = env,
    };
    struct gfs_keeper_info info;
    int rc = w->restart ? gfs_keeper_client_restart(client, w->id, argv, deadline, &info, &w->err)
                        : gfs_keeper_client_mount(client, &spec, -1, deadline, &info, &w->err);

    if (rc == 0) {
        w->pid = info.pid;
    }

    return rc == GFS_EEXIST ? 0 : rc; /* the plugin was first, with other arguments: it serves */
}

static void mount_work(void *arg)
{
    struct work *w = arg;
    struct gfs_keeper_client *client gfsi_auto_client = NULL;
    int64_t deadline = gfs_clock_mono() + MOUNT_LIMIT_NS;

    w->rc = gfs_keeper_client_connect(w->socket, deadline, &client, &w->err);
    if (w->rc == 0) {
        w->rc = mount_call(w, client, deadline);
    }
}

static void on_retry(void *arg)
{
    struct gfsi_pod *pod = arg;

    if (pod->deleting) {
        gfsi_client_unmount(pod);
    } else {
        gfsi_client_mount(pod);
    }
}

static void retry_later(struct gfsi_pod *pod)
{
    struct gfsi_held *h = &pod->held;

    h->pause_ns = h->pause_ns == 0 ? PAUSE_FIRST_NS : h->pause_ns * 2;
    if (h->pause_ns > PAUSE_MAX_NS) {
        h->pause_ns = PAUSE_MAX_NS;
    }

    gfsi_timer_set(pod->local->loop, &h->retry, gfs_clock_mono() + h->pause_ns, on_retry, pod);
}

/* The keeper starts along with everything else: not being there at first is no news. */
static void mount_failed(struct gfsi_pod *pod, const struct work *w)
{
    if (w->rc != GFS_EUNAVAIL || pod->held.pause_ns >= GFS_NS_PER_S) {
        (void)snprintf(pod->held.error, sizeof(pod->held.error), "%s",
                       gfs_err_text(&w->err, w->rc));
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, true, "FailedMount",
                         pod->held.error);
        gfs_warn("local", "cannot mount", "pod=%s path=%s error=%s", pod->name, GFS_Q(w->fuse_path),
                 GFS_Q(pod->held.error));
    }

    retry_later(pod);
}

static void mount_done(void *arg)
{
    struct work *w = arg;
    struct gfsi_pod *pod = w->pod;
    struct gfsi_held *h = &pod->held;

    h->busy = false;
    if (w->rc == 0) {
        h->known = true;
        h->serving = true;
        h->pid = w->pid;
        h->pause_ns = 0;
        h->error[0] = '\0';
        h->since_ms = gfs_clock_wall_ms();
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, false, "Started",
                         "Started container goosefs-fuse");
    }

    if (pod->deleting) {
        gfsi_client_unmount(pod);
    } else if (w->rc < 0) {
        h->replace = h->replace || w->restart;
        mount_failed(pod, w);
    } else if (h->replace) {
        gfsi_client_mount(pod); /* something changed meanwhile */
    }

    free(w);
    gfsi_pair_poke(pod->pair);
    gfsi_local_changed(pod->local);
}

void gfsi_client_mount(struct gfsi_pod *pod)
{
    struct gfsi_held *h = &pod->held;
    bool stopping = pod->local->stage != GFSI_STAGE_RUNNING;
    struct work *w = h->busy || stopping ? NULL : work_new(pod);

    if (w == NULL) {
        return;
    }

    w->restart = h->replace && h->known;
    h->replace = false;
    h->busy = true;
    gfsi_timer_clear(pod->local->loop, &h->retry);
    if (gfsi_jobs_run(pod->local->jobs, mount_work, mount_done, w) < 0) {
        h->busy = false;
        free(w);
        retry_later(pod);
    }
}

/* ---- unmounting ---- */

/* Whether the file system is mounted anywhere else: a pod uses the volume. */
int gfsi_client_check_unused(const char *path, struct gfs_err *err)
{
    struct gfs_mounttable *table = NULL;
    int rc = gfs_mounttable_read(NULL, &table, err);

    if (rc < 0) {
        return rc;
    }

    const struct gfs_mount_entry *mine = gfs_mounttable_find(table, path);

    for (size_t i = 0; mine != NULL && rc == 0 && i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);

        if (e->dev_major == mine->dev_major && e->dev_minor == mine->dev_minor &&
            strcmp(e->target, path) != 0) {
            rc = gfs_err_set(err, GFS_EPRECONDITION, "the volume is in use: mounted at %s",
                             e->target);
        }
    }

    (void)gfs_mounttable_free(table);
    return rc;
}

static void unmount_work(void *arg)
{
    struct work *w = arg;
    struct gfs_keeper_client *client gfsi_auto_client = NULL;
    int64_t deadline = gfs_clock_mono() + GFSI_UNMOUNT_LIMIT_NS;

    w->rc = gfsi_client_check_unused(w->fuse_path, &w->err);
    if (w->rc == 0) {
        w->rc = gfs_keeper_client_connect(w->socket, deadline, &client, &w->err);
    }
    if (w->rc == 0) {
        w->rc = gfs_keeper_client_unmount(client, w->id, 0, deadline, &w->err);
    }
    if (w->rc == GFS_ENOENT) {
        w->rc = 0;
    }
}

static void unmount_done(void *arg)
{
    struct work *w = arg;
    struct gfsi_pod *pod = w->pod;

    pod->held.busy = false;
    if (w->rc == 0) {
        pod->held.known = pod->held.serving = false;
        (void)rmdir(w->fuse_path);
        gfsi_pod_finish(pod);
    } else {
        (void)snprintf(pod->held.error, sizeof(pod->held.error), "%s",
                       gfs_err_text(&w->err, w->rc));
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, true, "FailedUnmount",
                         pod->held.error);
        retry_later(pod);
    }

    free(w);
    gfsi_local_changed(pod->local);
}

void gfsi_client_unmount(struct gfsi_pod *pod)
{
    bool stopping = pod->local->stage != GFSI_STAGE_RUNNING;
    struct work *w = pod->held.busy || stopping ? NULL : work_new(pod);

    if (w == NULL) {
        return; /* what is under way ends with it */
    }

    pod->held.busy = true;
    gfsi_timer_clear(pod->local->loop, &pod->held.retry);
    if (gfsi_jobs_run(pod->local->jobs, unmount_work, unmount_done, w) < 0) {
        pod->held.busy = false;
        free(w);
        retry_later(pod);
    }
}

/* ---- configuration ---- */

int gfsi_client_write_conf(const struct gfs_plan *plan, struct gfs_err *err)
{
    struct gfs_buf text gfs_auto_buf;
    char dir[PATH_MAX];

    gfs_buf_init(&text, CONF_MAX);
    gfs_properties_print(&plan->conf, &text);
    if (text.error < 0) {
        return gfs_err_set(err, text.error, "the clients' properties are too large");
    }

    gfsi_pathf(dir, sizeof(dir), "%s", plan->conf_path);
    *strrchr(dir, '/') = '\0';

    int rc = gfs_mkdirs(dir, 0755, err);

    return rc < 0 ? rc
                  : gfs_file_write_atomic(plan->conf_path, gfs_buf_str(&text), text.len, 0644, err);
}

void gfsi_client_remove_conf(const char *conf_path)
{
    char path[PATH_MAX];
    char *slash = NULL;

    (void)unlink(conf_path);
    gfsi_pathf(path, sizeof(path), "%s", conf_path);
    /* conf, NAME, NS, goosefs: while empty. */
    for (int i = 0; i < 4 && (slash = strrchr(path, '/')) != NULL; i++) {
        *slash = '\0';
        if (rmdir(path) < 0) {
            return;
        }
    }
}
