/* Index pages of web servers: nginx autoindex, Apache mod_autoindex (table and <pre>), lighttpd,
 * caddy, Python's http.server and what looks like them. Fed in pieces as they arrive; memory does
 * not grow with the page but for the entries kept. Nothing is fetched. */
#ifndef GFSI_WEB_INDEX_H
#define GFSI_WEB_INDEX_H

#include <stddef.h>

#include <gfs/base/err.h>

#include "web_url.h"

struct gfs_ufs_listing;
struct gfsi_web_index;

struct gfsi_web_index_options {
    const char *titles;       /* comma-separated; borrowed for the parser's life */
    const char *parent_names; /* the same */
    size_t max_entries;
};

/* `url` is the page's own, after redirects. Entries go to `out` (NULL: none are kept, only checked)
 * in the page's order. */
int gfsi_web_index_new(const char *url, const struct gfsi_web_index_options *options,
                       struct gfs_ufs_listing *out, struct gfsi_web_index **result);
struct gfsi_web_index *gfsi_web_index_free(struct gfsi_web_index *index);

/* GFS_ERANGE over max_entries, GFS_EPROTO when elements nest too deep, GFS_ENOMEM. */
int gfsi_web_index_feed(struct gfsi_web_index *index, const char *data, size_t len);

/* End of the page. GFS_ENOTDIR when it was not a directory index. */
int gfsi_web_index_finish(struct gfsi_web_index *index);

#endif
