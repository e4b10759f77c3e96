/* Logs of pods have a maximum: beyond it the older half goes. The writers append (O_APPEND), so the
 * file may shrink under them. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>

#include "platform/local/local_priv.h"

#define LOG_MAX  ((off_t)64 << 20)
#define LOG_DROP ((off_t)32 << 20) /* a multiple of every file system's block size */

static void trim(const char *path)
{
    struct stat st;

    if (path[0] == '\0' || stat(path, &st) < 0 || st.st_size <= LOG_MAX) {
        return;
    }

    int fd gfs_auto_fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        return;
    }

    /* Where the file system cannot drop a part of a file, all of it goes. */
    if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, LOG_DROP) < 0 && ftruncate(fd, 0) < 0) {
        gfs_warn("local", "cannot cut a log", "log=%s", GFS_Q(path));
        return;
    }

    gfs_info("local", "a log was cut", "log=%s", GFS_Q(path));
}

static void trim_pods(const struct gfsi_pod *pods)
{
    for (const struct gfsi_pod *pod = pods; pod != NULL; pod = pod->next) {
        for (size_t i = 0; i < pod->n_containers; i++) {
            trim(pod->containers[i].log_path);
        }
    }
}

void gfsi_logs_trim(struct gfsi_local *local)
{
    trim_pods(local->system_pods);
    for (const struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        trim_pods(pair->pods);
    }
}
