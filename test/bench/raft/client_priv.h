/* Inside of raft_bench_client: a cluster of three processes, and what is measured on it. */
#ifndef BENCH_CLIENT_PRIV_H
#define BENCH_CLIENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <gfs/base/err.h>
#include <gfs/rpc/client.h>

#include "etcd_kv.pb-c.h"

#define NODES       3
#define VALUE_BYTES 256
#define KEYS        10000

struct cluster {
    bool etcd;          /* else raft_bench_node */
    bool unary;         /* calls do not share a stream */
    const char *binary; /* of one node */
    const char *dir;    /* of all nodes */
    uint16_t base;      /* node i: clients on base + 2i, peers on base + 2i + 1 */
    pid_t pids[NODES];  /* 0: not running */
    struct gfs_rpc_channel *channels[NODES];
};

/* ---- cluster.c: all report to stderr and end the program when they fail ---- */

void cluster_start(struct cluster *c);
void cluster_stop(struct cluster *c);

/* Starts node @i, or ends it with @signal and waits for its end. */
void cluster_spawn(struct cluster *c, unsigned i);
void cluster_signal(const struct cluster *c, unsigned i, int signal);
void cluster_reap(struct cluster *c, unsigned i);

/* Waits until all nodes answer, name the same leader and have applied what it has. Which it is. */
unsigned cluster_settled(struct cluster *c, uint64_t *out_term);

/* A channel of its own to node @i. */
struct gfs_rpc_channel *cluster_channel(const struct cluster *c, unsigned i);

/* Round trip of a call that only asks for the status; ns. */
int64_t cluster_round_trip(struct cluster *c, unsigned i);

/* ---- samples.c ---- */

struct samples {
    int64_t *v;
    size_t n;
    size_t max;
};

void samples_init(struct samples *s, size_t max);
void samples_add(struct samples *s, int64_t value); /* beyond max: dropped */
double samples_quantile(struct samples *s, double q);
void samples_free(struct samples *s);

/* A key of the benchmark (KEYS of them) into @out, and a put of it with VALUE_BYTES bytes. */
size_t bench_key(uint64_t number, char *out, size_t size);
struct bench_put {
    Etcdserverpb__PutRequest message;
    char key[32];
    uint8_t value[VALUE_BYTES];
};
void bench_put_init(struct bench_put *put, uint64_t number);

/* ---- what is measured; each prints "name value" lines on stdout ---- */

void measure_load(struct cluster *c, unsigned clients, unsigned seconds);
void measure_latency(struct cluster *c, unsigned rounds);
void measure_calm(struct cluster *c, unsigned seconds);

/* @signal to the leader: SIGSTOP (nothing tells), SIGKILL (the kernel resets), SIGTERM. */
void measure_failover(struct cluster *c, int signal, unsigned rounds);

#endif
