/* Processes of ours that no pid file names: the instance before this one was killed between
 * starting them and writing it down. They hold ports and directories, so they have to go before
 * others start. */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"
#include "platform/local/pidfile.h"

#define CMDLINE_MAX 16384
#define GRACE_MS    10000
#define PROPERTIES  "/goosefs-site.properties"

/* The command line of a process; false when it is gone, a kernel thread or too long. */
static bool read_cmdline(const char *pid, struct gfs_buf *out)
{
    char path[64];

    gfs_buf_clear(out);
    (void)snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
    return gfs_file_read(path, out, NULL) == 0 && out->len > 0 && out->error == 0;
}

/* The argument after argv[0] that starts with `prefix`, NULL when there is none. */
static const char *find_argument(const struct gfs_buf *cmdline, const char *prefix)
{
    for (size_t at = strlen(cmdline->data) + 1; at < cmdline->len;
         at += strlen(cmdline->data + at) + 1) {
        if (gfs_str_has_prefix(cmdline->data + at, prefix)) {
            return cmdline->data + at;
        }
    }

    return NULL;
}

/* Forked by the plugin, with its command line, and gone when it goes. */
static bool is_child_of_plugin(pid_t pid)
{
    struct gfs_buf text gfs_auto_buf;
    char path[64];
    char parent[32];

    gfs_buf_init(&text, CMDLINE_MAX);
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (gfs_file_read(path, &text, NULL) < 0) {
        return false;
    }

    const char *end = strrchr(gfs_buf_str(&text), ')');

    if (end == NULL || strlen(end) < 5) {
        return false;
    }

    (void)snprintf(parent, sizeof(parent), "%ld", strtol(end + 4, NULL, 10)); /* ") S PPID ..." */
    return read_cmdline(parent, &text) && strcmp(text.data, "csi-nodeplugin-fluid") == 0;
}

/* Where the pid file of a process of this instance would be; false for others. */
static bool pid_file_of(const struct gfsi_local *local, pid_t pid, const struct gfs_buf *cmdline,
                        char out[PATH_MAX])
{
    const char *program = cmdline->data;
    char name[64];
    char prefix[PATH_MAX];

    gfsi_system_pod_name(local, "csi-nodeplugin-fluid", name);
    if (strcmp(program, "goosefs-master") == 0 || strcmp(program, "goosefs-worker") == 0) {
        gfsi_pathf(prefix, sizeof(prefix), "%s/", local->pods_dir);

        const char *file = find_argument(cmdline, prefix);

        if (file == NULL || !gfs_str_has_suffix(file, PROPERTIES) || strlen(file) > PATH_MAX / 2) {
            return false;
        }
        gfsi_pathf(out, PATH_MAX, "%.*s/%s.pid", (int)(strlen(file) - strlen(PROPERTIES)), file,
                   program);
        return true;
    }

    bool keeper =
        strcmp(program, "fuse-keeper") == 0 && find_argument(cmdline, local->keeper_socket) != NULL;

    gfsi_pathf(prefix, sizeof(prefix), "unix://%s", local->csi_socket);
    if (!keeper && (strcmp(program, "csi-nodeplugin-fluid") != 0 ||
                    find_argument(cmdline, prefix) == NULL || is_child_of_plugin(pid))) {
        return false;
    }

    gfsi_pathf(out, PATH_MAX, "%s/%s/%s/%s.pid", local->pods_dir, GFS_FLUID_NAMESPACE, name,
               program);
    return true;
}

static void stop_stray(pid_t pid, const char *program)
{
    const struct gfsi_pidfile process = {.pid = pid, .start = gfsi_process_start(pid)};
    int pidfd gfs_auto_fd = gfsi_pidfile_open(&process);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    if (pidfd < 0) {
        return;
    }

    gfs_info("local", "stopping a process that was never written down", "pid=%d program=%s",
             (int)pid, program);
    (void)gfsi_pidfd_signal(pidfd, SIGTERM);
    if (poll(&ended, 1, GRACE_MS) == 0) {
        (void)gfsi_pidfd_signal(pidfd, SIGKILL);
        (void)poll(&ended, 1, GRACE_MS);
    }
}

void gfsi_strays_stop(struct gfsi_local *local)
{
    DIR *proc gfs_auto_dir = opendir("/proc");
    struct gfs_buf cmdline gfs_auto_buf;

    gfs_buf_init(&cmdline, CMDLINE_MAX);
    for (struct dirent *e = NULL; proc != NULL && (e = readdir(proc)) != NULL;) {
        struct gfsi_pidfile known;
        char file[PATH_MAX];
        int64_t pid = 0;

        if (gfs_parse_i64(e->d_name, 2, INT32_MAX, &pid) < 0 || pid == getpid() ||
            !read_cmdline(e->d_name, &cmdline) || !pid_file_of(local, (pid_t)pid, &cmdline, file)) {
            continue;
        }
        if (gfsi_pidfile_read(file, &known) < 0 || known.pid != (pid_t)pid) {
            stop_stray((pid_t)pid, cmdline.data);
        }
    }
}
