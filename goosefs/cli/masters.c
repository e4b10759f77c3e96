/* masterInfo, leader. */
#include "cli_priv.h"

#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define ASK_AGAIN_NS (50 * GFS_NS_PER_MS)

/* Whoever answers tells; through an election nobody knows for a moment, so asks again. */
int gfsi_find_leader(struct gfsi_cli *cli, Goosefs__V1__GetMasterInfoResponse **out)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    int64_t patience = 0;
    const char *text = gfsi_config_get(cli, "goosefs.user.rpc.retry.max.duration");
    (void)gfs_parse_duration(text, &patience);
    const int64_t deadline = gfs_clock_mono() + patience;
    const Goosefs__V1__GetMasterInfoRequest request = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    for (;;) {
        Goosefs__V1__GetMasterInfoResponse *info = NULL;
        rc = gfs_client_get_master_info(client, &request, &info, deadline, &cli->error);
        if (rc < 0) {
            return rc;
        }
        if (info->leader_rpc_address[0] != '\0' || gfs_clock_mono() + ASK_AGAIN_NS >= deadline) {
            *out = info;
            return 0;
        }
        goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
        gfs_clock_sleep_until(gfs_clock_mono() + ASK_AGAIN_NS);
    }
}

/* The two lines of the multi-master deployment guide, and nothing else. */
int gfsi_run_master_info(struct gfsi_cli *cli)
{
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    const int rc = gfsi_find_leader(cli, &info);
    if (rc < 0) {
        (void)fprintf(cli->out, "Failed to find leader master\n");
        return rc;
    }
    const bool leader = info->leader_rpc_address[0] != '\0';
    if (leader) {
        (void)fprintf(cli->out, "current leader master: %s\n", info->leader_rpc_address);
    } else {
        (void)fprintf(cli->out, "Failed to find leader master\n");
    }
    (void)fprintf(cli->out, "All masters: [");
    for (size_t i = 0; i < info->n_masters; i++) {
        (void)fprintf(cli->out, "%s%s", i > 0 ? ", " : "", info->masters[i]->rpc_address);
    }
    (void)fprintf(cli->out, "]\n");
    goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
    return leader ? 0 : GFSI_CLI_SILENT + 1;
}

int gfsi_run_leader(struct gfsi_cli *cli)
{
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    int rc = gfsi_find_leader(cli, &info);
    if (rc < 0) {
        return rc;
    }
    const char *address = info->leader_rpc_address;
    const char *colon = strrchr(address, ':');
    if (address[0] == '\0') {
        rc = gfs_err_set(&cli->error, GFS_EUNAVAIL, "the masters have no leader");
    } else {
        (void)fprintf(cli->out, "%.*s\n",
                      (int)(colon != NULL ? (size_t)(colon - address) : strlen(address)), address);
    }
    goosefs__v1__get_master_info_response__free_unpacked(info, NULL);
    return rc;
}
