/* A fixed number of threads over a ring of tasks. */
#include "pool_priv.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <gfs/base/auto.h>

struct task {
    void (*run)(void *arg);
    void *arg;
};

struct gfsi_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct task *ring;
    size_t cap;
    size_t head;
    size_t n;
    bool stopping;
    unsigned n_threads;
    pthread_t threads[];
};

static void *worker(void *arg)
{
    struct gfsi_pool *pool = arg;

    for (;;) {
        struct task task;

        (void)pthread_mutex_lock(&pool->mutex);
        while (pool->n == 0 && !pool->stopping) {
            (void)pthread_cond_wait(&pool->work, &pool->mutex);
        }

        if (pool->n == 0) {
            (void)pthread_mutex_unlock(&pool->mutex);
            return NULL;
        }

        task = pool->ring[pool->head];
        pool->head = (pool->head + 1) % pool->cap;
        pool->n--;
        (void)pthread_mutex_unlock(&pool->mutex);
        task.run(task.arg);
    }
}

int gfsi_pool_new(const char *name, unsigned threads, size_t max_queue, struct gfsi_pool **out)
{
    struct gfsi_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));

    if (pool == NULL) {
        return GFS_ENOMEM;
    }

    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    pool->cap = max_queue;
    pool->ring = calloc(max_queue, sizeof(*pool->ring));
    if (pool->ring == NULL) {
        gfsi_pool_free(pool);
        return GFS_ENOMEM;
    }

    for (unsigned i = 0; i < threads; i++) {
        char title[16];

        if (pthread_create(&pool->threads[i], NULL, worker, pool) != 0) {
            gfsi_pool_free(pool);
            return GFS_ENOMEM;
        }

        pool->n_threads++;
        (void)snprintf(title, sizeof(title), "%.9s-%u", name, i % 1000);
        (void)pthread_setname_np(pool->threads[i], title);
    }

    *out = pool;
    return 0;
}

int gfsi_pool_submit(struct gfsi_pool *pool, void (*task)(void *arg), void *arg)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&pool->mutex);

    if (pool->stopping) {
        return GFS_ECANCELLED;
    }

    if (pool->n == pool->cap) {
        return GFS_EBUSY;
    }

    pool->ring[(pool->head + pool->n) % pool->cap] = (struct task){task, arg};
    pool->n++;
    (void)pthread_cond_signal(&pool->work);
    return 0;
}

size_t gfsi_pool_waiting(struct gfsi_pool *pool)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&pool->mutex);

    return pool->n;
}

void gfsi_pool_free(struct gfsi_pool *pool)
{
    if (pool == NULL) {
        return;
    }

    (void)pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_threads; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }

    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->ring);
    free(pool);
}
