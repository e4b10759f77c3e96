/* Talking to fuse-keeper: plain blocking calls with a deadline, for the CSI plugin and the local
 * platform of the controller. Needs nothing but libc and lib/base.
 *
 * A call that runs into its deadline returns GFS_ETIMEOUT; the keeper goes on with what it does,
 * and repeating the same call joins it. When the keeper went away calls return GFS_EUNAVAIL: free
 * the client and connect again. Deadlines are absolute gfs_clock_mono() nanoseconds.
 *
 * No call here touches the mount itself, so none can hang on a dead or slow file system.
 *
 * Owner: the caller. Thread: one at a time per client; any number of clients per process. */
#ifndef GFS_MOUNTER_KEEPER_CLIENT_H
#define GFS_MOUNTER_KEEPER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_keeper_client;

/* Connects and says HELLO. GFS_EUNAVAIL when nothing listens at `socket_path`, GFS_EUNSUPPORTED for
 * a keeper of another version, GFS_EPERM when it does not accept this uid. */
int gfs_keeper_client_connect(const char *socket_path, int64_t deadline,
                              struct gfs_keeper_client **out, struct gfs_err *err);
struct gfs_keeper_client *gfs_keeper_client_free(struct gfs_keeper_client *client);

/* Mounts and starts the client; returns once it serves. The same spec again returns the mount there
 * is (after waiting for it if it is being made), another spec under the same id or another id at
 * the same mountpoint GFS_EEXIST. When the client cannot start, nothing stays mounted and `err` has
 * the client's own words. `log_fd` (-1: use spec->log_path) becomes the client's stdout and stderr;
 * it stays the caller's. `out_info` may be NULL; its texts live until the next call on `client`. */
int gfs_keeper_client_mount(struct gfs_keeper_client *client, const struct gfs_keeper_spec *spec,
                            int log_fd, int64_t deadline, struct gfs_keeper_info *out_info,
                            struct gfs_err *err);

/* Unmounts and stops the client; returns when both are gone (with GFS_KEEPER_LAZY: when the mount
 * is off the table). GFS_EPRECONDITION when busy and not lazy: nothing has changed then. GFS_ENOENT
 * when the keeper does not hold `id`. */
int gfs_keeper_client_unmount(struct gfs_keeper_client *client, const char *id, uint32_t flags,
                              int64_t deadline, struct gfs_err *err);

/* GFS_ENOENT when the keeper does not hold `id`. *out_info's texts live until the next call. */
int gfs_keeper_client_stat(struct gfs_keeper_client *client, const char *id, int64_t deadline,
                           struct gfs_keeper_info *out_info, struct gfs_err *err);

/* Calls `each` for every mount in the order of ids; stops when it returns false. The info lives
 * during that call only. `each` must not use `client`. */
typedef bool (*gfs_keeper_each_fn)(void *arg, const struct gfs_keeper_info *info);
int gfs_keeper_client_list(struct gfs_keeper_client *client, int64_t deadline,
                           gfs_keeper_each_fn each, void *arg, struct gfs_err *err);

/* Replaces the client under load, by `argv` when not NULL (a new binary, new arguments). If the new
 * one does not get ready the old argv is started again and the error returned. */
int gfs_keeper_client_restart(struct gfs_keeper_client *client, const char *id,
                              const char *const *argv, int64_t deadline,
                              struct gfs_keeper_info *out_info, struct gfs_err *err);

/* Duplicates of the mount's FUSE device and session memfd, the caller's to close (both
 * close-on-exec). Holding the first keeps the mount alive whatever happens to the keeper. */
int gfs_keeper_client_collect(struct gfs_keeper_client *client, const char *id, int64_t deadline,
                              int *out_fuse_fd, int *out_session_fd, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
