#include "mounts.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#define UNKNOWN_WAIT (5 * GFS_NS_PER_S)

struct mount {
    struct mount *next;
    uint32_t id;
    unsigned refs; /* the table's and one per fetch */
    char *uri;
    struct gfs_props *props;
    struct gfs_ufs *ufs; /* NULL when it could not be opened */
    int error;
    char text[GFS_ERR_TEXT_MAX];
};

struct gfsi_mounts {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct mount *table;
    bool cancelled;
    void (*poke)(void *arg);
    void *poke_arg;
};

struct gfsi_mounts *gfsi_mounts_new(void)
{
    struct gfsi_mounts *mounts = calloc(1, sizeof(*mounts));
    pthread_condattr_t attr;

    if (mounts == NULL) {
        return NULL;
    }
    (void)pthread_mutex_init(&mounts->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&mounts->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    return mounts;
}

static void mount_free(struct mount *m)
{
    gfs_ufs_close(m->ufs);
    gfs_props_free(m->props);
    free(m->uri);
    free(m);
}

/* With the mutex. Returns the mount when the caller must free it, without the mutex. */
static struct mount *mount_unref(struct mount *m)
{
    return --m->refs == 0 ? m : NULL;
}

struct gfsi_mounts *gfsi_mounts_free(struct gfsi_mounts *mounts)
{
    if (mounts == NULL) {
        return NULL;
    }
    while (mounts->table != NULL) {
        struct mount *m = mounts->table;

        mounts->table = m->next;
        mount_free(m);
    }
    (void)pthread_cond_destroy(&mounts->changed);
    (void)pthread_mutex_destroy(&mounts->mutex);
    free(mounts);
    return NULL;
}

void gfsi_mounts_cancel(struct gfsi_mounts *mounts)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mounts->mutex);

    (void)guard;
    mounts->cancelled = true;
    for (struct mount *m = mounts->table; m != NULL; m = m->next) {
        if (m->ufs != NULL) {
            gfs_ufs_cancel(m->ufs);
        }
    }
    (void)pthread_cond_broadcast(&mounts->changed);
}

void gfsi_mounts_on_unknown(struct gfsi_mounts *mounts, void (*poke)(void *arg), void *arg)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mounts->mutex);

    (void)guard;
    mounts->poke = poke;
    mounts->poke_arg = arg;
}

static bool props_equal(const struct gfs_props *a, const struct gfs_props *b)
{
    size_t n = a != NULL ? gfs_props_count(a) : 0;

    if (n != (b != NULL ? gfs_props_count(b) : 0)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *key = NULL;
        const char *value = NULL;

        gfs_props_at(a, i, &key, &value);

        const char *other = gfs_props_get(b, key);

        if (other == NULL || strcmp(other, value) != 0) {
            return false;
        }
    }
    return true;
}

static struct gfs_props *props_dup(const struct gfs_props *props)
{
    struct gfs_props *copy = gfs_props_new();

    for (size_t i = 0; props != NULL && copy != NULL && i < gfs_props_count(props); i++) {
        const char *key = NULL;
        const char *value = NULL;

        gfs_props_at(props, i, &key, &value);
        (void)gfs_props_set(copy, key, value);
    }
    return copy;
}

static struct mount *mount_new(const struct gfsi_mount *from)
{
    struct mount *m = calloc(1, sizeof(*m));
    struct gfs_err err = GFS_ERR_INIT;

    if (m == NULL) {
        return NULL;
    }
    m->id = from->id;
    m->refs = 1;
    m->uri = strdup(from->uri);
    m->props = props_dup(from->props);
    if (m->uri == NULL || m->props == NULL) {
        mount_free(m);
        return NULL;
    }
    m->error = gfs_ufs_open(m->uri, m->props, NULL, &m->ufs, &err);
    (void)snprintf(m->text, sizeof(m->text), "%s", gfs_err_text(&err, m->error));
    if (m->error < 0) {
        gfs_warn("worker", "mount cannot be opened", "id=%" PRIu32 " error=%s", m->id,
                 GFS_Q(m->text));
    } else {
        gfs_info("worker", "mount opened", "id=%" PRIu32 " ufs=%s", m->id,
                 GFS_Q(gfs_ufs_display(m->ufs)));
    }
    return m;
}

/* Takes the entry out of `list` when it is the same mount. */
static struct mount *take_same(struct mount **list, const struct gfsi_mount *wanted)
{
    for (struct mount **slot = list; *slot != NULL; slot = &(*slot)->next) {
        struct mount *m = *slot;

        if (m->id == wanted->id && strcmp(m->uri, wanted->uri) == 0 &&
            props_equal(m->props, wanted->props)) {
            *slot = m->next;
            m->next = NULL;
            return m;
        }
    }
    return NULL;
}

void gfsi_mounts_set(struct gfsi_mounts *mounts, const struct gfsi_mount *table, size_t n)
{
    struct mount *fresh = NULL;
    struct mount *unused = NULL;

    (void)pthread_mutex_lock(&mounts->mutex);

    struct mount *old = mounts->table;

    mounts->table = NULL;
    for (size_t i = 0; i < n; i++) {
        struct mount *m = take_same(&old, &table[i]);

        m = m != NULL ? m : mount_new(&table[i]);
        if (m != NULL) {
            m->next = fresh;
            fresh = m;
        }
    }
    mounts->table = fresh;
    while (old != NULL) {
        struct mount *next = old->next;
        struct mount *m = mount_unref(old);

        if (m != NULL) {
            m->next = unused;
            unused = m;
        }
        old = next;
    }
    (void)pthread_cond_broadcast(&mounts->changed);
    (void)pthread_mutex_unlock(&mounts->mutex);
    while (unused != NULL) {
        struct mount *next = unused->next;

        mount_free(unused);
        unused = next;
    }
}

static struct mount *find(struct gfsi_mounts *mounts, uint32_t id)
{
    struct mount *m = mounts->table;

    while (m != NULL && m->id != id) {
        m = m->next;
    }
    return m;
}

/* The mount, referenced. Waits for one that is not known yet. */
static int acquire(struct gfsi_mounts *mounts, uint32_t id, struct mount **out, struct gfs_err *err)
{
    int64_t deadline = gfs_clock_mono() + UNKNOWN_WAIT;
    struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&mounts->mutex);
    struct mount *m = NULL;
    int rc = 0;

    (void)guard;
    while ((m = find(mounts, id)) == NULL && !mounts->cancelled && rc != ETIMEDOUT) {
        if (mounts->poke != NULL) {
            mounts->poke(mounts->poke_arg);
        }
        rc = pthread_cond_timedwait(&mounts->changed, &mounts->mutex, &until);
    }
    if (mounts->cancelled) {
        return gfs_err_set(err, GFS_ECANCELLED, "worker is stopping");
    }
    if (m == NULL) {
        return gfs_err_set(err, GFS_EUNAVAIL, "mount %" PRIu32 " is not known to this worker yet",
                           id);
    }
    if (m->ufs == NULL) {
        return gfs_err_set(err, m->error, "%s", m->text);
    }
    m->refs++;
    *out = m;
    return 0;
}

int gfsi_mounts_fetch(void *arg, uint32_t mount_id, const struct gfs_ufs_range *range, void *buffer,
                      char *version_out, struct gfs_err *err)
{
    struct gfsi_mounts *mounts = arg;
    struct mount *m = NULL;
    int rc = acquire(mounts, mount_id, &m, err);

    if (rc < 0) {
        return rc;
    }
    rc = gfs_ufs_read_buffer(m->ufs, range, buffer, version_out, err);
    (void)pthread_mutex_lock(&mounts->mutex);

    struct mount *unused = mount_unref(m);

    (void)pthread_mutex_unlock(&mounts->mutex);
    if (unused != NULL) {
        mount_free(unused);
    }
    return rc;
}
