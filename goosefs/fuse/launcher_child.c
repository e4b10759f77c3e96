/* The launcher's clients: started, told of, reaped. */
#include "launcher_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/mounter/client_exec.h>

#define SELF "/proc/self/exe"

enum spawn_fd { FD_DEVICE, FD_SESSION, FD_CLIENT, FD_KEEPER };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

static void close_kept(struct gfsi_launched *c)
{
    close_fd(&c->fuse_fd);
    close_fd(&c->session_fd);
    close_fd(&c->keeper_fd);
}

static void clear(struct gfsi_launched *c)
{
    *c = (struct gfsi_launched){.fuse_fd = -1, .session_fd = -1, .keeper_fd = -1, .pidfd = -1};
}

void gfsi_launched_init(struct gfsi_launcher *l)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        clear(&l->launched[i]);
    }
}

void gfsi_launched_fini(struct gfsi_launcher *l)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        close_kept(&l->launched[i]);
        close_fd(&l->launched[i].pidfd);
    }
}

static struct gfsi_launched *find(struct gfsi_launcher *l, const char *id)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        if (strcmp(l->launched[i].id, id) == 0) {
            return &l->launched[i];
        }
    }
    return NULL;
}

bool gfsi_launched_any(const struct gfsi_launcher *l)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        if (l->launched[i].pid != 0) {
            return true;
        }
    }
    return false;
}

void gfsi_launched_signal_all(struct gfsi_launcher *l, int signal)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        if (l->launched[i].pid != 0) {
            (void)kill(l->launched[i].pid, signal);
        }
    }
}

/* ---- what the keeper is told ----------------------------------------------------------------- */

static void tell_exited(struct gfsi_launcher *l, const char *id, uint32_t seq, pid_t pid,
                        int status, const char *text)
{
    gfs_keeper_msg_begin(&l->out, GFS_LAUNCH_EXITED, seq);
    gfs_keeper_msg_put_id(&l->out, id);
    gfs_keeper_msg_put_pid(&l->out, (uint32_t)pid);
    gfs_keeper_msg_put_status(&l->out, status, text);
    gfsi_launcher_send(l, NULL, 0);
}

static void tell_started(struct gfsi_launcher *l, const struct gfsi_launched *c)
{
    gfs_keeper_msg_begin(&l->out, GFS_LAUNCH_STARTED, c->seq);
    gfs_keeper_msg_put_id(&l->out, c->id);
    gfs_keeper_msg_put_pid(&l->out, (uint32_t)c->pid);
    gfsi_launcher_send(l, &c->pidfd, 1);
}

void gfsi_launched_tell(struct gfsi_launcher *l)
{
    size_t i;

    for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX; i++) {
        const struct gfsi_launched *c = &l->launched[i];
        const int fds[] = {c->fuse_fd, c->session_fd, c->keeper_fd, c->pidfd};

        if (c->fuse_fd < 0) {
            continue;
        }
        gfs_keeper_msg_begin(&l->out, GFS_LAUNCH_HELD, 0);
        gfs_keeper_msg_put_id(&l->out, c->id);
        gfs_keeper_msg_put_pid(&l->out, (uint32_t)c->pid);
        gfsi_launcher_send(l, fds, c->pid != 0 ? 4 : 3);
    }
    gfs_keeper_msg_begin(&l->out, GFS_LAUNCH_READY, 0);
    gfsi_launcher_send(l, NULL, 0);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void __attribute__((noreturn))
run_child(const struct gfsi_launcher *l, const struct gfsi_launched *c, int client_fd)
{
    const char *argv[GFS_KEEPER_ARGS_MAX + 2];
    size_t i;

    argv[0] = l->config.name;
    for (i = 0; i < l->msg->n_argv; i++) {
        argv[i + 1] = l->msg->argv[i];
    }
    argv[i + 1] = NULL;
    gfs_client_exec_run(&(struct gfs_client_exec){
        .id = c->id,
        .program = SELF,
        .argv = argv,
        .env = l->msg->spec.env,
        .fuse_fd = c->fuse_fd,
        .session_fd = c->session_fd,
        .control_fd = client_fd,
        .keeper_fd = c->keeper_fd,
        .log_fd = STDERR_FILENO,
        .die_with_parent = true,
    });
}

static int start(struct gfsi_launcher *l, struct gfsi_launched *c, int client_fd)
{
    pid_t pid = fork();

    if (pid < 0) {
        return gfs_err_from_errno(errno);
    }
    if (pid == 0) {
        run_child(l, c, client_fd);
    }
    c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (c->pidfd < 0) {
        int saved = errno;

        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return gfs_err_from_errno(saved);
    }
    (void)fcntl(c->pidfd, F_SETFD, FD_CLOEXEC);
    c->pid = pid;
    return 0;
}

static int take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

void gfsi_launched_spawn(struct gfsi_launcher *l, int *fds, size_t n_fds)
{
    const struct gfs_keeper_msg *msg = l->msg;
    struct gfsi_launched *c;
    int rc;

    if (n_fds != 4 || !gfs_keeper_id_valid(msg->spec.id) || !gfs_keeper_env_valid(msg->spec.env)) {
        tell_exited(l, msg->spec.id, msg->seq, 0, GFS_EINVAL, "the launcher refuses this");
        return;
    }
    /* The keeper may know of the last one's end before us. */
    gfsi_launched_reap(l);
    c = find(l, msg->spec.id);
    c = c != NULL ? c : find(l, "");
    if (c == NULL || c->pid != 0) {
        tell_exited(l, msg->spec.id, msg->seq, 0, GFS_EBUSY,
                    c == NULL ? "the launcher has too many mounts" : "its last client still runs");
        return;
    }
    close_kept(c);
    clear(c);
    (void)gfs_str_copy(c->id, sizeof(c->id), msg->spec.id);
    c->seq = msg->seq;
    c->fuse_fd = take(&fds[FD_DEVICE]);
    c->session_fd = take(&fds[FD_SESSION]);
    c->keeper_fd = take(&fds[FD_KEEPER]);
    rc = start(l, c, fds[FD_CLIENT]);
    if (rc != 0) {
        tell_exited(l, c->id, c->seq, 0, rc, gfs_err_string(rc));
        return;
    }
    gfs_info("launcher", "client started", "id=%s pid=%d", c->id, c->pid);
    tell_started(l, c);
}

void gfsi_launched_kill(struct gfsi_launcher *l)
{
    const struct gfsi_launched *c = find(l, l->msg->spec.id);

    if (c != NULL && c->pid != 0 && l->msg->signal >= 1 && l->msg->signal < NSIG) {
        (void)kill(c->pid, (int)l->msg->signal);
    }
}

/* A client that still serves open files of a detached mount goes on; its end frees the entry. */
void gfsi_launched_drop(struct gfsi_launcher *l)
{
    struct gfsi_launched *c =
        gfs_keeper_id_valid(l->msg->spec.id) ? find(l, l->msg->spec.id) : NULL;

    if (c == NULL) {
        return;
    }
    gfs_info("launcher", "dropped", "id=%s pid=%d", c->id, c->pid);
    close_kept(c);
    if (c->pid == 0) {
        clear(c);
    }
}

void gfsi_launched_reap(struct gfsi_launcher *l)
{
    int status;
    pid_t pid;
    size_t i;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (i = 0; i < GFS_LAUNCH_MOUNTS_MAX && l->launched[i].pid != pid; i++) {
        }
        if (i == GFS_LAUNCH_MOUNTS_MAX) {
            continue; /* as process 1 we inherit orphans */
        }
        gfs_info("launcher", "client ended", "id=%s pid=%d signal=%d status=%d", l->launched[i].id,
                 pid, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                 WIFEXITED(status) ? WEXITSTATUS(status) : 0);
        close_fd(&l->launched[i].pidfd);
        l->launched[i].pid = 0;
        tell_exited(l, l->launched[i].id, l->launched[i].seq, pid, status, NULL);
        if (l->launched[i].fuse_fd < 0) {
            clear(&l->launched[i]);
        }
    }
}
