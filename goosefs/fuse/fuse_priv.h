/* Inside the FUSE server. */
#ifndef GFSI_FUSE_PRIV_H
#define GFSI_FUSE_PRIV_H

#define FUSE_USE_VERSION 317

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>
#include <gfs/fuse/server.h>
#include <gfs/mounter/session.h>

#include "dir_table.h"
#include "file_table.h"
#include "mode_table.h"
#include "reply_bufs.h"
#include "version_cache.h"

/* Every operation that is counted and timed. */
#define GFSI_FUSE_OP_MAP(X)                                                                        \
    X(LOOKUP, "lookup")                                                                            \
    X(GETATTR, "getattr")                                                                          \
    X(OPEN, "open")                                                                                \
    X(READ, "read")                                                                                \
    X(RELEASE, "release")                                                                          \
    X(OPENDIR, "opendir")                                                                          \
    X(READDIR, "readdir")                                                                          \
    X(READDIRPLUS, "readdirplus")                                                                  \
    X(RELEASEDIR, "releasedir")                                                                    \
    X(STATFS, "statfs")                                                                            \
    X(ACCESS, "access")                                                                            \
    X(DENIED, "denied")

enum gfsi_fuse_op {
#define GFSI_FUSE_OP_ENUM(name, text) GFSI_OP_##name,
    GFSI_FUSE_OP_MAP(GFSI_FUSE_OP_ENUM)
#undef GFSI_FUSE_OP_ENUM
        GFSI_OP_COUNT
};

struct gfsi_op_metrics {
    struct gfs_metric *seconds;
    struct gfs_metric *errors;
};

struct gfsi_fuse_worker;

struct gfs_fuse {
    struct gfs_fuse_config config;
    struct fuse_session *session;
    struct gfs_session *state; /* the keeper's memfd, NULL on our own */
    size_t state_size;
    bool replaying;           /* the next read by the library is the recorded INIT */
    bool swallow;             /* ... whose reply the kernel has already */
    bool use_slots;           /* no FUSE_NOTIFY_RESEND: requests are kept in the memfd */
    int start_error;          /* of the replay, errno */
    char *mountpoint;         /* our own mount */
    int wake_fd;              /* eventfd: the last worker has ended */
    atomic_uint workers;      /* running */
    atomic_llong quiet_until; /* no error is logged before, monotonic ns */
    struct gfsi_file_table files;
    struct gfsi_dir_table dirs;
    struct gfsi_version_cache versions;
    struct gfsi_mode_table modes;
    bool passthrough;              /* negotiated */
    bool splice;                   /* replies may come straight from a worker's file */
    struct gfsi_fuse_worker *pool; /* GFS_FUSE_THREADS_MAX */
    pthread_mutex_t pool_mutex;    /* of starting one more */
    atomic_uint pool_started;
    atomic_uint recovering;        /* threads that have not served a predecessor's requests yet */
    atomic_uint waiting;           /* threads that wait for a request */
    int interrupt_fd;              /* eventfd: a reader was interrupted */
    pthread_mutex_t backing_mutex; /* of the workers' backing_ fields */
    pthread_cond_t backing_cond;
    struct gfsi_reply_bufs reply_bufs;
    struct gfs_metrics *metrics; /* the configured one, or: */
    struct gfs_metrics *own_metrics;
    struct gfsi_op_metrics op_metrics[GFSI_OP_COUNT];
    struct gfs_metric *read_bytes;
    struct gfs_metric *resent;
    struct gfs_metric *passthrough_opens;
    struct gfs_metric *passthrough_bytes;
    struct gfs_metric *spliced_bytes;
    struct gfs_metric *interrupts;
};

/* One of the pool's threads; also what the library's I/O hooks find their slot by. */
struct gfsi_fuse_worker {
    struct gfs_fuse *fuse;
    pthread_t thread;
    unsigned index;
    bool again;         /* the request being served was served before, perhaps */
    atomic_llong since; /* when it was read, monotonic ns; 0: none is being served */
    const void *locked; /* the request buffer, once its pages are locked in memory */
    uint32_t backing_seq;
    uint32_t backing_ticket; /* of the keeper's answer it waits for; 0: none */
    int backing_answer;      /* 0: not yet */

    _Atomic uint64_t unique;      /* the kernel's number of the request it has; 0: none */
    _Atomic uint64_t interrupted; /* the request whose caller got a signal */
};

/* worker.c: the calling thread's, NULL outside the pool. */
struct gfsi_fuse_worker *gfsi_fuse_worker_self(void);
int gfsi_fuse_pool_start(struct gfs_fuse *fuse, struct gfs_err *err);
void gfsi_fuse_pool_join(struct gfs_fuse *fuse);
/* How many requests are being served; *out_oldest_ns: for how long the oldest of them. Any thread.
 */
unsigned gfsi_fuse_pool_load(const struct gfs_fuse *fuse, int64_t *out_oldest_ns);

/* interrupt.c. A request is noted while it is served. */
void gfsi_interrupt_begin(struct gfsi_fuse_worker *w, const struct fuse_buf *buf);
void gfsi_interrupt_end(struct gfsi_fuse_worker *w);
/* Is it an interrupt? Then it has been dealt with. */
bool gfsi_interrupt_take(struct gfs_fuse *fuse, const struct fuse_buf *buf);
/* Main thread: answers those who have waited long enough. Milliseconds to the next look, or -1. */
int gfsi_interrupt_look(struct gfs_fuse *fuse);

/* stat_file.c: each answers and returns true when it is the file of statistics that is meant. */
#define GFSI_STAT_NAME ".goosefs.stat"
#define GFSI_STAT_INO  (UINT64_MAX - 1) /* no inode has it: they are counted from 1 */
bool gfsi_stat_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
bool gfsi_stat_getattr(fuse_req_t req, fuse_ino_t node);
bool gfsi_stat_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
bool gfsi_stat_read(struct gfs_fuse *fuse, fuse_req_t req, fuse_ino_t node, size_t size, off_t off);
bool gfsi_stat_release(fuse_req_t req, fuse_ino_t node);

/* channel.c: the inherited device. */
int gfsi_channel_open(struct gfs_fuse *fuse, struct gfs_err *err);
/* The INIT exchange, recorded or live; afterwards requests can be served. */
int gfsi_channel_handshake(struct gfs_fuse *fuse, struct gfs_err *err);
/* Did the mount's first client negotiate this? `fallback` when this is the first. */
#define GFSI_INIT_ASYNC_DIO   (UINT64_C(1) << 15) /* bits of the INIT flags, linux/fuse.h */
#define GFSI_INIT_PASSTHROUGH (UINT64_C(1) << 37) /* kernel 6.9 */
bool gfsi_channel_negotiated(const struct gfs_fuse *fuse, uint64_t flag, bool fallback);
/* Executes again what a predecessor left in the slots that fall to this worker. */
void gfsi_channel_recover_slots(struct gfs_fuse *fuse, unsigned index);

/* control.c: the keeper. */
void gfsi_control_send(uint16_t type, int status, uint64_t value, const char *text);
/* One message: answers it. False when the keeper has gone. */
bool gfsi_control_receive(struct gfs_fuse *fuse);

/* backing.c: the backing id (> 0) of inode `ino`, made from `fd`, which stays the caller's. */
int gfsi_fuse_backing_open(struct gfs_fuse *fuse, uint64_t ino, int fd);
void gfsi_fuse_backing_close(struct gfs_fuse *fuse, uint64_t ino, uint32_t id);
void gfsi_backing_answered(struct gfs_fuse *fuse, const struct gfs_control_msg *msg);

/* ops_*.c */
extern const struct fuse_lowlevel_ops gfsi_fuse_ops;
void gfsi_op_init(void *userdata, struct fuse_conn_info *conn);
void gfsi_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void gfsi_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void gfsi_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void gfsi_op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void gfsi_op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void gfsi_op_statfs(fuse_req_t req, fuse_ino_t node);
void gfsi_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void gfsi_op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                  struct fuse_file_info *fi);
void gfsi_op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void gfsi_op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void gfsi_op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                     struct fuse_file_info *fi);
void gfsi_op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                         struct fuse_file_info *fi);
void gfsi_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* The kernel's node id of the root is always 1; the inode shown there may be another. */
uint64_t gfsi_ino_from_node(const struct gfs_fuse *fuse, fuse_ino_t node);
void gfsi_stat_from_attr(const struct gfs_fuse *fuse, const struct gfs_fuse_attr *attr,
                         struct stat *out);
void gfsi_entry_from_attr(struct gfs_fuse *fuse, const struct gfs_fuse_attr *attr,
                          struct fuse_entry_param *out);
double gfsi_seconds(int64_t ns);

/* Replies with the errno of `code`, counts and (not too often) logs it. */
void gfsi_reply_error(struct gfs_fuse *fuse, fuse_req_t req, enum gfsi_fuse_op op, uint64_t ino,
                      int code);
void gfsi_observe(struct gfs_fuse *fuse, enum gfsi_fuse_op op, int64_t started);
void gfsi_metrics_init(struct gfs_fuse *fuse);

#endif
