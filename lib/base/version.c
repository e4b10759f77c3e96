#include <gfs/base/version.h>

const char *gfs_version(void)
{
    return GFS_VERSION;
}
