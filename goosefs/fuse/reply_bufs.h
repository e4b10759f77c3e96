/* Buffers for the bytes of reads: as many as are in use at the same time, never more than threads,
 * the one used last given out first. (One per thread would end up with all of them touched: the
 * kernel wakes the threads in turn.) Thread: any. */
#ifndef GFSI_REPLY_BUFS_H
#define GFSI_REPLY_BUFS_H

#include <pthread.h>
#include <stddef.h>

#include <gfs/fuse/server.h>

struct gfsi_reply_bufs {
    pthread_mutex_t mutex;
    size_t size; /* of each */
    unsigned n_free;
    char *free_bufs[GFS_FUSE_THREADS_MAX];
};

void gfsi_reply_bufs_init(struct gfsi_reply_bufs *r, size_t size);
void gfsi_reply_bufs_fini(struct gfsi_reply_bufs *r); /* all are given back */

/* NULL on no memory. */
char *gfsi_reply_bufs_take(struct gfsi_reply_bufs *r);
void gfsi_reply_bufs_give(struct gfsi_reply_bufs *r, char *buf); /* accepts NULL */

#endif
