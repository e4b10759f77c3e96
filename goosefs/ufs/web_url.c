#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include <gfs/base/str.h>

#include "web_url.h"

static bool unreserved(unsigned char c)
{
    /* Not isalnum(): its answer depends on the locale. */
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int gfsi_url_encode_path(struct gfs_buf *out, const char *path)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const char *p = path; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        char encoded[3] = {'%', hex[c >> 4], hex[c & 15]};
        int rc = unreserved(c) || c == '/' ? gfs_buf_append(out, p, 1)
                                           : gfs_buf_append(out, encoded, sizeof(encoded));

        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* `slashes`: an encoded '/' is accepted (whole paths), else it is an error (one component). */
static int decode(char *dst, size_t size, const char *src, size_t len, bool slashes)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = src[i];
        int high = c == '%' && i + 2 < len ? hex_value(src[i + 1]) : -1;
        int low = high >= 0 ? hex_value(src[i + 2]) : -1;

        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || (c == '/' && !slashes)) {
            return GFS_EINVAL;
        }
        if (n + 1 >= size) {
            return GFS_ERANGE;
        }
        dst[n++] = c;
    }
    if (n >= size) {
        return GFS_ERANGE;
    }
    dst[n] = '\0';
    return 0;
}

int gfsi_url_decode_name(char *dst, size_t size, const char *src, size_t len)
{
    return decode(dst, size, src, len, false);
}

static int part(CURLU *url, CURLUPart what, unsigned flags, char *dst, size_t size)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, what, &text, flags);
    int rc = 0;

    if (code != CURLUE_OK) {
        dst[0] = '\0';
        return GFS_ENOENT;
    }
    rc = gfs_str_copy(dst, size, text);
    curl_free(text);
    return rc;
}

static int base_from_url(CURLU *url, const char *uri, struct gfsi_web_base *out,
                         struct gfs_err *err)
{
    char unwanted[8];
    CURLUcode code = curl_url_set(url, CURLUPART_URL, uri, CURLU_URLENCODE);

    if (code != CURLUE_OK) {
        return gfs_err_set(err, GFS_EINVAL, "mount point is not a valid URL: %s",
                           curl_url_strerror(code));
    }
    if (part(url, CURLUPART_QUERY, 0, unwanted, sizeof(unwanted)) != GFS_ENOENT ||
        part(url, CURLUPART_FRAGMENT, 0, unwanted, sizeof(unwanted)) != GFS_ENOENT) {
        return gfs_err_set(err, GFS_EINVAL,
                           "mount point has a query or fragment: it must be a directory's URL");
    }
    if (part(url, CURLUPART_USER, CURLU_URLDECODE, out->user, sizeof(out->user)) == GFS_ERANGE ||
        part(url, CURLUPART_PASSWORD, CURLU_URLDECODE, out->password, sizeof(out->password)) ==
            GFS_ERANGE) {
        return gfs_err_set(err, GFS_EINVAL, "user or password of the mount point is too long");
    }
    (void)curl_url_set(url, CURLUPART_USER, NULL, 0);
    (void)curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);

    char scheme[8];

    if (part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) < 0 ||
        part(url, CURLUPART_URL, 0, out->url, sizeof(out->url) - 1) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "mount point is not a valid URL");
    }
    out->https = strcasecmp(scheme, "https") == 0;

    size_t len = strlen(out->url);

    if (len == 0 || out->url[len - 1] != '/') {
        out->url[len] = '/';
        out->url[len + 1] = '\0';
    }
    return 0;
}

int gfsi_web_base_parse(const char *uri, struct gfsi_web_base *out, struct gfs_err *err)
{
    CURLU *url = curl_url();

    if (url == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    struct gfsi_web_base base = {.url = ""};
    int rc = base_from_url(url, uri, &base, err);

    curl_url_cleanup(url);
    if (rc == 0) {
        *out = base;
    }
    return rc;
}

/* Where the path of an absolute URL starts, and where it ends (query or fragment). */
static const char *url_path(const char *url, size_t *len)
{
    const char *sep = strstr(url, "://");

    if (sep == NULL) {
        return NULL;
    }

    const char *path = sep + 3 + strcspn(sep + 3, "/?#");

    *len = strcspn(path, "?#");
    return path;
}

int gfsi_web_page_parse(const char *url, struct gfsi_web_page *out)
{
    size_t len = 0;
    const char *path = url_path(url, &len);

    if (path == NULL || (size_t)(path - url) >= sizeof(out->origin)) {
        return GFS_EINVAL;
    }
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }

    struct gfsi_web_page page;

    memcpy(page.origin, url, (size_t)(path - url));
    page.origin[path - url] = '\0';

    int rc = decode(page.path, sizeof(page.path), len > 0 ? path : "/", len > 0 ? len : 1, true);

    if (rc < 0) {
        return rc;
    }
    *out = page;
    return 0;
}

int gfsi_url_last_name(const char *url, char *name, size_t size, bool *directory)
{
    size_t len = 0;
    const char *path = url_path(url, &len);

    if (path == NULL) {
        return GFS_EINVAL;
    }

    bool ends_in_slash = len == 0 || path[len - 1] == '/';

    if (len > 0 && ends_in_slash) {
        len--;
    }

    size_t start = len;

    while (start > 0 && path[start - 1] != '/') {
        start--;
    }

    int rc = decode(name, size, path + start, len - start, false);

    if (rc == 0) {
        *directory = ends_in_slash;
    }
    return rc;
}

/* RFC 3986 3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) ":" */
static bool has_scheme(const char *href)
{
    const char *p = href;

    if (!isalpha((unsigned char)*p)) {
        return false;
    }
    while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.') {
        p++;
    }
    return *p == ':';
}

/* A path relative to the page's directory: one component, perhaps with a '/' behind. */
static enum gfsi_link link_from_relative(const char *rel, size_t len, char *name, bool *directory)
{
    while (len >= 2 && rel[0] == '.' && rel[1] == '/') {
        rel += 2;
        len -= 2;
    }
    if (len == 0 || (len == 1 && rel[0] == '.')) {
        return GFSI_LINK_PARENT;
    }

    bool ends_in_slash = rel[len - 1] == '/';

    if (ends_in_slash) {
        len--;
    }
    if (len == 2 && rel[0] == '.' && rel[1] == '.') {
        return GFSI_LINK_PARENT;
    }

    char decoded[256];

    /* A raw '/' here means deeper than this directory, or "../x". */
    if (memchr(rel, '/', len) != NULL ||
        gfsi_url_decode_name(decoded, sizeof(decoded), rel, len) < 0 ||
        !gfs_name_valid(decoded, strlen(decoded))) {
        return GFSI_LINK_OTHER;
    }
    (void)gfs_str_copy(name, 256, decoded);
    *directory = ends_in_slash;
    return GFSI_LINK_ENTRY;
}

/* Length of the part of the encoded path `path` that decodes to exactly `decoded`; 0 when none. */
static size_t encoded_prefix(const char *path, size_t len, const char *decoded)
{
    size_t i = 0;

    while (*decoded != '\0') {
        if (i >= len) {
            return 0;
        }

        char c = path[i];
        size_t used = 1;
        int high = c == '%' && i + 2 < len ? hex_value(path[i + 1]) : -1;
        int low = high >= 0 ? hex_value(path[i + 2]) : -1;

        if (low >= 0) {
            c = (char)(high * 16 + low);
            used = 3;
        }
        if (c != *decoded) {
            return 0;
        }
        decoded++;
        i += used;
    }
    return i;
}

/* An absolute path: below the page's directory, the directory itself or one above, or elsewhere. */
static enum gfsi_link link_from_absolute(const struct gfsi_web_page *page, const char *path,
                                         size_t len, char *name, bool *directory)
{
    size_t prefix = encoded_prefix(path, len, page->path);

    if (prefix > 0) {
        return link_from_relative(path + prefix, len - prefix, name, directory);
    }

    char decoded[sizeof(page->path)];

    if (decode(decoded, sizeof(decoded), path, len, true) == 0 &&
        gfs_str_has_prefix(page->path, decoded)) {
        return GFSI_LINK_PARENT;
    }
    return GFSI_LINK_OTHER;
}

enum gfsi_link gfsi_web_link(const struct gfsi_web_page *page, const char *href, char *name,
                             bool *directory)
{
    while (isspace((unsigned char)*href)) {
        href++;
    }

    size_t len = strlen(href);

    while (len > 0 && isspace((unsigned char)href[len - 1])) {
        len--;
    }
    if (len == 0 || memchr(href, '?', len) != NULL || memchr(href, '#', len) != NULL) {
        return GFSI_LINK_OTHER;
    }

    size_t origin_len = strlen(page->origin);
    const char *authority = strstr(page->origin, "//"); /* scheme-relative: "//host/path" */
    size_t authority_len = authority != NULL ? strlen(authority) : 0;

    if (has_scheme(href)) {
        if (len <= origin_len || strncasecmp(href, page->origin, origin_len) != 0) {
            return GFSI_LINK_OTHER;
        }
        href += origin_len;
        len -= origin_len;
    } else if (len >= 2 && href[0] == '/' && href[1] == '/') {
        if (authority_len == 0 || len <= authority_len ||
            strncasecmp(href, authority, authority_len) != 0) {
            return GFSI_LINK_OTHER;
        }
        href += authority_len;
        len -= authority_len;
    } else if (href[0] != '/') {
        return link_from_relative(href, len, name, directory);
    }
    if (href[0] != '/') {
        return GFSI_LINK_OTHER; /* "http://host.evil" shares the prefix "http://host" only */
    }
    return link_from_absolute(page, href, len, name, directory);
}
