/* Which configuration a FUSE mount was made with, for the clean policy OnFuseChanged: one small
 * file per mount below {state dir}/mounts, so that it is known however often volumes and this
 * process come and go. A mount is its path and its connection: what is mounted there anew is
 * another.
 *
 * A mount that was there before it was first seen counts as made with the configuration of then.
 * Thread: any; about one path by one at a time (gfsi_hold). */
#ifndef GFSI_CSI_GENERATION_PRIV_H
#define GFSI_CSI_GENERATION_PRIV_H

#include "node_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* {runtime's directory}/conf/goosefs-site.properties */
int gfsi_generation_config(const char *fluid_path, char *out, size_t size);

/* Digest of the configuration now, "" when there is none. */
void gfsi_generation_now(const char *fluid_path, char out[GFSI_DIGEST_SIZE]);

/* Of the volume's mount: `made` is what it was just made with, NULL for one that was there. A
 * failure is logged: the mount then stays at the next unstage. */
void gfsi_generation_note(struct gfsi_node *node, const struct gfsi_volume *volume,
                          const char *made);

/* Whether the volume's mount is known to have been made with another configuration. */
bool gfsi_generation_changed(struct gfsi_node *node, const struct gfsi_volume *volume);

/* Forgets mounts that are not in `table`. At start. */
void gfsi_generation_sweep(struct gfsi_node *node, const struct gfs_mounttable *table);

#ifdef __cplusplus
}
#endif
#endif
