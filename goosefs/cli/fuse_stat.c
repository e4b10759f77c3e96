/* fuse stat: what the client of a mount did, from the file of statistics in the mount itself. */
#include "cli_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#define STAT_FILE   ".goosefs.stat"
#define TEXT_MAX    (1u << 20) /* one read request of the client */
#define OPS_MAX     32
#define BUCKETS_MAX 32

struct op {
    char name[32];
    uint64_t count, errors;
    double sum; /* seconds */
    size_t n_buckets;
    struct {
        double le;
        uint64_t count; /* cumulative */
    } buckets[BUCKETS_MAX];
};

struct fuse_stat {
    struct op ops[OPS_MAX];
    size_t n_ops;
    uint64_t restarts, resent, opens, opened_bytes, read_bytes, spliced_bytes, interrupts;
};

static struct op *op_named(struct fuse_stat *s, const char *name, size_t len)
{
    for (size_t i = 0; i < s->n_ops; i++) {
        if (strlen(s->ops[i].name) == len && memcmp(s->ops[i].name, name, len) == 0) {
            return &s->ops[i];
        }
    }
    if (s->n_ops == OPS_MAX || len >= sizeof(s->ops[0].name)) {
        return NULL;
    }
    struct op *op = &s->ops[s->n_ops++];
    memcpy(op->name, name, len);
    return op;
}

/* NAME{op="X",le="Y"} VALUE: NAME is of goosefs_fuse_op_. */
static void take_op(struct fuse_stat *s, const char *line, const char *value)
{
    const char *label = strstr(line, "{op=\"");
    if (label == NULL) {
        return;
    }
    label += strlen("{op=\"");
    const size_t len = strcspn(label, "\"");
    struct op *op = op_named(s, label, len);
    if (op == NULL) {
        return;
    }
    if (gfs_str_has_prefix(line, "seconds_sum{")) {
        op->sum = strtod(value, NULL);
    } else if (gfs_str_has_prefix(line, "seconds_count{")) {
        op->count = strtoull(value, NULL, 10);
    } else if (gfs_str_has_prefix(line, "errors_total{")) {
        op->errors = strtoull(value, NULL, 10);
    } else if (gfs_str_has_prefix(line, "seconds_bucket{") && op->n_buckets < BUCKETS_MAX) {
        const char *le = strstr(label, "le=\"");
        op->buckets[op->n_buckets].le = le != NULL ? strtod(le + strlen("le=\""), NULL) : 0;
        op->buckets[op->n_buckets++].count = strtoull(value, NULL, 10);
    }
}

static void take_line(struct fuse_stat *s, const char *line)
{
    const struct {
        const char *name;
        uint64_t *slot;
    } numbers[] = {
        {"goosefs_fuse_mount_restarts_total ", &s->restarts},
        {"goosefs_fuse_mount_resent_total ", &s->resent},
        {"goosefs_fuse_passthrough_opens_total ", &s->opens},
        {"goosefs_fuse_passthrough_bytes_total ", &s->opened_bytes},
        {"goosefs_fuse_read_bytes_total ", &s->read_bytes},
        {"goosefs_fuse_spliced_bytes_total ", &s->spliced_bytes},
        {"goosefs_fuse_interrupts_total ", &s->interrupts},
    };
    const char *value = strrchr(line, ' ');
    if (value == NULL || line[0] == '#') {
        return;
    }
    if (gfs_str_has_prefix(line, "goosefs_fuse_op_")) {
        take_op(s, line + strlen("goosefs_fuse_op_"), value + 1);
        return;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (gfs_str_has_prefix(line, numbers[i].name)) {
            *numbers[i].slot = strtoull(value + 1, NULL, 10);
        }
    }
}

/* The upper bound of the bucket that holds the quantile, in milliseconds; -1: above all bounds. */
static double quantile_ms(const struct op *op, double q)
{
    for (size_t i = 0; i < op->n_buckets; i++) {
        if ((double)op->buckets[i].count >= q * (double)op->count) {
            return op->buckets[i].le > 1e6 ? -1 : op->buckets[i].le * 1e3;
        }
    }
    return -1;
}

static void print_quantile(FILE *out, double ms)
{
    if (ms < 0) {
        (void)fprintf(out, " %9s", "more");
    } else {
        (void)fprintf(out, " %9.3f", ms);
    }
}

static void print(struct gfsi_cli *cli, const struct fuse_stat *s)
{
    FILE *out = cli->out;
    char a[32];
    char b[32];
    (void)fprintf(out, "Client restarts    %" PRIu64 "\nRequests resent    %" PRIu64 "\n",
                  s->restarts, s->resent);
    (void)fprintf(out, "Passthrough opens  %" PRIu64 " (files of %s in all)\n", s->opens,
                  gfsi_size(true, s->opened_bytes, a, sizeof(a)));
    (void)fprintf(out, "Read through it    %s (%s of it spliced)\nInterrupted        %" PRIu64 "\n",
                  gfsi_size(true, s->read_bytes, a, sizeof(a)),
                  gfsi_size(true, s->spliced_bytes, b, sizeof(b)), s->interrupts);
    (void)fprintf(out, "\n%-12s %12s %9s %9s %9s %9s  (ms; half, 99%% at most)\n", "Operation",
                  "Count", "Errors", "Mean", "p50", "p99");
    for (size_t i = 0; i < s->n_ops; i++) {
        const struct op *op = &s->ops[i];
        if (op->count == 0) {
            continue;
        }
        (void)fprintf(out, "%-12s %12" PRIu64 " %9" PRIu64 " %9.3f", op->name, op->count,
                      op->errors, op->sum * 1e3 / (double)op->count);
        print_quantile(out, quantile_ms(op, 0.5));
        print_quantile(out, quantile_ms(op, 0.99));
        (void)fprintf(out, "\n");
    }
}

static int read_text(struct gfsi_cli *cli, const char *mountpoint, char *text)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfs_path_join(path, sizeof(path), mountpoint, STAT_FILE);
    if (rc < 0) {
        return gfs_err_set(&cli->error, rc, "%s", mountpoint);
    }
    int fd gfs_auto_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return gfs_err_set_errno(&cli->error, errno,
                                 "%s (is the root of a GooseFS mount there, of this version?)",
                                 path);
    }
    const ssize_t n = pread(fd, text, TEXT_MAX - 1, 0);
    if (n < 0) {
        return gfs_err_set_errno(&cli->error, errno, "%s", path);
    }
    text[n] = '\0';
    return 0;
}

int gfsi_run_fuse_stat(struct gfsi_cli *cli)
{
    struct fuse_stat *s gfs_auto_free = calloc(1, sizeof(*s));
    char *text gfs_auto_free = malloc(TEXT_MAX);
    if (s == NULL || text == NULL) {
        return gfs_err_set(&cli->error, GFS_ENOMEM, "out of memory");
    }
    const int rc = read_text(cli, cli->operands[0], text);
    if (rc < 0) {
        return rc;
    }
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        take_line(s, line);
        line = end;
    }
    print(cli, s);
    return 0;
}
