#include "platform/local/remove.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
#include "platform/local/pathf.h"

#define OPEN_DIRS 16

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int gfsi_remove_tree(const char *path, int parents, struct gfs_err *err)
{
    char parent[PATH_MAX];

    if (nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 &&
        errno != ENOENT) {
        return gfs_err_set_errno(err, errno, "cannot remove %s", path);
    }

    gfsi_pathf(parent, sizeof(parent), "%s", path);
    for (; parents > 0; parents--) {
        char *slash = strrchr(parent, '/');

        if (slash == NULL || slash == parent) {
            break;
        }
        *slash = '\0';
        if (rmdir(parent) < 0) {
            break; /* shared with somebody */
        }
    }

    return 0;
}
