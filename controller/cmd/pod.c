/* exec and logs: what a person does inside a pod. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#include "cmd/cmd.h"

#define CALL_NS (30 * GFS_NS_PER_S)

static Fluid__Local__V1__GetPodResponse *get_pod(const struct gfsi_options *options)
{
    Fluid__Local__V1__GetPodRequest request = FLUID__LOCAL__V1__GET_POD_REQUEST__INIT;
    const char *name = options->operands[0];

    if (gfs_str_has_prefix(name, "pod/")) {
        name += strlen("pod/");
    }

    request.name = (char *)(uintptr_t)name;
    request.namespace_ = (char *)(uintptr_t)options->ns;
    return (Fluid__Local__V1__GetPodResponse *)gfsi_call(options, "GetPod", &request.base, false,
                                                         CALL_NS);
}

/* The programs of the pod are found first, whatever the caller's PATH. */
static void prepend_path(const char *bin_dir)
{
    const char *old = getenv("PATH");
    char *path = NULL;

    if (asprintf(&path, "%s:%s", bin_dir, old != NULL ? old : "/usr/bin:/bin") >= 0) {
        (void)setenv("PATH", path, 1);
        free(path);
    }
}

int gfsi_cmd_exec(const struct gfsi_options *options)
{
    Fluid__Local__V1__GetPodResponse *pod = get_pod(options);

    if (pod == NULL) {
        return 1;
    }

    for (size_t i = 0; i < pod->n_env; i++) {
        char *equal = strchr(pod->env[i], '=');

        if (equal == NULL) {
            continue;
        }
        *equal = '\0';
        (void)setenv(pod->env[i], equal + 1, 1);
        if (strcmp(pod->env[i], "GOOSEFS_BIN_DIR") == 0) {
            prepend_path(equal + 1);
        }
    }
    if (chdir(pod->directory) < 0) {
        fprintf(stderr, "fluid-controller: %s: %s\n", pod->directory, strerror(errno));
    }

    /* argv of this process ends with a NULL behind the operands. */
    char *const *argv = (char *const *)(uintptr_t)(options->operands + 1);

    (void)execvp(argv[0], argv);
    fprintf(stderr, "fluid-controller: cannot run %s: %s\n", argv[0], strerror(errno));
    fluid__local__v1__get_pod_response__free_unpacked(pod, NULL);
    return errno == ENOENT ? 127 : 126;
}

static int copy_rest(int fd)
{
    char buf[65536];
    ssize_t n = 0;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        if (gfs_write_all(STDOUT_FILENO, buf, (size_t)n) < 0) {
            return -1;
        }
    }

    return n < 0 ? -1 : 0;
}

static int follow(const char *path, int fd)
{
    char events[4096];
    int watch gfs_auto_fd = inotify_init1(IN_CLOEXEC);

    if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0) {
        fprintf(stderr, "fluid-controller: cannot follow %s: %s\n", path, strerror(errno));
        return 1;
    }

    while (copy_rest(fd) == 0) {
        if (read(watch, events, sizeof(events)) <= 0) {
            return 1;
        }
    }

    return 0;
}

int gfsi_cmd_logs(const struct gfsi_options *options)
{
    Fluid__Local__V1__GetPodResponse *pod = get_pod(options);
    const char *path = NULL;
    int status = 1;

    if (pod == NULL) {
        return 1;
    }

    for (size_t i = 0; path == NULL && i < pod->n_containers; i++) {
        if (options->container[0] == '\0' ||
            strcmp(options->container, pod->containers[i]->name) == 0) {
            path = pod->containers[i]->log_path;
        }
    }

    int fd gfs_auto_fd = path != NULL && path[0] != '\0' ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (path == NULL) {
        fprintf(stderr, "fluid-controller: no container '%s'; there is:", options->container);
        for (size_t i = 0; i < pod->n_containers; i++) {
            fprintf(stderr, " %s", pod->containers[i]->name);
        }
        fprintf(stderr, "\n");
    } else if (path[0] == '\0') {
        fprintf(stderr,
                "fluid-controller: this pod is the controller itself: its log is its standard "
                "error\n");
    } else if (fd < 0) {
        fprintf(stderr, "fluid-controller: %s: %s\n", path, strerror(errno));
    } else {
        status = options->follow ? follow(path, fd) : copy_rest(fd) < 0;
    }

    fluid__local__v1__get_pod_response__free_unpacked(pod, NULL);
    return status;
}
