#include "prober_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

struct pending {
    uint64_t id; /* 0: free */
    int64_t deadline;
    gfsi_probe_done done;
    void *arg;
};

struct gfs_csi_prober {
    int socket;
    int wake; /* eventfd: a nearer deadline, or stopping */
    pid_t child;

    pthread_mutex_t mutex;
    struct pending pending[GFSI_PROBES_MAX];
    uint64_t next_id;
    bool dead; /* the child process is gone */
    bool stopping;
    bool started;
    pthread_t thread; /* started by the first question: no thread before the last fork */
};

/* Closes every inherited descriptor but `keep` and the standard ones. */
static void close_others(int keep)
{
    if (keep > 3) {
        (void)syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u);
    }
    (void)syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u);
}

int gfs_csi_prober_new(struct gfs_csi_prober **out, struct gfs_err *err)
{
    struct gfs_csi_prober *p = calloc(1, sizeof(*p));
    int sockets[2] = {-1, -1};

    if (p == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    p->socket = -1;
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&p->mutex, NULL);
    if (p->wake < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
        int rc = gfs_err_set_errno(err, errno, "prober");

        (void)gfs_csi_prober_free(p);
        return rc;
    }

    p->child = fork();
    if (p->child == 0) {
        close_others(sockets[1]);
        gfsi_prober_child_main(sockets[1]);
    }
    (void)close(sockets[1]);
    p->socket = sockets[0];
    if (p->child < 0) {
        int rc = gfs_err_set_errno(err, errno, "fork of the prober");

        (void)gfs_csi_prober_free(p);
        return rc;
    }

    *out = p;
    return 0;
}

static bool take_pending(struct gfs_csi_prober *p, uint64_t id, struct pending *out)
{
    for (int i = 0; i < GFSI_PROBES_MAX; i++) {
        if (p->pending[i].id == id) {
            *out = p->pending[i];
            p->pending[i].id = 0;
            return true;
        }
    }
    return false;
}

static void receive(struct gfs_csi_prober *p)
{
    struct gfsi_probe_answer answer;
    struct pending pending;
    int fd;
    long n = gfsi_prober_recv(p->socket, &answer, sizeof(answer), &fd);
    bool found = false;

    (void)pthread_mutex_lock(&p->mutex);
    if (n == 0 || (n < 0 && n != -EINTR && n != -EAGAIN)) {
        p->dead = true;
    }
    if (n == (long)sizeof(answer)) {
        found = take_pending(p, answer.id, &pending);
    }
    (void)pthread_mutex_unlock(&p->mutex);

    if (found) {
        answer.result.fd = GFS_TAKE_FD(fd);
        pending.done(pending.arg, &answer.result);
    }
    if (fd >= 0) {
        (void)close(fd); /* too late: nobody waits for it any more */
    }
}

/* Ends what is overdue, or all when the child process is gone. Returns the earliest deadline left.
 */
static int64_t expire(struct gfs_csi_prober *p)
{
    int64_t now = gfs_clock_mono();
    int64_t earliest = INT64_MAX;

    for (int i = 0; i < GFSI_PROBES_MAX; i++) {
        struct pending due = {0};
        bool dead;

        (void)pthread_mutex_lock(&p->mutex);
        dead = p->dead || p->stopping;
        if (p->pending[i].id != 0 && (dead || p->pending[i].deadline <= now)) {
            due = p->pending[i];
            p->pending[i].id = 0;
        } else if (p->pending[i].id != 0 && p->pending[i].deadline < earliest) {
            earliest = p->pending[i].deadline;
        }
        (void)pthread_mutex_unlock(&p->mutex);

        if (due.id != 0) {
            struct gfsi_probe_question end = {.id = due.id, .kind = GFSI_PROBE_KILL};
            struct gfsi_probe_result result = {.error = dead ? EPIPE : ETIMEDOUT, .fd = -1};

            (void)gfsi_prober_send(p->socket, &end, sizeof(end), -1, 0);
            due.done(due.arg, &result);
        }
    }
    return earliest;
}

static void *reader_main(void *arg)
{
    struct gfs_csi_prober *p = arg;

    for (;;) {
        int64_t earliest = expire(p);
        int64_t wait_ms = -1;
        struct pollfd fds[2] = {{.fd = p->socket, .events = POLLIN},
                                {.fd = p->wake, .events = POLLIN}};
        bool stopping;
        uint64_t count;

        (void)pthread_mutex_lock(&p->mutex);
        stopping = p->stopping;
        if (p->dead) {
            fds[0].fd = -1;
        }
        (void)pthread_mutex_unlock(&p->mutex);
        if (stopping) {
            (void)expire(p);
            return NULL;
        }

        if (earliest != INT64_MAX) {
            wait_ms = (earliest - gfs_clock_mono()) / GFS_NS_PER_MS + 1;
            wait_ms = wait_ms < 0 ? 0 : wait_ms;
        }
        (void)poll(fds, 2, wait_ms > 60000 ? 60000 : (int)wait_ms);
        if (fds[1].revents != 0 && read(p->wake, &count, sizeof(count)) < 0) {
            continue; /* somebody else's wake-up was merged into the last one */
        }
        if (fds[0].revents != 0) {
            receive(p);
        }
    }
}

static int start(struct gfs_csi_prober *p, uint32_t kind, int fd, const char *sub_path,
                 int64_t timeout_ns, gfsi_probe_done done, void *arg, struct gfs_err *err)
{
    struct gfsi_probe_question question = {.kind = kind};
    struct pending *slot = NULL;
    struct pending taken;
    uint64_t one = 1;
    bool found;
    long n;

    if (gfs_str_copy(question.sub_path, sizeof(question.sub_path), sub_path) < 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "sub path too long");
    }

    (void)pthread_mutex_lock(&p->mutex);
    for (int i = 0; i < GFSI_PROBES_MAX && slot == NULL; i++) {
        slot = p->pending[i].id == 0 ? &p->pending[i] : NULL;
    }
    if (!p->started && !p->dead) {
        p->started = pthread_create(&p->thread, NULL, reader_main, p) == 0;
    }
    if (slot == NULL || p->dead || p->stopping || !p->started) {
        (void)pthread_mutex_unlock(&p->mutex);
        return gfs_err_set(err, slot == NULL ? GFS_EBUSY : GFS_EUNAVAIL,
                           slot == NULL ? "too many mounts are being asked at once"
                                        : "the probing process is gone");
    }
    question.id = ++p->next_id;
    *slot = (struct pending){
        .id = question.id, .deadline = gfs_clock_mono() + timeout_ns, .done = done, .arg = arg};
    (void)pthread_mutex_unlock(&p->mutex);

    n = gfsi_prober_send(p->socket, &question, sizeof(question), fd, 0);
    (void)!write(p->wake, &one, sizeof(one));
    if (n >= 0) {
        return 0;
    }

    (void)pthread_mutex_lock(&p->mutex);
    found = take_pending(p, question.id, &taken);
    (void)pthread_mutex_unlock(&p->mutex);
    /* When the reader was quicker to see it, it has called `done`. */
    return found ? gfs_err_set_errno(err, (int)-n, "the probing process") : 0;
}

int gfsi_prober_statfs(struct gfs_csi_prober *p, int fd, int64_t timeout_ns, gfsi_probe_done done,
                       void *arg, struct gfs_err *err)
{
    return start(p, GFSI_PROBE_STATFS, fd, "", timeout_ns, done, arg, err);
}

/* ---- waiting for the answer ---- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    struct gfsi_probe_result result;
};

static void wake_waiting(void *arg, const struct gfsi_probe_result *result)
{
    struct waiting *w = arg;

    (void)pthread_mutex_lock(&w->mutex);
    w->result = *result;
    w->done = true;
    (void)pthread_cond_signal(&w->cond);
    (void)pthread_mutex_unlock(&w->mutex);
}

static int ask_and_wait(struct gfs_csi_prober *p, uint32_t kind, int fd, const char *sub_path,
                        int64_t timeout_ns, struct gfsi_probe_result *out, struct gfs_err *err)
{
    struct waiting w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    int rc = start(p, kind, fd, sub_path, timeout_ns, wake_waiting, &w, err);

    if (rc == 0) {
        (void)pthread_mutex_lock(&w.mutex);
        while (!w.done) {
            (void)pthread_cond_wait(&w.cond, &w.mutex);
        }
        (void)pthread_mutex_unlock(&w.mutex);
        *out = w.result;
    }
    (void)pthread_cond_destroy(&w.cond);
    (void)pthread_mutex_destroy(&w.mutex);
    return rc;
}

static int result_error(int error, const char *what, struct gfs_err *err)
{
    switch (error) {
    case 0: return 0;
    case ETIMEDOUT: return gfs_err_set(err, GFS_ETIMEOUT, "%s: the file system hangs", what);
    case ELOOP:
    case EXDEV:
        return gfs_err_set(err, GFS_EPERM, "%s: symbolic links and mounts are not followed", what);
    case ENOTCONN:
    case ECONNABORTED:
    case ESTALE:
    case EPIPE:
    case EAGAIN: return gfs_err_set(err, GFS_EUNAVAIL, "%s: the file system is dead", what);
    default: return gfs_err_set_errno(err, error, "%s", what);
    }
}

int gfsi_prober_open(struct gfs_csi_prober *p, int fd, const char *sub_path, int64_t timeout_ns,
                     int *out_fd, mode_t *out_mode, struct gfs_err *err)
{
    struct gfsi_probe_result result = {.fd = -1};
    int rc = ask_and_wait(p, GFSI_PROBE_OPEN, fd, sub_path, timeout_ns, &result, err);

    if (rc == 0) {
        rc = result_error(result.error, "sub path", err);
    }
    if (rc < 0) {
        return rc;
    }
    if (result.fd < 0) {
        return gfs_err_set(err, GFS_EIO, "the probing process sent no descriptor");
    }
    *out_fd = result.fd;
    *out_mode = result.mode;
    return 0;
}

int gfsi_prober_check(struct gfs_csi_prober *p, int fd, int64_t timeout_ns, struct gfs_err *err)
{
    struct gfsi_probe_result result = {.fd = -1};
    int rc = ask_and_wait(p, GFSI_PROBE_STATFS, fd, "", timeout_ns, &result, err);

    return rc < 0 ? rc : result_error(result.error, "mount", err);
}

bool gfsi_prober_alive(struct gfs_csi_prober *p)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&p->mutex);

    return !p->dead;
}

struct gfs_csi_prober *gfs_csi_prober_free(struct gfs_csi_prober *p)
{
    uint64_t one = 1;

    if (p == NULL) {
        return NULL;
    }

    (void)pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    (void)pthread_mutex_unlock(&p->mutex);
    if (p->started) {
        (void)!write(p->wake, &one, sizeof(one));
        (void)pthread_join(p->thread, NULL);
    }
    if (p->socket >= 0) {
        (void)close(p->socket); /* the child process leaves */
    }
    if (p->child > 0) {
        while (waitpid(p->child, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (p->wake >= 0) {
        (void)close(p->wake);
    }
    (void)pthread_mutex_destroy(&p->mutex);
    free(p);
    return NULL;
}
