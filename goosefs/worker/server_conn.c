/* Connections of the data server: their references, and how they enter and leave the loop. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#include "server_priv.h"

void gfsi_conn_unref(struct gfsi_conn *conn)
{
    struct gfsi_server *server = conn->server;

    (void)pthread_mutex_lock(&server->mutex);

    bool last = --conn->refs == 0;

    (void)pthread_mutex_unlock(&server->mutex);
    if (last) {
        (void)close(conn->fd);
        (void)pthread_mutex_destroy(&conn->mutex);
        free(conn->in);
        free(conn);
    }
}

void gfsi_conn_interest(struct gfsi_conn *conn)
{
    struct epoll_event event = {.data.ptr = conn};

    if (conn->dead) {
        return;
    }
    event.events = (conn->paused ? 0U : (uint32_t)EPOLLIN) |
                   (conn->want_write || conn->kick ? (uint32_t)EPOLLOUT : 0U);
    (void)epoll_ctl(conn->server->epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

void gfsi_conn_enqueue(struct gfsi_conn *conn)
{
    struct gfsi_server *server = conn->server;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);

    (void)guard;
    conn->refs++;
    if (server->queue_tail != NULL) {
        server->queue_tail->queue_next = conn;
    } else {
        server->queue_head = conn;
    }
    server->queue_tail = conn;
    (void)pthread_cond_signal(&server->queue_filled);
}

/* Loop thread: out of the loop, its unsent answers dropped (by the sender, when one is at work). */
void gfsi_conn_remove(struct gfsi_conn *conn)
{
    struct gfsi_server *server = conn->server;
    struct gfsi_response *drop = NULL;

    (void)pthread_mutex_lock(&conn->mutex);
    conn->dead = true;
    (void)epoll_ctl(server->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
    (void)shutdown(conn->fd, SHUT_RDWR);
    if (!conn->sending) {
        drop = conn->ready_head;
        conn->ready_head = NULL;
        conn->ready_tail = NULL;
    }
    (void)pthread_mutex_unlock(&conn->mutex);
    while (drop != NULL) {
        struct gfsi_response *next = drop->next;

        gfsi_response_free(drop);
        drop = next;
    }
    (void)pthread_mutex_lock(&server->mutex);
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        server->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    server->n_conns--;
    gfs_metric_set(server->m_connections, server->n_conns);
    (void)pthread_mutex_unlock(&server->mutex);
    gfsi_conn_unref(conn);
}

struct gfsi_conn *gfsi_conn_new(struct gfsi_server *server, int fd, bool local)
{
    struct gfsi_conn *conn = calloc(1, sizeof(*conn));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};

    if (conn == NULL || (conn->in = malloc(GFSI_FRAME_MAX)) == NULL ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(conn != NULL ? conn->in : NULL);
        free(conn);
        return NULL;
    }
    conn->server = server;
    conn->fd = fd;
    conn->local = local;
    conn->refs = 1;
    (void)pthread_mutex_init(&conn->mutex, NULL);

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&server->mutex);

    (void)guard;
    conn->next = server->conns;
    if (server->conns != NULL) {
        server->conns->prev = conn;
    }
    server->conns = conn;
    server->n_conns++;
    gfs_metric_set(server->m_connections, server->n_conns);
    return conn;
}
