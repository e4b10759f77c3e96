/* Applying journal entries: one batch, one transaction, the same on every master. */
#include "ns_store_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <gfs/base/assert.h>

#include "journal_priv.h"

static int64_t apply_setting(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    int rc;

    if (*op->value == '\0') {
        rc = gfsi_tx_del(tx, GFSI_T_SETTING, op->key, strlen(op->key));
        return rc == GFS_ENOENT ? 0 : rc;
    }

    return gfsi_tx_put(tx, GFSI_T_SETTING, op->key, strlen(op->key), op->value, strlen(op->value));
}

static int64_t apply_body(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    switch (op->type) {
    case GFSI_OP_SYNC_DIRECTORY: return gfsi_apply_sync_directory(tx, op);
    case GFSI_OP_SYNC_CHILD: return gfsi_apply_sync_child(tx, op);
    case GFSI_OP_MOUNT: return gfsi_apply_mount(tx, op);
    case GFSI_OP_UNMOUNT: return gfsi_apply_unmount(tx, op);
    case GFSI_OP_SETTING: return apply_setting(tx, op);
    }

    return GFS_EUNSUPPORTED;
}

/* Remembers a result, forgets the oldest. The order is that of the log, so all masters forget the
 * same. */
static int remember(struct gfsi_tx *tx, const uint8_t id[GFSI_OP_ID_SIZE], int64_t result)
{
    uint8_t seq[8];
    uint8_t value[8];
    uint8_t old_id[GFSI_OP_ID_SIZE];
    MDB_val old;
    int rc;

    gfsi_be64(seq, tx->state.next_op);
    gfsi_be64(value, (uint64_t)result);
    rc = gfsi_tx_put(tx, GFSI_T_OP, id, GFSI_OP_ID_SIZE, value, sizeof(value));
    rc = rc != 0 ? rc : gfsi_tx_put(tx, GFSI_T_OPLOG, seq, sizeof(seq), id, GFSI_OP_ID_SIZE);
    if (rc != 0) {
        return rc;
    }

    tx->state.next_op++;
    if (tx->state.next_op <= GFSI_OPS_MAX + 1) {
        return 0;
    }

    gfsi_be64(seq, tx->state.next_op - GFSI_OPS_MAX - 1);
    rc = gfsi_tx_get(tx, GFSI_T_OPLOG, seq, sizeof(seq), &old);
    if (rc != 0 || old.mv_size != sizeof(old_id)) {
        return rc == GFS_ENOENT ? 0 : rc;
    }

    memcpy(old_id, old.mv_data, sizeof(old_id));
    rc = gfsi_tx_del(tx, GFSI_T_OP, old_id, sizeof(old_id));
    rc = rc != 0 && rc != GFS_ENOENT ? rc : gfsi_tx_del(tx, GFSI_T_OPLOG, seq, sizeof(seq));
    return rc == GFS_ENOENT ? 0 : rc;
}

int64_t gfsi_apply_op(struct gfsi_tx *tx, const struct gfsi_op *op)
{
    MDB_val done;
    int64_t result;
    int rc;

    if (!op->has_id) {
        return apply_body(tx, op);
    }

    rc = gfsi_tx_get(tx, GFSI_T_OP, op->id, GFSI_OP_ID_SIZE, &done);
    if (rc == 0 && done.mv_size == 8) {
        return (int64_t)gfsi_from_be64(done.mv_data);
    }

    if (rc != GFS_ENOENT) {
        tx->failure = rc == 0 ? MDB_CORRUPTED : tx->failure;
        return GFSI_STORE_FAILED;
    }

    result = apply_body(tx, op);
    if (result == GFSI_STORE_FAILED) {
        return result;
    }

    rc = remember(tx, op->id, result);
    return rc != 0 ? rc : result;
}

/* One entry. 0, GFSI_STORE_FAILED, or negative when the entry itself can't be understood. */
static int apply_entry(struct gfsi_tx *tx, const struct gfsi_ns_entry *entry, int64_t *result)
{
    struct gfsi_journal_entry *decoded = NULL;
    int rc = gfsi_journal_decode(entry->data, entry->len, &decoded);

    if (rc != 0) {
        return rc;
    }

    *result = gfsi_apply_op(tx, gfsi_journal_op(decoded));
    gfsi_journal_free(decoded);
    tx->state.applied_index = entry->index;
    tx->state.applied_term = entry->term;
    return *result == GFSI_STORE_FAILED ? GFSI_STORE_FAILED : 0;
}

static int begin(struct gfsi_tx *tx)
{
    MDB_val rec;
    int rc = mdb_txn_begin(tx->env->mdb, NULL, 0, &tx->txn);

    if (rc != 0) {
        tx->failure = rc;
        return GFSI_STORE_FAILED;
    }

    rc = gfsi_tx_get(tx, GFSI_T_META, "state", 5, &rec);
    if (rc == 0 && gfsi_state_decode(&rec, &tx->state) != 0) {
        tx->failure = MDB_CORRUPTED;
        rc = GFSI_STORE_FAILED;
    }

    return rc;
}

static int finish(struct gfsi_tx *tx)
{
    uint8_t rec[GFSI_STATE_REC_SIZE];
    int rc;

    gfsi_state_encode(&tx->state, rec);
    rc = gfsi_tx_put(tx, GFSI_T_META, "state", 5, rec, sizeof(rec));
    if (rc != 0) {
        return rc;
    }

    tx->failure = mdb_txn_commit(tx->txn);
    tx->txn = NULL; /* commit frees it also when it fails */
    return tx->failure == 0 ? 0 : GFSI_STORE_FAILED;
}

static int apply_once(struct gfsi_tx *tx, const struct gfsi_ns_entry *entries, size_t n,
                      int64_t *results, struct gfs_err *err)
{
    int rc = begin(tx);

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = apply_entry(tx, &entries[i], &results[i]);
        if (rc != 0 && rc != GFSI_STORE_FAILED) {
            (void)gfs_err_set(err, rc,
                              "journal entry %" PRIu64
                              " can't be applied (%s): it was written by a "
                              "newer version, or is damaged",
                              entries[i].index, gfs_err_string(rc));
        }
    }

    rc = rc != 0 ? rc : finish(tx);
    if (tx->txn != NULL) {
        mdb_txn_abort(tx->txn);
        tx->txn = NULL;
    }

    return rc;
}

int gfsi_ns_apply(struct gfsi_ns *ns, const struct gfsi_ns_entry *entries, size_t n,
                  int64_t *results, struct gfs_err *err)
{
    int rc;

    if (n == 0) {
        return 0;
    }

    for (;;) {
        struct gfsi_tx tx = {.env = ns->env};

        /* Only this thread replaces the environment, so no reference is needed; growing excludes
         * this transaction because it happens on this thread too. */
        rc = apply_once(&tx, entries, n, results, err);
        if (rc == 0) {
            atomic_store(&ns->applied, entries[n - 1].index);
            return 0;
        }

        if (rc != GFSI_STORE_FAILED) {
            return rc;
        }

        if (tx.failure != MDB_MAP_FULL) {
            return gfs_err_set(err, tx.failure == ENOSPC ? GFS_ENOSPC : GFS_EIO, "metastore %s: %s",
                               ns->dir, mdb_strerror(tx.failure));
        }

        rc = gfsi_env_grow(ns->env, err);
        if (rc != 0) {
            return rc;
        }
    }
}
