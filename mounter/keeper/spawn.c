#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/mounter/client_exec.h>

int gfsi_session_new(const struct gfs_keeper_spec *spec, int *out_fd, struct gfs_session **out,
                     struct gfs_err *err)
{
    int fd gfs_auto_fd = memfd_create("gfs-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct gfs_session *session;

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "session memfd");
    }
    /* Sealed: a client that shrank it would make the keeper's reads of it fatal. */
    if (ftruncate(fd, sizeof(*session)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return gfs_err_set_errno(err, errno, "session memfd");
    }
    session = mmap(NULL, sizeof(*session), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (session == MAP_FAILED) {
        return gfs_err_set_errno(err, errno, "mapping the session memfd");
    }
    session->magic = GFS_SESSION_MAGIC;
    session->version = GFS_SESSION_VERSION;
    session->size = sizeof(*session);
    session->max_read = spec->max_read;
    if (getrandom(&session->cookie, sizeof(session->cookie), 0) != sizeof(session->cookie)) {
        (void)munmap(session, sizeof(*session));
        return gfs_err_set_errno(err, errno, "getrandom");
    }
    *out_fd = GFS_TAKE_FD(fd);
    *out = session;
    return 0;
}

void gfsi_session_free(int fd, struct gfs_session *session)
{
    if (session != NULL) {
        (void)munmap(session, sizeof(*session));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

int gfsi_control_pair(int *out_ours, int *out_theirs, struct gfs_err *err)
{
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return gfs_err_set_errno(err, errno, "control socket");
    }
    if (fcntl(sockets[0], F_SETFL, O_NONBLOCK) != 0) {
        int saved = errno;

        (void)close(sockets[0]);
        (void)close(sockets[1]);
        return gfs_err_set_errno(err, saved, "control socket");
    }
    *out_ours = sockets[0];
    *out_theirs = sockets[1];
    return 0;
}

int gfsi_spawn_client(const struct gfsi_spawn *s, struct gfsi_client *out, struct gfs_err *err)
{
    int ours gfs_auto_fd = -1;
    int theirs gfs_auto_fd = -1;
    int pidfd;
    pid_t pid;
    int rc = gfsi_control_pair(&ours, &theirs, err);

    if (rc != 0) {
        return rc;
    }

    /* The keeper has one thread and little memory: fork is cheap and safe here. */
    pid = fork();
    if (pid < 0) {
        return gfs_err_set_errno(err, errno, "fork");
    }
    if (pid == 0) {
        gfs_client_exec_run(&(struct gfs_client_exec){
            .id = s->spec->id,
            .program = s->argv[0],
            .argv = s->argv,
            .env = s->spec->env,
            .fuse_fd = s->fuse_fd,
            .session_fd = s->session_fd,
            .control_fd = theirs,
            .keeper_fd = ours,
            .log_fd = s->log_fd,
            .uid = s->uid,
            .gid = s->gid,
            .oom_score_adj = s->oom_score_adj,
        });
    }
    /* Not reaped yet, so the number cannot have gone to another process. */
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        int saved = errno;

        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return gfs_err_set_errno(err, saved, "pidfd_open");
    }
    (void)fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    *out = (struct gfsi_client){.pid = pid, .pidfd = pidfd, .control_fd = GFS_TAKE_FD(ours)};
    return 0;
}
