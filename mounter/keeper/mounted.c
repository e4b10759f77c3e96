#include "mounted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

/* Columns of proc(5): id parent major:minor root mountpoint options [optional...] - fstype source
 * fs-options */
enum { COLUMN_DEVICE = 2, COLUMN_TARGET = 4, COLUMNS_FIXED = 6 };

/* The kernel writes space, tab, newline and backslash as three octal digits. In place. */
static void unescape(char *s)
{
    char *out = s;

    while (*s != '\0') {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
            continue;
        }
        *out++ = *s++;
    }
    *out = '\0';
}

static bool parse_minor(const char *device, uint32_t *out)
{
    const char *colon = strchr(device, ':');
    uint64_t value;

    if (colon == NULL || gfs_parse_u64(colon + 1, UINT32_MAX, &value) != 0) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* True when the line is a mount at `target`; then *out_minor and *out_fstype are set. */
static bool parse_line(char *line, const char *target, uint32_t *out_minor, const char **out_fstype)
{
    char *columns[COLUMNS_FIXED];
    char *rest = line;
    char *word;
    int i;

    for (i = 0; i < COLUMNS_FIXED; i++) {
        columns[i] = strsep(&rest, " ");
        if (rest == NULL) {
            return false;
        }
    }
    unescape(columns[COLUMN_TARGET]);
    if (strcmp(columns[COLUMN_TARGET], target) != 0) {
        return false;
    }
    do {
        word = strsep(&rest, " ");
    } while (word != NULL && strcmp(word, "-") != 0);
    word = word != NULL ? strsep(&rest, " ") : NULL;
    if (word == NULL || !parse_minor(columns[COLUMN_DEVICE], out_minor)) {
        return false;
    }
    *out_fstype = word;
    return true;
}

void gfsi_mounted_scan(FILE *in, const char *target, struct gfsi_mounted *out)
{
    char *line gfs_auto_free = NULL;
    size_t size = 0;

    *out = (struct gfsi_mounted){.depth = 0};
    while (getline(&line, &size, in) >= 0) {
        const char *fstype;
        uint32_t minor;

        if (parse_line(line, target, &minor, &fstype)) {
            out->depth++;
            out->minor = minor;
            (void)snprintf(out->fstype, sizeof(out->fstype), "%.63s", fstype);
        }
    }
}

int gfsi_mounted_at(const char *target, struct gfsi_mounted *out, struct gfs_err *err)
{
    FILE *in gfs_auto_file = fopen("/proc/self/mountinfo", "re");

    if (in == NULL) {
        return gfs_err_set_errno(err, errno, "/proc/self/mountinfo");
    }
    gfsi_mounted_scan(in, target, out);
    return 0;
}
