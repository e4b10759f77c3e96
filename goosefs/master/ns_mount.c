/* Applying changes of the mount table and the settings. */
#include "ns_store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_PER_MS_BITS 20 /* more are never given out in a millisecond */

/* How far a path exists: its deepest known directory and the first missing name. */
struct place {
    struct gfsi_inode dir;
    const char *missing; /* "" when the whole path exists */
};

static int find_place(struct gfsi_tx *tx, const char *path, struct place *out)
{
    const char *p = path;
    int rc = gfsi_tx_inode(tx, GFSI_ROOT_ID, &out->dir);

    out->missing = "";
    while (rc == 0 && *p == '/' && p[1] != '\0') {
        struct gfsi_str name = {p + 1, strcspn(p + 1, "/")};
        struct gfsi_inode child;

        if ((out->dir.flags & GFSI_DIRECTORY) == 0) {
            return GFS_ENOTDIR;
        }

        rc = gfsi_tx_child(tx, out->dir.id, name, &child);
        if (rc == GFS_ENOENT) {
            out->missing = name.s;
            return 0;
        }

        out->dir = child;
        p = name.s + name.len;
    }

    return rc;
}

static int put_mount(struct gfsi_tx *tx, const struct gfsi_op *op, uint64_t inode_id,
                     uint32_t mount_id)
{
    struct gfsi_mount *mount = calloc(1, sizeof(*mount));
    struct gfs_buf rec gfs_auto_buf;
    uint8_t key[8];
    int rc;

    gfs_buf_init(&rec, GFSI_MOUNT_REC_MAX);
    if (mount == NULL) {
        tx->failure = ENOMEM;
        return GFSI_STORE_FAILED;
    }

    mount->id = mount_id;
    mount->inode_id = inode_id;
    mount->read_only = op->read_only;
    mount->shared = op->shared;
    mount->path = op->path;
    mount->uri = op->uri;
    mount->n_props = op->n_props;
    memcpy(mount->props, op->props, op->n_props * sizeof(op->props[0]));
    rc = gfsi_mount_encode(mount, &rec);
    free(mount);
    if (rc != 0) {
        tx->failure = ENOMEM;
        return GFSI_STORE_FAILED;
    }

    gfsi_be64(key, mount_id);
    return gfsi_tx_put(tx, GFSI_T_MOUNT, key, sizeof(key), rec.data, rec.len);
}

static int count_mounts(struct gfsi_tx *tx, size_t *out)
{
    MDB_stat stat;
    int rc = mdb_stat(tx->txn, tx->env->table[GFSI_T_MOUNT], &stat);

    if (rc != 0) {
        tx->failure = rc;
        return GFSI_STORE_FAILED;
    }

    *out = stat.ms_entries;
    return 0;
}

/* Makes the missing parents of `path` and the mount point itself below `place`. */
static int make_mount_point(struct gfsi_tx *tx, const struct gfsi_op *op, struct place *place,
                            uint32_t mount_id, uint64_t *out_id)
{
    const char *p = place->missing;
    uint64_t parent = place->dir.id;

    for (;;) {
        struct gfsi_inode inode = {
            .parent_id = parent,
            .ctime_ms = op->time_ms,
            .mtime_ms = op->time_ms,
            .mode = 0755,
            .name = {p, strcspn(p, "/")},
        };
        bool last = p[inode.name.len] == '\0';
        int rc;

        inode.flags =
            last ? GFSI_DIRECTORY | GFSI_MOUNT_POINT : GFSI_DIRECTORY | GFSI_LOCAL | GFSI_LOADED;
        inode.mount_id = last ? mount_id : 0;
        rc = gfsi_tx_create(tx, &inode);
        rc = rc != 0 ? rc : gfsi_tx_count(tx, parent, 1);
        if (rc != 0) {
            return rc;
        }

        if (last) {
            *out_id = inode.id;
            return 0;
        }

        parent = inode.id;
        p += inode.name.len + 1;
    }
}

/* "/" is there already: it becomes a mount point in place; nested mounts in it stay. */
static int make_root_mount(struct gfsi_tx *tx, struct gfsi_inode *root, uint32_t mount_id)
{
    root->flags = (root->flags & ~(uint32_t)(GFSI_LOADED | GFSI_LOCAL)) | GFSI_MOUNT_POINT;
    root->mount_id = mount_id;
    root->synced_ms = 0;
    return gfsi_tx_put_inode(tx, root);
}

/* Where the numbers of a namespace begin: with its first mount, at that mount's time. One founded
 * anew, its journal lost, so has other inode ids than the one before and a higher epoch: clients
 * and workers that outlived it hold ids that mean nothing now, not ones that mean another file. */
static void begin_numbers(struct gfsi_state *state, int64_t time_ms)
{
    uint64_t base = time_ms > 0 ? (uint64_t)time_ms << NUMBERS_PER_MS_BITS : 0;

    if (state->next_mount_id == 1 && base > state->next_id && base <= (uint64_t)INT64_MAX) {
        state->next_id = base;
        state->mounts_epoch = base;
    }
}

int64_t gfsi_apply_mount(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    bool at_root = strcmp(op->path, "/") == 0;
    uint32_t mount_id = (uint32_t)tx->state.next_mount_id;
    struct place place;
    uint64_t inode_id = GFSI_ROOT_ID;
    size_t mounts;
    int rc = find_place(tx, op->path, &place);

    rc = rc != 0 ? rc : count_mounts(tx, &mounts);
    if (rc != 0) {
        return rc;
    }

    if (at_root ? (place.dir.flags & GFSI_MOUNT_POINT) != 0 : *place.missing == '\0') {
        return GFS_EEXIST;
    }

    if (!at_root && (place.dir.flags & GFSI_DIRECTORY) == 0) {
        return GFS_ENOTDIR;
    }

    /* Parents are made where no UFS is; below a mount they have to exist at the origin. */
    if (strchr(place.missing, '/') != NULL && place.dir.mount_id != 0) {
        return GFS_ENOENT;
    }

    if (mounts >= GFSI_MOUNTS_MAX) {
        return GFS_ERANGE;
    }

    if (op->begins_numbers) {
        begin_numbers(&tx->state, op->time_ms);
    }
    tx->state.next_mount_id++;
    tx->state.mounts_epoch++;
    rc = at_root ? make_root_mount(tx, &place.dir, mount_id)
                 : make_mount_point(tx, op, &place, mount_id, &inode_id);
    rc = rc != 0 ? rc : put_mount(tx, op, inode_id, mount_id);
    return rc != 0 ? rc : (int64_t)mount_id;
}

/* Whether another mount lies below `inode`: 1 or 0. */
static int has_nested(struct gfsi_tx *tx, uint64_t inode)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val rec;
    int rc = mdb_cursor_open(tx->txn, tx->env->table[GFSI_T_MOUNT], &cursor);

    if (rc != 0) {
        tx->failure = rc;
        return GFSI_STORE_FAILED;
    }

    rc = 0;
    while (rc == 0) {
        int found = mdb_cursor_get(cursor, &key, &rec, MDB_NEXT);
        struct gfsi_inode at;
        uint64_t id;

        if (found != 0 || rec.mv_size < 20) {
            tx->failure = found;
            rc = found == MDB_NOTFOUND ? 0 : GFSI_STORE_FAILED;
            break;
        }

        id = gfsi_mount_inode(&rec);
        while (rc == 0 && id != GFSI_ROOT_ID && id != inode) {
            rc = gfsi_tx_inode(tx, id, &at);
            id = at.parent_id;
            rc = rc == 0 && id == inode ? 1 : rc;
        }
    }

    mdb_cursor_close(cursor);
    return rc;
}

/* Takes away what the root's mount brought; other mounts and their parents stay. */
static int unmount_root(struct gfsi_tx *tx)
{
    struct gfsi_inode child;
    char name[GFSI_NAME_MAX];
    struct gfsi_str after = {name, 0};
    int64_t removed = 0;
    int rc;

    while ((rc = gfsi_tx_next_child(tx, GFSI_ROOT_ID, after.len == 0 ? NULL : &after, &child)) ==
           1) {
        after.len = child.name.len;
        memcpy(name, child.name.s, child.name.len);
        if ((child.flags & (GFSI_MOUNT_POINT | GFSI_LOCAL)) == 0) {
            rc = gfsi_tx_remove_subtree(tx, child.id);
            removed++;
        }

        if (rc < 0) {
            return rc;
        }
    }

    rc = rc != 0 ? rc : gfsi_tx_inode(tx, GFSI_ROOT_ID, &child);
    if (rc != 0) {
        return rc;
    }

    child.flags = GFSI_DIRECTORY | GFSI_LOADED | GFSI_LOCAL;
    child.mount_id = 0;
    child.listing_id = 0;
    child.child_count -= (uint64_t)removed;
    return gfsi_tx_put_inode(tx, &child);
}

/* Removes the mount point, then parents that were made for it and are empty now. */
static int unmount_below(struct gfsi_tx *tx, const struct gfsi_inode *point)
{
    uint64_t parent = point->parent_id;
    int rc = gfsi_tx_remove_subtree(tx, point->id);

    while (rc == 0) {
        struct gfsi_inode dir;
        uint64_t id = parent;

        rc = gfsi_tx_count(tx, id, -1);
        rc = rc != 0 ? rc : gfsi_tx_inode(tx, id, &dir);
        if (rc != 0 || id == GFSI_ROOT_ID || dir.child_count > 0 || (dir.flags & GFSI_LOCAL) == 0) {
            break;
        }

        parent = dir.parent_id;
        rc = gfsi_tx_remove_subtree(tx, id);
    }

    return rc;
}

int64_t gfsi_apply_unmount(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    bool at_root = strcmp(op->path, "/") == 0;
    struct place place;
    uint8_t key[8];
    uint32_t mount_id;
    int rc = find_place(tx, op->path, &place);

    if (rc != 0) {
        return rc == GFS_ENOTDIR ? GFS_EINVAL : rc;
    }

    if (*place.missing != '\0' || (place.dir.flags & GFSI_MOUNT_POINT) == 0) {
        return GFS_EINVAL;
    }

    /* What is mounted below "/" stands on its own; elsewhere its directory would go. */
    rc = at_root ? 0 : has_nested(tx, place.dir.id);
    if (rc != 0) {
        return rc < 0 ? rc : GFS_EPRECONDITION;
    }

    mount_id = place.dir.mount_id;
    tx->state.mounts_epoch++;
    rc = at_root ? unmount_root(tx) : unmount_below(tx, &place.dir);
    gfsi_be64(key, mount_id);
    rc = rc != 0 ? rc : gfsi_tx_del(tx, GFSI_T_MOUNT, key, sizeof(key));
    return rc != 0 ? rc : (int64_t)mount_id;
}
