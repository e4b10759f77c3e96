/* What is mounted at a path: one look at /proc/self/mountinfo without libmount, which with its
 * dependencies would more than double the keeper's memory (measured: 1.4 MB without, 2.5 MB with).
 * Everything else uses <gfs/mounter/mounttable.h>. */
#ifndef GFSI_MOUNTED_H
#define GFSI_MOUNTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_mounted {
    unsigned depth;  /* mounts stacked at the path; 0: none, then the rest is empty */
    uint32_t minor;  /* of the top one's device */
    char fstype[64]; /* of the top one; cut when longer */
};

/* `target` is compared exactly. */
int gfsi_mounted_at(const char *target, struct gfsi_mounted *out, struct gfs_err *err);

/* The same over any text of that format (tests). Lines that do not parse are skipped. */
void gfsi_mounted_scan(FILE *in, const char *target, struct gfsi_mounted *out);

#ifdef __cplusplus
}
#endif
#endif
