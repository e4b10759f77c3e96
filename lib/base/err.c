#include <gfs/base/err.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct row {
    int code;
    int errnum;
    int grpc;
    bool retryable;
    const char *name;
    const char *text;
};

static const struct row rows[] = {
#define GFS_ERR_ROW(name, value, err, grpc, retry, text)                                           \
    {(value), (err), (grpc), (retry), #name, text},
    GFS_ERR_MAP(GFS_ERR_ROW)
#undef GFS_ERR_ROW
};

#define N_ROWS (sizeof rows / sizeof rows[0])

static const struct row *find(int code)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return find(GFS_EINTERNAL);
}

__attribute__((format(printf, 3, 0))) static void append(struct gfs_err *err, size_t at,
                                                         const char *fmt, va_list ap)
{
    if (at < sizeof err->text) {
        (void)vsnprintf(err->text + at, sizeof err->text - at, fmt, ap);
    }
}

int gfs_err_set(struct gfs_err *err, int code, const char *fmt, ...)
{
    if (err == NULL) {
        return code;
    }

    va_list ap;
    va_start(ap, fmt);
    err->code = code;
    append(err, 0, fmt, ap);
    va_end(ap);
    return code;
}

int gfs_err_set_errno(struct gfs_err *err, int errnum, const char *fmt, ...)
{
    int code = gfs_err_from_errno(errnum);
    if (err == NULL) {
        return code;
    }

    va_list ap;
    va_start(ap, fmt);
    err->code = code;
    append(err, 0, fmt, ap);
    va_end(ap);

    size_t len = strlen(err->text);
    char reason[128];
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s",
                   strerror_r(errnum, reason, sizeof reason));
    return code;
}

int gfs_err_wrap(struct gfs_err *err, int code, const char *fmt, ...)
{
    if (err == NULL) {
        return code;
    }

    char old[GFS_ERR_TEXT_MAX];
    (void)snprintf(old, sizeof old, "%s", gfs_err_text(err, code));

    va_list ap;
    va_start(ap, fmt);
    err->code = code;
    append(err, 0, fmt, ap);
    va_end(ap);

    size_t len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s", old);
    return code;
}

const char *gfs_err_text(const struct gfs_err *err, int code)
{
    if (err != NULL && err->text[0] != '\0') {
        return err->text;
    }
    return gfs_err_string(code);
}

const char *gfs_err_name(int code)
{
    return code >= 0 ? "OK" : find(code)->name;
}

const char *gfs_err_string(int code)
{
    return code >= 0 ? "success" : find(code)->text;
}

int gfs_err_to_errno(int code)
{
    return code >= 0 ? 0 : find(code)->errnum;
}

int gfs_err_from_errno(int errnum)
{
    if (errnum == 0) {
        return GFS_OK;
    }

    /* Several codes share an errno; the table's first row with it is the plain meaning. */
    switch (errnum) {
    case EPERM: return GFS_EPERM;
    case EAGAIN: return GFS_EBUSY;
    case EDQUOT: return GFS_ENOSPC;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case ENOTCONN: return GFS_EUNAVAIL;
    case ENOSYS: return GFS_EUNSUPPORTED;
    case EBADMSG: return GFS_ECORRUPT;
    case EIO: return GFS_EIO;
    default: break;
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].errnum == errnum) {
            return rows[i].code;
        }
    }
    return GFS_EIO;
}

int gfs_err_to_grpc(int code)
{
    return code >= 0 ? 0 : find(code)->grpc;
}

int gfs_err_from_grpc(int status)
{
    switch (status) {
    case 0: return GFS_OK;
    case 8: return GFS_EBUSY;
    case 9: return GFS_EPRECONDITION;
    case 10: return GFS_EABORTED;
    case 13: return GFS_EINTERNAL;
    case 14: return GFS_EUNAVAIL;
    default: break;
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].grpc == status) {
            return rows[i].code;
        }
    }
    return GFS_EUNKNOWN;
}

bool gfs_err_retryable(int code)
{
    return code < 0 && find(code)->retryable;
}
