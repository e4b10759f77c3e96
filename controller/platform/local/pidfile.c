#include "platform/local/pidfile.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include "platform/local/pathf.h"

/* Text behind the command name: " S 1 2 ..." with the state first, as that name may hold anything.
 */
static int read_stat(pid_t pid, struct gfs_buf *buf, const char **out)
{
    char path[64];

    gfsi_pathf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (gfs_file_read(path, buf, NULL) < 0) {
        return GFS_ENOENT;
    }

    const char *end = strrchr(gfs_buf_str(buf), ')');

    if (end == NULL) {
        return GFS_ENOENT;
    }

    *out = end + 1;
    return 0;
}

/* The number a text starts with, up to a blank; false when there is none. */
static bool number_at(const char *text, int base, uint64_t *out)
{
    char *end = NULL;

    errno = 0;

    unsigned long long value = strtoull(text, &end, base);

    if (end == text || errno != 0 || text[0] == '-' ||
        (*end != '\0' && strchr(" \n", *end) == NULL)) {
        return false;
    }

    *out = value;
    return true;
}

static uint64_t start_of(const char *stat)
{
    uint64_t start = 0;

    /* State is field 3, start time field 22 (proc_pid_stat(5)). */
    for (int field = 3; field <= 22; field++) {
        stat += strspn(stat, " ");
        if (field == 22) {
            return number_at(stat, 10, &start) ? start : 0;
        }
        stat += strcspn(stat, " ");
    }

    return 0;
}

uint64_t gfsi_process_start(pid_t pid)
{
    struct gfs_buf buf gfs_auto_buf;
    const char *stat = NULL;

    gfs_buf_init(&buf, 4096);
    return read_stat(pid, &buf, &stat) == 0 ? start_of(stat) : 0;
}

int64_t gfsi_process_start_ms(uint64_t start)
{
    struct timespec since_boot = {0};
    long ticks = sysconf(_SC_CLK_TCK);

    (void)clock_gettime(CLOCK_BOOTTIME, &since_boot);

    int64_t boot_ms = gfs_clock_wall_ms() -
                      ((int64_t)since_boot.tv_sec * 1000 + since_boot.tv_nsec / GFS_NS_PER_MS);

    return boot_ms + (int64_t)(start * 1000 / (uint64_t)(ticks > 0 ? ticks : 100));
}

int gfsi_pidfile_write(const char *path, pid_t pid, uint64_t hash, struct gfs_err *err)
{
    char text[128];
    int len = snprintf(text, sizeof(text), "%d %" PRIu64 " %016" PRIx64 "\n", (int)pid,
                       gfsi_process_start(pid), hash);

    return gfs_file_write_atomic(path, text, (size_t)len, 0600, err);
}

/* "PID START HASH\n" */
static bool parse(const char *text, struct gfsi_pidfile *out)
{
    const char *start = strchr(text, ' ');
    const char *hash = start != NULL ? strchr(start + 1, ' ') : NULL;
    uint64_t pid = 0;

    if (hash == NULL || !number_at(text, 10, &pid) || !number_at(start + 1, 10, &out->start) ||
        !number_at(hash + 1, 16, &out->hash)) {
        return false;
    }

    out->pid = (pid_t)pid;
    return pid > 1 && pid <= INT32_MAX && out->start != 0;
}

int gfsi_pidfile_read(const char *path, struct gfsi_pidfile *out)
{
    struct gfs_buf buf gfs_auto_buf;
    struct gfsi_pidfile file = {0};

    gfs_buf_init(&buf, 128);
    if (gfs_file_read(path, &buf, NULL) < 0 || !parse(gfs_buf_str(&buf), &file)) {
        return GFS_ENOENT;
    }

    *out = file;
    return 0;
}

int gfsi_pidfile_open(const struct gfsi_pidfile *file)
{
    int fd gfs_auto_fd = (int)syscall(SYS_pidfd_open, file->pid, 0);

    /* The descriptor first, then the comparison: from here on the number cannot change hands. */
    if (fd < 0 || gfsi_process_start(file->pid) != file->start) {
        return -1;
    }

    struct pollfd ended = {.fd = fd, .events = POLLIN};

    if (poll(&ended, 1, 0) > 0) {
        return -1;
    }

    return GFS_TAKE_FD(fd);
}

int gfsi_pidfd_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0
                                                                       : gfs_err_from_errno(errno);
}
