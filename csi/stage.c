#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "generation_priv.h"

int gfsi_node_run(void *user, const struct gfsi_request *request, int64_t deadline,
                  struct gfs_err *err)
{
    static const char *const names[] = {"stage", "unstage", "publish", "unpublish"};
    struct gfsi_node *node = user;

    gfs_debug("csi", "operation runs", "op=%s volume=%s", names[request->kind],
              GFS_Q(request->volume_id));
    switch (request->kind) {
    case GFSI_STAGE: return gfsi_node_stage(node, request, deadline, err);
    case GFSI_UNSTAGE: return gfsi_node_unstage(node, request, deadline, err);
    case GFSI_PUBLISH: return gfsi_node_publish(node, request, deadline, err);
    case GFSI_UNPUBLISH: return gfsi_node_unpublish(node, request, deadline, err);
    }
    return gfs_err_set(err, GFS_EINTERNAL, "unknown operation");
}

void gfsi_node_volume(const struct gfsi_request *request, struct gfsi_volume *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->id, request->volume_id, sizeof(out->id));
    memcpy(out->fluid_path, request->attrs.fluid_path, sizeof(out->fluid_path));
    memcpy(out->sub_path, request->attrs.sub_path, sizeof(out->sub_path));
    memcpy(out->mount_type, request->attrs.mount_type, sizeof(out->mount_type));
    memcpy(out->label_key, request->attrs.label_key, sizeof(out->label_key));
    out->clean_policy = request->attrs.clean_policy;
}

void gfsi_node_use(const struct gfsi_request *request, struct gfsi_use *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->path, request->path, sizeof(out->path));
    memcpy(out->digest, request->digest, sizeof(out->digest));
    memcpy(out->capability, request->capability, sizeof(out->capability));
    out->access_mode = request->access_mode;
    out->read_only = request->read_only;
}

/* ---- stage ---- */

/* Is the volume staged already, and then with the same parameters? Fills `volume`. */
static int check_staged(struct gfsi_node *node, const struct gfsi_request *request,
                        struct gfsi_volume *volume, struct gfs_err *err)
{
    struct gfsi_volume known;
    struct gfsi_use use;

    gfsi_node_volume(request, volume);
    if (gfsi_journal_find(node->journal, request->volume_id, &known) < 0) {
        return 0;
    }
    if (strcmp(known.fluid_path, volume->fluid_path) != 0 ||
        strcmp(known.sub_path, volume->sub_path) != 0 ||
        strcmp(known.mount_type, volume->mount_type) != 0) {
        return gfs_err_set(err, GFS_EEXIST, "the volume is staged from another path");
    }
    /* An empty digest is that of a staging learnt from a publish, after the journal was lost. */
    if (gfsi_journal_find_use(node->journal, request->volume_id, GFSI_STAGED, request->path,
                              &use) == 0 &&
        use.digest[0] != '\0' && strcmp(use.digest, request->digest) != 0) {
        return gfs_err_set(err, GFS_EEXIST,
                           "the volume is staged here with other parameters or capabilities");
    }
    return 0;
}

static int set_label(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline,
                     struct gfs_err *err)
{
    if (node->labeler == NULL || volume->label_key[0] == '\0') {
        return 0;
    }
    return node->labeler->set(node->labeler->self, volume->label_key, deadline, err);
}

static bool is_mounted(const struct gfsi_node *node, const struct gfsi_volume *volume)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *entry;

    if (node->mounts.read(node->mounts.self, &table, NULL) < 0) {
        return false;
    }
    entry = gfs_mounttable_find(table, volume->fluid_path);
    return entry != NULL && strcmp(entry->fstype, volume->mount_type) == 0;
}

/* A final error leaves nothing: what only this stage brought goes. */
static void undo_stage(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline)
{
    struct gfs_err why = GFS_ERR_INIT;
    int rc;

    if (gfsi_journal_find(node->journal, volume->id, NULL) == 0) {
        return;
    }
    rc = gfsi_fuse_clean(node, volume, deadline, &why);
    if (rc < 0) {
        gfs_warn("csi", "stage not undone", "volume=%s error=%s", GFS_Q(volume->id),
                 GFS_Q(gfs_err_text(&why, rc)));
    }
}

int gfsi_node_stage(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                    struct gfs_err *err)
{
    struct gfsi_volume volume;
    struct gfsi_use use;
    struct gfs_err why = GFS_ERR_INIT;
    bool made = false;
    int rc = check_staged(node, request, &volume, err);
    int labelled;

    if (rc < 0) {
        return rc;
    }

    /* In pod mode the label is what makes a fuse pod start: before waiting for anything. Where a
     * pod is already, an API server that is away keeps nobody waiting. */
    labelled = set_label(node, &volume, deadline, &why);
    if (labelled < 0) {
        gfs_warn("csi", "node not labelled", "volume=%s error=%s", GFS_Q(volume.id),
                 GFS_Q(gfs_err_text(&why, labelled)));
    }
    rc = gfsi_fuse_ensure(node, &volume, false, deadline, &made, err);
    if (rc == 0 && labelled < 0 && !is_mounted(node, &volume)) {
        rc = gfs_err_set(err, labelled, "%s", gfs_err_text(&why, labelled));
    }
    if (rc == 0) {
        gfsi_node_use(request, &use);
        rc = gfsi_journal_put(node->journal, &volume, GFSI_STAGED, &use, err);
    }
    if (rc < 0 && (made || node->labeler != NULL)) {
        undo_stage(node, &volume, deadline);
    }
    return rc;
}

/* ---- unstage ---- */

/* Whether what the journal says of a target is so: its mount, or its link. */
static bool is_there(const struct gfsi_node *node, const struct gfs_mounttable *table,
                     const struct gfsi_use *use)
{
    struct gfsi_place place = GFSI_PLACE_INIT;
    enum gfsi_leaf leaf = GFSI_LEAF_NONE;

    if (!use->symlink || gfs_mounttable_find(table, use->path) != NULL) {
        return gfs_mounttable_find(table, use->path) != NULL;
    }
    if (gfsi_path_check_way(table, node->rules.kubelet_root, use->path, NULL) < 0 ||
        gfsi_place_open(node->rules.kubelet_root, use->path, &place, NULL) < 0) {
        return false;
    }
    (void)gfsi_place_leaf(&place, &leaf, NULL);
    gfsi_place_close(&place);
    return leaf == GFSI_LEAF_SYMLINK;
}

/* Targets in the journal that are not there any more (kubelet unpublished while the plugin was
 * away, or a reboot of a container) do not count. */
static int check_unpublished(struct gfsi_node *node, const char *id, struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    struct gfsi_use use;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc < 0) {
        return rc;
    }
    while (gfsi_journal_find_other_use(node->journal, id, GFSI_PUBLISHED, "", &use) == 0) {
        if (is_there(node, table, &use)) {
            return gfs_err_set(err, GFS_EPRECONDITION, "the volume is still published at %s",
                               use.path);
        }
        rc = gfsi_journal_drop(node->journal, id, GFSI_PUBLISHED, use.path, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static bool is_to_clean(struct gfsi_node *node, const struct gfsi_volume *volume)
{
    switch (volume->clean_policy) {
    case GFS_CSI_CLEAN_ON_RUNTIME_DELETED: return false;
    case GFS_CSI_CLEAN_ON_DEMAND: return true;
    case GFS_CSI_CLEAN_ON_FUSE_CHANGED: return gfsi_generation_changed(node, volume);
    }
    return false;
}

/* With the label held, so that nobody who misses it sets it again before the record is gone. */
static int clean_and_forget(struct gfsi_node *node, const struct gfsi_volume *volume,
                            const char *path, int64_t deadline, struct gfs_err *err)
{
    struct gfsi_hold label;
    bool labelled = node->labeler != NULL && volume->label_key[0] != '\0';
    int rc = labelled ? gfsi_hold_take(&node->holds, &label, volume->label_key, deadline, err) : 0;

    if (rc < 0) {
        return rc;
    }
    rc = gfsi_fuse_clean(node, volume, deadline, err);
    if (rc == 0) {
        rc = gfsi_journal_drop(node->journal, volume->id, GFSI_STAGED, path, err);
    }
    if (labelled) {
        gfsi_hold_drop(&node->holds, &label);
    }
    return rc;
}

int gfsi_node_unstage(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                      struct gfs_err *err)
{
    struct gfsi_volume volume;
    bool last;
    int rc;

    if (gfsi_journal_find_use(node->journal, request->volume_id, GFSI_STAGED, request->path, NULL) <
            0 ||
        gfsi_journal_find(node->journal, request->volume_id, &volume) < 0) {
        return 0; /* not staged here: what was asked for */
    }

    last = gfsi_journal_count_uses(node->journal, request->volume_id, GFSI_STAGED) == 1;
    if (last) {
        rc = check_unpublished(node, request->volume_id, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (last && is_to_clean(node, &volume)) {
        return clean_and_forget(node, &volume, request->path, deadline, err);
    }
    return gfsi_journal_drop(node->journal, request->volume_id, GFSI_STAGED, request->path, err);
}

/* ---- start ---- */

struct sweep {
    const struct gfsi_node *node;
    const struct gfs_mounttable *table;
};

static bool keep_use(void *arg, const struct gfsi_volume *volume, const struct gfsi_use *use)
{
    const struct sweep *sweep = arg;

    (void)volume;
    return is_there(sweep->node, sweep->table, use);
}

int gfsi_node_reconcile(struct gfsi_node *node, struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc < 0) {
        return rc;
    }
    gfsi_generation_sweep(node, table);
    gfsi_journal_sweep(node->journal, keep_use, &(struct sweep){.node = node, .table = table});
    return 0;
}
