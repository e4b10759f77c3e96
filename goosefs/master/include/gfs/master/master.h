/* A GooseFS master: one voter of the Raft group that replicates the namespace, with its services.
 *
 * The daemon goosefs-master is a thin main() around this; tests run several in one process.
 *
 *     gfs_master_new -> gfs_master_start -> ... -> gfs_master_stop -> gfs_master_free
 *
 * Thread: the life-cycle calls come from one thread; everything else from any. */
#ifndef GFS_MASTER_MASTER_H
#define GFS_MASTER_MASTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_master;

#define GFS_MASTER_DEFAULT_RPC_PORT     9200
#define GFS_MASTER_DEFAULT_WEB_PORT     9201
#define GFS_MASTER_DEFAULT_JOURNAL_PORT 9202

/* All strings are copied by gfs_master_new, `hosts` is borrowed until gfs_master_free. Zero in a
 * number means the default written beside it. */
struct gfs_master_opts {
    /* Who this is: "hbase-master-0". With journal_port it has to appear in journal_addresses. */
    const char *hostname;

    /* "h0:9202,h1:9202,h2:9202", the same text on every master: the position (from 1) is the Raft
     * id. NULL or "": a single master. */
    const char *journal_addresses;
    /* RPC addresses in the same order; NULL or "": the journal hosts with rpc_port. */
    const char *rpc_addresses;

    /* What to bind, apart from what is advertised; NULL or "": the address `hostname` has in
     * `hosts`, or every one ("0.0.0.0") when it is not there. */
    const char *rpc_bind_host;
    const char *journal_bind_host;
    const char *web_bind_host;
    uint16_t rpc_port;     /* 9200 */
    uint16_t journal_port; /* 9202 */
    uint16_t web_port;     /* 9201 */
    bool no_web;           /* no web port at all */

    const char *journal_dir;   /* Raft log and snapshots: the truth; required */
    const char *metastore_dir; /* LMDB, can be rebuilt from the journal; NULL: below journal_dir */
    const char *cluster_id;    /* NULL or "": derived from journal_addresses */

    const struct gfs_hosts *hosts; /* names to addresses before the resolver; may be NULL */

    bool has_sync_interval;
    int64_t sync_interval_ms;    /* goosefs.user.file.metadata.sync.interval; unset = -1, never */
    int64_t worker_timeout_ms;   /* 10,000: a worker silent for so long is lost */
    uint32_t ufs_threads;        /* 16: directories listed at the origin at the same time */
    uint32_t rpc_calls;          /* 32,768 at the same time, most of them waiting; more: BUSY */
    uint32_t block_size;         /* 4 MiB, told to clients in FileInfo */
    uint32_t heartbeat_ms;       /* 30: Raft */
    uint32_t election_ms;        /* 150: Raft, timeouts lie between it and twice it */
    uint64_t checkpoint_entries; /* 100,000: a snapshot each time so many entries were applied */
    size_t metastore_map_bytes;  /* 64 GiB of address space to begin with; grows by itself */

    /* The master cannot go on (disk error, journal corrupt): the process has to end and start
     * again. On an inner thread. NULL = abort(). */
    void (*on_fatal)(void *arg, const char *why);
    void *on_fatal_arg;
};

/* Checks the options (INVAL with a text that names the property) and allocates. */
int gfs_master_new(const struct gfs_master_opts *opts, struct gfs_master **out,
                   struct gfs_err *err);

/* Opens the journal and the metastore, binds the ports, starts to vote. The text of an error says
 * what to do (port in use, directory of another cluster, version or master). */
int gfs_master_start(struct gfs_master *m, struct gfs_err *err);

/* Hands leadership over when it has it, refuses new calls, lets running ones end, closes the ports;
 * all within about timeout_ms (0: at once, as if killed). Idempotent. */
void gfs_master_stop(struct gfs_master *m, uint32_t timeout_ms);

/* Stops if necessary. NULL is fine. Returns NULL. */
struct gfs_master *gfs_master_free(struct gfs_master *m);

/* The leader that can serve mutations now; a hint. */
bool gfs_master_is_leader(const struct gfs_master *m);

/* RPC address of the leader ("" while unknown) into buf. */
const char *gfs_master_leader(const struct gfs_master *m, char *buf, size_t size);

/* Waits until a leader is known (and, when `self`, that it is this one). TIMEOUT else. */
int gfs_master_wait_leader(struct gfs_master *m, bool self, int64_t timeout_ms);

#ifdef __cplusplus
}
#endif
#endif
