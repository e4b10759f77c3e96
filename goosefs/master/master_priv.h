/* The parts of one master and how they find each other. */
#ifndef GFSI_MASTER_PRIV_H
#define GFSI_MASTER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/base/metrics.h>
#include <gfs/http/http.h>
#include <gfs/master/master.h>
#include <gfs/rpc/server.h>
#include <gfs/ufs/ufs.h>
#include <raft/node.h>

#include "loader_priv.h"
#include "members_priv.h"
#include "ns_priv.h"
#include "origin_priv.h"
#include "pool_priv.h"
#include "registry_priv.h"
#include "transport_priv.h"

#define GFSI_LOG "master"

struct gfsi_counters {
    struct gfs_metric *is_leader;
    struct gfs_metric *term;
    struct gfs_metric *commit_index;
    struct gfs_metric *applied_index;
    struct gfs_metric *leader_changes;
    struct gfs_metric *inodes;
    struct gfs_metric *mounts;
    struct gfs_metric *workers_live;
    struct gfs_metric *workers_lost;
    struct gfs_metric *proposals;
    struct gfs_metric *apply_ns;
    struct gfs_metric *loads;
    struct gfs_metric *load_failures;
    struct gfs_metric *load_ns;
    struct gfs_metric *loaded_entries;
    struct gfs_metric *reads_waiting;
};

struct gfs_master {
    struct gfs_master_opts opts; /* strings are copies */
    struct gfsi_members members;
    char cluster[128];
    int64_t start_ms;
    atomic_bool stopping;

    struct gfs_metrics *metrics;
    struct gfsi_counters count;

    struct gfsi_ns *ns;
    struct raft_node *node;
    struct gfsi_transport *transport;

    struct gfsi_pool *pool; /* reads the namespace */
    struct gfsi_pool *ufs_pool;
    struct gfsi_origins *origins;
    struct gfsi_loader *loader;
    struct gfsi_registry *registry;

    struct gfs_rpc_server *rpc;
    struct gfs_http *web;

    pthread_t clerk;
    bool clerk_runs;
    pthread_t rejoiner;
    bool rejoiner_runs;
    atomic_bool member; /* in the configuration that is in force here */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    enum raft_node_role role;
    uint64_t term;
    uint64_t leader_id;
    int64_t role_since_ms;
    bool stopped;
};

/* ---- journal.c: the Raft node --------------------------------------------------------------- */

/* Opens metastore and journal, binds the journal port, starts voting. */
int gfsi_journal_start(struct gfs_master *m, struct gfs_err *err);
/* If leader, makes another one the leader within the timeout; nobody's call fails for it. */
void gfsi_journal_hand_over(struct gfs_master *m, uint32_t timeout_ms);
/* Ends Raft (handing over within the timeout); proposals and reads in flight have been answered. */
void gfsi_journal_stop(struct gfs_master *m, uint32_t timeout_ms);
void gfsi_journal_close(struct gfs_master *m, bool clean);

/* A gfs error for a Raft status (0 for OK), with its text. */
int gfsi_journal_error(int raft_status, struct gfs_err *err);

/* Once, on any thread. rc: 0 and the operation's result, or why it was not (or maybe) applied. */
typedef void (*gfsi_proposed)(void *arg, int rc, int64_t result);
void gfsi_propose(struct gfs_master *m, const struct gfsi_op *op, gfsi_proposed done, void *arg);

/* The same, waiting. Not on Raft's or the RPC's threads. A refused operation is its own error. */
int gfsi_propose_wait(struct gfs_master *m, const struct gfsi_op *op, int64_t *out_result,
                      struct gfs_err *err);

/* Until what this master has applied contains all that was acknowledged before the call
 * (raft_node_read), waiting. Not on Raft's or the RPC's threads. */
int gfsi_barrier_wait(struct gfs_master *m, struct gfs_err *err);

/* RPC address of the leader, "" while unknown. */
const char *gfsi_leader_address(const struct gfs_master *m);

/* ---- services ------------------------------------------------------------------------------- */

int gfsi_fs_service_add(struct gfs_master *m, struct gfs_err *err);
int gfsi_meta_service_add(struct gfs_master *m, struct gfs_err *err);
int gfsi_worker_service_add(struct gfs_master *m, struct gfs_err *err);

/* ---- web.c, status.c ------------------------------------------------------------------------ */

int gfsi_web_start(struct gfs_master *m, struct gfs_err *err);
int gfsi_status_html(struct gfs_master *m, struct gfs_buf *out);
int gfsi_status_json(struct gfs_master *m, struct gfs_buf *out);

/* Registers every metric. */
void gfsi_counters_init(struct gfsi_counters *count, struct gfs_metrics *metrics);
/* Brings the gauges up to date. */
void gfsi_counters_refresh(struct gfs_master *m);

/* "host:port" to bind: an address instead of the name, for what takes literals only. */
int gfsi_bind_address(const struct gfs_master *m, const char *host, uint16_t port, char *out,
                      size_t size, struct gfs_err *err);

#endif
