/* Applying listings: the children of a directory become what the UFS showed.
 *
 * The batches of one listing carry one listing id. The first notes it in the directory, each marks
 * the children it names with it, and the last removes the children that do not carry it. A second
 * listing that begins in between takes the note over; the rest of the first is then refused. */
#include "ns_store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sync {
    struct gfsi_tx *tx;
    const struct gfsi_op *op;
    uint64_t dir;
    uint32_t mount_id;
    uint64_t mark; /* listing id the children get */
    int64_t added;
    int64_t removed;
    int64_t changed;
};

static uint32_t child_flags(const struct gfsi_child *child)
{
    return (child->directory ? (uint32_t)GFSI_DIRECTORY : 0) |
           (child->length_unknown ? (uint32_t)GFSI_LENGTH_UNKNOWN : 0) |
           (child->version_exact ? (uint32_t)GFSI_VERSION_EXACT : 0);
}

static bool same(const struct gfsi_str *a, const struct gfsi_str *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->s, b->s, a->len) == 0);
}

static int create(struct sync *s, const struct gfsi_child *child)
{
    struct gfsi_inode inode = {
        .parent_id = s->dir,
        .length = child->directory ? 0 : child->length,
        .version_id = child->directory
                          ? 0
                          : gfsi_version_id(child->version.s, child->version.len, child->length),
        .seen_id = s->mark,
        .mtime_ms = child->mtime_ms,
        .ctime_ms = s->op->time_ms,
        .synced_ms = child->directory ? 0 : s->op->time_ms,
        .flags = child_flags(child),
        .mode = child->mode,
        .mount_id = s->mount_id,
        .mtime_granularity_ms = child->mtime_granularity_ms,
        .name = child->name,
        .version = child->directory ? (struct gfsi_str){NULL, 0} : child->version,
        .owner = child->owner,
        .group = child->group,
    };

    s->added++;
    return gfsi_tx_create(s->tx, &inode);
}

static int update(struct sync *s, struct gfsi_inode *inode, const struct gfsi_child *child)
{
    const uint32_t from_ufs = GFSI_LENGTH_UNKNOWN | GFSI_VERSION_EXACT;

    if (!child->directory &&
        (inode->length != child->length || !same(&inode->version, &child->version))) {
        s->changed++;
        inode->length = child->length;
        inode->version = child->version;
        inode->version_id = gfsi_version_id(child->version.s, child->version.len, child->length);
    }

    if (!child->directory) {
        inode->synced_ms = s->op->time_ms;
    }

    inode->seen_id = s->mark;
    inode->flags = (inode->flags & ~from_ufs) | (child_flags(child) & from_ufs);
    inode->mtime_ms = child->mtime_ms;
    inode->mtime_granularity_ms = child->mtime_granularity_ms;
    inode->mode = child->mode;
    inode->owner = child->owner;
    inode->group = child->group;
    return gfsi_tx_put_inode(s->tx, inode);
}

static int sync_one(struct sync *s, const struct gfsi_child *child)
{
    struct gfsi_inode inode;
    int rc = gfsi_tx_child(s->tx, s->dir, child->name, &inode);

    if (rc == GFS_ENOENT) {
        return create(s, child);
    }

    if (rc != 0) {
        return rc;
    }

    if ((inode.flags & (GFSI_MOUNT_POINT | GFSI_LOCAL)) != 0) {
        return 0; /* what is mounted here hides what is below */
    }

    if (((inode.flags & GFSI_DIRECTORY) != 0) == child->directory) {
        return update(s, &inode, child);
    }

    rc = gfsi_tx_is_protected(s->tx, inode.id);
    if (rc != 0) {
        return rc < 0 ? rc : 0;
    }

    rc = gfsi_tx_remove_subtree(s->tx, inode.id);
    s->removed++;
    return rc != 0 ? rc : create(s, child);
}

struct ids {
    uint64_t *v;
    size_t n;
    size_t cap;
};

static int ids_add(struct ids *ids, uint64_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap == 0 ? 64 : ids->cap * 2;
        uint64_t *more = realloc(ids->v, cap * sizeof(*more));

        if (more == NULL) {
            return GFS_ENOMEM;
        }

        ids->v = more;
        ids->cap = cap;
    }

    ids->v[ids->n++] = id;
    return 0;
}

/* Children without the mark. What is mounted here never came from a listing. */
static int find_unseen(struct sync *s, struct ids *ids)
{
    struct gfsi_edge_key prefix;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val rec;
    int rc = mdb_cursor_open(s->tx->txn, s->tx->env->table[GFSI_T_EDGE], &cursor);

    if (rc != 0) {
        s->tx->failure = rc;
        return GFSI_STORE_FAILED;
    }

    gfsi_edge_key(&prefix, s->dir, "", 0);
    key = (MDB_val){.mv_size = prefix.len, .mv_data = prefix.bytes};
    rc = mdb_cursor_get(cursor, &key, &rec, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size >= 8 && gfsi_from_be64(key.mv_data) == s->dir) {
        struct gfsi_inode inode;

        rc = gfsi_inode_decode(&key, &rec, &inode) == 0 ? 0 : MDB_CORRUPTED;
        if (rc == 0 && inode.seen_id != s->mark &&
            (inode.flags & (GFSI_MOUNT_POINT | GFSI_LOCAL)) == 0) {
            rc = ids_add(ids, inode.id) == 0 ? 0 : ENOMEM;
        }

        rc = rc != 0 ? rc : mdb_cursor_get(cursor, &key, &rec, MDB_NEXT);
    }

    mdb_cursor_close(cursor);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        s->tx->failure = rc;
        return GFSI_STORE_FAILED;
    }

    return 0;
}

static int remove_unseen(struct sync *s)
{
    struct ids ids = {NULL, 0, 0};
    int rc = find_unseen(s, &ids);

    for (size_t i = 0; i < ids.n && rc == 0; i++) {
        rc = gfsi_tx_is_protected(s->tx, ids.v[i]);
        if (rc == 0) {
            rc = gfsi_tx_remove_subtree(s->tx, ids.v[i]);
            s->removed++;
        } else if (rc == 1) {
            rc = 0; /* something is mounted below it */
        }
    }

    free(ids.v);
    return rc;
}

int64_t gfsi_apply_sync_directory(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    struct sync s = {.tx = tx, .op = op, .dir = op->directory_id, .mark = op->listing_id};
    struct gfsi_inode dir;
    int rc = gfsi_tx_inode(tx, op->directory_id, &dir);

    if (rc != 0) {
        return rc;
    }

    if ((dir.flags & GFSI_DIRECTORY) == 0) {
        return GFS_ENOTDIR;
    }

    if (dir.mount_id == 0) {
        return GFS_EPRECONDITION;
    }

    if (!op->first && dir.listing_id != op->listing_id) {
        return GFS_EABORTED;
    }

    s.mount_id = dir.mount_id;
    for (size_t i = 0; i < op->n_children && rc == 0; i++) {
        rc = sync_one(&s, &op->children[i]);
    }

    if (rc == 0 && op->last) {
        rc = remove_unseen(&s);
    }

    rc = rc != 0 ? rc : gfsi_tx_inode(tx, op->directory_id, &dir);
    if (rc != 0) {
        return rc;
    }

    dir.child_count = (uint64_t)((int64_t)dir.child_count + s.added - s.removed);
    dir.listing_id = op->last ? 0 : op->listing_id;
    if (op->last) {
        dir.synced_ms = op->time_ms;
        dir.flags |= GFSI_LOADED;
    }

    rc = gfsi_tx_put_inode(tx, &dir);
    return rc != 0 ? rc : s.added + s.removed + s.changed;
}

static int remove_child(struct sync *s, struct gfsi_str name)
{
    struct gfsi_inode inode;
    int rc = gfsi_tx_child(s->tx, s->dir, name, &inode);

    if (rc != 0) {
        return rc == GFS_ENOENT ? 0 : rc;
    }

    rc = gfsi_tx_is_protected(s->tx, inode.id);
    if (rc != 0) {
        return rc < 0 ? rc : GFS_EPRECONDITION;
    }

    s->removed++;
    return gfsi_tx_remove_subtree(s->tx, inode.id);
}

int64_t gfsi_apply_sync_child(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    struct sync s = {.tx = tx, .op = op, .dir = op->directory_id};
    struct gfsi_inode dir;
    int rc = gfsi_tx_inode(tx, op->directory_id, &dir);

    if (rc != 0) {
        return rc;
    }

    if ((dir.flags & GFSI_DIRECTORY) == 0) {
        return GFS_ENOTDIR;
    }

    if (dir.mount_id == 0) {
        return GFS_EPRECONDITION;
    }

    s.mount_id = dir.mount_id;
    s.mark = dir.listing_id; /* a listing in progress has to keep it */
    rc = op->removed ? remove_child(&s, op->children[0].name) : sync_one(&s, &op->children[0]);
    if (rc == 0 && s.added != s.removed) {
        rc = gfsi_tx_count(tx, s.dir, s.added - s.removed);
    }

    return rc != 0 ? rc : s.added + s.removed + s.changed;
}
