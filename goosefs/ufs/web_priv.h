/* The web UFS: one object per mount, used by web.c (open, stat, read) and web_list.c. */
#ifndef GFSI_WEB_PRIV_H
#define GFSI_WEB_PRIV_H

#include <gfs/ufs/ufs.h>

#include "ufs_priv.h"
#include "web_client.h"
#include "web_index.h"
#include "web_url.h"

struct gfsi_web {
    struct gfsi_web_base base;
    struct gfs_ufs_limits limits;
    bool etags;
    char titles[1024];
    char parent_names[1024];
    struct gfsi_web_client *client;
};

/* base + encoded path (+ '/' for a directory). Free *out. */
int gfsi_web_url(const struct gfsi_web *web, const char *path, bool directory, char **out,
                 struct gfs_err *err);

int gfsi_web_stat(void *impl, const char *path, struct gfs_ufs_stat *out, struct gfs_err *err);
int gfsi_web_list(void *impl, const char *path, struct gfs_ufs_listing *out, struct gfs_err *err);

/* Gets the page at `path` and parses it into `out`, or (NULL) only checks that it is an index. */
int gfsi_web_fetch_index(struct gfsi_web *web, const char *path, struct gfs_ufs_listing *out,
                         struct gfs_err *err);

/* Version texts. Exact ones are an ETag as sent (starts with '"' or 'W'), "m<mtime ms>-<size>" or
 * "s<size>"; a row's is "~<mtime ms>/<granularity ms>-<size>". */
void gfsi_web_version_exact(bool etags, const struct gfsi_web_answer *answer, uint64_t size,
                            char version[GFS_UFS_VERSION_MAX + 1]);
void gfsi_web_version_row(struct gfs_ufs_stat *stat);

/* Does an answer for an object of `size` bytes carry the version expected? */
bool gfsi_web_version_matches(const char *expected, const struct gfsi_web_answer *answer,
                              uint64_t size);

#endif
