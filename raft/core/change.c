/*
 * Membership: one server at a time, one change at a time (thesis 4.1), and none before the leader
 * has committed an entry of its own term (the correction of 2015). A learner is promoted after
 * catching up in rounds (thesis 4.2.1).
 */
#include "core_priv.h"

static void finish(struct raft *r, int result, raft_index index)
{
    r->change.active = false;
    if (r->change.silent ||
        r->n_change_results >= sizeof(r->change_results) / sizeof(r->change_results[0])) {
        return;
    }

    r->change_results[r->n_change_results++] = (struct raft_change_result){
        .ctx = r->change.ctx,
        .result = result,
        .index = index,
    };
}

void raft_change_abort(struct raft *r, int result)
{
    if (r->change.active) {
        finish(r, result, 0);
    }
}

/*
 * Its old self leaves and its new one joins in one entry: the set of voters changes by one at most,
 * and no crash can come between.
 */
static int readmit(const struct raft *r, const struct raft_event_change *e,
                   struct raft_server server, struct raft_config *c)
{
    if (server.id == r->opt.id || raft_uuid_is_zero(&e->server.incarnation) ||
        raft_uuid_equal(&server.incarnation, &e->server.incarnation)) {
        return RAFT_ERR_INVALID;
    }

    server.role = RAFT_LEARNER;
    server.incarnation = e->server.incarnation;
    return raft_config_add(c, &server);
}

/* Computes the configuration after `op`; the checks are those of the moment it is called. */
static int changed_config(const struct raft *r, const struct raft_event_change *e,
                          struct raft_config *c)
{
    const struct raft_server *s;
    struct raft_server server;
    bool last_voter;

    *c = *raft_config_current(r);
    if (e->op == RAFT_ADD_LEARNER) {
        server = e->server;
        server.role = RAFT_LEARNER;
        return raft_config_add(c, &server);
    }

    s = raft_config_find(c, e->server.id);
    if (!s) {
        return RAFT_ERR_UNKNOWN_SERVER;
    }

    server = *s;
    last_voter = server.role == RAFT_VOTER && raft_config_voters(c) == 1;
    raft_config_remove(c, server.id);

    switch ((enum raft_change_op)e->op) {
    case RAFT_PROMOTE:
        if (server.role != RAFT_LEARNER) {
            return RAFT_ERR_UNKNOWN_SERVER;
        }
        server.role = RAFT_VOTER;
        return raft_config_add(c, &server);
    case RAFT_DEMOTE:
        if (server.role != RAFT_VOTER) {
            return RAFT_ERR_UNKNOWN_SERVER;
        }
        server.role = RAFT_LEARNER;
        return last_voter ? RAFT_ERR_LAST_VOTER : raft_config_add(c, &server);
    case RAFT_REMOVE: return last_voter ? RAFT_ERR_LAST_VOTER : RAFT_OK;
    case RAFT_READMIT: return last_voter ? RAFT_ERR_LAST_VOTER : readmit(r, e, server, c);
    case RAFT_ADD_LEARNER: break;
    }

    return RAFT_ERR_INVALID;
}

static int may_change(const struct raft *r)
{
    if (r->role != RAFT_LEADER) {
        return RAFT_ERR_NOT_LEADER;
    }

    if (r->transfer_to != 0) {
        return RAFT_ERR_TRANSFER;
    }

    if (!raft_committed_own_term(r) && !RAFT_MUTANT(r, CONFIG_BEFORE_OWN_COMMIT)) {
        return RAFT_ERR_NOT_READY;
    }

    if ((r->change.active || raft_config_current_index(r) > r->commit) &&
        !RAFT_MUTANT(r, TWO_CHANGES)) {
        return RAFT_ERR_CONFIG_PENDING;
    }

    return RAFT_OK;
}

static void next_round(struct raft *r)
{
    r->change.rounds++;
    r->change.round_target = raft_last_index(r);
    r->change.round_start = r->now;
}

int raft_change_request(struct raft *r, const struct raft_event_change *e)
{
    struct raft_config c;
    int rc = may_change(r);

    if (rc == RAFT_OK) {
        rc = changed_config(r, e, &c);
    }

    if (rc != RAFT_OK) {
        return rc;
    }

    /* Not into a configuration that could not even commit its own entry. */
    if (!raft_hears_majority(r, &c)) {
        return RAFT_ERR_NOT_READY;
    }

    if (e->op == RAFT_PROMOTE) {
        r->change = (struct raft_change){
            .active = true,
            .catching_up = true,
            .ctx = e->ctx,
            .server = e->server.id,
            .deadline = r->now + r->opt.catch_up_timeout_ns,
        };
        next_round(r);
        return RAFT_OK;
    }

    rc = raft_append_own(r, RAFT_ENTRY_CONFIG, &c);
    if (rc == RAFT_OK) {
        r->change = (struct raft_change){
            .active = true,
            .ctx = e->ctx,
            .server = e->server.id,
            .index = raft_last_index(r),
        };
    }

    return rc;
}

static void promote(struct raft *r)
{
    struct raft_event_change e = {.op = RAFT_PROMOTE, .server = {.id = r->change.server}};
    struct raft_config c;
    int rc = changed_config(r, &e, &c);

    if (rc == RAFT_OK) {
        rc = raft_append_own(r, RAFT_ENTRY_CONFIG, &c);
    }

    if (rc == RAFT_ERR_BUSY) {
        return; /* this step appends something else: the next acknowledgement tries again */
    }

    if (rc != RAFT_OK) {
        finish(r, rc, 0);
        return;
    }

    r->change.catching_up = false;
    r->change.index = raft_last_index(r);
}

/* After news of a peer. May append an entry and rebuild the table of peers. */
void raft_change_progress(struct raft *r, struct raft_peer *p)
{
    struct raft_change *ch = &r->change;

    if (r->role != RAFT_LEADER || !ch->active || !ch->catching_up || p->id != ch->server ||
        p->match < ch->round_target) {
        return;
    }

    if (r->now - ch->round_start <= r->opt.election_ns) {
        if (r->transfer_to == 0 && raft_config_current_index(r) <= r->commit) {
            promote(r);
        }
        return;
    }

    if (ch->rounds >= r->opt.catch_up_rounds) {
        finish(r, RAFT_ERR_CATCH_UP, 0);
        return;
    }

    next_round(r);
}

void raft_change_timer(struct raft *r)
{
    if (r->change.active && r->change.catching_up && r->now >= r->change.deadline) {
        finish(r, RAFT_ERR_CATCH_UP, 0);
    }
}

/* After every advance of the commit index. May end the leadership. */
void raft_change_committed(struct raft *r)
{
    struct raft_peer *heir;

    if (r->change.active && !r->change.catching_up && r->commit >= r->change.index) {
        finish(r, RAFT_OK, r->change.index);
    }

    if (raft_self_votes(r) || raft_config_current_index(r) > r->commit) {
        return;
    }

    /* Thesis 4.2.2: a leader that is no voter any more leaves once that is committed. */
    heir = raft_best_voter(r);
    if (heir) {
        raft_heartbeat_peer(r, heir);
        (void)raft_message_new(r, heir->id, RAFT_MSG_TIMEOUT_NOW);
    }
    raft_become_follower(r, r->term, 0);
}

/*
 * Ties ids to data directories: as soon as a server with an unknown incarnation was heard of, a
 * configuration entry says which one it is, and from then on another one does not count.
 */
void raft_bind_incarnations(struct raft *r)
{
    struct raft_config c = *raft_config_current(r);
    bool changed = false;

    if (may_change(r) != RAFT_OK || r->out.persist.n_entries > 0) {
        return;
    }

    for (uint32_t i = 0; i < c.n_servers; i++) {
        struct raft_server *s = &c.servers[i];
        const struct raft_peer *p = raft_peer_find(r, s->id);
        const struct raft_uuid *seen = s->id == r->opt.id ? &r->opt.incarnation
                                       : p                ? &p->incarnation
                                                          : NULL;

        if (raft_uuid_is_zero(&s->incarnation) && seen && !raft_uuid_is_zero(seen)) {
            s->incarnation = *seen;
            changed = true;
        }
    }

    if (changed && raft_append_own(r, RAFT_ENTRY_CONFIG, &c) == RAFT_OK) {
        r->change = (struct raft_change){
            .active = true,
            .silent = true,
            .index = raft_last_index(r),
        };
    }
}
