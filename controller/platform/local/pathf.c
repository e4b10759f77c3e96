#include "platform/local/pathf.h"

#include <stdarg.h>
#include <stdio.h>

#include <gfs/base/assert.h>

void gfsi_pathf(char *out, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);

    int len = vsnprintf(out, size, fmt, ap);

    va_end(ap);
    GFS_ASSERT_LE(0, len);
    GFS_ASSERT_LT((size_t)len, size);
}
