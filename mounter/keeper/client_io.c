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

#include "launch.h"
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

int gfsi_held_watch_pidfd(struct gfsi_held *h, struct gfs_err *err)
{
    h->pidfd_source = (struct gfsi_source){.ready = pidfd_ready, .owner = h};
    return gfsi_keeper_watch(h->keeper, h->client.pidfd, EPOLLIN, &h->pidfd_source, err);
}

static int watch_control(struct gfsi_held *h, struct gfs_err *err)
{
    h->control_source = (struct gfsi_source){.ready = gfsi_held_control_ready, .owner = h};
    return gfsi_keeper_watch(h->keeper, h->client.control_fd, EPOLLIN, &h->control_source, err);
}

int gfsi_held_watch_client(struct gfsi_held *h, struct gfs_err *err)
{
    int rc = gfsi_held_watch_pidfd(h, err);

    return rc == 0 ? watch_control(h, err) : rc;
}

/* The launcher's answer is heard in launch_msg.c. */
static int ask_launcher(struct gfsi_held *h, struct gfs_err *err)
{
    int ours gfs_auto_fd = -1;
    int theirs gfs_auto_fd = -1;
    int rc = gfsi_control_pair(&ours, &theirs, err);

    if (rc != 0) {
        return rc;
    }
    h->client = (struct gfsi_client){.pidfd = -1, .control_fd = GFS_TAKE_FD(ours)};
    rc = watch_control(h, err);
    if (rc == 0) {
        rc = gfsi_launch_spawn(h, theirs, err);
    }
    if (rc != 0) {
        close_client(h);
        return rc;
    }
    h->spawning = true;
    h->spawned_at = gfs_clock_mono();
    return 0;
}

static int start_client(struct gfsi_held *h, struct gfs_err *err)
{
    struct gfsi_spawn s = {
        .spec = h->spec,
        .uid = gfsi_held_uid(h),
        .gid = gfsi_held_gid(h),
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
    if (h->launch != NULL) {
        return ask_launcher(h, err);
    }
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

void gfsi_held_remove(struct gfsi_held *h, int status, const char *text)
{
    h->removed = true;
    if (h->launch != NULL && h->launch->fd >= 0) {
        gfsi_launch_drop(h->launch, h->spec->id);
    }
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
    gfsi_held_remove(h, h->fail.code, h->fail.text);
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

/* Whoever waits gets an error: better than for ever. */
static void abort_connection(struct gfsi_held *h)
{
    struct gfs_err err = GFS_ERR_INIT;

    gfs_error("keeper", "no client can be had, aborting the connection",
              "id=%s failures=%u last_error=%s", h->spec->id, h->life.failures,
              GFS_Q(h->fail.text));
    if (gfsi_fusedev_abort(&h->dev, h->spec->mountpoint, &err) != 0) {
        gfs_error("keeper", "connection not aborted", "id=%s error=%s", h->spec->id,
                  GFS_Q(err.text));
    }
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
    if ((actions & GFSI_LIFE_ABORT) != 0) {
        abort_connection(h);
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
        gfsi_held_remove(h, 0, NULL);
    }
    if ((actions & GFSI_LIFE_SPAWN) != 0 && h->keeper->stopping) {
        /* At the end nobody is served any more, whoever still has files open. */
        h->life.running = false;
        gfsi_held_remove(h, GFS_EABORTED, "the keeper is stopping");
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
    if (h->known != h->life.state) {
        h->known = h->life.state;
        h->since = gfs_clock_mono();
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

/* For how long the client has worked at its oldest request, ns. That the kernel waits for one, too,
 * is asked only where it matters: it is another system call. */
static int64_t oldest_request(const struct gfsi_held *h, const struct gfs_control_msg *msg)
{
    int64_t oldest = (int64_t)msg->extra * GFS_NS_PER_MS;

    if (h->life.stall_timeout == 0 || oldest < h->life.stall_timeout) {
        return 0;
    }
    return gfsi_fusedev_waiting(&h->dev) != 0 ? oldest : 0;
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
    case GFS_CONTROL_PONG:
        gfsi_held_act(h, gfsi_life_pong(&h->life, gfs_clock_mono(), oldest_request(h, msg)));
        break;
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

static void describe_exit(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(out, size, "was killed by signal %d", WTERMSIG(status));
    } else {
        (void)snprintf(out, size, "exited with status %d", WEXITSTATUS(status));
    }
}

void gfsi_held_client_ended(struct gfsi_held *h, const char *how)
{
    if (!h->life.running) {
        return;
    }
    /* Its last words first. */
    gfsi_held_control_ready(&h->control_source, 0);
    gfs_info("keeper", "client ended", "id=%s pid=%d how=%s state=%s", h->spec->id, h->client.pid,
             GFS_Q(how), gfs_keeper_state_name(h->life.state));
    if (h->fail.code == 0) {
        (void)gfs_err_set(&h->fail, GFS_EINTERNAL, "client of '%s' %s before it was ready",
                          h->spec->id, how);
    }
    close_client(h);
    h->spawning = false;
    h->spawn_seq = 0;
    gfsi_backing_settle(&h->backings, h->dev.fd, h->session);
    gfsi_held_act(h, gfsi_life_exited(&h->life, gfs_clock_mono(), gfsi_fusedev_alive(&h->dev),
                                      answered(h) != h->answered_before));
}

static void pidfd_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_held *h = source->owner;
    struct pollfd p = {.fd = h->client.pidfd, .events = POLLIN};
    char how[64] = "ended";
    int status = 0;
    pid_t waited = -1;

    (void)events;
    if (!h->life.running || h->client.pidfd < 0) {
        return;
    }
    /* A launcher's is no child of ours, nor one taken over from an earlier keeper. */
    errno = ECHILD;
    if (h->launch == NULL) {
        waited = waitpid(h->client.pid, &status, WNOHANG);
    }
    if (waited == 0 || (waited < 0 && (errno != ECHILD || poll(&p, 1, 0) != 1))) {
        return;
    }
    if (waited > 0) {
        describe_exit(status, how, sizeof(how));
    }
    gfsi_held_client_ended(h, how);
}
