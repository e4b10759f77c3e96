#include <gfs/mounter/mounttable.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <libmount.h>

#include <gfs/base/str.h>

#define TABLE_MAX   100000 /* entries; the kernel's fs.mount-max is the same */
#define UNMOUNT_MAX 64     /* layers taken off one target */

static const char deleted_suffix[] = "//deleted";

struct gfs_mounttable {
    struct libmnt_table *table; /* owns all texts but `targets` */
    struct gfs_mount_entry *entries;
    char **targets; /* targets with "//deleted" cut off; mostly NULL */
    size_t count;
};

struct gfs_mounttable *gfs_mounttable_free(struct gfs_mounttable *table)
{
    size_t i;

    if (table == NULL) {
        return NULL;
    }
    for (i = 0; table->targets != NULL && i < table->count; i++) {
        free(table->targets[i]);
    }
    free(table->targets);
    free(table->entries);
    mnt_unref_table(table->table);
    free(table);
    return NULL;
}

static const char *or_empty(const char *s)
{
    return s != NULL ? s : "";
}

/* "ro" as a whole item of a comma-separated list. */
static bool has_ro(const char *options)
{
    char *value;
    size_t len;

    return mnt_optstr_get_option(options, "ro", &value, &len) == 0;
}

static int fill_entry(struct gfs_mounttable *t, struct libmnt_fs *fs)
{
    struct gfs_mount_entry *e = &t->entries[t->count];
    dev_t dev = mnt_fs_get_devno(fs);

    *e = (struct gfs_mount_entry){
        .id = mnt_fs_get_id(fs),
        .parent = mnt_fs_get_parent_id(fs),
        .dev_major = major(dev),
        .dev_minor = minor(dev),
        .root = or_empty(mnt_fs_get_root(fs)),
        .target = or_empty(mnt_fs_get_target(fs)),
        .fstype = or_empty(mnt_fs_get_fstype(fs)),
        .source = or_empty(mnt_fs_get_source(fs)),
        .options = or_empty(mnt_fs_get_vfs_options(fs)),
        .fs_options = or_empty(mnt_fs_get_fs_options(fs)),
    };
    e->read_only = has_ro(e->options) || has_ro(e->fs_options);
    if (gfs_str_has_suffix(e->target, deleted_suffix)) {
        t->targets[t->count] = strndup(e->target, strlen(e->target) - (sizeof(deleted_suffix) - 1));
        if (t->targets[t->count] == NULL) {
            return GFS_ENOMEM;
        }
        e->target = t->targets[t->count];
        e->deleted = true;
    }
    t->count++;
    return 0;
}

static int fill(struct gfs_mounttable *t, struct gfs_err *err)
{
    int n = mnt_table_get_nents(t->table);
    struct libmnt_iter *it;
    struct libmnt_fs *fs;
    int rc = 0;

    if (n > TABLE_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "mount table has more than %d entries", TABLE_MAX);
    }
    t->entries = calloc((size_t)n + 1, sizeof(*t->entries));
    t->targets = calloc((size_t)n + 1, sizeof(*t->targets));
    it = mnt_new_iter(MNT_ITER_FORWARD);
    if (t->entries == NULL || t->targets == NULL || it == NULL) {
        rc = GFS_ENOMEM;
    }
    while (rc == 0 && t->count < (size_t)n && mnt_table_next_fs(t->table, it, &fs) == 0) {
        rc = fill_entry(t, fs);
    }
    mnt_free_iter(it);
    return rc == 0 ? 0 : gfs_err_set(err, rc, "mount table");
}

int gfs_mounttable_read(const char *file, struct gfs_mounttable **out, struct gfs_err *err)
{
    const char *path = file != NULL ? file : "/proc/self/mountinfo";
    struct gfs_mounttable *t = calloc(1, sizeof(*t));
    int rc;

    if (t == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "mount table");
    }
    t->table = mnt_new_table();
    if (t->table == NULL) {
        rc = gfs_err_set(err, GFS_ENOMEM, "mount table");
        goto fail;
    }
    /* No cache is set on the table, so libmount never canonicalises (never stats) a path. */
    errno = 0;
    rc = mnt_table_parse_file(t->table, path);
    if (rc != 0) {
        rc = gfs_err_set_errno(err, rc < 0 ? -rc : EIO, "reading %s", path);
        goto fail;
    }
    rc = fill(t, err);
    if (rc != 0) {
        goto fail;
    }
    *out = t;
    return 0;

fail:
    (void)gfs_mounttable_free(t);
    return rc;
}

size_t gfs_mounttable_count(const struct gfs_mounttable *table)
{
    return table->count;
}

const struct gfs_mount_entry *gfs_mounttable_at(const struct gfs_mounttable *table, size_t i)
{
    return i < table->count ? &table->entries[i] : NULL;
}

static bool is_at(const struct gfs_mount_entry *e, const char *target)
{
    return !e->deleted && strcmp(e->target, target) == 0;
}

const struct gfs_mount_entry *gfs_mounttable_find(const struct gfs_mounttable *table,
                                                  const char *target)
{
    size_t i;

    /* A mount stacked on another comes later in the table. */
    for (i = table->count; i > 0; i--) {
        if (is_at(&table->entries[i - 1], target)) {
            return &table->entries[i - 1];
        }
    }
    return NULL;
}

size_t gfs_mounttable_depth(const struct gfs_mounttable *table, const char *target)
{
    size_t depth = 0;
    size_t i;

    for (i = 0; i < table->count; i++) {
        depth += is_at(&table->entries[i], target) ? 1 : 0;
    }
    return depth;
}

static bool is_below(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);

    if (strcmp(prefix, "/") == 0) {
        return true;
    }
    return strncmp(path, prefix, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

void gfs_mounttable_below(const struct gfs_mounttable *table, const char *prefix,
                          gfs_mount_each_fn each, void *arg)
{
    size_t i;

    for (i = table->count; i > 0; i--) {
        const struct gfs_mount_entry *e = &table->entries[i - 1];

        if (is_below(e->target, prefix) && !each(arg, e)) {
            return;
        }
    }
}

int gfs_mount_is_mounted(const char *target, const char *fstype, bool *out, struct gfs_err *err)
{
    const struct gfs_mount_entry *e;
    struct gfs_mounttable *t;
    int rc = gfs_mounttable_read(NULL, &t, err);

    if (rc != 0) {
        return rc;
    }
    e = gfs_mounttable_find(t, target);
    *out = e != NULL && (fstype == NULL || strcmp(e->fstype, fstype) == 0);
    (void)gfs_mounttable_free(t);
    return 0;
}

/* One layer. umount2 sends nothing to a FUSE file system: without MNT_FORCE it only drops the mount
 * (and UMOUNT_NOFOLLOW keeps a swapped-in symbolic link from redirecting it). */
static int unmount_top(const char *target, unsigned flags, struct gfs_err *err)
{
    if (umount2(target, UMOUNT_NOFOLLOW) == 0) {
        return 0;
    }
    if (errno == EBUSY && (flags & GFS_UNMOUNT_LAZY) == 0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s is in use", target);
    }
    if (errno == EINVAL || errno == ENOENT) {
        return 0; /* somebody else was faster: the table decides */
    }
    if (errno != EBUSY) {
        return gfs_err_set_errno(err, errno, "unmounting %s", target);
    }
    if (umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) != 0 && errno != EINVAL) {
        return gfs_err_set_errno(err, errno, "detaching %s", target);
    }
    return 0;
}

static int depth_now(const char *target, size_t *out, struct gfs_err *err)
{
    struct gfs_mounttable *t;
    int rc = gfs_mounttable_read(NULL, &t, err);

    if (rc == 0) {
        *out = gfs_mounttable_depth(t, target);
        (void)gfs_mounttable_free(t);
    }
    return rc;
}

int gfs_mount_unmount(const char *target, unsigned flags, struct gfs_err *err)
{
    size_t depth;
    size_t want;
    int tries;
    int rc = depth_now(target, &depth, err);

    if (rc != 0 || depth == 0) {
        return rc;
    }
    want = (flags & GFS_UNMOUNT_ALL) != 0 ? 0 : depth - 1;
    for (tries = 0; tries < UNMOUNT_MAX && depth > want; tries++) {
        rc = unmount_top(target, flags, err);
        if (rc == 0) {
            rc = depth_now(target, &depth, err);
        }
        if (rc != 0) {
            return rc;
        }
    }
    if (depth > want) {
        return gfs_err_set(err, GFS_EBUSY, "%s is still mounted after %d unmounts", target, tries);
    }
    return 0;
}
