/* goosefs-master: options, signals, exit codes. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/master/master.h>
#include <gfs/rpc/rpc.h>

#define LOG "master"

/* Exit codes: 1 cannot start or go on, 2 bad option. */
enum { EXIT_CANNOT = 1, EXIT_USAGE = 2 };

static const struct gfs_cfg_option OPTIONS[] = {
    {"hostname", "goosefs.master.hostname", GFS_CFG_STR, NULL, 0, 0, "NAME",
     "name of this master as the others and clients know it; default: the machine's"},
    {"rpc-port", "goosefs.master.rpc.port", GFS_CFG_INT, "9200", 1, 65535, "PORT",
     "port for clients, workers and the command line"},
    {"web-port", "goosefs.master.web.port", GFS_CFG_INT, "9201", 1, 65535, "PORT",
     "port of the status page, metrics and health"},
    {"journal-port", "goosefs.master.embedded.journal.port", GFS_CFG_INT, "9202", 1, 65535, "PORT",
     "port for the other masters"},
    {"journal-addresses", "goosefs.master.embedded.journal.addresses", GFS_CFG_STR, "", 0, 0,
     "HOST:PORT,...", "all masters, in the same order everywhere; default: this one alone"},
    {"rpc-addresses", "goosefs.master.rpc.addresses", GFS_CFG_STR, "", 0, 0, "HOST:PORT,...",
     "their RPC addresses in that order; default: the same hosts with the RPC port"},
    {"bind-host", "goosefs.master.bind.host", GFS_CFG_STR, "", 0, 0, "ADDRESS",
     "address to bind for all ports; default: what the hosts file has for hostname, or every one"},
    {"rpc-bind-host", "goosefs.master.rpc.bind.host", GFS_CFG_STR, "", 0, 0, "ADDRESS",
     "address to bind for the RPC port"},
    {"web-bind-host", "goosefs.master.web.bind.host", GFS_CFG_STR, "", 0, 0, "ADDRESS",
     "address to bind for the web port"},
    {"journal-bind-host", "goosefs.master.embedded.journal.bind.host", GFS_CFG_STR, "", 0, 0,
     "ADDRESS", "address to bind for the journal port"},
    {"journal-folder", "goosefs.master.journal.folder", GFS_CFG_STR, "/opt/goosefs/journal", 0, 0,
     "DIR", "the replicated log: must survive restarts"},
    {"metastore-dir", "goosefs.master.metastore.dir", GFS_CFG_STR, "", 0, 0, "DIR",
     "the namespace, rebuilt from the journal when lost; default: below the journal folder"},
    {"cluster-id", "goosefs.master.cluster.id", GFS_CFG_STR, "", 0, 0, "TEXT",
     "identity of the cluster; default: derived from the list of masters"},
    {"hosts-file", "goosefs.network.hosts.file", GFS_CFG_STR, "", 0, 0, "FILE",
     "names and addresses in the form of /etc/hosts, asked before the resolver"},
    {"sync-interval", "goosefs.user.file.metadata.sync.interval", GFS_CFG_DURATION, "-1", 0, 0,
     "TIME", "compare metadata older than this with its origin on access; -1 never, 0 always"},
    {"worker-timeout", "goosefs.master.worker.timeout", GFS_CFG_DURATION, "10s", 0, 0, "TIME",
     "a worker silent for so long is lost"},
    {"ufs-threads", "goosefs.master.metadata.sync.ufs.prefetch.pool.size", GFS_CFG_INT, "16", 1,
     1024, "N", "directories listed at their origins at the same time, at most 64"},
    {"rpc-calls", "goosefs.master.rpc.calls.max", GFS_CFG_INT, "32768", 1, 1 << 20, "N",
     "calls served at the same time, about 20 KiB each; others are told to try again"},
    {"block-size", "goosefs.user.block.size.bytes.default", GFS_CFG_SIZE, "4MB", 0, 0, "SIZE",
     "unit in which workers fetch, told to clients"},
    {"heartbeat", "goosefs.master.embedded.journal.heartbeat.interval", GFS_CFG_DURATION, "30ms", 0,
     0, "TIME", "between the leader and its followers"},
    {"election-timeout", "goosefs.master.embedded.journal.election.timeout.min", GFS_CFG_DURATION,
     "150ms", 0, 0, "TIME", "silence of the leader before an election; each waits up to twice it"},
    {"checkpoint-entries", "goosefs.master.journal.checkpoint.period.entries", GFS_CFG_INT,
     "100000", 1, INT64_MAX, "N", "journal entries between two snapshots"},
    {"shutdown-timeout", "goosefs.master.shutdown.timeout", GFS_CFG_DURATION, "5s", 0, 0, "TIME",
     "at SIGTERM: to hand leadership over and finish running calls"},
};

static const struct gfs_cfg_program PROGRAM = {
    .name = "goosefs-master",
    .summary = "serves the namespace of a GooseFS cluster as one of its Raft-elected masters",
    .options = OPTIONS,
    .n_options = sizeof(OPTIONS) / sizeof(OPTIONS[0]),
    .epilog = "SIGTERM hands leadership over and stops; it can be killed at any time.\n"
              "Exit codes: 0 stopped, 1 cannot start or go on, 2 bad option.",
};

/* Raft or the metastore died: what is on disk decides, so nothing is written any more. */
static void on_fatal(void *arg, const char *why)
{
    (void)arg;
    (void)why; /* logged already */
    _exit(EXIT_CANNOT);
}

static const char *first_of(const char *a, const char *b)
{
    return *a != '\0' ? a : b;
}

static int64_t ms(const struct gfs_cfg *cfg, const char *name)
{
    int64_t ns = gfs_cfg_duration(cfg, name);

    return ns < 0 ? -1 : ns / GFS_NS_PER_MS;
}

static void fill_opts(const struct gfs_cfg *cfg, const char *hostname,
                      const struct gfs_hosts *hosts, struct gfs_master_opts *o)
{
    const char *bind = gfs_cfg_str(cfg, "goosefs.master.bind.host");
    int64_t threads = gfs_cfg_int(cfg, "goosefs.master.metadata.sync.ufs.prefetch.pool.size");

    *o = (struct gfs_master_opts){
        .hostname = first_of(gfs_cfg_str(cfg, "goosefs.master.hostname"), hostname),
        .journal_addresses = gfs_cfg_str(cfg, "goosefs.master.embedded.journal.addresses"),
        .rpc_addresses = gfs_cfg_str(cfg, "goosefs.master.rpc.addresses"),
        .rpc_bind_host = first_of(gfs_cfg_str(cfg, "goosefs.master.rpc.bind.host"), bind),
        .web_bind_host = first_of(gfs_cfg_str(cfg, "goosefs.master.web.bind.host"), bind),
        .journal_bind_host =
            first_of(gfs_cfg_str(cfg, "goosefs.master.embedded.journal.bind.host"), bind),
        .rpc_port = (uint16_t)gfs_cfg_int(cfg, "goosefs.master.rpc.port"),
        .web_port = (uint16_t)gfs_cfg_int(cfg, "goosefs.master.web.port"),
        .journal_port = (uint16_t)gfs_cfg_int(cfg, "goosefs.master.embedded.journal.port"),
        .journal_dir = gfs_cfg_str(cfg, "goosefs.master.journal.folder"),
        .metastore_dir = gfs_cfg_str(cfg, "goosefs.master.metastore.dir"),
        .cluster_id = gfs_cfg_str(cfg, "goosefs.master.cluster.id"),
        .hosts = hosts,
        .has_sync_interval = true,
        .sync_interval_ms = ms(cfg, "goosefs.user.file.metadata.sync.interval"),
        .worker_timeout_ms = ms(cfg, "goosefs.master.worker.timeout"),
        .ufs_threads = threads > 64 ? 64 : (uint32_t)threads,
        .rpc_calls = (uint32_t)gfs_cfg_int(cfg, "goosefs.master.rpc.calls.max"),
        .block_size = (uint32_t)gfs_cfg_size(cfg, "goosefs.user.block.size.bytes.default"),
        .heartbeat_ms = (uint32_t)ms(cfg, "goosefs.master.embedded.journal.heartbeat.interval"),
        .election_ms = (uint32_t)ms(cfg, "goosefs.master.embedded.journal.election.timeout.min"),
        .checkpoint_entries =
            (uint64_t)gfs_cfg_int(cfg, "goosefs.master.journal.checkpoint.period.entries"),
        .on_fatal = on_fatal,
    };
}

/* Runs until SIGTERM or SIGINT. */
static int serve(const struct gfs_cfg *cfg, const struct gfs_master_opts *opts,
                 const sigset_t *signals)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_master *m = NULL;
    int64_t timeout = ms(cfg, "goosefs.master.shutdown.timeout");
    int signal_number = 0;
    int rc = gfs_master_new(opts, &m, &err);

    if (rc != 0) {
        gfs_error(LOG, "bad configuration", "why=%s", GFS_Q(err.text));
        return EXIT_USAGE;
    }

    rc = gfs_master_start(m, &err);
    if (rc != 0) {
        gfs_error(LOG, "cannot start", "why=%s", GFS_Q(err.text));
        (void)gfs_master_free(m);
        return EXIT_CANNOT;
    }

    (void)sigwait(signals, &signal_number);
    gfs_info(LOG, "stopping", "signal=%s", signal_number == SIGTERM ? "TERM" : "INT");
    gfs_master_stop(m, timeout < 1 ? 1 : (uint32_t)timeout);
    (void)gfs_master_free(m);
    return 0;
}

static int run(const struct gfs_cfg *cfg, const sigset_t *signals)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_hosts *hosts = NULL;
    struct gfs_master_opts opts;
    char hostname[GFS_HOST_NAME_MAX + 1] = "";
    int rc = gfs_hosts_load(gfs_cfg_str(cfg, "goosefs.network.hosts.file"), &hosts, &err);

    if (rc != 0) {
        gfs_error(LOG, "bad configuration", "why=%s", GFS_Q(err.text));
        return EXIT_USAGE;
    }

    (void)gethostname(hostname, sizeof(hostname) - 1);
    fill_opts(cfg, hostname, hosts, &opts);
    gfs_rpc_init();
    rc = serve(cfg, &opts, signals);
    gfs_rpc_shutdown();
    (void)gfs_hosts_free(hosts);
    return rc;
}

int main(int argc, char **argv)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_cfg *cfg = NULL;
    sigset_t signals;
    int rc = gfs_cfg_parse(&PROGRAM, argc, argv, &cfg, &err);

    if (rc != 0) {
        if (rc < 0) {
            (void)fprintf(stderr, "goosefs-master: %s\n", gfs_err_text(&err, rc));
        }
        return rc < 0 ? EXIT_USAGE : 0;
    }

    /* Blocked in every thread; main waits for them. */
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    rc = run(cfg, &signals);
    (void)gfs_cfg_free(cfg);
    return rc;
}
