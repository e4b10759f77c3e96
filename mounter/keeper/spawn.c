#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#define EXEC_FAILED 127

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

/* ---- in the child, between fork and exec: only system calls and the stack ---------------------
 */

static void die(const char *what, const char *detail)
{
    struct gfs_control_msg msg = {
        .magic = GFS_SESSION_MAGIC,
        .version = GFS_SESSION_VERSION,
        .type = GFS_CONTROL_FAIL,
        .status = gfs_err_from_errno(errno),
    };

    (void)snprintf(msg.text, sizeof(msg.text), "%s %s: %s", what, detail, strerror(errno));
    (void)send(GFS_SESSION_CONTROL_FD, &msg, sizeof(msg), MSG_NOSIGNAL);
    _exit(EXEC_FAILED);
}

/* Puts the descriptors where session.h says. They are first copied above the fixed numbers, so that
 * none is overwritten before it is copied. */
static void arrange_fds(const struct gfsi_spawn *s, int control_fd, int keeper_fd)
{
    const int want[] = {-1, s->log_fd, s->log_fd, control_fd, s->fuse_fd, s->session_fd, keeper_fd};
    const int n = (int)(sizeof(want) / sizeof(want[0]));
    int high[sizeof(want) / sizeof(want[0])];
    int i;

    for (i = 0; i < n; i++) {
        high[i] =
            want[i] >= 0 ? fcntl(want[i], F_DUPFD, 16) : open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    for (i = 0; i < n; i++) {
        if (high[i] < 0 || (high[i] != i && dup2(high[i], i) < 0) || fcntl(i, F_SETFD, 0) != 0) {
            _exit(EXEC_FAILED);
        }
    }
    (void)close_range((unsigned)n, ~0U, 0);
}

static void reset_signals(void)
{
    sigset_t none;
    int sig;

    for (sig = 1; sig < NSIG; sig++) {
        (void)signal(sig, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_oom_score(int value)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)dprintf(fd, "%d", value);
        (void)close(fd);
    }
}

static void drop_user(const struct gfs_keeper_spec *spec)
{
    if (spec->uid == 0 && spec->gid == 0) {
        return;
    }
    if (setgroups(0, NULL) != 0 || setresgid(spec->gid, spec->gid, spec->gid) != 0 ||
        setresuid(spec->uid, spec->uid, spec->uid) != 0) {
        die("changing the user of", spec->id);
    }
}

static void __attribute__((noreturn))
run_child(const struct gfsi_spawn *s, int control_fd, int keeper_fd)
{
    static char session_env[] = GFS_KEEPER_ENV "=1";
    const char *env[GFS_KEEPER_ARGS_MAX + 2];
    size_t n = 0;

    arrange_fds(s, control_fd, keeper_fd);
    reset_signals();
    (void)setsid();
    set_oom_score(s->oom_score_adj);
    drop_user(s->spec);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (; s->spec->env[n] != NULL; n++) {
        env[n] = s->spec->env[n];
    }
    env[n++] = session_env;
    env[n] = NULL;
    (void)execve(s->argv[0], (char *const *)(uintptr_t)s->argv, (char *const *)(uintptr_t)env);
    die("executing", s->argv[0]);
    _exit(EXEC_FAILED);
}
_Static_assert(GFS_SESSION_VERSION == 1, "session_env says 1");

int gfsi_spawn_client(const struct gfsi_spawn *s, struct gfsi_client *out, struct gfs_err *err)
{
    int sockets[2];
    int ours gfs_auto_fd = -1;
    int theirs gfs_auto_fd = -1;
    int pidfd;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return gfs_err_set_errno(err, errno, "control socket");
    }
    ours = sockets[0];
    theirs = sockets[1];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0) {
        return gfs_err_set_errno(err, errno, "control socket");
    }

    /* The keeper has one thread and little memory: fork is cheap and safe here. */
    pid = fork();
    if (pid < 0) {
        return gfs_err_set_errno(err, errno, "fork");
    }
    if (pid == 0) {
        run_child(s, theirs, ours);
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
