/* fsadmin journal: the masters' Raft group and their checkpoints. */
#include "cli_priv.h"

#include <string.h>

#include <gfs/base/str.h>

static int quorum_info(struct gfsi_cli *cli, struct gfs_client *client)
{
    const Goosefs__V1__GetQuorumInfoRequest request = GOOSEFS__V1__GET_QUORUM_INFO_REQUEST__INIT;
    Goosefs__V1__GetQuorumInfoResponse *info = NULL;
    const int rc = gfs_client_get_quorum_info(client, &request, &info, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    (void)fprintf(cli->out, "Journal domain\t: MASTER\nQuorum size\t: %zu\nQuorum leader\t: %s\n\n",
                  info->n_servers,
                  info->leader_raft_address[0] != '\0' ? info->leader_raft_address : "UNKNOWN");
    (void)fprintf(cli->out, "%-11s | %-8s | %s\n", "STATE", "PRIORITY", "SERVER ADDRESS");
    for (size_t i = 0; i < info->n_servers; i++) {
        const Goosefs__V1__QuorumServer *server = info->servers[i];
        (void)fprintf(cli->out, "%-11s | %-8u | %s\n",
                      server->available ? "AVAILABLE" : "UNAVAILABLE", server->priority,
                      server->address != NULL ? server->address->raft_address : "");
    }
    goosefs__v1__get_quorum_info_response__free_unpacked(info, NULL);
    return 0;
}

static int quorum_elect(struct gfsi_cli *cli, struct gfs_client *client)
{
    const char *address = gfsi_cli_value(cli, "-address");
    (void)fprintf(cli->out, "Initiating transfer of leadership to %s\n", address);
    Goosefs__V1__TransferLeadershipRequest request = GOOSEFS__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
    request.raft_address = (char *)(uintptr_t)address;
    Goosefs__V1__TransferLeadershipResponse *response = NULL;
    const int rc = gfs_client_transfer_leadership(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        (void)fprintf(cli->out, "Failed to elect %s as the new leader: %s\n", address,
                      gfs_err_text(&cli->error, rc));
        return rc;
    }
    goosefs__v1__transfer_leadership_response__free_unpacked(response, NULL);
    (void)fprintf(cli->out, "Successfully elected %s as the new leader\n", address);
    return 0;
}

static int quorum_remove(struct gfsi_cli *cli, struct gfs_client *client)
{
    const char *address = gfsi_cli_value(cli, "-address");
    Goosefs__V1__RemoveQuorumServerRequest request =
        GOOSEFS__V1__REMOVE_QUORUM_SERVER_REQUEST__INIT;
    request.raft_address = (char *)(uintptr_t)address;
    Goosefs__V1__RemoveQuorumServerResponse *response = NULL;
    const int rc = gfs_client_remove_quorum_server(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    goosefs__v1__remove_quorum_server_response__free_unpacked(response, NULL);
    (void)fprintf(cli->out, "Removed server at: %s from quorum: MASTER\n", address);
    return 0;
}

static int quorum_add_learner(struct gfsi_cli *cli, struct gfs_client *client)
{
    const char *address = gfsi_cli_value(cli, "-address");
    const char *id = gfsi_cli_value(cli, "-id");
    Goosefs__V1__AddQuorumServerRequest request = GOOSEFS__V1__ADD_QUORUM_SERVER_REQUEST__INIT;
    request.raft_address = (char *)(uintptr_t)address;
    if (id != NULL && (gfs_parse_u64(id, UINT32_MAX, &request.id) != 0 || request.id == 0)) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "-id takes a number from 1 on");
    }
    Goosefs__V1__AddQuorumServerResponse *response = NULL;
    const int rc = gfs_client_add_quorum_server(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    (void)fprintf(cli->out, "Added learner at: %s to quorum: MASTER, id %llu\n", address,
                  (unsigned long long)response->id);
    goosefs__v1__add_quorum_server_response__free_unpacked(response, NULL);
    return 0;
}

static int quorum_promote(struct gfsi_cli *cli, struct gfs_client *client)
{
    const char *address = gfsi_cli_value(cli, "-address");
    Goosefs__V1__PromoteQuorumServerRequest request =
        GOOSEFS__V1__PROMOTE_QUORUM_SERVER_REQUEST__INIT;
    request.raft_address = (char *)(uintptr_t)address;
    Goosefs__V1__PromoteQuorumServerResponse *response = NULL;
    const int rc = gfs_client_promote_quorum_server(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    goosefs__v1__promote_quorum_server_response__free_unpacked(response, NULL);
    (void)fprintf(cli->out, "Promoted server at: %s to voter of quorum: MASTER\n", address);
    return 0;
}

static const struct quorum_verb {
    const char *name;
    bool address;
    int (*run)(struct gfsi_cli *cli, struct gfs_client *client);
} quorum_verbs[] = {
    {"info", false, quorum_info},
    {"elect", true, quorum_elect},
    {"add-learner", true, quorum_add_learner},
    {"promote", true, quorum_promote},
    {"remove", true, quorum_remove},
};

static int run_quorum(struct gfsi_cli *cli, const char *name)
{
    const char *domain = gfsi_cli_value(cli, "-domain");
    if (domain != NULL && strcmp(domain, "MASTER") != 0) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "the only -domain is MASTER");
    }
    for (size_t i = 0; i < sizeof(quorum_verbs) / sizeof(quorum_verbs[0]); i++) {
        const struct quorum_verb *verb = &quorum_verbs[i];
        if (strcmp(verb->name, name) != 0) {
            continue;
        }
        if (verb->address && gfsi_cli_value(cli, "-address") == NULL) {
            return gfs_err_set(&cli->error, GFS_EINVAL, "-address is missing");
        }
        struct gfs_client *client;
        const int rc = gfsi_cli_client(cli, &client);
        return rc < 0 ? rc : verb->run(cli, client);
    }
    return gfs_err_set(&cli->error, GFS_EINVAL,
                       "there is no 'quorum %.32s': info, elect, add-learner, promote, remove",
                       name);
}

static int run_checkpoint(struct gfsi_cli *cli)
{
    const Goosefs__V1__CheckpointRequest request = GOOSEFS__V1__CHECKPOINT_REQUEST__INIT;
    Goosefs__V1__CheckpointResponse *response = NULL;
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    rc = rc < 0 ? rc : gfs_client_checkpoint(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    (void)fprintf(cli->out, "Successfully took a checkpoint on master %s\n", response->host);
    goosefs__v1__checkpoint_response__free_unpacked(response, NULL);
    return 0;
}

int gfsi_run_master_journal(struct gfsi_cli *cli)
{
    if (strcmp(cli->operands[0], "checkpoint") == 0 && cli->n_operands == 1) {
        return run_checkpoint(cli);
    }
    if (strcmp(cli->operands[0], "quorum") == 0 && cli->n_operands == 2) {
        return run_quorum(cli, cli->operands[1]);
    }
    return gfs_err_set(&cli->error, GFS_EINVAL,
                       "expected 'checkpoint' or 'quorum info|elect|add-learner|promote|remove'");
}
