#include "rpc_priv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <gfs/base/assert.h>

int gfsi_loop_init(struct gfsi_loop *loop, struct gfs_err *err)
{
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    if (cq == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "cannot create a completion queue");
    }

    *loop = (struct gfsi_loop){.cq = cq};
    return 0;
}

static void *run(void *arg)
{
    const struct gfsi_loop *loop = arg;

    for (;;) {
        const int64_t until = loop->tick != NULL ? loop->tick(loop->tick_arg) : INT64_MAX;
        const grpc_event event =
            grpc_completion_queue_next(loop->cq, gfsi_deadline_to_gpr(until), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        if (event.type == GRPC_OP_COMPLETE) {
            struct gfsi_tag *tag = event.tag;
            gfsi_tsan_acquire(tag);
            tag->fn(tag, event.success != 0);
        }
    }
}

int gfsi_loop_start(struct gfsi_loop *loop, unsigned n_threads, const char *name,
                    struct gfs_err *err)
{
    GFS_ASSERT(loop->threads == NULL);
    loop->threads = calloc(n_threads, sizeof(*loop->threads));
    if (loop->threads == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    /* Signals belong to the daemon's main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    for (unsigned i = 0; i < n_threads && rc == 0; i++) {
        rc = pthread_create(&loop->threads[i], NULL, run, loop);
        if (rc == 0) {
            char text[16];
            (void)snprintf(text, sizeof(text), "%.8s-rpc%u", name, i % 100);
            (void)pthread_setname_np(loop->threads[i], text);
            loop->n_threads++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    /* Fewer threads than wished for serve as well; none do not. */
    if (loop->n_threads == 0) {
        free(loop->threads);
        loop->threads = NULL;
        return gfs_err_set_errno(err, rc, "cannot start a thread");
    }
    return 0;
}

void gfsi_loop_fini(struct gfsi_loop *loop)
{
    if (loop->cq == NULL) {
        return;
    }
    grpc_completion_queue_shutdown(loop->cq);
    if (loop->n_threads == 0) {
        (void)run(loop);
    }
    for (unsigned i = 0; i < loop->n_threads; i++) {
        (void)pthread_join(loop->threads[i], NULL);
    }
    free(loop->threads);
    grpc_completion_queue_destroy(loop->cq);
    *loop = (struct gfsi_loop){0};
}

bool gfsi_loop_is_current(const struct gfsi_loop *loop)
{
    for (unsigned i = 0; i < loop->n_threads; i++) {
        if (pthread_equal(loop->threads[i], pthread_self())) {
            return true;
        }
    }
    return false;
}
