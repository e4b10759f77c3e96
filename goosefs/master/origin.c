/* UFS handles with reference counts, at most one kept per mount. */
#include "origin_priv.h"

#include <pthread.h>
#include <stdlib.h>

#include <gfs/base/auto.h>

struct gfsi_origin {
    struct gfs_ufs *ufs;
    uint32_t mount_id; /* 0: of no mount, or of one that is gone */
    unsigned refs;     /* users; a kept handle may have none */
    struct gfsi_origin *next;
};

struct gfsi_origins {
    pthread_mutex_t mutex;
    struct gfsi_origin *all;
    bool cancelled;
};

int gfsi_origins_new(struct gfsi_origins **out)
{
    struct gfsi_origins *origins = calloc(1, sizeof(*origins));

    if (origins == NULL) {
        return GFS_ENOMEM;
    }

    (void)pthread_mutex_init(&origins->mutex, NULL);
    *out = origins;
    return 0;
}

static void origin_free(struct gfsi_origin *origin)
{
    (void)gfs_ufs_close(origin->ufs);
    free(origin);
}

void gfsi_origins_free(struct gfsi_origins *origins)
{
    if (origins == NULL) {
        return;
    }

    while (origins->all != NULL) {
        struct gfsi_origin *next = origins->all->next;

        origin_free(origins->all);
        origins->all = next;
    }

    (void)pthread_mutex_destroy(&origins->mutex);
    free(origins);
}

static int open_ufs(const char *uri, const struct gfsi_prop *props, size_t n_props,
                    struct gfs_ufs **out, struct gfs_err *err)
{
    struct gfs_props *copy = gfs_props_new();
    int rc = copy == NULL ? gfs_err_set(err, GFS_ENOMEM, "out of memory") : 0;

    for (size_t i = 0; i < n_props && rc == 0; i++) {
        rc = gfs_props_set(copy, props[i].key, props[i].value);
        if (rc != 0) {
            (void)gfs_err_set(err, rc, "mount property '%s' cannot be used", props[i].key);
        }
    }

    rc = rc != 0 ? rc : gfs_ufs_open(uri, copy, NULL, out, err);
    (void)gfs_props_free(copy);
    return rc;
}

static int open_new(struct gfsi_origins *origins, uint32_t mount_id, const char *uri,
                    const struct gfsi_prop *props, size_t n_props, struct gfsi_origin **out,
                    struct gfs_err *err)
{
    struct gfsi_origin *origin;
    int rc;

    if (origins->cancelled) {
        return gfs_err_set(err, GFS_ECANCELLED, "this master is stopping");
    }

    origin = calloc(1, sizeof(*origin));
    if (origin == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    rc = open_ufs(uri, props, n_props, &origin->ufs, err);
    if (rc != 0) {
        free(origin);
        return rc;
    }

    origin->mount_id = mount_id;
    origin->refs = 1;
    origin->next = origins->all;
    origins->all = origin;
    *out = origin;
    return 0;
}

int gfsi_origins_get(struct gfsi_origins *origins, const struct gfsi_mount *mount,
                     struct gfsi_origin **out, struct gfs_err *err)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&origins->mutex);

    for (struct gfsi_origin *o = origins->all; o != NULL && !origins->cancelled; o = o->next) {
        if (o->mount_id == mount->id) {
            o->refs++;
            *out = o;
            return 0;
        }
    }

    return open_new(origins, mount->id, mount->uri, mount->props, mount->n_props, out, err);
}

int gfsi_origins_open(struct gfsi_origins *origins, const char *uri, const struct gfsi_prop *props,
                      size_t n_props, struct gfsi_origin **out, struct gfs_err *err)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&origins->mutex);

    return open_new(origins, 0, uri, props, n_props, out, err);
}

struct gfs_ufs *gfsi_origin_ufs(struct gfsi_origin *origin)
{
    return origin->ufs;
}

/* Unlinks it when nobody uses it and no mount keeps it. */
static struct gfsi_origin *release(struct gfsi_origins *origins, struct gfsi_origin *origin)
{
    struct gfsi_origin **at = &origins->all;

    if (origin->refs > 0 || origin->mount_id != 0) {
        return NULL;
    }

    while (*at != origin) {
        at = &(*at)->next;
    }

    *at = origin->next;
    return origin;
}

void gfsi_origin_put(struct gfsi_origins *origins, struct gfsi_origin *origin)
{
    struct gfsi_origin *dead;

    if (origin == NULL) {
        return;
    }

    (void)pthread_mutex_lock(&origins->mutex);
    origin->refs--;
    dead = release(origins, origin);
    (void)pthread_mutex_unlock(&origins->mutex);
    if (dead != NULL) {
        origin_free(dead);
    }
}

void gfsi_origins_drop(struct gfsi_origins *origins, uint32_t mount_id)
{
    struct gfsi_origin *dead = NULL;

    (void)pthread_mutex_lock(&origins->mutex);
    for (struct gfsi_origin *o = origins->all; o != NULL; o = o->next) {
        if (o->mount_id == mount_id) {
            o->mount_id = 0;
            dead = release(origins, o);
            break;
        }
    }
    (void)pthread_mutex_unlock(&origins->mutex);
    if (dead != NULL) {
        origin_free(dead);
    }
}

void gfsi_origins_cancel(struct gfsi_origins *origins)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&origins->mutex);

    origins->cancelled = true;
    for (struct gfsi_origin *o = origins->all; o != NULL; o = o->next) {
        gfs_ufs_cancel(o->ufs);
    }
}
