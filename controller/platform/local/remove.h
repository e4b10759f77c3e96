/* Removing directories. */
#ifndef GFSI_CONTROLLER_REMOVE_H
#define GFSI_CONTROLLER_REMOVE_H

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Removes `path` and everything below it, without following links or entering other file systems,
 * then up to `parents` directories above it while they are empty. Success when it is not there.
 * Blocks: not on a loop. */
int gfsi_remove_tree(const char *path, int parents, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
