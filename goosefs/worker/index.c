#include "index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>

#include <gfs/base/file.h>

struct gfsi_index {
    MDB_env *env;
    MDB_dbi extents;
    MDB_dbi meta;
};

static int lmdb_error(struct gfs_err *err, int code, const char *what)
{
    int gfs = GFS_EIO;

    if (code == MDB_MAP_FULL || code == ENOSPC) {
        gfs = GFS_ENOSPC;
    } else if (code == ENOMEM) {
        gfs = GFS_ENOMEM;
    } else if (code == MDB_CORRUPTED || code == MDB_INVALID || code == MDB_VERSION_MISMATCH ||
               code == MDB_PAGE_NOTFOUND || code == MDB_INCOMPATIBLE || code == MDB_PANIC) {
        gfs = GFS_ECORRUPT;
    }
    return gfs_err_set(err, gfs, "index: %s: %s", what, mdb_strerror(code));
}

static int open_tables(struct gfsi_index *index, struct gfs_err *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(index->env, NULL, 0, &txn);

    if (rc != 0) {
        return lmdb_error(err, rc, "begin");
    }
    rc = mdb_dbi_open(txn, "extents", MDB_CREATE, &index->extents);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &index->meta);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(err, rc, "open tables");
    }
    rc = mdb_txn_commit(txn);
    return rc != 0 ? lmdb_error(err, rc, "commit") : 0;
}

static int try_open(const char *dir, uint64_t max_bytes, struct gfsi_index **out,
                    struct gfs_err *err)
{
    struct gfsi_index *index = calloc(1, sizeof(*index));

    if (index == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    int rc = mdb_env_create(&index->env);

    if (rc != 0) {
        free(index);
        return lmdb_error(err, rc, "create");
    }
    (void)mdb_env_set_mapsize(index->env, max_bytes);
    (void)mdb_env_set_maxdbs(index->env, 2);
    rc = mdb_env_open(index->env, dir, MDB_NOTLS | MDB_NOMEMINIT, 0600);
    if (rc != 0) {
        gfsi_index_close(index);
        return lmdb_error(err, rc, dir);
    }
    rc = open_tables(index, err);
    if (rc < 0) {
        gfsi_index_close(index);
        return rc;
    }
    *out = index;
    return 0;
}

static void drop_files(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char path[4096];

    for (size_t i = 0; i < 2; i++) {
        int n = snprintf(path, sizeof(path), "%s/%s", dir, names[i]);

        if (n > 0 && (size_t)n < sizeof(path)) {
            (void)unlink(path);
        }
    }
}

int gfsi_index_open(const char *dir, uint64_t max_bytes, struct gfsi_index **out, bool *recreated,
                    struct gfs_err *err)
{
    int rc = gfs_mkdirs(dir, 0700, err);

    if (rc < 0) {
        return rc;
    }
    *recreated = false;
    rc = try_open(dir, max_bytes, out, err);
    if (rc == GFS_ECORRUPT) {
        drop_files(dir);
        *recreated = true;
        rc = try_open(dir, max_bytes, out, err);
    }
    return rc;
}

struct gfsi_index *gfsi_index_close(struct gfsi_index *index)
{
    if (index == NULL) {
        return NULL;
    }
    mdb_env_close(index->env);
    free(index);
    return NULL;
}

static int apply_one(struct gfsi_index *index, MDB_txn *txn, const struct gfsi_index_change *c)
{
    unsigned char key_bytes[GFSI_INDEX_KEY_LEN];

    memcpy(key_bytes, c->key, sizeof(key_bytes));

    MDB_val key = {.mv_size = sizeof(key_bytes), .mv_data = key_bytes};

    if (c->value == NULL) {
        int rc = mdb_del(txn, index->extents, &key, NULL);

        return rc == MDB_NOTFOUND ? 0 : rc;
    }

    MDB_val value = {.mv_size = c->value_len};
    int rc = mdb_put(txn, index->extents, &key, &value, MDB_RESERVE);

    if (rc == 0) {
        memcpy(value.mv_data, c->value, c->value_len);
    }
    return rc;
}

int gfsi_index_apply(struct gfsi_index *index, const struct gfsi_index_change *changes, size_t n,
                     struct gfs_err *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(index->env, NULL, 0, &txn);

    if (rc != 0) {
        return lmdb_error(err, rc, "begin");
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = apply_one(index, txn, &changes[i]);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(err, rc, "write");
    }
    rc = mdb_txn_commit(txn);
    return rc != 0 ? lmdb_error(err, rc, "commit") : 0;
}

int gfsi_index_walk(struct gfsi_index *index, gfsi_index_visit visit, void *arg,
                    struct gfs_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    int rc = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0) {
        return lmdb_error(err, rc, "begin");
    }
    rc = mdb_cursor_open(txn, index->extents, &cursor);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(err, rc, "cursor");
    }

    int answer = 0;
    MDB_val key;
    MDB_val value;

    while (answer == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size == GFSI_INDEX_KEY_LEN) {
            answer = visit(arg, key.mv_data, value.mv_data, value.mv_size);
        }
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    if (answer != 0) {
        return answer;
    }
    return rc == MDB_NOTFOUND ? 0 : lmdb_error(err, rc, "read");
}

int gfsi_index_meta_get(struct gfsi_index *index, const char *name, char *out, size_t size)
{
    char name_copy[32];
    MDB_txn *txn = NULL;

    (void)snprintf(name_copy, sizeof(name_copy), "%s", name);

    MDB_val key = {.mv_size = strlen(name_copy), .mv_data = name_copy};
    MDB_val value;
    int rc = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0) {
        return GFS_EIO;
    }
    rc = mdb_get(txn, index->meta, &key, &value);
    if (rc == 0 && value.mv_size < size) {
        memcpy(out, value.mv_data, value.mv_size);
        out[value.mv_size] = '\0';
    } else {
        rc = MDB_NOTFOUND;
    }
    mdb_txn_abort(txn);
    return rc == 0 ? 0 : GFS_ENOENT;
}

int gfsi_index_meta_put(struct gfsi_index *index, const char *name, const char *value,
                        struct gfs_err *err)
{
    char name_copy[32];
    char value_copy[128];
    MDB_txn *txn = NULL;

    (void)snprintf(name_copy, sizeof(name_copy), "%s", name);
    (void)snprintf(value_copy, sizeof(value_copy), "%s", value);

    MDB_val key = {.mv_size = strlen(name_copy), .mv_data = name_copy};
    MDB_val data = {.mv_size = strlen(value_copy), .mv_data = value_copy};
    int rc = mdb_txn_begin(index->env, NULL, 0, &txn);

    if (rc != 0) {
        return lmdb_error(err, rc, "begin");
    }
    rc = mdb_put(txn, index->meta, &key, &data, 0);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(err, rc, "write");
    }
    rc = mdb_txn_commit(txn);
    return rc != 0 ? lmdb_error(err, rc, "commit") : 0;
}
