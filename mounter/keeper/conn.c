/* Connections: accepted, read one request at a time, answered. */
#include "keeper_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>

#define FDS_PER_MESSAGE 4

static void conn_ready(struct gfsi_source *source, uint32_t events);

void gfsi_conn_free(struct gfsi_conn *c)
{
    if (c == NULL) {
        return;
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    free(c);
}

/* The connection ends; what it asked for goes on. */
static void conn_remove(struct gfsi_conn *c)
{
    if (c->removed) {
        return;
    }
    c->removed = true;
    c->waits_for = NULL;
    gfsi_keeper_unwatch(c->keeper, c->fd);
}

static bool peer_allowed(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == 0 || cred.uid == geteuid());
}

void gfsi_conn_accept(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_keeper *k = source->owner;
    int fd gfs_auto_fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct gfsi_conn *c;

    (void)events;
    if (fd < 0) {
        return;
    }
    if (k->n_conns >= GFSI_CONNS_MAX || !peer_allowed(fd)) {
        gfs_warn("keeper", "connection refused", "connections=%zu", k->n_conns);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return;
    }
    *c = (struct gfsi_conn){
        .keeper = k,
        .source = {.ready = conn_ready, .owner = c},
        .fd = GFS_TAKE_FD(fd),
    };
    if (gfsi_keeper_watch(k, c->fd, EPOLLIN, &c->source, NULL) != 0) {
        gfsi_conn_free(c);
        return;
    }
    c->next = k->conns;
    k->conns = c;
    k->n_conns++;
}

void gfsi_conn_send(struct gfsi_conn *c, const int *fds, size_t n_fds)
{
    struct gfs_buf *out = &c->keeper->out;
    struct iovec iov;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
    } control = {.space = {0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (gfs_keeper_msg_end(out) != 0) {
        conn_remove(c);
        return;
    }
    iov = (struct iovec){.iov_base = out->data, .iov_len = out->len};
    if (n_fds > 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
    }
    /* One request in progress per connection: a reply always has room, or the peer is gone. */
    if (sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        conn_remove(c);
    }
}

void gfsi_conn_reply(struct gfsi_conn *c, int status, const char *text)
{
    gfs_keeper_msg_begin(&c->keeper->out, c->type | GFS_KEEPER_REPLY, c->seq);
    gfs_keeper_msg_put_status(&c->keeper->out, status, text);
    gfsi_conn_send(c, NULL, 0);
}

void gfsi_conn_wait(struct gfsi_conn *c, struct gfsi_held *h)
{
    c->waits_for = h;
    gfsi_keeper_rewatch(c->keeper, c->fd, h != NULL ? 0 : EPOLLIN, &c->source);
}

void gfsi_conn_answer(struct gfsi_keeper *k, const struct gfsi_held *h, unsigned types, int status,
                      const char *text)
{
    struct gfsi_conn *c;

    for (c = k->conns; c != NULL; c = c->next) {
        if (c->waits_for != h || (types & 1u << c->type) == 0) {
            continue;
        }
        gfsi_conn_wait(c, NULL);
        if (status == 0 && (c->type == GFS_KEEPER_MOUNT || c->type == GFS_KEEPER_RESTART)) {
            gfsi_request_reply_info(c, h, NULL, 0);
            continue;
        }
        gfsi_conn_reply(c, status, text);
    }
}

int gfsi_conn_take_fd(struct msghdr *msg)
{
    struct cmsghdr *cmsg;
    int kept = -1;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t n;
        size_t i;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (kept >= 0) {
                (void)close(fd);
                continue;
            }
            kept = fd;
        }
    }
    return kept;
}

static void conn_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_conn *c = source->owner;
    struct gfsi_keeper *k = c->keeper;
    struct iovec iov = {.iov_base = k->in, .iov_len = GFS_KEEPER_MSG_MAX};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct gfs_err err = GFS_ERR_INIT;
    ssize_t n;
    int fd;
    int rc;

    if (c->removed) {
        return;
    }
    if (c->waits_for != NULL) {
        if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
            conn_remove(c);
        }
        return;
    }
    n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        conn_remove(c);
        return;
    }
    fd = gfsi_conn_take_fd(&msg);
    rc = (msg.msg_flags & MSG_TRUNC) != 0 ? gfs_err_set(&err, GFS_EPROTO, "message is too long")
                                          : gfs_keeper_msg_decode(k->in, (size_t)n, k->msg, &err);
    if (rc == 0) {
        c->type = k->msg->type;
        c->seq = k->msg->seq;
        gfsi_request_serve(c, fd);
        return;
    }

    /* Who does not speak the protocol is told once and cut off. */
    if (fd >= 0) {
        (void)close(fd);
    }
    c->type = rc == GFS_EUNSUPPORTED ? k->msg->type : 0;
    c->seq = rc == GFS_EUNSUPPORTED ? k->msg->seq : 0;
    gfs_warn("keeper", "bad message", "error=%s", GFS_Q(err.text));
    gfsi_conn_reply(c, rc, err.text);
    conn_remove(c);
}
