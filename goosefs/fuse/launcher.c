/* The launcher's loop: finds the keeper, hears it, watches its clients. */
#include "launcher_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>
#include <gfs/mounter/packet.h>

#define RETRY_MIN_NS (10 * GFS_NS_PER_MS)
#define RETRY_MAX_NS GFS_NS_PER_S
#define LEAVE_NS     (5 * GFS_NS_PER_S) /* from SIGTERM to SIGKILL of clients */

#define WATCHED (IN_CREATE | IN_MOVED_TO | IN_ATTRIB)

/* ---- the keeper ------------------------------------------------------------------------------ */

static void disconnect(struct gfsi_launcher *l, const char *why)
{
    if (l->fd < 0) {
        return;
    }
    gfs_info("launcher", "keeper gone, serving on", "reason=%s", why);
    (void)close(l->fd);
    l->fd = -1;
    l->greeted = false;
    l->connect_at = gfs_clock_mono();
    gfs_backoff_reset(&l->backoff);
}

void gfsi_launcher_send(struct gfsi_launcher *l, const int *fds, size_t n_fds)
{
    int rc = gfs_keeper_msg_end(&l->out);

    if (l->fd >= 0 && l->greeted && rc == 0 &&
        gfs_packet_send(l->fd, l->out.data, l->out.len, fds, n_fds) == GFS_EUNAVAIL) {
        disconnect(l, "it does not read");
    }
}

/* By a descriptor of the directory: its path may be longer than sun_path. */
static int connect_to(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dir gfs_auto_fd = openat(AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (dir < 0 || fd < 0) {
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s/%s", dir,
                   GFS_LAUNCH_SUBDIR, GFS_LAUNCH_SOCKET);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? GFS_TAKE_FD(fd) : -1;
}

/* Before each try, so that no change is missed: directories may come and go. */
static void watch(const struct gfsi_launcher *l)
{
    char sub[PATH_MAX];

    (void)inotify_add_watch(l->inotify_fd, l->config.directory, WATCHED);
    if (snprintf(sub, sizeof(sub), "%s/%s", l->config.directory, GFS_LAUNCH_SUBDIR) <
        (int)sizeof(sub)) {
        (void)inotify_add_watch(l->inotify_fd, sub, WATCHED);
    }
}

static void try_connect(struct gfsi_launcher *l)
{
    watch(l);
    l->fd = connect_to(l->config.directory);
    if (l->fd < 0) {
        l->connect_at = gfs_clock_mono() + gfs_backoff_next(&l->backoff);
        return;
    }
    gfs_keeper_msg_begin(&l->out, GFS_KEEPER_HELLO, 1);
    gfs_keeper_msg_put_version(&l->out, GFS_KEEPER_VERSION);
    if (gfs_keeper_msg_end(&l->out) != 0 ||
        gfs_packet_send(l->fd, l->out.data, l->out.len, NULL, 0) != 0) {
        (void)close(l->fd);
        l->fd = -1;
        l->connect_at = gfs_clock_mono() + gfs_backoff_next(&l->backoff);
    }
}

static void serve_hello_reply(struct gfsi_launcher *l)
{
    if (l->msg->status != 0) {
        gfs_error("launcher", "the keeper refuses this launcher", "error=%s", GFS_Q(l->msg->text));
        disconnect(l, "refused");
        l->connect_at = gfs_clock_mono() + RETRY_MAX_NS;
        return;
    }
    gfs_info("launcher", "keeper found", "directory=%s", GFS_Q(l->config.directory));
    l->greeted = true;
    gfs_backoff_reset(&l->backoff);
    gfsi_launched_tell(l);
}

static void serve(struct gfsi_launcher *l, int *fds, size_t n_fds)
{
    switch (l->msg->type) {
    case GFS_KEEPER_HELLO | GFS_KEEPER_REPLY: serve_hello_reply(l); break;
    case GFS_LAUNCH_SPAWN: gfsi_launched_spawn(l, fds, n_fds); break;
    case GFS_LAUNCH_KILL: gfsi_launched_kill(l); break;
    case GFS_LAUNCH_DROP: gfsi_launched_drop(l); break;
    default: break;
    }
}

static void keeper_ready(struct gfsi_launcher *l)
{
    struct gfs_err err = GFS_ERR_INIT;
    int fds[GFS_PACKET_FDS_MAX];
    size_t n_fds;
    size_t i;
    ssize_t n = gfs_packet_recv(l->fd, l->in, GFS_KEEPER_MSG_MAX, fds, &n_fds);

    if (n == GFS_ETIMEOUT) {
        return;
    }
    if (n == 0) {
        bool refused = !l->greeted;

        disconnect(l, "it closed the connection");
        if (refused) {
            /* Another launcher is there, or we are not welcome. */
            l->connect_at = gfs_clock_mono() + gfs_backoff_next(&l->backoff);
        }
        return;
    }
    if (n < 0 || gfs_keeper_msg_decode(l->in, (size_t)n, l->msg, &err) != 0) {
        disconnect(l, "it does not speak the protocol");
    } else {
        serve(l, fds, n_fds);
    }
    for (i = 0; i < n_fds; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void signals_ready(struct gfsi_launcher *l)
{
    struct signalfd_siginfo info;

    while (read(l->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD && !l->stopping) {
            gfs_info("launcher", "stopping, the keeper keeps the mounts", "signal=%u",
                     info.ssi_signo);
            l->stopping = true;
            l->kill_at = gfs_clock_mono() + LEAVE_NS;
            /* First, so that the keeper waits for the next launcher instead of asking us. */
            disconnect(l, "stopping");
            gfsi_launched_signal_all(l, SIGTERM);
        }
    }
    gfsi_launched_reap(l);
}

static void changes_ready(struct gfsi_launcher *l)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    while (read(l->inotify_fd, events, sizeof(events)) > 0) {
    }
    l->connect_at = gfs_clock_mono();
}

static int wait_ms(const struct gfsi_launcher *l)
{
    int64_t at = l->stopping ? l->kill_at : l->connect_at;
    int64_t left = at - gfs_clock_mono();

    if (!l->stopping && l->fd >= 0) {
        return -1;
    }
    return left <= 0 ? 0 : (int)(left / GFS_NS_PER_MS) + 1;
}

static int loop(struct gfsi_launcher *l, struct gfs_err *err)
{
    while (!l->stopping || gfsi_launched_any(l)) {
        struct pollfd fds[] = {
            {.fd = l->signal_fd, .events = POLLIN},
            {.fd = l->fd < 0 && !l->stopping ? l->inotify_fd : -1, .events = POLLIN},
            {.fd = l->fd, .events = POLLIN},
        };

        if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms(l)) < 0 && errno != EINTR) {
            return gfs_err_set_errno(err, errno, "poll");
        }
        if (fds[2].revents != 0) {
            keeper_ready(l);
        }
        if (fds[0].revents != 0) {
            signals_ready(l);
        }
        if (fds[1].revents != 0) {
            changes_ready(l);
        }
        if (l->stopping && gfs_clock_mono() >= l->kill_at) {
            gfsi_launched_signal_all(l, SIGKILL);
            l->kill_at += LEAVE_NS;
        }
        if (!l->stopping && l->fd < 0 && gfs_clock_mono() >= l->connect_at) {
            try_connect(l);
        }
    }
    return 0;
}

static int set_up(struct gfsi_launcher *l, struct gfs_err *err)
{
    sigset_t set;

    l->in = malloc(GFS_KEEPER_MSG_MAX);
    l->msg = calloc(1, sizeof(*l->msg));
    if (l->in == NULL || l->msg == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "launcher");
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return gfs_err_set_errno(err, errno, "sigprocmask");
    }
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    l->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->signal_fd < 0 || l->inotify_fd < 0) {
        return gfs_err_set_errno(err, errno, "launcher");
    }
    return 0;
}

int gfs_launcher_run(const struct gfs_launcher_config *config, struct gfs_err *err)
{
    struct gfsi_launcher *l = calloc(1, sizeof(*l));
    int rc;

    if (l == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "launcher");
    }
    *l = (struct gfsi_launcher){.config = *config, .signal_fd = -1, .inotify_fd = -1, .fd = -1};
    gfsi_launched_init(l);
    gfs_buf_init(&l->out, GFS_KEEPER_MSG_MAX);
    gfs_backoff_init(&l->backoff, RETRY_MIN_NS, RETRY_MAX_NS, (uint64_t)getpid());
    rc = set_up(l, err);
    if (rc == 0) {
        rc = loop(l, err);
    }
    gfsi_launched_fini(l);
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    if (l->signal_fd >= 0) {
        (void)close(l->signal_fd);
    }
    if (l->inotify_fd >= 0) {
        (void)close(l->inotify_fd);
    }
    gfs_buf_fini(&l->out);
    free(l->msg);
    free(l->in);
    free(l);
    return rc;
}
