#include <gfs/mounter/packet.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_space {
    struct cmsghdr align;
    char space[CMSG_SPACE(GFS_PACKET_FDS_MAX * sizeof(int))];
};

int gfs_packet_send(int socket_fd, const void *data, size_t len, const int *fds, size_t n_fds)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    union fd_space control = {.space = {0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *cmsg;

    if (n_fds > GFS_PACKET_FDS_MAX) {
        return GFS_EINVAL;
    }
    if (n_fds > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
    }
    return sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? GFS_EUNAVAIL : 0;
}

static size_t take_fds(struct msghdr *msg, int *fds)
{
    struct cmsghdr *cmsg;
    size_t kept = 0;

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
            if (kept == GFS_PACKET_FDS_MAX) {
                (void)close(fd);
                continue;
            }
            fds[kept++] = fd;
        }
    }
    return kept;
}

ssize_t gfs_packet_recv(int socket_fd, void *buf, size_t size, int *fds, size_t *n_fds)
{
    struct iovec iov = {.iov_base = buf, .iov_len = size};
    union fd_space control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    ssize_t n = recvmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *n_fds = 0;
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? GFS_ETIMEOUT : 0;
    }
    *n_fds = take_fds(&msg, fds);
    return (msg.msg_flags & MSG_TRUNC) != 0 ? GFS_EPROTO : n;
}
