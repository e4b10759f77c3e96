/* Connections of the data protocol, kept per worker. One request or one pipeline of them uses a
 * connection at a time, so answers go from the socket into the reader's buffer without a thread or
 * a copy between. */
#include "client_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define CONNECT_NS   (2 * GFS_NS_PER_S)
#define POLL_MS      200 /* how often a waiting reader looks whether the client is closed */
#define USER_TIMEOUT 15000

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Waits until the socket is ready. */
static int wait_fd(struct gfs_client *client, int fd, short events, int64_t deadline,
                   struct gfs_err *err)
{
    for (;;) {
        const int64_t left_ms = (deadline - gfs_clock_mono()) / GFS_NS_PER_MS;
        if (left_ms <= 0) {
            return gfs_err_set(err, GFS_ETIMEOUT, "the worker did not answer in time");
        }
        struct pollfd pfd = {.fd = fd, .events = events};
        const int n = poll(&pfd, 1, (int)earlier(left_ms, POLL_MS));
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return gfs_err_set_errno(err, errno, "cannot wait for a worker");
        }
        if (gfsi_client_closed(client)) {
            return gfs_err_set(err, GFS_ECANCELLED, "the client is closed");
        }
    }
}

/* A broken connection, however it broke, is an unavailable worker. */
static int conn_error(struct gfs_err *err, int errnum, const char *what)
{
    (void)gfs_err_set_errno(err, errnum, "%s", what);
    if (err != NULL) {
        err->code = GFS_EUNAVAIL;
    }
    return GFS_EUNAVAIL;
}

static void tune(int fd)
{
    const int on = 1, user_timeout = USER_TIMEOUT;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    /* A machine that vanished without a reset. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
}

static int connect_to(struct gfs_client *client, const struct addrinfo *ai, int64_t deadline,
                      int *out_fd, struct gfs_err *err)
{
    int fd gfs_auto_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot create a socket");
    }
    tune(fd);
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
        if (errno != EINPROGRESS) {
            return conn_error(err, errno, "cannot connect");
        }
        const int rc = wait_fd(client, fd, POLLOUT, deadline, err);
        if (rc < 0) {
            return rc;
        }
        int error = 0;
        socklen_t len = sizeof(error);
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0) {
            return conn_error(err, error, "cannot connect");
        }
    }
    *out_fd = GFS_TAKE_FD(fd);
    return 0;
}

static int conn_open(struct gfs_client *client, const struct gfsi_worker *worker, int64_t deadline,
                     int *out_fd, struct gfs_err *err)
{
    char target[GFSI_CLIENT_ADDRESS_MAX + 64], host[GFS_HOST_NAME_MAX + 1], service[8];
    uint16_t port;
    if (gfs_hosts_target(worker->hosts, worker->address, target, sizeof(target)) < 0 ||
        gfs_hostport_split(target, host, sizeof(host), &port) < 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "the worker's address is not host:port");
    }
    (void)snprintf(service, sizeof(service), "%u", port);

    const struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "%s", gai_strerror(rc));
    }
    const int64_t limit = earlier(deadline, gfs_clock_mono() + CONNECT_NS);
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        rc = connect_to(client, ai, limit, out_fd, err);
        if (rc == 0 || rc == GFS_ECANCELLED) {
            break;
        }
    }
    freeaddrinfo(list);
    return rc;
}

static void conn_free(struct gfsi_conn *conn)
{
    (void)close(conn->fd);
    free(conn);
}

/* An idle connection, or leave to open one (*out NULL), or an error at the deadline. */
static int reserve(struct gfs_client *client, struct gfsi_worker *worker, int64_t deadline,
                   struct gfsi_conn **out, struct gfs_err *err)
{
    const struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S,
                                .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    while (worker->idle == NULL && worker->n_conns >= worker->max_conns) {
        if (gfs_clock_mono() >= deadline) {
            return gfs_err_set(err, GFS_EBUSY, "all %u connections to the worker are in use",
                               worker->max_conns);
        }
        (void)pthread_cond_timedwait(&worker->changed, &worker->mutex, &ts);
    }
    (void)client;
    *out = worker->idle;
    if (worker->idle != NULL) {
        worker->idle = worker->idle->next;
    } else {
        worker->n_conns++;
    }
    return 0;
}

static void unreserve(struct gfsi_worker *worker)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    worker->n_conns--;
    pthread_cond_signal(&worker->changed);
}

int gfsi_worker_ping(struct gfs_client *client, struct gfsi_worker *worker, int64_t deadline)
{
    struct gfsi_conn conn = {.fd = -1};
    int rc = conn_open(client, worker, deadline, &conn.fd, NULL);
    if (rc < 0) {
        return rc;
    }
    const struct gfs_data_header ping = {.magic = GFS_DATA_MAGIC, .type = GFS_DATA_PING, .id = 1};
    struct gfs_data_header pong;
    rc = gfsi_conn_send(client, &conn, &ping, sizeof(ping), deadline, NULL);
    if (rc == 0) {
        rc = gfsi_conn_recv(client, &conn, &pong, sizeof(pong), deadline, NULL);
    }
    (void)close(conn.fd);
    return rc == 0 && pong.magic != GFS_DATA_MAGIC ? GFS_EPROTO : rc;
}

int gfsi_conn_take(struct gfs_client *client, struct gfsi_worker *worker, int64_t deadline,
                   struct gfsi_conn **out, bool *out_reused, struct gfs_err *err)
{
    struct gfsi_conn *conn = NULL;
    int rc = reserve(client, worker, deadline, &conn, err);
    if (rc < 0) {
        return rc;
    }
    const bool reused = conn != NULL;
    if (!reused) {
        conn = calloc(1, sizeof(*conn));
        rc = conn == NULL ? gfs_err_set(err, GFS_ENOMEM, "out of memory")
                          : conn_open(client, worker, deadline, &conn->fd, err);
        if (rc < 0) {
            free(conn);
            unreserve(worker);
            return rc;
        }
        conn->next_id = 1;
    }
    *out = conn;
    *out_reused = reused;
    return 0;
}

void gfsi_conn_give(struct gfsi_worker *worker, struct gfsi_conn *conn, bool usable)
{
    if (!usable) {
        conn_free(conn);
        unreserve(worker);
        return;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    conn->next = worker->idle;
    worker->idle = conn;
    pthread_cond_signal(&worker->changed);
}

void gfsi_conn_drop_idle(struct gfsi_worker *worker)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    while (worker->idle != NULL) {
        struct gfsi_conn *conn = worker->idle;
        worker->idle = conn->next;
        worker->n_conns--;
        conn_free(conn);
    }
    pthread_cond_broadcast(&worker->changed);
}

int gfsi_conn_send(struct gfs_client *client, struct gfsi_conn *conn, const void *data, size_t len,
                   int64_t deadline, struct gfs_err *err)
{
    const char *p = data;
    while (len > 0) {
        const ssize_t n = send(conn->fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            return conn_error(err, errno, "connection to the worker lost");
        }
        const int rc = wait_fd(client, conn->fd, POLLOUT, deadline, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int gfsi_conn_readable(struct gfs_client *client, struct gfsi_conn *conn, int64_t deadline,
                       struct gfs_err *err)
{
    return wait_fd(client, conn->fd, POLLIN, deadline, err);
}

int gfsi_conn_recv(struct gfs_client *client, struct gfsi_conn *conn, void *data, size_t len,
                   int64_t deadline, struct gfs_err *err)
{
    char *p = data;
    while (len > 0) {
        const ssize_t n = recv(conn->fd, p, len, 0);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (n == 0) {
            return gfs_err_set(err, GFS_EUNAVAIL, "the worker closed the connection");
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            return conn_error(err, errno, "connection to the worker lost");
        }
        const int rc = wait_fd(client, conn->fd, POLLIN, deadline, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}
