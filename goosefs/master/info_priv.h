/* Inodes, mounts and workers as messages of goosefs_master.proto. */
#ifndef GFSI_INFO_PRIV_H
#define GFSI_INFO_PRIV_H

#include "request_priv.h"

#include "goosefs_master.pb-c.h"

/* Fills a FileInfo; strings come from the arena. `path`: NULL leaves it empty. `ufs_path` of the
 * inode. NOMEM. */
int gfsi_info_file(struct gfs_master *m, struct gfsi_arena *arena, const struct gfsi_inode *inode,
                   const char *path, const char *ufs_path, Goosefs__V1__FileInfo *out);

int gfsi_info_mount(struct gfsi_arena *arena, const struct gfsi_mount *mount,
                    Goosefs__V1__MountInfo *out);

/* The whole mount table. */
int gfsi_info_mounts(struct gfsi_arena *arena, struct gfsi_view *view,
                     Goosefs__V1__MountInfo ***out, size_t *out_n);

int gfsi_info_worker(struct gfsi_arena *arena, const struct gfsi_worker *worker,
                     Goosefs__V1__WorkerInfo *out);

/* "dir/name" in the arena; dir "" gives "name". */
char *gfsi_info_join(struct gfsi_arena *arena, const char *dir, const struct gfsi_str *name);

#endif
