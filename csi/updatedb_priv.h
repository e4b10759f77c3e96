/* Keeps locate(1) from crawling FUSE mounts: adds file system types and paths to updatedb.conf. */
#ifndef GFSI_CSI_UPDATEDB_PRIV_H
#define GFSI_CSI_UPDATEDB_PRIV_H

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Adds the words of `fs_types` and `paths` (blanks or commas between) to PRUNEFS and PRUNEPATHS of
 * `file`, which keeps everything else; the first change leaves FILE.backup. Does nothing when the
 * file does not exist or has them all. */
int gfsi_updatedb_prune(const char *file, const char *fs_types, const char *paths,
                        struct gfs_err *err);

/* The pure part: `text` with the words added, appended to `out`. Returns 1 when that differs, 0
 * when nothing is to be done. */
int gfsi_updatedb_edit(const char *text, const char *fs_types, const char *paths,
                       struct gfs_buf *out);

#ifdef __cplusplus
}
#endif
#endif
