/* The mount table of this process's mount namespace, and the few changes the project makes to it:
 * bind mounts and unmounts, each verified against the table.
 *
 * Reading goes through libmount (which decodes the kernel's escapes); paths are compared as text,
 * exactly and by whole components, and never canonicalised: canonicalising would stat the path, and
 * a stat on a dead or hung FUSE mount fails or blocks. So callers pass absolute, normalised paths
 * without symbolic links. No function here sends a request to a mounted FUSE file system's root or
 * below, except where said.
 *
 * Thread: any; a table is immutable once read. */
#ifndef GFS_MOUNTER_MOUNTTABLE_H
#define GFS_MOUNTER_MOUNTTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_mounttable;

/* One line of mountinfo, decoded. Texts live as long as the table. */
struct gfs_mount_entry {
    int id, parent;
    unsigned dev_major, dev_minor; /* of a FUSE mount, minor = /sys/fs/fuse/connections/MINOR */
    const char *root; /* what of the file system is mounted here; "/" unless a bind of a part */
    const char *target;
    const char *fstype;     /* "fuse.goosefs-fuse" */
    const char *source;     /* "" when none */
    const char *options;    /* of this mount: "ro,nosuid,..." */
    const char *fs_options; /* of the file system */
    bool read_only;         /* this mount or the file system */
    bool deleted;           /* the mountpoint was removed ("//deleted") */
};

/* A snapshot of /proc/self/mountinfo, or of `file` when not NULL (tests). */
int gfs_mounttable_read(const char *file, struct gfs_mounttable **out, struct gfs_err *err);
struct gfs_mounttable *gfs_mounttable_free(struct gfs_mounttable *table);

/* Frees the table at the end of the scope: struct gfs_mounttable *t gfs_auto_mounttable = NULL; */
#define gfs_auto_mounttable __attribute__((cleanup(gfs_mounttable_auto)))
static inline void gfs_mounttable_auto(struct gfs_mounttable **table)
{
    (void)gfs_mounttable_free(*table);
}

/* In the order of the table (older first). */
size_t gfs_mounttable_count(const struct gfs_mounttable *table);
const struct gfs_mount_entry *gfs_mounttable_at(const struct gfs_mounttable *table, size_t i);

/* The top mount at exactly `target`, NULL when nothing is mounted there. */
const struct gfs_mount_entry *gfs_mounttable_find(const struct gfs_mounttable *table,
                                                  const char *target);
/* How many mounts are stacked at exactly `target`. */
size_t gfs_mounttable_depth(const struct gfs_mounttable *table, const char *target);

/* Mounts at or below `prefix` (whole components: /a/b is not below /a/bc), newest first, which is
 * an order safe for unmounting. Stops when `each` returns false. */
typedef bool (*gfs_mount_each_fn)(void *arg, const struct gfs_mount_entry *entry);
void gfs_mounttable_below(const struct gfs_mounttable *table, const char *prefix,
                          gfs_mount_each_fn each, void *arg);

/* Reads the table and tells whether the top mount at `target` has `fstype` (NULL: any). */
int gfs_mount_is_mounted(const char *target, const char *fstype, bool *out, struct gfs_err *err);

struct gfs_bind {
    const char *source;   /* what to show: a mount root, or a directory or file below one */
    const char *target;   /* must exist, of the same kind (directory or file) */
    const char *sub_path; /* "" or a relative path below source; symbolic links and ".." that lead
                             out of source are refused (openat2 RESOLVE_BENEATH); walking it asks
                             the file system below, so only this can wait for it */
    bool read_only;
    bool nosuid, nodev, noexec, noatime;
};

/* Bind mount: the attributes are set before the mount becomes visible, so a read-only one is never
 * writable for a moment (open_tree, mount_setattr, move_mount; on kernels before 5.12 bind and
 * remount). GFS_ENOENT: source or target missing; GFS_ENOTDIR/GFS_EISDIR: kinds differ. Stacks on
 * what is at `target`: look first. */
int gfs_mount_bind(const struct gfs_bind *bind, struct gfs_err *err);

enum gfs_unmount_flag {
    GFS_UNMOUNT_LAZY = 1u << 0, /* when busy: detach, so that the path is free at once */
    GFS_UNMOUNT_ALL = 1u << 1,  /* the whole stack at `target`, not the top only; at most 64 */
};

/* Unmounts and verifies by the table. Success when nothing was mounted there. GFS_EPRECONDITION:
 * busy and not lazy. Never follows a symbolic link at `target`. */
int gfs_mount_unmount(const char *target, unsigned flags, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
