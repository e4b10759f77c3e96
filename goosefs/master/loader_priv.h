/* Bringing metadata from the origin into the namespace: one directory, one file, a subtree. */
#ifndef GFSI_LOADER_PRIV_H
#define GFSI_LOADER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/ufs/ufs.h>

#include "ns_priv.h"

struct gfs_master;
struct gfsi_loader;

int gfsi_loader_new(struct gfs_master *m, struct gfsi_loader **out);
/* Nothing may be in progress. NULL is fine. */
void gfsi_loader_free(struct gfsi_loader *loader);

/* Once per accepted request; on a thread of the UFS pool. */
typedef void (*gfsi_loaded)(void *arg, int rc, const struct gfs_err *err);

/* Lists a directory at its origin, or asks for one file there, and applies what it showed; who asks
 * for the same inode meanwhile shares the answer. Leader only (NOTLEADER comes through `done`).
 * Negative: `done` will not run; BUSY when too much is in progress. Any thread, does not block. */
int gfsi_loader_load(struct gfsi_loader *loader, uint64_t inode, gfsi_loaded done, void *arg);

/* Proposes a listing as the children of `dir`. Blocks. */
int gfsi_loader_apply(struct gfsi_loader *loader, uint64_t dir, int64_t time_ms,
                      const struct gfs_ufs_listing *listing, struct gfs_err *err);

/* ---- a subtree ------------------------------------------------------------------------------ */

/* Loads every directory below (and at) `root` that has not been loaded, or all that were last
 * listed before fresh_after_ms. `cancelled` is asked now and then. A directory that fails does not
 * keep the others from being loaded; the first failure is what `done` gets. */
struct gfsi_tree_opts {
    uint64_t root;
    int64_t fresh_after_ms; /* 0: what is loaded is good */
    bool (*cancelled)(void *arg);
    gfsi_loaded done;
    void *arg;
};
int gfsi_tree_load(struct gfs_master *m, const struct gfsi_tree_opts *opts);

#endif
