/* The store's own structures. One mutex guards all of them; disks and origins are touched without
 * it. An extent with pins > 0 is not freed; one that is leaving is out of every table and waits for
 * its last pin, then for its unlink, before its bytes are free. */
#ifndef GFSI_WORKER_STORE_PRIV_H
#define GFSI_WORKER_STORE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "index.h"
#include "space.h"
#include "store.h"

#define GFSI_FILE_BUCKETS  65536
#define GFSI_GONE_MAX      100000 /* files without bytes remembered for the masters */
#define GFSI_RANGES_MAX    1024   /* background ranges waiting */
#define GFSI_FORMAT        "goosefs worker data 1\n"
#define GFSI_VICTIMS_MAX   64
#define GFSI_FLUSH_BATCH   256
#define GFSI_WAITS_MAX     (GFSI_PIECES_MAX)
#define GFSI_READAHEAD_MAX 64

enum gfsi_block {
    GFSI_BLOCK_EMPTY,
    GFSI_BLOCK_SUSPECT, /* on disk before an unclean boot: compared with its CRC before use */
    GFSI_BLOCK_FILLING, /* a fill exists */
    GFSI_BLOCK_VALID,
};

/* One directory of a tier. */
struct gfsi_dir {
    struct gfs_worker_tier tier;
    char folder[1280];
    struct gfsi_space space;
    struct gfsi_index *index;
    int lock_fd;
};

/* A version of a file that somebody asked for. */
struct gfsi_file {
    uint64_t inode_id;
    uint64_t version_id;
    uint64_t former_id; /* the inexact version its first extents were filled by; 0: none */
    uint64_t length;
    uint32_t mount_id;
    char *path;                          /* NULL until the first request after a restart */
    char *version;                       /* asked for; may be inexact */
    char exact[GFS_UFS_VERSION_MAX + 1]; /* of the first fetch: every later one must be this */
    uint64_t bytes;                      /* valid, in extents that are not leaving */
    uint64_t change;                     /* number of the last change of bytes; 0: none yet */
    bool gone;                           /* without extents, kept for the masters to hear it */
    struct gfsi_file *change_newer;
    struct gfsi_file *change_older;
    struct gfsi_file *hash_next;
    struct gfsi_extent *extents;
};

struct gfsi_extent {
    struct gfsi_space_entry space; /* first: victims are cast back */
    struct gfsi_file *file;        /* NULL once detached */
    struct gfsi_extent *next;      /* of the file */
    uint64_t inode_id;
    uint64_t version_id;
    uint32_t number;
    uint32_t dir;
    uint64_t seq;
    uint64_t length;
    uint64_t file_length;
    char *left_path; /* of its file, when it was detached while fetches were under way */
    char *left_version;
    uint32_t left_mount;
    uint32_t n_blocks;
    uint32_t n_valid;
    uint8_t *blocks; /* enum gfsi_block */
    uint32_t *crcs;
    int fd;
    bool sealed;
    bool indexed; /* the index may have a record */
    bool dirty;   /* in the dirty list */
    bool created; /* it has a file */
    bool buried;  /* its file is gone; the janitor deletes the record, then frees it */
    uint64_t recorded_stamp;
    struct gfsi_extent *dirty_next;
    struct gfsi_extent *grave_next;
    struct gfsi_fill *fills;

    /* Sequential read-ahead. */
    uint32_t ahead_next;   /* first block not yet scheduled */
    uint32_t ahead_window; /* blocks */
    uint32_t last_block;
};

/* Bytes of a block for which there was no space. */
struct gfsi_through {
    unsigned refs;
    size_t len;
    char data[];
};

struct gfsi_wait {
    struct gfsi_read *read;
    struct gfsi_wait *next;
    struct gfsi_through *through;
};

/* The one fetch of a block, however many wait. */
struct gfsi_fill {
    struct gfsi_extent *extent; /* pinned */
    uint32_t block;
    bool suspect; /* look at the disk first */
    struct gfsi_wait *waits;
    struct gfsi_fill *next_in_extent;
    struct gfsi_fill *next_in_queue;
    bool queued;
};

struct gfsi_range {
    struct gfsi_extent *extent; /* pinned */
    uint32_t block;
    uint32_t end;
    struct gfsi_range *next;
};

struct gfsi_read {
    struct gfsi_store *store;
    gfsi_read_done done;
    void *arg;
    struct gfsi_extent *extents[2]; /* pinned */
    size_t n_extents;
    uint64_t offset; /* of the file */
    uint64_t length;
    unsigned pending;
    int error;
    char text[GFS_ERR_TEXT_MAX];
    size_t n_waits;
    struct gfsi_wait waits[]; /* one per block touched, in order */
};

struct gfsi_store_metrics {
    struct gfs_metric *hit_bytes;
    struct gfs_metric *miss_bytes;
    struct gfs_metric *ufs_bytes;
    struct gfs_metric *fetch_errors;
    struct gfs_metric *fetch_seconds;
    struct gfs_metric *evicted;
    struct gfs_metric *evicted_bytes;
    struct gfs_metric *read_through;
    struct gfs_metric *write_errors;
    struct gfs_metric *crc_errors;
    struct gfs_metric *extents;
    struct gfs_metric *used[GFS_WORKER_DIRS_MAX];
};

struct gfsi_store {
    struct gfsi_store_config config;
    struct gfsi_dir dirs[GFS_WORKER_DIRS_MAX];
    size_t n_dirs;
    char boot_id[64];
    char data_folder[128];
    struct gfsi_store_metrics metrics;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* for fetch threads */
    pthread_cond_t janitor; /* for the janitor */
    pthread_cond_t settled; /* for gfsi_store_settle */
    bool cancelled;
    bool closing;

    struct gfsi_file *buckets[GFSI_FILE_BUCKETS];
    size_t n_attached; /* extents of files */
    size_t n_extents;  /* those and the ones on their way out */
    uint64_t stamp;
    uint64_t next_seq;
    unsigned n_open;
    uint64_t through_bytes;

    uint64_t change;
    struct gfsi_file *change_newest;
    struct gfsi_file *change_oldest;
    size_t n_gone;
    uint64_t forgotten; /* changes up to this number may be missing from the list */

    struct gfsi_fill *queue_head;
    struct gfsi_fill *queue_tail;
    unsigned n_queued;
    struct gfsi_range *ranges_head;
    struct gfsi_range *ranges_tail;
    unsigned n_ranges;
    unsigned n_background; /* threads at background work */
    unsigned n_active;

    struct gfsi_extent *dirty;
    struct gfsi_extent *graves;
    bool janitor_busy;
    unsigned settling; /* callers of gfsi_store_settle: do not wait for more to write */

    pthread_t threads[64];
    unsigned n_threads;
    pthread_t janitor_thread;
    bool janitor_started;
};

/* store.c: tables; all under the mutex. */
struct gfsi_file *gfsi_file_first(struct gfsi_store *store, uint64_t inode_id); /* of the bucket */
struct gfsi_file *gfsi_file_find(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id);
/* As find; what is cached of the same object by an inexact version becomes this version's. */
struct gfsi_file *gfsi_file_lookup(struct gfsi_store *store, const struct gfsi_target *target);
int gfsi_file_get(struct gfsi_store *store, const struct gfsi_target *target,
                  struct gfsi_file **out, struct gfs_err *err);
struct gfsi_file *gfsi_file_new(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id,
                                uint64_t length);
void gfsi_file_changed(struct gfsi_store *store, struct gfsi_file *file);
void gfsi_file_release(struct gfsi_store *store, struct gfsi_file *file);
struct gfsi_extent *gfsi_extent_find(struct gfsi_file *file, uint32_t number);
struct gfsi_extent *gfsi_extent_new(struct gfsi_store *store, struct gfsi_file *file,
                                    uint32_t number, uint32_t dir, uint64_t seq);
/* Room for n more extents in the table; may free files and extents nobody uses. */
int gfsi_extent_room(struct gfsi_store *store, size_t n, struct gfs_err *err);
int gfsi_extent_get(struct gfsi_store *store, struct gfsi_file *file, uint32_t number,
                    struct gfsi_extent **out, struct gfs_err *err);
void gfsi_extent_pin(struct gfsi_extent *extent);
void gfsi_extent_unpin(struct gfsi_store *store, struct gfsi_extent *extent);
uint64_t gfsi_extent_length(const struct gfsi_store *store, uint64_t file_length, uint32_t number);
uint64_t gfsi_block_length(const struct gfsi_store *store, const struct gfsi_extent *extent,
                           uint32_t block);

/* Takes an extent out of the tables; it goes to the graves when nobody uses it. */
void gfsi_extent_detach(struct gfsi_store *store, struct gfsi_extent *extent);
void gfsi_extent_dirty(struct gfsi_store *store, struct gfsi_extent *extent);
void gfsi_extent_destroy(struct gfsi_store *store, struct gfsi_extent *extent);

/* store_disk.c: files; without the mutex but where said. */
int gfsi_extent_open(struct gfsi_store *store, struct gfsi_extent *extent, struct gfs_err *err);
void gfsi_extent_path(const struct gfsi_store *store, const struct gfsi_extent *extent, char *out,
                      size_t size);
int gfsi_dir_prepare(struct gfsi_store *store, struct gfsi_dir *dir, struct gfs_err *err);
/* Makes room and reserves; false: read through. Drops and retakes the mutex. */
bool gfsi_store_reserve(struct gfsi_store *store, struct gfsi_dir *dir, uint64_t bytes);
/* Unlinks one extent that was taken out of all lists, with the mutex not held; then frees it. */
void gfsi_extent_bury(struct gfsi_store *store, struct gfsi_extent *extent);
void *gfsi_janitor_main(void *arg);
void gfsi_store_flush(struct gfsi_store *store); /* with the mutex; drops and retakes it */

/* store_boot.c; before threads start. */
int gfsi_dir_load(struct gfsi_store *store, uint32_t number, struct gfs_err *err);

/* store_fill.c: runs and frees a fill. With the mutex; drops and retakes it. */
void gfsi_fill_run(struct gfsi_store *store, struct gfsi_fill *fill);
void gfsi_through_unref(struct gfsi_store *store, struct gfsi_through *through);

/* store_queue.c; under the mutex but where said. */
int gfsi_fill_enqueue(struct gfsi_store *store, struct gfsi_extent *extent, uint32_t block,
                      struct gfsi_wait *wait, struct gfs_err *err);
int gfsi_range_enqueue(struct gfsi_store *store, struct gfsi_extent *extent, uint32_t block,
                       uint32_t end);
void *gfsi_fetch_main(void *arg);
/* Fails every queued fill and drops every range. Drops and retakes the mutex. */
void gfsi_fills_cancel(struct gfsi_store *store);

#endif
