/* A unix socket for processes of certain users only. gRPC's own listener does not tell who
 * connected, so a thread accepts, asks the kernel (SO_PEERCRED: the user at the time of connect)
 * and hands over what may come in. */
#include "server_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define BACKLOG       1024
#define FULL_PAUSE_MS 100 /* when the process has no descriptor left for a connection */

struct gfsi_peers {
    struct gfs_rpc_server *server;
    int listener, wake; /* wake: written once, to stop */
    struct sockaddr_un address;
    dev_t device;
    ino_t inode;
    uid_t uids[GFS_RPC_PEERS_MAX];
    size_t n_uids;
    unsigned refused;
    pthread_t thread;
    bool running;
};

static bool may_enter(struct gfsi_peers *p, int fd)
{
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t size = sizeof(who);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        for (size_t i = 0; i < p->n_uids; i++) {
            if (who.uid == p->uids[i]) {
                return true;
            }
        }
    }
    /* Whoever tries again and again does not fill the log: 1st, 2nd, 4th, 8th time. */
    p->refused++;
    if ((p->refused & (p->refused - 1)) == 0) {
        gfs_warn("rpc", "connection refused", "server=%s uid=%u pid=%d times=%u", p->server->name,
                 who.uid, (int)who.pid, p->refused);
    }
    return false;
}

static void hand_over(struct gfsi_peers *p, int fd)
{
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();

    grpc_server_add_channel_from_fd(p->server->grpc, fd, credentials);
    grpc_server_credentials_release(credentials);
}

static void *accept_main(void *arg)
{
    struct gfsi_peers *p = arg;
    bool full = false;

    for (;;) {
        struct pollfd fds[] = {{.fd = p->wake, .events = POLLIN},
                               {.fd = full ? -1 : p->listener, .events = POLLIN}};
        int fd;

        if (poll(fds, 2, full ? FULL_PAUSE_MS : -1) < 0 && errno != EINTR) {
            return NULL;
        }
        if (fds[0].revents != 0) {
            return NULL;
        }
        fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        full =
            fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS);
        if (fd < 0) {
            continue;
        }
        if (may_enter(p, fd)) {
            hand_over(p, fd);
        } else {
            (void)close(fd);
        }
    }
}

static int open_listener(struct gfsi_peers *p, mode_t mode, struct gfs_err *err)
{
    const char *path = p->address.sun_path;
    struct stat st;

    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->wake < 0 || p->listener < 0) {
        return gfs_err_set_errno(err, errno, "cannot create a socket");
    }
    /* Before listen nobody can connect, so the mode comes in time. */
    if (bind(p->listener, (const struct sockaddr *)&p->address, sizeof(p->address)) < 0 ||
        (mode != 0 && chmod(path, mode) < 0) || listen(p->listener, BACKLOG) < 0 ||
        lstat(path, &st) < 0) {
        return gfs_err_set_errno(err, errno, "cannot listen on %s", path);
    }
    p->device = st.st_dev;
    p->inode = st.st_ino;
    return 0;
}

int gfs_rpc_server_listen_peers(struct gfs_rpc_server *server, const char *address, mode_t mode,
                                const uid_t *uids, size_t n_uids, struct gfs_err *err)
{
    GFS_ASSERT_EQ(server->state, GFSI_SERVER_NEW);
    char where[GFSI_TARGET_MAX], path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    struct gfsi_peers *p;
    int rc;

    if (server->peers != NULL || n_uids == 0 || n_uids > GFS_RPC_PEERS_MAX ||
        !gfs_str_has_prefix(address, "unix:")) {
        return gfs_err_set(err, GFS_EINVAL, "'%s': one unix socket, and up to %d users", address,
                           GFS_RPC_PEERS_MAX);
    }
    rc = gfsi_listen_resolve(address, NULL, where, sizeof(where), path, sizeof(path), err);
    if (rc < 0) {
        return rc;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    p->server = server;
    p->listener = p->wake = -1;
    p->address.sun_family = AF_UNIX;
    (void)gfs_str_copy(p->address.sun_path, sizeof(p->address.sun_path), path);
    p->n_uids = n_uids;
    for (size_t i = 0; i < n_uids; i++) {
        p->uids[i] = uids[i];
    }

    rc = open_listener(p, mode, err);
    server->peers = p;
    if (rc < 0) {
        gfsi_peers_stop(server);
    }
    return rc;
}

int gfsi_peers_start(struct gfs_rpc_server *server, struct gfs_err *err)
{
    struct gfsi_peers *p = server->peers;
    sigset_t all, old;
    char name[16];
    int rc;

    if (p == NULL) {
        return 0;
    }
    /* Signals belong to the daemon's main thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&p->thread, NULL, accept_main, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        return gfs_err_set_errno(err, rc, "cannot start a thread");
    }
    p->running = true;
    (void)snprintf(name, sizeof(name), "%.8s-peers", server->name);
    (void)pthread_setname_np(p->thread, name);
    return 0;
}

void gfsi_peers_stop(struct gfs_rpc_server *server)
{
    struct gfsi_peers *p = GFS_TAKE_PTR(server->peers);
    const uint64_t one = 1;
    struct stat st;

    if (p == NULL) {
        return;
    }
    if (p->running) {
        (void)!write(p->wake, &one, sizeof(one));
        (void)pthread_join(p->thread, NULL);
    }
    /* Ours only: a successor may have put its own there. */
    if (p->inode != 0 && lstat(p->address.sun_path, &st) == 0 && st.st_dev == p->device &&
        st.st_ino == p->inode) {
        (void)unlink(p->address.sun_path);
    }
    if (p->listener >= 0) {
        (void)close(p->listener);
    }
    if (p->wake >= 0) {
        (void)close(p->wake);
    }
    free(p);
}
