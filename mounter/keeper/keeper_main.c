/* fuse-keeper: holds FUSE mounts so that their clients may die. */
#include <stdio.h>

#include <gfs/base/cfg.h>
#include <gfs/base/log.h>

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
    };
    rc = gfsi_keeper_new(&config, &keeper, &err);
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
