/* Inside reconcile/. */
#ifndef GFSI_CONTROLLER_RECONCILE_PRIV_H
#define GFSI_CONTROLLER_RECONCILE_PRIV_H

#include <gfs/controller/reconcile.h>

/* Whether anything of it changed. */
bool gfsi_condition_set(struct gfs_conditions *conditions, const char *type, bool status,
                        const char *reason, const char *message, int64_t now_ms);

#endif
