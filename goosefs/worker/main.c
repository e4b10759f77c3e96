/* goosefs-worker: options, signals, exit codes. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include <gfs/base/cfg.h>
#include <gfs/base/hosts.h>
#include <gfs/base/log.h>
#include <gfs/base/metrics.h>
#include <gfs/rpc/rpc.h>
#include <gfs/worker/worker.h>

/* Exit codes: 1 cannot start, 2 bad option. */
enum { EXIT_CANNOT = 1, EXIT_USAGE = 2 };

static int serve(const struct gfs_worker_config *config, const struct gfs_hosts *hosts,
                 const sigset_t *signals)
{
    struct gfs_metrics *metrics = gfs_metrics_new();
    struct gfs_worker *worker = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    int signal_number = 0;
    int rc = gfs_worker_start(config, hosts, metrics, &worker, &err);

    if (rc < 0) {
        gfs_error("worker", "cannot start", "error=%s", GFS_Q(gfs_err_text(&err, rc)));
        gfs_metrics_free(metrics);
        return EXIT_CANNOT;
    }
    (void)sigwait(signals, &signal_number);
    gfs_info("worker", "stopping", "signal=%d", signal_number);
    gfs_worker_stop(worker);
    gfs_metrics_free(metrics);
    gfs_info("worker", "stopped", "signal=%d", signal_number);
    return 0;
}

int main(int argc, char **argv)
{
    struct gfs_cfg_program program = {
        .name = "goosefs-worker",
        .summary = "caches file data of under file systems and serves it to clients",
        .epilog =
            "Tiers, for N from 0: goosefs.worker.tieredstore.levelN.alias, .dirs.path,\n"
            ".dirs.mediumtype (MEM, SSD, HDD), .dirs.quota, .watermark.high.ratio (0.95),\n"
            ".watermark.low.ratio (0.7); several directories of one tier are separated by commas.\n"
            "SIGTERM finishes answers in progress and stops. The cache survives a restart.\n"
            "Exit codes: 0 stopped, 1 cannot start, 2 bad option.",
    };
    struct gfs_worker_config config;
    struct gfs_cfg *cfg = NULL;
    struct gfs_hosts *hosts = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    sigset_t signals;

    program.options = gfs_worker_options(&program.n_options);

    int rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);

    if (rc == 1) {
        return 0;
    }
    if (rc == 0) {
        rc = gfs_worker_config_load(cfg, &config, &err);
    }
    if (rc == 0) {
        rc = gfs_hosts_load(gfs_cfg_str(cfg, "goosefs.network.hosts.file"), &hosts, &err);
    }
    gfs_cfg_free(cfg);
    if (rc < 0) {
        (void)fprintf(stderr, "goosefs-worker: %s\n", gfs_err_text(&err, rc));
        return EXIT_USAGE;
    }

    /* Blocked before threads start: only sigwait sees them. */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);

    /* Blocks of megabytes come and go on many threads: give them back to the system at once, and
     * keep one heap for two dozen threads small. */
    (void)mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    (void)mallopt(M_ARENA_MAX, 4);
    gfs_rpc_init();
    rc = serve(&config, hosts, &signals);
    gfs_rpc_shutdown();
    gfs_hosts_free(hosts);
    return rc;
}
