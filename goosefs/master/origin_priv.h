/* UFS handles of the mounts, opened when first needed. */
#ifndef GFSI_ORIGIN_PRIV_H
#define GFSI_ORIGIN_PRIV_H

#include <gfs/base/err.h>
#include <gfs/ufs/ufs.h>

#include "ns_priv.h"

struct gfsi_origins;
struct gfsi_origin; /* one handle with a reference count */

int gfsi_origins_new(struct gfsi_origins **out);
/* No handle may be in use. NULL is fine. */
void gfsi_origins_free(struct gfsi_origins *origins);

/* The handle of a mount, opened if there is none. CANCELLED after gfsi_origins_cancel. */
int gfsi_origins_get(struct gfsi_origins *origins, const struct gfsi_mount *mount,
                     struct gfsi_origin **out, struct gfs_err *err);

/* One that belongs to no mount yet; gfsi_origins_cancel reaches it, too. */
int gfsi_origins_open(struct gfsi_origins *origins, const char *uri, const struct gfsi_prop *props,
                      size_t n_props, struct gfsi_origin **out, struct gfs_err *err);

struct gfs_ufs *gfsi_origin_ufs(struct gfsi_origin *origin);
void gfsi_origin_put(struct gfsi_origins *origins, struct gfsi_origin *origin);

/* Forgets the handle of a mount that is gone. */
void gfsi_origins_drop(struct gfsi_origins *origins, uint32_t mount_id);

/* Operations in progress and later ones fail soon. */
void gfsi_origins_cancel(struct gfsi_origins *origins);

#endif
