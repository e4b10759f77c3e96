#include <gfs/base/metrics.h>

#include <gfs/base/auto.h>
#include <gfs/base/err.h>
#include <gfs/base/str.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Upper bounds in ns: 10 us to 40 s, each 4 times the last. Wide enough for a page-cache hit and a
 * slow UFS, few enough to print for every FUSE operation. */
#define N_BUCKETS       12
#define FIRST_BUCKET_NS INT64_C(10000)

struct gfs_metric {
    enum gfs_metric_type type;
    char *name;
    char *labels;
    char *help;
    _Atomic int64_t value; /* histogram: observations */
    _Atomic int64_t sum_ns;
    _Atomic int64_t buckets[N_BUCKETS]; /* not cumulative */
};

struct gfs_metrics {
    pthread_mutex_t mutex; /* protects n and the pointers, not the values */
    struct gfs_metric *items[GFS_METRICS_MAX];
    size_t n;
};

struct gfs_metrics *gfs_metrics_new(void)
{
    struct gfs_metrics *m = calloc(1, sizeof *m);
    if (m != NULL) {
        (void)pthread_mutex_init(&m->mutex, NULL);
    }
    return m;
}

static void metric_free(struct gfs_metric *metric)
{
    if (metric != NULL) {
        free(metric->name);
        free(metric->labels);
        free(metric->help);
        free(metric);
    }
}

struct gfs_metrics *gfs_metrics_free(struct gfs_metrics *m)
{
    if (m != NULL) {
        for (size_t i = 0; i < m->n; i++) {
            metric_free(m->items[i]);
        }
        (void)pthread_mutex_destroy(&m->mutex);
        free(m);
    }
    return NULL;
}

static struct gfs_metric *metric_new(enum gfs_metric_type type, const char *name,
                                     const char *labels, const char *help)
{
    struct gfs_metric *metric = calloc(1, sizeof *metric);
    if (metric == NULL) {
        return NULL;
    }
    metric->type = type;
    metric->name = strdup(name);
    metric->labels = strdup(labels);
    metric->help = strdup(help);
    if (metric->name == NULL || metric->labels == NULL || metric->help == NULL) {
        metric_free(metric);
        return NULL;
    }
    return metric;
}

struct gfs_metric *gfs_metrics_get(struct gfs_metrics *m, enum gfs_metric_type type,
                                   const char *name, const char *labels, const char *help)
{
    if (m == NULL) {
        return NULL;
    }
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&m->mutex);
    (void)guard;

    size_t at = m->n;
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->items[i]->name, name) != 0) {
            continue;
        }
        if (strcmp(m->items[i]->labels, labels) == 0) {
            return m->items[i];
        }
        at = i + 1; /* samples of one name stand together: exposition format */
    }
    if (m->n == GFS_METRICS_MAX) {
        return NULL;
    }
    struct gfs_metric *metric = metric_new(type, name, labels, help);
    if (metric == NULL) {
        return NULL;
    }
    memmove(&m->items[at + 1], &m->items[at], (m->n - at) * sizeof m->items[0]);
    m->items[at] = metric;
    m->n++;
    return metric;
}

void gfs_metric_add(struct gfs_metric *metric, int64_t delta)
{
    if (metric != NULL) {
        atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
    }
}

void gfs_metric_set(struct gfs_metric *metric, int64_t value)
{
    if (metric != NULL) {
        atomic_store_explicit(&metric->value, value, memory_order_relaxed);
    }
}

void gfs_metric_observe(struct gfs_metric *metric, int64_t ns)
{
    if (metric == NULL) {
        return;
    }
    int64_t bound = FIRST_BUCKET_NS;
    for (size_t i = 0; i < N_BUCKETS; i++, bound *= 4) {
        if (ns <= bound) {
            atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
            break;
        }
    }
    atomic_fetch_add_explicit(&metric->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, 1, memory_order_relaxed);
}

int64_t gfs_metric_value(const struct gfs_metric *metric)
{
    return metric == NULL ? 0 : atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void print_histogram(const struct gfs_metric *metric, struct gfs_buf *out)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    int64_t total = 0;
    int64_t bound = FIRST_BUCKET_NS;
    for (size_t i = 0; i < N_BUCKETS; i++, bound *= 4) {
        total += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        (void)gfs_buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %" PRId64 "\n", metric->name,
                             metric->labels, comma, (double)bound / 1e9, total);
    }
    int64_t count = gfs_metric_value(metric);
    (void)gfs_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", metric->name,
                         metric->labels, comma, count < total ? total : count);
    const char *open = metric->labels[0] != '\0' ? "{" : "";
    const char *close = metric->labels[0] != '\0' ? "}" : "";
    (void)gfs_buf_printf(out, "%s_sum%s%s%s %.9f\n%s_count%s%s%s %" PRId64 "\n", metric->name, open,
                         metric->labels, close,
                         (double)atomic_load_explicit(&metric->sum_ns, memory_order_relaxed) / 1e9,
                         metric->name, open, metric->labels, close, count < total ? total : count);
}

int gfs_metrics_print(struct gfs_metrics *m, struct gfs_buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&m->mutex);
    (void)guard;

    for (size_t i = 0; i < m->n; i++) {
        const struct gfs_metric *metric = m->items[i];
        if (i == 0 || strcmp(m->items[i - 1]->name, metric->name) != 0) {
            (void)gfs_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                                 metric->name, types[metric->type]);
        }
        if (metric->type == GFS_METRIC_HISTOGRAM) {
            print_histogram(metric, out);
            continue;
        }
        const char *open = metric->labels[0] != '\0' ? "{" : "";
        const char *close = metric->labels[0] != '\0' ? "}" : "";
        (void)gfs_buf_printf(out, "%s%s%s%s %" PRId64 "\n", metric->name, open, metric->labels,
                             close, gfs_metric_value(metric));
    }
    return out->error;
}
