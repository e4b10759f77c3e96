/* http:// and https:// : directories are index pages, files are read by ranges. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#include "web_priv.h"

#define DEFAULT_TITLES       "Index of,Directory listing for"
#define DEFAULT_PARENT_NAMES "Parent Directory,..,../"
#define CONNECTIONS_MAX      256

int gfsi_web_url(const struct gfsi_web *web, const char *path, bool directory, char **out,
                 struct gfs_err *err)
{
    struct gfs_buf buf gfs_auto_buf;

    gfs_buf_init(&buf, GFSI_WEB_URL_MAX - 1);
    (void)gfs_buf_puts(&buf, web->base.url);
    (void)gfsi_url_encode_path(&buf, path);
    if (directory && path[0] != '\0') {
        (void)gfs_buf_puts(&buf, "/");
    }

    char *url = gfs_buf_take(&buf);

    if (url == NULL) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "%s: URL is too long", web->base.url);
    }
    *out = url;
    return 0;
}

/* ---- stat ----------------------------------------------------------------------------------- */

/* Servers redirect the URL of a directory without '/' to the one with it. A redirect to a directory
 * of another name is a server's way of saying that the object is not there. */
static int is_directory(const char *path, const struct gfsi_web_answer *answer, bool *directory,
                        struct gfs_err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char last[256];
    int rc = gfsi_url_last_name(answer->url, last, sizeof(last), directory);

    if (rc < 0) {
        return gfs_err_set(err, GFS_EPROTO, "%s: redirects to an unusable URL", path);
    }
    if (*directory && strcmp(last, name) != 0) {
        return gfs_err_set(err, GFS_ENOENT, "%s: redirects elsewhere", path);
    }
    return 0;
}

static int stop_body(void *arg, const char *data, size_t len, struct gfs_err *err)
{
    (void)arg;
    (void)data;
    (void)len;
    (void)err;
    return 1;
}

/* HEAD; a GET of one byte where the server has no HEAD. *size_known false: no length told. */
static int head(struct gfsi_web *web, const char *path, struct gfsi_web_answer *answer,
                uint64_t *size, bool *size_known, struct gfs_err *err)
{
    char *url gfs_auto_free = NULL;
    int rc = gfsi_web_url(web, path, false, &url, err);

    if (rc < 0) {
        return rc;
    }

    struct gfsi_web_request request = {
        .url = url,
        .display = url,
        .head = true,
        .timeout_ns = web->limits.metadata_timeout_ns,
    };

    rc = gfsi_web_client_perform(web->client, &request, answer, err);
    if (rc == 0) {
        *size_known = answer->has_length;
        *size = answer->has_length ? answer->length : 0;
        return 0;
    }
    if (rc != GFS_EUNSUPPORTED) {
        return rc;
    }
    request.head = false;
    request.ranged = true;
    request.on_body = stop_body;
    rc = gfsi_web_client_perform(web->client, &request, answer, err);
    if (rc < 0) {
        return rc;
    }

    bool total = answer->has_range && answer->range_total != UINT64_MAX;

    *size_known = total || (answer->status == 200 && answer->has_length);
    *size = total ? answer->range_total : answer->has_length ? answer->length : 0;
    if (!*size_known) {
        *size = 0;
    }
    return 0;
}

int gfsi_web_stat(void *impl, const char *path, struct gfs_ufs_stat *out, struct gfs_err *err)
{
    struct gfsi_web *web = impl;

    if (path[0] == '\0') {
        int rc = gfsi_web_fetch_index(web, path, NULL, err);

        if (rc == 0) {
            *out =
                (struct gfs_ufs_stat){.type = GFS_UFS_DIRECTORY, .size_known = true, .mode = 0555};
        }
        return rc;
    }

    struct gfsi_web_answer *answer gfs_auto_free = calloc(1, sizeof(*answer));
    uint64_t size = 0;
    bool size_known = false;
    bool directory = false;

    if (answer == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    int rc = head(web, path, answer, &size, &size_known, err);

    if (rc == 0) {
        rc = is_directory(path, answer, &directory, err);
    }
    if (rc < 0) {
        return rc;
    }

    struct gfs_ufs_stat st = {
        .type = directory ? GFS_UFS_DIRECTORY : GFS_UFS_FILE,
        .size_known = directory || size_known,
        .version_exact = !directory && size_known,
        .mode = directory ? 0555 : 0444,
        .size = directory ? 0 : size,
        .mtime_ms = answer->last_modified_ms,
        .mtime_granularity_ms = answer->last_modified_ms != 0 ? 1000 : 0,
    };

    if (!directory) {
        gfsi_web_version_exact(web->etags, answer, size, st.version);
    }
    *out = st;
    return 0;
}

/* ---- read ----------------------------------------------------------------------------------- */

struct web_read {
    struct gfsi_web *web;
    const struct gfs_ufs_range *range;
    const char *url;
    gfs_ufs_sink sink;
    void *arg;
    uint64_t skip; /* bytes ahead of the range, from a server that ignores Range */
    uint64_t left;
    bool checked;
    char version[GFS_UFS_VERSION_MAX + 1];
};

/* The place where versions cannot mix: before any byte of this answer is handed on. */
static int check_answer(void *arg, const struct gfsi_web_answer *answer, struct gfs_err *err)
{
    struct web_read *r = arg;
    const struct gfs_ufs_range *range = r->range;
    uint64_t size = GFS_UFS_SIZE_ANY;

    if (answer->status == 206) {
        if (!answer->has_range || answer->range_first != range->offset) {
            return gfs_err_set(err, GFS_EPROTO, "%s: the answer is not the range asked for",
                               r->url);
        }
        size = answer->range_total;
    } else {
        r->skip = range->offset;
        if (answer->has_length) {
            size = answer->length;
        }
    }
    if (size == GFS_UFS_SIZE_ANY) {
        size = range->object_size; /* not told: the version alone decides */
    } else if (range->object_size != GFS_UFS_SIZE_ANY && size != range->object_size) {
        return gfs_err_set(err, GFS_ECHANGED, "%s: changed: it has %" PRIu64 " bytes, not %" PRIu64,
                           r->url, size, range->object_size);
    }
    if (size != GFS_UFS_SIZE_ANY && range->offset + range->length > size) {
        return gfs_err_set(err, GFS_ECHANGED, "%s: changed: it has %" PRIu64 " bytes now", r->url,
                           size);
    }
    gfsi_web_version_exact(r->web->etags, answer, size, r->version);
    if (range->version != NULL && !gfsi_web_version_matches(range->version, answer, size)) {
        return gfs_err_set(err, GFS_ECHANGED, "%s: changed: version %s is not %s", r->url,
                           r->version, range->version);
    }
    r->checked = true;
    return 0;
}

static int take_body(void *arg, const char *data, size_t len, struct gfs_err *err)
{
    struct web_read *r = arg;

    if (r->skip > 0) {
        size_t n = len < r->skip ? len : (size_t)r->skip;

        r->skip -= n;
        data += n;
        len -= n;
    }

    size_t n = len < r->left ? len : (size_t)r->left;

    if (n > 0) {
        int rc = r->sink(r->arg, data, n);

        if (rc < 0) {
            return gfs_err_set(err, rc, "receiver stopped the read");
        }
        r->left -= n;
    }

    /* The last bytes of a 206 need no stop: ending the request early would cost the connection. */
    return r->left == 0 && len > n ? 1 : 0;
}

static int web_read(void *impl, const struct gfs_ufs_range *range, gfs_ufs_sink sink, void *arg,
                    char *version_out, struct gfs_err *err)
{
    struct web_read r = {
        .web = impl,
        .range = range,
        .sink = sink,
        .arg = arg,
        .left = range->length,
    };
    char *url gfs_auto_free = NULL;
    int rc = gfsi_web_url(r.web, range->path, false, &url, err);

    if (rc < 0) {
        return rc;
    }
    r.url = url;

    struct gfsi_web_request request = {
        .url = url,
        .display = url,
        .ranged = range->offset != 0 || range->length != range->object_size,
        .range_first = range->offset,
        .range_last = range->offset + range->length - 1,
        .on_headers = check_answer,
        .on_body = take_body,
        .arg = &r,
    };

    rc = gfsi_web_client_perform(r.web->client, &request, NULL, err);
    if (rc < 0) {
        return rc;
    }
    if (r.left > 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "%s: the answer ended %" PRIu64 " bytes early", url,
                           r.left);
    }
    if (version_out != NULL) {
        (void)gfs_str_copy(version_out, GFS_UFS_VERSION_MAX + 1, r.version);
    }
    return 0;
}

/* ---- open ----------------------------------------------------------------------------------- */

static int duration_property(const struct gfs_props *props, const char *key, int64_t *out,
                             struct gfs_err *err)
{
    const char *value = gfs_props_get(props, key);
    int64_t ns = 0;

    if (value == NULL) {
        return 0;
    }
    if (gfs_parse_duration(value, &ns) < 0 || ns <= 0 || ns > INT64_C(86400000000000)) {
        return gfs_err_set(err, GFS_EINVAL, "%s: '%s' is not a duration up to one day", key, value);
    }
    *out = ns;
    return 0;
}

static int text_property(const struct gfs_props *props, const char *key, char *out, size_t size,
                         struct gfs_err *err)
{
    const char *value = gfs_props_get(props, key);

    if (value != NULL && gfs_str_copy(out, size, value) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s is longer than %zu bytes", key, size - 1);
    }
    return 0;
}

static int apply_props(struct gfsi_web *web, struct gfsi_web_client_config *config,
                       const struct gfs_props *props, struct gfs_err *err)
{
    static const char *const timeouts[] = {"goosefs.underfs.web.connnection.timeout",
                                           "goosefs.underfs.web.connection.timeout"};
    struct gfs_ufs_limits *limits = &web->limits;
    int rc = 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        rc = duration_property(props, timeouts[i], &limits->connect_timeout_ns, err);
        if (rc == 0 && gfs_props_get(props, timeouts[i]) != NULL) {
            limits->metadata_timeout_ns = limits->connect_timeout_ns;
        }
    }
    if (rc == 0) {
        rc = duration_property(props, "goosefs.underfs.web.stall.timeout",
                               &limits->stall_timeout_ns, err);
    }
    if (rc == 0) {
        rc = text_property(props, "goosefs.underfs.web.titles", web->titles, sizeof(web->titles),
                           err);
    }
    if (rc == 0) {
        rc = text_property(props, "goosefs.underfs.web.parent.names", web->parent_names,
                           sizeof(web->parent_names), err);
    }
    if (rc == 0) {
        rc = text_property(props, "goosefs.underfs.web.ca.file", config->ca_file,
                           sizeof(config->ca_file), err);
    }
    if (rc == 0) {
        rc = text_property(props, "goosefs.underfs.web.user", config->user, sizeof(config->user),
                           err);
    }
    if (rc == 0) {
        rc = text_property(props, "goosefs.underfs.web.password", config->password,
                           sizeof(config->password), err);
    }
    if (rc < 0) {
        return rc;
    }

    const char *etags = gfs_props_get(props, "goosefs.underfs.web.etag.enabled");
    const char *connections = gfs_props_get(props, "goosefs.underfs.web.connections");
    int64_t n = limits->connections;

    if (etags != NULL && gfs_parse_bool(etags, &web->etags) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.underfs.web.etag.enabled: '%s' is not true or false", etags);
    }
    if (connections != NULL && gfs_parse_i64(connections, 1, CONNECTIONS_MAX, &n) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.underfs.web.connections: '%s' is not within 1..%d", connections,
                           CONNECTIONS_MAX);
    }
    limits->connections = (uint32_t)n;
    return 0;
}

static void web_cancel(void *impl)
{
    struct gfsi_web *web = impl;

    gfsi_web_client_cancel(web->client);
}

static void web_close(void *impl)
{
    struct gfsi_web *web = impl;

    gfsi_web_client_free(web->client);
    free(web);
}

static const struct gfs_ufs_ops web_ops = {
    .stat = gfsi_web_stat,
    .list = gfsi_web_list,
    .read = web_read,
    .cancel = web_cancel,
    .close = web_close,
};

static void xml_init(void)
{
    xmlInitParser(); /* must come before threads use the library at the same time */
}

static int web_setup(struct gfsi_web *web, const char *uri, const struct gfs_props *props,
                     struct gfs_err *err)
{
    struct gfsi_web_client_config config = {.https = false};
    int rc = gfsi_web_base_parse(uri, &web->base, err);

    memcpy(config.user, web->base.user, sizeof(config.user));
    memcpy(config.password, web->base.password, sizeof(config.password));
    if (rc == 0 && props != NULL) {
        rc = apply_props(web, &config, props, err);
    }
    if (rc < 0) {
        return rc;
    }
    config.limits = web->limits;
    config.https = web->base.https;
    return gfsi_web_client_new(&config, &web->client, err);
}

int gfsi_web_open(const char *uri, const struct gfs_props *props,
                  const struct gfs_ufs_limits *limits, struct gfs_ufs **out, struct gfs_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, xml_init);

    struct gfsi_web *web = calloc(1, sizeof(*web));

    if (web == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    web->limits = *limits;
    web->etags = true;
    (void)gfs_str_copy(web->titles, sizeof(web->titles), DEFAULT_TITLES);
    (void)gfs_str_copy(web->parent_names, sizeof(web->parent_names), DEFAULT_PARENT_NAMES);

    int rc = web_setup(web, uri, props, err);

    if (rc == 0) {
        rc = gfs_ufs_new(&web_ops, web, web->base.url, out, err);
    }
    if (rc < 0) {
        web_close(web);
    }
    return rc;
}
