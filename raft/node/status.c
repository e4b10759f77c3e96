/* Looking at a node from outside. */
#include "node/node_priv.h"

#include <stdio.h>
#include <string.h>

uint64_t raft_node_leader(const struct raft_node *node)
{
    return atomic_load(&node->leader);
}

bool raft_node_is_leader(const struct raft_node *node)
{
    return atomic_load(&node->ready);
}

enum raft_node_role rafti_public_role(const struct raft_config *config, uint64_t id,
                                      enum raft_role role)
{
    const struct raft_server *self = raft_config_find(config, id);

    switch (role) {
    case RAFT_LEADER: return RAFT_NODE_LEADER;
    case RAFT_PRECANDIDATE:
    case RAFT_CANDIDATE: return RAFT_NODE_CANDIDATE;
    default:
        return self == NULL || self->role == RAFT_LEARNER ? RAFT_NODE_LEARNER : RAFT_NODE_FOLLOWER;
    }
}

/* The host is told of a new role only when raft_node_status() shows it too. */
void rafti_publish(struct raft_node *node, uint64_t now)
{
    pthread_mutex_lock(&node->status_lock);
    raft_get_status(node->core, &node->status);
    node->status_ns = now;
    pthread_mutex_unlock(&node->status_lock);

    if (node->announce && node->opts.on_change != NULL) {
        node->opts.on_change(
            node->opts.on_change_arg,
            rafti_public_role(raft_config_in_force(node->core), node->opts.id, node->last_role),
            node->last_term, node->last_leader);
    }
    node->announce = false;
}

static void fill_peer(struct raft_node_peer_status *out, const struct raft_server *server,
                      const struct raft_status *status, uint64_t age_ns)
{
    *out = (struct raft_node_peer_status){
        .id = server->id, .voter = server->role == RAFT_VOTER, .last_contact_ms = -1};
    snprintf(out->address, sizeof out->address, "%s", server->address);
    memcpy(out->incarnation, server->incarnation.bytes, sizeof out->incarnation);
    if (server->id == status->id) {
        out->match = status->durable_index;
        out->last_contact_ms = 0;
        return;
    }
    for (uint32_t i = 0; i < status->n_peers; i++) {
        if (status->peers[i].id == server->id) {
            out->match = status->peers[i].match;
            out->last_contact_ms = (int64_t)((status->peers[i].silent_ns + age_ns) / 1000000u);
        }
    }
}

void raft_node_status(struct raft_node *node, struct raft_node_info *out)
{
    struct raft_status status;
    struct raft_config config;
    uint64_t now = rafti_now_ns();

    pthread_mutex_lock(&node->status_lock);
    status = node->status;
    config = node->config;
    uint64_t age = now - node->status_ns;
    pthread_mutex_unlock(&node->status_lock);
    status.id = node->opts.id;

    memset(out, 0, sizeof *out);
    out->id = node->opts.id;
    out->cluster_id = node->opts.cluster_id;
    memcpy(out->incarnation, node->incarnation.bytes, sizeof out->incarnation);
    out->role = rafti_public_role(&config, status.id, status.role);
    out->term = status.term;
    out->leader_id = status.leader;
    out->first_index = status.first_index;
    out->last_index = status.last_index;
    out->commit_index = status.commit_index;
    out->applied_index = rafti_applier_applied(node);
    out->snapshot_index = status.snapshot_index;
    out->frames_dropped = atomic_load(&node->frames_dropped) + status.messages_dropped;
    out->recovering = status.recovering;
    out->log_full = raft_wal_is_full(node->wal);
    out->fatal = atomic_load(&node->fatal);
    for (uint32_t i = 0; i < config.n_servers && i < RAFT_NODE_MAX_PEERS; i++) {
        fill_peer(&out->peers[out->n_peers++], &config.servers[i], &status, age);
    }
}
