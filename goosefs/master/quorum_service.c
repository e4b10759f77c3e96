/* MetaMaster: administration of the Raft group. Each request ends when Raft is through with it. */
#include "quorum_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/log.h>

#include "info_priv.h"

#define ELECTION_MS_DEFAULT 150

void gfsi_on_quorum_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
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
        gfsi_info_master(m, peer, &addresses[i]);
        servers[i].address = &addresses[i];
        servers[i].priority = peer->voter ? 1 : 0; /* as elsewhere: 0 is never elected */
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
    case RAFT_NODE_INVALID:
        rc = gfs_err_set(&err, GFS_EINVAL, "that change of the masters makes no sense now");
        break;
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

static const struct raft_node_peer_status *peer_at(const struct raft_node_info *info,
                                                   const char *address)
{
    for (size_t i = 0; i < info->n_peers; i++) {
        if (strcmp(info->peers[i].address, address) == 0) {
            return &info->peers[i];
        }
    }

    return NULL;
}

/* The id of a member by its journal address; 0 and an answer when there is none. */
static uint64_t member_of(struct gfs_master *m, struct gfs_rpc_call *call, const char *address)
{
    const struct raft_node_peer_status *peer;
    struct gfs_err err = GFS_ERR_INIT;
    struct raft_node_info info;

    raft_node_status(m->node, &info);
    peer = peer_at(&info, address);
    if (peer != NULL) {
        return peer->id;
    }

    (void)gfs_err_set(&err, GFS_ENOENT, "no master has the journal address '%s'", address);
    gfs_rpc_fail_err(call, GFS_ENOENT, &err);
    return 0;
}

void gfsi_on_transfer(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
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

void gfsi_on_remove_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
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

void gfsi_on_checkpoint(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    struct gfs_master *m = user;
    struct admin *admin = admin_new(m, call, NULL);

    (void)request;
    if (admin != NULL) {
        raft_node_snapshot(m->node, checkpoint_done, admin);
    }
}

/* ---- members coming ------------------------------------------------------------------------- */

struct addition {
    struct gfs_master *m;
    struct gfs_rpc_call *call;
    uint64_t id;
};

static void added(void *arg, int status)
{
    struct addition *addition = arg;
    Goosefs__V1__AddQuorumServerResponse response = GOOSEFS__V1__ADD_QUORUM_SERVER_RESPONSE__INIT;
    struct admin *admin = admin_new(addition->m, addition->call, &response.base);

    response.id = addition->id;
    free(addition);
    if (admin != NULL) {
        admin_done(admin, status);
    }
}

/* Ids are positions in lists of masters; who is in none of ours comes behind all. */
static uint64_t choose_id(const struct gfs_master *m, const struct raft_node_info *info,
                          const Goosefs__V1__AddQuorumServerRequest *q)
{
    uint64_t id = q->id != 0 ? q->id : gfsi_members_by_raft(&m->members, q->raft_address);

    if (id != 0) {
        return id;
    }

    id = m->members.n;
    for (size_t i = 0; i < info->n_peers; i++) {
        id = info->peers[i].id > id ? info->peers[i].id : id;
    }

    return id + 1;
}

void gfsi_on_add_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    const Goosefs__V1__AddQuorumServerRequest *q =
        (const Goosefs__V1__AddQuorumServerRequest *)request;
    struct gfs_master *m = user;
    char host[GFS_HOST_NAME_MAX + 1];
    struct addition *addition;
    struct raft_node_info info;
    uint16_t port;

    if (gfs_hostport_split(q->raft_address, host, sizeof(host), &port) != 0 || port == 0) {
        gfs_rpc_fail(call, GFS_EINVAL, "the journal address is not host:port");
        return;
    }

    raft_node_status(m->node, &info);
    if (peer_at(&info, q->raft_address) != NULL) {
        gfs_rpc_fail(call, GFS_EEXIST, "it is one of the masters already");
        return;
    }

    addition = malloc(sizeof(*addition));
    if (addition == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return;
    }

    *addition = (struct addition){m, call, choose_id(m, &info, q)};
    gfs_warn(GFSI_LOG, "a new master asked for", "address=%s id=%" PRIu64, GFS_Q(q->raft_address),
             addition->id);
    raft_node_add_learner(m->node, addition->id, q->raft_address, added, addition);
}

void gfsi_on_promote_server(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    static const Goosefs__V1__PromoteQuorumServerResponse response =
        GOOSEFS__V1__PROMOTE_QUORUM_SERVER_RESPONSE__INIT;
    const Goosefs__V1__PromoteQuorumServerRequest *q =
        (const Goosefs__V1__PromoteQuorumServerRequest *)request;
    struct gfs_master *m = user;
    uint64_t id = member_of(m, call, q->raft_address);
    struct admin *admin = id == 0 ? NULL : admin_new(m, call, &response.base);

    if (admin != NULL) {
        gfs_warn(GFSI_LOG, "a vote for a master asked for", "address=%s", GFS_Q(q->raft_address));
        raft_node_promote(m->node, id, admin_done, admin);
    }
}

/* Members only: whoever was removed comes back by an operator's word, not by its own. */
static const struct raft_node_peer_status *rejoining_peer(const struct raft_node_info *info,
                                                          const Goosefs__V1__RejoinQuorumRequest *q,
                                                          struct gfs_rpc_call *call)
{
    const struct raft_node_peer_status *peer = peer_at(info, q->raft_address);

    if (q->incarnation.len != sizeof(peer->incarnation)) {
        gfs_rpc_fail(call, GFS_EINVAL, "an incarnation has 16 bytes");
        return NULL;
    }

    if (peer == NULL || peer->id != q->id) {
        gfs_rpc_fail(call, GFS_EPRECONDITION,
                     "it is not one of the masters: goosefs fsadmin journal quorum add-learner");
        return NULL;
    }

    return peer;
}

/* One step of the way back for each call: readmitted as a learner, then promoted. */
void gfsi_on_rejoin(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    static const Goosefs__V1__RejoinQuorumResponse response =
        GOOSEFS__V1__REJOIN_QUORUM_RESPONSE__INIT;
    static const uint8_t unknown[16];
    const Goosefs__V1__RejoinQuorumRequest *q = (const Goosefs__V1__RejoinQuorumRequest *)request;
    struct gfs_master *m = user;
    const struct raft_node_peer_status *peer;
    struct raft_node_info info;
    struct admin *admin;

    if (!raft_node_is_leader(m->node)) {
        gfsi_fail(m, call, GFS_ENOTLEADER, NULL);
        return;
    }

    raft_node_status(m->node, &info);
    peer = rejoining_peer(&info, q, call);
    if (peer == NULL) {
        return;
    }

    if (memcmp(peer->incarnation, unknown, sizeof(unknown)) == 0 ||
        (memcmp(peer->incarnation, q->incarnation.data, sizeof(unknown)) == 0 && peer->voter)) {
        Goosefs__V1__RejoinQuorumResponse done = response;

        done.voter = peer->voter;
        gfs_rpc_reply(call, &done.base);
        return;
    }

    admin = admin_new(m, call, &response.base);
    if (admin == NULL) {
        return;
    }

    if (memcmp(peer->incarnation, q->incarnation.data, sizeof(unknown)) == 0) {
        raft_node_promote(m->node, peer->id, admin_done, admin);
        return;
    }

    gfs_warn(GFSI_LOG, "a master without its journal comes back as a learner", "address=%s",
             GFS_Q(peer->address));
    raft_node_readmit(m->node, peer->id, q->incarnation.data, admin_done, admin);
}
