#include "mode_table.h"

#include <stdlib.h>

#include <gfs/base/err.h>

int gfsi_mode_table_init(struct gfsi_mode_table *t, struct gfs_session_open *opens)
{
    *t = (struct gfsi_mode_table){.opens = opens};
    if (opens == NULL) {
        t->owned = calloc(GFS_SESSION_OPENS_MAX, sizeof(*t->owned));
        t->opens = t->owned;
    }
    if (t->opens == NULL) {
        return GFS_ENOMEM;
    }
    (void)pthread_mutex_init(&t->mutex, NULL);
    return 0;
}

void gfsi_mode_table_fini(struct gfsi_mode_table *t)
{
    if (t->opens == NULL) {
        return;
    }
    free(t->owned);
    t->owned = NULL;
    t->opens = NULL;
    (void)pthread_mutex_destroy(&t->mutex);
}

/* The inode's entry, or NULL and in *out_free a free one of its bucket, or NULL. */
static struct gfs_session_open *find(const struct gfsi_mode_table *t, uint64_t ino,
                                     struct gfs_session_open **out_free)
{
    struct gfs_session_open *at = &t->opens[gfs_session_bucket(ino)];
    int i;

    *out_free = NULL;
    for (i = 0; i < GFS_SESSION_OPENS_BUCKET; i++) {
        if (at[i].ino == ino) {
            return &at[i];
        }
        if (at[i].ino == 0 && *out_free == NULL) {
            *out_free = &at[i];
        }
    }
    return NULL;
}

/* With the lock, of an inode that has a mode. */
static void join(struct gfs_session_open *e, uint64_t version, enum gfsi_io_mode *out_mode,
                 uint32_t *out_backing_id)
{
    e->opens++;
    *out_backing_id = e->backing_id;
    if (e->backing_id == 0) {
        *out_mode = GFSI_IO_CACHED;
    } else {
        *out_mode = e->version == version ? GFSI_IO_PASSTHROUGH : GFSI_IO_DIRECT_HELD;
    }
}

bool gfsi_mode_join(struct gfsi_mode_table *t, uint64_t ino, uint64_t version,
                    enum gfsi_io_mode *out_mode, uint32_t *out_backing_id)
{
    struct gfs_session_open *room;
    struct gfs_session_open *e;
    bool known = true;

    (void)pthread_mutex_lock(&t->mutex);
    e = find(t, ino, &room);
    if (e != NULL) {
        join(e, version, out_mode, out_backing_id);
    } else if (room == NULL) {
        *out_mode = GFSI_IO_DIRECT;
        *out_backing_id = 0;
    } else {
        known = false;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return known;
}

bool gfsi_mode_decide(struct gfsi_mode_table *t, uint64_t ino, uint64_t version,
                      uint32_t backing_id, enum gfsi_io_mode *out_mode, uint32_t *out_backing_id)
{
    struct gfs_session_open *room;
    struct gfs_session_open *e;
    bool taken = false;

    (void)pthread_mutex_lock(&t->mutex);
    e = find(t, ino, &room);
    if (e != NULL) {
        join(e, version, out_mode, out_backing_id);
    } else if (room == NULL) {
        *out_mode = GFSI_IO_DIRECT;
        *out_backing_id = 0;
    } else {
        room->version = version;
        room->backing_id = backing_id;
        room->opens = 1;
        __atomic_store_n(&room->ino, ino, __ATOMIC_RELEASE);
        *out_mode = backing_id != 0 ? GFSI_IO_PASSTHROUGH : GFSI_IO_CACHED;
        *out_backing_id = backing_id;
        taken = true;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return taken;
}

void gfsi_mode_leave(struct gfsi_mode_table *t, uint64_t ino, uint32_t *out_backing_id)
{
    struct gfs_session_open *room;
    struct gfs_session_open *e;

    *out_backing_id = 0;
    (void)pthread_mutex_lock(&t->mutex);
    e = find(t, ino, &room);
    if (e != NULL && e->opens > 1) {
        e->opens--;
    } else if (e != NULL) {
        *out_backing_id = e->backing_id;
        __atomic_store_n(&e->ino, (uint64_t)0, __ATOMIC_RELEASE);
    }
    (void)pthread_mutex_unlock(&t->mutex);
}
