/* A local worker's descriptor of a complete extent. The worker is asked over its unix socket, on a
 * connection of its own: opens are rare beside reads, and nothing is left over when one goes wrong.
 * What comes is checked before anybody reads it: the kernel may serve it to applications alone. */
#include "file_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define ASK_NS   (1 * GFS_NS_PER_S)
#define LEAVE_NS (5 * GFS_NS_PER_S) /* a worker that hangs or talks nonsense is not asked again */
#define ASK_ID   1

#define ASKED_MAX     3  /* workers on this machine that are asked for one extent */
#define LOOKED_AT_MAX 64 /* ... among so many behind those it is placed on */

#define FDS_MAX 4 /* more than the one that may come are received, to be closed and refused */

static bool is_left_alone(struct gfsi_worker *worker)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    return worker->local_until > gfs_clock_mono();
}

static void leave_alone(struct gfsi_worker *worker)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&worker->mutex);
    worker->local_until = gfs_clock_mono() + LEAVE_NS;
}

static int connect_local(const char *path, int *out_fd, struct gfs_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strnlen(path, sizeof(addr.sun_path) - 1));

    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot create a socket");
    }
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
        const bool absent =
            errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM;
        const int code = absent ? GFS_EUNSUPPORTED : GFS_EUNAVAIL;
        (void)gfs_err_set_errno(err, errno, "cannot connect to %s", path);
        if (err != NULL) {
            err->code = code;
        }
        return code;
    }
    *out_fd = GFS_TAKE_FD(fd);
    return 0;
}

/* The one descriptor of a message, or -1; more than one, or one too many for the buffer: all are
 * closed and it is GFS_EPROTO. */
static int take_fd(struct msghdr *msg, int *out_fd)
{
    int fds[FDS_MAX];
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && n < FDS_MAX; i++) {
            memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        }
    }
    if (n > 1 || (msg->msg_flags & MSG_CTRUNC) != 0) {
        for (size_t i = 0; i < n; i++) {
            (void)close(fds[i]);
        }
        return GFS_EPROTO;
    }
    *out_fd = n == 1 ? fds[0] : -1;
    return 0;
}

/* The answer's header, and the descriptor that travels with its first byte. */
static int recv_header(struct gfs_client *client, struct gfsi_conn *conn,
                       struct gfs_data_header *header, int *out_fd, int64_t deadline,
                       struct gfs_err *err)
{
    struct iovec iov = {.iov_base = header, .iov_len = sizeof(*header)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control = {.bytes = {0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = -1;
    do {
        const int rc = gfsi_conn_readable(client, conn, deadline, err);
        if (rc < 0) {
            return rc;
        }
        n = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n <= 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "the worker closed the connection");
    }

    int fd gfs_auto_fd = -1;
    if (take_fd(&msg, &fd) < 0) {
        return gfs_err_set(err, GFS_EPROTO, "the worker sent more than one descriptor");
    }
    const int rc = gfsi_conn_recv(client, conn, (char *)header + n, sizeof(*header) - (size_t)n,
                                  deadline, err);
    if (rc == 0) {
        *out_fd = GFS_TAKE_FD(fd);
    }
    return rc;
}

static int check_fd(int fd, uint64_t length, struct gfs_err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return gfs_err_set_errno(err, errno, "cannot look at the worker's descriptor");
    }
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH) != 0 ||
        !S_ISREG(st.st_mode) || (uint64_t)st.st_size != length) {
        return gfs_err_set(err, GFS_EPROTO,
                           "the worker's descriptor is not the extent's file, read-only");
    }
    return 0;
}

/* One request and its answer. */
static int ask(const struct gfs_client_file *file, struct gfsi_conn *conn, uint64_t extent,
               uint64_t length, bool fill, int64_t deadline, int *out_fd, struct gfs_err *err)
{
    struct gfs_client *client = file->client;
    const struct gfsi_chunk chunk = {.offset = extent * GFS_EXTENT_SIZE, .length = fill ? 0 : 1};
    struct gfs_buf out gfs_auto_buf;
    gfs_buf_init(&out, sizeof(struct gfs_data_header) + GFS_DATA_BODY_MAX);
    gfsi_request_put(&out, file, GFS_DATA_OPEN, ASK_ID, &chunk);
    if (out.error < 0) {
        return gfs_err_set(err, out.error, "out of memory");
    }
    int rc = gfsi_conn_send(client, conn, out.data, out.len, deadline, err);
    if (rc < 0) {
        return rc;
    }

    struct gfs_data_header header;
    int fd gfs_auto_fd = -1;
    rc = recv_header(client, conn, &header, &fd, deadline, err);
    if (rc < 0) {
        return rc;
    }
    struct gfs_data_opened opened;
    const bool failed = header.status < 0;
    if (header.magic != GFS_DATA_MAGIC || header.type != GFS_DATA_OPEN || header.id != ASK_ID ||
        header.status > 0 || (fd >= 0) == failed ||
        (!failed && header.body_len != sizeof(opened))) {
        return gfs_err_set(err, GFS_EPROTO, "the worker's answer breaks the data protocol");
    }
    if (failed) {
        int broken = 0;
        return gfsi_request_failure(client, conn, &header, deadline, &broken, err);
    }
    rc = gfsi_conn_recv(client, conn, &opened, sizeof(opened), deadline, err);
    if (rc < 0) {
        return rc;
    }
    if (opened.extent_offset != chunk.offset || opened.extent_length != length) {
        return gfs_err_set(err, GFS_EPROTO, "the worker opened another extent");
    }
    rc = check_fd(fd, length, err);
    if (rc == 0) {
        *out_fd = GFS_TAKE_FD(fd);
    }
    return rc;
}

static int ask_worker(const struct gfs_client_file *file, struct gfsi_worker *worker,
                      uint64_t extent, uint64_t length, bool fill, int64_t deadline, int *out_fd,
                      struct gfs_err *err)
{
    if (worker->local_socket[0] == '\0') {
        return gfs_err_set(err, GFS_EUNSUPPORTED, "the extent's worker has no local socket");
    }
    if (is_left_alone(worker)) {
        return gfs_err_set(err, GFS_EUNAVAIL, "the worker failed to answer a moment ago");
    }
    struct gfsi_conn conn = {.fd = -1};
    int rc = connect_local(worker->local_socket, &conn.fd, err);
    if (rc < 0) {
        return rc;
    }
    rc = ask(file, &conn, extent, length, fill, deadline, out_fd, err);
    (void)close(conn.fd);
    if (rc == GFS_ETIMEOUT || rc == GFS_EPROTO) {
        leave_alone(worker);
    }
    return rc;
}

/* Has an earlier one of the order the same socket? (Every node of a cluster may call its own so.)
 */
static bool asked_before(const struct gfsi_workers *workers, struct gfsi_worker *const *order,
                         size_t n, size_t at)
{
    const struct gfsi_worker *worker = at < n ? order[at] : workers->list[at - n];
    for (size_t i = 0; i < at; i++) {
        const struct gfsi_worker *other = i < n ? order[i] : workers->list[i - n];
        if (strcmp(other->local_socket, worker->local_socket) == 0) {
            return true;
        }
    }
    return false;
}

/* The extent's worker first, then whoever is on this machine: it may have read the extent through
 * while the other was away. Only the first one is to fill. */
static int ask_local(const struct gfs_client_file *file, const struct gfsi_workers *workers,
                     uint64_t extent, uint64_t length, bool fill, int64_t deadline, int *out_fd,
                     struct gfs_err *err)
{
    struct gfsi_worker *order[GFSI_CANDIDATES_MAX];
    const size_t n = gfsi_file_candidates(workers, file->inode_id, extent, order);
    const size_t all = n + (workers->n < LOOKED_AT_MAX ? workers->n : LOOKED_AT_MAX);
    int rc = gfs_err_set(err, GFS_EUNSUPPORTED, "no worker has a local socket");
    size_t asked = 0;
    for (size_t i = 0; i < all && asked < ASKED_MAX; i++) {
        struct gfsi_worker *worker = i < n ? order[i] : workers->list[i - n];
        struct gfs_err one = GFS_ERR_INIT;
        if (worker->local_socket[0] == '\0' || asked_before(workers, order, n, i)) {
            continue;
        }
        const int now =
            ask_worker(file, worker, extent, length, fill && asked == 0, deadline, out_fd, &one);
        if (now == 0) {
            return 0;
        }
        /* The first answer counts; "no such socket here" is none. */
        if (rc == GFS_EUNSUPPORTED) {
            rc = gfs_err_set(err, now, "%s", gfs_err_text(&one, now));
        }
        asked += now != GFS_EUNSUPPORTED ? 1 : 0;
        if (gfs_clock_mono() >= deadline) {
            break;
        }
    }
    return rc;
}

int gfs_client_file_open_extent(struct gfs_client_file *file, uint64_t extent, bool fill,
                                int64_t deadline, int *out_fd, uint64_t *out_length,
                                struct gfs_err *err)
{
    const uint64_t offset = extent * GFS_EXTENT_SIZE;
    if (extent > UINT64_MAX / GFS_EXTENT_SIZE || offset >= file->length) {
        return gfs_err_set(err, GFS_ERANGE, "the file has no such extent");
    }
    const uint64_t left = file->length - offset;
    const uint64_t length = left < GFS_EXTENT_SIZE ? left : GFS_EXTENT_SIZE;
    const int64_t limit = gfs_clock_mono() + ASK_NS;
    deadline = deadline != 0 && deadline < limit ? deadline : limit;

    struct gfsi_workers *workers = gfsi_workers_get(file->client, deadline, err);
    if (workers == NULL) {
        return err != NULL ? err->code : GFS_EUNAVAIL;
    }
    const int rc = ask_local(file, workers, extent, length, fill, deadline, out_fd, err);
    gfsi_workers_release(file->client, workers);
    if (rc == 0) {
        *out_length = length;
    }
    return rc;
}
