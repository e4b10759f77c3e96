#include <gfs/mounter/client_exec.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gfs/mounter/keeper_proto.h>
#include <gfs/mounter/session.h>

#define EXEC_FAILED 127

static void __attribute__((noreturn)) die(const char *what, const char *detail)
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
static void arrange_fds(const struct gfs_client_exec *e)
{
    const int want[] = {-1,         e->log_fd,     e->log_fd,   e->control_fd,
                        e->fuse_fd, e->session_fd, e->keeper_fd};
    const int n = (int)(sizeof(want) / sizeof(want[0]));
    int high[sizeof(want) / sizeof(want[0])];
    int i;

    for (i = 0; i < n; i++) {
        high[i] =
            want[i] >= 0 ? fcntl(want[i], F_DUPFD, 16) : open("/dev/null", O_RDWR | O_CLOEXEC);
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

/* Leaving uid 0 clears the capabilities; the bounding set goes too, so that not even a set-uid
 * program could bring one back if it were not for NO_NEW_PRIVS. */
static void drop_privileges(const struct gfs_client_exec *e)
{
    unsigned long cap;

    if (e->uid == 0 && e->gid == 0) {
        return;
    }
    for (cap = 0; cap <= CAP_LAST_CAP; cap++) {
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
    if (setgroups(0, NULL) != 0 || setresgid(e->gid, e->gid, e->gid) != 0 ||
        setresuid(e->uid, e->uid, e->uid) != 0) {
        die("changing the user of", e->id);
    }
}

void gfs_client_exec_run(const struct gfs_client_exec *e)
{
    static char session_env[] = GFS_KEEPER_ENV "=1";
    const char *env[GFS_KEEPER_ARGS_MAX + 2];
    size_t n = 0;

    arrange_fds(e);
    reset_signals();
    (void)setsid();
    set_oom_score(e->oom_score_adj);
    drop_privileges(e);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (e->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
        die("tying to its launcher the client of", e->id);
    }
    for (; n < GFS_KEEPER_ARGS_MAX && e->env[n] != NULL; n++) {
        env[n] = e->env[n];
    }
    env[n++] = session_env;
    env[n] = NULL;
    (void)execve(e->program, (char *const *)(uintptr_t)e->argv, (char *const *)(uintptr_t)env);
    die("executing", e->program);
}
_Static_assert(GFS_SESSION_VERSION == 1, "session_env says 1");
