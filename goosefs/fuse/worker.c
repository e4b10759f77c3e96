/* The pool: a fixed number of threads, each reading one request, serving it, and so on until the
 * device says that the mount is gone. */
#include "fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <gfs/base/log.h>

#define STACK_SIZE ((size_t)256 << 10)

static __thread struct gfsi_fuse_worker *self;

struct gfsi_fuse_worker *gfsi_fuse_worker_self(void)
{
    return self;
}

static void serve(struct gfs_fuse *fuse)
{
    struct fuse_buf buf = {.mem = NULL};

    while (!fuse_session_exited(fuse->session)) {
        int n = fuse_session_receive_buf(fuse->session, &buf);

        if (n == -EINTR || n == -EAGAIN || n == -ENOENT) {
            continue;
        }
        if (n <= 0) {
            if (n < 0 && n != -ENODEV && n != -ECONNABORTED) {
                gfs_error("fuse", "reading the device", "errno=%d", -n);
            }
            break;
        }
        fuse_session_process_buf(fuse->session, &buf);
    }
    free(buf.mem);
}

static void *run(void *arg)
{
    struct gfsi_fuse_worker *w = arg;
    struct gfs_fuse *fuse = w->fuse;
    uint64_t one = 1;

    self = w;
    if (fuse->state != NULL) {
        gfsi_channel_recover_slots(fuse, w->index);
    }
    serve(fuse);
    if (atomic_fetch_sub(&fuse->workers, 1) == 1) {
        (void)!write(fuse->wake_fd, &one, sizeof(one));
    }
    return NULL;
}

int gfsi_fuse_pool_start(struct gfs_fuse *fuse, struct gfs_err *err)
{
    struct gfsi_fuse_worker *workers = fuse->pool;
    pthread_attr_t attr;
    unsigned i;
    int rc = 0;

    for (i = 0; i < fuse->config.threads; i++) {
        workers[i] = (struct gfsi_fuse_worker){.fuse = fuse, .index = i};
    }
    atomic_store(&fuse->workers, 1); /* ours, until all are started */
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    for (i = 0; i < fuse->config.threads && rc == 0; i++) {
        atomic_fetch_add(&fuse->workers, 1);
        rc = pthread_create(&workers[i].thread, &attr, run, &workers[i]);
        if (rc != 0) {
            atomic_fetch_sub(&fuse->workers, 1);
        }
    }
    (void)pthread_attr_destroy(&attr);
    atomic_fetch_sub(&fuse->workers, 1);
    if (rc != 0) {
        return gfs_err_set_errno(err, rc, "starting FUSE thread %u", i);
    }
    return 0;
}

void gfsi_fuse_pool_join(struct gfs_fuse *fuse)
{
    unsigned i;

    for (i = 0; i < fuse->config.threads; i++) {
        (void)pthread_join(fuse->pool[i].thread, NULL);
    }
}
