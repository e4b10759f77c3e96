#include "sweep_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define HOLD_NS   (200 * GFS_NS_PER_MS) /* for an operation at the place; then next time */
#define KEEPER_NS GFS_NS_PER_S

/* As fuse_mount.c asks the keeper for it. */
static bool is_ours(const struct gfs_mount_entry *entry)
{
    return strcmp(entry->fstype, GFSI_GOOSEFS_TYPE) == 0 &&
           strcmp(entry->source, GFSI_GOOSEFS_SOURCE) == 0;
}

/* Skips one component; NULL when there is none, or another than `name` (NULL: any). */
static const char *skip(const char *path, const char *name)
{
    size_t len = path != NULL ? strcspn(path, "/") : 0;

    if (len == 0 || (name != NULL && (strncmp(path, name, len) != 0 || name[len] != '\0'))) {
        return NULL;
    }
    return path[len] == '/' ? path + len + 1 : path + len;
}

/* {kubelet root}/pods/UID/volumes/kubernetes.io~csi/PV/mount */
static bool is_target(const struct gfsi_node *node, const char *path)
{
    const char *at = gfsi_path_below(path, node->rules.kubelet_root);

    at = skip(skip(skip(at, "pods"), NULL), "volumes");
    at = skip(skip(skip(at, "kubernetes.io~csi"), NULL), "mount");
    return at != NULL && at[0] == '\0';
}

/* Kubelet keeps a file beside each target it knows, and will unpublish that. */
static bool kubelet_knows(const struct gfsi_place *place)
{
    return faccessat(place->parent, "vol_data.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           errno != ENOENT;
}

/* What is on top of `place` must be the file system of `entry`, and that must have ended. */
static bool has_ended(const struct gfsi_sweep *s, const struct gfsi_place *place,
                      const struct gfs_mount_entry *entry)
{
    int fd gfs_auto_fd = -1;
    struct statx st;

    return gfsi_place_open_leaf(place, &fd, NULL) == 0 &&
           statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
           st.stx_dev_major == entry->dev_major && st.stx_dev_minor == entry->dev_minor &&
           s->ask(s->arg, entry->dev_minor, fd) == GFS_EUNAVAIL;
}

static bool take_down(const struct gfsi_sweep *s, const struct gfsi_place *place,
                      const struct gfs_mount_entry *entry)
{
    struct gfs_err why = GFS_ERR_INIT;
    int rc = s->node->mounts.unmount(s->node->mounts.self, place, entry->target, true, &why);

    if (rc < 0) {
        gfs_warn("csi", "orphaned mount stays", "path=%s error=%s", GFS_Q(entry->target),
                 GFS_Q(gfs_err_text(&why, rc)));
        return false;
    }
    gfs_warn("csi", "orphaned mount taken down", "path=%s", GFS_Q(entry->target));
    return true;
}

bool gfsi_sweep_target(const struct gfsi_sweep *s, const struct gfs_mount_entry *entry)
{
    struct gfsi_node *node = s->node;
    struct gfsi_place place = GFSI_PLACE_INIT;
    struct gfsi_hold hold;
    bool gone = false;

    if (!is_ours(entry) || !is_target(node, entry->target) ||
        gfsi_path_check_way(s->table, node->rules.kubelet_root, entry->target, NULL) < 0 ||
        gfsi_hold_take(&node->holds, &hold, entry->target, gfs_clock_mono() + HOLD_NS, NULL) < 0) {
        return false;
    }
    /* Held: no publish is between its bind and its record. */
    if (gfsi_journal_find_target(node->journal, entry->target, NULL, NULL) == GFS_ENOENT &&
        gfsi_place_open(node->rules.kubelet_root, entry->target, &place, NULL) == 0) {
        gone = !kubelet_knows(&place) && has_ended(s, &place, entry) && take_down(s, &place, entry);
        if (gone) {
            (void)gfsi_place_remove(&place, NULL); /* unless another mount was below */
        }
        gfsi_place_close(&place);
    }
    gfsi_hold_drop(&node->holds, &hold);
    return gone;
}

/* ---- below the mount root ---- */

/* With the path held. */
static bool sweep_held(const struct gfsi_sweep *s, const struct gfs_mount_entry *entry)
{
    struct gfsi_place place = GFSI_PLACE_INIT;
    bool gone;

    if (gfsi_journal_shares_mount(s->node->journal, "", entry->target) ||
        gfsi_place_open(s->node->rules.mount_root, entry->target, &place, NULL) < 0) {
        return false;
    }
    gone = has_ended(s, &place, entry) && take_down(s, &place, entry);
    gfsi_place_close(&place);
    return gone;
}

/* 1: gone; 0: stays; GFS_EUNAVAIL: the keeper does not answer. */
static int sweep_origin(const struct gfsi_sweep *s, const struct gfs_mount_entry *entry)
{
    struct gfsi_node *node = s->node;
    char id[GFS_KEEPER_ID_MAX + 1];
    struct gfsi_hold hold;
    uint32_t state;
    int rc;

    gfsi_fuse_keeper_id(node->rules.mount_root, entry->target, id);
    if (strchr(id, '.') == NULL || /* no runtime's path */
        gfsi_path_check_way(s->table, node->rules.mount_root, entry->target, NULL) < 0 ||
        gfsi_hold_take(&node->holds, &hold, entry->target, gfs_clock_mono() + HOLD_NS, NULL) < 0) {
        return 0;
    }
    rc = node->keeper.state(node->keeper.self, id, gfs_clock_mono() + KEEPER_NS, &state, NULL);
    if (rc == GFS_ENOENT) {
        rc = sweep_held(s, entry) ? 1 : 0;
    } else {
        rc = rc == 0 ? 0 : GFS_EUNAVAIL;
    }
    gfsi_hold_drop(&node->holds, &hold);
    return rc;
}

int gfsi_sweep_origins(const struct gfsi_sweep *s)
{
    struct gfsi_node *node = s->node;
    int gone = 0;

    if (node->keeper.mount == NULL) {
        return 0; /* fuse pods mount, and clean up, by themselves */
    }
    for (size_t i = 0; i < gfs_mounttable_count(s->table); i++) {
        const struct gfs_mount_entry *entry = gfs_mounttable_at(s->table, i);
        int rc;

        if (!is_ours(entry) || gfsi_path_below(entry->target, node->rules.mount_root) == NULL ||
            gfs_mounttable_find(s->table, entry->target) != entry ||
            gfsi_journal_shares_mount(node->journal, "", entry->target)) {
            continue;
        }
        rc = sweep_origin(s, entry);
        if (rc < 0) {
            return rc;
        }
        gone += rc;
    }
    return gone;
}
