/* Backend files by (inode, version), shared by all handles that name the pair, opened on demand: a
 * handle is no more than that pair, so a successor process serves handles it never opened.
 *
 * A file without users stays for a while, up to GFSI_FILES_IDLE_MAX, so that reads through a
 * predecessor's handle, which has no user here, do not open it each time. Bounded: with
 * GFSI_FILES_MAX files in use at the very moment, BUSY. Thread: any; the backend is called without
 * the lock. */
#ifndef GFSI_FILE_TABLE_H
#define GFSI_FILE_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/fuse/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Versions are hashes: without the two lowest bits they still differ, and a handle has room for a
 * mode. */
#define GFSI_VERSION_BITS (~UINT64_C(3))

#define GFSI_FILES_MAX      65536
#define GFSI_FILES_IDLE_MAX 256
#define GFSI_LOCALS_MAX     1024 /* descriptors kept of files in use; others are read by copying */

struct gfsi_file;

struct gfsi_file_table {
    const struct gfs_fuse_backend *backend; /* borrowed */
    pthread_mutex_t mutex;
    struct gfsi_file **buckets;
    size_t count;
    size_t idle;
    size_t locals;
    struct gfsi_file *idle_first; /* oldest */
    struct gfsi_file *idle_last;
};

int gfsi_file_table_init(struct gfsi_file_table *t, const struct gfs_fuse_backend *backend);
void gfsi_file_table_fini(struct gfsi_file_table *t); /* closes all; none may be in use */

/* Opens what the inode is now; *out_version names it, *out_size (may be NULL) is its bytes. The
 * handle counts as one user. */
int gfsi_file_open(struct gfsi_file_table *t, uint64_t ino, uint64_t *out_version,
                   uint64_t *out_size);

/* Reads from the pair. When it is not open here it is opened; GFS_ECHANGED when the inode has
 * another version by now. */
ssize_t gfsi_file_read(struct gfsi_file_table *t, uint64_t ino, uint64_t version, void *buf,
                       size_t size, uint64_t offset);

/* The backend's backing file of a pair that is open; see struct gfs_fuse_backend_ops. */
int gfsi_file_backing(struct gfsi_file_table *t, uint64_t ino, uint64_t version, int *out_fd);

/* A local file with the bytes of a pair that is open, to read from instead of asking the backend.
 * keep: takes `fd`; it is closed when the pair is not in use any more, or at once when there is one
 * already or are too many. wants: is it worth finding one? begin: borrows it until end; false when
 * there is none. */
void gfsi_file_local_keep(struct gfsi_file_table *t, uint64_t ino, uint64_t version, int fd);
bool gfsi_file_local_wants(struct gfsi_file_table *t, uint64_t ino, uint64_t version);
bool gfsi_file_local_begin(struct gfsi_file_table *t, uint64_t ino, uint64_t version,
                           struct gfsi_file **out, int *out_fd, uint64_t *out_length);
void gfsi_file_local_end(struct gfsi_file_table *t, struct gfsi_file *file);

/* One handle less. Unknown pairs (opened by a predecessor) are fine. */
void gfsi_file_release(struct gfsi_file_table *t, uint64_t ino, uint64_t version);

#ifdef __cplusplus
}
#endif
#endif
