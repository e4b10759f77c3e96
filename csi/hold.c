#include <errno.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#include "node_priv.h"

void gfsi_holds_init(struct gfsi_holds *holds)
{
    pthread_condattr_t attr;

    memset(holds, 0, sizeof(*holds));
    (void)pthread_mutex_init(&holds->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&holds->freed, &attr);
    (void)pthread_condattr_destroy(&attr);
}

void gfsi_holds_fini(struct gfsi_holds *holds)
{
    (void)pthread_cond_destroy(&holds->freed);
    (void)pthread_mutex_destroy(&holds->mutex);
}

static bool is_held(const struct gfsi_holds *holds, const char *key)
{
    for (const struct gfsi_hold *h = holds->first; h != NULL; h = h->next) {
        if (strcmp(h->key, key) == 0) {
            return true;
        }
    }
    return false;
}

int gfsi_hold_take(struct gfsi_holds *holds, struct gfsi_hold *hold, const char *key,
                   int64_t deadline, struct gfs_err *err)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);
    struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};

    while (is_held(holds, key)) {
        if (pthread_cond_timedwait(&holds->freed, &holds->mutex, &ts) == ETIMEDOUT) {
            return gfs_err_set(err, GFS_ETIMEOUT, "another operation on %s takes too long", key);
        }
    }
    hold->key = key;
    hold->next = holds->first;
    holds->first = hold;
    return 0;
}

void gfsi_hold_drop(struct gfsi_holds *holds, struct gfsi_hold *hold)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);
    struct gfsi_hold **link = &holds->first;

    while (*link != hold) {
        link = &(*link)->next;
    }
    *link = hold->next;
    (void)pthread_cond_broadcast(&holds->freed);
}

static struct gfsi_digest digest_of(const char *path)
{
    struct gfsi_digest d;

    gfsi_digest_init(&d);
    gfsi_digest_text(&d, path);
    return d;
}

void gfsi_hung_mark(struct gfsi_holds *holds, const char *path)
{
    struct gfsi_digest d = digest_of(path);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);
    size_t at = 0;

    for (size_t i = 0; i < GFSI_HUNG_MAX; i++) {
        if (holds->hung[i].path.a == d.a && holds->hung[i].path.b == d.b) {
            at = i;
            break;
        }
        at = holds->hung[i].until < holds->hung[at].until ? i : at;
    }
    holds->hung[at].path = d;
    holds->hung[at].until = gfs_clock_mono() + GFSI_HUNG_NS;
}

bool gfsi_hung_is(struct gfsi_holds *holds, const char *path)
{
    struct gfsi_digest d = digest_of(path);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);

    for (size_t i = 0; i < GFSI_HUNG_MAX; i++) {
        if (holds->hung[i].path.a == d.a && holds->hung[i].path.b == d.b) {
            return gfs_clock_mono() < holds->hung[i].until;
        }
    }
    return false;
}

bool gfsi_wait_enter(struct gfsi_holds *holds, unsigned max)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);

    if (holds->waiting >= max) {
        return false;
    }
    holds->waiting++;
    return true;
}

void gfsi_wait_leave(struct gfsi_holds *holds)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&holds->mutex);

    holds->waiting--;
}
