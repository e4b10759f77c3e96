/* Errors: one table of codes for the whole project.
 *
 * A function that can fail returns int: zero or positive is success, negative is one of these
 * codes. Its outputs are untouched on failure. Human context travels in an optional last parameter,
 * struct gfs_err *, which may be NULL. Conversions to errno, gRPC and CSI happen at the edges only.
 *
 * Thread: everything here may be called from any thread. */
#ifndef GFS_BASE_ERR_H
#define GFS_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, errno, gRPC status code, retryable, text).
 * gRPC numbers: grpc/status.h, the canonical codes, which CSI uses too. Retryable means: the same
 * call may succeed later, perhaps at another server, without anybody changing anything. */
#define GFS_ERR_MAP(X)                                                                             \
    X(INVAL, -1, EINVAL, 3, false, "invalid argument")                                             \
    X(NOENT, -2, ENOENT, 5, false, "no such entry")                                                \
    X(EXIST, -3, EEXIST, 6, false, "already exists")                                               \
    X(PERM, -4, EACCES, 7, false, "permission denied")                                             \
    X(ROFS, -5, EROFS, 9, false, "read-only")                                                      \
    X(NOTDIR, -6, ENOTDIR, 9, false, "not a directory")                                            \
    X(ISDIR, -7, EISDIR, 9, false, "is a directory")                                               \
    X(NOTEMPTY, -8, ENOTEMPTY, 9, false, "directory not empty")                                    \
    X(NAMETOOLONG, -9, ENAMETOOLONG, 3, false, "name too long")                                    \
    X(PRECONDITION, -10, EBUSY, 9, false, "not possible in the present state")                     \
    X(RANGE, -11, ERANGE, 11, false, "out of range")                                               \
    X(NOMEM, -12, ENOMEM, 8, true, "out of memory")                                                \
    X(NOSPC, -13, ENOSPC, 8, true, "no space left")                                                \
    X(BUSY, -14, EBUSY, 8, true, "busy: a queue or quota is full")                                 \
    X(TIMEOUT, -15, ETIMEDOUT, 4, true, "deadline exceeded")                                       \
    X(CANCELLED, -16, ECANCELED, 1, false, "cancelled")                                            \
    X(UNAVAIL, -17, EHOSTUNREACH, 14, true, "unavailable")                                         \
    X(NOTLEADER, -18, EHOSTUNREACH, 14, true, "not the leader")                                    \
    X(ABORTED, -19, EAGAIN, 10, true, "aborted by a conflicting operation")                        \
    X(CHANGED, -20, ESTALE, 10, true, "the object changed at its origin")                          \
    X(CORRUPT, -21, EIO, 15, false, "data corrupt")                                                \
    X(IO, -22, EIO, 13, false, "input/output error")                                               \
    X(PROTO, -23, EPROTO, 13, false, "protocol error")                                             \
    X(UNSUPPORTED, -24, EOPNOTSUPP, 12, false, "not supported")                                    \
    X(UNAUTH, -25, EACCES, 16, false, "not authenticated")                                         \
    X(INTERNAL, -26, EIO, 13, false, "internal error")                                             \
    X(UNKNOWN, -27, EIO, 2, true, "outcome unknown")                                               \
    X(STALE, -28, ESTALE, 5, false, "no entry has this id any more")

enum gfs_err_code {
    GFS_OK = 0,
#define GFS_ERR_ENUM(name, value, err, grpc, retry, text) GFS_E##name = (value),
    GFS_ERR_MAP(GFS_ERR_ENUM)
#undef GFS_ERR_ENUM
};

#define GFS_ERR_TEXT_MAX 512

/* Context of one failure, for people. Fixed size, lives on the caller's stack. */
struct gfs_err {
    int code;
    char text[GFS_ERR_TEXT_MAX]; /* complete sentence without final stop; "" when nothing failed */
};

#define GFS_ERR_INIT                                                                               \
    {                                                                                              \
        0,                                                                                         \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Sets code and text; returns code. `err` may be NULL. */
int gfs_err_set(struct gfs_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from an errno value: appends ": strerror". Returns gfs_err_from_errno(errnum). */
int gfs_err_set_errno(struct gfs_err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text; returns err->code, or `code` when err is NULL. */
int gfs_err_wrap(struct gfs_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The text of an error: err->text when there is one, else the table's text of `code`. */
const char *gfs_err_text(const struct gfs_err *err, int code);

/* Table look-ups; unknown codes map to INTERNAL. */
const char *gfs_err_name(int code);   /* "ENOENT"-like name without prefix, e.g. "NOENT" */
const char *gfs_err_string(int code); /* text */
int gfs_err_to_errno(int code);       /* positive errno; 0 for >= 0 */
int gfs_err_from_errno(int errnum);   /* from a positive errno; IO when there is no better one */
int gfs_err_to_grpc(int code);        /* gRPC status code; 0 for >= 0 */
int gfs_err_from_grpc(int status);    /* 0 for status 0 */
bool gfs_err_retryable(int code);

#ifdef __cplusplus
}
#endif
#endif
