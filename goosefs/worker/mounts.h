/* The mount table as the masters tell it: mount id to an open under file system. */
#ifndef GFSI_WORKER_MOUNTS_H
#define GFSI_WORKER_MOUNTS_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/cfg.h>
#include <gfs/base/err.h>
#include <gfs/ufs/ufs.h>

struct gfsi_mounts;

struct gfsi_mount {
    uint32_t id;
    const char *uri;
    const struct gfs_props *props; /* may be NULL */
};

struct gfsi_mounts *gfsi_mounts_new(void);

/* No fetch may be in progress. Accepts NULL, returns NULL. */
struct gfsi_mounts *gfsi_mounts_free(struct gfsi_mounts *mounts);

/* Makes fetches in progress end, and later ones fail with GFS_ECANCELLED. */
void gfsi_mounts_cancel(struct gfsi_mounts *mounts);

/* The whole table. What is unchanged keeps its connections; what is gone ends when its last fetch
 * does. A mount that cannot be opened is kept with its error, which its fetches get. */
void gfsi_mounts_set(struct gfsi_mounts *mounts, const struct gfsi_mount *table, size_t n);

/* Called, if set, when a fetch meets an unknown mount: ask the masters now. */
void gfsi_mounts_on_unknown(struct gfsi_mounts *mounts, void (*poke)(void *arg), void *arg);

/* A gfsi_fetch with the mounts as its argument. A mount that is not known yet is waited for, a few
 * seconds: a client may be faster than our heartbeat. Then GFS_EUNAVAIL. */
int gfsi_mounts_fetch(void *arg, uint32_t mount_id, const struct gfs_ufs_range *range, void *buffer,
                      char *version_out, struct gfs_err *err);

#endif
