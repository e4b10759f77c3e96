#include <gfs/kube/queue.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BUCKETS 1024

/* A key lives as long as it waits, is worked on, or has failures to remember. */
struct item {
    struct item *next;
    char *key;
    int64_t due; /* monotonic ns; valid while waiting */
    bool waiting;
    bool working;
    bool again; /* added while being worked on */
    int64_t again_due;
    unsigned failures;
    int64_t retry_due; /* of the last one counted */
};

struct gfs_kube_queue {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct item *buckets[N_BUCKETS];
    size_t waiting;
    size_t max_keys;
    int64_t base_ns;
    int64_t max_ns;
    bool stopped;
};

struct gfs_kube_queue *gfs_kube_queue_new(size_t max_keys, int64_t base_ns, int64_t max_ns)
{
    struct gfs_kube_queue *q = calloc(1, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&q->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&q->mutex, NULL);
    q->max_keys = max_keys;
    q->base_ns = base_ns;
    q->max_ns = max_ns;
    return q;
}

struct gfs_kube_queue *gfs_kube_queue_free(struct gfs_kube_queue *q)
{
    if (q == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < N_BUCKETS; i++) {
        while (q->buckets[i] != NULL) {
            struct item *item = q->buckets[i];
            q->buckets[i] = item->next;
            free(item->key);
            free(item);
        }
    }
    (void)pthread_cond_destroy(&q->cond);
    (void)pthread_mutex_destroy(&q->mutex);
    free(q);
    return NULL;
}

/* FNV-1a */
static size_t bucket_of(const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *p = key; *p != '\0'; p++) {
        h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    }
    return (size_t)(h % N_BUCKETS);
}

static struct item *find(struct gfs_kube_queue *q, const char *key)
{
    for (struct item *i = q->buckets[bucket_of(key)]; i != NULL; i = i->next) {
        if (strcmp(i->key, key) == 0) {
            return i;
        }
    }
    return NULL;
}

static struct item *find_or_make(struct gfs_kube_queue *q, const char *key)
{
    struct item *item = find(q, key);
    if (item != NULL) {
        return item;
    }
    item = calloc(1, sizeof *item);
    char *copy = strdup(key);
    if (item == NULL || copy == NULL) {
        free(item);
        free(copy);
        return NULL;
    }
    item->key = copy;
    size_t b = bucket_of(key);
    item->next = q->buckets[b];
    q->buckets[b] = item;
    return item;
}

static void drop_if_idle(struct gfs_kube_queue *q, struct item *item)
{
    if (item->waiting || item->working || item->failures > 0) {
        return;
    }
    struct item **at = &q->buckets[bucket_of(item->key)];
    while (*at != item) {
        at = &(*at)->next;
    }
    *at = item->next;
    free(item->key);
    free(item);
}

static int add_locked(struct gfs_kube_queue *q, const char *key, int64_t due)
{
    struct item *item = find_or_make(q, key);
    if (item == NULL) {
        return GFS_ENOMEM;
    }
    if (item->working) {
        item->again_due = item->again && item->again_due < due ? item->again_due : due;
        item->again = true;
        return GFS_OK;
    }
    if (item->waiting) {
        item->due = item->due < due ? item->due : due;
    } else if (q->waiting >= q->max_keys) {
        drop_if_idle(q, item);
        return GFS_ERANGE;
    } else {
        item->waiting = true;
        item->due = due;
        q->waiting++;
    }
    (void)pthread_cond_broadcast(&q->cond);
    return GFS_OK;
}

int gfs_kube_queue_add_after(struct gfs_kube_queue *q, const char *key, int64_t delay_ns)
{
    if (strlen(key) >= GFS_KUBE_KEY_MAX) {
        return GFS_ERANGE;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    return add_locked(q, key, gfs_clock_mono() + (delay_ns > 0 ? delay_ns : 0));
}

int gfs_kube_queue_add(struct gfs_kube_queue *q, const char *key)
{
    return gfs_kube_queue_add_after(q, key, 0);
}

int gfs_kube_queue_retry(struct gfs_kube_queue *q, const char *key)
{
    if (strlen(key) >= GFS_KUBE_KEY_MAX) {
        return GFS_ERANGE;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    struct item *item = find_or_make(q, key);
    if (item == NULL) {
        return GFS_ENOMEM;
    }
    /* Tried early because something changed: that says nothing about how long to wait, or a burst
     * of changes while the server stumbles would end in the longest pause. */
    int64_t now = gfs_clock_mono();
    if (now < item->retry_due) {
        return add_locked(q, key, item->retry_due);
    }
    int64_t delay = q->base_ns;
    for (unsigned i = 0; i < item->failures && delay < q->max_ns; i++) {
        delay *= 2;
    }
    item->failures++;
    item->retry_due = now + (delay < q->max_ns ? delay : q->max_ns);
    return add_locked(q, key, item->retry_due);
}

void gfs_kube_queue_forget(struct gfs_kube_queue *q, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    struct item *item = find(q, key);
    if (item != NULL) {
        item->failures = 0;
        item->retry_due = 0;
        drop_if_idle(q, item);
    }
}

static struct item *earliest(struct gfs_kube_queue *q)
{
    struct item *best = NULL;
    for (size_t i = 0; q->waiting > 0 && i < N_BUCKETS; i++) {
        for (struct item *item = q->buckets[i]; item != NULL; item = item->next) {
            if (item->waiting && (best == NULL || item->due < best->due)) {
                best = item;
            }
        }
    }
    return best;
}

static void wait_until(struct gfs_kube_queue *q, int64_t due)
{
    struct timespec ts = {.tv_sec = due / GFS_NS_PER_S, .tv_nsec = due % GFS_NS_PER_S};
    (void)pthread_cond_timedwait(&q->cond, &q->mutex, &ts);
}

bool gfs_kube_queue_take(struct gfs_kube_queue *q, char *out_key, size_t size)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    while (!q->stopped) {
        struct item *item = earliest(q);
        if (item == NULL) {
            (void)pthread_cond_wait(&q->cond, &q->mutex);
        } else if (item->due > gfs_clock_mono()) {
            wait_until(q, item->due);
        } else if (gfs_str_copy(out_key, size, item->key) < 0) {
            return false; /* the caller's buffer is too small: a bug of it */
        } else {
            item->waiting = false;
            item->working = true;
            q->waiting--;
            return true;
        }
    }
    return false;
}

void gfs_kube_queue_done(struct gfs_kube_queue *q, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    struct item *item = find(q, key);
    if (item == NULL || !item->working) {
        return;
    }
    item->working = false;
    if (item->again) {
        item->again = false;
        /* It had its place when it was taken: over the bound by one at most. */
        item->waiting = true;
        item->due = item->again_due;
        q->waiting++;
        (void)pthread_cond_broadcast(&q->cond);
    }
    drop_if_idle(q, item);
}

void gfs_kube_queue_stop(struct gfs_kube_queue *q)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    q->stopped = true;
    (void)pthread_cond_broadcast(&q->cond);
}

size_t gfs_kube_queue_length(struct gfs_kube_queue *q)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&q->mutex);
    (void)guard;
    return q->waiting;
}
