/* What a FUSE client under a keeper may ask the kernel for: files it may open anyway, sockets,
 * memory, threads, time. Not: other programs, other processes, mounts, namespaces, names made,
 * changed or removed. The client parses what masters, workers and the kernel send it; whoever takes
 * it over finds no more than that. seccomp(2); denied calls fail with EPERM. */
#ifndef GFS_FUSE_CONFINE_H
#define GFS_FUSE_CONFINE_H

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For all threads of the process, for ever; call it when everything is set up. GFS_EUNSUPPORTED
 * when the kernel or the machine has no such filters. */
int gfs_fuse_confine(struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
