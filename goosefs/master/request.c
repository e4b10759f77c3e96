/* The way of a read: RPC thread -> ReadIndex -> pool thread -> reply, with detours to the loader.
 *
 *   start ──raft_node_read──> on_barrier ──> [pool] run ──> replied
 *                                              │   ▲
 *                                              └─> loader (leader only; the load is applied here)
 */
#include "request_priv.h"

#include <stdlib.h>

#include <gfs/base/clock.h>

#define MAX_LOADS 4096 /* of one request: more than a path has components */

void gfsi_fail(struct gfs_master *m, struct gfs_rpc_call *call, int code, const struct gfs_err *err)
{
    const char *leader;

    if (code != GFS_ENOTLEADER) {
        gfs_rpc_fail_err(call, code, err);
        return;
    }

    leader = gfsi_leader_address(m);
    if (*leader == '\0' || raft_node_leader(m->node) == m->members.self) {
        gfs_rpc_fail(call, GFS_EUNAVAIL, "the masters have no leader at the moment, retry");
        return;
    }

    (void)gfs_rpc_call_set_trailer(call, GFS_RPC_KEY_LEADER, leader);
    gfs_rpc_fail(call, GFS_ENOTLEADER, "this master is not the leader");
}

int64_t gfsi_fresh_after(const struct gfs_master *m, bool has_interval, int64_t interval_ms)
{
    int64_t interval = has_interval ? interval_ms : m->opts.sync_interval_ms;

    return interval < 0 ? 0 : gfs_clock_wall_ms() - interval;
}

static void end(struct gfsi_request *r, int code, const struct gfs_err *err)
{
    if (code != 0) {
        gfsi_fail(r->m, r->call, code, err);
    }

    free(r);
}

static void run_task(void *arg);

static int submit(struct gfsi_request *r)
{
    return gfsi_pool_submit(r->heavy ? r->m->ufs_pool : r->m->pool, run_task, r);
}

static void loaded(void *arg, int rc, const struct gfs_err *err)
{
    struct gfsi_request *r = arg;

    rc = rc != 0 ? rc : submit(r);
    if (rc == GFS_EUNKNOWN) {
        rc = GFS_ENOTLEADER; /* whether the listing was recorded is of no matter to a reader */
    }

    if (rc != 0) {
        end(r, rc, err != NULL && err->code != 0 ? err : NULL);
    }
}

static void tree_loaded(void *arg, int rc, const struct gfs_err *err)
{
    struct gfsi_request *r = arg;

    r->tree_loaded = true;
    loaded(arg, rc, err);
}

static bool cancelled(void *arg)
{
    struct gfsi_request *r = arg;

    return gfs_rpc_call_cancelled(r->call) || atomic_load(&r->m->stopping);
}

static int load_tree(struct gfsi_request *r)
{
    struct gfsi_tree_opts opts = {
        .root = r->load,
        .fresh_after_ms = r->tree_force ? INT64_MAX : r->fresh_after_ms,
        .cancelled = cancelled,
        .done = tree_loaded,
        .arg = r,
    };

    return gfsi_tree_load(r->m, &opts);
}

static void run_task(void *arg)
{
    struct gfsi_request *r = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    if (gfs_rpc_call_cancelled(r->call)) {
        end(r, GFS_ECANCELLED, NULL);
        return;
    }

    rc = r->run(r, &err);
    if (rc == GFSI_RUN_LOAD || rc == GFSI_RUN_TREE) {
        bool tree = rc == GFSI_RUN_TREE;

        rc = ++r->loads > MAX_LOADS ? GFS_EABORTED
             : tree                 ? load_tree(r)
                                    : gfsi_loader_load(r->m->loader, r->load, loaded, r);
        if (rc == 0) {
            return;
        }
    }

    end(r, rc, &err);
}

static void on_barrier(void *arg, int status, uint64_t read_index)
{
    struct gfsi_request *r = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    (void)read_index;
    gfs_metric_add(r->m->count.reads_waiting, -1);
    if (status != RAFT_NODE_OK) {
        /* A read that was not answered has not happened, whatever Raft could not tell. */
        rc = gfs_err_set(&err, status == RAFT_NODE_BUSY ? GFS_EBUSY : GFS_EUNAVAIL,
                         "the masters have no leader at the moment, retry");
    } else {
        rc = submit(r);
    }

    if (rc != 0) {
        end(r, rc, &err);
    }
}

void gfsi_request_start(struct gfs_master *m, struct gfs_rpc_call *call,
                        const ProtobufCMessage *message, gfsi_run run, bool heavy)
{
    struct gfsi_request *r;

    if (atomic_load(&m->stopping)) { /* whoever leads now is sure to answer */
        gfsi_fail(m, call, GFS_ENOTLEADER, NULL);
        return;
    }

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return;
    }

    r->m = m;
    r->call = call;
    r->message = message;
    r->run = run;
    r->heavy = heavy;
    r->fresh_after_ms = gfsi_fresh_after(m, false, 0);
    gfs_metric_add(m->count.reads_waiting, 1);
    raft_node_read(m->node, on_barrier, r);
}
