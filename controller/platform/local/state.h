/* The state directory: one running instance (flock), one version, the objects that were applied.
 *
 *   version            "fluid-local 1"
 *   lock               held while an instance runs; contains its pid
 *   control.sock       its control socket
 *   hosts, hosts-NS    addresses of pods
 *   objects/           KIND.NAMESPACE.NAME.json, what was applied
 *   pods/NS/NAME/      working directory, configuration, logs and data of a pod
 *   csi/csi.sock       the CSI socket
 *   disks/             stand-ins for tier paths this machine does not have */
#ifndef GFSI_CONTROLLER_STATE_H
#define GFSI_CONTROLLER_STATE_H

#include <gfs/base/err.h>
#include <gfs/controller/object.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_STATE_VERSION "fluid-local 1\n"

/* Creates what is missing. GFS_EBUSY when an instance runs, GFS_EUNSUPPORTED for another version,
 * GFS_EEXIST for a directory that is something else; the text says what to do. Keep *out_lock open
 * as long as the directory is used. */
int gfsi_state_open(const char *dir, int *out_lock, struct gfs_err *err);

/* `created_ms` (wall clock) is kept as the file's modification time. */
int gfsi_state_save(const char *dir, const struct gfs_object *object, int64_t created_ms,
                    struct gfs_err *err);
int gfsi_state_remove(const char *dir, const struct gfs_object *object, struct gfs_err *err);

/* Calls `each` with every stored object, which it then owns. A file that does not parse is reported
 * and left where it is. */
typedef void (*gfsi_state_each_fn)(void *arg, struct gfs_object *object, int64_t created_ms);
int gfsi_state_load(const char *dir, gfsi_state_each_fn each, void *arg, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
