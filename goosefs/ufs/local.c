/* file://: a local directory. Everything is resolved beneath the root by openat2(2), so that no
 * symbolic link leads out of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#include "ufs_priv.h"

#define PIECE (1024 * 1024) /* gfs_ufs_read promises pieces of at most this */

struct local {
    char *root;
    uint32_t max_entries;
    atomic_bool cancelled;
};

static int open_beneath(const struct local *local, const char *path, int flags, struct gfs_err *err)
{
    /* O_NONBLOCK: opening a FIFO does not wait for its writer; openat2 refuses it with O_PATH. */
    int extra = (flags & O_PATH) != 0 ? 0 : O_NONBLOCK;
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | extra),
                           .resolve = RESOLVE_BENEATH};

    if (atomic_load(&local->cancelled)) {
        return gfs_err_set(err, GFS_ECANCELLED, "file system is closing");
    }

    /* The root is opened each time: it may be mounted or replaced after us. */
    int root gfs_auto_fd = open(local->root, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root < 0) {
        return gfs_err_set_errno(err, errno, "file://%s", local->root);
    }

    long fd = syscall(SYS_openat2, root, path[0] == '\0' ? "." : path, &how, sizeof(how));

    if (fd < 0) {
        /* EXDEV: the path, or a link on it, leads out of the root. */
        return gfs_err_set_errno(err, errno == EXDEV ? EACCES : errno, "file://%s/%s", local->root,
                                 path);
    }
    return (int)fd;
}

static int fill_stat(const struct stat *st, struct gfs_ufs_stat *out)
{
    bool directory = S_ISDIR(st->st_mode);

    if (!directory && !S_ISREG(st->st_mode)) {
        return GFS_EUNSUPPORTED;
    }
    *out = (struct gfs_ufs_stat){
        .type = directory ? GFS_UFS_DIRECTORY : GFS_UFS_FILE,
        .size_known = true,
        .version_exact = !directory,
        .mode = st->st_mode & 07777,
        .size = directory ? 0 : (uint64_t)st->st_size,
        .mtime_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000,
        .mtime_granularity_ms = 1,
    };
    if (!directory) {
        /* Nanoseconds and the inode: a file replaced by rename within one millisecond differs. */
        (void)snprintf(out->version, sizeof(out->version), "%lld.%09ld-%llu-%lld",
                       (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                       (unsigned long long)st->st_ino, (long long)st->st_size);
    }
    return 0;
}

static int local_stat(void *impl, const char *path, struct gfs_ufs_stat *out, struct gfs_err *err)
{
    const struct local *local = impl;
    int fd gfs_auto_fd = open_beneath(local, path, O_PATH, err);
    struct stat st;

    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &st) < 0) {
        return gfs_err_set_errno(err, errno, "file://%s/%s", local->root, path);
    }
    if (path[0] == '\0' && !S_ISDIR(st.st_mode)) {
        return gfs_err_set(err, GFS_ENOTDIR, "file://%s is not a directory", local->root);
    }

    int rc = fill_stat(&st, out);

    if (rc < 0) {
        return gfs_err_set(err, rc, "file://%s/%s is neither file nor directory", local->root,
                           path);
    }
    return 0;
}

static int add_entry(const struct local *local, const char *path, const char *name,
                     struct gfs_ufs_listing *listing)
{
    char full[GFS_UFS_PATH_MAX];
    int n = path[0] == '\0' ? snprintf(full, sizeof(full), "%s", name)
                            : snprintf(full, sizeof(full), "%s/%s", path, name);
    struct gfs_ufs_stat st;

    /* Gone since readdir, a dangling link, one that leads out, a device: not listed. */
    if (n < 0 || (size_t)n >= sizeof(full) ||
        local_stat((void *)(uintptr_t)local, full, &st, NULL) < 0) {
        return 0;
    }
    return gfs_ufs_listing_add(listing, local->max_entries, name, &st);
}

static int local_list(void *impl, const char *path, struct gfs_ufs_listing *out,
                      struct gfs_err *err)
{
    const struct local *local = impl;
    int fd gfs_auto_fd = open_beneath(local, path, O_RDONLY | O_DIRECTORY, err);

    if (fd < 0) {
        return fd;
    }

    DIR *dir gfs_auto_dir = fdopendir(fd);

    if (dir == NULL) {
        return gfs_err_set_errno(err, errno, "file://%s/%s", local->root, path);
    }
    (void)GFS_TAKE_FD(fd); /* owned by dir */

    for (;;) {
        errno = 0;

        const struct dirent *entry = readdir(dir);

        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }

        int rc = add_entry(local, path, entry->d_name, out);

        if (rc < 0) {
            return gfs_err_set(err, rc, "file://%s/%s has more than %" PRIu32 " entries",
                               local->root, path, local->max_entries);
        }
    }
    if (errno != 0) {
        return gfs_err_set_errno(err, errno, "file://%s/%s", local->root, path);
    }
    return 0;
}

/* The version now, from the descriptor that is read: a replaced file keeps its old descriptor. */
static int check_version(const struct local *local, int fd, const struct gfs_ufs_range *range,
                         struct gfs_ufs_stat *st, struct gfs_err *err)
{
    struct stat raw;

    if (fstat(fd, &raw) < 0) {
        return gfs_err_set_errno(err, errno, "file://%s/%s", local->root, range->path);
    }
    if (!S_ISREG(raw.st_mode)) {
        return gfs_err_set(err, GFS_EISDIR, "file://%s/%s is not a file", local->root, range->path);
    }
    (void)fill_stat(&raw, st);
    if ((range->version != NULL && strcmp(range->version, st->version) != 0) ||
        (range->object_size != GFS_UFS_SIZE_ANY && range->object_size != st->size) ||
        range->offset + range->length > st->size) {
        return gfs_err_set(err, GFS_ECHANGED, "file://%s/%s changed: it is version %s now",
                           local->root, range->path, st->version);
    }
    return 0;
}

static int local_read(void *impl, const struct gfs_ufs_range *range, gfs_ufs_sink sink, void *arg,
                      char *version_out, struct gfs_err *err)
{
    const struct local *local = impl;
    int fd gfs_auto_fd = open_beneath(local, range->path, O_RDONLY, err);
    struct gfs_ufs_stat before;

    if (fd < 0) {
        return fd;
    }

    int rc = check_version(local, fd, range, &before, err);

    if (rc < 0) {
        return rc;
    }

    char *piece gfs_auto_free = malloc(range->length < PIECE ? (size_t)range->length : PIECE);

    if (piece == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    for (uint64_t done = 0; done < range->length;) {
        uint64_t left = range->length - done;
        ssize_t n =
            pread(fd, piece, left < PIECE ? (size_t)left : PIECE, (off_t)(range->offset + done));

        if (atomic_load(&local->cancelled)) {
            return gfs_err_set(err, GFS_ECANCELLED, "file system is closing");
        }
        if (n < 0) {
            return gfs_err_set_errno(err, errno, "file://%s/%s", local->root, range->path);
        }

        /* Files can be rewritten in place, so look again after each piece, before it is handed
         * out. */
        struct gfs_ufs_range again = *range;
        struct gfs_ufs_stat now;

        again.version = before.version;
        rc = check_version(local, fd, &again, &now, err);
        if (rc < 0) {
            return rc;
        }
        if (n == 0) {
            return gfs_err_set(err, GFS_ECHANGED, "file://%s/%s ends early", local->root,
                               range->path);
        }
        rc = sink(arg, piece, (size_t)n);
        if (rc < 0) {
            return gfs_err_set(err, rc, "receiver stopped the read");
        }
        done += (uint64_t)n;
    }
    if (version_out != NULL) {
        memcpy(version_out, before.version, sizeof(before.version));
    }
    return 0;
}

static void local_cancel(void *impl)
{
    struct local *local = impl;

    atomic_store(&local->cancelled, true);
}

static void local_close(void *impl)
{
    struct local *local = impl;

    free(local->root);
    free(local);
}

static const struct gfs_ufs_ops local_ops = {
    .stat = local_stat,
    .list = local_list,
    .read = local_read,
    .cancel = local_cancel,
    .close = local_close,
};

int gfsi_local_open(const char *uri, const char *rest, const struct gfs_ufs_limits *limits,
                    struct gfs_ufs **out, struct gfs_err *err)
{
    if (rest[0] != '/') {
        return gfs_err_set(err, GFS_EINVAL,
                           "'%s' names a host: a local directory is file:///absolute/path", uri);
    }

    struct local *local = calloc(1, sizeof(*local));

    if (local == NULL || (local->root = strdup(rest)) == NULL) {
        free(local);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    size_t len = strlen(local->root);

    while (len > 1 && local->root[len - 1] == '/') {
        local->root[--len] = '\0';
    }
    local->max_entries = limits->entries;

    int rc = gfs_ufs_new(&local_ops, local, uri, out, err);

    if (rc < 0) {
        local_close(local);
    }
    return rc;
}
