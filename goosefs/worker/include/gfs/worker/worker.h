/* A cache worker: tiered store, data server, link to the masters. Two may run in one process. */
#ifndef GFS_WORKER_WORKER_H
#define GFS_WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/cfg.h>
#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/base/metrics.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_WORKER_TIERS_MAX   3  /* levels */
#define GFS_WORKER_DIRS_MAX    16 /* of all levels together */
#define GFS_WORKER_MASTERS_MAX 9

/* One directory of one tier. */
struct gfs_worker_tier {
    char alias[16]; /* MEM, SSD, HDD */
    char path[1024];
    uint64_t quota; /* bytes of extents, never exceeded; the index beside them is not counted */
    double high;    /* above this part of the quota ... */
    double low;     /* ... evict down to this one */
};

struct gfs_worker_config {
    char hostname[GFS_HOST_NAME_MAX + 1];  /* in reports */
    char data_host[GFS_HOST_NAME_MAX + 1]; /* where clients reach it; "": hostname */
    char bind_host[64];                    /* IP literal; "" = every address */
    char web_bind_host[64];
    uint16_t data_port;     /* 0: a free one */
    int web_port;           /* 0: a free one, -1: none */
    char local_socket[108]; /* "" = data.sock in the first directory */
    uint32_t local_group;   /* that may connect to it, as far as we may say so; 0: our own */
    char masters[GFS_WORKER_MASTERS_MAX][GFS_HOST_NAME_MAX + 8]; /* "host:port" */
    size_t n_masters; /* 0: serves what is told by no master (tests) */
    struct gfs_worker_tier tiers[GFS_WORKER_DIRS_MAX];
    size_t n_tiers;
    char data_folder[128];
    uint32_t block_size;
    unsigned fetch_threads;
    unsigned readahead_blocks;
    unsigned send_threads;
    unsigned connections_max;
    uint64_t read_through_max;
    int64_t heartbeat_ns;
    int64_t drain_ns;
};

/* The options of the goosefs-worker program; *n their number. Static. */
const struct gfs_cfg_option *gfs_worker_options(size_t *n);

/* From the properties of `cfg`, which was parsed with these options. The tiers come from
 * goosefs.worker.tieredstore.levels, ...levelN.alias, .dirs.path, .dirs.mediumtype, .dirs.quota
 * (comma-separated, one of each per directory), .watermark.high.ratio, .watermark.low.ratio. An
 * error names the property and what is wrong with it. */
int gfs_worker_config_load(const struct gfs_cfg *cfg, struct gfs_worker_config *out,
                           struct gfs_err *err);

struct gfs_worker;

/* Opens the store, listens, starts to heartbeat. `hosts` (may be NULL) and `metrics` outlive it.
 * A port in use, a directory that another worker has, a directory of another format: errors that
 * say which. */
int gfs_worker_start(const struct gfs_worker_config *config, const struct gfs_hosts *hosts,
                     struct gfs_metrics *metrics, struct gfs_worker **out, struct gfs_err *err);

uint16_t gfs_worker_data_port(const struct gfs_worker *worker);
uint16_t gfs_worker_web_port(const struct gfs_worker *worker); /* 0: none */

/* Answers what is in progress (at most config.drain_ns), stops, frees. NULL is fine. */
struct gfs_worker *gfs_worker_stop(struct gfs_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
