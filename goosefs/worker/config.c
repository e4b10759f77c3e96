/* The worker's options, and its tiers out of GooseFS's property names. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <gfs/base/str.h>
#include <gfs/worker/worker.h>

#define TIER "goosefs.worker.tieredstore.level%d.%s"

static const struct gfs_cfg_option OPTIONS[] = {
    {"hostname", "goosefs.worker.hostname", GFS_CFG_STR, "", 0, 0, "NAME",
     "name of this worker as masters and clients know it; default: the machine's"},
    {"container-hostname", "goosefs.worker.container.hostname", GFS_CFG_STR, "", 0, 0, "HOST",
     "where clients reach the data port, if not under its name (a pod's address)"},
    {"bind-host", "goosefs.worker.bind.host", GFS_CFG_STR, "", 0, 0, "ADDRESS",
     "address to bind the data port; default: every one"},
    {"rpc-port", "goosefs.worker.rpc.port", GFS_CFG_INT, "9203", 0, 65535, "PORT",
     "data port for clients; 0 takes a free one"},
    {"web-port", "goosefs.worker.web.port", GFS_CFG_INT, "9204", -1, 65535, "PORT",
     "port of metrics and health; 0 takes a free one, -1 none"},
    {"web-bind-host", "goosefs.worker.web.bind.host", GFS_CFG_STR, "", 0, 0, "ADDRESS",
     "address to bind the web port; default: as the data port"},
    {"local-socket", "goosefs.worker.data.server.domain.socket.address", GFS_CFG_STR, "", 0, 0,
     "PATH",
     "unix socket for clients on this node; default: data.sock in the first tier directory"},
    {"local-socket-group", "goosefs.worker.data.server.domain.socket.group", GFS_CFG_INT, "64532",
     0, UINT32_MAX - 1, "GID",
     "group that may connect to the unix socket, which is that of clients without privileges; 0: "
     "the worker's own"},
    {"rpc-addresses", "goosefs.master.rpc.addresses", GFS_CFG_STR, "", 0, 0, "HOST:PORT,...",
     "the masters"},
    {"data-folder", "goosefs.worker.data.folder", GFS_CFG_STR, "goosefsworker", 0, 0, "NAME",
     "directory of the cache in each tier directory"},
    {"levels", "goosefs.worker.tieredstore.levels", GFS_CFG_INT, "1", 1, GFS_WORKER_TIERS_MAX, "N",
     "number of tiers; each has goosefs.worker.tieredstore.levelN. properties, see below"},
    {"block-size", "goosefs.worker.fill.block.size", GFS_CFG_SIZE, "4MB", 0, 0, "SIZE",
     "unit of fetching and caching, a power of two from 64KB to 4MB"},
    {"fetch-threads", "goosefs.worker.ufs.fetch.threads", GFS_CFG_INT, "16", 1, 64, "N",
     "ranges fetched from under file systems at the same time"},
    {"readahead", "goosefs.worker.readahead.blocks", GFS_CFG_INT, "8", 0, 64, "N",
     "blocks fetched ahead of a sequential read; 0 none"},
    {"send-threads", "goosefs.worker.network.send.threads", GFS_CFG_INT, "8", 1, 64, "N",
     "answers sent at the same time"},
    {"connections", "goosefs.worker.network.connections.max", GFS_CFG_INT, "1024", 1, 65536, "N",
     "data connections; those beyond are closed at once"},
    {"read-through", "goosefs.worker.read.through.max", GFS_CFG_SIZE, "256MB", 0, 0, "SIZE",
     "memory for blocks that no tier has room for"},
    {"heartbeat", "goosefs.worker.block.heartbeat.interval", GFS_CFG_DURATION, "1s", 0, 0, "TIME",
     "between two heartbeats to a master"},
    {"shutdown-timeout", "goosefs.worker.shutdown.timeout", GFS_CFG_DURATION, "5s", 0, 0, "TIME",
     "at SIGTERM: to finish answers in progress"},
    {"hosts-file", "goosefs.network.hosts.file", GFS_CFG_STR, "", 0, 0, "FILE",
     "names and addresses in the form of /etc/hosts, asked before the resolver"},
};

const struct gfs_cfg_option *gfs_worker_options(size_t *n)
{
    *n = sizeof(OPTIONS) / sizeof(OPTIONS[0]);
    return OPTIONS;
}

static int copy(char *dst, size_t size, const char *value, const char *name, struct gfs_err *err)
{
    if (gfs_str_copy(dst, size, value) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s is longer than %zu bytes", name, size - 1);
    }
    return 0;
}

/* ---- tiers ---------------------------------------------------------------------------------- */

/* The i-th word of a comma-separated list, trimmed; false when there is none. */
static bool word(const char *list, size_t i, char *out, size_t size)
{
    const char *p = list;

    for (; i > 0; i--) {
        p = strchr(p, ',');
        if (p == NULL) {
            return false;
        }
        p++;
    }
    p += strspn(p, " \t");

    size_t len = strcspn(p, ",");

    while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t')) {
        len--;
    }
    if (len >= size) {
        len = size - 1;
    }
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

struct level {
    int number;
    const char *alias;
    const char *paths;
    const char *media;
    const char *quotas;
    double high;
    double low;
};

static const char *level_property(const struct gfs_cfg *cfg, int level, const char *name)
{
    char key[128];

    (void)snprintf(key, sizeof(key), TIER, level, name);

    const char *value = gfs_cfg_property(cfg, key);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int ratio(const struct gfs_cfg *cfg, int level, const char *name, double fallback,
                 double *out, struct gfs_err *err)
{
    const char *value = level_property(cfg, level, name);

    *out = fallback;
    if (value != NULL && gfs_parse_ratio(value, out) < 0) {
        return gfs_err_set(err, GFS_EINVAL, TIER ": '%s' is not a ratio from 0 to 1", level, name,
                           value);
    }
    return 0;
}

static bool medium_known(const char *medium)
{
    return strcmp(medium, "MEM") == 0 || strcmp(medium, "SSD") == 0 || strcmp(medium, "HDD") == 0;
}

static int read_level(const struct gfs_cfg *cfg, int number, struct level *out, struct gfs_err *err)
{
    *out = (struct level){
        .number = number,
        .alias = level_property(cfg, number, "alias"),
        .paths = level_property(cfg, number, "dirs.path"),
        .media = level_property(cfg, number, "dirs.mediumtype"),
        .quotas = level_property(cfg, number, "dirs.quota"),
    };
    if (out->paths == NULL) {
        return gfs_err_set(err, GFS_EINVAL, TIER " is not set: where is the cache to be?", number,
                           "dirs.path");
    }
    if (out->quotas == NULL) {
        return gfs_err_set(err, GFS_EINVAL, TIER " is not set: how large may the cache become?",
                           number, "dirs.quota");
    }

    int rc = ratio(cfg, number, "watermark.high.ratio", 0.95, &out->high, err);

    if (rc == 0) {
        rc = ratio(cfg, number, "watermark.low.ratio", out->high < 0.7 ? out->high : 0.7, &out->low,
                   err);
    }
    if (rc == 0 && (out->high <= 0 || out->high < out->low)) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.worker.tieredstore.level%d: the high watermark %g must be "
                           "above 0 and not below the low one %g",
                           number, out->high, out->low);
    }
    return rc;
}

static int read_dir(const struct level *level, size_t i, struct gfs_worker_tier *out,
                    struct gfs_err *err)
{
    char medium[16];
    char quota[64];

    if (!word(level->paths, i, out->path, sizeof(out->path)) || out->path[0] != '/') {
        return gfs_err_set(err, GFS_EINVAL, TIER ": '%s' is not an absolute path", level->number,
                           "dirs.path", out->path);
    }

    /* A list of one stands for every directory. */
    if (level->media == NULL ||
        (!word(level->media, i, medium, sizeof(medium)) &&
         (strchr(level->media, ',') != NULL || !word(level->media, 0, medium, sizeof(medium))))) {
        (void)snprintf(medium, sizeof(medium), "%.15s",
                       level->alias != NULL ? level->alias : "MEM");
    }
    if (!medium_known(medium)) {
        return gfs_err_set(err, GFS_EINVAL, TIER ": '%s' is not one of MEM, SSD, HDD",
                           level->number, "dirs.mediumtype", medium);
    }
    if (!word(level->quotas, i, quota, sizeof(quota))) {
        return gfs_err_set(err, GFS_EINVAL, TIER " has no quota for '%s'", level->number,
                           "dirs.quota", out->path);
    }
    if (gfs_parse_size(quota, &out->quota) < 0 || out->quota == 0 || out->quota > INT64_MAX) {
        return gfs_err_set(err, GFS_EINVAL, TIER ": '%s' is not a size like 2G or 512MB",
                           level->number, "dirs.quota", quota);
    }
    (void)snprintf(out->alias, sizeof(out->alias), "%.15s",
                   level->alias != NULL ? level->alias : medium);
    out->high = level->high;
    out->low = level->low;
    return 0;
}

static int load_tiers(const struct gfs_cfg *cfg, struct gfs_worker_config *out, struct gfs_err *err)
{
    int levels = (int)gfs_cfg_int(cfg, "goosefs.worker.tieredstore.levels");

    for (int number = 0; number < levels; number++) {
        struct level level;
        char path[1024];
        int rc = read_level(cfg, number, &level, err);

        for (size_t i = 0; rc == 0 && word(level.paths, i, path, sizeof(path)); i++) {
            if (out->n_tiers == GFS_WORKER_DIRS_MAX) {
                return gfs_err_set(err, GFS_EINVAL, "more than %d tier directories",
                                   GFS_WORKER_DIRS_MAX);
            }
            rc = read_dir(&level, i, &out->tiers[out->n_tiers++], err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int load_masters(const struct gfs_cfg *cfg, struct gfs_worker_config *out,
                        struct gfs_err *err)
{
    const char *list = gfs_cfg_str(cfg, "goosefs.master.rpc.addresses");
    char address[GFS_HOST_NAME_MAX + 16];

    for (size_t i = 0; list[0] != '\0' && word(list, i, address, sizeof(address)); i++) {
        char host[GFS_HOST_NAME_MAX + 1];
        uint16_t port = 0;

        if (i == GFS_WORKER_MASTERS_MAX) {
            return gfs_err_set(err, GFS_EINVAL,
                               "goosefs.master.rpc.addresses: more than %d masters",
                               GFS_WORKER_MASTERS_MAX);
        }
        if (gfs_hostport_split(address, host, sizeof(host), &port) < 0 ||
            gfs_str_copy(out->masters[i], sizeof(out->masters[i]), address) < 0) {
            return gfs_err_set(err, GFS_EINVAL,
                               "goosefs.master.rpc.addresses: '%s' is not "
                               "host:port",
                               address);
        }
        out->n_masters++;
    }
    if (out->n_masters == 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.master.rpc.addresses is not set: who are the "
                           "masters?");
    }
    return 0;
}

/* GooseFS writes the folder with slashes around it. */
static int load_folder(const struct gfs_cfg *cfg, struct gfs_worker_config *out,
                       struct gfs_err *err)
{
    const char *folder = gfs_cfg_str(cfg, "goosefs.worker.data.folder");

    folder += strspn(folder, "/");

    size_t len = strlen(folder);

    while (len > 0 && folder[len - 1] == '/') {
        len--;
    }
    if (len >= sizeof(out->data_folder) || !gfs_name_valid(folder, len)) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.worker.data.folder: '%s' is not the name of one directory",
                           folder);
    }
    memcpy(out->data_folder, folder, len);
    out->data_folder[len] = '\0';
    return 0;
}

static int load_sizes(const struct gfs_cfg *cfg, struct gfs_worker_config *out, struct gfs_err *err)
{
    uint64_t block = gfs_cfg_size(cfg, "goosefs.worker.fill.block.size");

    if (block < 64 * 1024 || block > 4 * 1024 * 1024 || (block & (block - 1)) != 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.worker.fill.block.size: %" PRIu64
                           " is not a power of two from 64KB to 4MB",
                           block);
    }
    out->block_size = (uint32_t)block;
    out->fetch_threads = (unsigned)gfs_cfg_int(cfg, "goosefs.worker.ufs.fetch.threads");
    out->readahead_blocks = (unsigned)gfs_cfg_int(cfg, "goosefs.worker.readahead.blocks");
    out->send_threads = (unsigned)gfs_cfg_int(cfg, "goosefs.worker.network.send.threads");
    out->connections_max = (unsigned)gfs_cfg_int(cfg, "goosefs.worker.network.connections.max");
    out->read_through_max = gfs_cfg_size(cfg, "goosefs.worker.read.through.max");
    out->heartbeat_ns = gfs_cfg_duration(cfg, "goosefs.worker.block.heartbeat.interval");
    out->drain_ns = gfs_cfg_duration(cfg, "goosefs.worker.shutdown.timeout");
    if (out->heartbeat_ns <= 0 || out->drain_ns < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "goosefs.worker.block.heartbeat.interval and "
                           "goosefs.worker.shutdown.timeout must be positive");
    }
    return 0;
}

int gfs_worker_config_load(const struct gfs_cfg *cfg, struct gfs_worker_config *out,
                           struct gfs_err *err)
{
    struct gfs_worker_config c = {.n_tiers = 0};
    const char *bind = gfs_cfg_str(cfg, "goosefs.worker.bind.host");
    const char *web_bind = gfs_cfg_str(cfg, "goosefs.worker.web.bind.host");
    const char *hostname = gfs_cfg_str(cfg, "goosefs.worker.hostname");
    const char *reached = gfs_cfg_str(cfg, "goosefs.worker.container.hostname");
    char machine[GFS_HOST_NAME_MAX + 1] = "localhost";

    (void)gethostname(machine, sizeof(machine) - 1);

    int rc = copy(c.hostname, sizeof(c.hostname), hostname[0] != '\0' ? hostname : machine,
                  "goosefs.worker.hostname", err);

    if (rc == 0) {
        rc = copy(c.data_host, sizeof(c.data_host), reached[0] != '\0' ? reached : c.hostname,
                  "goosefs.worker.container.hostname", err);
    }
    if (rc == 0) {
        rc = copy(c.bind_host, sizeof(c.bind_host), bind, "goosefs.worker.bind.host", err);
    }
    if (rc == 0) {
        rc = copy(c.web_bind_host, sizeof(c.web_bind_host), web_bind[0] != '\0' ? web_bind : bind,
                  "goosefs.worker.web.bind.host", err);
    }
    if (rc == 0) {
        rc = copy(c.local_socket, sizeof(c.local_socket),
                  gfs_cfg_str(cfg, "goosefs.worker.data.server.domain.socket.address"),
                  "goosefs.worker.data.server.domain.socket.address", err);
    }
    c.local_group = (uint32_t)gfs_cfg_int(cfg, "goosefs.worker.data.server.domain.socket.group");
    c.data_port = (uint16_t)gfs_cfg_int(cfg, "goosefs.worker.rpc.port");
    c.web_port = (int)gfs_cfg_int(cfg, "goosefs.worker.web.port");
    if (rc == 0) {
        rc = load_masters(cfg, &c, err);
    }
    if (rc == 0) {
        rc = load_folder(cfg, &c, err);
    }
    if (rc == 0) {
        rc = load_sizes(cfg, &c, err);
    }
    if (rc == 0) {
        rc = load_tiers(cfg, &c, err);
    }
    if (rc == 0) {
        *out = c;
    }
    return rc;
}
