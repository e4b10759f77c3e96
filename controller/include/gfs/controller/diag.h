/* What is wrong with a manifest, and where: every finding, not only the first. */
#ifndef GFS_CONTROLLER_DIAG_H
#define GFS_CONTROLLER_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/base/buf.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_DIAG_MAX 32 /* findings kept of one file; more are counted */

struct gfs_diag {
    bool warning; /* else an error: nothing of the file is taken */
    int line;     /* from 1; 0: the file as a whole */
    int column;
    char *text;
};

struct gfs_diags {
    char *file; /* name shown */
    struct gfs_diag items[GFS_DIAG_MAX];
    size_t n;
    size_t errors;  /* all, also those beyond GFS_DIAG_MAX */
    size_t dropped; /* findings that were counted only */
};

int gfs_diags_init(struct gfs_diags *diags, const char *file);
void gfs_diags_fini(struct gfs_diags *diags);

void gfs_diags_error(struct gfs_diags *diags, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void gfs_diags_warn(struct gfs_diags *diags, int line, int column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* "FILE:LINE:COLUMN: error: TEXT", one a line. */
void gfs_diags_print(const struct gfs_diags *diags, struct gfs_buf *out);

#ifdef __cplusplus
}
#endif
#endif
