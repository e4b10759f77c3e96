/* What the FUSE server needs from the file system behind it. goosefs-fuse plugs in the GooseFS
 * client; tests plug in a tree in memory.
 *
 * All functions may be called from several threads at once and may block, each within a deadline of
 * its own. Errors are <gfs/base/err.h> codes. Nothing may depend on state of this process: inode
 * ids and versions mean the same to a successor that takes over the mount. */
#ifndef GFS_FUSE_BACKEND_H
#define GFS_FUSE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_fuse_attr {
    uint64_t ino;     /* never 0, never used again for another object */
    uint64_t size;    /* bytes */
    uint64_t version; /* changes whenever the content does */
    int64_t mtime_ms; /* wall clock, since the epoch */
    uint32_t mode;    /* type and permissions, as in st_mode */
    uint32_t uid, gid;
};

struct gfs_fuse_statfs {
    uint64_t total_bytes, free_bytes;
    uint64_t files;
};

/* Called for each entry; false ends the listing early. */
typedef bool (*gfs_fuse_entry_fn)(void *arg, const char *name, const struct gfs_fuse_attr *attr);

struct gfs_fuse_backend_ops {
    int (*lookup)(void *ctx, uint64_t parent, const char *name, struct gfs_fuse_attr *out);
    int (*getattr)(void *ctx, uint64_t ino, struct gfs_fuse_attr *out);

    /* At most `max` entries of `dir` whose names come after `after` in the backend's own order,
     * which is the same for every call ("": from the start). *out_end: nothing comes after these.
     */
    int (*list)(void *ctx, uint64_t dir, const char *after, size_t max, gfs_fuse_entry_fn each,
                void *arg, bool *out_end);

    /* Opens for reading the version the inode has now. *out_file is closed with `close`. */
    int (*open)(void *ctx, uint64_t ino, struct gfs_fuse_attr *out, void **out_file);

    /* Bytes read: fewer than `size` only at the end of the file; GFS_ECHANGED when the opened
     * version cannot be had any more. */
    ssize_t (*pread)(void *ctx, void *file, void *buf, size_t size, uint64_t offset);
    void (*close)(void *ctx, void *file);

    /* NULL, or: a descriptor, the caller's to close, of a local regular file that has exactly the
     * bytes of the opened version and will never change: the kernel then reads it without asking
     * anybody. Any error means "not now"; it must not wait for long. */
    int (*backing)(void *ctx, void *file, int *out_fd);
    int (*statfs)(void *ctx, struct gfs_fuse_statfs *out);
};

struct gfs_fuse_backend {
    const struct gfs_fuse_backend_ops *ops;
    void *ctx;
};

#ifdef __cplusplus
}
#endif
#endif
