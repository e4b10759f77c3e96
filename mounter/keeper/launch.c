/* A launch directory: listened at, its launcher accepted, spoken to, lost. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/mounter/packet.h>

#define DIR_MODE           0750
#define SOCKET_MODE        0660
#define BACKLOG            4
#define MESSAGES_PER_ROUND 32

static void launcher_ready(struct gfsi_source *source, uint32_t events);
static void listener_ready(struct gfsi_source *source, uint32_t events);

/* ---- listening ------------------------------------------------------------------------------- */

/* The directory is the client's to see: nothing in it is followed. */
static int open_dir(const char *dir, uint32_t gid, int *out, struct gfs_err *err)
{
    int parent gfs_auto_fd = -1;
    int fd gfs_auto_fd = -1;
    struct stat st;
    int rc = gfs_mkdirs(dir, 0755, err);

    if (rc != 0) {
        return rc;
    }
    parent = openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0) {
        return gfs_err_set_errno(err, errno, "launch directory %s", dir);
    }
    if (mkdirat(parent, GFS_LAUNCH_SUBDIR, DIR_MODE) != 0 && errno != EEXIST) {
        return gfs_err_set_errno(err, errno, "%s/%s", dir, GFS_LAUNCH_SUBDIR);
    }
    fd = openat(parent, GFS_LAUNCH_SUBDIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return gfs_err_set_errno(err, errno, "%s/%s", dir, GFS_LAUNCH_SUBDIR);
    }
    if (st.st_uid != geteuid()) {
        return gfs_err_set(err, GFS_EPERM, "%s/%s belongs to another user", dir, GFS_LAUNCH_SUBDIR);
    }
    if (fchown(fd, (uid_t)-1, gid) != 0 || fchmod(fd, DIR_MODE) != 0) {
        return gfs_err_set_errno(err, errno, "%s/%s", dir, GFS_LAUNCH_SUBDIR);
    }
    *out = GFS_TAKE_FD(fd);
    return 0;
}

/* By the directory's descriptor: no name is walked twice, and none is too long for sun_path. */
static int listen_in(int dir_fd, uint32_t gid, int *out, struct gfs_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old;
    int rc;

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "socket for launchers");
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
                   GFS_LAUNCH_SOCKET);
    (void)unlinkat(dir_fd, GFS_LAUNCH_SOCKET, 0);
    old = umask(0777 & ~SOCKET_MODE);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    (void)umask(old);
    /* The change of group comes last: it is what a waiting launcher is woken by. */
    if (rc != 0 || listen(fd, BACKLOG) != 0 ||
        fchownat(dir_fd, GFS_LAUNCH_SOCKET, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return gfs_err_set_errno(err, errno, "socket for launchers");
    }
    *out = GFS_TAKE_FD(fd);
    return 0;
}

static int launch_new(struct gfsi_keeper *k, const char *dir, uint32_t uid, uint32_t gid,
                      struct gfsi_launch **out, struct gfs_err *err)
{
    struct gfsi_launch *l = calloc(1, sizeof(*l));
    int rc;

    if (l == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "launch directory");
    }
    *l = (struct gfsi_launch){.keeper = k, .dir_fd = -1, .listen_fd = -1, .fd = -1, .uid = uid};
    l->listen_source = (struct gfsi_source){.ready = listener_ready, .owner = l};
    l->source = (struct gfsi_source){.ready = launcher_ready, .owner = l};
    l->dir = strdup(dir);
    rc = l->dir == NULL ? gfs_err_set(err, GFS_ENOMEM, "launch directory")
                        : open_dir(dir, gid, &l->dir_fd, err);
    if (rc == 0) {
        rc = listen_in(l->dir_fd, gid, &l->listen_fd, err);
    }
    if (rc == 0) {
        rc = gfsi_keeper_watch(k, l->listen_fd, EPOLLIN, &l->listen_source, err);
    }
    if (rc != 0) {
        gfsi_launch_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

int gfsi_launch_get(struct gfsi_keeper *k, const char *dir, uint32_t uid, uint32_t gid,
                    struct gfsi_launch **out, struct gfs_err *err)
{
    struct gfsi_launch *l;
    int rc;

    for (l = k->launches; l != NULL && strcmp(l->dir, dir) != 0; l = l->next) {
    }
    if (l == NULL) {
        rc = launch_new(k, dir, uid, gid, &l, err);
        if (rc != 0) {
            return rc;
        }
        l->next = k->launches;
        k->launches = l;
    }
    l->n_held++;
    *out = l;
    return 0;
}

void gfsi_launch_put(struct gfsi_launch *l)
{
    if (l != NULL) {
        l->n_held--;
    }
}

/* The directory too, unless there is something else in it. */
static void remove_socket(const struct gfsi_launch *l)
{
    char path[GFS_KEEPER_PATH_MAX + sizeof(GFS_LAUNCH_SUBDIR) + 2];

    (void)unlinkat(l->dir_fd, GFS_LAUNCH_SOCKET, 0);
    (void)snprintf(path, sizeof(path), "%s/" GFS_LAUNCH_SUBDIR, l->dir);
    (void)rmdir(path);
}

void gfsi_launch_free(struct gfsi_launch *l)
{
    if (l == NULL) {
        return;
    }
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    if (l->listen_fd >= 0) {
        remove_socket(l);
        (void)close(l->listen_fd);
    }
    if (l->dir_fd >= 0) {
        (void)close(l->dir_fd);
    }
    free(l->dir);
    free(l);
}

/* ---- its launcher ---------------------------------------------------------------------------- */

static bool peer_allowed(const struct gfsi_launch *l, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == 0 || cred.uid == l->uid);
}

static void listener_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_launch *l = source->owner;
    int fd gfs_auto_fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0) {
        return;
    }
    if (!peer_allowed(l, fd)) {
        gfs_warn("keeper", "launcher of another user refused", "directory=%s", GFS_Q(l->dir));
        return;
    }
    /* The end of the one before may be waiting in its socket, behind this event. */
    if (l->fd >= 0) {
        launcher_ready(&l->source, 0);
    }
    if (l->fd >= 0) {
        return; /* it tries again */
    }
    if (gfsi_keeper_watch(l->keeper, fd, EPOLLIN, &l->source, NULL) == 0) {
        l->fd = GFS_TAKE_FD(fd);
        l->greeted = false;
        l->ready = false;
    }
}

void gfsi_launch_lost(struct gfsi_launch *l, const char *why)
{
    struct gfsi_held *h;

    if (l->fd < 0) {
        return;
    }
    gfs_info("keeper", "launcher gone", "directory=%s reason=%s", GFS_Q(l->dir), GFS_Q(why));
    gfsi_keeper_unwatch(l->keeper, l->fd);
    (void)close(l->fd);
    l->fd = -1;
    l->greeted = false;
    l->ready = false;
    for (h = l->keeper->helds; h != NULL; h = h->next) {
        if (h->launch == l && !h->removed) {
            gfsi_held_act(h, gfsi_life_launcher(&h->life, gfs_clock_mono(), false));
        }
    }
    for (h = l->keeper->helds; h != NULL; h = h->next) {
        if (h->launch == l && !h->removed && h->spawning) {
            gfsi_held_client_ended(h, "did not start: its launcher is gone");
        }
    }
}

int gfsi_launch_send(struct gfsi_launch *l, const int *fds, size_t n_fds)
{
    struct gfs_buf *out = &l->keeper->out;
    int rc = gfs_keeper_msg_end(out);

    if (l->fd < 0) {
        return GFS_EUNAVAIL;
    }
    if (rc == 0) {
        rc = gfs_packet_send(l->fd, out->data, out->len, fds, n_fds);
    }
    if (rc == GFS_EUNAVAIL) {
        gfsi_launch_lost(l, "it does not read");
    }
    return rc;
}

int gfsi_launch_spawn(struct gfsi_held *h, int client_fd, struct gfs_err *err)
{
    struct gfs_buf *out = &h->keeper->out;
    const int fds[] = {h->dev.fd, h->session_fd, client_fd, h->client.control_fd};
    const char *const *argv = h->argv != NULL ? h->argv : h->spec->argv;
    int rc;

    h->spawn_seq = ++h->keeper->launch_seq;
    gfs_keeper_msg_begin(out, GFS_LAUNCH_SPAWN, h->spawn_seq);
    gfs_keeper_msg_put_id(out, h->spec->id);
    gfs_keeper_msg_put_argv(out, argv + 1);
    gfs_keeper_msg_put_env(out, h->spec->env);
    rc = gfsi_launch_send(h->launch, fds, 4);
    if (rc != 0) {
        return gfs_err_set(err, rc, "launcher at %s is gone", h->launch->dir);
    }
    return 0;
}

void gfsi_launch_kill(const struct gfsi_held *h)
{
    struct gfs_buf *out = &h->keeper->out;

    gfs_keeper_msg_begin(out, GFS_LAUNCH_KILL, 0);
    gfs_keeper_msg_put_id(out, h->spec->id);
    gfs_keeper_msg_put_signal(out, SIGKILL);
    (void)gfsi_launch_send(h->launch, NULL, 0);
}

void gfsi_launch_drop(struct gfsi_launch *l, const char *id)
{
    struct gfs_buf *out = &l->keeper->out;

    gfs_keeper_msg_begin(out, GFS_LAUNCH_DROP, 0);
    gfs_keeper_msg_put_id(out, id);
    (void)gfsi_launch_send(l, NULL, 0);
}

/* One message. False: no more now. */
static bool receive(struct gfsi_launch *l)
{
    struct gfsi_keeper *k = l->keeper;
    struct gfs_err err = GFS_ERR_INIT;
    int fds[GFS_PACKET_FDS_MAX];
    size_t n_fds;
    size_t i;
    ssize_t n = gfs_packet_recv(l->fd, k->in, GFS_KEEPER_MSG_MAX, fds, &n_fds);
    int rc;

    if (n == GFS_ETIMEOUT) {
        return false;
    }
    if (n == 0) {
        gfsi_launch_lost(l, "it ended");
        return false;
    }
    rc = n < 0 ? gfs_err_set(&err, (int)n, "message is too long")
               : gfs_keeper_msg_decode(k->in, (size_t)n, k->msg, &err);
    if (rc == 0) {
        rc = gfsi_launch_message(l, fds, n_fds, &err);
    }
    for (i = 0; i < n_fds; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    if (rc != 0) {
        gfsi_launch_lost(l, gfs_err_text(&err, rc));
    }
    return rc == 0;
}

static void launcher_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_launch *l = source->owner;
    int i;

    (void)events;
    for (i = 0; i < MESSAGES_PER_ROUND && l->fd >= 0; i++) {
        if (!receive(l)) {
            return;
        }
    }
}
