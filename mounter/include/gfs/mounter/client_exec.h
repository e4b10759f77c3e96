/* From fork to exec: a FUSE client's process as <gfs/mounter/session.h> wants it. Used by the
 * keeper and by a launcher, each in a child it has forked from its only thread. */
#ifndef GFS_MOUNTER_CLIENT_EXEC_H
#define GFS_MOUNTER_CLIENT_EXEC_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_client_exec {
    const char *id;            /* of the mount, for messages */
    const char *program;       /* absolute path; argv[0] is only its name */
    const char *const *argv;   /* NULL-terminated */
    const char *const *env;    /* NULL-terminated, at most GFS_KEEPER_ARGS_MAX items */
    int fuse_fd, session_fd;   /* become 4 and 5 */
    int control_fd, keeper_fd; /* become 3 and 6 */
    int log_fd;                /* becomes 1 and 2; -1: /dev/null */
    uint32_t uid, gid;         /* 0, 0: unchanged, else this user, no other group, no capability */
    int oom_score_adj;
    bool die_with_parent; /* SIGKILL when the parent's thread ends */
};

/* Never returns: what keeps the program from being executed goes to the keeper as GFS_CONTROL_FAIL.
 * Makes system calls only. */
void gfs_client_exec_run(const struct gfs_client_exec *e) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif
#endif
