/* Structured logs: a short fact, then key=value pairs; one write(2) per line.
 *
 *   gfs_info("raft", "leader elected", "term=%" PRIu64 " leader=%s", term, name);
 *   2026-01-31T12:00:00.123Z INFO  raft: leader elected term=3 leader=hbase-master-0
 *
 * Arguments are not evaluated when the level is off. Values from outside go through GFS_Q, which
 * quotes and escapes them. Never log secrets, mount options, or pointers. Libraries log at debug
 * only: they return errors, daemons log them.
 *
 * Thread: any. The configuration below is the only mutable global of the project. */
#ifndef GFS_BASE_LOG_H
#define GFS_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gfs_log_level { GFS_LOG_DEBUG, GFS_LOG_INFO, GFS_LOG_WARN, GFS_LOG_ERROR, GFS_LOG_FATAL };

/* "debug", "info", "warn", "error" (any case), or such a level for single components:
 * "info,raft=debug,rpc=warn". Returns GFS_EINVAL and changes nothing when it does not parse. */
int gfs_log_configure(const char *spec);

/* Where lines go: a file descriptor, default 2. Not owned. */
void gfs_log_set_fd(int fd);

bool gfs_log_enabled(enum gfs_log_level level, const char *component);

void gfs_log_write(enum gfs_log_level level, const char *component, const char *fact,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Quotes `s` for a log value into `buf` when it holds anything but plain characters: control bytes
 * as \xNN, at most size-1 bytes, marked with "..." when cut. NULL prints as -. Returns buf or s. */
const char *gfs_log_quote(char *buf, size_t size, const char *s);

struct gfs_log_quoted {
    char buf[256];
};
#define GFS_Q(s) gfs_log_quote((struct gfs_log_quoted){{0}}.buf, sizeof(struct gfs_log_quoted), (s))

#define GFS_LOG_(level, component, fact, ...)                                                      \
    do {                                                                                           \
        if (gfs_log_enabled((level), (component))) {                                               \
            gfs_log_write((level), (component), (fact), "" __VA_ARGS__);                           \
        }                                                                                          \
    } while (0)

#define gfs_debug(component, fact, ...) GFS_LOG_(GFS_LOG_DEBUG, component, fact, __VA_ARGS__)
#define gfs_info(component, fact, ...)  GFS_LOG_(GFS_LOG_INFO, component, fact, __VA_ARGS__)
#define gfs_warn(component, fact, ...)  GFS_LOG_(GFS_LOG_WARN, component, fact, __VA_ARGS__)
#define gfs_error(component, fact, ...) GFS_LOG_(GFS_LOG_ERROR, component, fact, __VA_ARGS__)

#ifdef __cplusplus
}
#endif
#endif
