/* URLs of the web UFS: percent-encoding of paths, and which entry of a directory a link names. */
#ifndef GFSI_WEB_URL_H
#define GFSI_WEB_URL_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>

#define GFSI_WEB_URL_MAX (16 * 1024) /* mount URI + a path of which every byte may become three */

/* Appends `path` with everything but RFC 3986 unreserved bytes and '/' encoded, so that %, +, # and
 * ? in names reach the origin as bytes of the name. */
int gfsi_url_encode_path(struct gfs_buf *out, const char *path);

/* Decodes len bytes of src into dst (size bytes with NUL). A '%' without two hex digits stays as it
 * is. GFS_EINVAL when the result holds a NUL or a '/' (an encoded one), GFS_ERANGE when it does not
 * fit. */
int gfsi_url_decode_name(char *dst, size_t size, const char *src, size_t len);

/* The mount's URI taken apart and put together again. */
struct gfsi_web_base {
    char url[2048]; /* scheme://host[:port]/path/ : ends in '/', no user and password */
    char user[256]; /* "" when the URI has none */
    char password[256];
    bool https;
};

/* http and https URIs; a query or fragment is refused: paths are appended. */
int gfsi_web_base_parse(const char *uri, struct gfsi_web_base *out, struct gfs_err *err);

/* The page a link stands on. */
struct gfsi_web_page {
    char origin[1024]; /* "http://host:port" */
    char path[8192];   /* decoded, up to and with the last '/' */
};

/* From the page's effective URL (after redirects). */
int gfsi_web_page_parse(const char *url, struct gfsi_web_page *out);

/* The last component of a URL's path, decoded; *directory when it ends in '/'. */
int gfsi_url_last_name(const char *url, char *name, size_t size, bool *directory);

enum gfsi_link {
    GFSI_LINK_OTHER,  /* not an entry: elsewhere, a query, a fragment, a script */
    GFSI_LINK_PARENT, /* the directory above, or this one */
    GFSI_LINK_ENTRY,  /* name and directory are set */
};

/* What a href on `page` names. `name` holds at least 256 bytes. */
enum gfsi_link gfsi_web_link(const struct gfsi_web_page *page, const char *href, char *name,
                             bool *directory);

#endif
