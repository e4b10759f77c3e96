/* Shared by the files of this component. */
#ifndef GFSI_UFS_PRIV_H
#define GFSI_UFS_PRIV_H

#include <gfs/ufs/ufs.h>

/* An empty listing; NULL without memory. */
struct gfs_ufs_listing *gfsi_listing_new(void);

/* Orders by name and drops duplicates, keeping of each the entry that tells the size. */
void gfsi_listing_finish(struct gfs_ufs_listing *listing);

/* For filling in what the row did not tell; only before the listing is handed out. */
struct gfs_ufs_entry *gfsi_listing_mutable(struct gfs_ufs_listing *listing, size_t i);

/* Drops the entries whose type was set to 0. */
void gfsi_listing_compact(struct gfs_ufs_listing *listing);

/* Quarters of an hour up to 14 h: the offsets of the time zones a row may be printed in. */
bool gfsi_row_time_matches(int64_t row_ms, uint32_t granularity_ms, int64_t exact_ms);

/* The openers of the schemes; each wraps itself by gfs_ufs_new. `rest` follows "scheme://". */
int gfsi_local_open(const char *uri, const char *rest, const struct gfs_ufs_limits *limits,
                    struct gfs_ufs **out, struct gfs_err *err);
int gfsi_web_open(const char *uri, const struct gfs_props *props,
                  const struct gfs_ufs_limits *limits, struct gfs_ufs **out, struct gfs_err *err);

/* A copy of `props` (may be NULL) with the values that are in files; free with gfs_props_free. */
int gfsi_secrets_resolve(const struct gfs_props *props, struct gfs_props **out,
                         struct gfs_err *err);

#endif
