/* Life of the server: made, mounted or taken over, run, ended. */
#include "fuse_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#define LEAVE_MS           5000 /* from our own unmount to giving up on those who still use it */
#define INTERRUPT_GRACE_NS GFS_NS_PER_S

extern char **environ;

bool gfs_fuse_inherited(void)
{
    return getenv(GFS_KEEPER_ENV) != NULL;
}

uint32_t gfs_fuse_generation(void)
{
    struct {
        uint32_t magic, version;
        uint64_t size;
        uint32_t generation;
    } head; /* of struct gfs_session */

    if (!gfs_fuse_inherited() ||
        pread(GFS_SESSION_STATE_FD, &head, sizeof(head), 0) != (ssize_t)sizeof(head)) {
        return 1;
    }
    return head.generation;
}

void gfs_fuse_report_failure(int code, const char *text)
{
    if (gfs_fuse_inherited()) {
        gfsi_control_send(GFS_CONTROL_FAIL, code, 0, text);
    }
}

static int make_session(struct gfs_fuse *fuse, struct gfs_err *err)
{
    const struct gfs_fuse_config *c = &fuse->config;
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct gfs_buf options gfs_auto_buf;
    bool ok;

    /* Under a keeper these change nothing about the mount; max_read must be what it was mounted
     * with, which the library checks against what init negotiates. */
    gfs_buf_init(&options, 4096);
    (void)gfs_buf_printf(&options, "-omax_read=%u", GFS_FUSE_MAX_READ);
    if (!gfs_fuse_inherited()) {
        (void)gfs_buf_printf(&options,
                             ",ro,nosuid,nodev,default_permissions,subtype=%s,fsname=%s%s",
                             c->subtype, c->source, c->allow_other ? ",allow_other" : "");
    }
    ok = options.error == 0 && fuse_opt_add_arg(&args, c->subtype) == 0 &&
         fuse_opt_add_arg(&args, gfs_buf_str(&options)) == 0;
    if (ok) {
        fuse->session = fuse_session_new(&args, &gfsi_fuse_ops, sizeof(gfsi_fuse_ops), fuse);
    }
    fuse_opt_free_args(&args);
    if (fuse->session == NULL) {
        return gfs_err_set(err, GFS_EINTERNAL, "cannot make a FUSE session");
    }
    return 0;
}

static int make_tables(struct gfs_fuse *fuse)
{
    int64_t wall = gfs_clock_wall_ms();
    int rc = gfsi_file_table_init(&fuse->files, &fuse->config.backend);

    if (rc == 0) {
        rc = gfsi_dir_table_init(&fuse->dirs, &fuse->config.backend, (uint64_t)wall << 20);
    }
    return rc != 0 ? rc : gfsi_version_cache_init(&fuse->versions);
}

/* Timed by the monotonic clock. */
static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

int gfs_fuse_new(const struct gfs_fuse_config *config, struct gfs_fuse **out, struct gfs_err *err)
{
    struct gfs_fuse *fuse;
    int rc;

    if (config->threads < 1 || config->threads > GFS_FUSE_THREADS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "FUSE threads must be 1 to %d", GFS_FUSE_THREADS_MAX);
    }
    fuse = calloc(1, sizeof(*fuse));
    if (fuse == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "FUSE server");
    }
    fuse->config = *config;
    if (fuse->config.interrupt_grace_ns == 0) {
        fuse->config.interrupt_grace_ns = INTERRUPT_GRACE_NS;
    }
    (void)pthread_mutex_init(&fuse->backing_mutex, NULL);
    (void)pthread_mutex_init(&fuse->pool_mutex, NULL);
    init_cond(&fuse->backing_cond);
    gfsi_reply_bufs_init(&fuse->reply_bufs, GFS_FUSE_MAX_READ);
    fuse->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fuse->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fuse->wake_fd < 0 || fuse->interrupt_fd < 0) {
        rc = gfs_err_set_errno(err, errno, "eventfd");
        goto fail;
    }
    rc = make_tables(fuse);
    if (rc != 0) {
        (void)gfs_err_set(err, rc, "FUSE server");
        goto fail;
    }
    fuse->own_metrics = config->metrics == NULL ? gfs_metrics_new() : NULL;
    fuse->metrics = config->metrics != NULL ? config->metrics : fuse->own_metrics;
    if (fuse->metrics == NULL) {
        rc = gfs_err_set(err, GFS_ENOMEM, "FUSE server");
        goto fail;
    }
    gfsi_metrics_init(fuse);
    rc = make_session(fuse, err);
    if (rc != 0) {
        goto fail;
    }
    *out = fuse;
    return 0;

fail:
    (void)gfs_fuse_free(fuse);
    return rc;
}

struct gfs_fuse *gfs_fuse_free(struct gfs_fuse *fuse)
{
    if (fuse == NULL) {
        return NULL;
    }
    if (fuse->session != NULL) {
        fuse_session_destroy(fuse->session);
    }
    gfsi_mode_table_fini(&fuse->modes);
    if (fuse->state != NULL) {
        (void)munmap(fuse->state, sizeof(*fuse->state));
    }
    gfsi_version_cache_fini(&fuse->versions);
    gfsi_dir_table_fini(&fuse->dirs);
    gfsi_file_table_fini(&fuse->files);
    if (fuse->wake_fd >= 0) {
        (void)close(fuse->wake_fd);
    }
    if (fuse->interrupt_fd >= 0) {
        (void)close(fuse->interrupt_fd);
    }
    gfsi_reply_bufs_fini(&fuse->reply_bufs);
    (void)pthread_mutex_destroy(&fuse->pool_mutex);
    (void)pthread_cond_destroy(&fuse->backing_cond);
    (void)pthread_mutex_destroy(&fuse->backing_mutex);
    if (fuse->own_metrics != NULL) {
        fuse->own_metrics = gfs_metrics_free(fuse->own_metrics);
    }
    free(fuse->pool);
    free(fuse->mountpoint);
    free(fuse);
    return NULL;
}

int gfs_fuse_mount(struct gfs_fuse *fuse, const char *mountpoint, struct gfs_err *err)
{
    char *path = realpath(mountpoint, NULL);

    if (path == NULL) {
        return gfs_err_set_errno(err, errno, "mountpoint %s", mountpoint);
    }
    if (fuse_session_mount(fuse->session, path) != 0) {
        (void)gfs_err_set(err, GFS_EIO, "cannot mount at %s (is /dev/fuse there and permitted?)",
                          path);
        free(path);
        return GFS_EIO;
    }
    fuse->mountpoint = path;
    return 0;
}

/* Root unmounts itself, others by the set-uid helper. The device stays open: threads read from it
 * until the kernel says that nobody uses the mount any more. */
static void unmount(const char *mountpoint)
{
    char *argv[] = {(char[]){"fusermount3"}, (char[]){"-u"}, (char[]){"-z"},
                    (char[]){"--"},          NULL,           NULL};
    pid_t pid;

    if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM) {
        return;
    }
    argv[4] = strdup(mountpoint);
    if (argv[4] != NULL && posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0) {
        (void)waitpid(pid, NULL, 0);
    }
    free(argv[4]);
}

static void end_signals(sigset_t *out)
{
    (void)sigemptyset(out);
    (void)sigaddset(out, SIGTERM);
    (void)sigaddset(out, SIGINT);
}

void gfs_fuse_block_signals(void)
{
    sigset_t set;

    end_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int open_signals(int *out, struct gfs_err *err)
{
    sigset_t set;
    int fd;

    end_signals(&set);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "signalfd");
    }
    *out = fd;
    return 0;
}

/* Until the workers have ended (true), or the process should end with them still waiting (false).
 */
static bool wait_for_end(struct gfs_fuse *fuse, int signal_fd)
{
    struct pollfd fds[4] = {
        {.fd = fuse->wake_fd, .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
        {.fd = fuse->state != NULL ? GFS_SESSION_CONTROL_FD : -1, .events = POLLIN},
        {.fd = fuse->interrupt_fd, .events = POLLIN},
    };
    int64_t leave = INT64_MAX;
    int look_ms = -1;

    for (;;) {
        int n = poll(fds, 4, look_ms >= 0 || leave == INT64_MAX ? look_ms : LEAVE_MS);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (fds[0].revents != 0) {
            return true;
        }
        if (gfs_clock_mono() >= leave) {
            return false;
        }
        if (n == 0 || fds[3].revents != 0) {
            look_ms = gfsi_interrupt_look(fuse);
        }
        if (n > 0 && fds[2].revents != 0 && !gfsi_control_receive(fuse)) {
            gfs_warn("fuse", "the keeper is gone, serving on", "pid=%d", getpid());
            fds[2].fd = -1;
        }
        if (n > 0 && fds[1].revents != 0) {
            if (fuse->mountpoint == NULL) {
                return false; /* the keeper's next client goes on */
            }
            unmount(fuse->mountpoint);
            fds[1].fd = -1;
            leave = gfs_clock_mono() + LEAVE_MS * GFS_NS_PER_MS;
        }
    }
}

static int start(struct gfs_fuse *fuse, struct gfs_err *err)
{
    int rc = 0;

    if (gfs_fuse_inherited()) {
        rc = gfsi_channel_open(fuse, err);
    }
    if (rc == 0) {
        rc = gfsi_mode_table_init(&fuse->modes, fuse->state != NULL ? fuse->state->opens : NULL);
    }
    if (rc == 0 && fuse->state != NULL) {
        rc = gfsi_channel_handshake(fuse, err);
    }
    fuse->pool = rc == 0 ? calloc(GFS_FUSE_THREADS_MAX, sizeof(*fuse->pool)) : NULL;
    if (rc == 0 && fuse->pool == NULL) {
        rc = gfs_err_set(err, GFS_ENOMEM, "FUSE threads");
    }
    return rc != 0 ? rc : gfsi_fuse_pool_start(fuse, err);
}

int gfs_fuse_run(struct gfs_fuse *fuse, struct gfs_err *err)
{
    struct gfs_err own = GFS_ERR_INIT;
    int signal_fd gfs_auto_fd = -1;
    int rc = open_signals(&signal_fd, &own);

    if (rc == 0) {
        rc = start(fuse, &own);
    }
    if (rc != 0) {
        gfs_fuse_report_failure(rc, own.text);
        return gfs_err_set(err, rc, "%s", own.text);
    }
    if (fuse->state != NULL) {
        gfsi_control_send(GFS_CONTROL_READY, 0, (uint64_t)getpid(), NULL);
    }
    gfs_info("fuse", "serving", "threads=%u generation=%u", fuse->config.threads,
             fuse->state != NULL ? fuse->state->generation : 1);
    if (!wait_for_end(fuse, signal_fd)) {
        /* Threads are in the kernel, waiting for requests, and cannot be joined; everything that
         * matters outlives this process. */
        gfs_info("fuse", "leaving", "pid=%d", getpid());
        _exit(0);
    }
    gfsi_fuse_pool_join(fuse);
    if (fuse->mountpoint != NULL) {
        fuse_session_unmount(fuse->session);
    }
    gfs_info("fuse", "unmounted", "pid=%d", getpid());
    return 0;
}
