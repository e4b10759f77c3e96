/* Starting a client: descriptors 3, 4, 5 as session.h says, own session id, own user, no new
 * privileges. And its session memfd. */
#ifndef GFSI_SPAWN_H
#define GFSI_SPAWN_H

#include <sys/types.h>

#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>
#include <gfs/mounter/session.h>

struct gfsi_spawn {
    const struct gfs_keeper_spec *spec; /* id, env */
    uint32_t uid, gid;
    const char *const *argv;
    int fuse_fd;
    int session_fd;
    int log_fd;
    int oom_score_adj; /* the client's own: the keeper's protection is not inherited */
};

struct gfsi_client {
    pid_t pid;
    int pidfd;
    int control_fd; /* non-blocking */
};

/* Returns once the process exists. A program that cannot be executed reports GFS_CONTROL_FAIL over
 * the control socket like any client that cannot start. */
int gfsi_spawn_client(const struct gfsi_spawn *s, struct gfsi_client *out, struct gfs_err *err);

/* A control socket: the keeper's end (non-blocking) and the client's. */
int gfsi_control_pair(int *out_ours, int *out_theirs, struct gfs_err *err);

/* Creates the memfd, sized and sealed, and maps it. */
int gfsi_session_new(const struct gfs_keeper_spec *spec, int *out_fd, struct gfs_session **out,
                     struct gfs_err *err);
void gfsi_session_free(int fd, struct gfs_session *session);

#endif
