/* How an inode's open files do their I/O: through the page cache, in passthrough mode from a
 * backing file, or directly. The kernel refuses to mix the first two on one inode and to mix two
 * backing files (EIO for the opener), so the mode is remembered as long as a file is open, in the
 * session memfd (see struct gfs_session_open), over any number of clients.
 *
 *   no entry --open, backing id----> passthrough --last release--> no entry
 *      |                              other version opened: direct, held
 *      '----open, none-------------> cached      --last release--> no entry
 *   no room for an entry: direct, which needs none
 *
 * Thread: any. */
#ifndef GFSI_MODE_TABLE_H
#define GFSI_MODE_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/mounter/session.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gfsi_io_mode {
    GFSI_IO_CACHED = 0,
    GFSI_IO_PASSTHROUGH = 1,
    GFSI_IO_DIRECT = 2,
    /* Direct, of an inode that is open in passthrough mode with another version: the kernel demands
     * that every open names the backing file, and reads directly all the same. Counted. */
    GFSI_IO_DIRECT_HELD = 3,
};

struct gfsi_mode_table {
    pthread_mutex_t mutex;
    struct gfs_session_open *opens; /* GFS_SESSION_OPENS_MAX, in the memfd or owned */
    struct gfs_session_open *owned;
};

/* `opens` NULL: a table of its own. */
int gfsi_mode_table_init(struct gfsi_mode_table *t, struct gfs_session_open *opens);
void gfsi_mode_table_fini(struct gfsi_mode_table *t);

/* Counts one more open of (ino, version) in the mode the inode has. False, and nothing counted,
 * when it has none yet and could have one: then the caller finds a backing file or not, and
 * decides. */
bool gfsi_mode_join(struct gfsi_mode_table *t, uint64_t ino, uint64_t version,
                    enum gfsi_io_mode *out_mode, uint32_t *out_backing_id);

/* Counts one open of an inode without a mode, in passthrough mode when backing_id is not 0, else
 * cached. When another thread decided first it is joined. True when backing_id is now the table's:
 * a caller that gets false gives its reference back. */
bool gfsi_mode_decide(struct gfsi_mode_table *t, uint64_t ino, uint64_t version,
                      uint32_t backing_id, enum gfsi_io_mode *out_mode, uint32_t *out_backing_id);

/* One open less. *out_backing_id is not 0 when it was the last one in passthrough mode: the caller
 * gives the reference back. */
void gfsi_mode_leave(struct gfsi_mode_table *t, uint64_t ino, uint32_t *out_backing_id);

#ifdef __cplusplus
}
#endif
#endif
