#include "reply_bufs.h"

#include <stdlib.h>

#include <gfs/base/assert.h>

void gfsi_reply_bufs_init(struct gfsi_reply_bufs *r, size_t size)
{
    *r = (struct gfsi_reply_bufs){.size = size};
    (void)pthread_mutex_init(&r->mutex, NULL);
}

void gfsi_reply_bufs_fini(struct gfsi_reply_bufs *r)
{
    while (r->n_free > 0) {
        free(r->free_bufs[--r->n_free]);
    }
    (void)pthread_mutex_destroy(&r->mutex);
}

char *gfsi_reply_bufs_take(struct gfsi_reply_bufs *r)
{
    char *buf = NULL;

    (void)pthread_mutex_lock(&r->mutex);
    if (r->n_free > 0) {
        buf = r->free_bufs[--r->n_free];
    }
    (void)pthread_mutex_unlock(&r->mutex);
    return buf != NULL ? buf : malloc(r->size);
}

void gfsi_reply_bufs_give(struct gfsi_reply_bufs *r, char *buf)
{
    if (buf == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&r->mutex);
    GFS_ASSERT_LT(r->n_free, GFS_FUSE_THREADS_MAX);
    r->free_bufs[r->n_free++] = buf;
    (void)pthread_mutex_unlock(&r->mutex);
}
