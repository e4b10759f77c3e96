/* Launchers (launch_proto.h), the keeper's side: one directory listened at, its launcher connected
 * or not, and the held mounts whose clients it starts. */
#ifndef GFSI_LAUNCH_H
#define GFSI_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/launch_proto.h>

#include "keeper_priv.h"

/* In the keeper's list while mounts refer to it. */
struct gfsi_launch {
    struct gfsi_launch *next;
    struct gfsi_keeper *keeper;
    char *dir;
    int dir_fd; /* of GFS_LAUNCH_SUBDIR */
    int listen_fd;
    int fd; /* -1: no launcher is connected */
    struct gfsi_source listen_source;
    struct gfsi_source source;
    uint32_t uid;  /* that a launcher must have, or root's */
    bool greeted;  /* it said HELLO */
    bool ready;    /* ... and READY */
    size_t n_held; /* mounts that refer to it; 0: freed after the present round */
};

/* The one of spec->launch, made and listening if there was none; counts a reference. `gid` may
 * connect. */
int gfsi_launch_get(struct gfsi_keeper *k, const char *dir, uint32_t uid, uint32_t gid,
                    struct gfsi_launch **out, struct gfs_err *err);
void gfsi_launch_put(struct gfsi_launch *l);
void gfsi_launch_free(struct gfsi_launch *l);

/* Sends keeper->out; a launcher that cannot be sent to is lost. */
int gfsi_launch_send(struct gfsi_launch *l, const int *fds, size_t n_fds);

/* The connection ends: whatever it was asked to start does not come. */
void gfsi_launch_lost(struct gfsi_launch *l, const char *why);

/* Asks for a client of `h`; the keeper's end of its control socket is in h->client. */
int gfsi_launch_spawn(struct gfsi_held *h, int client_fd, struct gfs_err *err);
void gfsi_launch_kill(const struct gfsi_held *h);
void gfsi_launch_drop(struct gfsi_launch *l, const char *id);

/* launch_msg.c: serves keeper->msg, which came with `fds`; takes those it sets to -1. */
int gfsi_launch_message(struct gfsi_launch *l, int *fds, size_t n_fds, struct gfs_err *err);

#endif
