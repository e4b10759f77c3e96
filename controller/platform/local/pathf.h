/* Paths below the directories of the instance, whose lengths were checked at start
 * (GFSI_DIR_MAX): they fit, or it is a bug. */
#ifndef GFSI_CONTROLLER_PATHF_H
#define GFSI_CONTROLLER_PATHF_H

#include <stddef.h>

#define GFSI_DIR_MAX 1024 /* bytes of --state-dir, --mount-root, --kubelet-root, --bin-dir */

void gfsi_pathf(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
