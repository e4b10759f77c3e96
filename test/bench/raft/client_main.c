/* raft_bench_client: starts three nodes (raft_bench_node or etcd) and measures them through the
 * same calls. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/cfg.h>
#include <gfs/rpc/rpc.h>

#include "client_priv.h"

static const struct gfs_cfg_option OPTIONS[] = {
    {"etcd", NULL, GFS_CFG_BOOL, "false", 0, 0, NULL, "the nodes are etcd's"},
    {"unary", NULL, GFS_CFG_BOOL, "false", 0, 0, NULL,
     "every call is a gRPC call of its own, as etcd has it"},
    {"binary", NULL, GFS_CFG_STR, NULL, 0, 0, "PATH", "program of one node"},
    {"dir", NULL, GFS_CFG_STR, NULL, 0, 0, "DIR", "where the nodes keep data and logs"},
    {"base-port", NULL, GFS_CFG_INT, "24000", 1024, 65000, "PORT", "first of six ports"},
    {"clients", NULL, GFS_CFG_INT, "64", 1, 1024, "N", "clients of load"},
    {"rounds", NULL, GFS_CFG_INT, "50", 1, 100000, "N", "of latency, stop, kill, handover"},
    {"seconds", NULL, GFS_CFG_INT, "5", 1, 3600, "N", "of load (each half) and calm"},
};

static int measure(struct cluster *c, const char *what, const struct gfs_cfg *cfg)
{
    unsigned rounds = (unsigned)gfs_cfg_int(cfg, "rounds");
    unsigned seconds = (unsigned)gfs_cfg_int(cfg, "seconds");

    if (strcmp(what, "load") == 0) {
        measure_load(c, (unsigned)gfs_cfg_int(cfg, "clients"), seconds);
    } else if (strcmp(what, "latency") == 0) {
        measure_latency(c, rounds);
    } else if (strcmp(what, "calm") == 0) {
        measure_calm(c, seconds);
    } else if (strcmp(what, "stop") == 0) {
        measure_failover(c, SIGSTOP, rounds);
    } else if (strcmp(what, "kill") == 0) {
        measure_failover(c, SIGKILL, rounds);
    } else if (strcmp(what, "handover") == 0) {
        measure_failover(c, SIGTERM, rounds);
    } else {
        (void)fprintf(stderr, "raft_bench_client: no measurement '%s'\n", what);
        return 2;
    }

    return 0;
}

int main(int argc, char **argv)
{
    static const struct gfs_cfg_program program = {
        .name = "raft_bench_client",
        .summary = "Start three nodes and measure them, for script/bench raft.",
        .operands = "load|latency|calm|stop|kill|handover",
        .options = OPTIONS,
        .n_options = sizeof(OPTIONS) / sizeof(OPTIONS[0]),
    };
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_cfg *cfg = NULL;
    int rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);

    if (rc != 0) {
        (void)fprintf(stderr, "%s\n", rc < 0 ? err.text : "");
        return rc < 0 ? 2 : 0;
    }

    struct cluster c = {
        .etcd = gfs_cfg_bool(cfg, "etcd"),
        .unary = gfs_cfg_bool(cfg, "unary") || gfs_cfg_bool(cfg, "etcd"),
        .binary = gfs_cfg_str(cfg, "binary"),
        .dir = gfs_cfg_str(cfg, "dir"),
        .base = (uint16_t)gfs_cfg_int(cfg, "base-port"),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    gfs_rpc_init();
    cluster_start(&c);
    rc = measure(&c, gfs_cfg_n_operands(cfg) > 0 ? gfs_cfg_operand(cfg, 0) : "", cfg);
    cluster_stop(&c);
    gfs_rpc_shutdown();
    (void)gfs_cfg_free(cfg);
    return rc;
}
