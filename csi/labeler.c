/* The labeler of a real node: each change is one run of csi-node-labeler. */
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

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/csi/labeler.h>

#define TEXT_MAX      400                   /* of what the program has to say */
#define RUN_MAX_NS    (20 * GFS_NS_PER_S)   /* within which an API server answers or is away */
#define KILL_AFTER_NS (500 * GFS_NS_PER_MS) /* for the program to give up by itself first */

/* Of csi-node-labeler. */
#define EXIT_USAGE    64
#define EXIT_TEMPFAIL 75
#define EXIT_NOPERM   77

struct gfs_csi_node_program {
    struct gfs_csi_node_labeler labeler;
    char *program, *kubeconfig, *node;
};

/* Reads what comes, until all ends are closed or `deadline`. false: the time is over. */
static bool read_until(int fd, int64_t deadline, char *text, size_t size)
{
    size_t len = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - gfs_clock_mono();
        char rest[256];
        ssize_t n;

        if (left <= 0 || (poll(&p, 1, (int)(left / GFS_NS_PER_MS) + 1) < 0 && errno != EINTR)) {
            return false;
        }
        if (p.revents == 0) {
            continue;
        }
        n = len + 1 < size ? read(fd, text + len, size - 1 - len) : read(fd, rest, sizeof(rest));
        if (n <= 0) {
            return n == 0;
        }
        if (len + 1 < size) {
            len += (size_t)n;
            text[len] = '\0';
        }
    }
}

/* What the program is to do. */
struct task {
    const char *verb;
    const char *const *keys;
    size_t n;
};

static int spawn(const struct gfs_csi_node_program *p, const struct task *task, int64_t timeout_ns,
                 int output, pid_t *out_pid)
{
    char timeout[48];
    char *argv[9 + GFS_CSI_LABELS_MAX] = {p->program,    (char *)(uintptr_t) "--kubeconfig",
                                          p->kubeconfig, (char *)(uintptr_t) "--node",
                                          p->node,       (char *)(uintptr_t) "--timeout-ms",
                                          timeout,       (char *)(uintptr_t)task->verb};
    char *env[] = {(char *)(uintptr_t) "PATH=/usr/local/bin:/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    int rc;

    for (size_t i = 0; i < task->n; i++) {
        argv[8 + i] = (char *)(uintptr_t)task->keys[i];
    }
    (void)snprintf(timeout, sizeof(timeout), "%lld", (long long)(timeout_ns / GFS_NS_PER_MS) + 1);
    (void)sigemptyset(&none);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    rc = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (rc == 0) {
        rc = posix_spawn(out_pid, p->program, &actions, &attr, argv, env);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

static int outcome(int status, bool in_time, const char *key, char *text, struct gfs_err *err)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    if (code == 0) {
        return 0;
    }
    text[strcspn(text, "\n")] = '\0';
    if (!in_time || text[0] == '\0') {
        (void)snprintf(text, TEXT_MAX, in_time ? "ended with status %d" : "no answer in time",
                       status);
    }
    return gfs_err_set(err,
                       !in_time || code == EXIT_TEMPFAIL || code == -1 ? GFS_EUNAVAIL
                       : code == EXIT_NOPERM                           ? GFS_EPERM
                                                                       : GFS_EINTERNAL,
                       "label %s of this node: %s", key, text);
}

static int run(const struct gfs_csi_node_program *p, const struct task *task, int64_t deadline,
               struct gfs_err *err)
{
    int64_t now = gfs_clock_mono();
    int64_t end = now + RUN_MAX_NS < deadline ? now + RUN_MAX_NS : deadline;
    char text[TEXT_MAX] = "";
    int pipe_fds[2];
    int read_end gfs_auto_fd = -1;
    bool in_time;
    int status = 0;
    pid_t pid;
    int rc;

    if (end <= now) {
        return gfs_err_set(err, GFS_ETIMEOUT, "no time is left to label the node");
    }
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        return gfs_err_set_errno(err, errno, "pipe");
    }
    read_end = pipe_fds[0];
    rc = spawn(p, task, end - now, pipe_fds[1], &pid);
    (void)close(pipe_fds[1]);
    if (rc != 0) {
        return gfs_err_set_errno(err, rc, "cannot run %s", p->program);
    }

    in_time = read_until(read_end, end + KILL_AFTER_NS, text, sizeof(text));
    if (!in_time) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return outcome(status, in_time, task->keys[0], text, err);
}

static int set_label(void *self, const char *key, int64_t deadline, struct gfs_err *err)
{
    return run(self, &(struct task){.verb = "set", .keys = &key, .n = 1}, deadline, err);
}

static int remove_label(void *self, const char *key, int64_t deadline, struct gfs_err *err)
{
    return run(self, &(struct task){.verb = "remove", .keys = &key, .n = 1}, deadline, err);
}

static int check_labels(void *self, const char *const *keys, size_t n, int64_t deadline,
                        struct gfs_err *err)
{
    if (n == 0 || n > GFS_CSI_LABELS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "%zu labels", n);
    }
    return run(self, &(struct task){.verb = "check", .keys = keys, .n = n}, deadline, err);
}

int gfs_csi_node_program_new(const char *program, const char *kubeconfig, const char *node,
                             struct gfs_csi_node_program **out, struct gfs_err *err)
{
    struct gfs_csi_node_program *p;

    if (access(program, X_OK) < 0 || access(kubeconfig, R_OK) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s must be a program and %s a kubeconfig", program,
                           kubeconfig);
    }
    p = calloc(1, sizeof(*p));
    if (p != NULL) {
        p->program = strdup(program);
        p->kubeconfig = strdup(kubeconfig);
        p->node = strdup(node);
        p->labeler = (struct gfs_csi_node_labeler){
            .self = p, .set = set_label, .remove = remove_label, .check = check_labels};
    }
    if (p == NULL || p->program == NULL || p->kubeconfig == NULL || p->node == NULL) {
        (void)gfs_csi_node_program_free(p);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *out = p;
    return 0;
}

const struct gfs_csi_node_labeler *
gfs_csi_node_program_labeler(const struct gfs_csi_node_program *p)
{
    return &p->labeler;
}

struct gfs_csi_node_program *gfs_csi_node_program_free(struct gfs_csi_node_program *p)
{
    if (p != NULL) {
        free(p->program);
        free(p->kubeconfig);
        free(p->node);
        free(p);
    }
    return NULL;
}
