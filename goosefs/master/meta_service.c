/* MetaMaster: who the masters are, who leads, administration of the group. */
#include "info_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/version.h>

#define ELECTION_MS_DEFAULT 150

static void fill_address(const struct gfs_master *m, uint64_t id, Goosefs__V1__MasterAddress *out)
{
    const struct gfsi_member *member = gfsi_members_find(&m->members, id);

    goosefs__v1__master_address__init(out);
    out->id = id;
    out->rpc_address = (char *)(uintptr_t)(member == NULL ? "" : member->rpc);
    out->raft_address = (char *)(uintptr_t)(member == NULL ? "" : member->raft);
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
    Goosefs__V1__MasterAddress addresses[GFSI_MEMBERS_MAX];
    Goosefs__V1__MasterAddress *list[GFSI_MEMBERS_MAX];
    struct raft_node_info info;

    (void)request;
    raft_node_status(m->node, &info);
    for (size_t i = 0; i < m->members.n; i++) {
        fill_address(m, i + 1, &addresses[i]);
        list[i] = &addresses[i];
    }

    response.leader_rpc_address = (char *)(uintptr_t)gfsi_leader_address(m);
    response.n_masters = m->members.n;
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

static void on_quorum_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    struct gfs_master *m = user;
    Goosefs__V1__GetQuorumInfoResponse response = GOOSEFS__V1__GET_QUORUM_INFO_RESPONSE__INIT;
    Goosefs__V1__QuorumServer servers[RAFT_NODE_MAX_PEERS];
    Goosefs__V1__QuorumServer *list[RAFT_NODE_MAX_PEERS];
    Goosefs__V1__MasterAddress addresses[RAFT_NODE_MAX_PEERS];
    uint32_t election = m->opts.election_ms == 0 ? ELECTION_MS_DEFAULT : m->opts.election_ms;
    struct raft_node_info info;

    (void)request;
    if (!raft_node_is_leader(m->node)) {
        gfsi_fail(m, call, GFS_ENOTLEADER, NULL);
        return;
    }

    raft_node_status(m->node, &info);
    for (size_t i = 0; i < info.n_peers; i++) {
        const struct raft_node_peer_status *peer = &info.peers[i];

        goosefs__v1__quorum_server__init(&servers[i]);
        fill_address(m, peer->id, &addresses[i]);
        addresses[i].raft_address = (char *)(uintptr_t)peer->address;
        servers[i].address = &addresses[i];
        servers[i].priority = 1;
        servers[i].voter = peer->voter;
        servers[i].match_index = peer->id == info.id ? info.last_index : peer->match;
        /* Timeouts lie between one and two of `election`. */
        servers[i].available = peer->id == info.id || (peer->last_contact_ms >= 0 &&
                                                       peer->last_contact_ms <= 4 * election);
        list[i] = &servers[i];
        if (peer->id == info.id) {
            response.leader_raft_address = addresses[i].raft_address;
        }
    }

    response.n_servers = info.n_peers;
    response.servers = list;
    gfs_rpc_reply(call, &response.base);
}

/* ---- administration: a Raft request, answered when it is over ------------------------------- */

struct admin {
    struct gfs_master *m;
    struct gfs_rpc_call *call;
    const ProtobufCMessage *response;
};

static void admin_done(void *arg, int status)
{
    struct admin *admin = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    switch (status) {
    case RAFT_NODE_PENDING:
        rc = gfs_err_set(&err, GFS_EABORTED, "another change of the masters is in progress");
        break;
    case RAFT_NODE_TIMEOUT:
        rc = gfs_err_set(&err, GFS_ETIMEOUT, "not done in time, leadership stays where it was");
        break;
    case RAFT_NODE_NOT_FOUND: rc = gfs_err_set(&err, GFS_ENOENT, "no such master"); break;
    case RAFT_NODE_NOT_READY:
        rc = gfs_err_set(&err, GFS_EPRECONDITION, "%s", raft_node_strerror(status));
        break;
    default: rc = gfsi_journal_error(status, &err); break;
    }

    if (rc == 0) {
        gfs_rpc_reply(admin->call, admin->response);
    } else {
        gfsi_fail(admin->m, admin->call, rc, &err);
    }

    free(admin);
}

static struct admin *admin_new(struct gfs_master *m, struct gfs_rpc_call *call,
                               const ProtobufCMessage *response)
{
    struct admin *admin = malloc(sizeof(*admin));

    if (admin == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return NULL;
    }

    *admin = (struct admin){m, call, response};
    return admin;
}

/* The id of a member by its journal address; 0 and an answer when there is none. */
static uint64_t member_of(struct gfs_master *m, struct gfs_rpc_call *call, const char *address)
{
    uint64_t id = gfsi_members_by_raft(&m->members, address);

    if (id == 0) {
        struct gfs_err err = GFS_ERR_INIT;

        (void)gfs_err_set(&err, GFS_ENOENT, "no master has the journal address '%s'", address);
        gfs_rpc_fail_err(call, GFS_ENOENT, &err);
    }

    return id;
}

static void on_transfer(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    static const Goosefs__V1__TransferLeadershipResponse response =
        GOOSEFS__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
    const Goosefs__V1__TransferLeadershipRequest *q =
        (const Goosefs__V1__TransferLeadershipRequest *)request;
    struct gfs_master *m = user;
    struct admin *admin;
    uint64_t id = 0;

    if (*q->raft_address != '\0') {
        id = member_of(m, call, q->raft_address);
        if (id == 0) {
            return;
        }
    }

    admin = admin_new(m, call, &response.base);
    if (admin != NULL) {
        gfs_info(GFSI_LOG, "leadership transfer asked for", "to=%s",
                 *q->raft_address == '\0' ? "best" : GFS_Q(q->raft_address));
        raft_node_transfer(m->node, id, admin_done, admin);
    }
}

static void on_remove(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    static const Goosefs__V1__RemoveQuorumServerResponse response =
        GOOSEFS__V1__REMOVE_QUORUM_SERVER_RESPONSE__INIT;
    const Goosefs__V1__RemoveQuorumServerRequest *q =
        (const Goosefs__V1__RemoveQuorumServerRequest *)request;
    struct gfs_master *m = user;
    uint64_t id = member_of(m, call, q->raft_address);
    struct admin *admin = id == 0 ? NULL : admin_new(m, call, &response.base);

    if (admin != NULL) {
        gfs_warn(GFSI_LOG, "removal of a master asked for", "address=%s", GFS_Q(q->raft_address));
        raft_node_remove(m->node, id, admin_done, admin);
    }
}

/* Its response names the host, which the others' does not: built when it is over. */
static void checkpoint_done(void *arg, int status)
{
    struct admin *admin = arg;
    Goosefs__V1__CheckpointResponse response = GOOSEFS__V1__CHECKPOINT_RESPONSE__INIT;

    response.host = (char *)(uintptr_t)admin->m->opts.hostname;
    admin->response = &response.base;
    admin_done(admin, status);
}

static void on_checkpoint(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    struct gfs_master *m = user;
    struct admin *admin = admin_new(m, call, NULL);

    (void)request;
    if (admin != NULL) {
        raft_node_snapshot(m->node, checkpoint_done, admin);
    }
}

int gfsi_meta_service_add(struct gfs_master *m, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"GetMasterInfo", on_master_info},   {"GetQuorumInfo", on_quorum_info},
        {"TransferLeadership", on_transfer}, {"RemoveQuorumServer", on_remove},
        {"Checkpoint", on_checkpoint},       {NULL, NULL},
    };

    return gfs_rpc_server_add_service(m->rpc, &goosefs__v1__meta_master__descriptor, methods, m,
                                      err);
}
