#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "node_priv.h"

#define STACK_MAX     64 /* mounts on one target */
#define BUSY_TRIES    3  /* before a busy mount is detached */
#define BUSY_PAUSE_NS (20 * GFS_NS_PER_MS)

/* One publish under way. */
struct publish {
    struct gfsi_node *node;
    const struct gfsi_request *request;
    struct gfsi_volume volume;
    struct gfsi_place target;
    bool symlink;
    bool created; /* the target directory is ours */
    bool mounted;
};

/* ---- what the journal says ---- */

static int check_other_targets(struct publish *p, struct gfs_err *err)
{
    const struct gfsi_request *rq = p->request;
    struct gfsi_use other;

    if (gfsi_journal_target_taken(p->node->journal, rq->volume_id, rq->path)) {
        return gfs_err_set(err, GFS_EEXIST, "another volume is published at this target");
    }
    if (gfsi_journal_find_other_use(p->node->journal, rq->volume_id, GFSI_PUBLISHED, rq->path,
                                    &other) < 0) {
        return 0;
    }
    if (!gfsi_mode_is_multi_target(rq->access_mode) ||
        !gfsi_mode_is_multi_target(other.access_mode)) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "the access mode allows one target only, and there is another");
    }
    if (strcmp(other.capability, rq->capability) != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "the volume is published elsewhere with another capability");
    }
    return 0;
}

/* Compares with what is known of the volume; fills p->volume. */
static int check_known(struct publish *p, struct gfs_err *err)
{
    const struct gfsi_request *rq = p->request;
    struct gfsi_volume known;
    struct gfsi_use use;

    gfsi_node_volume(rq, &p->volume);
    if (gfsi_journal_find_use(p->node->journal, rq->volume_id, GFSI_PUBLISHED, rq->path, &use) ==
            0 &&
        strcmp(use.digest, rq->digest) != 0) {
        return gfs_err_set(err, GFS_EEXIST, "the volume is published here with other parameters");
    }
    if (gfsi_journal_find(p->node->journal, rq->volume_id, &known) < 0) {
        return 0; /* the journal was lost; the request says all that is needed */
    }

    if (strcmp(known.fluid_path, p->volume.fluid_path) != 0 ||
        strcmp(known.sub_path, p->volume.sub_path) != 0 ||
        strcmp(known.mount_type, p->volume.mount_type) != 0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "the volume was staged from another path");
    }
    if (rq->staging[0] != '\0' &&
        gfsi_journal_count_uses(p->node->journal, rq->volume_id, GFSI_STAGED) > 0 &&
        gfsi_journal_find_use(p->node->journal, rq->volume_id, GFSI_STAGED, rq->staging, NULL) <
            0) {
        return gfs_err_set(err, GFS_EPRECONDITION, "the volume is not staged at %s", rq->staging);
    }
    return 0;
}

/* A publish after the journal was lost: kubelet believes the volume staged and will unstage it. */
static int remember_staging(struct publish *p, struct gfs_err *err)
{
    const struct gfsi_request *rq = p->request;
    struct gfsi_use use = {.access_mode = rq->access_mode};

    if (rq->staging[0] == '\0' ||
        gfsi_journal_count_uses(p->node->journal, rq->volume_id, GFSI_STAGED) > 0) {
        return 0;
    }
    memcpy(use.path, rq->staging, sizeof(use.path));
    return gfsi_journal_put(p->node->journal, &p->volume, GFSI_STAGED, &use, err);
}

/* ---- what the mount table says ---- */

/* Whether `at` shows what is to be published: the file system at `fuse`, at the sub path. */
static bool shows_volume(const struct publish *p, const struct gfs_mount_entry *fuse,
                         const struct gfs_mount_entry *at)
{
    char root[2 * GFSI_PATH_MAX];

    if (fuse == NULL || at->dev_major != fuse->dev_major || at->dev_minor != fuse->dev_minor) {
        return false;
    }
    if (p->volume.sub_path[0] == '\0') {
        return strcmp(at->root, fuse->root) == 0;
    }
    return gfs_path_join(root, sizeof(root), fuse->root, p->volume.sub_path) == 0 &&
           strcmp(at->root, root) == 0;
}

/* "ro" of the mount itself: the file system below may be read-only whatever was asked for. */
static bool is_read_only_mount(const struct gfs_mount_entry *entry)
{
    return gfs_str_has_prefix(entry->options, "ro") &&
           (entry->options[2] == '\0' || entry->options[2] == ',');
}

/* Whether the right mount is at the target, in the right way. 1: yes; 0: the target is free now;
 * what is there and does not belong there is put away first. */
static int settle_target(struct publish *p, const struct gfs_mounttable *table, struct gfs_err *err)
{
    const char *path = p->request->path;
    const struct gfs_mount_entry *fuse = gfs_mounttable_find(table, p->volume.fluid_path);
    const struct gfs_mount_entry *at = gfs_mounttable_find(table, path);
    bool ours =
        gfsi_journal_find_use(p->node->journal, p->volume.id, GFSI_PUBLISHED, path, NULL) == 0;

    if (at == NULL) {
        return 0;
    }
    if (!p->symlink && shows_volume(p, fuse, at)) {
        /* A copy of a read-only mount is read-only whatever was asked for. */
        if (is_read_only_mount(at) == (p->request->read_only || is_read_only_mount(fuse))) {
            return 1;
        }
        return gfs_err_set(err, GFS_EEXIST, "the volume is published here %s",
                           is_read_only_mount(at) ? "read-only" : "writable");
    }
    if (!ours && strcmp(at->fstype, p->volume.mount_type) != 0) {
        return gfs_err_set(err, GFS_EEXIST, "something else is mounted at %s", path);
    }

    /* A mount of a client that is gone for good (a new one has another file system below). */
    gfs_info("csi", "stale mount replaced", "volume=%s path=%s", GFS_Q(p->volume.id), GFS_Q(path));
    return gfsi_node_unmount_all(p->node, &p->target, path, err);
}

/* ---- binding ---- */

int gfsi_node_open_source(struct gfsi_node *node, const struct gfsi_volume *volume,
                          int64_t deadline, int *out_fd, struct gfs_err *err)
{
    struct gfsi_place place = GFSI_PLACE_INIT;
    int root gfs_auto_fd = -1;
    int64_t left = deadline - gfs_clock_mono();
    mode_t mode;
    int fd;
    int rc = gfsi_place_open(node->rules.mount_root, volume->fluid_path, &place, err);

    if (rc == 0) {
        rc = gfsi_place_open_leaf(&place, &root, err);
        gfsi_place_close(&place);
    }
    if (rc == GFS_ENOENT) {
        return gfs_err_wrap(err, GFS_EUNAVAIL, "fluid_path");
    }
    if (rc < 0) {
        return rc;
    }
    if (volume->sub_path[0] == '\0') {
        *out_fd = GFS_TAKE_FD(root);
        return 0;
    }

    /* Walking asks the file system, so another process does it. */
    rc = gfsi_prober_open(node->prober, root, volume->sub_path,
                          left < node->probe_ns ? left : node->probe_ns, &fd, &mode, err);
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "fluid_sub_path");
    }
    if (!S_ISDIR(mode)) {
        (void)close(fd);
        return gfs_err_set(err, GFS_ENOTDIR, "fluid_sub_path is not a directory");
    }
    *out_fd = fd;
    return 0;
}

/* A mount serves pods of many groups at once, so none can be made its owner. What the pod's group
 * needs is there when everybody may read; owners and modes below are the dataset's. */
static int check_group(struct publish *p, int source, int64_t deadline, struct gfs_err *err)
{
    int64_t left = deadline - gfs_clock_mono();
    int fd gfs_auto_fd = -1;
    mode_t mode = 0;
    int rc;

    if (!p->request->for_group) {
        return 0;
    }
    rc = gfsi_prober_open(p->node->prober, source, ".",
                          left < p->node->probe_ns ? left : p->node->probe_ns, &fd, &mode, err);
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "mode of the volume");
    }
    if ((mode & (S_IROTH | S_IXOTH)) != (S_IROTH | S_IXOTH)) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "volume_mount_group: the volume's mode %03o does not let others read",
                           (unsigned)(mode & 0777));
    }
    return 0;
}

static int verify(struct publish *p, struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *at;
    int rc = p->node->mounts.read(p->node->mounts.self, &table, err);

    if (rc < 0) {
        return rc;
    }
    at = gfs_mounttable_find(table, p->request->path);
    if (at == NULL || (p->request->read_only && !at->read_only)) {
        return gfs_err_set(err, GFS_EINTERNAL, "the mount at %s is not what was asked for",
                           p->request->path);
    }
    /* The mount at fluid_path may have gone just before it was opened: a bare directory is no
     * volume. */
    if (!p->request->attrs.skip_ready_check && strcmp(at->fstype, p->volume.mount_type) != 0) {
        return gfs_err_set(err, GFS_EUNAVAIL, "no %s is mounted at %s any more",
                           p->volume.mount_type, p->volume.fluid_path);
    }
    return 0;
}

static int bind_target(struct publish *p, int64_t deadline, struct gfs_err *err)
{
    int source gfs_auto_fd = -1;
    int target gfs_auto_fd = -1;
    struct gfsi_bind bind = {.source_path = p->volume.fluid_path,
                             .target_path = p->request->path,
                             .flags = p->request->flags};
    int rc = gfsi_node_open_source(p->node, &p->volume, deadline, &source, err);

    if (rc == 0) {
        rc = check_group(p, source, deadline, err);
    }
    if (rc == 0) {
        rc = gfsi_place_mkdir(&p->target, &p->created, err);
    }
    if (rc == 0) {
        rc = gfsi_place_open_leaf(&p->target, &target, err);
    }
    if (rc < 0) {
        return rc;
    }

    bind.source = source;
    bind.target = target;
    bind.flags.read_only = p->request->read_only;
    rc = p->node->mounts.bind(p->node->mounts.self, &bind, err);
    if (rc < 0) {
        return rc;
    }
    p->mounted = true;
    return verify(p, err);
}

/* Fluid's other method: a link to the mount itself, for nodes where binds do not propagate. */
static int link_target(struct publish *p, const struct gfs_mounttable *table, struct gfs_err *err)
{
    const struct gfs_mount_entry *fuse = gfs_mounttable_find(table, p->volume.fluid_path);
    char source[2 * GFSI_PATH_MAX];
    char now[2 * GFSI_PATH_MAX];
    ssize_t n;
    int rc;

    if (p->request->read_only && (fuse == NULL || !fuse->read_only)) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "a symbolic link cannot make a writable mount read-only");
    }
    if (p->volume.sub_path[0] == '\0') {
        rc = gfs_str_copy(source, sizeof(source), p->volume.fluid_path);
    } else {
        rc = gfs_path_join(source, sizeof(source), p->volume.fluid_path, p->volume.sub_path);
    }
    if (rc < 0) {
        return gfs_err_set(err, rc, "fluid_sub_path is too long");
    }

    n = readlinkat(p->target.parent, p->target.leaf, now, sizeof(now) - 1);
    if (n >= 0) {
        now[n] = '\0';
        if (strcmp(now, source) == 0) {
            return 0;
        }
    }
    rc = gfsi_place_remove(&p->target, err);
    if (rc < 0) {
        return rc;
    }
    if (symlinkat(source, p->target.parent, p->target.leaf) < 0) {
        return gfs_err_set_errno(err, errno, "link at %s", p->request->path);
    }
    p->created = true;
    return 0;
}

static int unmount_top(struct gfsi_node *node, const struct gfsi_place *place, const char *path,
                       struct gfs_err *err)
{
    for (int tries = 0; tries < BUSY_TRIES; tries++) {
        struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
        int rc = node->mounts.unmount(node->mounts.self, place, path, false, err);

        if (rc != GFS_EPRECONDITION) {
            return rc;
        }
        (void)nanosleep(&pause, NULL);
    }
    gfs_warn("csi", "busy mount detached", "path=%s", GFS_Q(path));
    return node->mounts.unmount(node->mounts.self, place, path, true, err);
}

static void undo_publish(struct publish *p)
{
    struct gfs_err why = GFS_ERR_INIT;
    int rc = 0;

    if (p->mounted) {
        /* Ours is the top one at the place, whatever the path to it is called by now. */
        rc = unmount_top(p->node, &p->target, p->request->path, &why);
    }
    if (rc == 0 && p->created) {
        rc = gfsi_place_remove(&p->target, &why);
    }
    if (rc < 0) {
        gfs_warn("csi", "publish not undone", "volume=%s path=%s error=%s", GFS_Q(p->volume.id),
                 GFS_Q(p->request->path), GFS_Q(gfs_err_text(&why, rc)));
    }
}

/* The part that needs the mount table and the target's parent directory. */
static int do_publish(struct publish *p, int64_t deadline, struct gfs_err *err)
{
    struct gfsi_node *node = p->node;
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    struct gfsi_use use;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc < 0 ||
        (rc = gfsi_path_check_way(table, node->rules.kubelet_root, p->request->path, err)) < 0 ||
        (rc = gfsi_place_open(node->rules.kubelet_root, p->request->path, &p->target, err)) < 0) {
        return rc == GFS_ENOENT ? gfs_err_wrap(err, GFS_EPRECONDITION, "target_path") : rc;
    }

    rc = settle_target(p, table, err);
    if (rc == 0) {
        rc = p->symlink ? link_target(p, table, err) : bind_target(p, deadline, err);
    }
    if (rc >= 0) {
        gfsi_node_use(p->request, &use);
        use.symlink = p->symlink;
        rc = remember_staging(p, err);
        if (rc == 0) {
            rc = gfsi_journal_put(node->journal, &p->volume, GFSI_PUBLISHED, &use, err);
        }
    }
    if (rc < 0) {
        undo_publish(p);
    }
    gfsi_place_close(&p->target);
    return rc;
}

int gfsi_node_publish(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                      struct gfs_err *err)
{
    struct publish p = {.node = node,
                        .request = request,
                        .target = GFSI_PLACE_INIT,
                        .symlink =
                            request->attrs.method == GFSI_METHOD_SYMLINK ||
                            (request->attrs.method == GFSI_METHOD_DEFAULT && node->symlink_method)};
    struct gfsi_hold target;
    int rc = gfsi_hold_take(&node->holds, &target, request->path, deadline, err);

    if (rc < 0) {
        return rc;
    }
    rc = check_known(&p, err);
    if (rc == 0) {
        rc = check_other_targets(&p, err);
    }
    if (rc == 0 && !request->attrs.skip_ready_check) {
        rc = gfsi_fuse_ensure(node, &p.volume, true, deadline, NULL, err);
    }
    if (rc == 0) {
        rc = do_publish(&p, deadline, err);
    }
    gfsi_hold_drop(&node->holds, &target);
    return rc;
}

/* ---- unpublish ---- */

int gfsi_node_unmount_all(struct gfsi_node *node, const struct gfsi_place *place, const char *path,
                          struct gfs_err *err)
{
    for (int unmounted = 0; unmounted <= STACK_MAX;) {
        struct gfs_mounttable *table gfs_auto_mounttable = NULL;
        int rc = node->mounts.read(node->mounts.self, &table, err);
        size_t depth;

        if (rc < 0) {
            return rc;
        }
        depth = gfs_mounttable_depth(table, path);
        if (depth == 0) {
            return 0;
        }
        for (; depth > 0 && unmounted <= STACK_MAX; depth--, unmounted++) {
            rc = unmount_top(node, place, path, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return gfs_err_set(err, GFS_EINTERNAL, "%s is still mounted after %d unmounts", path,
                       STACK_MAX);
}

static int do_unpublish(struct gfsi_node *node, const struct gfsi_request *request,
                        struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    struct gfsi_place place = GFSI_PLACE_INIT;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc == 0) {
        rc = gfsi_path_check_way(table, node->rules.kubelet_root, request->path, err);
    }
    if (rc < 0) {
        return rc;
    }

    rc = gfsi_place_open(node->rules.kubelet_root, request->path, &place, err);
    if (rc == GFS_ENOENT) {
        rc = 0; /* no parent, no target; nothing can be mounted there */
    } else if (rc == 0) {
        rc = gfs_mounttable_find(table, request->path) == NULL
                 ? 0
                 : gfsi_node_unmount_all(node, &place, request->path, err);
        if (rc == 0) {
            rc = gfsi_place_remove(&place, err);
        }
        gfsi_place_close(&place);
    }
    if (rc < 0) {
        return rc;
    }
    return gfsi_journal_drop(node->journal, request->volume_id, GFSI_PUBLISHED, request->path, err);
}

int gfsi_node_unpublish(struct gfsi_node *node, const struct gfsi_request *request,
                        int64_t deadline, struct gfs_err *err)
{
    struct gfsi_hold target;
    int rc = gfsi_hold_take(&node->holds, &target, request->path, deadline, err);

    if (rc < 0) {
        return rc;
    }
    rc = do_unpublish(node, request, err);
    gfsi_hold_drop(&node->holds, &target);
    return rc;
}
