/* What the two halves of FileSystemMaster share. */
#ifndef GFSI_FS_SERVICE_PRIV_H
#define GFSI_FS_SERVICE_PRIV_H

#include "info_priv.h"

void gfsi_on_mount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_unmount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);

int gfsi_run_list_status(struct gfsi_request *r, struct gfs_err *err);
int gfsi_run_count(struct gfsi_request *r, struct gfs_err *err);
int gfsi_run_load_metadata(struct gfsi_request *r, struct gfs_err *err);

/* It has to be fetched from the origin for this request, which happens at most once per inode.
 * Returns GFSI_RUN_LOAD. */
int gfsi_fs_want(struct gfsi_request *r, uint64_t inode);

/* Compared with the origin too long ago for this request. */
bool gfsi_fs_stale(const struct gfsi_request *r, const struct gfsi_inode *inode);

/* A directory nobody has listed yet. */
bool gfsi_fs_unloaded(const struct gfsi_inode *dir);

/* A file whose length the listing did not tell. */
bool gfsi_fs_vague(const struct gfsi_request *r, const struct gfsi_inode *inode);

/* The inode at a path, which comes back normalised in `path` (GFSI_PATH_MAX bytes). 0,
 * GFSI_RUN_LOAD, or an error that names the path. */
int gfsi_fs_by_path(struct gfsi_request *r, struct gfsi_view *view, const char *text, char *path,
                    struct gfsi_inode *out, struct gfs_err *err);

/* The inode of an id somebody was given once. STALE when it is gone: what he knows is old, he has
 * to look again by name. UNAVAIL as long as nothing was ever mounted. */
int gfsi_fs_by_id(struct gfsi_view *view, uint64_t id, struct gfsi_inode *out, struct gfs_err *err);

/* The inode a request names. 0, GFSI_RUN_LOAD, or an error; path (GFSI_PATH_MAX bytes) is "" when
 * it was named by id. */
int gfsi_fs_target(struct gfsi_request *r, struct gfsi_view *view,
                   const Goosefs__V1__PathOrId *target, char *path, struct gfsi_inode *out,
                   struct gfs_err *err);

#endif
