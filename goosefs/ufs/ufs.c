/* The face of an under file system: opens by scheme, checks arguments once for all of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#include "ufs_priv.h"

#define QUARTER_MS     (INT64_C(15) * 60 * 1000)
#define ZONE_OFFSET_MS (INT64_C(14) * 3600 * 1000) /* UTC-12 .. UTC+14 */

struct gfs_ufs {
    const struct gfs_ufs_ops *ops;
    void *impl;
    char display[GFS_UFS_URI_MAX];
};

void gfs_ufs_limits_init(struct gfs_ufs_limits *limits)
{
    *limits = (struct gfs_ufs_limits){
        .connections = 16,
        .parallel_heads = 8,
        .entries = 1000 * 1000,
        .index_bytes = UINT64_C(64) << 20,
        .connect_timeout_ns = 10 * GFS_NS_PER_S,
        .stall_timeout_ns = 30 * GFS_NS_PER_S,
        .metadata_timeout_ns = 60 * GFS_NS_PER_S,
    };
}

int gfs_ufs_open(const char *uri, const struct gfs_props *props,
                 const struct gfs_ufs_limits *limits, struct gfs_ufs **out, struct gfs_err *err)
{
    struct gfs_ufs_limits used;
    const char *sep = strstr(uri, "://");

    gfs_ufs_limits_init(&used);
    if (limits != NULL) {
        used = *limits;
    }
    if (strlen(uri) >= GFS_UFS_URI_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "URI of the under file system is longer than %d bytes",
                           GFS_UFS_URI_MAX - 1);
    }
    if (sep == NULL || sep == uri) {
        return gfs_err_set(err, GFS_EINVAL,
                           "'%s' is not a URI: it needs a scheme, one of http, https, file", uri);
    }

    size_t scheme_len = (size_t)(sep - uri);

    if ((scheme_len == 4 && strncasecmp(uri, "http", 4) == 0) ||
        (scheme_len == 5 && strncasecmp(uri, "https", 5) == 0)) {
        struct gfs_props *known = NULL;
        int rc = gfsi_secrets_resolve(props, &known, err);

        if (rc == 0) {
            rc = gfsi_web_open(uri, known, &used, out, err);
            gfs_props_free(known);
        }
        return rc;
    }
    if (scheme_len == 4 && strncasecmp(uri, "file", 4) == 0) {
        return gfsi_local_open(uri, sep + 3, &used, out, err);
    }
    return gfs_err_set(err, GFS_EUNSUPPORTED,
                       "scheme '%.*s' is not supported: http, https and file are",
                       (int)(scheme_len < 64 ? scheme_len : 64), uri);
}

int gfs_ufs_new(const struct gfs_ufs_ops *ops, void *impl, const char *display,
                struct gfs_ufs **out, struct gfs_err *err)
{
    struct gfs_ufs *ufs = calloc(1, sizeof(*ufs));

    if (ufs == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (gfs_str_copy(ufs->display, sizeof(ufs->display), display) < 0) {
        free(ufs);
        return gfs_err_set(err, GFS_EINVAL, "name of the under file system is too long");
    }
    ufs->ops = ops;
    ufs->impl = impl;
    *out = ufs;
    return 0;
}

void gfs_ufs_cancel(struct gfs_ufs *ufs)
{
    if (ufs->ops->cancel != NULL) {
        ufs->ops->cancel(ufs->impl);
    }
}

struct gfs_ufs *gfs_ufs_close(struct gfs_ufs *ufs)
{
    if (ufs == NULL) {
        return NULL;
    }
    if (ufs->ops->close != NULL) {
        ufs->ops->close(ufs->impl);
    }
    free(ufs);
    return NULL;
}

const char *gfs_ufs_display(const struct gfs_ufs *ufs)
{
    return ufs->display;
}

/* Every component valid: nothing handed to an implementation can climb out of the mount. */
static int check_path(const char *path, struct gfs_err *err)
{
    size_t len = strlen(path);
    const char *p = path;

    if (len >= GFS_UFS_PATH_MAX) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "path is longer than %d bytes",
                           GFS_UFS_PATH_MAX - 1);
    }
    while (len > 0) {
        const char *slash = strchr(p, '/');
        size_t n = slash != NULL ? (size_t)(slash - p) : strlen(p);

        if (!gfs_name_valid(p, n)) {
            return gfs_err_set(err, GFS_EINVAL, "'%.256s' is not a path below a mount", path);
        }
        if (slash == NULL) {
            break;
        }
        p = slash + 1;
    }
    return 0;
}

int gfs_ufs_stat_path(struct gfs_ufs *ufs, const char *path, struct gfs_ufs_stat *out,
                      struct gfs_err *err)
{
    int rc = check_path(path, err);

    if (rc < 0) {
        return rc;
    }
    return ufs->ops->stat(ufs->impl, path, out, err);
}

int gfs_ufs_list(struct gfs_ufs *ufs, const char *path, struct gfs_ufs_listing **out,
                 struct gfs_err *err)
{
    int rc = check_path(path, err);

    if (rc < 0) {
        return rc;
    }

    struct gfs_ufs_listing *listing = gfsi_listing_new();

    if (listing == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    rc = ufs->ops->list(ufs->impl, path, listing, err);
    if (rc < 0) {
        gfs_ufs_listing_free(listing);
        return rc;
    }
    gfsi_listing_finish(listing);
    *out = listing;
    return 0;
}

int gfs_ufs_read(struct gfs_ufs *ufs, const struct gfs_ufs_range *range, gfs_ufs_sink sink,
                 void *arg, char *version_out, struct gfs_err *err)
{
    int rc = check_path(range->path, err);

    if (rc < 0) {
        return rc;
    }
    if (range->path[0] == '\0') {
        return gfs_err_set(err, GFS_EISDIR, "the root of a mount is not a file");
    }

    uint64_t end = 0;

    if (range->length == 0 || range->length > INT64_MAX ||
        __builtin_add_overflow(range->offset, range->length, &end) || end > INT64_MAX ||
        end > range->object_size) {
        return gfs_err_set(err, GFS_ERANGE,
                           "range %" PRIu64 "+%" PRIu64 " is not within the object", range->offset,
                           range->length);
    }
    if (range->version != NULL && strlen(range->version) > GFS_UFS_VERSION_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "version is longer than %d bytes", GFS_UFS_VERSION_MAX);
    }
    return ufs->ops->read(ufs->impl, range, sink, arg, version_out, err);
}

struct buffer_sink {
    char *next;
    size_t left;
};

static int sink_to_buffer(void *arg, const void *data, size_t len)
{
    struct buffer_sink *b = arg;

    if (len > b->left) {
        return GFS_EINTERNAL;
    }
    memcpy(b->next, data, len);
    b->next += len;
    b->left -= len;
    return 0;
}

int gfs_ufs_read_buffer(struct gfs_ufs *ufs, const struct gfs_ufs_range *range, void *buffer,
                        char *version_out, struct gfs_err *err)
{
    struct buffer_sink b = {.next = buffer, .left = range->length};

    return gfs_ufs_read(ufs, range, sink_to_buffer, &b, version_out, err);
}

bool gfsi_row_time_matches(int64_t row_ms, uint32_t granularity_ms, int64_t exact_ms)
{
    int64_t floor_ms = exact_ms - exact_ms % (int64_t)granularity_ms;
    int64_t diff = floor_ms > row_ms ? floor_ms - row_ms : row_ms - floor_ms;

    return diff <= ZONE_OFFSET_MS && diff % QUARTER_MS == 0;
}

bool gfs_ufs_stat_same(const struct gfs_ufs_stat *before, const struct gfs_ufs_stat *now)
{
    if (before->type != now->type) {
        return false;
    }
    if (before->type == GFS_UFS_DIRECTORY) {
        return true;
    }
    if (before->version_exact && now->version_exact) {
        return strcmp(before->version, now->version) == 0;
    }
    if (before->size_known && now->size_known && before->size != now->size) {
        return false;
    }
    if (before->mtime_granularity_ms == 0 || now->mtime_granularity_ms == 0) {
        return true; /* nothing else to compare */
    }
    if (before->version_exact == now->version_exact) {
        return before->mtime_ms == now->mtime_ms; /* two rows of the same kind of page */
    }

    const struct gfs_ufs_stat *row = before->version_exact ? now : before;
    const struct gfs_ufs_stat *exact = before->version_exact ? before : now;

    return gfsi_row_time_matches(row->mtime_ms, row->mtime_granularity_ms, exact->mtime_ms);
}
