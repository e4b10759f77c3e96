/* Open directories: for each a window of entries, so that reading on is one backend call per page
 * and a directory of any size is read in linear time.
 *
 * A position is 0 for the start, then the number of entries before it, "." and ".." included. A
 * handle of a predecessor process, or a position outside the window (seekdir), is found again by
 * reading from the start. Handles are numbers the kernel gives back; bounded, then BUSY. Thread:
 * any; one handle is used by one thread at a time (its lock). */
#ifndef GFSI_DIR_TABLE_H
#define GFSI_DIR_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/fuse/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_DIRS_MAX  4096
#define GFSI_DIR_PAGE  512 /* entries asked for at once */
#define GFSI_DIR_FIRST 2   /* position of the first real entry: behind "." and ".." */

struct gfsi_dir;

struct gfsi_dir_table {
    const struct gfs_fuse_backend *backend; /* borrowed */
    pthread_mutex_t mutex;
    struct gfsi_dir **buckets;
    uint64_t next_id;
    unsigned count;
};

struct gfsi_dir_entry {
    const char *name; /* valid until the handle is used again */
    struct gfs_fuse_attr attr;
};

/* `first_id`: handles of different generations of a mount must not be the same numbers. */
int gfsi_dir_table_init(struct gfsi_dir_table *t, const struct gfs_fuse_backend *backend,
                        uint64_t first_id);
void gfsi_dir_table_fini(struct gfsi_dir_table *t);

int gfsi_dir_open(struct gfsi_dir_table *t, uint64_t ino, uint64_t *out_id);
void gfsi_dir_release(struct gfsi_dir_table *t, uint64_t id);

/* Borrows the handle (made anew when unknown) and locks it until gfsi_dir_done. */
int gfsi_dir_begin(struct gfsi_dir_table *t, uint64_t id, uint64_t ino, struct gfsi_dir **out);
void gfsi_dir_done(struct gfsi_dir_table *t, struct gfsi_dir *dir);

/* Looks at the directory anew from its start. */
void gfsi_dir_rewind(struct gfsi_dir *dir);

/* The entry at `position` (>= GFSI_DIR_FIRST): 1 and *out; 0 behind the last one; or an error. */
int gfsi_dir_at(struct gfsi_dir_table *t, struct gfsi_dir *dir, uint64_t position,
                struct gfsi_dir_entry *out);

#ifdef __cplusplus
}
#endif
#endif
