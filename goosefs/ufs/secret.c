/* Values of properties that are in files: "${file:/etc/fluid/secrets/NAME/KEY}".
 *
 * Who mounts chooses the reference and the origin it is sent to. So only files below one directory
 * can be named, which the operator fills for this: not every file that this process may read. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#include "ufs_priv.h"

#define PREFIX    "${file:"
#define DIRECTORY "/etc/fluid/secrets"
#define VALUE_MAX 4096

static const char *directory(void)
{
    const char *set = getenv("GOOSEFS_SECRETS_DIR");

    return set != NULL && set[0] == '/' ? set : DIRECTORY;
}

static bool is_reference(const char *value)
{
    size_t len = strlen(value);

    return strncmp(value, PREFIX, sizeof(PREFIX) - 1) == 0 && value[len - 1] == '}';
}

/* The links of a Secret's volume stay within it. */
static int open_secret(const char *path, struct gfs_err *err)
{
    const char *root = directory();
    size_t len = strlen(root);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH};

    if (strncmp(path, root, len) != 0 || path[len] != '/' || path[len + 1] == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "secret %s does not lie below %s", path, root);
    }

    int dir gfs_auto_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0) {
        return gfs_err_set_errno(err, errno, "secrets in %s", root);
    }

    long fd = syscall(SYS_openat2, dir, path + len + 1, &how, sizeof(how));

    return fd >= 0 ? (int)fd
                   : gfs_err_set_errno(err, errno == EXDEV ? EACCES : errno, "secret %s", path);
}

/* Its text, without the line end that editors add. */
static int read_secret(const char *path, char out[VALUE_MAX + 1], struct gfs_err *err)
{
    int fd gfs_auto_fd = open_secret(path, err);
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0) {
        return fd;
    }
    while (n > 0 && len <= VALUE_MAX) {
        n = read(fd, out + len, VALUE_MAX + 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        return gfs_err_set_errno(err, errno, "secret %s", path);
    }
    if (len > VALUE_MAX || memchr(out, '\0', len) != NULL) {
        return gfs_err_set(err, GFS_EINVAL, "secret %s is no text of at most %d bytes", path,
                           VALUE_MAX);
    }
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r')) {
        len--;
    }
    out[len] = '\0';
    return 0;
}

static int resolve(struct gfs_props *out, const char *key, const char *value, struct gfs_err *err)
{
    char path[GFS_UFS_PATH_MAX];
    char text[VALUE_MAX + 1];

    if (!is_reference(value)) {
        return gfs_props_set(out, key, value);
    }
    if (snprintf(path, sizeof(path), "%.*s", (int)(strlen(value) - sizeof(PREFIX)),
                 value + sizeof(PREFIX) - 1) >= (int)sizeof(path)) {
        return gfs_err_set(err, GFS_EINVAL, "%s: path of the secret is too long", key);
    }

    int rc = read_secret(path, text, err);

    rc = rc < 0 ? gfs_err_wrap(err, rc, "%s", key) : gfs_props_set(out, key, text);
    explicit_bzero(text, sizeof(text));
    return rc;
}

int gfsi_secrets_resolve(const struct gfs_props *props, struct gfs_props **out, struct gfs_err *err)
{
    struct gfs_props *copy = gfs_props_new();
    size_t n = props != NULL ? gfs_props_count(props) : 0;
    int rc = copy != NULL ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");

    for (size_t i = 0; rc == 0 && i < n; i++) {
        const char *key = NULL;
        const char *value = NULL;

        gfs_props_at(props, i, &key, &value);
        rc = resolve(copy, key, value, err);
    }
    if (rc < 0) {
        gfs_props_free(copy);
        return rc;
    }

    *out = copy;
    return 0;
}
