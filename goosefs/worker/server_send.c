/* Answers. A sender takes a connection from the queue, sends of its first answer what the socket
 * takes, and puts the connection back while there is more: connections take turns. */
#include <endian.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "server_priv.h"

enum sent { SENT_ALL, SENT_SOME, SENT_BROKEN };

void gfsi_response_free(struct gfsi_response *r)
{
    struct gfsi_conn *conn = r->conn;
    struct gfsi_server *server = conn->server;

    gfsi_read_free(r->read);
    free(r->target);
    if (r->fd >= 0) {
        (void)close(r->fd);
    }
    free(r);
    (void)pthread_mutex_lock(&conn->mutex);
    conn->outstanding--;
    if (conn->paused && !conn->dead && conn->outstanding < GFS_DATA_PIPELINE_MAX / 2) {
        (void)pthread_mutex_lock(&server->mutex);
        conn->paused = server->draining;
        (void)pthread_mutex_unlock(&server->mutex);
        conn->kick = !conn->paused;
        gfsi_conn_interest(conn);
    }
    (void)pthread_mutex_unlock(&conn->mutex);
    gfsi_conn_unref(conn);

    /* The last access to the server, which may be freed when nothing is outstanding. */
    (void)pthread_mutex_lock(&server->mutex);
    server->outstanding--;
    if (server->outstanding == 0) {
        (void)pthread_cond_broadcast(&server->idle);
    }
    (void)pthread_mutex_unlock(&server->mutex);
}

void gfsi_response_ready(struct gfsi_response *r)
{
    struct gfsi_conn *conn = r->conn;

    (void)pthread_mutex_lock(&conn->mutex);
    if (conn->dead) {
        (void)pthread_mutex_unlock(&conn->mutex);
        gfsi_response_free(r);
        return;
    }
    if (conn->ready_tail != NULL) {
        conn->ready_tail->next = r;
    } else {
        conn->ready_head = r;
        conn->progress = gfs_clock_mono();
    }
    conn->ready_tail = r;
    if (!conn->sending && !conn->want_write) {
        conn->sending = true;
        gfsi_conn_enqueue(conn);
    }
    (void)pthread_mutex_unlock(&conn->mutex);
}

static void set_error(struct gfsi_response *r, int code, const char *text)
{
    size_t len = strlen(text);

    r->header.status = (int16_t)code;
    r->header.body_len = (uint32_t)len;
    memcpy(r->head + sizeof(r->header), text, len);
    r->n_pieces = 0;
}

static void prepare_read(struct gfsi_response *r)
{
    struct gfs_err err = GFS_ERR_INIT;
    const char *text = "";
    int rc = gfsi_read_result(r->read, &text);

    if (rc < 0) {
        set_error(r, rc, text);
        return;
    }
    rc = gfsi_read_pieces(r->read, r->pieces, &err);
    if (rc < 0) {
        /* The file of a cached extent is gone: forget it, and let the client ask again. */
        gfsi_read_broken(r->read);
        set_error(r, GFS_EABORTED, gfs_err_text(&err, rc));
        return;
    }
    r->n_pieces = rc;
    for (int i = 0; i < r->n_pieces; i++) {
        r->header.body_len += (uint32_t)r->pieces[i].len;
    }
}

static void prepare_open(struct gfsi_response *r)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_data_opened opened;
    int rc = gfsi_store_open_sealed(r->conn->server->store, r->target, &r->fd, &opened, &err);

    if (rc < 0) {
        set_error(r, rc, gfs_err_text(&err, rc));
        return;
    }
    opened.extent_offset = htole64(opened.extent_offset);
    opened.extent_length = htole64(opened.extent_length);
    memcpy(r->head + sizeof(r->header), &opened, sizeof(opened));
    r->header.body_len = sizeof(opened);
}

/* Settles header and body. Here a disk may be touched. */
static void prepare(struct gfsi_response *r)
{
    if (!r->prepared && r->read != NULL) {
        prepare_read(r);
    } else if (!r->prepared && r->target != NULL) {
        prepare_open(r);
    }
    if (r->header.status != 0) {
        gfs_metric_add(r->conn->server->m_errors, 1);
    }
    r->prepared = true;
    r->head_len = sizeof(r->header) + (r->n_pieces > 0 ? 0 : r->header.body_len);

    struct gfs_data_header wire = {
        .magic = htole32(r->header.magic),
        .type = htole16(r->header.type),
        .status = (int16_t)htole16((uint16_t)r->header.status),
        .id = htole64(r->header.id),
        .body_len = htole32(r->header.body_len),
    };

    memcpy(r->head, &wire, sizeof(wire));
}

/* The descriptor travels with the first byte. */
static ssize_t send_head(struct gfsi_response *r)
{
    struct iovec iov = {.iov_base = r->head + r->head_sent, .iov_len = r->head_len - r->head_sent};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (r->fd >= 0 && r->head_sent == 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);

        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &r->fd, sizeof(int));
    }
    return sendmsg(r->conn->fd, &msg,
                   MSG_NOSIGNAL | MSG_DONTWAIT | (r->n_pieces > 0 ? MSG_MORE : 0));
}

/* One system call's worth of the answer: bytes sent, or -1 with errno; 0 when a file ended early.
 */
static ssize_t send_part(struct gfsi_response *r)
{
    if (r->head_sent < r->head_len) {
        ssize_t n = send_head(r);

        r->head_sent += n > 0 ? (size_t)n : 0;
        return n;
    }

    const struct gfsi_piece *p = &r->pieces[r->piece];
    size_t left = p->len - r->piece_sent;
    off_t at = (off_t)(p->offset + r->piece_sent);
    ssize_t n = p->fd >= 0
                    ? sendfile(r->conn->fd, p->fd, &at, left)
                    : send(r->conn->fd, p->data + r->piece_sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0) {
        r->piece_sent += (size_t)n;
        gfs_metric_add(r->conn->server->m_bytes, n);
        if (r->piece_sent == p->len) {
            r->piece++;
            r->piece_sent = 0;
        }
    }
    return n;
}

static enum sent send_response(struct gfsi_response *r)
{
    if (r->head_len == 0) {
        prepare(r);
    }
    while (r->head_sent < r->head_len || r->piece < r->n_pieces) {
        ssize_t n = send_part(r);

        if (n > 0) {
            r->conn->progress = gfs_clock_mono();
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return SENT_SOME;
        }
        if (n == 0 || (errno != EPIPE && errno != ECONNRESET)) {
            gfs_warn("worker", "answer cut off", "errno=%d", n == 0 ? 0 : errno);
            if (r->read != NULL && r->head_sent == r->head_len) {
                gfsi_read_broken(r->read);
            }
        }
        return SENT_BROKEN;
    }
    gfs_metric_observe(r->conn->server->m_seconds, gfs_clock_mono() - r->started);
    return SENT_ALL;
}

/* Sends of the first answer what goes. The connection is this thread's while conn->sending. */
static void serve(struct gfsi_conn *conn)
{
    struct gfsi_response *done = NULL;

    (void)pthread_mutex_lock(&conn->mutex);

    struct gfsi_response *r = conn->dead ? NULL : conn->ready_head;

    (void)pthread_mutex_unlock(&conn->mutex);

    enum sent sent = r != NULL ? send_response(r) : SENT_BROKEN;

    (void)pthread_mutex_lock(&conn->mutex);
    conn->sending = false;
    if (conn->dead || sent == SENT_BROKEN) {
        /* The loop sees the end of the socket and takes the rest away. */
        (void)shutdown(conn->fd, SHUT_RDWR);
        if (conn->dead) {
            done = conn->ready_head; /* the loop left them: this thread was at work */
            conn->ready_head = NULL;
            conn->ready_tail = NULL;
        }
    } else if (sent == SENT_SOME) {
        conn->want_write = true;
        gfsi_conn_interest(conn);
    } else {
        conn->ready_head = r->next;
        if (conn->ready_head == NULL) {
            conn->ready_tail = NULL;
        } else {
            conn->sending = true;
            gfsi_conn_enqueue(conn);
        }
        r->next = NULL;
        done = r;
    }
    (void)pthread_mutex_unlock(&conn->mutex);
    while (done != NULL) {
        struct gfsi_response *next = done->next;

        gfsi_response_free(done);
        done = next;
    }
    gfsi_conn_unref(conn);
}

void *gfsi_sender_main(void *arg)
{
    struct gfsi_server *server = arg;
    sigset_t pipe;

    /* sendfile has no MSG_NOSIGNAL. */
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    for (;;) {
        (void)pthread_mutex_lock(&server->mutex);
        while (server->queue_head == NULL && !server->queue_closed) {
            (void)pthread_cond_wait(&server->queue_filled, &server->mutex);
        }

        struct gfsi_conn *conn = server->queue_head;

        if (conn != NULL) {
            server->queue_head = conn->queue_next;
            if (server->queue_head == NULL) {
                server->queue_tail = NULL;
            }
            conn->queue_next = NULL;
        }
        (void)pthread_mutex_unlock(&server->mutex);
        if (conn == NULL) {
            return NULL;
        }
        serve(conn);
    }
}
