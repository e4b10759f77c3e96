/* MetaMaster: who the masters are and who leads. The rest of it is in quorum_service.c. */
#include "info_priv.h"
#include "quorum_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>

void gfsi_info_master(const struct gfs_master *m, const struct raft_node_peer_status *peer,
                      Goosefs__V1__MasterAddress *out)
{
    static const uint8_t unknown[sizeof(peer->incarnation)];
    const struct gfsi_member *member = gfsi_members_find(&m->members, peer->id);

    goosefs__v1__master_address__init(out);
    out->id = peer->id;
    out->rpc_address = (char *)(uintptr_t)(member == NULL ? "" : member->rpc);
    out->raft_address = (char *)(uintptr_t)peer->address;
    if (memcmp(peer->incarnation, unknown, sizeof(unknown)) != 0) {
        out->incarnation.data = (uint8_t *)(uintptr_t)peer->incarnation;
        out->incarnation.len = sizeof(peer->incarnation);
    }
}

/* A master that has yet to join knows only the list it was given. */
static void fill_from_list(const struct gfs_master *m, struct raft_node_info *info)
{
    for (size_t i = 0; info->n_peers == 0 && i < m->members.n; i++) {
        info->peers[i] = (struct raft_node_peer_status){.id = i + 1};
        (void)gfs_str_copy(info->peers[i].address, sizeof(info->peers[i].address),
                           m->members.v[i].raft);
    }

    info->n_peers = info->n_peers == 0 ? m->members.n : info->n_peers;
}

static bool no_worker_yet(struct gfs_master *m)
{
    struct gfsi_worker *list = NULL;
    size_t n = 0;

    if (gfsi_registry_list(m->registry, gfs_clock_mono() / GFS_NS_PER_MS, &list, &n) != 0) {
        return false;
    }

    free(list);
    return n == 0;
}

static void on_master_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    struct gfs_master *m = user;
    Goosefs__V1__GetMasterInfoResponse response = GOOSEFS__V1__GET_MASTER_INFO_RESPONSE__INIT;
    Goosefs__V1__MasterAddress addresses[RAFT_NODE_MAX_PEERS];
    Goosefs__V1__MasterAddress *list[RAFT_NODE_MAX_PEERS];
    struct raft_node_info info;

    (void)request;
    raft_node_status(m->node, &info);
    fill_from_list(m, &info);
    for (size_t i = 0; i < info.n_peers; i++) {
        gfsi_info_master(m, &info.peers[i], &addresses[i]);
        list[i] = &addresses[i];
    }

    response.leader_rpc_address = (char *)(uintptr_t)gfsi_leader_address(m);
    response.n_masters = info.n_peers;
    response.masters = list;
    response.this_rpc_address = m->members.v[m->members.self - 1].rpc;
    response.this_is_leader = raft_node_is_leader(m->node);
    response.term = info.term;
    response.commit_index = info.commit_index;
    response.applied_index = info.applied_index;
    response.start_time_ms = m->start_ms;
    response.version = (char *)(uintptr_t)gfs_version();
    response.web_port = m->web == NULL ? 0 : gfs_http_port(m->web);
    response.rpc_port = m->opts.rpc_port;
    response.cluster_id = m->cluster;
    response.safe_mode = no_worker_yet(m);
    gfs_rpc_reply(call, &response.base);
}

int gfsi_meta_service_add(struct gfs_master *m, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"GetMasterInfo", on_master_info},
        {"GetQuorumInfo", gfsi_on_quorum_info},
        {"TransferLeadership", gfsi_on_transfer},
        {"AddQuorumServer", gfsi_on_add_server},
        {"PromoteQuorumServer", gfsi_on_promote_server},
        {"RemoveQuorumServer", gfsi_on_remove_server},
        {"RejoinQuorum", gfsi_on_rejoin},
        {"Checkpoint", gfsi_on_checkpoint},
        {NULL, NULL},
    };

    return gfs_rpc_server_add_service(m->rpc, &goosefs__v1__meta_master__descriptor, methods, m,
                                      err);
}
