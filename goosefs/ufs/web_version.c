#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#include "web_priv.h"

void gfsi_web_version_exact(bool etags, const struct gfsi_web_answer *answer, uint64_t size,
                            char version[GFS_UFS_VERSION_MAX + 1])
{
    if (etags && answer->etag[0] != '\0') {
        (void)gfs_str_copy(version, GFS_UFS_VERSION_MAX + 1, answer->etag);
    } else if (answer->last_modified_ms != 0) {
        (void)snprintf(version, GFS_UFS_VERSION_MAX + 1, "m%" PRId64 "-%" PRIu64,
                       answer->last_modified_ms, size);
    } else {
        (void)snprintf(version, GFS_UFS_VERSION_MAX + 1, "s%" PRIu64, size);
    }
}

void gfsi_web_version_row(struct gfs_ufs_stat *stat)
{
    stat->version_exact = false;
    if (!stat->size_known || stat->mtime_granularity_ms == 0) {
        stat->version[0] = '\0';
        return;
    }
    (void)snprintf(stat->version, sizeof(stat->version), "~%" PRId64 "/%" PRIu32 "-%" PRIu64,
                   stat->mtime_ms, stat->mtime_granularity_ms, stat->size);
}

/* Decimal digits up to `end`, which is passed. */
static bool number(const char **p, char end, uint64_t *out)
{
    char *stop = NULL;

    if (!isdigit((unsigned char)**p)) {
        return false;
    }
    errno = 0;
    *out = strtoull(*p, &stop, 10);
    if (errno != 0 || *stop != end) {
        return false;
    }
    *p = stop + (end != '\0');
    return true;
}

/* "~<mtime>/<granularity>-<size>" as written above; anything else matches nothing. */
static bool row_matches(const char *expected, const struct gfsi_web_answer *answer, uint64_t size)
{
    const char *p = expected + 1;
    uint64_t mtime = 0;
    uint64_t granularity = 0;
    uint64_t row_size = 0;

    if (!number(&p, '/', &mtime) || !number(&p, '-', &granularity) ||
        !number(&p, '\0', &row_size) || mtime > INT64_MAX || granularity == 0 ||
        granularity > UINT32_MAX) {
        return false;
    }
    return row_size == size &&
           (answer->last_modified_ms == 0 ||
            gfsi_row_time_matches((int64_t)mtime, (uint32_t)granularity, answer->last_modified_ms));
}

bool gfsi_web_version_matches(const char *expected, const struct gfsi_web_answer *answer,
                              uint64_t size)
{
    char version[GFS_UFS_VERSION_MAX + 1];

    if (expected[0] == '~') {
        return row_matches(expected, answer, size);
    }

    /* The form of the version expected decides: an ETag is compared with an ETag, a time with a
     * time, whatever else the answer carries. */
    bool is_etag = expected[0] == '"' || expected[0] == 'W';

    gfsi_web_version_exact(is_etag, answer, size, version);
    if (expected[0] == 's') {
        (void)snprintf(version, sizeof(version), "s%" PRIu64, size);
    }
    return strcmp(version, expected) == 0;
}
