/* One record per worker; the sum over the live ones is kept up to date with each beat. */
#include "registry_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>

#include "cachemap_priv.h"

#define FORGET_FACTOR 100

struct free_queue {
    struct gfsi_free_file *v; /* the first `handed` were in the answer before */
    size_t n;
    size_t cap;
    size_t handed;
};

struct record {
    struct gfsi_worker worker;
    uint64_t sequence;
    int64_t beat_ms;
    bool live;
    struct gfsi_cachemap cached;
    struct free_queue to_free;
};

struct gfsi_registry {
    pthread_mutex_t mutex;
    int64_t timeout_ms;
    struct record **v;
    size_t n;
    size_t cap;
    struct gfsi_cachemap total; /* over live workers */
};

int gfsi_registry_new(int64_t timeout_ms, struct gfsi_registry **out)
{
    struct gfsi_registry *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return GFS_ENOMEM;
    }

    (void)pthread_mutex_init(&r->mutex, NULL);
    r->timeout_ms = timeout_ms;
    gfsi_cachemap_init(&r->total, GFSI_CACHED_MAX);
    *out = r;
    return 0;
}

static void record_free(struct record *rec)
{
    gfsi_cachemap_fini(&rec->cached);
    free(rec->to_free.v);
    free(rec);
}

void gfsi_registry_free(struct gfsi_registry *r)
{
    if (r == NULL) {
        return;
    }

    for (size_t i = 0; i < r->n; i++) {
        record_free(r->v[i]);
    }

    gfsi_cachemap_fini(&r->total);
    (void)pthread_mutex_destroy(&r->mutex);
    free(r->v);
    free(r);
}

/* ---- sums ----------------------------------------------------------------------------------- */

/* When the table of sums is full a file counts as not cached: a display is poorer, nothing else. */
static void total_add(struct gfsi_registry *r, uint64_t inode, uint64_t version, uint64_t bytes)
{
    uint64_t now = gfsi_cachemap_get(&r->total, inode, version);
    uint64_t ignored;

    (void)gfsi_cachemap_set(&r->total, inode, version, now + bytes, &ignored);
}

static void total_sub(struct gfsi_registry *r, uint64_t inode, uint64_t version, uint64_t bytes)
{
    uint64_t now = gfsi_cachemap_get(&r->total, inode, version);
    uint64_t ignored;

    (void)gfsi_cachemap_set(&r->total, inode, version, now > bytes ? now - bytes : 0, &ignored);
}

static void total_record(struct gfsi_registry *r, const struct record *rec,
                         void (*change)(struct gfsi_registry *, uint64_t, uint64_t, uint64_t))
{
    const struct gfsi_cachemap_slot *slot;
    size_t at = 0;

    while ((slot = gfsi_cachemap_next(&rec->cached, &at)) != NULL) {
        change(r, slot->inode, slot->version, slot->bytes);
    }
}

static void set_cached(struct gfsi_registry *r, struct record *rec, const struct gfsi_cached *c)
{
    uint64_t before;

    if (gfsi_cachemap_set(&rec->cached, c->inode, c->version, c->bytes, &before) != 0) {
        return;
    }

    total_sub(r, c->inode, c->version, before);
    total_add(r, c->inode, c->version, c->bytes);
}

static void forget_cached(struct gfsi_registry *r, struct record *rec)
{
    if (rec->live) {
        total_record(r, rec, total_sub);
    }

    gfsi_cachemap_fini(&rec->cached);
}

/* ---- beats ---------------------------------------------------------------------------------- */

static struct record *find(struct gfsi_registry *r, uint64_t id)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->v[i]->worker.id == id) {
            return r->v[i];
        }
    }

    return NULL;
}

static int add(struct gfsi_registry *r, uint64_t id, struct record **out)
{
    struct record *rec;

    if (r->n == GFSI_WORKERS_MAX) {
        return GFS_EBUSY;
    }

    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 16 : r->cap * 2;
        struct record **more = realloc(r->v, cap * sizeof(struct record *));

        if (more == NULL) {
            return GFS_ENOMEM;
        }

        r->v = more;
        r->cap = cap;
    }

    rec = calloc(1, sizeof(*rec));
    if (rec == NULL) {
        return GFS_ENOMEM;
    }

    rec->worker.id = id;
    gfsi_cachemap_init(&rec->cached, GFSI_CACHED_MAX);
    r->v[r->n++] = rec;
    *out = rec;
    return 0;
}

/* What was handed out with the beat before has arrived when a later beat comes; a repeated beat
 * gets the same again. */
static int hand_out(struct record *rec, bool repeated, struct gfsi_free_file **out, size_t *out_n)
{
    struct free_queue *q = &rec->to_free;
    size_t n;

    if (!repeated && q->handed > 0) {
        memmove(q->v, q->v + q->handed, (q->n - q->handed) * sizeof(*q->v));
        q->n -= q->handed;
        q->handed = 0;
    }

    n = q->n < GFSI_BEAT_FREE_MAX ? q->n : GFSI_BEAT_FREE_MAX;
    *out = NULL;
    *out_n = 0;
    if (n == 0) {
        return 0;
    }

    *out = malloc(n * sizeof(**out));
    if (*out == NULL) {
        return GFS_ENOMEM;
    }

    memcpy(*out, q->v, n * sizeof(**out));
    *out_n = n;
    q->handed = n;
    return 0;
}

static int check(const struct gfsi_worker *w, size_t n_cached)
{
    return w->id == 0 || w->host[0] == '\0' || w->data_address[0] == '\0' ||
                   n_cached > GFSI_BEAT_CACHED_MAX
               ? GFS_EINVAL
               : 0;
}

int gfsi_registry_beat(struct gfsi_registry *r, const struct gfsi_worker *worker, uint64_t sequence,
                       const struct gfsi_cached *cached, size_t n_cached, int64_t now_ms,
                       struct gfsi_free_file **out_free, size_t *out_n_free, bool *out_first)
{
    pthread_mutex_t *guard gfs_auto_mutex = NULL;
    struct record *rec;
    bool repeated;
    int rc = check(worker, n_cached);

    if (rc != 0) {
        return rc;
    }

    guard = gfs_lock(&r->mutex);
    rec = find(r, worker->id);
    *out_first = rec == NULL || !rec->live;
    if (sequence != 0 &&
        (rec == NULL || (sequence != rec->sequence && sequence != rec->sequence + 1))) {
        return GFS_EABORTED;
    }

    if (rec == NULL) {
        rc = add(r, worker->id, &rec);
        if (rc != 0) {
            return rc;
        }
    }

    /* A worker that starts again does not know what it freed: it gets the same again. */
    repeated = sequence == 0 || sequence == rec->sequence;
    if (sequence == 0) {
        forget_cached(r, rec);
    } else if (!rec->live) {
        total_record(r, rec, total_add);
    }

    rec->live = true;
    rec->worker = *worker;
    rec->sequence = sequence;
    rec->beat_ms = now_ms;
    for (size_t i = 0; i < n_cached; i++) {
        set_cached(r, rec, &cached[i]);
    }

    /* Not live from now on, unlike a silent one, of which that is known only after a while. */
    if (worker->leaving) {
        total_record(r, rec, total_sub);
        rec->live = false;
    }

    return hand_out(rec, repeated, out_free, out_n_free);
}

uint64_t gfsi_registry_cached(struct gfsi_registry *r, uint64_t inode, uint64_t version)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&r->mutex);

    return gfsi_cachemap_get(&r->total, inode, version);
}

int gfsi_registry_free_file(struct gfsi_registry *r, uint64_t inode, uint64_t version)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&r->mutex);

    for (size_t i = 0; i < r->n; i++) {
        struct record *rec = r->v[i];
        struct free_queue *q = &rec->to_free;

        if (version != 0 && gfsi_cachemap_get(&rec->cached, inode, version) == 0) {
            continue;
        }

        if (q->n == GFSI_FREE_QUEUE_MAX) {
            return GFS_EBUSY;
        }

        if (q->n == q->cap) {
            size_t cap = q->cap == 0 ? 64 : q->cap * 2;
            struct gfsi_free_file *more = realloc(q->v, cap * sizeof(*more));

            if (more == NULL) {
                return GFS_ENOMEM;
            }

            q->v = more;
            q->cap = cap;
        }

        q->v[q->n++] = (struct gfsi_free_file){inode, version};
    }

    return 0;
}

/* ---- looking -------------------------------------------------------------------------------- */

static int by_host(const void *a, const void *b)
{
    const struct gfsi_worker *x = a;
    const struct gfsi_worker *y = b;
    int order = strcmp(x->host, y->host);

    return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

int gfsi_registry_list(struct gfsi_registry *r, int64_t now_ms, struct gfsi_worker **out,
                       size_t *out_n)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&r->mutex);
    struct gfsi_worker *list = calloc(r->n + 1, sizeof(*list));

    if (list == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < r->n; i++) {
        list[i] = r->v[i]->worker;
        list[i].age_ms = now_ms - r->v[i]->beat_ms;
        list[i].live = r->v[i]->live && list[i].age_ms <= r->timeout_ms;
        list[i].cached_files = r->v[i]->cached.live;
    }

    qsort(list, r->n, sizeof(*list), by_host);
    *out = list;
    *out_n = r->n;
    return 0;
}

void gfsi_registry_expire(struct gfsi_registry *r, int64_t now_ms,
                          void (*lost)(void *arg, const struct gfsi_worker *worker), void *arg)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&r->mutex);
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct record *rec = r->v[i];
        int64_t age = now_ms - rec->beat_ms;

        if (rec->live && age > r->timeout_ms) {
            total_record(r, rec, total_sub);
            rec->live = false;
            lost(arg, &rec->worker);
        }

        if (age > FORGET_FACTOR * r->timeout_ms) {
            record_free(rec);
            continue;
        }

        r->v[kept++] = rec;
    }

    r->n = kept;
}
