/* What the operations share: numbers, attributes, replies, counting. */
#include "fuse_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#define BLOCK_SIZE   4096
#define LOG_EVERY_NS GFS_NS_PER_S

static const char *const op_names[] = {
#define OP_NAME(name, text) [GFSI_OP_##name] = (text),
    GFSI_FUSE_OP_MAP(OP_NAME)
#undef OP_NAME
};

uint64_t gfsi_ino_from_node(const struct gfs_fuse *fuse, fuse_ino_t node)
{
    return node == FUSE_ROOT_ID ? fuse->config.root_ino : node;
}

static fuse_ino_t node_from_ino(const struct gfs_fuse *fuse, uint64_t ino)
{
    return ino == fuse->config.root_ino ? FUSE_ROOT_ID : ino;
}

double gfsi_seconds(int64_t ns)
{
    return (double)ns / (double)GFS_NS_PER_S;
}

void gfsi_stat_from_attr(const struct gfs_fuse *fuse, const struct gfs_fuse_attr *attr,
                         struct stat *out)
{
    struct timespec mtime = {
        .tv_sec = attr->mtime_ms / 1000,
        .tv_nsec = attr->mtime_ms % 1000 * GFS_NS_PER_MS,
    };

    *out = (struct stat){
        .st_ino = node_from_ino(fuse, attr->ino),
        .st_mode = attr->mode,
        .st_nlink = S_ISDIR(attr->mode) ? 2 : 1,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_size = (off_t)attr->size,
        .st_blksize = BLOCK_SIZE,
        .st_blocks = (blkcnt_t)((attr->size + 511) / 512),
        .st_mtim = mtime,
        .st_ctim = mtime,
        .st_atim = mtime,
    };
}

void gfsi_entry_from_attr(struct gfs_fuse *fuse, const struct gfs_fuse_attr *attr,
                          struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){
        .ino = node_from_ino(fuse, attr->ino),
        .generation = 1, /* inode ids are never used again */
        .attr_timeout = gfsi_seconds(fuse->config.attr_timeout_ns),
        .entry_timeout = gfsi_seconds(fuse->config.entry_timeout_ns),
    };
    gfsi_stat_from_attr(fuse, attr, &out->attr);
    gfsi_version_cache_tell(&fuse->versions, attr->ino, attr->version & GFSI_VERSION_BITS);
}

/* At most one line a second: a broken backend is told of, not echoed for every reader. */
static void log_error(struct gfs_fuse *fuse, enum gfsi_fuse_op op, uint64_t ino, int code)
{
    long long now = gfs_clock_mono();
    long long until = atomic_load(&fuse->quiet_until);

    if (now < until ||
        !atomic_compare_exchange_strong(&fuse->quiet_until, &until, now + LOG_EVERY_NS)) {
        return;
    }
    gfs_warn("fuse", "operation failed", "op=%s ino=%" PRIu64 " error=%s", op_names[op], ino,
             GFS_Q(gfs_err_string(code)));
}

void gfsi_reply_error(struct gfs_fuse *fuse, fuse_req_t req, enum gfsi_fuse_op op, uint64_t ino,
                      int code)
{
    /* ESTALE of a request by id: the kernel looks the path up again and takes what is there. */
    if (code != GFS_ENOENT && code != GFS_EROFS && code != GFS_ESTALE) {
        gfs_metric_add(fuse->op_metrics[op].errors, 1);
        log_error(fuse, op, ino, code);
    }
    (void)fuse_reply_err(req, gfs_err_to_errno(code));
}

void gfsi_observe(struct gfs_fuse *fuse, enum gfsi_fuse_op op, int64_t started)
{
    gfs_metric_observe(fuse->op_metrics[op].seconds, gfs_clock_mono() - started);
}

void gfsi_metrics_init(struct gfs_fuse *fuse)
{
    struct gfs_metrics *m = fuse->metrics;
    int i;

    for (i = 0; i < GFSI_OP_COUNT; i++) {
        char labels[64];

        (void)snprintf(labels, sizeof(labels), "op=\"%s\"", op_names[i]);
        fuse->op_metrics[i].seconds =
            gfs_metrics_get(m, GFS_METRIC_HISTOGRAM, "goosefs_fuse_op_seconds", labels,
                            "Time from taking a FUSE request to its reply");
        fuse->op_metrics[i].errors =
            gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_op_errors_total", labels,
                            "FUSE requests answered with an error, absent names not counted");
    }
    fuse->read_bytes = gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_read_bytes_total", "",
                                       "Bytes given to readers");
    fuse->passthrough_opens =
        gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_passthrough_opens_total", "",
                        "Files opened so that the kernel reads the worker's copy itself");
    fuse->passthrough_bytes =
        gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_passthrough_bytes_total", "",
                        "Sizes of the files opened so: what is read of them only the kernel knows");
    fuse->spliced_bytes =
        gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_spliced_bytes_total", "",
                        "Bytes given to readers straight from the worker's copy");
    fuse->interrupts = gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_interrupts_total", "",
                                       "Requests given up because their caller got a signal");
    fuse->resent = gfs_metrics_get(m, GFS_METRIC_COUNTER, "goosefs_fuse_resent_total", "",
                                   "Requests of a predecessor answered by this process");
}
