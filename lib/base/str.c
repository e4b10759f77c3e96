#include <gfs/base/str.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int gfs_str_copy(char *dst, size_t size, const char *src)
{
    size_t len = strlen(src);
    if (len >= size) {
        return GFS_ERANGE;
    }
    memcpy(dst, src, len + 1);
    return GFS_OK;
}

bool gfs_str_has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool gfs_str_has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int gfs_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out)
{
    if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1]))) {
        return GFS_EINVAL;
    }
    char *end = NULL;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (*end != '\0') {
        return GFS_EINVAL;
    }
    if (errno == ERANGE || v < min || v > max) {
        return GFS_ERANGE;
    }
    *out = v;
    return GFS_OK;
}

int gfs_parse_u64(const char *s, uint64_t max, uint64_t *out)
{
    if (!isdigit((unsigned char)s[0])) {
        return GFS_EINVAL;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (*end != '\0') {
        return GFS_EINVAL;
    }
    if (errno == ERANGE || v > max) {
        return GFS_ERANGE;
    }
    *out = v;
    return GFS_OK;
}

int gfs_parse_bool(const char *s, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"yes", true}, {"1", true},  {"on", true},
                 {"false", false}, {"no", false}, {"0", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(s, words[i].word) == 0) {
            *out = words[i].value;
            return GFS_OK;
        }
    }
    return GFS_EINVAL;
}

/* Decimal digits with one optional point: no sign, exponent, hex, inf or locale. */
static int parse_decimal(const char *s, const char **end, double *out)
{
    const char *p = s;
    double v = 0;
    double scale = 1;
    size_t digits = 0;
    bool point = false;

    for (;; p++) {
        if (*p == '.' && !point) {
            point = true;
            continue;
        }
        if (!isdigit((unsigned char)*p)) {
            break;
        }
        if (++digits > 20) {
            return GFS_ERANGE;
        }
        v = v * 10 + (*p - '0');
        scale *= point ? 10 : 1;
    }
    if (digits == 0) {
        return GFS_EINVAL;
    }
    *out = v / scale;
    *end = p;
    return GFS_OK;
}

int gfs_parse_ratio(const char *s, double *out)
{
    const char *end = NULL;
    double v = 0;
    int rc = parse_decimal(s, &end, &v);
    if (rc < 0) {
        return rc;
    }
    if (*end != '\0') {
        return GFS_EINVAL;
    }
    if (v < 0 || v > 1) {
        return GFS_ERANGE;
    }
    *out = v;
    return GFS_OK;
}

int gfs_parse_size(const char *s, uint64_t *out_bytes)
{
    const char *end = NULL;
    double v = 0;
    int rc = parse_decimal(s, &end, &v);
    if (rc < 0) {
        return rc;
    }
    while (*end == ' ') {
        end++;
    }

    static const char units[] = "KMGTPE";
    int shift = 0;
    if (*end != '\0' && toupper((unsigned char)*end) != 'B') {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit == NULL) {
            return GFS_EINVAL;
        }
        shift = 10 * (int)(unit - units + 1);
        end++;
        end += *end == 'i';
    }
    end += toupper((unsigned char)*end) == 'B';
    if (*end != '\0') {
        return GFS_EINVAL;
    }

    double bytes = ldexp(v, shift);
    if (bytes > (double)INT64_MAX) {
        return GFS_ERANGE;
    }
    *out_bytes = (uint64_t)bytes;
    return GFS_OK;
}

int gfs_parse_duration(const char *s, int64_t *out_ns)
{
    if (strcmp(s, "-1") == 0) {
        *out_ns = -1;
        return GFS_OK;
    }

    const char *end = NULL;
    double v = 0;
    int rc = parse_decimal(s, &end, &v);
    if (rc < 0) {
        return rc;
    }

    static const struct {
        const char *suffix;
        double ns;
    } units[] = {{"", 1e6},        {"ms", 1e6},    {"us", 1e3},     {"s", 1e9},       {"sec", 1e9},
                 {"second", 1e9},  {"m", 6e10},    {"min", 6e10},   {"minute", 6e10}, {"h", 3.6e12},
                 {"hour", 3.6e12}, {"d", 8.64e13}, {"day", 8.64e13}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(end, units[i].suffix) == 0) {
            double ns = v * units[i].ns;
            if (ns > (double)INT64_MAX / 2) {
                return GFS_ERANGE;
            }
            *out_ns = (int64_t)ns;
            return GFS_OK;
        }
    }
    return GFS_EINVAL;
}

const char *gfs_format_size(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB"};
    if (bytes <= 5120) {
        (void)snprintf(buf, size, "%" PRIu64 "B", bytes);
        return buf;
    }
    double v = (double)bytes / 1024;
    size_t i = 0;
    while (v > 5120 && i + 1 < sizeof units / sizeof units[0]) {
        v /= 1024;
        i++;
    }
    (void)snprintf(buf, size, "%.2f%s", v, units[i]);
    return buf;
}

bool gfs_utf8_valid(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    const unsigned char *end = p + len;
    while (p < end) {
        unsigned char c = *p;
        size_t n = c < 0x80                ? 1
                   : c >= 0xc2 && c < 0xe0 ? 2
                   : (c & 0xf0) == 0xe0    ? 3
                   : c >= 0xf0 && c < 0xf5 ? 4
                                           : 0;
        if (n == 0 || (size_t)(end - p) < n || c < 0x20 || c == 0x7f) {
            return false;
        }
        for (size_t i = 1; i < n; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        /* Overlong forms, UTF-16 surrogates, beyond U+10FFFF: RFC 3629 section 4. */
        if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ||
            (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f)) {
            return false;
        }
        p += n;
    }
    return true;
}

bool gfs_name_valid(const char *name, size_t len)
{
    if (len == 0 || len > 255 || memchr(name, '/', len) != NULL ||
        memchr(name, '\0', len) != NULL) {
        return false;
    }
    return !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

bool gfs_dns1035_valid(const char *s)
{
    size_t len = strnlen(s, 64);
    if (len == 0 || len > 63 || !(s[0] >= 'a' && s[0] <= 'z') || s[len - 1] == '-') {
        return false;
    }
    return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int gfs_path_normalize(const char *path, char *out, size_t size)
{
    if (path[0] != '/') {
        return GFS_EINVAL;
    }
    if (strlen(path) + 1 > size) {
        return GFS_ENAMETOOLONG;
    }

    size_t at = 0;
    const char *p = path;
    while (*p != '\0') {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        if (n == 0) {
            break;
        }
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            while (at > 0 && out[--at] != '/') {
            }
        } else if (!(n == 1 && p[0] == '.')) {
            out[at++] = '/';
            memcpy(out + at, p, n);
            at += n;
        }
        p += n;
    }
    if (at == 0) {
        out[at++] = '/';
    }
    out[at] = '\0';
    return GFS_OK;
}

int gfs_path_join(char *out, size_t size, const char *a, const char *b)
{
    size_t n = strlen(a);
    while (n > 0 && a[n - 1] == '/') {
        n--;
    }
    b += strspn(b, "/");
    int k = snprintf(out, size, "%.*s/%s", (int)n, a, b);
    return k < 0 || (size_t)k >= size ? GFS_ENAMETOOLONG : GFS_OK;
}
