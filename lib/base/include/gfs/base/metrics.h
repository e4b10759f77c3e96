/* Counters, gauges and latency histograms of one process, printed as Prometheus text
 * (exposition format 0.0.4).
 *
 * A registry is created per daemon instance and handed down; metrics live as long as it. Updates
 * are lock-free and may come from any thread; registration takes a lock. */
#ifndef GFS_BASE_METRICS_H
#define GFS_BASE_METRICS_H

#include <stdint.h>

#include <gfs/base/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_METRICS_MAX                                                                            \
    1024 /* per registry; further registrations return NULL, updates ignore NULL */

struct gfs_metrics;
struct gfs_metric;

enum gfs_metric_type { GFS_METRIC_COUNTER, GFS_METRIC_GAUGE, GFS_METRIC_HISTOGRAM };

struct gfs_metrics *gfs_metrics_new(void);
struct gfs_metrics *gfs_metrics_free(struct gfs_metrics *m);

/* `name` as Prometheus wants it, with unit and _total ("goosefs_worker_read_bytes_total"); `labels`
 * is "" or `op="read",tier="HDD"`. Asking again for the same name and labels returns the same
 * metric. Histograms observe nanoseconds and print seconds (names end in _seconds). */
struct gfs_metric *gfs_metrics_get(struct gfs_metrics *m, enum gfs_metric_type type,
                                   const char *name, const char *labels, const char *help);

void gfs_metric_add(struct gfs_metric *metric, int64_t delta);  /* counter, gauge */
void gfs_metric_set(struct gfs_metric *metric, int64_t value);  /* gauge */
void gfs_metric_observe(struct gfs_metric *metric, int64_t ns); /* histogram */
int64_t gfs_metric_value(const struct gfs_metric *metric);      /* counter, gauge; observations */

/* Appends the whole exposition. */
int gfs_metrics_print(struct gfs_metrics *m, struct gfs_buf *out);

#ifdef __cplusplus
}
#endif
#endif
