/* Reading a file's bytes from the workers.
 *
 * An extent's worker is chosen by <gfs/client/placement.h>. When it fails, the next in its order
 * serves instead, by reading through to the origin. When none answers, the read waits, looks for
 * new workers and tries again until its deadline; only then it fails. */
#ifndef GFS_CLIENT_FILE_H
#define GFS_CLIENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>
#include <gfs/client/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_client_file;

/* The version of the file that `info` describes (id, version_id, version, length, mount_id,
 * ufs_path must be filled, as every master call does). Copies what it needs, touches no network.
 * GFS_EISDIR for directories, GFS_ENAMETOOLONG. Close before the client is freed. */
int gfs_client_file_open(struct gfs_client *client, const Goosefs__V1__FileInfo *info,
                         struct gfs_client_file **out, struct gfs_err *err);
struct gfs_client_file *gfs_client_file_close(struct gfs_client_file *file); /* accepts NULL */

uint64_t gfs_client_file_length(const struct gfs_client_file *file);

/* Reads at `offset`. Bytes read: fewer than `size` only at the end of the file, 0 behind it. A read
 * is of one version: GFS_ECHANGED when the origin does not have it any more (look up again, and
 * open). `deadline` as for calls. On failure nothing is said about buf. Thread: any, many at once;
 * large reads are split and pipelined. */
ssize_t gfs_client_file_pread(struct gfs_client_file *file, void *buf, size_t size, uint64_t offset,
                              int64_t deadline, struct gfs_err *err);

/* Asks the workers to cache a range (length 0: to the end); returns when each has taken its part,
 * not when the bytes have arrived. */
int gfs_client_file_load(struct gfs_client_file *file, uint64_t offset, uint64_t length,
                         int64_t deadline, struct gfs_err *err);

/* Asks the workers on this machine, that of extent number `extent` (offset / GFS_EXTENT_SIZE)
 * first, for a descriptor of the file that holds the extent's bytes: *out_fd, the caller's to
 * close, read-only, a regular file of exactly *out_length bytes that never changes (it may be
 * unlinked). Takes at most 1 s, whatever the deadline. `fill`: the first one asked begins to fetch
 * what it does not have yet. GFS_EUNSUPPORTED: no worker has a socket here, or it may not be used;
 * GFS_EPRECONDITION: the extent is not complete yet; GFS_ERANGE: the file has no such extent;
 * GFS_EPROTO: what came is no such descriptor; GFS_EUNAVAIL, GFS_ETIMEOUT, GFS_ECANCELLED. Thread:
 * any. */
int gfs_client_file_open_extent(struct gfs_client_file *file, uint64_t extent, bool fill,
                                int64_t deadline, int *out_fd, uint64_t *out_length,
                                struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
