/* The write transaction: what the operations are made of. */
#include "ns_store_priv.h"

#include <string.h>

#include <gfs/base/assert.h>

static int failed(struct gfsi_tx *tx, int code)
{
    tx->failure = code;
    return GFSI_STORE_FAILED;
}

int gfsi_tx_get(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t len,
                MDB_val *out)
{
    MDB_val k = {.mv_size = len, .mv_data = (void *)(uintptr_t)key};
    int rc = mdb_get(tx->txn, tx->env->table[table], &k, out);

    return rc == 0 ? 0 : rc == MDB_NOTFOUND ? GFS_ENOENT : failed(tx, rc);
}

int gfsi_tx_put(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t key_len,
                const void *value, size_t len)
{
    MDB_val k = {.mv_size = key_len, .mv_data = (void *)(uintptr_t)key};
    MDB_val v = {.mv_size = len, .mv_data = (void *)(uintptr_t)value};
    int rc = mdb_put(tx->txn, tx->env->table[table], &k, &v, 0);

    return rc == 0 ? 0 : failed(tx, rc);
}

int gfsi_tx_del(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t len)
{
    MDB_val k = {.mv_size = len, .mv_data = (void *)(uintptr_t)key};
    int rc = mdb_del(tx->txn, tx->env->table[table], &k, NULL);

    return rc == 0 ? 0 : rc == MDB_NOTFOUND ? GFS_ENOENT : failed(tx, rc);
}

int gfsi_tx_inode(struct gfsi_tx *tx, uint64_t id, struct gfsi_inode *out)
{
    uint8_t key[8];
    MDB_val edge;
    MDB_val rec;
    int rc;

    gfsi_be64(key, id);
    rc = gfsi_tx_get(tx, GFSI_T_INODE, key, sizeof(key), &edge);
    if (rc != 0) {
        return rc;
    }

    rc = gfsi_tx_get(tx, GFSI_T_EDGE, edge.mv_data, edge.mv_size, &rec);
    if (rc != 0) {
        return rc == GFS_ENOENT ? failed(tx, MDB_CORRUPTED) : rc;
    }

    return gfsi_inode_decode(&edge, &rec, out) == 0 ? 0 : failed(tx, MDB_CORRUPTED);
}

int gfsi_tx_child(struct gfsi_tx *tx, uint64_t parent, struct gfsi_str name, struct gfsi_inode *out)
{
    struct gfsi_edge_key edge;
    MDB_val rec;
    int rc;

    if (name.len == 0 || name.len > GFSI_NAME_MAX) {
        return GFS_ENOENT;
    }

    gfsi_edge_key(&edge, parent, name.s, name.len);
    rc = gfsi_tx_get(tx, GFSI_T_EDGE, edge.bytes, edge.len, &rec);
    if (rc != 0) {
        return rc;
    }

    rc = gfsi_inode_decode(&(MDB_val){.mv_size = edge.len, .mv_data = edge.bytes}, &rec, out);
    if (rc != 0) {
        return failed(tx, MDB_CORRUPTED);
    }

    out->name = name; /* the caller's, not this frame's */
    return 0;
}

int gfsi_tx_put_inode(struct gfsi_tx *tx, const struct gfsi_inode *inode)
{
    uint8_t rec[GFSI_INODE_REC_MAX];
    struct gfsi_edge_key edge;
    uint8_t key[8];
    size_t len = gfsi_inode_encode(inode, rec);
    MDB_val present;
    int rc;

    gfsi_edge_key(&edge, inode->parent_id, inode->name.s, inode->name.len);
    gfsi_be64(key, inode->id);
    rc = gfsi_tx_put(tx, GFSI_T_EDGE, edge.bytes, edge.len, rec, len);
    if (rc != 0) {
        return rc;
    }

    rc = gfsi_tx_get(tx, GFSI_T_INODE, key, sizeof(key), &present);
    if (rc != GFS_ENOENT) {
        return rc; /* an inode never moves */
    }

    return gfsi_tx_put(tx, GFSI_T_INODE, key, sizeof(key), edge.bytes, edge.len);
}

int gfsi_tx_create(struct gfsi_tx *tx, struct gfsi_inode *inode)
{
    inode->id = tx->state.next_id++;
    return gfsi_tx_put_inode(tx, inode);
}

int gfsi_tx_next_child(struct gfsi_tx *tx, uint64_t dir, const struct gfsi_str *after,
                       struct gfsi_inode *out)
{
    struct gfsi_edge_key seek;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val rec;
    int rc;

    gfsi_edge_key(&seek, dir, after == NULL ? "" : after->s, after == NULL ? 0 : after->len);
    rc = mdb_cursor_open(tx->txn, tx->env->table[GFSI_T_EDGE], &cursor);
    if (rc != 0) {
        return failed(tx, rc);
    }

    key = (MDB_val){.mv_size = seek.len, .mv_data = seek.bytes};
    rc = mdb_cursor_get(cursor, &key, &rec, MDB_SET_RANGE);
    if (rc == 0 && after != NULL && key.mv_size == seek.len &&
        memcmp(key.mv_data, seek.bytes, seek.len) == 0) {
        rc = mdb_cursor_get(cursor, &key, &rec, MDB_NEXT);
    }

    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }

    if (rc != 0) {
        return failed(tx, rc);
    }

    if (key.mv_size < 8 || gfsi_from_be64(key.mv_data) != dir) {
        return 0;
    }

    return gfsi_inode_decode(&key, &rec, out) == 0 ? 1 : failed(tx, MDB_CORRUPTED);
}

static int remove_one(struct gfsi_tx *tx, const struct gfsi_inode *inode)
{
    struct gfsi_edge_key edge;
    uint8_t key[8];
    int rc;

    gfsi_edge_key(&edge, inode->parent_id, inode->name.s, inode->name.len);
    gfsi_be64(key, inode->id);
    rc = gfsi_tx_del(tx, GFSI_T_INODE, key, sizeof(key));
    rc = rc != 0 ? rc : gfsi_tx_del(tx, GFSI_T_EDGE, edge.bytes, edge.len);
    return rc == GFS_ENOENT ? failed(tx, MDB_CORRUPTED) : rc;
}

/* Without a stack: down to a first child while there is one, delete, up again. */
int gfsi_tx_remove_subtree(struct gfsi_tx *tx, uint64_t id)
{
    uint64_t at = id;

    GFS_ASSERT_NE(id, GFSI_ROOT_ID);
    for (;;) {
        struct gfsi_inode inode;
        uint64_t parent;
        int rc = gfsi_tx_next_child(tx, at, NULL, &inode);

        if (rc < 0) {
            return rc;
        }

        if (rc == 1 && (inode.flags & GFSI_DIRECTORY) != 0) {
            at = inode.id;
            continue;
        }

        if (rc == 0) {
            rc = gfsi_tx_inode(tx, at, &inode);
            if (rc != 0) {
                return rc == GFS_ENOENT ? failed(tx, MDB_CORRUPTED) : rc;
            }
        }

        parent = inode.parent_id;
        rc = remove_one(tx, &inode);
        if (rc != 0) {
            return rc;
        }

        if (inode.id == id) {
            return 0;
        }

        at = parent;
    }
}

int gfsi_tx_count(struct gfsi_tx *tx, uint64_t dir, int64_t delta)
{
    struct gfsi_inode inode;
    int rc = gfsi_tx_inode(tx, dir, &inode);

    if (rc != 0) {
        return rc;
    }

    inode.child_count = (uint64_t)((int64_t)inode.child_count + delta);
    return gfsi_tx_put_inode(tx, &inode);
}

/* Mounts are few: for each, walk up from its mount point. */
int gfsi_tx_is_protected(struct gfsi_tx *tx, uint64_t id)
{
    struct gfsi_inode inode;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val rec;
    int rc = gfsi_tx_inode(tx, id, &inode);

    if (rc != 0) {
        return rc;
    }

    if ((inode.flags & (GFSI_MOUNT_POINT | GFSI_LOCAL)) != 0) {
        return 1;
    }

    rc = mdb_cursor_open(tx->txn, tx->env->table[GFSI_T_MOUNT], &cursor);
    if (rc != 0) {
        return failed(tx, rc);
    }

    rc = 0;
    while (rc == 0) {
        int found = mdb_cursor_get(cursor, &key, &rec, MDB_NEXT);
        uint64_t at;

        if (found == MDB_NOTFOUND) {
            break;
        }

        if (found != 0 || rec.mv_size < 20) {
            rc = failed(tx, found != 0 ? found : MDB_CORRUPTED);
            break;
        }

        at = gfsi_mount_inode(&rec);
        while (rc == 0 && at != GFSI_ROOT_ID) {
            rc = gfsi_tx_inode(tx, at, &inode);
            at = inode.parent_id;
            rc = rc == 0 && inode.id == id ? 1 : rc;
        }
    }

    mdb_cursor_close(cursor);
    return rc;
}
