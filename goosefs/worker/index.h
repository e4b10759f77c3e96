/* The index of one tier directory: a small key-value table in LMDB that survives restarts. Values
 * are opaque here (record.h). A table that cannot be opened is moved out of the way: a cache may
 * lose its content, it must not lose its service.
 *
 * Thread: one at a time (the store's janitor, or boot). */
#ifndef GFSI_WORKER_INDEX_H
#define GFSI_WORKER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#define GFSI_INDEX_KEY_LEN 20

struct gfsi_index;

struct gfsi_index_change {
    unsigned char key[GFSI_INDEX_KEY_LEN];
    const void *value; /* NULL: delete */
    size_t value_len;
};

/* Opens or creates `dir`/data.mdb. *recreated: what was there was unusable and has been dropped. */
int gfsi_index_open(const char *dir, uint64_t max_bytes, struct gfsi_index **out, bool *recreated,
                    struct gfs_err *err);
struct gfsi_index *gfsi_index_close(struct gfsi_index *index);

/* Applies all in one transaction, on disk when it returns. GFS_ENOSPC when the table is full. */
int gfsi_index_apply(struct gfsi_index *index, const struct gfsi_index_change *changes, size_t n,
                     struct gfs_err *err);

/* Calls back for each entry; a non-zero answer ends the walk with it. */
typedef int (*gfsi_index_visit)(void *arg, const unsigned char *key, const void *value, size_t len);
int gfsi_index_walk(struct gfsi_index *index, gfsi_index_visit visit, void *arg,
                    struct gfs_err *err);

/* One text of the directory's own ("boot", "clean"): at most 127 bytes. GFS_ENOENT when not set. */
int gfsi_index_meta_get(struct gfsi_index *index, const char *name, char *out, size_t size);
int gfsi_index_meta_put(struct gfsi_index *index, const char *name, const char *value,
                        struct gfs_err *err);

#endif
