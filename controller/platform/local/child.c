#include "platform/local/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/local/pidfile.h"

#define DEFAULT_GRACE_NS   (10 * GFS_NS_PER_S)
#define DEFAULT_BACKOFF_NS (500 * GFS_NS_PER_MS)
#define BACKOFF_STEPS      60 /* longest pause, in first pauses */

/* Having run so long, a process is thought healthy and its next end starts with the short pause. */
#define STABLE_NS (60 * GFS_NS_PER_S)

struct gfsi_child {
    struct gfsi_loop *loop;
    gfsi_child_fn fn;
    void *arg;
    char *program, *directory, *log_path, *pid_path;
    char **argv, **env;
    uint64_t hash;
    int64_t grace_ns;

    enum gfsi_child_state state;
    bool wanted; /* should run: an end leads to BACKOFF, not STOPPED */
    bool ours;   /* a child of this process: its exit status can be had */
    pid_t pid;
    int pidfd;
    struct gfsi_watch *watch;
    struct gfsi_timer timer; /* end of the pause, or SIGKILL */
    struct gfs_backoff backoff;
    int64_t started; /* monotonic */
    int64_t started_ms;
    unsigned starts;
    char reason[128];
};

static char **copy_list(const char *const *list)
{
    size_t n = 0;

    while (list[n] != NULL) {
        n++;
    }

    char **copy = calloc(n + 1, sizeof(*copy));

    for (size_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = strdup(list[i]);
        if (copy[i] == NULL) {
            for (size_t k = 0; k < i; k++) {
                free(copy[k]);
            }
            free(copy);
            return NULL;
        }
    }

    return copy;
}

static void free_list(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        free(list[i]);
    }

    free(list);
}

int gfsi_child_new(struct gfsi_loop *loop, const struct gfsi_child_spec *spec, gfsi_child_fn fn,
                   void *arg, struct gfsi_child **out)
{
    struct gfsi_child *child = calloc(1, sizeof(*child));

    if (child == NULL) {
        return GFS_ENOMEM;
    }

    int64_t first = spec->backoff_ns > 0 ? spec->backoff_ns : DEFAULT_BACKOFF_NS;

    child->loop = loop;
    child->fn = fn;
    child->arg = arg;
    child->pidfd = -1;
    child->hash = spec->hash;
    child->grace_ns = spec->grace_ns > 0 ? spec->grace_ns : DEFAULT_GRACE_NS;
    child->program = strdup(spec->program);
    child->directory = strdup(spec->directory);
    child->log_path = strdup(spec->log_path);
    child->pid_path = strdup(spec->pid_path);
    child->argv = copy_list(spec->argv);
    child->env = copy_list(spec->env);
    gfs_backoff_init(&child->backoff, first, first * BACKOFF_STEPS, spec->hash);
    if (child->program == NULL || child->directory == NULL || child->log_path == NULL ||
        child->pid_path == NULL || child->argv == NULL || child->env == NULL) {
        (void)gfsi_child_free(child);
        return GFS_ENOMEM;
    }

    *out = child;
    return 0;
}

struct gfsi_child *gfsi_child_free(struct gfsi_child *child)
{
    if (child == NULL) {
        return NULL;
    }

    GFS_ASSERT_EQ(child->pidfd, -1);
    gfsi_timer_clear(child->loop, &child->timer);
    free(child->program);
    free(child->directory);
    free(child->log_path);
    free(child->pid_path);
    free_list(child->argv);
    free_list(child->env);
    free(child);
    return NULL;
}

static void move(struct gfsi_child *child, enum gfsi_child_state to)
{
    static const bool allowed[4][4] = {
        [GFSI_CHILD_STOPPED] = {[GFSI_CHILD_RUNNING] = true, [GFSI_CHILD_BACKOFF] = true},
        [GFSI_CHILD_RUNNING] = {[GFSI_CHILD_BACKOFF] = true, [GFSI_CHILD_STOPPING] = true},
        [GFSI_CHILD_BACKOFF] =
            {[GFSI_CHILD_RUNNING] = true, [GFSI_CHILD_BACKOFF] = true, [GFSI_CHILD_STOPPED] = true},
        [GFSI_CHILD_STOPPING] = {[GFSI_CHILD_STOPPED] = true},
    };

    GFS_ASSERT(allowed[child->state][to]);
    child->state = to;

    /* A process exists exactly in the two states that say so. */
    GFS_ASSERT_EQ(child->pidfd >= 0, to == GFSI_CHILD_RUNNING || to == GFSI_CHILD_STOPPING);
}

static void notify(struct gfsi_child *child)
{
    child->fn(child->arg, child);
}

static void launch(struct gfsi_child *child);

static void on_pause_over(void *arg)
{
    struct gfsi_child *child = arg;

    launch(child);
    notify(child);
}

static void pause_then_start(struct gfsi_child *child)
{
    if (child->started != 0 && gfs_clock_mono() - child->started > STABLE_NS) {
        gfs_backoff_reset(&child->backoff);
    }

    move(child, GFSI_CHILD_BACKOFF);
    gfsi_timer_set(child->loop, &child->timer, gfs_clock_mono() + gfs_backoff_next(&child->backoff),
                   on_pause_over, child);
}

static void describe_status(struct gfsi_child *child)
{
    siginfo_t info = {0};

    if (!child->ours || waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0) {
        (void)snprintf(child->reason, sizeof(child->reason), "ended");
        return;
    }

    if (info.si_code == CLD_EXITED) {
        (void)snprintf(child->reason, sizeof(child->reason), "exit status %d", info.si_status);
    } else {
        (void)snprintf(child->reason, sizeof(child->reason), "signal %d (%s)", info.si_status,
                       strsignal(info.si_status));
    }
}

static void on_exit_event(void *arg)
{
    struct gfsi_child *child = arg;
    bool stopping = child->state == GFSI_CHILD_STOPPING;

    describe_status(child);
    gfsi_timer_clear(child->loop, &child->timer);
    child->watch = gfsi_loop_unwatch(child->loop, child->watch);
    (void)close(child->pidfd);
    child->pidfd = -1;
    child->pid = 0;
    (void)unlink(child->pid_path);

    if (stopping) {
        move(child, GFSI_CHILD_STOPPED);
        if (child->wanted) { /* it was an old one that had to go first */
            launch(child);
        }
    } else {
        pause_then_start(child);
    }

    notify(child);
}

static void on_grace_over(void *arg)
{
    struct gfsi_child *child = arg;

    gfs_warn("local", "killing a process that did not stop", "pid=%d log=%s", (int)child->pid,
             GFS_Q(child->log_path));
    (void)gfsi_pidfd_signal(child->pidfd, SIGKILL);
}

static void terminate(struct gfsi_child *child)
{
    move(child, GFSI_CHILD_STOPPING);
    (void)gfsi_pidfd_signal(child->pidfd, SIGTERM);
    gfsi_timer_set(child->loop, &child->timer, gfs_clock_mono() + child->grace_ns, on_grace_over,
                   child);
}

/* Takes the descriptor. */
static int watch_process(struct gfsi_child *child, pid_t pid, int pidfd, bool ours)
{
    int rc = gfsi_loop_watch(child->loop, pidfd, on_exit_event, child, &child->watch);

    if (rc < 0) {
        (void)gfsi_pidfd_signal(pidfd, SIGKILL);
        if (ours) {
            (void)waitpid(pid, NULL, 0);
        }
        (void)close(pidfd);
        return rc;
    }

    child->pid = pid;
    child->pidfd = pidfd;
    child->ours = ours;
    child->started = gfs_clock_mono();
    child->started_ms = gfs_clock_wall_ms();
    child->starts++;
    move(child, GFSI_CHILD_RUNNING);
    return 0;
}

static int file_actions(const struct gfsi_child *child, posix_spawn_file_actions_t *actions)
{
    int rc = posix_spawn_file_actions_init(actions);

    if (rc != 0) {
        return rc;
    }

    rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0) {
        rc = posix_spawn_file_actions_addopen(actions, 1, child->log_path,
                                              O_WRONLY | O_CREAT | O_APPEND, 0640);
    }
    if (rc == 0) {
        rc = posix_spawn_file_actions_adddup2(actions, 1, 2);
    }
    if (rc == 0) {
        rc = posix_spawn_file_actions_addchdir_np(actions, child->directory);
    }
    if (rc == 0) {
        /* Libraries may hold descriptors that are not close-on-exec. */
        rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    }
    if (rc != 0) {
        (void)posix_spawn_file_actions_destroy(actions);
    }

    return rc;
}

/* 0 or an errno value. */
static int spawn(const struct gfsi_child *child, pid_t *out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc = file_actions(child, &actions);

    if (rc != 0) {
        return rc;
    }

    rc = posix_spawnattr_init(&attr);
    if (rc == 0) {
        (void)sigemptyset(&none);
        (void)sigfillset(&all);
        (void)posix_spawnattr_setsigmask(&attr, &none);
        (void)posix_spawnattr_setsigdefault(&attr, &all);
        (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);
        rc = posix_spawn(out, child->program, &actions, &attr, child->argv, child->env);
        (void)posix_spawnattr_destroy(&attr);
    }

    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static void launch(struct gfsi_child *child)
{
    struct gfs_err err = GFS_ERR_INIT;
    pid_t pid = 0;
    int rc = spawn(child, &pid);

    if (rc != 0) {
        (void)snprintf(child->reason, sizeof(child->reason), "cannot start: %s", strerror(rc));
        pause_then_start(child);
        return;
    }

    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd < 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    if (pidfd < 0 || watch_process(child, pid, pidfd, true) < 0) {
        (void)snprintf(child->reason, sizeof(child->reason), "cannot watch it: %s",
                       strerror(errno));
        pause_then_start(child);
        return;
    }
    if (gfsi_pidfile_write(child->pid_path, pid, child->hash, &err) < 0) {
        gfs_warn("local", "cannot record a process", "pid=%d error=%s", (int)pid, GFS_Q(err.text));
    }
}

/* Whether an earlier supervisor's process was found: it is RUNNING, or STOPPING when it is not the
 * one wanted. */
static bool adopt(struct gfsi_child *child)
{
    struct gfsi_pidfile file;

    if (gfsi_pidfile_read(child->pid_path, &file) < 0) {
        return false;
    }

    int pidfd = gfsi_pidfile_open(&file);

    if (pidfd < 0 || watch_process(child, file.pid, pidfd, false) < 0) {
        return false;
    }
    child->started_ms = gfsi_process_start_ms(file.start);
    if (file.hash != child->hash) {
        child->starts = 0;
        terminate(child);
    }

    return true;
}

void gfsi_child_start(struct gfsi_child *child)
{
    child->wanted = true;
    if (child->state == GFSI_CHILD_STOPPED && !adopt(child)) {
        launch(child);
    }

    notify(child);
}

void gfsi_child_stop(struct gfsi_child *child)
{
    child->wanted = false;
    if (child->state == GFSI_CHILD_RUNNING) {
        terminate(child);
    } else if (child->state == GFSI_CHILD_BACKOFF) {
        gfsi_timer_clear(child->loop, &child->timer);
        move(child, GFSI_CHILD_STOPPED);
    }

    notify(child);
}

enum gfsi_child_state gfsi_child_state(const struct gfsi_child *child)
{
    return child->state;
}

pid_t gfsi_child_pid(const struct gfsi_child *child)
{
    return child->pid;
}

unsigned gfsi_child_restarts(const struct gfsi_child *child)
{
    return child->starts > 0 ? child->starts - 1 : 0;
}

int64_t gfsi_child_started_ms(const struct gfsi_child *child)
{
    return child->started_ms;
}

const char *gfsi_child_reason(const struct gfsi_child *child)
{
    return child->reason;
}

static bool wait_gone(int pidfd, int64_t ns)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    return poll(&ended, 1, (int)(ns / GFS_NS_PER_MS)) > 0;
}

bool gfsi_child_reap_leftover(const char *pid_path, int64_t grace_ns)
{
    struct gfsi_pidfile file;

    if (gfsi_pidfile_read(pid_path, &file) < 0) {
        return false;
    }

    int pidfd gfs_auto_fd = gfsi_pidfile_open(&file);

    if (pidfd >= 0) {
        (void)gfsi_pidfd_signal(pidfd, SIGTERM);
        if (!wait_gone(pidfd, grace_ns)) {
            (void)gfsi_pidfd_signal(pidfd, SIGKILL);
            (void)wait_gone(pidfd, grace_ns);
        }
    }

    (void)unlink(pid_path);
    return pidfd >= 0;
}
