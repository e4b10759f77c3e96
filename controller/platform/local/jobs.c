#include "platform/local/jobs.h"

#include <pthread.h>
#include <stdlib.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>

#define THREADS_MAX 16

struct job {
    struct job *next;
    gfsi_loop_fn work, done;
    void *arg;
};

struct gfsi_jobs {
    struct gfsi_loop *loop;
    pthread_t threads[THREADS_MAX];
    unsigned n_threads;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t some;
    bool closing;
    struct job *first;
    struct job **tail;
    size_t n;
};

/* NULL when closing and nothing is left. */
static struct job *take(struct gfsi_jobs *jobs)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&jobs->lock);

    while (jobs->first == NULL && !jobs->closing) {
        (void)pthread_cond_wait(&jobs->some, &jobs->lock);
    }

    struct job *job = jobs->first;

    if (job != NULL) {
        jobs->first = job->next;
        jobs->n--;
        if (jobs->first == NULL) {
            jobs->tail = &jobs->first;
        }
    }

    return job;
}

static void *run(void *arg)
{
    struct gfsi_jobs *jobs = arg;

    for (struct job *job = take(jobs); job != NULL; job = take(jobs)) {
        job->work(job->arg);
        if (gfsi_loop_post(jobs->loop, job->done, job->arg) < 0) {
            gfs_error("local", "the outcome of a job was lost", "reason=the loop hangs");
        }
        free(job);
    }

    return NULL;
}

int gfsi_jobs_new(struct gfsi_loop *loop, unsigned n_threads, struct gfsi_jobs **out,
                  struct gfs_err *err)
{
    struct gfsi_jobs *jobs = calloc(1, sizeof(*jobs));

    if (jobs == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    jobs->loop = loop;
    jobs->tail = &jobs->first;
    (void)pthread_mutex_init(&jobs->lock, NULL);
    (void)pthread_cond_init(&jobs->some, NULL);
    for (unsigned i = 0; i < n_threads && i < THREADS_MAX; i++) {
        int rc = pthread_create(&jobs->threads[i], NULL, run, jobs);

        if (rc != 0) {
            rc = gfs_err_set_errno(err, rc, "cannot start a thread");
            (void)gfsi_jobs_free(jobs);
            return rc;
        }
        jobs->n_threads++;
    }

    *out = jobs;
    return 0;
}

int gfsi_jobs_run(struct gfsi_jobs *jobs, gfsi_loop_fn work, gfsi_loop_fn done, void *arg)
{
    struct job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return GFS_ENOMEM;
    }

    job->work = work;
    job->done = done;
    job->arg = arg;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&jobs->lock);

    if (jobs->n == GFSI_JOBS_MAX || jobs->closing) {
        free(job);
        return GFS_EBUSY;
    }

    *jobs->tail = job;
    jobs->tail = &job->next;
    jobs->n++;
    (void)pthread_cond_signal(&jobs->some);
    return 0;
}

struct gfsi_jobs *gfsi_jobs_free(struct gfsi_jobs *jobs)
{
    if (jobs == NULL) {
        return NULL;
    }

    (void)pthread_mutex_lock(&jobs->lock);
    jobs->closing = true;
    (void)pthread_cond_broadcast(&jobs->some);
    (void)pthread_mutex_unlock(&jobs->lock);
    for (unsigned i = 0; i < jobs->n_threads; i++) {
        (void)pthread_join(jobs->threads[i], NULL);
    }

    (void)pthread_cond_destroy(&jobs->some);
    (void)pthread_mutex_destroy(&jobs->lock);
    free(jobs);
    return NULL;
}
