/*
 * Roles and elections: Raft paper 5.2 and 5.4.1, pre-vote and check-quorum as in thesis 6.2, 9.6.
 *
 *              timeout              majority would            majority voted
 *   FOLLOWER ───────────▶ PRECANDIDATE ────────▶ CANDIDATE ────────────────▶ LEADER
 *      ▲                       │                    │                           │
 *      └───────────────────────┴────────────────────┴───────────────────────────┘
 *        a leader of this or a later term, a later term, no majority heard for 2E
 *
 * Always on: pre-vote; voters stick to a leader they heard within E; a leader never votes a rival
 * in but by transfer.
 */
#include <assert.h>

#include "core_priv.h"

void raft_election_timer(struct raft *r)
{
    uint64_t e = r->opt.election_ns << r->patience;
    uint64_t extra = RAFT_MUTANT(r, SAME_TIMEOUT) ? 0 : raft_random(r, e + 1);

    r->election_deadline = r->now + e + extra;
    r->grace_given = false;
}

/* Something from the current leader, within the current term. */
void raft_hear_leader(struct raft *r, raft_id from)
{
    r->leader = from;
    r->leader_contact = r->now;
    r->patience = 0;
    raft_election_timer(r);
}

static void leave_leadership(struct raft *r)
{
    raft_reads_fail(r, RAFT_ERR_NOT_LEADER);
    raft_change_abort(r, RAFT_ERR_LOST);
    r->transfer_to = 0;
    r->uncommitted_bytes = 0;
}

void raft_become_follower(struct raft *r, raft_term term, raft_id leader)
{
    enum raft_role was = r->role;

    if (was == RAFT_LEADER) {
        leave_leadership(r);
    }

    if (term > r->term) {
        raft_set_hard_state(r, term, 0);
    } else if (was != RAFT_FOLLOWER && RAFT_MUTANT(r, STEP_DOWN_CLEARS_VOTE)) {
        raft_set_hard_state(r, term, 0);
    }

    if (r->leader != leader || was == RAFT_LEADER) {
        raft_forwards_fail(r, RAFT_ERR_NO_LEADER);
    }

    if (r->last_heard_term != term) {
        /* What is committed is in the log of every later leader; nothing else is known of it yet.
         */
        r->last_heard_term = term;
        r->verified = r->commit;
        r->round_seen = 0;
        r->ack_held = false;
        r->reject_held = false;
    }

    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->votes_held = false;
    if (was != RAFT_FOLLOWER) {
        raft_election_timer(r);
    }
}

static bool sticks_to_leader(const struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        return true;
    }

    return r->role == RAFT_FOLLOWER && r->leader != 0 && r->leader_contact != 0 &&
           r->now - r->leader_contact < r->opt.election_ns;
}

bool raft_may_campaign(const struct raft *r)
{
    return r->role != RAFT_LEADER && raft_self_electable(r) && !r->recovering &&
           raft_gate_open(r) && r->durable + 1 >= r->log.first;
}

static void clear_tally(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        r->peers[i].granted = false;
        r->peers[i].refused = false;
    }
}

static uint32_t votes_granted(const struct raft *r)
{
    uint32_t n = raft_self_votes(r) ? 1 : 0;

    for (uint32_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].granted && raft_config_is_voter(raft_config_current(r), r->peers[i].id)) {
            n++;
        }
    }

    return n;
}

uint32_t raft_quorum(const struct raft *r)
{
    uint32_t quorum = raft_config_quorum(raft_config_current(r));
    uint32_t voters = raft_config_voters(raft_config_current(r));

    if (RAFT_MUTANT(r, EVEN_QUORUM) && voters > 0 && voters % 2 == 0) {
        return voters / 2;
    }

    return quorum;
}

static void request_votes(struct raft *r, bool pre)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        struct raft_message *m;

        if (!raft_config_is_voter(raft_config_current(r), r->peers[i].id)) {
            continue;
        }

        m = raft_message_new(r, r->peers[i].id, RAFT_MSG_VOTE);
        if (m) {
            m->u.vote = (struct raft_msg_vote){
                .campaign_term = pre ? r->term + 1 : r->term,
                .last_index = raft_last_index(r),
                .last_term = raft_last_term(r),
                .pre = pre,
                .transfer = !pre && r->campaign_transfer,
            };
        }
    }
}

static void tally(struct raft *r)
{
    if (votes_granted(r) < raft_quorum(r)) {
        return;
    }

    if (r->role == RAFT_PRECANDIDATE) {
        raft_campaign(r, false);
        return;
    }

    if (r->role == RAFT_CANDIDATE && !r->votes_held) {
        raft_become_leader(r);
    }
}

void raft_election_timeout(struct raft *r)
{
    if (!raft_may_campaign(r)) {
        raft_election_timer(r);
        return;
    }

    if (r->role == RAFT_CANDIDATE && r->patience < RAFT_MAX_PATIENCE) {
        /* Nobody won: perhaps disks are slower than E. */
        r->patience++;
    }

    r->role = RAFT_PRECANDIDATE;
    r->leader = 0;
    r->elections++;
    raft_forwards_fail(r, RAFT_ERR_NO_LEADER);
    clear_tally(r);
    raft_election_timer(r);
    request_votes(r, true);
    tally(r);
}

void raft_campaign(struct raft *r, bool transfer)
{
    raft_set_hard_state(r, r->term + 1, r->opt.id);
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->last_heard_term = r->term;
    r->verified = r->commit;
    r->round_seen = 0;
    r->ack_held = false;
    r->reject_held = false;
    r->grant_held = 0;
    r->votes_held = true;
    r->campaign_transfer = transfer;
    raft_forwards_fail(r, RAFT_ERR_NO_LEADER);
    clear_tally(r);
    raft_election_timer(r);
}

/* Own vote is on disk, and with it the log as it was then: only now may others hear of it. */
void raft_campaign_durable(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE || !r->votes_held) {
        return;
    }

    r->votes_held = false;
    raft_election_timer(r);
    request_votes(r, false);
    tally(r);
}

static bool log_up_to_date(const struct raft *r, const struct raft_msg_vote *v)
{
    if (RAFT_MUTANT(r, ANY_LOG_WINS)) {
        return true;
    }

    if (RAFT_MUTANT(r, LONGER_LOG_WINS)) {
        return v->last_index >= raft_last_index(r);
    }

    if (v->last_term != raft_last_term(r)) {
        return v->last_term > raft_last_term(r);
    }

    return v->last_index >= raft_last_index(r);
}

static void send_vote_reply(struct raft *r, raft_id to, raft_term campaign_term, bool pre,
                            bool granted)
{
    struct raft_message *m = raft_message_new(r, to, RAFT_MSG_VOTE_REPLY);

    if (m) {
        m->u.vote_reply = (struct raft_msg_vote_reply){
            .campaign_term = campaign_term,
            .pre = pre,
            .granted = granted,
        };
    }
}

/* Changes nothing here: not the term, not the vote, not the timer (pitfall: hashicorp #609). */
static void on_pre_vote(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_vote *v = &m->u.vote;
    bool granted = v->campaign_term > r->term && !r->recovering && !sticks_to_leader(r) &&
                   log_up_to_date(r, v);

    if (RAFT_MUTANT(r, PRE_VOTE_SETS_TERM) && v->campaign_term > r->term) {
        raft_become_follower(r, v->campaign_term, 0);
    }

    send_vote_reply(r, m->from, v->campaign_term, true, granted);
}

void raft_on_vote(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_vote *v = &m->u.vote;

    if (v->pre) {
        on_pre_vote(r, m);
        return;
    }

    if (v->campaign_term != m->term) {
        r->dropped++;
        return;
    }

    if (v->campaign_term > r->term) {
        if (sticks_to_leader(r) && !v->transfer) {
            r->dropped++;
            return;
        }
        raft_become_follower(r, v->campaign_term, 0);
    }

    if (v->campaign_term < r->term || r->recovering || (r->vote != 0 && r->vote != m->from) ||
        r->leader != 0 || !log_up_to_date(r, v)) {
        send_vote_reply(r, m->from, v->campaign_term, false, false);
        return;
    }

    raft_become_follower(r, r->term, 0);
    raft_set_hard_state(r, r->term, m->from);
    raft_election_timer(r);
    if (raft_gate_open(r)) {
        send_vote_reply(r, m->from, v->campaign_term, false, true);
        return;
    }

    if (RAFT_MUTANT(r, VOTE_BEFORE_DURABLE)) {
        uint64_t durable = r->hs_durable;

        r->hs_durable = r->hs_version;
        send_vote_reply(r, m->from, v->campaign_term, false, true);
        r->hs_durable = durable;
        return;
    }

    r->grant_held = m->from;
}

void raft_vote_durable(struct raft *r)
{
    raft_id to = r->grant_held;

    r->grant_held = 0;
    if (to != 0 && r->vote == to && r->role == RAFT_FOLLOWER) {
        send_vote_reply(r, to, r->term, false, true);
    }
}

void raft_on_vote_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_vote_reply *v = &m->u.vote_reply;
    struct raft_peer *p = raft_peer_find(r, m->from);
    bool fits;

    if (m->term > r->term && !v->granted) {
        raft_become_follower(r, m->term, 0);
        return;
    }

    if (v->pre) {
        fits = r->role == RAFT_PRECANDIDATE && v->campaign_term == r->term + 1;
        fits = fits || (RAFT_MUTANT(r, PRE_VOTE_COUNTS) && r->role == RAFT_CANDIDATE);
    } else {
        fits = r->role == RAFT_CANDIDATE && !r->votes_held &&
               (v->campaign_term == r->term || RAFT_MUTANT(r, STALE_VOTE_COUNTS));
    }

    if (!p || !fits) {
        r->dropped++;
        return;
    }

    p->granted = v->granted;
    p->refused = !v->granted;
    tally(r);
}
