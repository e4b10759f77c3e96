/* What the two halves of FileSystemMaster share. */
#ifndef GFSI_FS_SERVICE_PRIV_H
#define GFSI_FS_SERVICE_PRIV_H

#include "info_priv.h"

void gfsi_on_mount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
void gfsi_on_unmount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user);

/* The inode a request names. 0, GFSI_RUN_LOAD, or an error; path (GFSI_PATH_MAX bytes) is "" when
 * it was named by id. */
int gfsi_fs_target(struct gfsi_request *r, struct gfsi_view *view,
                   const Goosefs__V1__PathOrId *target, char *path, struct gfsi_inode *out,
                   struct gfs_err *err);

#endif
