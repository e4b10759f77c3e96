/* Which process a pid file means, so that it is found again and never confused with another that
 * got its number. */
#ifndef GFSI_CONTROLLER_PIDFILE_H
#define GFSI_CONTROLLER_PIDFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_pidfile {
    pid_t pid;
    uint64_t start; /* clock ticks after boot, field 22 of /proc/PID/stat */
    uint64_t hash;
};

int gfsi_pidfile_write(const char *path, pid_t pid, uint64_t hash, struct gfs_err *err);

/* GFS_ENOENT when there is none or it cannot be understood. */
int gfsi_pidfile_read(const char *path, struct gfsi_pidfile *out);

/* A pidfd of exactly that process, -1 when it is gone (or only its zombie is left). */
int gfsi_pidfile_open(const struct gfsi_pidfile *file);

/* Start time of a process; 0 when it does not exist. */
uint64_t gfsi_process_start(pid_t pid);

/* The wall clock when a process with that start time started, ms. */
int64_t gfsi_process_start_ms(uint64_t start);

/* kill(2) by pidfd. */
int gfsi_pidfd_signal(int pidfd, int signal);

#ifdef __cplusplus
}
#endif
#endif
