/*
 * Leadership transfer: thesis 3.10. The leader takes no proposals until the target holds the whole
 * log and has been told to campaign, and goes on leading if that does not happen within E, or does
 * not end its term within another E.
 *
 * Beyond the thesis: it is told only when the whole log is committed too. Otherwise the leader
 * would lose its office with accepted proposals whose fate it does not know, and their clients with
 * it, although nothing had failed.
 */
#include "core_priv.h"

/* The voter with the longest acknowledged log, of those heard lately; NULL if there is none. */
struct raft_peer *raft_best_voter(struct raft *r)
{
    struct raft_peer *best = NULL;

    for (uint32_t i = 0; i < r->n_peers; i++) {
        struct raft_peer *p = &r->peers[i];

        if (!raft_config_is_voter(raft_config_current(r), p->id) ||
            r->now - p->contact > r->opt.election_ns) {
            continue;
        }

        if (!best || p->match > best->match) {
            best = p;
        }
    }

    return best;
}

int raft_transfer_request(struct raft *r, const struct raft_event_transfer *e)
{
    struct raft_peer *p;

    if (r->role != RAFT_LEADER) {
        return RAFT_ERR_NOT_LEADER;
    }

    if (r->transfer_to != 0) {
        return RAFT_ERR_TRANSFER;
    }

    p = e->target == 0 ? raft_best_voter(r) : raft_peer_find(r, e->target);
    if (!p || !raft_config_is_voter(raft_config_current(r), p->id)) {
        return RAFT_ERR_UNKNOWN_SERVER;
    }

    r->transfer_to = p->id;
    r->transfer_told = false;
    r->transfer_deadline = r->now + r->opt.election_ns;
    raft_transfer_progress(r);
    return RAFT_OK;
}

void raft_transfer_progress(struct raft *r)
{
    struct raft_peer *p;

    if (r->role != RAFT_LEADER || r->transfer_to == 0 || r->transfer_told) {
        return;
    }

    p = raft_peer_find(r, r->transfer_to);
    if (!p || !raft_config_is_voter(raft_config_current(r), p->id)) {
        r->transfer_to = 0;
        return;
    }

    if (r->commit != raft_last_index(r) && !RAFT_MUTANT(r, TRANSFER_IN_DOUBT)) {
        return;
    }

    if (p->match == raft_last_index(r) &&
        raft_message_new(r, p->id, RAFT_MSG_TIMEOUT_NOW) != NULL) {
        r->transfer_told = true;
        /* What is accepted from the end of the transfer on would be in doubt if it came late. */
        r->transfer_deadline = r->now + r->opt.election_ns;
    }
}

void raft_transfer_timer(struct raft *r)
{
    if (r->transfer_to != 0 && r->now >= r->transfer_deadline) {
        r->transfer_to = 0;
    }
}

/* Only from the leader of this very term: one that was delayed must not disturb its successor. */
void raft_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_FOLLOWER || r->leader != m->from || !raft_may_campaign(r)) {
        r->dropped++;
        return;
    }

    r->elections++;
    raft_campaign(r, true);
}
