/* Under file systems: where the data comes from. One object per mount, opened by URI; paths are
 * relative to the mount's URI, decoded, '/'-separated, without leading or trailing '/' ("" is the
 * mount's root). Read only.
 *
 * Every operation blocks (call it from a pool thread) and is thread-safe; any number may run at the
 * same time, those beyond the connection limit wait for a connection. Error texts name the URL
 * without user, password and query, and the reason.
 *
 * Versions. Each object has a version text: the ETag of a web server, else modification time and
 * size. An index page shows dates to the minute in a time zone it does not name, so what comes from
 * a row alone is a version_exact = false: good enough to see that nothing changed
 * (gfs_ufs_stat_same), and accepted by gfs_ufs_read within what the row tells, but call
 * gfs_ufs_stat_path for the exact one before handing a version to readers. */
#ifndef GFS_UFS_UFS_H
#define GFS_UFS_UFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/cfg.h>
#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_UFS_URI_MAX     2048       /* bytes of a mount's URI with NUL */
#define GFS_UFS_PATH_MAX    4096       /* bytes of a relative path with NUL */
#define GFS_UFS_VERSION_MAX 128        /* bytes of a version text, without NUL */
#define GFS_UFS_SIZE_ANY    UINT64_MAX /* gfs_ufs_range.object_size: not checked */

enum gfs_ufs_type { GFS_UFS_FILE = 1, GFS_UFS_DIRECTORY = 2 };

struct gfs_ufs_stat {
    enum gfs_ufs_type type;
    bool size_known;               /* false: listed, but the origin did not tell (size is 0) */
    bool version_exact;            /* directories: false */
    uint32_t mode;                 /* permission bits: 0444 / 0555 where the origin has none */
    uint64_t size;                 /* bytes; directories 0 */
    int64_t mtime_ms;              /* since the epoch; 0 = not known */
    uint32_t mtime_granularity_ms; /* 1, 1000 or 60000; 0 = mtime not known */
    char version[GFS_UFS_VERSION_MAX + 1]; /* "" for directories */
};

struct gfs_ufs_entry {
    const char *name; /* one component, valid UTF-8, gfs_name_valid; owned by the listing */
    struct gfs_ufs_stat stat;
};

/* Bounds of one UFS. gfs_ufs_limits_init gives the defaults, then set what differs. */
struct gfs_ufs_limits {
    uint32_t connections;        /* open to the origin at the same time; 16 */
    uint32_t parallel_heads;     /* of them for the files of one listing; 8 */
    uint32_t entries;            /* of one directory, beyond: GFS_ERANGE; 1,000,000 */
    uint64_t index_bytes;        /* of one index page, beyond: GFS_ERANGE; 64 MiB */
    int64_t connect_timeout_ns;  /* DNS, TCP and TLS together; 10 s */
    int64_t stall_timeout_ns;    /* no byte for so long: GFS_ETIMEOUT; 30 s */
    int64_t metadata_timeout_ns; /* one stat, or the page of one listing; 60 s */
};

struct gfs_ufs;
struct gfs_ufs_listing;

void gfs_ufs_limits_init(struct gfs_ufs_limits *limits);

/* Opens the UFS of a mount; touches no network (gfs_ufs_stat_path(ufs, "", ...) tells whether the
 * mount point is there and is a directory). Schemes: http, https, file (a local directory); any
 * other is GFS_EUNSUPPORTED with a text that names these. `props` (may be NULL) are the mount's
 * properties, copied; those not known are ignored:
 *   goosefs.underfs.web.connnection.timeout   as GooseFS spells it (also with two n): connect and
 *                                             metadata timeout
 *   goosefs.underfs.web.stall.timeout         a transfer without a byte for so long fails
 *   goosefs.underfs.web.titles                comma-separated starts of an index page's title
 *                                             ("Index of,Directory listing for")
 *   goosefs.underfs.web.parent.names          texts of the parent link ("Parent Directory,..,../")
 *   goosefs.underfs.web.header.last.modified  accepted, not needed: HTTP dates are RFC 9110's
 *   goosefs.underfs.web.etag.enabled          false: versions from Last-Modified and size, for
 *                                             mirrors whose backends answer different ETags
 *   goosefs.underfs.web.connections           as limits->connections, 1..256
 *   goosefs.underfs.web.ca.file               PEM bundle instead of the system's
 *   goosefs.underfs.web.user, .password       instead of those in the URI
 * A value "${file:/etc/fluid/secrets/NAME/KEY}" is that file's text (at most 4 KiB, without its
 * line end); other directories are refused, GOOSEFS_SECRETS_DIR in the environment names another.
 * `limits` may be NULL: defaults. Free *out with gfs_ufs_close. */
int gfs_ufs_open(const char *uri, const struct gfs_props *props,
                 const struct gfs_ufs_limits *limits, struct gfs_ufs **out, struct gfs_err *err);

/* Makes operations in progress and later ones fail with GFS_ECANCELLED, soon. Any thread. */
void gfs_ufs_cancel(struct gfs_ufs *ufs);

/* Frees; accepts NULL. No operation may be in progress. Returns NULL. */
struct gfs_ufs *gfs_ufs_close(struct gfs_ufs *ufs);

/* The mount's URI without user and password: for logs and messages. Borrowed. */
const char *gfs_ufs_display(const struct gfs_ufs *ufs);

/* One object. "" is checked to be a directory that can be listed. GFS_ENOENT, GFS_EPERM,
 * GFS_ENOTDIR (the mount point is not an index), GFS_ETIMEOUT, GFS_EUNAVAIL (refused, unreachable,
 * name not found, 5xx), GFS_EUNAUTH (401, TLS certificate), GFS_EPROTO. */
int gfs_ufs_stat_path(struct gfs_ufs *ufs, const char *path, struct gfs_ufs_stat *out,
                      struct gfs_err *err);

/* One directory, whole, in byte order of the names, each once. Entries whose names a file system
 * cannot hold are left out and counted. GFS_ENOTDIR "... is not a directory index" when the page is
 * something else; GFS_ERANGE over the limits; else as stat. Free with gfs_ufs_listing_free. */
int gfs_ufs_list(struct gfs_ufs *ufs, const char *path, struct gfs_ufs_listing **out,
                 struct gfs_err *err);
size_t gfs_ufs_listing_count(const struct gfs_ufs_listing *listing);
const struct gfs_ufs_entry *gfs_ufs_listing_at(const struct gfs_ufs_listing *listing, size_t i);
size_t gfs_ufs_listing_skipped(const struct gfs_ufs_listing *listing);
struct gfs_ufs_listing *gfs_ufs_listing_free(struct gfs_ufs_listing *listing);

/* True when `now` shows the same object as `before`, as far as both can tell: equal versions when
 * both are exact; else type, size and mtime at the coarser granularity (a row's time zone is not
 * known, so whole quarters of an hour up to 14 h may lie between a row and a header). */
bool gfs_ufs_stat_same(const struct gfs_ufs_stat *before, const struct gfs_ufs_stat *now);

struct gfs_ufs_range {
    const char *path;
    const char *version;  /* expected; NULL: any */
    uint64_t object_size; /* expected, or GFS_UFS_SIZE_ANY */
    uint64_t offset;
    uint64_t length; /* > 0; offset + length must be within the object */
};

/* Takes the next bytes; a negative answer ends the read with that code. */
typedef int (*gfs_ufs_sink)(void *arg, const void *data, size_t len);

/* Reads exactly the range, in order, in pieces of at most 1 MiB. Never mixes versions: the answer's
 * version and size are compared before the first byte reaches the sink; GFS_ECHANGED when they
 * differ (also when the object is shorter than the range). A connection that breaks in the middle
 * is GFS_EUNAVAIL; the bytes the sink has had are good. `version_out` (may be NULL) gets the exact
 * version read, at least GFS_UFS_VERSION_MAX + 1 bytes. */
int gfs_ufs_read(struct gfs_ufs *ufs, const struct gfs_ufs_range *range, gfs_ufs_sink sink,
                 void *arg, char *version_out, struct gfs_err *err);

/* The same into a buffer of range->length bytes. On failure its content is undefined. */
int gfs_ufs_read_buffer(struct gfs_ufs *ufs, const struct gfs_ufs_range *range, void *buffer,
                        char *version_out, struct gfs_err *err);

/* ---- for implementations and test fakes --------------------------------------------------- */

struct gfs_ufs_ops {
    int (*stat)(void *impl, const char *path, struct gfs_ufs_stat *out, struct gfs_err *err);
    int (*list)(void *impl, const char *path, struct gfs_ufs_listing *out, struct gfs_err *err);
    int (*read)(void *impl, const struct gfs_ufs_range *range, gfs_ufs_sink sink, void *arg,
                char *version_out, struct gfs_err *err);
    void (*cancel)(void *impl); /* may be NULL */
    void (*close)(void *impl);  /* may be NULL */
};

/* Wraps an implementation. Paths and ranges are validated before its operations are called.
 * `ops` outlives the object; `impl` is owned on success (ops->close). `display` is copied. */
int gfs_ufs_new(const struct gfs_ufs_ops *ops, void *impl, const char *display,
                struct gfs_ufs **out, struct gfs_err *err);

/* Adds an entry during list; copies the name. GFS_ERANGE over `max` entries; an invalid name is
 * counted as skipped and is no error. */
int gfs_ufs_listing_add(struct gfs_ufs_listing *listing, size_t max, const char *name,
                        const struct gfs_ufs_stat *stat);

#ifdef __cplusplus
}
#endif
#endif
