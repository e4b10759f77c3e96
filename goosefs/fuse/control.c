/* The control socket to the keeper. */
#include "fuse_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <gfs/base/clock.h>

void gfsi_control_send(uint16_t type, int status, uint64_t value, const char *text)
{
    struct gfs_control_msg msg = {
        .magic = GFS_SESSION_MAGIC,
        .version = GFS_SESSION_VERSION,
        .type = type,
        .status = status,
        .value = value,
    };

    (void)snprintf(msg.text, sizeof(msg.text), "%s", text != NULL ? text : "");
    /* A keeper that is gone or does not read changes nothing for those who use the mount. */
    (void)send(GFS_SESSION_CONTROL_FD, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Whether work is done, and not only pings answered. */
static void pong(const struct gfs_fuse *fuse, uint64_t value)
{
    int64_t oldest_ns;
    int busy = (int)gfsi_fuse_pool_load(fuse, &oldest_ns);
    int64_t oldest_ms = oldest_ns / GFS_NS_PER_MS;
    struct gfs_control_msg msg = {
        .magic = GFS_SESSION_MAGIC,
        .version = GFS_SESSION_VERSION,
        .type = GFS_CONTROL_PONG,
        .status = busy,
        .extra = oldest_ms < UINT32_MAX ? (uint32_t)oldest_ms : UINT32_MAX,
        .value = value,
    };

    (void)send(GFS_SESSION_CONTROL_FD, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool gfsi_control_receive(struct gfs_fuse *fuse)
{
    struct gfs_control_msg msg;
    ssize_t n = recv(GFS_SESSION_CONTROL_FD, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (n == 0) {
        return false;
    }
    if (n != sizeof(msg) || msg.magic != GFS_SESSION_MAGIC || msg.version != GFS_SESSION_VERSION) {
        return true;
    }
    switch (msg.type) {
    case GFS_CONTROL_PING: pong(fuse, msg.value); break;
    case GFS_CONTROL_BACKING_OPENED: gfsi_backing_answered(fuse, &msg); break;
    default: break;
    }
    return true;
}
