/* Inside of the namespace: environment, records, transactions. Only the ns_*.c files include it. */
#ifndef GFSI_NS_STORE_PRIV_H
#define GFSI_NS_STORE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <lmdb.h>

#include "ns_priv.h"

enum gfsi_table {
    GFSI_T_META,
    GFSI_T_EDGE,
    GFSI_T_INODE,
    GFSI_T_MOUNT,
    GFSI_T_SETTING,
    GFSI_T_OP,
    GFSI_T_OPLOG,
    GFSI_N_TABLES,
};

/* One LMDB environment. Readers hold a reference and `lock` shared; the map is resized under the
 * exclusive lock only, as LMDB asks. */
struct gfsi_env {
    atomic_int refs;
    MDB_env *mdb;
    MDB_dbi table[GFSI_N_TABLES];
    pthread_rwlock_t lock;
    char *dir;
    bool remove; /* delete the directory when the last reference goes */
};

/* A database the process before may have left unusable gives CORRUPT. */
int gfsi_env_open(const char *dir, size_t map_bytes, struct gfsi_env **out, struct gfs_err *err);
struct gfsi_env *gfsi_env_ref(struct gfsi_env *env);
void gfsi_env_unref(struct gfsi_env *env);
int gfsi_env_grow(struct gfsi_env *env, struct gfs_err *err);
void gfsi_env_remove_dir(const char *dir);

struct gfsi_ns {
    pthread_mutex_t mutex; /* guards `env` */
    struct gfsi_env *env;
    atomic_ullong applied;
    char *dir;
    char *identity;
    char *boot_id;
    size_t map_bytes;
    uint64_t generation;
    int lock_fd;
};

struct gfsi_view {
    struct gfsi_env *env;
    MDB_txn *txn;
    struct gfsi_state state;
};

/* ---- records -------------------------------------------------------------------------------- */

#define GFSI_EDGE_KEY_MAX   (8 + GFSI_NAME_MAX)
#define GFSI_INODE_FIXED    96
#define GFSI_INODE_REC_MAX  (GFSI_INODE_FIXED + GFSI_VERSION_MAX + 2 * GFSI_OWNER_MAX)
#define GFSI_MOUNT_REC_MAX  (32 + GFSI_PATH_MAX + GFSI_URI_MAX + 2 * GFSI_PROPS_BYTES_MAX)
#define GFSI_STATE_REC_SIZE 64

struct gfsi_edge_key {
    uint8_t bytes[GFSI_EDGE_KEY_MAX];
    size_t len;
};

void gfsi_edge_key(struct gfsi_edge_key *key, uint64_t parent, const char *name, size_t len);
size_t gfsi_inode_encode(const struct gfsi_inode *inode, uint8_t rec[GFSI_INODE_REC_MAX]);
/* IO when the record is damaged. */
int gfsi_inode_decode(const MDB_val *key, const MDB_val *rec, struct gfsi_inode *out);
int gfsi_mount_encode(const struct gfsi_mount *mount, struct gfs_buf *out);
int gfsi_mount_decode(const MDB_val *rec, struct gfsi_mount *out);
uint64_t gfsi_mount_inode(const MDB_val *rec); /* of a record of at least 20 bytes */
void gfsi_state_encode(const struct gfsi_state *st, uint8_t rec[GFSI_STATE_REC_SIZE]);
/* PRECONDITION: of another version; CORRUPT. */
int gfsi_state_decode(const MDB_val *rec, struct gfsi_state *out);
void gfsi_be64(uint8_t out[8], uint64_t v);
uint64_t gfsi_from_be64(const uint8_t in[8]);

/* ---- the write transaction ------------------------------------------------------------------ */

/* What an operation returns when the database, not the operation, failed: tx->failure says why. */
#define GFSI_STORE_FAILED (-1000)

struct gfsi_tx {
    struct gfsi_env *env;
    MDB_txn *txn;
    int failure; /* LMDB's code */
    struct gfsi_state state;
};

/* All return 0, a gfs error, or GFSI_STORE_FAILED. */
int gfsi_tx_get(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t len,
                MDB_val *out);
int gfsi_tx_put(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t key_len,
                const void *value, size_t len);
int gfsi_tx_del(struct gfsi_tx *tx, enum gfsi_table table, const void *key, size_t len);

int gfsi_tx_child(struct gfsi_tx *tx, uint64_t parent, struct gfsi_str name,
                  struct gfsi_inode *out);
int gfsi_tx_inode(struct gfsi_tx *tx, uint64_t id, struct gfsi_inode *out);
/* Strings of `inode` may point into the database. */
int gfsi_tx_put_inode(struct gfsi_tx *tx, const struct gfsi_inode *inode);
/* Puts it under a new id and links it; does not touch the parent. */
int gfsi_tx_create(struct gfsi_tx *tx, struct gfsi_inode *inode);
/* Removes an inode with all below it; does not touch the parent's record. */
int gfsi_tx_remove_subtree(struct gfsi_tx *tx, uint64_t id);
/* The first child of `dir` whose name is behind `after` (NULL: any). 1, 0 at the end. */
int gfsi_tx_next_child(struct gfsi_tx *tx, uint64_t dir, const struct gfsi_str *after,
                       struct gfsi_inode *out);
/* Adds `delta` to a directory's child count. */
int gfsi_tx_count(struct gfsi_tx *tx, uint64_t dir, int64_t delta);

/* The inode is a directory above (or at) a mount point or a local directory. 1 or 0. */
int gfsi_tx_is_protected(struct gfsi_tx *tx, uint64_t id);

/* Each operation checks first and changes then, so that one that fails has changed nothing. */
int64_t gfsi_apply_sync_directory(struct gfsi_tx *tx, const struct gfsi_op *op);
int64_t gfsi_apply_sync_child(struct gfsi_tx *tx, const struct gfsi_op *op);
int64_t gfsi_apply_mount(struct gfsi_tx *tx, const struct gfsi_op *op);
int64_t gfsi_apply_unmount(struct gfsi_tx *tx, const struct gfsi_op *op);
int64_t gfsi_apply_op(struct gfsi_tx *tx, const struct gfsi_op *op);

#endif
