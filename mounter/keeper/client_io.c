/* A held mount's client: starting it, hearing from it, seeing it go. */
#include "keeper_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "spec_dup.h"

#define MESSAGES_PER_ROUND 32 /* of one client, so that none starves the others */
#define LOOP_MAX           8  /* actions that lead to events that lead to actions */

static void pidfd_ready(struct gfsi_source *source, uint32_t events);

static void close_client(struct gfsi_held *h)
{
    if (h->client.control_fd >= 0) {
        gfsi_keeper_unwatch(h->keeper, h->client.control_fd);
        (void)close(h->client.control_fd);
    }
    if (h->client.pidfd >= 0) {
        gfsi_keeper_unwatch(h->keeper, h->client.pidfd);
        (void)close(h->client.pidfd);
    }
    h->client = (struct gfsi_client){.pidfd = -1, .control_fd = -1};
}

static uint64_t answered(const struct gfsi_held *h)
{
    return __atomic_load_n(&h->session->answered, __ATOMIC_RELAXED);
}

int gfsi_held_watch_client(struct gfsi_held *h, struct gfs_err *err)
{
    int rc;

    h->pidfd_source = (struct gfsi_source){.ready = pidfd_ready, .owner = h};
    h->control_source = (struct gfsi_source){.ready = gfsi_held_control_ready, .owner = h};
    rc = gfsi_keeper_watch(h->keeper, h->client.pidfd, EPOLLIN, &h->pidfd_source, err);
    if (rc == 0) {
        rc = gfsi_keeper_watch(h->keeper, h->client.control_fd, EPOLLIN, &h->control_source, err);
    }
    return rc;
}

static int start_client(struct gfsi_held *h, struct gfs_err *err)
{
    struct gfsi_spawn s = {
        .spec = h->spec,
        .argv = h->argv != NULL ? h->argv : h->spec->argv,
        .fuse_fd = h->dev.fd,
        .session_fd = h->session_fd,
        .log_fd = h->log_fd >= 0 ? h->log_fd : STDERR_FILENO,
        .oom_score_adj = h->keeper->oom_score_adj,
    };
    int rc;

    h->fail = (struct gfs_err)GFS_ERR_INIT;
    h->answered_before = answered(h);
    h->session->generation++;
    rc = gfsi_spawn_client(&s, &h->client, err);
    if (rc != 0) {
        return rc;
    }
    rc = gfsi_held_watch_client(h, err);
    if (rc != 0) {
        (void)kill(h->client.pid, SIGKILL);
        (void)waitpid(h->client.pid, NULL, 0);
        close_client(h);
        return rc;
    }
    gfsi_recover_save(h);
    gfs_info("keeper", "client started", "id=%s pid=%d generation=%u", h->spec->id, h->client.pid,
             h->session->generation);
    return 0;
}

static void revert_argv(struct gfsi_held *h)
{
    free(h->argv);
    h->argv = h->old_argv;
    h->old_argv = NULL;
    gfsi_conn_answer(h->keeper, h, 1u << GFS_KEEPER_RESTART, h->fail.code, h->fail.text);
}

static void remove_held(struct gfsi_held *h, int status, const char *text)
{
    h->removed = true;
    gfsi_conn_answer(h->keeper, h, ~0U, status, text);
}

/* The first client failed: nothing of the mount may stay. */
static void roll_back(struct gfsi_held *h)
{
    struct gfs_err err = GFS_ERR_INIT;
    bool detached;

    if (gfsi_fusedev_unmount(&h->dev, h->spec->mountpoint, true, &detached, &err) != 0) {
        gfs_error("keeper", "unmounting after a failed start", "id=%s error=%s", h->spec->id,
                  GFS_Q(err.text));
    }
    gfsi_recover_forget(h->keeper, h->spec->id);
    remove_held(h, h->fail.code, h->fail.text);
}

static void say_serving(struct gfsi_held *h)
{
    free(h->old_argv);
    h->old_argv = NULL;
    gfsi_conn_answer(h->keeper, h, 1u << GFS_KEEPER_MOUNT | 1u << GFS_KEEPER_RESTART, 0, NULL);
}

static void ping(struct gfsi_held *h)
{
    struct gfs_control_msg msg = {
        .type = GFS_CONTROL_PING,
        .value = (uint64_t)gfs_clock_mono(),
    };

    gfsi_held_send(h, &msg);
}

/* Does what `actions` ask; returns what follows from a client that could not even be started. */
static unsigned act_once(struct gfsi_held *h, unsigned actions)
{
    struct gfs_err err = GFS_ERR_INIT;

    if ((actions & GFSI_LIFE_KILL) != 0) {
        gfsi_held_kill(h);
    }
    if ((actions & GFSI_LIFE_HUNG) != 0) {
        gfs_warn("keeper", "client does not answer, replacing it", "id=%s pid=%d", h->spec->id,
                 h->client.pid);
    }
    if ((actions & GFSI_LIFE_PING) != 0) {
        ping(h);
    }
    if ((actions & GFSI_LIFE_SERVES) != 0) {
        say_serving(h);
    }
    if ((actions & GFSI_LIFE_REVERT) != 0) {
        revert_argv(h);
    }
    if ((actions & GFSI_LIFE_BROKE) != 0) {
        gfs_error("keeper", "FUSE connection ended", "id=%s mountpoint=%s", h->spec->id,
                  GFS_Q(h->spec->mountpoint));
        gfsi_conn_answer(h->keeper, h, ~0U, GFS_EIO, "the FUSE connection was aborted");
    }
    if ((actions & GFSI_LIFE_FAILED) != 0) {
        roll_back(h);
    }
    if ((actions & GFSI_LIFE_GONE) != 0) {
        remove_held(h, 0, NULL);
    }
    if ((actions & GFSI_LIFE_SPAWN) != 0 && h->keeper->stopping) {
        /* At the end nobody is served any more, whoever still has files open. */
        h->life.running = false;
        remove_held(h, GFS_EABORTED, "the keeper is stopping");
        return 0;
    }
    if ((actions & GFSI_LIFE_SPAWN) != 0 && start_client(h, &err) != 0) {
        h->fail = err;
        gfs_error("keeper", "client not started", "id=%s error=%s", h->spec->id, GFS_Q(err.text));
        return gfsi_life_exited(&h->life, gfs_clock_mono(), gfsi_fusedev_alive(&h->dev), false);
    }
    return 0;
}

void gfsi_held_act(struct gfsi_held *h, unsigned actions)
{
    int i;

    /* Each round is a client that could not be started; back-off ends this long before LOOP_MAX. */
    for (i = 0; i < LOOP_MAX && actions != 0 && !h->removed; i++) {
        actions = act_once(h, actions);
    }
}

void gfsi_held_send(struct gfsi_held *h, const struct gfs_control_msg *msg)
{
    struct gfs_control_msg full = *msg;

    if (h->client.control_fd < 0) {
        return;
    }
    full.magic = GFS_SESSION_MAGIC;
    full.version = GFS_SESSION_VERSION;
    /* A full socket is a client that does not read: the unanswered ping will tell. */
    (void)send(h->client.control_fd, &full, sizeof(full), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void open_backing(struct gfsi_held *h, const struct gfs_control_msg *msg, int fd)
{
    struct gfs_control_msg reply = {
        .type = GFS_CONTROL_BACKING_OPENED,
        .value = msg->value,
        .extra = msg->extra,
        .status = GFS_EUNSUPPORTED,
    };

    if (fd >= 0 && (h->spec->options & GFS_KEEPER_READ_ONLY) != 0 && msg->value != 0) {
        reply.status = gfsi_backing_open(&h->backings, h->dev.fd, msg->value, fd);
    }
    gfsi_held_send(h, &reply);
}

/* `fd` (-1: none) came with it and is the caller's. */
static void control_message(struct gfsi_held *h, const struct gfs_control_msg *msg, int fd)
{
    switch (msg->type) {
    case GFS_CONTROL_READY:
        gfs_info("keeper", "client ready", "id=%s pid=%d", h->spec->id, h->client.pid);
        gfsi_held_act(h, gfsi_life_ready(&h->life, gfs_clock_mono()));
        break;
    case GFS_CONTROL_FAIL:
        (void)gfs_err_set(
            &h->fail, msg->status < 0 && msg->status >= GFS_EUNKNOWN ? msg->status : GFS_EINTERNAL,
            "client of '%s': %s", h->spec->id, msg->text);
        break;
    case GFS_CONTROL_PONG: gfsi_life_pong(&h->life); break;
    case GFS_CONTROL_BACKING_OPEN: open_backing(h, msg, fd); break;
    case GFS_CONTROL_BACKING_CLOSE: gfsi_backing_close(&h->backings, h->dev.fd, msg->value); break;
    default: break;
    }
}

/* One message into *msg; *out_fd is -1 or what came with it. As recvmsg(2). */
static ssize_t receive(int socket_fd, struct gfs_control_msg *msg, int *out_fd)
{
    struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof(control.space)};
    ssize_t n = recvmsg(socket_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *out_fd = n < 0 ? -1 : gfsi_conn_take_fd(&m);
    return n >= 0 && (m.msg_flags & MSG_TRUNC) != 0 ? (ssize_t)sizeof(*msg) + 1 : n;
}

void gfsi_held_control_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_held *h = source->owner;
    int i;

    (void)events;
    for (i = 0; i < MESSAGES_PER_ROUND && h->client.control_fd >= 0 && !h->removed; i++) {
        struct gfs_control_msg msg;
        int fd gfs_auto_fd = -1;
        ssize_t n = receive(h->client.control_fd, &msg, &fd);

        if (n < 0) {
            return;
        }
        if (n == 0) {
            /* Its end is closed: it died, which the pidfd tells, or gave up on us. */
            gfsi_keeper_unwatch(h->keeper, h->client.control_fd);
            return;
        }
        msg.text[sizeof(msg.text) - 1] = '\0';
        if (n == sizeof(msg) && msg.magic == GFS_SESSION_MAGIC &&
            msg.version == GFS_SESSION_VERSION) {
            control_message(h, &msg, fd);
        }
    }
}

/* `status` -1: not our child, taken over from an earlier keeper. */
static void note_exit(struct gfsi_held *h, int status)
{
    char how[64];

    if (status < 0) {
        (void)snprintf(how, sizeof(how), "ended");
    } else if (WIFSIGNALED(status)) {
        (void)snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(status));
    } else {
        (void)snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
    }
    gfs_info("keeper", "client ended", "id=%s pid=%d how=%s state=%s", h->spec->id, h->client.pid,
             GFS_Q(how), gfs_keeper_state_name(h->life.state));
    if (h->fail.code == 0) {
        (void)gfs_err_set(&h->fail, GFS_EINTERNAL, "client of '%s' %s before it was ready",
                          h->spec->id, how);
    }
}

static void pidfd_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_held *h = source->owner;
    struct pollfd p = {.fd = h->client.pidfd, .events = POLLIN};
    int status = 0;
    pid_t waited;

    (void)events;
    if (!h->life.running || h->client.pidfd < 0) {
        return;
    }
    /* Its last words first. */
    gfsi_held_control_ready(&h->control_source, 0);
    waited = waitpid(h->client.pid, &status, WNOHANG);
    if (waited == 0 || (waited < 0 && (errno != ECHILD || poll(&p, 1, 0) != 1))) {
        return;
    }
    note_exit(h, waited < 0 ? -1 : status);
    close_client(h);
    gfsi_held_act(h, gfsi_life_exited(&h->life, gfs_clock_mono(), gfsi_fusedev_alive(&h->dev),
                                      answered(h) != h->answered_before));
}
