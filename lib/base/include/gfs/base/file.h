/* Small files and directories, the durable way. */
#ifndef GFS_BASE_FILE_H
#define GFS_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Appends the whole file to `out` (its max bounds the read). */
int gfs_file_read(const char *path, struct gfs_buf *out, struct gfs_err *err);

/* Writes through a temporary file in the same directory, fsync, rename, fsync of the directory:
 * after a crash the file has the old or the new content. */
int gfs_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                          struct gfs_err *err);

/* mkdir -p. Existing directories are fine. */
int gfs_mkdirs(const char *path, mode_t mode, struct gfs_err *err);

/* write(2) until all is written; returns 0 or -errno mapped. */
int gfs_write_all(int fd, const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
