#include <gfs/mounter/keeper_client.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define FDS_MAX 2

struct gfs_keeper_client {
    int fd;
    uint32_t seq;
    struct gfs_buf out;
    struct gfs_keeper_msg reply; /* texts point into `in` */
    int n_fds;
    int fds[FDS_MAX]; /* that came with the reply, until taken */
    char in[GFS_KEEPER_MSG_MAX];
};

static void close_fds(struct gfs_keeper_client *c)
{
    while (c->n_fds > 0) {
        (void)close(c->fds[--c->n_fds]);
    }
}

struct gfs_keeper_client *gfs_keeper_client_free(struct gfs_keeper_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    close_fds(client);
    gfs_buf_fini(&client->out);
    if (client->fd >= 0) {
        (void)close(client->fd);
    }
    free(client);
    return NULL;
}

/* Waits until the socket is ready for `events`. */
static int wait_ready(int fd, short events, int64_t deadline, struct gfs_err *err)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline - gfs_clock_mono();
        struct timespec ts;
        int n;

        if (left < 0) {
            left = 0;
        }
        ts = (struct timespec){.tv_sec = left / GFS_NS_PER_S, .tv_nsec = left % GFS_NS_PER_S};
        n = ppoll(&p, 1, &ts, NULL);
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return gfs_err_set(err, GFS_ETIMEOUT, "no answer from the keeper in time");
        }
        if (errno != EINTR) {
            return gfs_err_set_errno(err, errno, "poll on the keeper's socket");
        }
    }
}

static int send_request(struct gfs_keeper_client *c, int pass_fd, int64_t deadline,
                        struct gfs_err *err)
{
    struct iovec iov = {.iov_base = c->out.data, .iov_len = c->out.len};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (pass_fd >= 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &pass_fd, sizeof(int));
    }
    for (;;) {
        int rc;

        if (sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            return 0;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            return gfs_err_set(err, GFS_EUNAVAIL, "keeper is gone: %s", strerror(errno));
        }
        rc = wait_ready(c->fd, POLLOUT, deadline, err);
        if (rc != 0) {
            return rc;
        }
    }
}

static void keep_fds(struct gfs_keeper_client *c, struct msghdr *msg)
{
    struct cmsghdr *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t i;
        size_t n;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (c->n_fds == FDS_MAX) {
                (void)close(fd);
                continue;
            }
            c->fds[c->n_fds++] = fd;
        }
    }
}

/* One packet into c->in; its length, or an error. */
static ssize_t receive_packet(struct gfs_keeper_client *c, int64_t deadline, struct gfs_err *err)
{
    struct iovec iov = {.iov_base = c->in, .iov_len = sizeof(c->in)};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    int rc = wait_ready(c->fd, POLLIN, deadline, err);
    ssize_t n;

    if (rc != 0) {
        return rc;
    }
    n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "keeper closed the connection");
    }
    close_fds(c);
    keep_fds(c, &msg);
    if ((msg.msg_flags & MSG_TRUNC) != 0) {
        return gfs_err_set(err, GFS_EPROTO, "keeper sent an oversized message");
    }
    return n;
}

/* Sends c->out and waits for the reply with its sequence number; replies to calls given up before
 * are dropped. Returns the reply's status. */
static int call(struct gfs_keeper_client *c, int pass_fd, int64_t deadline, struct gfs_err *err)
{
    uint16_t type;
    int rc = gfs_keeper_msg_end(&c->out);

    if (rc != 0) {
        return gfs_err_set(err, GFS_EINVAL, "request to the keeper is too long");
    }
    type = (uint16_t)((unsigned char)c->out.data[6] | (unsigned char)c->out.data[7] << 8);
    rc = send_request(c, pass_fd, deadline, err);
    if (rc != 0) {
        return rc;
    }
    for (;;) {
        ssize_t n = receive_packet(c, deadline, err);

        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            continue;
        }
        rc = gfs_keeper_msg_decode(c->in, (size_t)n, &c->reply, err);
        if (rc != 0) {
            return rc;
        }
        if (c->reply.seq == c->seq && c->reply.type == (type | GFS_KEEPER_REPLY)) {
            break;
        }
    }
    if (c->reply.status >= 0) {
        return 0;
    }
    return gfs_err_set(err, c->reply.status, "%s",
                       c->reply.text[0] != '\0' ? c->reply.text : gfs_err_string(c->reply.status));
}

static struct gfs_buf *begin(struct gfs_keeper_client *c, enum gfs_keeper_type type)
{
    gfs_keeper_msg_begin(&c->out, (uint16_t)type, ++c->seq);
    return &c->out;
}

static int take_info(const struct gfs_keeper_client *c, struct gfs_keeper_info *out,
                     struct gfs_err *err)
{
    if (c->reply.n_infos != 1) {
        return gfs_err_set(err, GFS_EPROTO, "keeper's reply has %zu records, not 1",
                           c->reply.n_infos);
    }
    if (out != NULL) {
        *out = c->reply.infos[0];
    }
    return 0;
}

int gfs_keeper_client_connect(const char *socket_path, int64_t deadline,
                              struct gfs_keeper_client **out, struct gfs_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct gfs_keeper_client *c;
    int rc;

    if (gfs_str_copy(address.sun_path, sizeof(address.sun_path), socket_path) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "keeper socket path is longer than %zu bytes",
                           sizeof(address.sun_path) - 1);
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "keeper client");
    }
    gfs_buf_init(&c->out, GFS_KEEPER_MSG_MAX);
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        rc = gfs_err_set_errno(err, errno, "keeper socket");
        goto fail;
    }
    if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        rc = gfs_err_set(err, errno == EACCES ? GFS_EPERM : GFS_EUNAVAIL, "no keeper at %s: %s",
                         socket_path, strerror(errno));
        goto fail;
    }

    gfs_keeper_msg_put_version(begin(c, GFS_KEEPER_HELLO), GFS_KEEPER_VERSION);
    rc = call(c, -1, deadline, err);
    if (rc != 0) {
        goto fail;
    }
    *out = c;
    return 0;

fail:
    (void)gfs_keeper_client_free(c);
    return rc;
}

int gfs_keeper_client_mount(struct gfs_keeper_client *client, const struct gfs_keeper_spec *spec,
                            int log_fd, int64_t deadline, struct gfs_keeper_info *out_info,
                            struct gfs_err *err)
{
    int rc = gfs_keeper_spec_check(spec, err);

    if (rc != 0) {
        return rc;
    }
    gfs_keeper_msg_put_spec(begin(client, GFS_KEEPER_MOUNT), spec);
    rc = call(client, log_fd, deadline, err);
    return rc != 0 ? rc : take_info(client, out_info, err);
}

int gfs_keeper_client_unmount(struct gfs_keeper_client *client, const char *id, uint32_t flags,
                              int64_t deadline, struct gfs_err *err)
{
    struct gfs_buf *out = begin(client, GFS_KEEPER_UNMOUNT);

    gfs_keeper_msg_put_id(out, id);
    gfs_keeper_msg_put_flags(out, flags);
    return call(client, -1, deadline, err);
}

int gfs_keeper_client_stat(struct gfs_keeper_client *client, const char *id, int64_t deadline,
                           struct gfs_keeper_info *out_info, struct gfs_err *err)
{
    int rc;

    gfs_keeper_msg_put_id(begin(client, GFS_KEEPER_STAT), id);
    rc = call(client, -1, deadline, err);
    return rc != 0 ? rc : take_info(client, out_info, err);
}

int gfs_keeper_client_list(struct gfs_keeper_client *client, int64_t deadline,
                           gfs_keeper_each_fn each, void *arg, struct gfs_err *err)
{
    char after[GFS_KEEPER_ID_MAX + 1] = "";

    for (;;) {
        size_t i;
        int rc;

        gfs_keeper_msg_put_id(begin(client, GFS_KEEPER_LIST), after);
        rc = call(client, -1, deadline, err);
        if (rc != 0) {
            return rc;
        }
        for (i = 0; i < client->reply.n_infos; i++) {
            if (!each(arg, &client->reply.infos[i])) {
                return 0;
            }
        }
        if (!client->reply.more) {
            return 0;
        }
        if (client->reply.n_infos == 0 ||
            strcmp(client->reply.infos[client->reply.n_infos - 1].id, after) <= 0) {
            return gfs_err_set(err, GFS_EPROTO, "keeper's list does not go on");
        }
        rc = gfs_str_copy(after, sizeof(after), client->reply.infos[client->reply.n_infos - 1].id);
        if (rc != 0) {
            return gfs_err_set(err, GFS_EPROTO, "keeper's list has an overlong id");
        }
    }
}

int gfs_keeper_client_restart(struct gfs_keeper_client *client, const char *id,
                              const char *const *argv, int64_t deadline,
                              struct gfs_keeper_info *out_info, struct gfs_err *err)
{
    struct gfs_buf *out = begin(client, GFS_KEEPER_RESTART);
    int rc;

    gfs_keeper_msg_put_id(out, id);
    gfs_keeper_msg_put_argv(out, argv);
    rc = call(client, -1, deadline, err);
    return rc != 0 ? rc : take_info(client, out_info, err);
}

int gfs_keeper_client_collect(struct gfs_keeper_client *client, const char *id, int64_t deadline,
                              int *out_fuse_fd, int *out_session_fd, struct gfs_err *err)
{
    int rc;

    gfs_keeper_msg_put_id(begin(client, GFS_KEEPER_COLLECT), id);
    rc = call(client, -1, deadline, err);
    if (rc != 0) {
        return rc;
    }
    if (client->n_fds != 2) {
        return gfs_err_set(err, GFS_EPROTO, "keeper passed %d descriptors, not 2", client->n_fds);
    }
    *out_fuse_fd = client->fds[0];
    *out_session_fd = client->fds[1];
    client->n_fds = 0;
    return 0;
}
