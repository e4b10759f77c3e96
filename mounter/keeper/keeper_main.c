/* fuse-keeper: holds FUSE mounts so that their clients may die. */
#include <stdio.h>
#include <string.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "keeper.h"

static const struct gfs_cfg_option options[] = {
    {.flag = "socket",
     .property = "goosefs.keeper.socket",
     .type = GFS_CFG_STR,
     .default_value = "/run/goosefs/keeper.sock",
     .metavar = "PATH",
     .help = "unix socket to listen at"},
    {.flag = "state-dir",
     .property = "goosefs.keeper.state.dir",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "DIR",
     .help = "where a successor finds the mounts; unset: the socket's path and \".d\""},
    {.flag = "leave",
     .type = GFS_CFG_BOOL,
     .default_value = "false",
     .help = "at SIGTERM leave the mounts, served by their clients, instead of unmounting"},
    {.flag = "client-user",
     .property = "goosefs.keeper.client.user",
     .type = GFS_CFG_STR,
     .default_value = "64532",
     .metavar = "UID[:GID]",
     .help = "what clients run as whose mount does not say; 0: root"},
    {.flag = "stall-timeout",
     .property = "goosefs.keeper.stall.timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "10m",
     .max = 3600 * GFS_NS_PER_S,
     .metavar = "TIME",
     .help =
         "replace a client that works at one request for so long, if it answers pings; 0: never"},
    {.flag = "max-failures",
     .property = "goosefs.keeper.max.failures",
     .type = GFS_CFG_INT,
     .default_value = "100",
     .min = 0,
     .max = 1000000,
     .metavar = "N",
     .help =
         "abort the connection, so that who waits gets an error, after so many clients in a row "
         "that served nothing (about 8 min); 0: wait for ever"},
};

static const struct gfs_cfg_program program = {
    .name = "fuse-keeper",
    .summary = "holds FUSE mounts, starts their clients and replaces those that die or hang",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .epilog =
        "SIGTERM unmounts everything and stops the clients.\n"
        "SIGKILL, or SIGTERM with --leave, leaves mounts served by their clients; the next keeper\n"
        "at the same socket takes them over.\n",
};

/* UID[:GID]; without GID the same number. */
static int parse_user(const char *text, uint32_t *out_uid, uint32_t *out_gid, struct gfs_err *err)
{
    char uid[16];
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    int64_t u;
    int64_t g;

    if (len >= sizeof(uid)) {
        return gfs_err_set(err, GFS_EINVAL, "--client-user must be UID or UID:GID, numbers");
    }
    memcpy(uid, text, len);
    uid[len] = '\0';
    if (gfs_parse_i64(uid, 0, UINT32_MAX - 1, &u) != 0 ||
        gfs_parse_i64(colon != NULL ? colon + 1 : uid, 0, UINT32_MAX - 1, &g) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "--client-user must be UID or UID:GID, numbers");
    }
    *out_uid = (uint32_t)u;
    *out_gid = (uint32_t)g;
    return 0;
}

int main(int argc, char **argv)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_keeper_config config;
    struct gfsi_keeper *keeper = NULL;
    struct gfs_cfg *cfg = NULL;
    int rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);

    if (rc > 0) {
        return 0;
    }
    if (rc < 0) {
        (void)fprintf(stderr, "fuse-keeper: %s\n", err.text);
        return 2;
    }
    config = (struct gfsi_keeper_config){
        .socket_path = gfs_cfg_str(cfg, "socket"),
        .state_dir = gfs_cfg_str(cfg, "state-dir"),
        .leave = gfs_cfg_bool(cfg, "leave"),
        .stall_timeout_ns = gfs_cfg_duration(cfg, "stall-timeout"),
        .max_failures = (unsigned)gfs_cfg_int(cfg, "max-failures"),
    };
    rc = parse_user(gfs_cfg_str(cfg, "client-user"), &config.client_uid, &config.client_gid, &err);
    if (rc == 0) {
        rc = gfsi_keeper_new(&config, &keeper, &err);
    }
    if (rc == 0) {
        gfs_info("keeper", "listening", "socket=%s", GFS_Q(config.socket_path));
        rc = gfsi_keeper_run(keeper, &err);
    }
    if (rc != 0) {
        gfs_error("keeper", "ended", "error=%s", GFS_Q(err.text));
    }
    (void)gfsi_keeper_free(keeper);
    (void)gfs_cfg_free(cfg);
    return rc == 0 ? 0 : 1;
}
