/* One LMDB environment: opening, references, growth. */
#include "ns_store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

/* Views open at the same time, plus the snapshot and the apply thread. */
#define MAX_READERS 1024

static const char *const TABLE_NAMES[GFSI_N_TABLES] = {
    [GFSI_T_META] = "meta",   [GFSI_T_EDGE] = "edge",       [GFSI_T_INODE] = "inode",
    [GFSI_T_MOUNT] = "mount", [GFSI_T_SETTING] = "setting", [GFSI_T_OP] = "op",
    [GFSI_T_OPLOG] = "oplog",
};

/* First use of a database: counters and the root directory, which is the same on every master. */
static int create_state(struct gfsi_env *env, MDB_txn *txn)
{
    struct gfsi_tx tx = {.env = env, .txn = txn};
    struct gfsi_inode root = {
        .id = GFSI_ROOT_ID,
        .flags = GFSI_DIRECTORY | GFSI_LOADED | GFSI_LOCAL,
        .mode = 0755,
    };
    uint8_t rec[GFSI_STATE_REC_SIZE];

    gfsi_state_encode(
        &(struct gfsi_state){
            .next_id = GFSI_ROOT_ID + 1, .next_mount_id = 1, .next_op = 1, .mounts_epoch = 1},
        rec);
    if (gfsi_tx_put_inode(&tx, &root) != 0 ||
        gfsi_tx_put(&tx, GFSI_T_META, "state", 5, rec, sizeof(rec)) != 0) {
        return tx.failure;
    }

    return 0;
}

static int open_tables(struct gfsi_env *env)
{
    MDB_val key = {.mv_size = 5, .mv_data = (void *)(uintptr_t) "state"};
    MDB_val value;
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);

    if (rc != 0) {
        return rc;
    }

    for (int i = 0; i < GFSI_N_TABLES && rc == 0; i++) {
        rc = mdb_dbi_open(txn, TABLE_NAMES[i], MDB_CREATE, &env->table[i]);
    }

    if (rc == 0) {
        rc = mdb_get(txn, env->table[GFSI_T_META], &key, &value);
        if (rc == MDB_NOTFOUND) {
            rc = create_state(env, txn);
        }
    }

    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }

    return mdb_txn_commit(txn);
}

int gfsi_env_open(const char *dir, size_t map_bytes, struct gfsi_env **out, struct gfs_err *err)
{
    struct gfsi_env *env;
    pthread_rwlockattr_t attr;
    int stale;
    int rc = gfs_mkdirs(dir, 0700, err);

    if (rc != 0) {
        return rc;
    }

    env = calloc(1, sizeof(*env));
    if (env == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "metastore %s: out of memory", dir);
    }

    atomic_init(&env->refs, 1);
    /* Growing must not wait for ever behind a stream of readers. */
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&env->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    env->dir = strdup(dir);
    rc = env->dir == NULL ? ENOMEM : mdb_env_create(&env->mdb);
    if (rc == 0) {
        (void)mdb_env_set_maxdbs(env->mdb, GFSI_N_TABLES);
        (void)mdb_env_set_maxreaders(env->mdb, MAX_READERS);
        (void)mdb_env_set_mapsize(env->mdb, map_bytes);
        /* NOSYNC: the journal is the truth. NOTLS: a view may move between threads. NORDAHEAD:
         * look-ups are random. */
        rc = mdb_env_open(env->mdb, dir, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    }

    if (rc == 0) {
        (void)mdb_reader_check(env->mdb, &stale); /* slots of a process that was killed */
        rc = open_tables(env);
    }

    if (rc != 0) {
        gfsi_env_unref(env);
        return gfs_err_set(err, rc == ENOSPC ? GFS_ENOSPC : GFS_ECORRUPT, "metastore %s: %s", dir,
                           mdb_strerror(rc));
    }

    *out = env;
    return 0;
}

struct gfsi_env *gfsi_env_ref(struct gfsi_env *env)
{
    (void)atomic_fetch_add_explicit(&env->refs, 1, memory_order_relaxed);
    return env;
}

void gfsi_env_remove_dir(const char *dir)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char path[GFSI_PATH_MAX];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (gfs_path_join(path, sizeof(path), dir, files[i]) == 0) {
            (void)unlink(path);
        }
    }

    (void)rmdir(dir);
}

void gfsi_env_unref(struct gfsi_env *env)
{
    if (env == NULL || atomic_fetch_sub_explicit(&env->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }

    if (env->mdb != NULL) {
        mdb_env_close(env->mdb);
    }

    if (env->remove) {
        gfsi_env_remove_dir(env->dir);
    }

    (void)pthread_rwlock_destroy(&env->lock);
    free(env->dir);
    free(env);
}

int gfsi_env_grow(struct gfsi_env *env, struct gfs_err *err)
{
    MDB_envinfo info;
    int rc;

    (void)pthread_rwlock_wrlock(&env->lock);
    (void)mdb_env_info(env->mdb, &info);
    rc = mdb_env_set_mapsize(env->mdb, info.me_mapsize * 2);
    (void)pthread_rwlock_unlock(&env->lock);
    if (rc != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "metastore %s: map of %zu bytes: %s", env->dir,
                           info.me_mapsize * 2, mdb_strerror(rc));
    }

    return 0;
}
