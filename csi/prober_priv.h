/* Questions to file systems that may never answer: a statfs, a walk below a mount. Each is asked by
 * a process of its own, which is killed when it takes too long (a wait for a FUSE reply is
 * killable), so no thread of the plugin can hang on a dead mount.
 *
 * A small process without threads is forked off first of all (prober_child.c) and forks one child
 * per question; a fork of the plugin itself would be slow and, with gRPC's threads, unsafe.
 *
 * Limits: GFSI_PROBES_MAX questions at a time, then GFS_EBUSY. Thread: any. */
#ifndef GFSI_CSI_PROBER_PRIV_H
#define GFSI_CSI_PROBER_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/csi/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_PROBES_MAX 64

struct gfsi_probe_result {
    int error; /* errno of the question, 0; ETIMEDOUT: killed; EPIPE: the child process is gone */
    int fd;    /* open: the directory or file, O_PATH; owned by the callee. -1 otherwise */
    /* statfs, in bytes and inodes */
    uint64_t total, free, available;
    uint64_t inodes, inodes_free;
    /* open: mode of what was opened */
    mode_t mode;
};

/* Runs once, on the prober's thread or, when the question cannot be sent, on the caller's. Must not
 * block. */
typedef void (*gfsi_probe_done)(void *arg, const struct gfsi_probe_result *result);

/* fstatfs of `fd` (O_PATH will do; the caller's, may be closed at once). 0: `done` will run. */
int gfsi_prober_statfs(struct gfs_csi_prober *prober, int fd, int64_t timeout_ns,
                       gfsi_probe_done done, void *arg, struct gfs_err *err);

/* Opens `sub_path` (relative) below the directory `fd` with O_PATH, refusing symbolic links and
 * anything that leads out. Blocks up to `timeout_ns`. *out_fd is the caller's, *out_mode its type.
 * GFS_ENOENT, GFS_ENOTDIR, GFS_EPERM (a symbolic link), GFS_EUNAVAIL (the mount is dead),
 * GFS_ETIMEOUT (it hangs). */
int gfsi_prober_open(struct gfs_csi_prober *prober, int fd, const char *sub_path,
                     int64_t timeout_ns, int *out_fd, mode_t *out_mode, struct gfs_err *err);

/* Does the file system behind `fd` answer? 0, GFS_EUNAVAIL (dead), GFS_ETIMEOUT (hung). Blocks. */
int gfsi_prober_check(struct gfs_csi_prober *prober, int fd, int64_t timeout_ns,
                      struct gfs_err *err);

/* false when the child process has been lost: nothing can be asked any more. */
bool gfsi_prober_alive(struct gfs_csi_prober *prober);

/* ---- between prober.c and prober_child.c ---- */

enum gfsi_probe_kind { GFSI_PROBE_STATFS = 1, GFSI_PROBE_OPEN = 2, GFSI_PROBE_KILL = 3 };

/* One packet each; a question carries one fd, the answer to OPEN too. Same binary on both ends. */
struct gfsi_probe_question {
    uint64_t id;
    uint32_t kind;
    char sub_path[4096];
};

struct gfsi_probe_answer {
    uint64_t id;
    struct gfsi_probe_result result; /* fd: unused */
};

/* The child's main loop; never returns. Uses nothing but system calls: it may have been forked from
 * a process with threads (tests). */
void gfsi_prober_child_main(int socket) __attribute__((noreturn));

/* Sends or receives a packet with at most one fd. Returns bytes or -errno; *fd is -1 or the fd. */
long gfsi_prober_send(int socket, const void *data, size_t len, int fd, int flags);
long gfsi_prober_recv(int socket, void *data, size_t len, int *fd);

#ifdef __cplusplus
}
#endif
#endif
