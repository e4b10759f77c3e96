/* The FUSE server of goosefs-fuse over survival_backend.h: a test program, never installed. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/fuse/confine.h>
#include <gfs/fuse/launcher.h>
#include <gfs/fuse/server.h>
#include <gfs/mounter/packet.h>
#include <gfs/mounter/session.h>

#include "survival_backend.h"

static const struct option long_options[] = {
    {"size", required_argument, NULL, 's'},
    {"entries", required_argument, NULL, 'e'},
    {"delay-us", required_argument, NULL, 'd'},
    {"threads", required_argument, NULL, 't'},
    {"no-resend", no_argument, NULL, 'n'},
    {"fail", required_argument, NULL, 'f'},
    {"exit", required_argument, NULL, 'x'},
    {"mount", required_argument, NULL, 'm'},
    {"uncached", no_argument, NULL, 'u'},
    {"passthrough", no_argument, NULL, 'p'},
    {"launcher", required_argument, NULL, 'l'},
    {"properties", required_argument, NULL, 'P'},
    {"stuck", required_argument, NULL, 'k'},
    {"first-only", no_argument, NULL, '1'},
    {"grab-backing", required_argument, NULL, 'g'},
    {"denied", no_argument, NULL, 'D'},
    {"splice", no_argument, NULL, 'S'},
    {"hang", required_argument, NULL, 'h'},
    {"renumber", required_argument, NULL, 'r'},
    {"interrupt-ms", required_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

struct options {
    struct survival_tree tree;
    uint64_t threads;
    uint64_t exit_status; /* leave with it before serving; 0: serve */
    bool no_resend;
    bool uncached;
    bool passthrough;
    bool splice;
    uint64_t interrupt_ms; /* 0: as usual */
    const char *fail;      /* refuse to start with these words */
    const char *mount;
    const char *launcher; /* be one, in this directory */
    bool first_only;      /* successors of the first client cannot start */
    uint64_t grab;        /* which of the mount's clients takes a backing file and dies */
    bool denied;          /* try what the filter denies, and leave */
};

static bool parse(int argc, char **argv, struct options *o)
{
    uint64_t delay = 0;
    int rc = 0;
    int c;

    while (rc == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 's': rc = gfs_parse_size(optarg, &o->tree.size); break;
        case 'e': rc = gfs_parse_u64(optarg, 9999999, &o->tree.entries); break;
        case 'd': rc = gfs_parse_u64(optarg, 999999, &delay); break;
        case 't': rc = gfs_parse_u64(optarg, GFS_FUSE_THREADS_MAX, &o->threads); break;
        case 'x': rc = gfs_parse_u64(optarg, 100, &o->exit_status); break;
        case 'n': o->no_resend = true; break;
        case 'u': o->uncached = true; break;
        case 'p': o->passthrough = true; break;
        case 'S': o->splice = true; break;
        case 'r': o->tree.renumber = optarg; break;
        case 'h': o->tree.hang = optarg; break;
        case 'i': rc = gfs_parse_u64(optarg, 60000, &o->interrupt_ms); break;
        case 'f': o->fail = optarg; break;
        case 'm': o->mount = optarg; break;
        case 'l': o->launcher = optarg; break;
        case 'P': break; /* what the plugin tells goosefs-fuse */
        case 'k': o->tree.stuck = optarg; break;
        case '1': o->first_only = true; break;
        case 'g': rc = gfs_parse_u64(optarg, 100, &o->grab); break;
        case 'D': o->denied = true; break;
        default: return false;
        }
    }
    o->tree.delay_us = (unsigned)delay;
    return rc == 0;
}

static int serve(struct options *o, struct gfs_err *err)
{
    int64_t timeout = o->uncached ? 0 : GFS_NS_PER_S;
    bool backing = o->passthrough || o->splice;
    struct gfs_fuse_config config = {
        .backend = {.ops = backing ? &survival_backing_ops : &survival_backend_ops,
                    .ctx = &o->tree},
        .passthrough = o->passthrough,
        .splice = o->splice,
        .interrupt_grace_ns = (int64_t)o->interrupt_ms * GFS_NS_PER_MS,
        .root_ino = 1,
        .threads = (uint32_t)o->threads,
        .attr_timeout_ns = timeout,
        .entry_timeout_ns = timeout,
        .negative_timeout_ns = timeout,
        .subtype = "survival",
        .source = "memory",
        .no_resend = o->no_resend,
    };
    struct gfs_fuse *fuse = NULL;
    int rc = gfs_fuse_new(&config, &fuse, err);

    if (rc == 0 && o->mount != NULL) {
        rc = gfs_fuse_mount(fuse, o->mount, err);
    }
    if (rc == 0 && gfs_fuse_inherited()) {
        rc = gfs_fuse_confine(err);
    }
    if (rc == 0) {
        rc = gfs_fuse_run(fuse, err);
    }
    (void)gfs_fuse_free(fuse);
    return rc;
}

/* Dies between being given a backing file and recording it. */
static int grab_backing(void)
{
    int fds[1] = {memfd_create("grabbed", MFD_CLOEXEC)};
    struct gfs_control_msg msg = {
        .magic = GFS_SESSION_MAGIC,
        .version = GFS_SESSION_VERSION,
        .type = GFS_CONTROL_BACKING_OPEN,
        .value = survival_ino_of_file(0),
    };
    struct pollfd p = {.fd = GFS_SESSION_CONTROL_FD, .events = POLLIN};

    if (gfs_packet_send(GFS_SESSION_CONTROL_FD, &msg, sizeof(msg), fds, 1) != 0 ||
        poll(&p, 1, -1) != 1) {
        return 1;
    }
    (void)raise(SIGKILL);
    return 1;
}

static void *do_nothing(void *arg)
{
    return arg;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* 42: all that is to be denied is, and nothing else; otherwise which one is not as it should be. */
static int try_denied(void)
{
    char *argv[] = {(char[]){"true"}, NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;
    int fd;

    if (gfs_fuse_confine(NULL) != 0) {
        return 1;
    }
    if (mount("none", "/", "nosuchfs", 0, NULL) != -1 || errno != EPERM) {
        return 2;
    }
    if (unshare(0) != -1 || errno != EPERM) {
        return 3;
    }
    if (execv("/bin/true", argv) != -1 || errno != EPERM) {
        return 4;
    }
    if (mkdir("/", 0755) != -1 || errno != EPERM) {
        return 5;
    }
    if (unlink("/nonexistent/file") != -1 || errno != EPERM) {
        return 6;
    }
    if (!SANITIZED && (fork() != -1 || errno != EPERM)) {
        return 7;
    }
    if (!SANITIZED && (kill(getppid(), 0) != -1 || errno != EPERM)) {
        return 8;
    }
    if (syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != EPERM) {
        return 9;
    }
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) {
        return 10;
    }
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != -1 ||
        errno == EPERM) {
        return 11;
    }
    return 42;
}

int main(int argc, char **argv)
{
    struct options o = {.tree = {.size = 1 << 20, .entries = 3000}, .threads = 8};
    struct gfs_err err = GFS_ERR_INIT;

    gfs_fuse_block_signals();
    if (!parse(argc, argv, &o)) {
        (void)fprintf(stderr, "usage: survival_client [options of long_options]\n");
        return 2;
    }
    if (o.fail != NULL) {
        gfs_fuse_report_failure(GFS_EUNAVAIL, o.fail);
        return 1;
    }
    if (o.exit_status != 0) {
        return (int)o.exit_status;
    }
    if (o.denied) {
        return try_denied();
    }
    if (o.first_only && gfs_fuse_generation() > 1) {
        gfs_fuse_report_failure(GFS_EUNAVAIL, "only the first one starts");
        return 1;
    }
    if (o.grab != 0 && gfs_fuse_generation() == o.grab) {
        return grab_backing();
    }
    if (o.launcher != NULL) {
        struct gfs_launcher_config config = {.directory = o.launcher, .name = "survival_client"};

        return gfs_launcher_run(&config, &err) == 0 ? 0 : 1;
    }
    if (serve(&o, &err) != 0) {
        (void)fprintf(stderr, "survival_client: %s\n", err.text);
        return 1;
    }
    return 0;
}
