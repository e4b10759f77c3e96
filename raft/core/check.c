/* Invariants of one server, and the view from outside. */
#include "core_priv.h"

void raft_get_status(const struct raft *r, struct raft_status *out)
{
    *out = (struct raft_status){
        .id = r->opt.id,
        .role = r->role,
        .term = r->term,
        .vote = r->vote,
        .leader = r->leader,
        .first_index = r->log.first,
        .last_index = r->log.last,
        .durable_index = r->durable,
        .commit_index = r->commit,
        .apply_index = raft_apply_index(r),
        .snapshot_index = r->snapshot.index,
        .config_index = r->n_configs > 0 ? raft_config_current_index(r) : 0,
        .recovering = r->recovering,
        .transferring = r->role == RAFT_LEADER && r->transfer_to != 0,
        .uncommitted_bytes = r->uncommitted_bytes,
        .elections = r->elections,
        .messages_dropped = r->dropped,
    };

    if (r->role != RAFT_LEADER) {
        return;
    }

    out->n_peers = r->n_peers;
    for (uint32_t i = 0; i < r->n_peers; i++) {
        const struct raft_peer *p = &r->peers[i];
        const struct raft_server *s = raft_config_find(raft_config_current(r), p->id);

        out->peers[i] = (struct raft_peer_status){
            .id = p->id,
            .role = s ? s->role : 0,
            .progress = p->state,
            .match = p->match,
            .next = p->next,
            .silent_ns = r->now - p->contact,
        };
    }
}

static const char *check_log(const struct raft *r)
{
    if (r->log.first > r->log.last + 1) {
        return "the log ends before it begins";
    }

    if (r->commit > r->log.last) {
        return "committed beyond the end of the log";
    }

    if (r->durable > r->log.last) {
        return "durable beyond the end of the log";
    }

    if (r->verified > r->log.last) {
        return "verified beyond the end of the log";
    }

    if (r->snapshot.index > r->commit) {
        return "snapshot of what is not committed";
    }

    if (r->log.first > r->snapshot.index + 1) {
        return "a gap between snapshot and log";
    }

    if (raft_last_term(r) > r->term) {
        return "an entry of a later term";
    }

    if (raft_config_current_index(r) > r->log.last) {
        return "a configuration beyond the end of the log";
    }

    return r->configs[0].index > r->snapshot.index ? "configuration lost by compaction" : NULL;
}

static const char *check_role(const struct raft *r)
{
    switch (r->role) {
    case RAFT_LEADER:
        if (r->vote != r->opt.id || r->leader != r->opt.id || !raft_gate_open(r)) {
            return "a leader that did not durably vote for itself";
        }
        if (raft_last_term(r) != r->term || r->term_start > r->log.last) {
            return "a leader without an entry of its term";
        }
        break;
    case RAFT_CANDIDATE:
        if (r->vote != r->opt.id || r->leader != 0) {
            return "a candidate that did not vote for itself";
        }
        break;
    case RAFT_PRECANDIDATE:
        if (r->leader != 0) {
            return "a candidate with a leader";
        }
        break;
    case RAFT_FOLLOWER:
        if (r->leader == r->opt.id) {
            return "a follower of itself";
        }
        break;
    case RAFT_STOPPED: break;
    }

    if (r->role != RAFT_LEADER && (r->n_reads > 0 || r->change.active || r->transfer_to != 0)) {
        return "a leader's work left behind";
    }

    if (r->role != RAFT_FOLLOWER && r->n_forwards > 0) {
        return "forwarded reads left behind";
    }

    return NULL;
}

/*
 * Thesis 6.2 with some room for the heartbeat grid: without a majority for long, nobody leads.
 */
static bool long_without_majority(const struct raft *r)
{
    const struct raft_config *c = raft_config_in_force(r);
    uint32_t heard = raft_self_votes(r) ? 1 : 0;

    for (uint32_t i = 0; i < r->n_peers; i++) {
        heard += raft_config_is_voter(c, r->peers[i].id) &&
                 r->now - r->peers[i].contact <= 4 * r->opt.election_ns;
    }

    return heard < raft_config_quorum(c);
}

static const char *check_leader(const struct raft *r)
{
    uint32_t pending = 0;

    if (r->role != RAFT_LEADER) {
        return NULL;
    }

    if (long_without_majority(r)) {
        return "a leader that hears no majority";
    }

    for (uint32_t i = 0; i < r->n_configs; i++) {
        pending += r->configs[i].index > r->commit;
    }

    /* Before its own entry is committed a leader may not know how much of its log is. */
    if (raft_committed_own_term(r) && pending > 1) {
        return "two configuration changes under way";
    }

    if (!raft_committed_own_term(r) && raft_config_current_index(r) > r->term_start) {
        return "a configuration change before the leader's own commit";
    }

    return NULL;
}

static const char *check_peers(const struct raft *r)
{
    for (uint32_t i = 0; r->role == RAFT_LEADER && i < r->n_peers; i++) {
        const struct raft_peer *p = &r->peers[i];

        if (p->next <= p->match || p->next > r->log.last + 1) {
            return "a peer's next entry is out of bounds";
        }

        if (p->match > r->log.last) {
            return "a peer matches beyond the log";
        }

        if (p->inflight_count > r->opt.max_inflight_messages ||
            (p->state != RAFT_PROGRESS_REPLICATE && p->inflight_count > 0)) {
            return "a peer's window is broken";
        }
    }

    return NULL;
}

static const char *check_delta(const struct raft *r)
{
    const struct raft_memory *m = &r->memory;

    if (!m->set) {
        return NULL;
    }

    if (r->term < m->term) {
        return "the term went back";
    }

    if (r->term == m->term && m->vote != 0 && r->vote != m->vote) {
        return "a vote changed within a term";
    }

    if (r->term == m->term && m->leader != 0 && r->leader != 0 && r->leader != m->leader) {
        return "two leaders in a term";
    }

    if (r->commit < m->commit || raft_apply_index(r) < m->apply ||
        r->snapshot.index < m->snapshot) {
        return "commit, apply or snapshot went back";
    }

    if (raft_term_at(r, m->commit) != 0 && m->commit_term != 0 &&
        raft_term_at(r, m->commit) != m->commit_term) {
        return "a committed entry changed";
    }

    if (m->role != RAFT_LEADER || r->role != RAFT_LEADER || r->term != m->term) {
        return NULL;
    }

    if (r->log.last < m->last) {
        return "a leader shortened its log";
    }

    if (r->commit > m->commit && raft_term_at(r, r->commit) != r->term) {
        return "a leader committed an entry of an earlier term by itself";
    }

    return NULL;
}

static void remember(struct raft *r)
{
    struct raft_memory *m = &r->memory;
    raft_id leader = r->leader;

    /* The leader of a term stays known after it is no longer followed. */
    if (leader == 0 && m->set && m->term == r->term) {
        leader = m->leader;
    }

    *m = (struct raft_memory){
        .set = true,
        .role = r->role,
        .term = r->term,
        .vote = r->vote,
        .leader = leader,
        .commit = r->commit,
        .apply = raft_apply_index(r),
        .snapshot = r->snapshot.index,
        .commit_term = raft_term_at(r, r->commit),
        .last = r->log.last,
    };
}

const char *raft_check_invariants(struct raft *r)
{
    const char *broken;

    if (r->role == RAFT_STOPPED) {
        return NULL;
    }

    broken = check_log(r);
    broken = broken ? broken : check_role(r);
    broken = broken ? broken : check_leader(r);
    broken = broken ? broken : check_peers(r);
    broken = broken ? broken : check_delta(r);
    remember(r);
    return broken;
}
