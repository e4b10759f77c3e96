/* A growable byte buffer with a stated maximum. Always NUL-terminated behind its length, so that a
 * text buffer can be printed. Once an append fails for size or memory the buffer keeps the error
 * (sticky): build first, check once.
 *
 * Owner: the caller; gfs_buf_fini frees. Not thread-safe. */
#ifndef GFS_BASE_BUF_H
#define GFS_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_buf {
    char *data; /* NULL while empty and never grown */
    size_t len;
    size_t cap;
    size_t max;
    int error; /* 0, GFS_ERANGE when over max, GFS_ENOMEM */
};

#define gfs_auto_buf __attribute__((cleanup(gfs_buf_fini)))

void gfs_buf_init(struct gfs_buf *b, size_t max);
void gfs_buf_fini(struct gfs_buf *b);
void gfs_buf_clear(struct gfs_buf *b); /* length 0, error 0; keeps the memory */

int gfs_buf_append(struct gfs_buf *b, const void *data, size_t len);
int gfs_buf_puts(struct gfs_buf *b, const char *s);
int gfs_buf_printf(struct gfs_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for `len` more bytes and returns where to write them, or NULL; the caller then adds
 * what it wrote to b->len (gfs_buf_commit). */
char *gfs_buf_reserve(struct gfs_buf *b, size_t len);
void gfs_buf_commit(struct gfs_buf *b, size_t len);

/* The text, "" when empty. Valid until the next change. */
const char *gfs_buf_str(const struct gfs_buf *b);

/* Moves the memory to the caller (free()); the buffer is empty afterwards. NULL on sticky error. */
char *gfs_buf_take(struct gfs_buf *b);

#ifdef __cplusplus
}
#endif
#endif
