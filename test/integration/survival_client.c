/* The FUSE server of goosefs-fuse over survival_backend.h: a test program, never installed. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/fuse/launcher.h>
#include <gfs/fuse/server.h>

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
    {"splice", no_argument, NULL, 'S'},
    {"hang", required_argument, NULL, 'h'},
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
        case 'h': o->tree.hang = optarg; break;
        case 'i': rc = gfs_parse_u64(optarg, 60000, &o->interrupt_ms); break;
        case 'f': o->fail = optarg; break;
        case 'm': o->mount = optarg; break;
        case 'l': o->launcher = optarg; break;
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
    if (rc == 0) {
        rc = gfs_fuse_run(fuse, err);
    }
    (void)gfs_fuse_free(fuse);
    return rc;
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
