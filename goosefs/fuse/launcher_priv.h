/* Inside the launcher: its loop and connection (launcher.c), the clients it has (launcher_child.c).
 */
#ifndef GFSI_LAUNCHER_PRIV_H
#define GFSI_LAUNCHER_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/err.h>
#include <gfs/fuse/launcher.h>
#include <gfs/mounter/launch_proto.h>

/* A mount that this launcher has started a client for. */
struct gfsi_launched {
    char id[GFS_KEEPER_ID_MAX + 1]; /* "": free */
    int fuse_fd;                    /* -1 when dropped */
    int session_fd;
    int keeper_fd; /* the keeper's end of the client's control socket */
    int pidfd;
    pid_t pid;    /* 0: no client runs */
    uint32_t seq; /* of the SPAWN it came from */
};

struct gfsi_launcher {
    struct gfs_launcher_config config;
    int signal_fd;
    int inotify_fd;
    int fd; /* to the keeper, -1: none */
    bool greeted;
    bool stopping;
    int64_t kill_at;    /* stopping: SIGKILL then */
    int64_t connect_at; /* next try */
    struct gfs_backoff backoff;
    struct gfs_buf out;
    char *in;
    struct gfs_keeper_msg *msg;
    struct gfsi_launched launched[GFS_LAUNCH_MOUNTS_MAX];
};

/* launcher.c: sends l->out; a keeper that does not read is left. */
void gfsi_launcher_send(struct gfsi_launcher *l, const int *fds, size_t n_fds);

/* launcher_child.c */
void gfsi_launched_init(struct gfsi_launcher *l);
void gfsi_launched_fini(struct gfsi_launcher *l);
/* Serves l->msg; takes those of the GFS_LAUNCH_FDS_MAX `fds` that it sets to -1. */
void gfsi_launched_spawn(struct gfsi_launcher *l, int *fds, size_t n_fds);
void gfsi_launched_kill(struct gfsi_launcher *l);
void gfsi_launched_drop(struct gfsi_launcher *l);
/* HELD for each, then READY. */
void gfsi_launched_tell(struct gfsi_launcher *l);
/* Hears of those that ended. */
void gfsi_launched_reap(struct gfsi_launcher *l);
void gfsi_launched_signal_all(struct gfsi_launcher *l, int signal);
bool gfsi_launched_any(const struct gfsi_launcher *l);

#endif
