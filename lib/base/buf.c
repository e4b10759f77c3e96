#include <gfs/base/buf.h>

#include <gfs/base/err.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gfs_buf_init(struct gfs_buf *b, size_t max)
{
    *b = (struct gfs_buf){.max = max};
}

void gfs_buf_fini(struct gfs_buf *b)
{
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void gfs_buf_clear(struct gfs_buf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

char *gfs_buf_reserve(struct gfs_buf *b, size_t len)
{
    if (b->error != 0) {
        return NULL;
    }
    if (len > b->max || b->len > b->max - len) {
        b->error = GFS_ERANGE;
        return NULL;
    }

    size_t need = b->len + len + 1;
    if (need > b->cap) {
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap < need) {
            cap += cap / 2;
        }
        char *data = realloc(b->data, cap);
        if (data == NULL) {
            b->error = GFS_ENOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void gfs_buf_commit(struct gfs_buf *b, size_t len)
{
    b->len += len;
    b->data[b->len] = '\0';
}

int gfs_buf_append(struct gfs_buf *b, const void *data, size_t len)
{
    char *at = gfs_buf_reserve(b, len);
    if (at == NULL) {
        return b->error;
    }
    if (len > 0) {
        memcpy(at, data, len);
    }
    gfs_buf_commit(b, len);
    return GFS_OK;
}

int gfs_buf_puts(struct gfs_buf *b, const char *s)
{
    return gfs_buf_append(b, s, strlen(s));
}

int gfs_buf_printf(struct gfs_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);

    int rc = GFS_EINVAL;
    if (len >= 0) {
        char *at = gfs_buf_reserve(b, (size_t)len);
        rc = b->error;
        if (at != NULL) {
            (void)vsnprintf(at, (size_t)len + 1, fmt, again);
            gfs_buf_commit(b, (size_t)len);
            rc = GFS_OK;
        }
    }
    va_end(again);
    return rc;
}

const char *gfs_buf_str(const struct gfs_buf *b)
{
    return b->data == NULL ? "" : b->data;
}

char *gfs_buf_take(struct gfs_buf *b)
{
    if (b->error != 0 || gfs_buf_reserve(b, 0) == NULL) {
        return NULL;
    }
    char *data = b->data;
    data[b->len] = '\0';
    b->data = NULL;
    b->len = b->cap = 0;
    return data;
}
