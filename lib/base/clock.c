#include <gfs/base/clock.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int64_t gfs_clock_mono(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * GFS_NS_PER_S + ts.tv_nsec;
}

int64_t gfs_clock_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void gfs_clock_sleep_until(int64_t deadline)
{
    struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
    }
}

const char *gfs_clock_format_goosefs(int64_t wall_ms, char *buf, size_t size)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    (void)localtime_r(&s, &tm);
    (void)snprintf(buf, size, "%02d-%02d-%04d %02d:%02d:%02d:%03d", tm.tm_mon + 1, tm.tm_mday,
                   tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
    return buf;
}

const char *gfs_clock_format_rfc3339(int64_t wall_ms, char *buf, size_t size)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    (void)gmtime_r(&s, &tm);
    (void)snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return buf;
}

const char *gfs_clock_format_age(int64_t seconds, char *buf, size_t size)
{
    int64_t s = seconds < 0 ? 0 : seconds;
    if (s < 120) {
        (void)snprintf(buf, size, "%" PRId64 "s", s);
    } else if (s < 600 && s % 60 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
    } else if (s < 3 * 3600) {
        (void)snprintf(buf, size, "%" PRId64 "m", s / 60);
    } else if (s < 48 * 3600) {
        (void)snprintf(buf, size, "%" PRId64 "h", s / 3600);
    } else if (s < 8 * 86400 && s % 86400 / 3600 != 0) {
        (void)snprintf(buf, size, "%" PRId64 "d%" PRId64 "h", s / 86400, s % 86400 / 3600);
    } else {
        (void)snprintf(buf, size, "%" PRId64 "d", s / 86400);
    }
    return buf;
}

void gfs_backoff_init(struct gfs_backoff *b, int64_t base_ns, int64_t max_ns, uint64_t seed)
{
    *b = (struct gfs_backoff){
        .base_ns = base_ns, .max_ns = max_ns, .next_ns = base_ns, .rng = seed * 2 + 1};
}

int64_t gfs_backoff_next(struct gfs_backoff *b)
{
    b->rng = b->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    int64_t step = b->next_ns;
    int64_t half = step / 2;
    int64_t jitter = half > 0 ? (int64_t)((b->rng >> 33) % (uint64_t)half) : 0;
    b->next_ns = step >= b->max_ns / 2 ? b->max_ns : step * 2;
    return half + jitter;
}

void gfs_backoff_reset(struct gfs_backoff *b)
{
    b->next_ns = b->base_ns;
}
