/*
 * The follower's side of replication: Raft paper 5.3.
 *
 *   durable ≤ last: on disk.   verified ≤ last: known equal to the current leader's log (per term).
 * An acknowledgement names min(verified, durable), never the mere end of the log.
 */
#include <assert.h>

#include "core_priv.h"

raft_index raft_match_here(const struct raft *r)
{
    raft_index match = r->verified > r->commit ? r->verified : r->commit;

    if (RAFT_MUTANT(r, ACK_LAST_INDEX)) {
        match = raft_last_index(r);
    }

    if (RAFT_MUTANT(r, ACK_BEFORE_DURABLE)) {
        return match;
    }

    return match < r->durable ? match : r->durable;
}

void raft_follower_commit(struct raft *r, raft_index index)
{
    assert(index <= raft_last_index(r));

    if (index > r->commit) {
        r->commit = index;
    }

    if (r->commit > r->verified) {
        r->verified = r->commit;
    }

    if (r->recovering && r->commit >= r->recover_until && r->durable >= r->recover_until) {
        r->recovering = false;
    }
}

static void fill_ack(const struct raft *r, struct raft_message *m, raft_index prev)
{
    m->u.append_reply = (struct raft_msg_append_reply){
        .prev_index = prev,
        .match = raft_match_here(r),
        .received = r->verified,
        .round = r->round_seen,
        .recovering = r->recovering,
    };
}

/* Says anew how far this log is; sent when the disk has come further. */
void raft_send_ack(struct raft *r)
{
    struct raft_message *m = raft_message_new(r, r->leader, RAFT_MSG_APPEND_REPLY);

    if (!m) {
        r->ack_held = true;
        return;
    }

    r->ack_held = false;
    fill_ack(r, m, raft_match_here(r));
}

static void reject(struct raft *r, raft_index prev_index, raft_term prev_term)
{
    struct raft_message *reply = raft_message_new(r, r->leader, RAFT_MSG_APPEND_REPLY);
    raft_index hint = raft_trail_meet(&r->log, prev_index, prev_term);

    if (!reply) {
        r->reject_held = true;
        r->reject_index = prev_index;
        r->reject_term = prev_term;
        return;
    }

    r->reject_held = false;
    fill_ack(r, reply, prev_index);
    reply->u.append_reply.rejected = true;
    reply->u.append_reply.hint_index = hint;
    reply->u.append_reply.hint_term = raft_term_at(r, hint);
}

/* The hard state is durable: what the leader asked meanwhile can be answered. */
void raft_answer_held(struct raft *r)
{
    if (r->reject_held && r->reject_index > raft_match_here(r)) {
        reject(r, r->reject_index, r->reject_term);
    }

    r->reject_held = false;
    if (r->ack_held) {
        raft_send_ack(r);
    }
}

static bool prev_matches(const struct raft *r, const struct raft_msg_append *a)
{
    /* Committed entries are in every later leader's log; the trail may not reach back to them. */
    if (a->prev_index <= r->commit) {
        return true;
    }

    return a->prev_index <= raft_last_index(r) && raft_term_at(r, a->prev_index) == a->prev_term;
}

/* Messages built by a faulty or hostile peer must not break the log's own rules. */
static bool append_valid(const struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_append *a = &m->u.append;
    raft_term term = a->prev_term;

    if (a->prev_term > m->term || a->prev_index + a->n_entries < a->prev_index ||
        a->n_entries > RAFT_MAX_MESSAGE_ENTRIES) {
        return false;
    }

    for (uint32_t i = 0; i < a->n_entries; i++) {
        const struct raft_entry *e = &a->entries[i];
        struct raft_config scratch;

        if (e->term < term || e->term > m->term || e->term == 0) {
            return false;
        }
        term = e->term;

        if (e->type == RAFT_ENTRY_CONFIG &&
            raft_config_decode(e->data, e->size, &scratch) != RAFT_OK) {
            return false;
        }
    }

    return a->prev_index + a->n_entries - r->log.first < r->opt.max_log_entries ||
           a->prev_index + a->n_entries < r->log.first;
}

/* Number of leading entries that are in the log already. */
static uint32_t skip_known(const struct raft *r, const struct raft_msg_append *a)
{
    for (uint32_t i = 0; i < a->n_entries; i++) {
        raft_index index = a->prev_index + 1 + i;

        if (index <= r->commit) {
            continue;
        }

        if (index > raft_last_index(r) || raft_term_at(r, index) != a->entries[i].term) {
            return i;
        }
    }

    return a->n_entries;
}

static uint32_t count_configs(const struct raft_entry *e, uint32_t n)
{
    uint32_t configs = 0;

    for (uint32_t i = 0; i < n; i++) {
        configs += e[i].type == RAFT_ENTRY_CONFIG;
    }

    return configs;
}

/*
 * Takes the entries that are not here yet. Only a real conflict cuts the log: an old message that
 * holds a prefix of it must not (pitfalls: openraft, CCF). False: nothing was changed, because
 * there is no memory or the terms do not fit (prev_term is not looked at below the commit index).
 */
static bool take_entries(struct raft *r, const struct raft_msg_append *a)
{
    uint32_t skip = skip_known(r, a);
    uint32_t n = a->n_entries - skip;
    const struct raft_entry *e = a->entries + skip;
    raft_index first = a->prev_index + 1 + skip;

    if (RAFT_MUTANT(r, TRUNCATE_ALWAYS) && a->prev_index >= r->commit &&
        a->prev_index + a->n_entries < raft_last_index(r)) {
        raft_log_truncate(r, a->prev_index + a->n_entries);
        if (r->verified > raft_last_index(r)) {
            r->verified = raft_last_index(r);
        }
    }

    if (n == 0) {
        return true;
    }

    if (e[0].term < raft_term_at(r, first - 1)) {
        return false;
    }

    if (raft_trail_reserve(&r->log, &r->opt.alloc, n) != RAFT_OK ||
        raft_configs_reserve(r, count_configs(e, n)) != RAFT_OK) {
        return false;
    }

    if (first <= raft_last_index(r)) {
        raft_log_truncate(r, first - 1);
    }

    for (uint32_t i = 0; i < n; i++) {
        raft_trail_append(&r->log, e[i].term, e[i].size);
        if (e[i].type == RAFT_ENTRY_CONFIG) {
            struct raft_config config;

            if (raft_config_decode(e[i].data, e[i].size, &config) == RAFT_OK) {
                raft_configs_push(r, first + i, &config);
            }
        }
    }

    r->out.persist.first_index = first;
    r->out.persist.entries = e;
    r->out.persist.n_entries = n;
    return true;
}

static void commit_verified(struct raft *r, const struct raft_msg_append *a)
{
    raft_index end = a->prev_index + a->n_entries;
    raft_index commit = a->commit < end ? a->commit : end;

    if (RAFT_MUTANT(r, COMMIT_UNVERIFIED)) {
        commit = a->commit < raft_last_index(r) ? a->commit : raft_last_index(r);
    }

    /* end may be far below what is here: a heartbeat's prev is what the leader knows of us. */
    if (commit > r->commit) {
        raft_follower_commit(r, commit);
    }
}

void raft_on_append(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_append *a = &m->u.append;
    raft_index end = a->prev_index + a->n_entries;
    struct raft_message *reply;

    if (r->role == RAFT_LEADER || !append_valid(r, m)) {
        r->dropped++;
        return;
    }

    raft_become_follower(r, r->term, m->from);
    raft_hear_leader(r, m->from);
    if (a->round > r->round_seen) {
        r->round_seen = a->round;
    }

    if (!prev_matches(r, a)) {
        reject(r, a->prev_index, a->prev_term);
        return;
    }

    if (!take_entries(r, a)) {
        r->dropped++;
        return;
    }

    if (end > r->verified) {
        r->verified = end;
    }
    commit_verified(r, a);

    /* New entries are acknowledged when they are durable; everything else at once. */
    if (a->quiet || (a->n_entries > 0 && raft_match_here(r) < end)) {
        return;
    }

    reply = raft_message_new(r, m->from, RAFT_MSG_APPEND_REPLY);
    if (reply) {
        fill_ack(r, reply, a->prev_index);
    } else {
        r->ack_held = true;
    }
}
