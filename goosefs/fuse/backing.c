/* Backing files for passthrough mode: under a keeper it opens them on our behalf (the ioctl needs a
 * capability), on our own we do. */
#include "fuse_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <gfs/base/clock.h>

#define ANSWER_NS (2 * GFS_NS_PER_S) /* then the file is opened without */

/* linux/fuse.h of kernel 6.9. */
struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define IOC_BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* `extra` of a request: the waiting thread, and which of its requests. */
static uint32_t ticket_of(unsigned index, uint32_t seq)
{
    return seq << 8 | index;
}
_Static_assert(GFS_FUSE_THREADS_MAX <= 256, "a ticket has 8 bits for the thread");

static int send_with_fd(const struct gfs_control_msg *body, int fd)
{
    struct gfs_control_msg copy = *body;
    struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    return sendmsg(GFS_SESSION_CONTROL_FD, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0
               ? gfs_err_from_errno(errno)
               : 0;
}

static int ask_keeper(struct gfs_fuse *fuse, uint64_t ino, int fd)
{
    struct gfsi_fuse_worker *w = gfsi_fuse_worker_self();
    struct gfs_control_msg msg = {
        .magic = GFS_SESSION_MAGIC,
        .version = GFS_SESSION_VERSION,
        .type = GFS_CONTROL_BACKING_OPEN,
        .value = ino,
    };
    struct timespec until;
    int64_t deadline = gfs_clock_mono() + ANSWER_NS;
    int rc;

    if (w == NULL) {
        return GFS_EUNSUPPORTED;
    }
    until =
        (struct timespec){.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    (void)pthread_mutex_lock(&fuse->backing_mutex);
    msg.extra = ticket_of(w->index, ++w->backing_seq);
    w->backing_ticket = msg.extra;
    w->backing_answer = 0;
    rc = send_with_fd(&msg, fd);
    while (rc == 0 && w->backing_answer == 0) {
        if (pthread_cond_timedwait(&fuse->backing_cond, &fuse->backing_mutex, &until) != 0) {
            rc = GFS_ETIMEOUT;
        }
    }
    w->backing_ticket = 0;
    if (rc == 0) {
        rc = w->backing_answer;
    }
    (void)pthread_mutex_unlock(&fuse->backing_mutex);
    return rc;
}

void gfsi_backing_answered(struct gfs_fuse *fuse, const struct gfs_control_msg *msg)
{
    unsigned index = msg->extra & 0xff;
    bool awaited = false;

    (void)pthread_mutex_lock(&fuse->backing_mutex);
    if (index < GFS_FUSE_THREADS_MAX && msg->extra != 0 &&
        fuse->pool[index].backing_ticket == msg->extra) {
        fuse->pool[index].backing_answer = msg->status != 0 ? msg->status : GFS_EPROTO;
        awaited = true;
        (void)pthread_cond_broadcast(&fuse->backing_cond);
    }
    (void)pthread_mutex_unlock(&fuse->backing_mutex);
    if (!awaited && msg->status > 0) {
        /* It came too late: nobody uses it. */
        gfsi_control_send(GFS_CONTROL_BACKING_CLOSE, 0, msg->value, NULL);
    }
}

int gfsi_fuse_backing_open(struct gfs_fuse *fuse, uint64_t ino, int fd)
{
    struct backing_map map = {.fd = fd};
    int id;

    if (fuse->state != NULL) {
        return ask_keeper(fuse, ino, fd);
    }
    id = ioctl(fuse_session_fd(fuse->session), IOC_BACKING_OPEN, &map);
    return id > 0 ? id : gfs_err_from_errno(errno);
}

void gfsi_fuse_backing_close(struct gfs_fuse *fuse, uint64_t ino, uint32_t id)
{
    if (fuse->state != NULL) {
        gfsi_control_send(GFS_CONTROL_BACKING_CLOSE, 0, ino, NULL);
        return;
    }
    (void)ioctl(fuse_session_fd(fuse->session), IOC_BACKING_CLOSE, &id);
}
