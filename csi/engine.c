#include "engine_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

struct waiter {
    struct waiter *next;
    gfsi_engine_done done;
    void *arg;
    int64_t answer_by;
};

struct op {
    struct op *next; /* in its volume's queue */
    struct gfsi_request *request;
    struct waiter *waiters;
    unsigned n_waiters;
};

/* Exists while it has operations. */
struct volume {
    struct volume *next;       /* in engine->volumes */
    struct volume *next_ready; /* in engine->ready */
    char id[GFSI_ID_MAX + 1];
    struct op *running; /* NULL: the volume is in the ready list */
    struct op *first, **last;
};

struct gfsi_engine {
    gfsi_engine_run run;
    void *user;
    int64_t run_ns;

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work;   /* ready list not empty, or stopping */
    pthread_cond_t clock;  /* a deadline nearer than the last known, or stopping */
    pthread_cond_t idle;   /* n_ops fell to 0 */
    struct volume *volumes;
    struct volume *ready, **ready_last;
    unsigned n_ready;
    unsigned n_ops;
    int64_t next_deadline; /* what the clock thread waits for */
    bool refusing;         /* no new work */
    bool stopping;         /* threads leave */

    unsigned max_workers, n_workers, n_idle; /* threads start when there is work and none is idle */
    pthread_t workers[GFSI_ENGINE_WORKERS_MAX];
    pthread_t timer;
    bool timer_started;
};

static void op_free(struct op *op)
{
    GFS_ASSERT(op->waiters == NULL);
    free(op->request);
    free(op);
}

/* Runs `done` of a list of waiters, outside the lock. */
static void answer(struct waiter *list, int code, const struct gfs_err *err)
{
    while (list != NULL) {
        struct waiter *w = list;

        list = w->next;
        w->done(w->arg, code, err);
        free(w);
    }
}

static void ready_push(struct gfsi_engine *e, struct volume *v)
{
    v->next_ready = NULL;
    *e->ready_last = v;
    e->ready_last = &v->next_ready;
    e->n_ready++;
    (void)pthread_cond_signal(&e->work);
}

static struct volume *ready_pop(struct gfsi_engine *e)
{
    struct volume *v = e->ready;

    e->ready = v->next_ready;
    e->n_ready--;
    if (e->ready == NULL) {
        e->ready_last = &e->ready;
    }
    return v;
}

static struct volume *volume_find(struct gfsi_engine *e, const char *id)
{
    struct volume *v = e->volumes;

    while (v != NULL && strcmp(v->id, id) != 0) {
        v = v->next;
    }
    return v;
}

static void volume_drop(struct gfsi_engine *e, struct volume *v)
{
    struct volume **link = &e->volumes;

    while (*link != v) {
        GFS_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = v->next;
    free(v);
}

/* One operation of one volume, then the volume goes to the end of the line. Called and returns with
 * the lock held. */
static void run_next(struct gfsi_engine *e)
{
    struct volume *v = ready_pop(e);
    struct op *op = v->first;
    struct gfs_err err = GFS_ERR_INIT;
    struct waiter *waiters;
    int code;

    v->first = op->next;
    if (v->first == NULL) {
        v->last = &v->first;
    }
    v->running = op;

    (void)pthread_mutex_unlock(&e->mutex);
    code = e->run(e->user, op->request, gfs_clock_mono() + e->run_ns, &err);
    (void)pthread_mutex_lock(&e->mutex);

    v->running = NULL;
    waiters = op->waiters;
    op->waiters = NULL;
    if (v->first != NULL) {
        ready_push(e, v);
    } else {
        volume_drop(e, v);
    }

    (void)pthread_mutex_unlock(&e->mutex);
    answer(waiters, code, code < 0 ? &err : NULL);
    op_free(op);
    (void)pthread_mutex_lock(&e->mutex);

    /* Last, so that "no operations" means that every caller has been answered. */
    e->n_ops--;
    if (e->n_ops == 0) {
        (void)pthread_cond_broadcast(&e->idle);
    }
}

static void *worker_main(void *arg)
{
    struct gfsi_engine *e = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&e->mutex);

    for (;;) {
        while (e->ready == NULL && !e->stopping) {
            e->n_idle++;
            (void)pthread_cond_wait(&e->work, &e->mutex);
            e->n_idle--;
        }
        if (e->stopping) {
            return NULL;
        }
        run_next(e);
    }
}

/* One more when all are busy; when it cannot be had the others get to the work later. */
static void add_worker(struct gfsi_engine *e)
{
    if ((e->n_workers == 0 || e->n_ready > e->n_idle) && e->n_workers < e->max_workers &&
        pthread_create(&e->workers[e->n_workers], NULL, worker_main, e) == 0) {
        e->n_workers++;
    }
}

/* Moves what is due from `op` to *due; returns the earliest deadline left. */
static int64_t take_due(struct op *op, int64_t now, int64_t earliest, struct waiter **due)
{
    for (struct waiter **link = &op->waiters; *link != NULL;) {
        struct waiter *w = *link;

        if (w->answer_by <= now) {
            *link = w->next;
            op->n_waiters--;
            w->next = *due;
            *due = w;
            continue;
        }
        earliest = w->answer_by < earliest ? w->answer_by : earliest;
        link = &w->next;
    }
    return earliest;
}

static void *timer_main(void *arg)
{
    struct gfsi_engine *e = arg;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&e->mutex);

    while (!e->stopping) {
        struct waiter *due = NULL;
        int64_t now = gfs_clock_mono();
        int64_t earliest = INT64_MAX;

        for (struct volume *v = e->volumes; v != NULL; v = v->next) {
            if (v->running != NULL) {
                earliest = take_due(v->running, now, earliest, &due);
            }
            for (struct op *op = v->first; op != NULL; op = op->next) {
                earliest = take_due(op, now, earliest, &due);
            }
        }

        if (due != NULL) {
            struct gfs_err err = GFS_ERR_INIT;

            (void)gfs_err_set(&err, GFS_ETIMEOUT,
                              "the operation goes on; repeat the call to wait for it");
            (void)pthread_mutex_unlock(&e->mutex);
            answer(due, GFS_ETIMEOUT, &err);
            (void)pthread_mutex_lock(&e->mutex);
            continue;
        }

        e->next_deadline = earliest;
        if (earliest == INT64_MAX) {
            (void)pthread_cond_wait(&e->clock, &e->mutex);
        } else {
            struct timespec ts = {.tv_sec = earliest / GFS_NS_PER_S,
                                  .tv_nsec = earliest % GFS_NS_PER_S};

            (void)pthread_cond_timedwait(&e->clock, &e->mutex, &ts);
        }
    }
    return NULL;
}

static bool is_opposite(enum gfsi_kind a, enum gfsi_kind b)
{
    return (a == GFSI_STAGE && b == GFSI_UNSTAGE) || (a == GFSI_UNSTAGE && b == GFSI_STAGE) ||
           (a == GFSI_PUBLISH && b == GFSI_UNPUBLISH) || (a == GFSI_UNPUBLISH && b == GFSI_PUBLISH);
}

static bool is_same(const struct gfsi_request *a, const struct gfsi_request *b)
{
    return a->kind == b->kind && strcmp(a->path, b->path) == 0 && strcmp(a->digest, b->digest) == 0;
}

/* The operation a new request may join: the one it repeats, unless something that could undo it was
 * asked for in between. NULL: none. */
static struct op *find_same(struct volume *v, const struct gfsi_request *request)
{
    struct op *same =
        v->running != NULL && is_same(v->running->request, request) ? v->running : NULL;

    for (struct op *op = v->first; op != NULL; op = op->next) {
        if (is_same(op->request, request)) {
            same = op;
        } else if (strcmp(op->request->path, request->path) == 0 &&
                   is_opposite(op->request->kind, request->kind)) {
            same = NULL;
        }
    }
    return same;
}

static int find_or_add_op(struct gfsi_engine *e, struct gfsi_request **request, struct op **out,
                          struct gfs_err *err)
{
    struct volume *v = volume_find(e, (*request)->volume_id);
    struct op *op;

    if (v != NULL && v->running != NULL &&
        strcmp(v->running->request->path, (*request)->path) == 0 &&
        is_opposite(v->running->request->kind, (*request)->kind)) {
        return gfs_err_set(err, GFS_EABORTED, "the opposite operation is running for this volume");
    }
    if (v != NULL && (op = find_same(v, *request)) != NULL) {
        *out = op;
        return 0;
    }
    if (e->n_ops >= GFSI_ENGINE_OPS_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "%d operations are waiting", GFSI_ENGINE_OPS_MAX);
    }

    op = calloc(1, sizeof(*op));
    if (op == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (v == NULL) {
        v = calloc(1, sizeof(*v));
        if (v == NULL) {
            free(op);
            return gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
        memcpy(v->id, (*request)->volume_id, sizeof(v->id));
        v->last = &v->first;
        v->next = e->volumes;
        e->volumes = v;
    }

    if (v->first == NULL && v->running == NULL) {
        ready_push(e, v);
        add_worker(e);
    }
    op->request = GFS_TAKE_PTR(*request);
    *v->last = op;
    v->last = &op->next;
    e->n_ops++;
    *out = op;
    return 0;
}

int gfsi_engine_submit(struct gfsi_engine *e, struct gfsi_request *request, int64_t answer_by,
                       gfsi_engine_done done, void *arg, struct gfs_err *err)
{
    struct gfsi_request *owned gfs_auto_free = request;
    struct waiter *w gfs_auto_free = calloc(1, sizeof(*w));
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&e->mutex);
    struct op *op = NULL;
    int rc;

    if (w == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (e->refusing) {
        return gfs_err_set(err, GFS_EUNAVAIL, "the plugin is stopping");
    }

    rc = find_or_add_op(e, &owned, &op, err);
    if (rc < 0) {
        return rc;
    }
    GFS_ASSERT(op != NULL);
    if (op->n_waiters >= GFSI_ENGINE_WAITERS_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "%d calls wait for this operation",
                           GFSI_ENGINE_WAITERS_MAX);
    }

    w->done = done;
    w->arg = arg;
    w->answer_by = answer_by;
    w->next = op->waiters;
    op->waiters = GFS_TAKE_PTR(w);
    op->n_waiters++;
    if (answer_by < e->next_deadline) {
        (void)pthread_cond_signal(&e->clock);
    }
    return 0;
}

unsigned gfsi_engine_pending(struct gfsi_engine *e)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&e->mutex);

    return e->n_ops;
}

/* ---- life ---- */

static int init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    return rc;
}

int gfsi_engine_new(unsigned n_workers, int64_t run_ns, gfsi_engine_run run, void *user,
                    struct gfsi_engine **out, struct gfs_err *err)
{
    struct gfsi_engine *e;

    GFS_ASSERT(n_workers >= 1 && n_workers <= GFSI_ENGINE_WORKERS_MAX);
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    e->run = run;
    e->user = user;
    e->run_ns = run_ns;
    e->ready_last = &e->ready;
    e->next_deadline = INT64_MAX;
    (void)pthread_mutex_init(&e->mutex, NULL);
    if (init_cond(&e->work) != 0 || init_cond(&e->clock) != 0 || init_cond(&e->idle) != 0) {
        free(e);
        return gfs_err_set(err, GFS_ENOMEM, "condition variables");
    }

    e->max_workers = n_workers;
    e->timer_started = pthread_create(&e->timer, NULL, timer_main, e) == 0;
    if (e->timer_started) {
        (void)pthread_mutex_lock(&e->mutex);
        add_worker(e);
        (void)pthread_mutex_unlock(&e->mutex);
    }
    if (e->n_workers == 0) {
        (void)gfsi_engine_free(e);
        return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }

    *out = e;
    return 0;
}

/* Takes every operation that has not started; its callers are answered outside the lock. */
static struct op *take_unstarted(struct gfsi_engine *e)
{
    struct op *list = NULL;

    for (struct volume *v = e->volumes; v != NULL; v = v->next) {
        *v->last = list;
        list = v->first;
        v->first = NULL;
        v->last = &v->first;
    }
    while (e->ready != NULL) {
        volume_drop(e, ready_pop(e));
    }
    return list;
}

void gfsi_engine_stop(struct gfsi_engine *e, int64_t deadline)
{
    struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    struct gfs_err err = GFS_ERR_INIT;
    struct op *list;

    (void)pthread_mutex_lock(&e->mutex);
    e->refusing = true;
    while (e->n_ops > 0) {
        if (pthread_cond_timedwait(&e->idle, &e->mutex, &ts) == ETIMEDOUT) {
            break;
        }
    }
    list = take_unstarted(e);
    (void)pthread_mutex_unlock(&e->mutex);

    (void)gfs_err_set(&err, GFS_EUNAVAIL, "the plugin is stopping");
    while (list != NULL) {
        struct op *op = list;

        list = op->next;
        answer(GFS_TAKE_PTR(op->waiters), GFS_EUNAVAIL, &err);
        op_free(op);
        (void)pthread_mutex_lock(&e->mutex);
        e->n_ops--;
        (void)pthread_mutex_unlock(&e->mutex);
    }
}

struct gfsi_engine *gfsi_engine_free(struct gfsi_engine *e)
{
    if (e == NULL) {
        return NULL;
    }

    gfsi_engine_stop(e, 0);
    (void)pthread_mutex_lock(&e->mutex);
    e->stopping = true;
    (void)pthread_cond_broadcast(&e->work);
    (void)pthread_cond_broadcast(&e->clock);
    (void)pthread_mutex_unlock(&e->mutex);

    for (unsigned i = 0; i < e->n_workers; i++) {
        (void)pthread_join(e->workers[i], NULL);
    }
    if (e->timer_started) {
        (void)pthread_join(e->timer, NULL);
    }
    GFS_ASSERT_EQ(e->n_ops, 0);
    (void)pthread_cond_destroy(&e->work);
    (void)pthread_cond_destroy(&e->clock);
    (void)pthread_cond_destroy(&e->idle);
    (void)pthread_mutex_destroy(&e->mutex);
    free(e);
    return NULL;
}
