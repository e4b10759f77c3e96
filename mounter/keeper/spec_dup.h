/* Copies of specs and argument vectors, each one allocation that free() releases. */
#ifndef GFSI_SPEC_DUP_H
#define GFSI_SPEC_DUP_H

#include <stdbool.h>

#include <gfs/mounter/keeper_proto.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NULL on no memory. */
struct gfs_keeper_spec *gfsi_spec_dup(const struct gfs_keeper_spec *spec);
const char **gfsi_args_dup(const char *const *args);

bool gfsi_args_equal(const char *const *a, const char *const *b);

/* Everything but log_path is the same. */
bool gfsi_spec_equal(const struct gfs_keeper_spec *a, const struct gfs_keeper_spec *b);

#ifdef __cplusplus
}
#endif
#endif
