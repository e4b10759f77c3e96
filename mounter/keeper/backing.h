/* Backing files of one mount's inodes, opened on the client's behalf: the ioctl needs
 * CAP_SYS_ADMIN, which the client does not have. An inode keeps its id as long as references to it
 * are held, whoever asks (fuse-passthrough.rst: all opens of an inode must name the same), and only
 * for the file it was made from: another one has another version's bytes.
 *
 * Only for read-only mounts: the kernel opens the backing file again as the keeper, so that a
 * client could otherwise turn a descriptor for reading into one for writing. */
#ifndef GFSI_BACKING_H
#define GFSI_BACKING_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/session.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_backing {
    uint64_t ino;
    uint64_t dev, file; /* of the backing file; 0, 0: an earlier keeper's, not known */
    int32_t id;
    uint32_t refs;
};

/* At most GFS_SESSION_OPENS_MAX; then BUSY. */
struct gfsi_backing_table {
    struct gfsi_backing *items;
    size_t count;
    size_t cap;
};

void gfsi_backing_fini(struct gfsi_backing_table *t);

/* The id (> 0) of `ino` on the connection `fuse_fd`, made from `fd` when it has none; takes a
 * reference. BUSY while it has one of another file. `fd` stays the caller's. */
int gfsi_backing_open(struct gfsi_backing_table *t, int fuse_fd, uint64_t ino, int fd);
void gfsi_backing_close(struct gfsi_backing_table *t, int fuse_fd, uint64_t ino);

/* No client runs: references that it was given and had not recorded in the session when it died are
 * nobody's, and given back; of those recorded it has one each. */
void gfsi_backing_settle(struct gfsi_backing_table *t, int fuse_fd,
                         const struct gfs_session *session);

/* What an earlier keeper gave out, as far as clients still use it. */
void gfsi_backing_adopt(struct gfsi_backing_table *t, const struct gfs_session *session);

#ifdef __cplusplus
}
#endif
#endif
