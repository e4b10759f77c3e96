/* Shared by client.c (mounting) and client_list.c (asking). */
#ifndef GFSI_CONTROLLER_CLIENT_PRIV_H
#define GFSI_CONTROLLER_CLIENT_PRIV_H

#include <stddef.h>

#include <gfs/base/clock.h>
#include <gfs/mounter/keeper_client.h>

struct gfsi_pair;

#define GFSI_UNMOUNT_LIMIT_NS (20 * GFS_NS_PER_S)

static inline void gfsi_keeper_client_drop(struct gfs_keeper_client **client)
{
    (void)gfs_keeper_client_free(*client);
}

#define gfsi_auto_client __attribute__((cleanup(gfsi_keeper_client_drop)))

struct gfsi_local;

/* GFS_EPRECONDITION, naming the place, when the file system at `path` is mounted elsewhere too. */
int gfsi_client_check_unused(const char *path, struct gfs_err *err);

/* Unmounts what the keeper holds for a runtime that does not exist any more: its deletion was cut
 * short by the end of an earlier instance. */
void gfsi_client_check_orphan(struct gfsi_local *local, const char *id);

/* The keeper's id of the mount: "NS.NAME", as the node plugin has it; neither can hold a '.'. */
void gfsi_keeper_id(const struct gfsi_pair *pair, char *out, size_t size);

#endif
