/* Time. Durations are int64_t nanoseconds; deadlines are absolute CLOCK_MONOTONIC nanoseconds. */
#ifndef GFS_BASE_CLOCK_H
#define GFS_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_NS_PER_US INT64_C(1000)
#define GFS_NS_PER_MS INT64_C(1000000)
#define GFS_NS_PER_S  INT64_C(1000000000)

/* CLOCK_MONOTONIC, ns. */
int64_t gfs_clock_mono(void);

/* CLOCK_REALTIME, milliseconds since the epoch: what goosefs prints and stores. */
int64_t gfs_clock_wall_ms(void);

/* Sleeps until `deadline` (monotonic ns), through signals. Never on an event loop. */
void gfs_clock_sleep_until(int64_t deadline);

/* GooseFS date: "MM-dd-yyyy HH:mm:ss:SSS" in local time. buf holds at least 32 bytes. */
const char *gfs_clock_format_goosefs(int64_t wall_ms, char *buf, size_t size);

/* "2026-01-31T12:00:00Z". buf holds at least 32 bytes. */
const char *gfs_clock_format_rfc3339(int64_t wall_ms, char *buf, size_t size);

/* Age as kubectl prints it: "84s", "15m", "8h", "7d14h". buf holds at least 16 bytes. */
const char *gfs_clock_format_age(int64_t seconds, char *buf, size_t size);

/* Exponential back-off with jitter: sleep for gfs_backoff_next() ns between tries.
 * Deterministic given the seed. */
struct gfs_backoff {
    int64_t base_ns;
    int64_t max_ns;
    int64_t next_ns;
    uint64_t rng;
};

void gfs_backoff_init(struct gfs_backoff *b, int64_t base_ns, int64_t max_ns, uint64_t seed);
int64_t gfs_backoff_next(struct gfs_backoff *b); /* 50..100 % of the present step, then doubles */
void gfs_backoff_reset(struct gfs_backoff *b);

#ifdef __cplusplus
}
#endif
#endif
