/* The tiered store of a worker: extents of file versions, filled block by block from the origin.
 *
 *   extent:  EMPTY blocks --fetch--> VALID blocks, all of them --> SEALED --> unlinked
 *
 * A sealed extent is immutable and only ever unlinked, so a descriptor of it stays good. One fetch
 * per block however many wait. Space is reserved before the fetch: a quota is never exceeded; when
 * nothing can be evicted a block is read through without being kept.
 *
 * Threads: a pool that fetches, one janitor (index, unlinks). Every function may be called from any
 * thread; those that may touch a disk say so. */
#ifndef GFSI_WORKER_STORE_H
#define GFSI_WORKER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>
#include <gfs/client/data_proto.h>
#include <gfs/ufs/ufs.h>
#include <gfs/worker/worker.h>

struct gfsi_store;
struct gfsi_read;

/* What is to be read: an object at an exact version. Strings are copied. */
struct gfsi_target {
    uint64_t inode_id;
    uint64_t version_id;
    uint64_t file_length;
    uint64_t offset;
    uint64_t length;
    uint32_t mount_id;
    const char *path;
    const char *version; /* "" when the master has none: any, but one */
};

/* Where bytes come from; called from fetch threads, blocks. Reads exactly the range of exactly the
 * version (gfs_ufs_read); version_out has GFS_UFS_VERSION_MAX + 1 bytes. */
typedef int (*gfsi_fetch)(void *arg, uint32_t mount_id, const struct gfs_ufs_range *range,
                          void *buffer, char *version_out, struct gfs_err *err);

struct gfsi_store_config {
    const struct gfs_worker_tier *tiers; /* in the order of their levels */
    size_t n_tiers;
    const char *data_folder; /* below each directory */
    uint32_t block_size;     /* 4 KiB..4 MiB, a power of two */
    uint64_t extent_size;    /* GFS_EXTENT_SIZE; smaller in tests */
    unsigned fetch_threads;
    unsigned readahead_blocks; /* 0: none */
    unsigned queue_max;        /* fills waiting for a thread, beyond: BUSY */
    uint64_t read_through_max; /* bytes of blocks in memory for which there is no space */
    unsigned open_files;       /* descriptors kept open for extents in nobody's use */
    size_t extents_max;        /* in memory; beyond, the oldest goes */
    gfsi_fetch fetch;
    void *fetch_arg;
    struct gfs_metrics *metrics; /* may be NULL */

    /* Test seams; NULL: the real thing. */
    long (*pwrite)(void *arg, int fd, const void *data, size_t len, uint64_t offset);
    const char *boot_id; /* of the machine */
};

/* Locks and reads the directories (disk). GFS_EBUSY when another worker has one. */
int gfsi_store_open(const struct gfsi_store_config *config, struct gfsi_store **out,
                    struct gfs_err *err);

/* Ends background work; reads waiting for a fetch fail with GFS_ECANCELLED. The fetch function must
 * return soon (gfs_ufs_cancel). */
void gfsi_store_cancel(struct gfsi_store *store);

/* Cancels, waits for the threads, writes the index, marks it clean. All reads must have been freed.
 * Accepts NULL, returns NULL. */
struct gfsi_store *gfsi_store_close(struct gfsi_store *store);

/* ---- reading ---- */

/* Called once from a fetch thread when a read that had to wait is ready or failed. */
typedef void (*gfsi_read_done)(void *arg, struct gfsi_read *read);

/* Begins a read of 1..GFS_DATA_READ_MAX bytes. 1: ready at once, `done` will not be called; 0:
 * `done` will be called, perhaps before this returns; negative: refused (GFS_EINVAL when the target
 * contradicts itself, GFS_ERANGE outside the file, GFS_EBUSY when the queue is full). Pins the
 * extents until gfsi_read_free. Does not touch a disk. */
int gfsi_store_read(struct gfsi_store *store, const struct gfsi_target *target, gfsi_read_done done,
                    void *arg, struct gfsi_read **out, struct gfs_err *err);

/* Its result once ready: 0, or what the fetch failed with. */
int gfsi_read_result(const struct gfsi_read *read, const char **text);

/* Where the bytes are: a file range, or memory. Valid until the read is freed. */
struct gfsi_piece {
    int fd;           /* -1: memory */
    const char *data; /* when fd is -1 */
    uint64_t offset;  /* in the file */
    size_t len;
};

#define GFSI_PIECES_MAX 66

/* Fills `pieces` in order, opening files where needed (disk); returns how many, or an error. */
int gfsi_read_pieces(struct gfsi_read *read, struct gfsi_piece pieces[GFSI_PIECES_MAX],
                     struct gfs_err *err);

/* A piece's file was shorter than its index said: drops the read's extents. */
void gfsi_read_broken(struct gfsi_read *read);

struct gfsi_read *gfsi_read_free(struct gfsi_read *read);

/* Fills the range in the background. GFS_EBUSY when the queue is full. Does not touch a disk. */
int gfsi_store_load(struct gfsi_store *store, const struct gfsi_target *target,
                    struct gfs_err *err);

/* A read-only descriptor of the sealed extent at target->offset (disk); GFS_EPRECONDITION while it
 * is not sealed, and it begins to be filled. */
int gfsi_store_open_sealed(struct gfsi_store *store, const struct gfsi_target *target, int *out_fd,
                           struct gfs_data_opened *opened, struct gfs_err *err);

/* Drops what is cached of a file; version_id 0: of every version. Readers keep what they hold. */
void gfsi_store_free(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id);

/* ---- reporting ---- */

struct gfsi_tier_usage {
    char alias[16];
    uint64_t capacity;
    uint64_t used;
};

/* One per alias, in order; returns how many, at most `max`. */
size_t gfsi_store_usage(struct gfsi_store *store, struct gfsi_tier_usage *out, size_t max);

struct gfsi_cached {
    uint64_t inode_id;
    uint64_t version_id;
    uint64_t bytes;
};

/* Files whose cached bytes changed after change number `since`, oldest change first, at most `max`;
 * *next is what to pass the next time. Files that are gone have bytes 0; they are remembered for
 * `since` > 0 only as long as there is room, and *complete is false when some were forgotten: begin
 * again with 0. */
size_t gfsi_store_changes(struct gfsi_store *store, uint64_t since, struct gfsi_cached *out,
                          size_t max, uint64_t *next, bool *complete);

/* For tests: until nothing is queued or being fetched, and the index is written. */
void gfsi_store_settle(struct gfsi_store *store);

/* For tests: every invariant that can be checked from memory. */
bool gfsi_store_consistent(struct gfsi_store *store);

#endif
