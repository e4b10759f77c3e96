/* Addresses as users write them to addresses as gRPC wants them. Names are looked up here (the
 * static table, then for listeners the resolver), so that errors can say what is wrong: gRPC itself
 * only says that it failed. */
#include "rpc_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

/* The absolute path of "unix:///path" or "unix:/path", NULL when it is no unix address. */
static const char *unix_path_of(const char *address)
{
    if (gfs_str_has_prefix(address, "unix:///")) {
        return address + strlen("unix://");
    }
    if (gfs_str_has_prefix(address, "unix:/")) {
        return address + strlen("unix:");
    }
    return NULL;
}

static int check_unix_path(const char *path, struct gfs_err *err)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "socket path %s is longer than %zu bytes", path,
                           sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    }
    /* gRPC parses the address as a URI. */
    if (strpbrk(path, "%?#") != NULL) {
        return gfs_err_set(err, GFS_EINVAL, "socket path %s must not contain %%, ? or #", path);
    }
    return 0;
}

int gfsi_target_resolve(const char *target, const struct gfs_hosts *hosts, char *out, size_t size,
                        char *authority, size_t authority_size, struct gfs_err *err)
{
    const char *path = unix_path_of(target);
    if (path != NULL) {
        const int rc = check_unix_path(path, err);
        if (rc < 0) {
            return rc;
        }
        (void)snprintf(out, size, "unix:%s", path);
        return gfs_str_copy(authority, authority_size, "localhost");
    }

    char mapped[GFSI_TARGET_MAX], host[GFS_HOST_NAME_MAX + 1];
    uint16_t port;
    if (gfs_hostport_split(target, host, sizeof(host), &port) < 0 || host[0] == '\0' ||
        gfs_hosts_target(hosts, target, mapped, sizeof(mapped)) < 0 ||
        gfs_hostport_split(mapped, host, sizeof(host), &port) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "'%s' is not host:port or unix:///path", target);
    }

    struct in6_addr binary;
    if (inet_pton(AF_INET, host, &binary) == 1) {
        (void)snprintf(out, size, "ipv4:%s:%u", host, port);
    } else if (inet_pton(AF_INET6, host, &binary) == 1) {
        (void)snprintf(out, size, "ipv6:%%5B%s%%5D:%u", host, port);
    } else {
        (void)snprintf(out, size, "dns:///%s:%u", host, port);
    }
    return gfs_str_copy(authority, authority_size, target);
}

/* A socket file left behind by a dead process is removed; a live one is not. */
static int prepare_unix(const char *path, struct gfs_err *err)
{
    int rc = check_unix_path(path, err);
    if (rc < 0) {
        return rc;
    }

    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : gfs_err_set_errno(err, errno, "cannot look at %s", path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return gfs_err_set(err, GFS_EEXIST, "%s exists and is not a socket", path);
    }

    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot create a socket");
    }
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)gfs_str_copy(addr.sun_path, sizeof(addr.sun_path), path);
    /* EAGAIN: somebody listens, with a full backlog. */
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN) {
        return gfs_err_set(err, GFS_EBUSY, "another process is listening on %s", path);
    }
    if (errno != ECONNREFUSED) {
        return gfs_err_set_errno(err, errno, "cannot tell whether %s is in use", path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return gfs_err_set_errno(err, errno, "cannot remove the stale socket %s", path);
    }
    return 0;
}

/* gRPC tells a taken port from a missing address only in its log, so both are tried first. */
static int try_bind(const char *address, const struct addrinfo *ai, uint16_t port,
                    struct gfs_err *err)
{
    int fd gfs_auto_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot create a socket for %s", address);
    }
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
        return 0;
    }
    if (errno == EADDRINUSE) {
        return gfs_err_set(err, GFS_EBUSY, "cannot listen on %s: port %u is in use", address, port);
    }
    return gfs_err_set_errno(err, errno, "cannot listen on %s", address);
}

static int resolve_tcp(const char *address, const struct gfs_hosts *hosts, char *out, size_t size,
                       struct gfs_err *err)
{
    char mapped[GFSI_TARGET_MAX], host[GFS_HOST_NAME_MAX + 1];
    uint16_t port;
    if (gfs_hosts_target(hosts, address, mapped, sizeof(mapped)) < 0 ||
        gfs_hostport_split(mapped, host, sizeof(host), &port) < 0 || host[0] == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "'%s' is not host:port or unix:///path", address);
    }

    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    const int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        return gfs_err_set(err, GFS_EINVAL, "cannot listen on %s: %s", address, gai_strerror(rc));
    }

    char number[INET6_ADDRSTRLEN];
    int result = getnameinfo(list->ai_addr, list->ai_addrlen, number, sizeof(number), NULL, 0,
                             NI_NUMERICHOST) == 0
                     ? try_bind(address, list, port, err)
                     : gfs_err_set(err, GFS_EINVAL, "cannot listen on %s", address);
    if (result == 0) {
        const bool v6 = list->ai_family == AF_INET6;
        (void)snprintf(out, size, "%s%s%s:%u", v6 ? "[" : "", number, v6 ? "]" : "", port);
    }
    freeaddrinfo(list);
    return result;
}

int gfsi_listen_resolve(const char *address, const struct gfs_hosts *hosts, char *out, size_t size,
                        char *unix_path, size_t unix_size, struct gfs_err *err)
{
    const char *path = unix_path_of(address);
    if (path == NULL) {
        unix_path[0] = '\0';
        return resolve_tcp(address, hosts, out, size, err);
    }

    const int rc = prepare_unix(path, err);
    if (rc < 0) {
        return rc;
    }
    (void)snprintf(out, size, "unix:%s", path);
    return gfs_str_copy(unix_path, unix_size, path);
}
