/* The data server's listening sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/hosts.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "server_priv.h"

#define BACKLOG 512

static int listen_on(int fd, const struct sockaddr *addr, socklen_t len, const char *name,
                     struct gfs_err *err)
{
    if (bind(fd, addr, len) < 0 || listen(fd, BACKLOG) < 0) {
        if (errno == EADDRINUSE) {
            return gfs_err_set(err, GFS_EBUSY, "address %s is in use by another process", name);
        }
        return gfs_err_set_errno(err, errno, "cannot listen on %s", name);
    }
    return 0;
}

int gfsi_server_listen_tcp(struct gfsi_server *server, const char *address, struct gfs_err *err)
{
    char host[GFS_HOST_NAME_MAX + 1];
    uint16_t port = 0;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr = {.v6 = {.sin6_family = AF_INET6}};
    socklen_t len = sizeof(addr.v6);
    int on = 1;

    if (gfs_hostport_split(address, host, sizeof(host), &port) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "'%s' is not host:port", address);
    }
    addr.v6.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host, &addr.v6.sin6_addr) != 1) {
        addr.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        len = sizeof(addr.v4);
        if (inet_pton(AF_INET, host, &addr.v4.sin_addr) != 1) {
            return gfs_err_set(err, GFS_EINVAL, "'%s' is not an IP address", host);
        }
    }
    server->tcp = socket(addr.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->tcp < 0) {
        return gfs_err_set_errno(err, errno, "socket");
    }
    (void)setsockopt(server->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    int rc = listen_on(server->tcp, &addr.any, len, address, err);

    if (rc < 0) {
        return rc;
    }
    len = sizeof(addr);
    (void)getsockname(server->tcp, &addr.any, &len);
    server->port = ntohs(addr.v6.sin6_port); /* the same place in both families */
    return 0;
}

/* A socket file that nobody listens on is left over from a crash. */
int gfsi_server_listen_local(struct gfsi_server *server, const char *path, uint32_t group,
                             struct gfs_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;

    if (path[0] == '\0') {
        return 0;
    }
    if (gfs_str_copy(addr.sun_path, sizeof(addr.sun_path), path) < 0 ||
        gfs_str_copy(server->local_socket, sizeof(server->local_socket), path) < 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "socket path '%s' is longer than %zu bytes", path,
                           sizeof(addr.sun_path) - 1);
    }

    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "socket");
    }
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            return gfs_err_set(err, GFS_EEXIST, "%s is there and is not a socket", path);
        }
        if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0) {
            return gfs_err_set(err, GFS_EBUSY, "socket %s is in use by another process", path);
        }
        (void)unlink(path);
        (void)close(fd);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return gfs_err_set_errno(err, errno, "socket");
        }
    }

    int rc = listen_on(fd, (const struct sockaddr *)&addr, sizeof(addr), path, err);

    if (rc < 0) {
        return rc;
    }
    (void)chmod(path, 0660); /* who may connect may read every cached file */
    if (group != 0 && lchown(path, (uid_t)-1, group) != 0) {
        gfs_info("worker", "clients of other users use TCP: the socket's group cannot be changed",
                 "socket=%s group=%u errno=%d", GFS_Q(path), group, errno);
    }
    server->unix_fd = GFS_TAKE_FD(fd);
    return 0;
}
