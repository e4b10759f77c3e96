/* Strings from outside: bounded copies, numbers, sizes, durations, paths. Every parser takes the
 * whole string or fails with GFS_EINVAL / GFS_ERANGE and leaves its output untouched. */
#ifndef GFS_BASE_STR_H
#define GFS_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copies src with its NUL into dst; GFS_ERANGE (and dst untouched) when it does not fit. */
int gfs_str_copy(char *dst, size_t size, const char *src);

bool gfs_str_has_prefix(const char *s, const char *prefix);
bool gfs_str_has_suffix(const char *s, const char *suffix);

int gfs_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out);
int gfs_parse_u64(const char *s, uint64_t max, uint64_t *out);
int gfs_parse_bool(const char *s, bool *out);    /* true/false/yes/no/1/0/on/off, any case */
int gfs_parse_ratio(const char *s, double *out); /* 0..1, decimal point only */

/* GooseFS and Kubernetes sizes: "2G", "2Gi", "512MB", "1.5GB", "4096", "10TiB". All suffixes are
 * binary, as GooseFS prints and reads them (1G = 2^30). */
int gfs_parse_size(const char *s, uint64_t *out_bytes);

/* GooseFS durations: "20s", "100ms", "2min", "1h", "2day", plain number = ms, "-1" = -1 (never). */
int gfs_parse_duration(const char *s, int64_t *out_ns);

/* As goosefs prints sizes: "512B", "19.07MB", units step up above 5120 of the smaller one.
 * buf holds at least 32 bytes. */
const char *gfs_format_size(uint64_t bytes, char *buf, size_t size);

/* Valid UTF-8 without NUL and control bytes. */
bool gfs_utf8_valid(const char *s, size_t len);

/* One path component: 1..255 bytes, not "." or "..", no '/' and no NUL. */
bool gfs_name_valid(const char *name, size_t len);

/* DNS-1035 label (RFC 1035 as Kubernetes applies it): [a-z]([-a-z0-9]*[a-z0-9])?, 1..63. */
bool gfs_dns1035_valid(const char *s);

/* Normalises an absolute path: collapses "//", resolves "." and "..", no trailing "/" except root.
 * GFS_EINVAL when not absolute, GFS_ENAMETOOLONG when it does not fit. */
int gfs_path_normalize(const char *path, char *out, size_t size);

/* Joins "a" and "b" with exactly one '/'. */
int gfs_path_join(char *out, size_t size, const char *a, const char *b);

#ifdef __cplusplus
}
#endif
#endif
