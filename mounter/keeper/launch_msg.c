/* What a launcher says. It is another user: nothing it passes is used before it was looked at, and
 * nothing here can make the keeper wait. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "session_take.h"

#define FUSE_DEV_MAJOR 10 /* of /dev/fuse (linux/miscdevice.h) */
#define FUSE_DEV_MINOR 229

enum held_fd { FD_DEVICE, FD_SESSION, FD_CONTROL, FD_PIDFD };

static int serve_hello(struct gfsi_launch *l, const struct gfs_keeper_msg *msg, struct gfs_err *err)
{
    struct gfs_buf *out = &l->keeper->out;

    gfs_keeper_msg_begin(out, GFS_KEEPER_HELLO | GFS_KEEPER_REPLY, msg->seq);
    if (msg->version < GFS_KEEPER_VERSION) {
        gfs_keeper_msg_put_status(out, GFS_EUNSUPPORTED, "this keeper speaks a later version");
        (void)gfsi_launch_send(l, NULL, 0);
        return gfs_err_set(err, GFS_EUNSUPPORTED, "version %u", msg->version);
    }
    l->greeted = true;
    gfs_keeper_msg_put_status(out, 0, NULL);
    gfs_keeper_msg_put_version(out, GFS_KEEPER_VERSION);
    return gfsi_launch_send(l, NULL, 0);
}

/* What was passed as a FUSE device: is it one, and its connection alive? */
static int check_device(int fd, struct gfs_err *err)
{
    const struct gfsi_fusedev dev = {.fd = fd};
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) ||
        st.st_rdev != makedev(FUSE_DEV_MAJOR, FUSE_DEV_MINOR)) {
        return gfs_err_set(err, GFS_EPROTO, "launcher passed no FUSE device");
    }
    return gfsi_fusedev_alive(&dev) ? 0 : gfs_err_set(err, GFS_EIO, "the connection has ended");
}

static int take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* A client that runs: ours from here on. */
static int take_client(struct gfsi_held *h, uint32_t pid, int *fds, struct gfs_err *err)
{
    if (fcntl(fds[FD_CONTROL], F_SETFL, O_NONBLOCK) != 0) {
        return gfs_err_set_errno(err, errno, "control socket of '%s'", h->spec->id);
    }
    h->client = (struct gfsi_client){
        .pid = (pid_t)pid,
        .pidfd = take(&fds[FD_PIDFD]),
        .control_fd = take(&fds[FD_CONTROL]),
    };
    h->answered_before = __atomic_load_n(&h->session->answered, __ATOMIC_RELAXED);
    h->spawn_seq = 0;
    return gfsi_held_watch_client(h, err);
}

/* What we remember of an earlier keeper's time, its launcher has. */
static int adopt(struct gfsi_held *h, const struct gfs_keeper_msg *msg, int *fds,
                 struct gfs_err *err)
{
    int rc = check_device(fds[FD_DEVICE], err);

    if (rc == 0) {
        rc = gfsi_session_take(fds[FD_SESSION], h->remembered_cookie, &h->session, err);
    }
    if (rc != 0) {
        return rc;
    }
    h->session_fd = take(&fds[FD_SESSION]);
    h->dev.fd = take(&fds[FD_DEVICE]);
    h->remembered = false;
    gfsi_backing_adopt(&h->backings, h->session);
    h->life.restarts = h->session->generation > 0 ? h->session->generation - 1 : 0;
    rc = msg->pid != 0 ? take_client(h, msg->pid, fds, err) : 0;
    gfs_info("keeper", "mount taken over", "id=%s pid=%u", h->spec->id, msg->pid);
    return rc;
}

/* The launcher runs a client that we had given up, or an earlier keeper's. */
static void go_on(struct gfsi_held *h, bool runs)
{
    int64_t now = gfs_clock_mono();
    bool ready =
        __atomic_load_n(&h->session->init_state, __ATOMIC_ACQUIRE) == GFS_SESSION_INIT_REPLIED;

    if (runs) {
        gfsi_life_adopt(&h->life, now, ready);
        gfsi_held_act(h, ready ? GFSI_LIFE_SERVES : 0);
        return;
    }
    gfsi_held_act(h, ready ? gfsi_life_adopt_lost(&h->life, now) : gfsi_life_start(&h->life, now));
}

static int serve_held(struct gfsi_launch *l, const struct gfs_keeper_msg *msg, int *fds,
                      size_t n_fds, struct gfs_err *err)
{
    struct gfsi_held *h = gfsi_held_find(l->keeper, msg->spec.id);
    struct gfs_err why = GFS_ERR_INIT;
    int rc = 0;

    if (n_fds != (msg->pid != 0 ? 4U : 3U)) {
        return gfs_err_set(err, GFS_EPROTO, "HELD with %zu descriptors", n_fds);
    }
    if (h == NULL || h->launch != l) {
        gfsi_launch_drop(l, msg->spec.id);
        return 0;
    }
    if (h->remembered) {
        rc = adopt(h, msg, fds, &why);
    } else if (h->life.running || msg->pid == 0) {
        return 0; /* as we know */
    } else {
        rc = gfsi_session_same(h->session_fd, fds[FD_SESSION], &why);
        rc = rc == 0 ? take_client(h, msg->pid, fds, &why) : rc;
    }
    if (rc != 0) {
        gfs_warn("keeper", "what the launcher holds is not used", "id=%s error=%s", h->spec->id,
                 GFS_Q(gfs_err_text(&why, rc)));
        return 0;
    }
    go_on(h, msg->pid != 0);
    return 0;
}

static void serve_ready(struct gfsi_launch *l)
{
    struct gfsi_held *h;

    gfs_info("keeper", "launcher ready", "directory=%s", GFS_Q(l->dir));
    l->ready = true;
    for (h = l->keeper->helds; h != NULL; h = h->next) {
        if (h->launch != l || h->removed) {
            continue;
        }
        if (h->remembered) {
            gfsi_held_mount_anew(h);
        }
        if (!h->removed) {
            gfsi_held_act(h, gfsi_life_launcher(&h->life, gfs_clock_mono(), true));
        }
    }
}

static int serve_started(struct gfsi_held *h, const struct gfs_keeper_msg *msg, int *fds,
                         size_t n_fds, struct gfs_err *err)
{
    if (n_fds != 1) {
        return gfs_err_set(err, GFS_EPROTO, "STARTED with %zu descriptors", n_fds);
    }
    h->spawning = false;
    h->client.pid = (pid_t)msg->pid;
    h->client.pidfd = take(&fds[0]);
    if (gfsi_held_watch_pidfd(h, err) != 0) {
        return GFS_EPROTO;
    }
    gfsi_recover_save(h);
    gfs_info("keeper", "client started", "id=%s pid=%u generation=%u by=launcher", h->spec->id,
             msg->pid, h->session->generation);
    return 0;
}

static void serve_exited(struct gfsi_held *h, const struct gfs_keeper_msg *msg)
{
    char how[64];

    if (msg->pid == 0) {
        (void)gfs_err_set(&h->fail, msg->status < 0 ? msg->status : GFS_EINTERNAL,
                          "client of '%s': %s", h->spec->id, msg->text);
        gfsi_held_client_ended(h, "could not be started");
        return;
    }
    if (WIFSIGNALED(msg->status)) {
        (void)snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(msg->status));
    } else {
        (void)snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(msg->status));
    }
    gfsi_held_client_ended(h, how);
}

int gfsi_launch_message(struct gfsi_launch *l, int *fds, size_t n_fds, struct gfs_err *err)
{
    const struct gfs_keeper_msg *msg = l->keeper->msg;
    struct gfsi_held *h;

    if (!l->greeted && msg->type != GFS_KEEPER_HELLO) {
        return gfs_err_set(err, GFS_EPROTO, "HELLO comes first");
    }
    switch (msg->type) {
    case GFS_KEEPER_HELLO: return serve_hello(l, msg, err);
    case GFS_LAUNCH_HELD: return serve_held(l, msg, fds, n_fds, err);
    case GFS_LAUNCH_READY: serve_ready(l); return 0;
    case GFS_LAUNCH_STARTED:
    case GFS_LAUNCH_EXITED: break;
    default: return 0;
    }
    /* Of the client asked for last; what is said of earlier ones is known from their pidfds. */
    for (h = l->keeper->helds; h != NULL; h = h->next) {
        if (h->launch == l && !h->removed && h->spawn_seq == msg->seq && h->life.running &&
            strcmp(h->spec->id, msg->spec.id) == 0) {
            break;
        }
    }
    if (h != NULL && msg->type == GFS_LAUNCH_STARTED && h->spawning) {
        return serve_started(h, msg, fds, n_fds, err);
    }
    if (h != NULL && msg->type == GFS_LAUNCH_EXITED) {
        serve_exited(h, msg);
    }
    return 0;
}
