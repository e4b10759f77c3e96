/* The pool: threads that each read one request, serve it, and so on until the device says that the
 * mount is gone. It begins with as many as configured; when the last one that waits takes a request
 * another is started, up to GFS_FUSE_THREADS_MAX, so that somebody is there to hear that a reader
 * was interrupted while all others wait for the backend. */
#include "fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#define STACK_SIZE ((size_t)256 << 10)

static __thread struct gfsi_fuse_worker *self;

struct gfsi_fuse_worker *gfsi_fuse_worker_self(void)
{
    return self;
}

static int start_one(struct gfs_fuse *fuse);

static void serve(struct gfsi_fuse_worker *w)
{
    struct gfs_fuse *fuse = w->fuse;
    struct fuse_buf buf = {.mem = NULL};

    while (!fuse_session_exited(fuse->session)) {
        int n;

        atomic_fetch_add(&fuse->waiting, 1);
        n = fuse_session_receive_buf(fuse->session, &buf);
        if (atomic_fetch_sub(&fuse->waiting, 1) == 1 && n > 0) {
            (void)start_one(fuse);
        }
        if (n == -EINTR || n == -EAGAIN || n == -ENOENT) {
            continue;
        }
        if (n <= 0) {
            if (n < 0 && n != -ENODEV && n != -ECONNABORTED) {
                gfs_error("fuse", "reading the device", "errno=%d", -n);
            }
            break;
        }
        if (!gfsi_interrupt_take(fuse, &buf)) {
            gfsi_interrupt_begin(w, &buf);
            fuse_session_process_buf(fuse->session, &buf);
            gfsi_interrupt_end(w);
        }
    }
    free(buf.mem);
}

static void *run(void *arg)
{
    struct gfsi_fuse_worker *w = arg;
    struct gfs_fuse *fuse = w->fuse;
    uint64_t one = 1;

    self = w;
    if (w->index < fuse->config.threads) {
        if (fuse->state != NULL) {
            gfsi_channel_recover_slots(fuse, w->index);
        }
        atomic_fetch_sub(&fuse->recovering, 1);
    }
    serve(w);
    if (atomic_fetch_sub(&fuse->workers, 1) == 1) {
        (void)!write(fuse->wake_fd, &one, sizeof(one));
    }
    return NULL;
}

/* 0, or what pthread_create says; EAGAIN too when there are as many as there may be. */
static int start_one(struct gfs_fuse *fuse)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&fuse->pool_mutex);
    unsigned n = atomic_load(&fuse->pool_started);
    struct gfsi_fuse_worker *w = &fuse->pool[n];
    pthread_attr_t attr;
    int rc;

    /* One too early would write into a slot that still has a predecessor's request. */
    if (n == GFS_FUSE_THREADS_MAX ||
        (n >= fuse->config.threads && atomic_load(&fuse->recovering) > 0)) {
        return EAGAIN;
    }
    w->fuse = fuse;
    w->index = n;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    atomic_fetch_add(&fuse->workers, 1);
    rc = pthread_create(&w->thread, &attr, run, w);
    if (rc != 0) {
        atomic_fetch_sub(&fuse->workers, 1);
    } else {
        atomic_store(&fuse->pool_started, n + 1);
    }
    (void)pthread_attr_destroy(&attr);
    return rc;
}

int gfsi_fuse_pool_start(struct gfs_fuse *fuse, struct gfs_err *err)
{
    int rc = 0;

    atomic_store(&fuse->workers, 1); /* ours, until all are started */
    atomic_store(&fuse->recovering, fuse->config.threads);
    /* The first ones serve already, and may start others. */
    while (rc == 0 && atomic_load(&fuse->pool_started) < fuse->config.threads) {
        rc = start_one(fuse);
    }
    atomic_fetch_sub(&fuse->workers, 1);
    if (atomic_load(&fuse->pool_started) < fuse->config.threads) {
        return gfs_err_set_errno(err, rc, "starting %u FUSE threads", fuse->config.threads);
    }
    return 0;
}

void gfsi_fuse_pool_join(struct gfs_fuse *fuse)
{
    unsigned n = atomic_load(&fuse->pool_started); /* all have ended: nobody starts more */
    unsigned i;

    for (i = 0; i < n; i++) {
        (void)pthread_join(fuse->pool[i].thread, NULL);
    }
}

unsigned gfsi_fuse_pool_load(const struct gfs_fuse *fuse, int64_t *out_oldest_ns)
{
    unsigned n = atomic_load(&fuse->pool_started);
    int64_t now = gfs_clock_mono();
    int64_t oldest = 0;
    unsigned busy = 0;
    unsigned i;

    for (i = 0; i < n; i++) {
        int64_t since = atomic_load_explicit(&fuse->pool[i].since, memory_order_relaxed);

        if (since == 0) {
            continue;
        }
        busy++;
        oldest = now - since > oldest ? now - since : oldest;
    }
    *out_oldest_ns = oldest;
    return busy;
}
