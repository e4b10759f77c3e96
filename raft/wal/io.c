#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <raft/wal.h>

static int posix_openat(void *arg, int dirfd, const char *name, int flags, mode_t mode)
{
    (void)arg;
    int fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

static int posix_close(void *arg, int fd)
{
    (void)arg;
    return close(fd) < 0 ? -errno : 0;
}

static ssize_t posix_pread(void *arg, int fd, void *buf, size_t len, off_t offset)
{
    (void)arg;
    ssize_t n = pread(fd, buf, len, offset);
    return n < 0 ? -errno : n;
}

static ssize_t posix_pwrite(void *arg, int fd, const void *buf, size_t len, off_t offset)
{
    (void)arg;
    ssize_t n = pwrite(fd, buf, len, offset);
    return n < 0 ? -errno : n;
}

static int posix_fdatasync(void *arg, int fd)
{
    (void)arg;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_fsync(void *arg, int fd)
{
    (void)arg;
    return fsync(fd) < 0 ? -errno : 0;
}

static int posix_renameat(void *arg, int dirfd, const char *from, const char *to)
{
    (void)arg;
    return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int posix_unlinkat(void *arg, int dirfd, const char *name)
{
    (void)arg;
    return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

const struct raft_wal_io *raft_wal_io_posix(void)
{
    static const struct raft_wal_io io = {
        .openat = posix_openat,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .fdatasync = posix_fdatasync,
        .fsync = posix_fsync,
        .renameat = posix_renameat,
        .unlinkat = posix_unlinkat,
    };
    return &io;
}
