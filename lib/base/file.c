#include <gfs/base/file.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK 16384

int gfs_file_read(const char *path, struct gfs_buf *out, struct gfs_err *err)
{
    int fd gfs_auto_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "can't open '%s'", path);
    }

    for (;;) {
        /* One byte more than fits tells a file that is too large from one that just fits. */
        char chunk[READ_CHUNK];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return gfs_err_set_errno(err, errno, "can't read '%s'", path);
        }
        if (n == 0) {
            return GFS_OK;
        }
        int rc = gfs_buf_append(out, chunk, (size_t)n);
        if (rc < 0) {
            return gfs_err_set(err, rc, "'%s' is larger than %zu bytes", path, out->max);
        }
    }
}

int gfs_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return gfs_err_from_errno(errno);
        }
        p += n;
        len -= (size_t)n;
    }
    return GFS_OK;
}

static int sync_directory_of(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (slash == NULL) {
        (void)gfs_str_copy(dir, sizeof dir, ".");
    } else {
        memcpy(dir, path, len);
        dir[len] = '\0';
    }

    int fd gfs_auto_fd =
        open(len == 0 && slash != NULL ? "/" : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        return gfs_err_from_errno(errno);
    }
    return GFS_OK;
}

int gfs_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode,
                          struct gfs_err *err)
{
    char tmp[PATH_MAX];
    int k = snprintf(tmp, sizeof tmp, "%s.tmp-XXXXXX", path);
    if (k < 0 || (size_t)k >= sizeof tmp) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "path '%s' is too long", path);
    }

    int fd gfs_auto_fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "can't create '%s'", tmp);
    }

    int rc = gfs_write_all(fd, data, len);
    if (rc == GFS_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0)) {
        rc = gfs_err_from_errno(errno);
    }
    if (rc == GFS_OK && rename(tmp, path) != 0) {
        rc = gfs_err_from_errno(errno);
    }
    if (rc < 0) {
        (void)unlink(tmp);
        return gfs_err_set(err, rc, "can't write '%s': %s", path, gfs_err_string(rc));
    }

    rc = sync_directory_of(path);
    return rc < 0 ? gfs_err_set(err, rc, "can't sync the directory of '%s'", path) : GFS_OK;
}

int gfs_mkdirs(const char *path, mode_t mode, struct gfs_err *err)
{
    char copy[PATH_MAX];
    if (gfs_str_copy(copy, sizeof copy, path) < 0) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "path '%s' is too long", path);
    }

    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char end = *p;
        *p = '\0';
        struct stat st;
        if (mkdir(copy, mode) != 0 &&
            !(errno == EEXIST && stat(copy, &st) == 0 && S_ISDIR(st.st_mode))) {
            return gfs_err_set_errno(err, errno, "can't create directory '%s'", copy);
        }
        if (end == '\0') {
            return GFS_OK;
        }
        *p = end;
    }
}
