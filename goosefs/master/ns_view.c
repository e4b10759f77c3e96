/* Reading the namespace: look-ups on one MVCC snapshot. */
#include "ns_store_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

int gfsi_view_open(struct gfsi_ns *ns, struct gfsi_view **out, struct gfs_err *err)
{
    struct gfsi_view *view = calloc(1, sizeof(*view));
    MDB_val key = {.mv_size = 5, .mv_data = (void *)(uintptr_t) "state"};
    MDB_val value;
    int rc;

    if (view == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "metastore: out of memory");
    }

    (void)pthread_mutex_lock(&ns->mutex);
    view->env = gfsi_env_ref(ns->env);
    (void)pthread_mutex_unlock(&ns->mutex);

    (void)pthread_rwlock_rdlock(&view->env->lock);
    rc = mdb_txn_begin(view->env->mdb, NULL, MDB_RDONLY, &view->txn);
    rc = rc != 0 ? rc : mdb_get(view->txn, view->env->table[GFSI_T_META], &key, &value);
    if (rc == 0 && gfsi_state_decode(&value, &view->state) == 0) {
        *out = view;
        return 0;
    }

    gfsi_view_close(view);
    return rc == MDB_READERS_FULL
               ? gfs_err_set(err, GFS_EBUSY, "metastore: too many readers")
               : gfs_err_set(err, GFS_EIO, "metastore: %s",
                             rc != 0 ? mdb_strerror(rc) : "damaged state record");
}

void gfsi_view_close(struct gfsi_view *view)
{
    if (view == NULL) {
        return;
    }

    if (view->txn != NULL) {
        mdb_txn_abort(view->txn);
    }

    (void)pthread_rwlock_unlock(&view->env->lock);
    gfsi_env_unref(view->env);
    free(view);
}

void gfsi_view_state(const struct gfsi_view *view, struct gfsi_state *out)
{
    *out = view->state;
}

static int get(struct gfsi_view *view, enum gfsi_table table, const void *key, size_t len,
               MDB_val *out)
{
    MDB_val k = {.mv_size = len, .mv_data = (void *)(uintptr_t)key};
    int rc = mdb_get(view->txn, view->env->table[table], &k, out);

    return rc == 0 ? 0 : rc == MDB_NOTFOUND ? GFS_ENOENT : GFS_EIO;
}

/* The record behind an edge key that itself lies in the database, so that the name stays valid. */
static int by_stored_key(struct gfsi_view *view, const MDB_val *key, struct gfsi_inode *out)
{
    MDB_val rec;
    int rc = get(view, GFSI_T_EDGE, key->mv_data, key->mv_size, &rec);

    return rc == 0 ? gfsi_inode_decode(key, &rec, out) : rc == GFS_ENOENT ? GFS_EIO : rc;
}

int gfsi_view_inode(struct gfsi_view *view, uint64_t id, struct gfsi_inode *out)
{
    uint8_t key[8];
    MDB_val edge;
    int rc;

    gfsi_be64(key, id);
    rc = get(view, GFSI_T_INODE, key, sizeof(key), &edge);
    return rc == 0 ? by_stored_key(view, &edge, out) : rc;
}

int gfsi_view_child(struct gfsi_view *view, uint64_t parent, const char *name, size_t len,
                    struct gfsi_inode *out)
{
    struct gfsi_edge_key edge;
    struct gfsi_inode found;
    MDB_val rec;
    int rc;

    if (len == 0 || len > GFSI_NAME_MAX) {
        return GFS_ENOENT;
    }

    gfsi_edge_key(&edge, parent, name, len);
    rc = get(view, GFSI_T_EDGE, edge.bytes, edge.len, &rec);
    rc = rc != 0 ? rc
                 : gfsi_inode_decode(&(MDB_val){.mv_size = edge.len, .mv_data = edge.bytes}, &rec,
                                     &found);
    /* The name has to point into the database, not at this stack frame. */
    return rc == 0 ? gfsi_view_inode(view, found.id, out) : rc;
}

/* Writes the names from `id` up to `stop` (or the root) right to left. Returns where it begins. */
static int names_above(struct gfsi_view *view, struct gfsi_inode inode, bool to_mount, char *out,
                       size_t size, char **begin)
{
    char *at = out + size;

    *--at = '\0';
    while (inode.id != GFSI_ROOT_ID && !(to_mount && (inode.flags & GFSI_MOUNT_POINT) != 0)) {
        int rc;

        if ((size_t)(at - out) < inode.name.len + 1) {
            return GFS_ENAMETOOLONG;
        }

        at -= inode.name.len;
        memcpy(at, inode.name.s, inode.name.len);
        *--at = '/';
        rc = gfsi_view_inode(view, inode.parent_id, &inode);
        if (rc != 0) {
            return rc == GFS_ENOENT ? GFS_EIO : rc;
        }
    }

    if (to_mount && (inode.flags & GFSI_MOUNT_POINT) == 0) {
        return GFS_EPRECONDITION;
    }

    *begin = at;
    return 0;
}

int gfsi_view_path(struct gfsi_view *view, uint64_t id, char *out, size_t size)
{
    struct gfsi_inode inode;
    char *begin;
    int rc = gfsi_view_inode(view, id, &inode);

    rc = rc != 0 ? rc : names_above(view, inode, false, out, size, &begin);
    if (rc != 0) {
        return rc;
    }

    if (*begin == '\0') {
        return gfs_str_copy(out, size, "/");
    }

    memmove(out, begin, strlen(begin) + 1);
    return 0;
}

int gfsi_view_ufs_path(struct gfsi_view *view, const struct gfsi_inode *inode, char *out,
                       size_t size)
{
    char *begin;
    int rc = names_above(view, *inode, true, out, size, &begin);

    if (rc != 0) {
        return rc;
    }

    begin += *begin == '/' ? 1 : 0;
    memmove(out, begin, strlen(begin) + 1);
    return 0;
}

int gfsi_view_resolve(struct gfsi_view *view, const char *path, struct gfsi_inode *out,
                      const char **rest)
{
    struct gfsi_inode at;
    const char *p = path;
    int rc = gfsi_view_inode(view, GFSI_ROOT_ID, &at);

    if (rc != 0) {
        return GFS_EIO; /* the root always exists */
    }

    while (*p == '/' && p[1] != '\0') {
        const char *name = p + 1;
        size_t len = strcspn(name, "/");
        struct gfsi_inode child;

        if ((at.flags & GFSI_DIRECTORY) == 0) {
            *out = at;
            *rest = name;
            return GFS_ENOTDIR;
        }

        rc = gfsi_view_child(view, at.id, name, len, &child);
        if (rc == GFS_ENOENT) {
            *out = at;
            *rest = name;
            return rc;
        }

        if (rc != 0) {
            return rc;
        }

        at = child;
        p = name + len;
    }

    *out = at;
    return 0;
}

int gfsi_view_mount(struct gfsi_view *view, uint32_t id, struct gfsi_mount *out)
{
    uint8_t key[8];
    MDB_val rec;
    int rc;

    gfsi_be64(key, id);
    rc = get(view, GFSI_T_MOUNT, key, sizeof(key), &rec);
    return rc == 0 ? gfsi_mount_decode(&rec, out) : rc;
}

int gfsi_view_mounts(struct gfsi_view *view, int (*each)(void *arg, const struct gfsi_mount *m),
                     void *arg)
{
    struct gfsi_mount *mount = calloc(1, sizeof(*mount));
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val rec;
    int rc;

    if (mount == NULL) {
        return GFS_ENOMEM;
    }

    rc = mdb_cursor_open(view->txn, view->env->table[GFSI_T_MOUNT], &cursor);
    if (rc != 0) {
        free(mount);
        return GFS_EIO;
    }

    rc = 0;
    for (MDB_cursor_op op = MDB_FIRST; rc == 0; op = MDB_NEXT) {
        int found = mdb_cursor_get(cursor, &key, &rec, op);

        if (found == MDB_NOTFOUND) {
            break;
        }

        rc = found != 0 ? GFS_EIO : gfsi_mount_decode(&rec, mount);
        rc = rc != 0 ? rc : each(arg, mount);
    }

    mdb_cursor_close(cursor);
    free(mount);
    return rc;
}

int gfsi_view_op(struct gfsi_view *view, const uint8_t id[GFSI_OP_ID_SIZE], int64_t *out_result)
{
    MDB_val rec;
    int rc = get(view, GFSI_T_OP, id, GFSI_OP_ID_SIZE, &rec);

    if (rc != 0 || rec.mv_size != 8) {
        return rc != 0 ? rc : GFS_EIO;
    }

    *out_result = (int64_t)gfsi_from_be64(rec.mv_data);
    return 0;
}

int gfsi_view_setting(struct gfsi_view *view, const char *key, char *out, size_t size)
{
    MDB_val rec;
    int rc = get(view, GFSI_T_SETTING, key, strlen(key), &rec);

    if (rc != 0) {
        return rc;
    }

    if (rec.mv_size >= size) {
        return GFS_ERANGE;
    }

    memcpy(out, rec.mv_data, rec.mv_size);
    out[rec.mv_size] = '\0';
    return 0;
}

uint64_t gfsi_view_inodes(struct gfsi_view *view)
{
    MDB_stat stat;

    return mdb_stat(view->txn, view->env->table[GFSI_T_INODE], &stat) == 0 ? stat.ms_entries : 0;
}

static uint64_t digest_bytes(uint64_t h, const MDB_val *v)
{
    const uint8_t *p = v->mv_data;

    for (size_t i = 0; i < v->mv_size; i++) {
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    }

    return (h ^ v->mv_size) * UINT64_C(1099511628211);
}

int gfsi_view_digest(struct gfsi_view *view, uint64_t *out)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (int t = 0; t < GFSI_N_TABLES; t++) {
        MDB_cursor *cursor;
        MDB_val key;
        MDB_val rec;
        int rc = mdb_cursor_open(view->txn, view->env->table[t], &cursor);

        if (rc != 0) {
            return GFS_EIO;
        }

        while ((rc = mdb_cursor_get(cursor, &key, &rec, MDB_NEXT)) == 0) {
            h = digest_bytes(digest_bytes(h, &key), &rec);
        }

        mdb_cursor_close(cursor);
        if (rc != MDB_NOTFOUND) {
            return GFS_EIO;
        }
    }

    *out = h;
    return 0;
}
