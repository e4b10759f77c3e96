/* The daemon's insides: one loop (keeper.c), the mounts it holds (held.c), the connections that ask
 * (conn.c) and what they ask (request.c). One thread; nothing here blocks on a mount or a peer. */
#ifndef GFSI_KEEPER_PRIV_H
#define GFSI_KEEPER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>
#include <gfs/mounter/session.h>

#include "backing.h"
#include "fusedev.h"
#include "life.h"
#include "spawn.h"

#define GFSI_CONNS_MAX  64                  /* then: accepted and closed at once */
#define GFSI_STARTED_NS (10 * GFS_NS_PER_S) /* a launcher forks and answers at once */
#define GFSI_STOP_NS    (10 * GFS_NS_PER_S) /* from SIGTERM to giving up on clients */

/* Something in the epoll set. */
struct gfsi_source {
    void (*ready)(struct gfsi_source *source, uint32_t events);
    void *owner;
};

struct gfsi_keeper;
struct gfsi_launch;

/* A mount and its client. In the keeper's list until nothing of it is left. */
struct gfsi_held {
    struct gfsi_held *next;
    struct gfsi_keeper *keeper;
    struct gfsi_life life;
    struct gfs_keeper_spec *spec;
    const char **argv; /* of RESTART; NULL: the spec's */
    const char *
        *old_argv; /* what to go back to while argv is on probation; may be NULL: the spec's */
    struct gfsi_fusedev dev;
    struct gfs_session *session;
    int session_fd;
    int log_fd; /* -1: the keeper's stderr */
    struct gfsi_client client;
    uint64_t answered_before;   /* session->answered when the client was started */
    struct gfsi_launch *launch; /* who starts clients; NULL: the keeper itself */
    uint32_t spawn_seq;         /* of the SPAWN the client came from; 0: an earlier keeper's */
    bool spawning;              /* asked for, not heard of yet */
    int64_t spawned_at;         /* when */
    bool remembered; /* from an earlier keeper's time; no device yet: its launcher has it */
    uint64_t remembered_cookie;  /* of its session */
    uint64_t remounts;           /* times it was made anew */
    enum gfs_keeper_state known; /* the state since `since` */
    int64_t since;
    struct gfsi_source pidfd_source;
    struct gfsi_source control_source;
    struct gfsi_backing_table backings;
    bool removed;        /* out of the list; freed after the present round */
    struct gfs_err fail; /* why the last client could not start */
};

/* One peer. */
struct gfsi_conn {
    struct gfsi_conn *next;
    struct gfsi_keeper *keeper;
    struct gfsi_source source;
    int fd;
    bool greeted;
    bool removed;
    uint16_t type; /* of the request in progress */
    uint32_t seq;
    struct gfsi_held *waits_for; /* NULL: ready for the next request */
};

/* What a state file says of a mount whose clients a launcher starts. */
struct gfsi_held_memory {
    const struct gfs_keeper_spec *spec;
    const char *const *argv; /* of a RESTART, or NULL */
    uint64_t cookie;
    uint32_t minor;
    bool made_dir;
};

struct gfsi_keeper {
    int epoll_fd;
    int listen_fd;
    int signal_fd;
    struct gfsi_source listen_source;
    struct gfsi_source signal_source;
    const char *socket_path; /* borrowed */
    char *state_dir;         /* see state.h */
    char boot_id[40];
    bool leave; /* at the end: leave mounts and clients */
    bool stopping;
    int64_t stop_deadline;
    int oom_score_adj;               /* for clients */
    uint32_t client_uid, client_gid; /* of clients whose spec says 0 */
    int64_t stall_timeout;           /* ns, of specs that say 0; 0: never */
    unsigned max_failures;           /* clients in a row that serve nothing; 0: any number */
    struct gfsi_launch *launches;
    uint32_t launch_seq;
    struct gfsi_held *helds;
    size_t n_helds;
    struct gfsi_conn *conns;
    size_t n_conns;
    struct gfs_buf out;         /* the message being built */
    struct gfs_keeper_msg *msg; /* the request being served */
    char *in;                   /* its bytes */
};

/* keeper.c */
int gfsi_keeper_watch(struct gfsi_keeper *k, int fd, uint32_t events, struct gfsi_source *source,
                      struct gfs_err *err);
void gfsi_keeper_rewatch(struct gfsi_keeper *k, int fd, uint32_t events,
                         struct gfsi_source *source);
void gfsi_keeper_unwatch(struct gfsi_keeper *k, int fd);

/* held.c: `log_fd` is taken on success. */
int gfsi_held_new(struct gfsi_keeper *k, const struct gfs_keeper_spec *spec, int log_fd,
                  struct gfsi_held **out, struct gfs_err *err);
/* Without mount, session and client; not in the list. NULL on no memory. */
struct gfsi_held *gfsi_held_alloc(struct gfsi_keeper *k, const struct gfs_keeper_spec *spec);
/* Starts the first client. */
void gfsi_held_start(struct gfsi_held *h);
/* Goes on with a mount whose device, session and client were taken over; into the list. */
int gfsi_held_adopted(struct gfsi_held *h, struct gfs_err *err);
void gfsi_held_tick(struct gfsi_held *h, int64_t now);
int gfsi_held_unmount(struct gfsi_held *h, bool lazy, bool *out_detached, struct gfs_err *err);
void gfsi_held_kill(struct gfsi_held *h);
/* `argv` NULL: the present one. */
int gfsi_held_restart(struct gfsi_held *h, const char *const *argv, struct gfs_err *err);
void gfsi_held_info(const struct gfsi_held *h, struct gfs_keeper_info *out);
struct gfsi_held *gfsi_held_find(struct gfsi_keeper *k, const char *id); /* not STOPPING ones */
struct gfsi_held *gfsi_held_find_mountpoint(struct gfsi_keeper *k, const char *mountpoint);
/* Frees memory and descriptors; touches neither mount nor process. */
void gfsi_held_free(struct gfsi_held *h);
/* Into the keeper's list. */
void gfsi_held_link(struct gfsi_held *h);
/* One whose device a launcher may have; into the list. */
int gfsi_held_remember(struct gfsi_keeper *k, const struct gfsi_held_memory *memory,
                       struct gfs_err *err);
/* Nobody had it: the connection is lost. Removed when it cannot be mounted. */
void gfsi_held_mount_anew(struct gfsi_held *h);
/* What the client of `h` runs as. */
uint32_t gfsi_held_uid(const struct gfsi_held *h);
uint32_t gfsi_held_gid(const struct gfsi_held *h);

/* recover.c */
int gfsi_recover_read_boot_id(char *out, size_t size);
void gfsi_recover_save(const struct gfsi_held *h);
void gfsi_recover_forget(const struct gfsi_keeper *k, const char *id);
void gfsi_recover_all(struct gfsi_keeper *k);

/* client_io.c: what a client says and what becomes of it. */
void gfsi_held_control_ready(struct gfsi_source *source, uint32_t events);
void gfsi_held_send(struct gfsi_held *h, const struct gfs_control_msg *msg);
int gfsi_held_watch_client(struct gfsi_held *h, struct gfs_err *err);
int gfsi_held_watch_pidfd(struct gfsi_held *h, struct gfs_err *err);
/* The client is gone; `how` it ended, for people. */
void gfsi_held_client_ended(struct gfsi_held *h, const char *how);
/* Out of the list after this round; those who wait are answered. */
void gfsi_held_remove(struct gfsi_held *h, int status, const char *text);
void gfsi_held_act(struct gfsi_held *h, unsigned actions);

/* conn.c */
void gfsi_conn_accept(struct gfsi_source *source, uint32_t events);
void gfsi_conn_reply(struct gfsi_conn *c, int status, const char *text);
/* Sends keeper->out, with `fds` when n_fds > 0. */
void gfsi_conn_send(struct gfsi_conn *c, const int *fds, size_t n_fds);
void gfsi_conn_wait(struct gfsi_conn *c, struct gfsi_held *h); /* NULL: for the next request */
/* Answers all who wait for `h` with one of the request types in `types` (bit = type). */
void gfsi_conn_answer(struct gfsi_keeper *k, const struct gfsi_held *h, unsigned types, int status,
                      const char *text);
void gfsi_conn_free(struct gfsi_conn *c);
/* The first descriptor that came with a message, -1 when none; others are closed. */
struct msghdr;
int gfsi_conn_take_fd(struct msghdr *msg);

/* request.c: serves k->msg; `fd` (-1: none) came with it and is taken. */
void gfsi_request_serve(struct gfsi_conn *c, int fd);
void gfsi_request_reply_info(struct gfsi_conn *c, const struct gfsi_held *h, const int *fds,
                             size_t n_fds);

#endif
