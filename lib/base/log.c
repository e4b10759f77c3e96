#include <gfs/base/log.h>

#include <gfs/base/assert.h>
#include <gfs/base/err.h>

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define COMPONENTS_MAX 16

struct component_level {
    char name[24];
    enum gfs_log_level level;
};

/* Written by gfs_log_configure at start-up or on request, read by every thread: a stale read only
 * shows or hides one line. */
static struct {
    enum gfs_log_level level;
    size_t n;
    struct component_level components[COMPONENTS_MAX];
    int fd;
} config = {.level = GFS_LOG_INFO, .fd = STDERR_FILENO};

static const char *const level_names[] = {"DEBUG", "INFO ", "WARN ", "ERROR", "FATAL"};

static bool parse_level(const char *s, size_t len, enum gfs_log_level *out)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], s, len) == 0) {
            *out = (enum gfs_log_level)i;
            return true;
        }
    }
    return false;
}

int gfs_log_configure(const char *spec)
{
    enum gfs_log_level level = GFS_LOG_INFO;
    struct component_level components[COMPONENTS_MAX];
    size_t n = 0;

    for (const char *p = spec; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *eq = memchr(p, '=', len);
        if (eq == NULL) {
            if (!parse_level(p, len, &level)) {
                return GFS_EINVAL;
            }
        } else {
            size_t name_len = (size_t)(eq - p);
            if (n == COMPONENTS_MAX || name_len >= sizeof components[0].name ||
                !parse_level(eq + 1, len - name_len - 1, &components[n].level)) {
                return GFS_EINVAL;
            }
            memcpy(components[n].name, p, name_len);
            components[n].name[name_len] = '\0';
            n++;
        }
        p += len;
        p += *p == ',';
    }

    config.level = level;
    memcpy(config.components, components, n * sizeof components[0]);
    config.n = n;
    return GFS_OK;
}

void gfs_log_set_fd(int fd)
{
    config.fd = fd;
}

bool gfs_log_enabled(enum gfs_log_level level, const char *component)
{
    for (size_t i = 0; i < config.n; i++) {
        if (strcmp(config.components[i].name, component) == 0) {
            return level >= config.components[i].level;
        }
    }
    return level >= config.level;
}

void gfs_log_write(enum gfs_log_level level, const char *component, const char *fact,
                   const char *fmt, ...)
{
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);

    char line[LINE_MAX_BYTES];
    size_t at = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    int k = snprintf(line + at, sizeof line - at, ".%03ldZ %s %s: %s", now.tv_nsec / 1000000,
                     level_names[level], component, fact);
    at += (size_t)k;

    if (fmt[0] != '\0' && at < sizeof line - 2) {
        line[at++] = ' ';
        va_list ap;
        va_start(ap, fmt);
        k = vsnprintf(line + at, sizeof line - at, fmt, ap);
        va_end(ap);
        at += k > 0 ? (size_t)k : 0;
    }
    if (at > sizeof line - 1) {
        at = sizeof line - 1;
    }
    line[at++] = '\n';
    /* A log that can't be written has nowhere to say so. */
    (void)!write(config.fd, line, at);
}

static bool plain(unsigned char c)
{
    return isalnum(c) || strchr("-_./:@+,%=[]", c) != NULL;
}

const char *gfs_log_quote(char *buf, size_t size, const char *s)
{
    if (s == NULL) {
        return "-";
    }

    size_t len = strlen(s);
    bool simple = len > 0 && len < size;
    for (size_t i = 0; simple && i < len; i++) {
        simple = plain((unsigned char)s[i]);
    }
    if (simple) {
        return s;
    }

    size_t at = 0;
    buf[at++] = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (at + 9 > size) {
            memcpy(buf + at, "...", 3);
            at += 3;
            break;
        }
        if (c == '"' || c == '\\') {
            buf[at++] = '\\';
            buf[at++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            at += (size_t)snprintf(buf + at, size - at, "\\x%02x", c);
        } else {
            buf[at++] = (char)c;
        }
    }
    buf[at++] = '"';
    buf[at] = '\0';
    return buf;
}

void gfs_assert_fail(const char *file, int line, const char *what, long long a, long long b)
{
    gfs_log_write(GFS_LOG_FATAL, "assert", "bug: assertion failed",
                  "at=%s:%d condition=\"%s\" left=%lld right=%lld", file, line, what, a, b);
    abort();
}
