#include "fusedev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#include "mounted.h"

#define INIT_WAIT_MS                                                                               \
    5000 /* the kernel queues INIT within mount(2); this only bounds a surprise                    \
          */
#define READ_BUF_MIN    8192 /* FUSE_MIN_READ_BUFFER */
#define STALE_MAX       16   /* layers of an earlier life taken off one mountpoint */
#define MOUNTPOINT_MODE 0755

/* Of struct fuse_in_header (linux/fuse.h): length, then opcode. */
#define OPCODE_INIT 26

static int clear_stale(const struct gfs_keeper_spec *spec, struct gfs_err *err)
{
    struct gfsi_mounted there;
    int i;
    int rc;

    for (i = 0; i < STALE_MAX; i++) {
        rc = gfsi_mounted_at(spec->mountpoint, &there, err);
        if (rc != 0) {
            return rc;
        }
        if (there.depth == 0 || !gfs_str_has_prefix(there.fstype, "fuse")) {
            return 0; /* free, or an ordinary file system's root to mount upon */
        }
        if (strcmp(there.fstype, spec->fstype) != 0) {
            return gfs_err_set(err, GFS_EEXIST, "%s is already a mount of type %s",
                               spec->mountpoint, there.fstype);
        }
        if (umount2(spec->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
            return gfs_err_set_errno(err, errno, "detaching the old mount at %s", spec->mountpoint);
        }
    }
    return gfs_err_set(err, GFS_EBUSY, "more than %d old mounts at %s", STALE_MAX,
                       spec->mountpoint);
}

static int make_mountpoint(const char *path, bool *out_made, struct gfs_err *err)
{
    char parent[GFS_KEEPER_PATH_MAX + 1];
    char *slash;
    int rc;

    if (mkdir(path, MOUNTPOINT_MODE) == 0) {
        *out_made = true;
        return 0;
    }
    if (errno == EEXIST) {
        return 0; /* if it is no directory mount(2) says so */
    }
    if (errno != ENOENT) {
        return gfs_err_set_errno(err, errno, "creating mountpoint %s", path);
    }
    rc = gfs_str_copy(parent, sizeof(parent), path);
    if (rc != 0) {
        return gfs_err_set(err, rc, "mountpoint");
    }
    slash = strrchr(parent, '/');
    *slash = '\0';
    rc = gfs_mkdirs(parent, MOUNTPOINT_MODE, err);
    if (rc != 0) {
        return rc;
    }
    if (mkdir(path, MOUNTPOINT_MODE) != 0) {
        return gfs_err_set_errno(err, errno, "creating mountpoint %s", path);
    }
    *out_made = true;
    return 0;
}

static int do_mount(int fd, const struct gfs_keeper_spec *spec, struct gfs_err *err)
{
    unsigned long flags = MS_NOSUID | MS_NODEV;
    char options[256];
    int n = snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0%s%s", fd,
                     (spec->options & GFS_KEEPER_ALLOW_OTHER) != 0 ? ",allow_other" : "",
                     (spec->options & GFS_KEEPER_DEFAULT_PERMISSIONS) != 0 ? ",default_permissions"
                                                                           : "");

    if (spec->max_read != 0) {
        (void)snprintf(options + n, sizeof(options) - (size_t)n, ",max_read=%u", spec->max_read);
    }
    if ((spec->options & GFS_KEEPER_READ_ONLY) != 0) {
        flags |= MS_RDONLY;
    }
    if (mount(spec->source, spec->mountpoint, spec->fstype, flags, options) != 0) {
        return gfs_err_set_errno(err, errno, "mounting %s at %s", spec->fstype, spec->mountpoint);
    }
    return 0;
}

/* The first request of every connection, before any other. */
static int record_init(int fd, struct gfs_session *session, struct gfs_err *err)
{
    char buf[READ_BUF_MIN];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint32_t opcode;
    ssize_t n;
    int ready;

    do {
        ready = poll(&p, 1, INIT_WAIT_MS);
    } while (ready < 0 && errno == EINTR);
    if (ready != 1 || (p.revents & POLLIN) == 0) {
        return gfs_err_set(err, GFS_EIO, "the kernel sent no FUSE INIT request");
    }
    n = read(fd, buf, sizeof(buf));
    if (n < 0) {
        return gfs_err_set_errno(err, errno, "reading the FUSE INIT request");
    }
    if ((size_t)n < 2 * sizeof(uint32_t) || (size_t)n > sizeof(session->init_request)) {
        return gfs_err_set(err, GFS_EPROTO, "FUSE INIT request of %zd bytes", n);
    }
    memcpy(&opcode, buf + sizeof(uint32_t), sizeof(opcode));
    if (opcode != OPCODE_INIT) {
        return gfs_err_set(err, GFS_EPROTO, "first FUSE request is %u, not INIT", opcode);
    }
    memcpy(session->init_request, buf, (size_t)n);
    session->init_len = (uint32_t)n;
    __atomic_store_n(&session->init_state, (uint32_t)GFS_SESSION_INIT_RECORDED, __ATOMIC_RELEASE);
    return 0;
}

int gfsi_fusedev_mount(const struct gfs_keeper_spec *spec, struct gfs_session *session,
                       struct gfsi_fusedev *out, struct gfs_err *err)
{
    struct gfsi_fusedev dev = {.fd = -1};
    struct gfsi_mounted there;
    int fd gfs_auto_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    int rc;

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "/dev/fuse (is the fuse module loaded?)");
    }
    rc = clear_stale(spec, err);
    if (rc == 0) {
        rc = make_mountpoint(spec->mountpoint, &dev.made_dir, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = do_mount(fd, spec, err);
    if (rc != 0) {
        goto fail_dir;
    }
    rc = record_init(fd, session, err);
    if (rc == 0) {
        rc = gfsi_mounted_at(spec->mountpoint, &there, err);
    }
    if (rc != 0) {
        goto fail_mount;
    }
    dev.minor = there.minor;
    dev.fd = GFS_TAKE_FD(fd);
    *out = dev;
    return 0;

fail_mount:
    (void)umount2(spec->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
fail_dir:
    if (dev.made_dir) {
        (void)rmdir(spec->mountpoint);
    }
    return rc;
}

int gfsi_fusedev_unmount(const struct gfsi_fusedev *dev, const char *mountpoint, bool lazy,
                         bool *out_detached, struct gfs_err *err)
{
    struct gfsi_mounted there;
    int rc = gfsi_mounted_at(mountpoint, &there, err);

    if (rc != 0) {
        return rc;
    }
    if (there.depth > 0 && there.minor != dev->minor && !lazy && gfsi_fusedev_alive(dev)) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s is covered by a mount of type %s",
                           mountpoint, there.fstype);
    }
    if (there.depth > 0 && there.minor == dev->minor && umount2(mountpoint, UMOUNT_NOFOLLOW) != 0) {
        if (errno == EBUSY && !lazy) {
            return gfs_err_set(err, GFS_EPRECONDITION, "%s is in use", mountpoint);
        }
        if (errno != EBUSY) {
            return gfs_err_set_errno(err, errno, "unmounting %s", mountpoint);
        }
        if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
            return gfs_err_set_errno(err, errno, "detaching %s", mountpoint);
        }
    }
    if (dev->made_dir && rmdir(mountpoint) != 0) {
        /* In use again, or not empty: then it is somebody else's now. */
        errno = 0;
    }
    /* Open files, or bind mounts elsewhere, keep the connection going. */
    *out_detached = gfsi_fusedev_alive(dev);
    return 0;
}

bool gfsi_fusedev_alive(const struct gfsi_fusedev *dev)
{
    struct pollfd p = {.fd = dev->fd, .events = 0};

    return poll(&p, 1, 0) <= 0 || (p.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

#define FUSECTL "/sys/fs/fuse/connections"

int64_t gfsi_fusedev_waiting(const struct gfsi_fusedev *dev)
{
    struct gfs_buf text gfs_auto_buf;
    char path[64];
    int64_t waiting = 0;

    gfs_buf_init(&text, 64);
    (void)snprintf(path, sizeof(path), FUSECTL "/%u/waiting", dev->minor);
    if (gfs_file_read(path, &text, NULL) != 0 || text.len == 0) {
        return -1;
    }
    text.data[strcspn(gfs_buf_str(&text), "\n")] = '\0';
    return gfs_parse_i64(text.data, 0, UINT32_MAX, &waiting) == 0 ? waiting : -1;
}

int gfsi_fusedev_abort(const struct gfsi_fusedev *dev, const char *mountpoint, struct gfs_err *err)
{
    struct gfsi_mounted there;
    char path[64];
    int fd gfs_auto_fd = -1;
    int rc;

    (void)snprintf(path, sizeof(path), FUSECTL "/%u/abort", dev->minor);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) == 1) {
        return 0;
    }
    /* Without fusectl: the unmount aborts first; where it fails as busy the abort was done. */
    rc = gfsi_mounted_at(mountpoint, &there, err);
    if (rc != 0) {
        return rc;
    }
    if (there.depth == 0 || there.minor != dev->minor) {
        return gfs_err_set(err, GFS_ENOENT, "not the top mount at %s", mountpoint);
    }
    (void)umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW);
    return gfsi_fusedev_alive(dev) ? gfs_err_set(err, GFS_EBUSY, "%s does not end", mountpoint) : 0;
}
