#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "server_priv.h"

#define TICK_MS 1000

/* ---- the loop ------------------------------------------------------------------------------- */

/* One connection per event: the level-triggered listener comes again. */
static void accept_one(struct gfsi_server *server, int listener)
{
    int on = 1;
    int fd gfs_auto_fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* Out of descriptors: rest until the next tick instead of spinning. */
            struct epoll_event none = {.events = 0};

            none.data.ptr =
                listener == server->tcp ? (void *)&server->tcp : (void *)&server->unix_fd;
            (void)epoll_ctl(server->epoll, EPOLL_CTL_MOD, listener, &none);
        }
        return;
    }
    if (server->n_conns >= server->connections_max) {
        gfs_metric_add(server->m_refused, 1);
        return;
    }
    if (listener == server->tcp) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (gfsi_conn_new(server, fd, listener == server->unix_fd) != NULL) {
        (void)GFS_TAKE_FD(fd);
    }
}

static int read_socket(struct gfsi_conn *conn)
{
    while (conn->in_len < GFSI_FRAME_MAX) {
        ssize_t n = recv(conn->fd, conn->in + conn->in_len, GFSI_FRAME_MAX - conn->in_len, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return 0;
        }
        if (n <= 0) {
            return GFS_EUNAVAIL;
        }
        conn->in_len += (size_t)n;

        int rc = gfsi_conn_parse(conn);

        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
    }
    return 0;
}

static int on_writable(struct gfsi_conn *conn)
{
    (void)pthread_mutex_lock(&conn->mutex);

    bool kicked = conn->kick;

    conn->kick = false;
    conn->want_write = false;
    gfsi_conn_interest(conn);
    if (conn->ready_head != NULL && !conn->sending) {
        conn->sending = true;
        gfsi_conn_enqueue(conn);
    }
    (void)pthread_mutex_unlock(&conn->mutex);

    int rc = kicked ? gfsi_conn_parse(conn) : 0;

    return rc < 0 ? rc : 0;
}

static void on_conn_event(struct gfsi_conn *conn, uint32_t events)
{
    int rc = (events & (EPOLLERR | EPOLLHUP)) != 0 ? GFS_EUNAVAIL : 0;

    if (rc == 0 && (events & EPOLLOUT) != 0) {
        rc = on_writable(conn);
    }
    if (rc == 0 && (events & EPOLLIN) != 0) {
        rc = read_socket(conn);
    }
    if (rc < 0) {
        if (rc != GFS_EUNAVAIL) {
            gfs_metric_add(conn->server->m_broken, 1);
            gfs_debug("worker", "connection breaks the data protocol", "error=%s",
                      gfs_err_name(rc));
        }
        gfsi_conn_remove(conn);
    }
}

/* Listeners rest no longer; clients that take nothing are cut off. */
static void tick(struct gfsi_server *server)
{
    struct epoll_event tcp = {.events = EPOLLIN, .data.ptr = &server->tcp};
    struct epoll_event local = {.events = EPOLLIN, .data.ptr = &server->unix_fd};
    int64_t now = gfs_clock_mono();

    if (server->tcp >= 0) {
        (void)epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->tcp, &tcp);
    }
    if (server->unix_fd >= 0) {
        (void)epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->unix_fd, &local);
    }
    for (struct gfsi_conn *conn = server->conns, *next = NULL; conn != NULL; conn = next) {
        next = conn->next;
        (void)pthread_mutex_lock(&conn->mutex);

        bool stalled = conn->want_write && now - conn->progress > server->stall_ns;

        (void)pthread_mutex_unlock(&conn->mutex);
        if (stalled) {
            gfs_warn("worker", "client takes no bytes, cut off", "seconds=%lld",
                     (long long)((now - conn->progress) / GFS_NS_PER_S));
            gfsi_conn_remove(conn);
        }
    }
}

static void close_listeners(struct gfsi_server *server)
{
    if (server->tcp >= 0) {
        (void)close(server->tcp);
        server->tcp = -1;
    }
    if (server->unix_fd >= 0) {
        (void)close(server->unix_fd);
        (void)unlink(server->local_socket);
        server->unix_fd = -1;
    }
}

static void *loop_main(void *arg)
{
    struct gfsi_server *server = arg;
    int64_t next_tick = gfs_clock_mono() + TICK_MS * GFS_NS_PER_MS;

    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(server->epoll, events, 64, TICK_MS);

        (void)pthread_mutex_lock(&server->mutex);

        bool draining = server->draining;
        bool stopping = server->stopping;

        (void)pthread_mutex_unlock(&server->mutex);
        if (draining) {
            close_listeners(server);
        }
        if (stopping) {
            break;
        }

        /* An event of a connection that an earlier one of the batch removed cannot be here: only a
         * connection's own event, or the tick behind the batch, removes it. */
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;

            if (what == &server->wake) {
                uint64_t count = 0;

                (void)!read(server->wake, &count, sizeof(count));
            } else if (what == &server->tcp || what == &server->unix_fd) {
                int listener = *(int *)what;

                if (listener >= 0) {
                    accept_one(server, listener);
                }
            } else {
                on_conn_event(what, events[i].events);
            }
        }
        if (gfs_clock_mono() >= next_tick) {
            tick(server);
            next_tick = gfs_clock_mono() + TICK_MS * GFS_NS_PER_MS;
        }
    }
    close_listeners(server);
    while (server->conns != NULL) {
        gfsi_conn_remove(server->conns);
    }
    return NULL;
}

/* ---- start and stop ------------------------------------------------------------------------- */

static int add_fd(struct gfsi_server *server, int fd, void *tag, struct gfs_err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

    if (fd >= 0 && epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        return gfs_err_set_errno(err, errno, "epoll");
    }
    return 0;
}

static void make_metrics(struct gfsi_server *server, struct gfs_metrics *m)
{
    static const char *const types[] = {NULL, "ping", "read", "open", "load"};

    if (m == NULL) {
        return;
    }
    server->m_connections = gfs_metrics_get(m, GFS_METRIC_GAUGE, "goosefs_worker_connections", "",
                                            "Data connections open");
    server->m_refused =
        gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_worker_connections_refused_total", "",
                        "Data connections closed at once, over the limit");
    server->m_broken =
        gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_worker_protocol_errors_total", "",
                        "Data connections ended for a frame that breaks the protocol");
    server->m_errors = gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_worker_request_errors_total",
                                       "", "Data requests answered with an error");
    server->m_bytes = gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_worker_sent_bytes_total", "",
                                      "Bytes of files sent to clients");
    server->m_seconds = gfs_metrics_get(m, GFS_METRIC_HISTOGRAM, "goosefs_worker_request_seconds",
                                        "", "Time from a request to the last byte of its answer");
    for (int i = GFS_DATA_PING; i <= GFS_DATA_LOAD; i++) {
        char labels[32];

        (void)snprintf(labels, sizeof(labels), "type=\"%s\"", types[i]);
        server->m_requests[i] = gfs_metrics_get(
            m, GFS_METRIC_COUNTER, "goosefs_worker_requests_total", labels, "Data requests");
    }
}

static int start(struct gfsi_server *server, const struct gfsi_server_config *config,
                 struct gfs_err *err)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll < 0 || server->wake < 0) {
        return gfs_err_set_errno(err, errno, "epoll");
    }

    int rc = gfsi_server_listen_tcp(server, config->address, err);

    if (rc == 0) {
        rc = gfsi_server_listen_local(server, config->local_socket, config->local_group, err);
    }
    if (rc == 0) {
        rc = add_fd(server, server->tcp, &server->tcp, err);
    }
    if (rc == 0) {
        rc = add_fd(server, server->unix_fd, &server->unix_fd, err);
    }
    if (rc == 0) {
        rc = add_fd(server, server->wake, &server->wake, err);
    }
    if (rc < 0) {
        return rc;
    }
    while (server->n_senders < config->send_threads && server->n_senders < 64) {
        if (pthread_create(&server->senders[server->n_senders], NULL, gfsi_sender_main, server)) {
            return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
        }
        server->n_senders++;
    }
    if (pthread_create(&server->loop_thread, NULL, loop_main, server) != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }
    server->loop_started = true;
    return 0;
}

int gfsi_server_start(const struct gfsi_server_config *config, struct gfsi_server **out,
                      struct gfs_err *err)
{
    struct gfsi_server *server = calloc(1, sizeof(*server));
    pthread_condattr_t attr;

    if (server == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    server->store = config->store;
    server->connections_max = config->connections_max;
    server->stall_ns = config->stall_ns;
    server->epoll = server->tcp = server->unix_fd = server->wake = -1;
    (void)pthread_mutex_init(&server->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&server->queue_filled, &attr);
    (void)pthread_cond_init(&server->idle, &attr);
    (void)pthread_condattr_destroy(&attr);
    make_metrics(server, config->metrics);

    int rc = start(server, config, err);

    if (rc < 0) {
        gfsi_server_stop(server);
        return rc;
    }
    *out = server;
    return 0;
}

uint16_t gfsi_server_port(const struct gfsi_server *server)
{
    return server->port;
}

unsigned gfsi_server_connections(struct gfsi_server *server)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);

    (void)guard;
    return server->n_conns;
}

static void wake_loop(struct gfsi_server *server)
{
    uint64_t one = 1;

    (void)!write(server->wake, &one, sizeof(one));
}

void gfsi_server_drain(struct gfsi_server *server, int64_t deadline)
{
    struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);

    (void)guard;
    server->draining = true;
    wake_loop(server);
    while (server->outstanding > 0 &&
           pthread_cond_timedwait(&server->idle, &server->mutex, &until) != ETIMEDOUT) {
    }
}

struct gfsi_server *gfsi_server_stop(struct gfsi_server *server)
{
    if (server == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&server->mutex);
    server->draining = true;
    server->stopping = true;
    if (server->wake >= 0) {
        wake_loop(server);
    }
    (void)pthread_mutex_unlock(&server->mutex);
    if (server->loop_started) {
        (void)pthread_join(server->loop_thread, NULL);
    }

    /* Only now every connection is dead and none is put into the queue any more. */
    (void)pthread_mutex_lock(&server->mutex);
    server->queue_closed = true;
    (void)pthread_cond_broadcast(&server->queue_filled);
    (void)pthread_mutex_unlock(&server->mutex);

    /* Senders leave when the queue is empty; reads still at the origin answer to dead connections.
     */
    for (unsigned i = 0; i < server->n_senders; i++) {
        (void)pthread_join(server->senders[i], NULL);
    }
    (void)pthread_mutex_lock(&server->mutex);
    while (server->outstanding > 0) {
        (void)pthread_cond_wait(&server->idle, &server->mutex);
    }
    (void)pthread_mutex_unlock(&server->mutex);
    close_listeners(server);
    if (server->epoll >= 0) {
        (void)close(server->epoll);
    }
    if (server->wake >= 0) {
        (void)close(server->wake);
    }
    (void)pthread_cond_destroy(&server->queue_filled);
    (void)pthread_cond_destroy(&server->idle);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
    return NULL;
}
