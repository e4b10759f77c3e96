/*
 * The leader's side of replication: Raft paper 5.3 and 5.4.2, pipelining as in thesis 10.2.1.
 *
 * Messages to a peer are sent optimistically, up to a window of messages and bytes that only
 * durable acknowledgements open again. The leader's own disk is just another voter.
 */
#include <assert.h>

#include "core_priv.h"

bool raft_committed_own_term(const struct raft *r)
{
    return r->commit >= r->term_start;
}

void raft_become_leader(struct raft *r)
{
    uint64_t bytes = 0;

    assert(r->role == RAFT_CANDIDATE && r->vote == r->opt.id && raft_gate_open(r));

    for (raft_index i = r->commit + 1; i <= raft_last_index(r); i++) {
        bytes += raft_trail_size(&r->log, i);
    }

    r->role = RAFT_LEADER;
    r->leader = r->opt.id;
    r->leader_contact = r->now;
    r->patience = 0;
    r->uncommitted_bytes = bytes;
    r->transfer_to = 0;
    r->change.active = false;
    r->round = 0;
    r->n_reads = 0;
    raft_peers_reset(r);

    /* Thesis 6.4: commits what earlier terms left, and opens reads and configuration changes. */
    if (raft_append_own(r, RAFT_ENTRY_NOOP, NULL) != RAFT_OK) {
        raft_become_follower(r, r->term, 0);
        return;
    }

    r->term_start = raft_last_index(r);
    r->heartbeat_deadline = r->now + r->opt.heartbeat_ns;
}

/*
 * prev is an entry the peer is known to have, so a heartbeat is never refused; and the receiver
 * commits no further than prev, so nothing unverified is committed by it (pitfall 5).
 */
void raft_heartbeat_peer(struct raft *r, struct raft_peer *p)
{
    struct raft_message *m = raft_message_new(r, p->id, RAFT_MSG_APPEND);
    raft_index prev = p->match;

    if (!m) {
        return;
    }

    if (prev + 1 < r->log.first) {
        prev = 0;
    }

    m->u.append = (struct raft_msg_append){
        .prev_index = prev,
        .prev_term = raft_term_at(r, prev),
        .commit = RAFT_MUTANT(r, COMMIT_UNVERIFIED) || r->commit < prev ? r->commit : prev,
        .round = r->round,
    };
}

void raft_heartbeat(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        raft_heartbeat_peer(r, &r->peers[i]);
    }
}

/* Entries next ... of one message: as many as the caps allow, and at least one. */
static uint32_t batch_size(const struct raft *r, raft_index next, uint64_t *bytes)
{
    uint32_t n = 0;

    *bytes = 0;
    while (next + n <= raft_last_index(r) && n < r->opt.max_append_entries) {
        uint64_t size = raft_trail_size(&r->log, next + n);

        if (n > 0 && *bytes + size > r->opt.max_append_bytes) {
            break;
        }
        *bytes += size;
        n++;
    }

    return n;
}

static bool send_append(struct raft *r, struct raft_peer *p)
{
    raft_index prev = p->next - 1;
    struct raft_message *m;
    uint64_t bytes;
    uint32_t n = batch_size(r, p->next, &bytes);

    if (n == 0 && p->commit_sent >= r->commit && p->state == RAFT_PROGRESS_REPLICATE) {
        return false;
    }

    m = raft_message_new(r, p->id, RAFT_MSG_APPEND);
    if (!m) {
        return false;
    }

    m->u.append = (struct raft_msg_append){
        .prev_index = prev,
        .prev_term = raft_term_at(r, prev),
        .commit = r->commit,
        .round = r->round,
        .quiet = n == 0 && p->state == RAFT_PROGRESS_REPLICATE,
        .n_entries = n,
        .last_term = n > 0 ? raft_term_at(r, prev + n) : 0,
    };
    p->commit_sent = r->commit < prev + n ? r->commit : prev + n;

    if (p->state == RAFT_PROGRESS_PROBE) {
        p->paused = true;
        p->progress_at = r->now;
        return false;
    }

    if (n > 0) {
        raft_peer_inflight_add(r, p, prev + n, bytes);
        p->next += n;
    }
    return n > 0;
}

/* Sends what the peer's window allows; to one that has long been silent, heartbeats must do. */
void raft_replicate(struct raft *r, struct raft_peer *p)
{
    if (r->now - p->contact > 2 * r->opt.election_ns) {
        return;
    }

    for (int i = 0; i < RAFT_APPENDS_PER_STEP && !raft_peer_full(r, p); i++) {
        if (p->next < r->log.first) {
            raft_peer_snapshot(r, p);
            return;
        }

        if (!send_append(r, p)) {
            return;
        }
    }
}

void raft_broadcast(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        raft_replicate(r, &r->peers[i]);
    }
}

/*
 * The largest index that a majority of voters has on disk, the own server among them by its own
 * disk (or not at all, if it is not a voter any more: thesis 4.2.2).
 */
static raft_index majority_match(const struct raft *r)
{
    const struct raft_config *c = raft_config_current(r);
    raft_index matches[RAFT_MAX_SERVERS] = {0};
    raft_index self = RAFT_MUTANT(r, SELF_ACK_BEFORE_DURABLE) ? r->log.last : r->durable;
    uint32_t n = 0;
    uint32_t quorum = raft_quorum(r);

    if (raft_self_votes(r) || RAFT_MUTANT(r, REMOVED_LEADER_COUNTS)) {
        matches[n++] = self;
    }

    for (uint32_t i = 0; i < r->n_peers; i++) {
        if (raft_config_is_voter(c, r->peers[i].id) || RAFT_MUTANT(r, LEARNER_COUNTS)) {
            raft_index match = r->peers[i].match;
            uint32_t at = n++;

            while (at > 0 && matches[at - 1] < match) {
                matches[at] = matches[at - 1];
                at--;
            }
            matches[at] = match;
        }
    }

    return n >= quorum ? matches[quorum - 1] : 0;
}

static void committed(struct raft *r, raft_index index)
{
    bool own_term_before = raft_committed_own_term(r);

    for (raft_index i = r->commit + 1; i <= index; i++) {
        uint64_t size = raft_trail_size(&r->log, i);

        r->uncommitted_bytes -= size < r->uncommitted_bytes ? size : r->uncommitted_bytes;
    }

    r->commit = index;
    if (!own_term_before && raft_committed_own_term(r)) {
        raft_reads_own_term(r);
    }

    raft_change_committed(r);
    raft_transfer_progress(r);
}

void raft_leader_commit(struct raft *r)
{
    raft_index index = majority_match(r);

    if (index <= r->commit) {
        return;
    }

    /* Paper 5.4.2, figure 8: earlier terms' entries are committed only along with an own one. */
    if (raft_term_at(r, index) != r->term && !RAFT_MUTANT(r, COMMIT_OLD_TERM)) {
        return;
    }

    committed(r, index);
}

void raft_leader_match(struct raft *r, struct raft_peer *p, raft_index match)
{
    if (match > raft_last_index(r)) {
        r->dropped++; /* of no honest follower */
        return;
    }

    if (match > p->match) {
        p->match = match;
        p->progress_at = r->now;
        raft_peer_inflight_ack(r, p, match);
        raft_leader_commit(r);
    }

    if (p->next <= p->match) {
        p->next = p->match + 1;
    }
}

static void on_reject(struct raft *r, struct raft_peer *p, const struct raft_msg_append_reply *a)
{
    raft_index next;

    if (a->prev_index <= p->match || p->state == RAFT_PROGRESS_SNAPSHOT ||
        (p->state == RAFT_PROGRESS_PROBE && a->prev_index != p->next - 1)) {
        return; /* answers an old message */
    }

    /* Both sides skip whole terms: one probe per divergent term at most. */
    next = raft_trail_meet(&r->log, a->hint_index, a->hint_term) + 1;
    if (next > a->prev_index) {
        next = a->prev_index;
    }
    raft_peer_probe(r, p, next > 0 ? next : 1);
}

static void on_accept(struct raft *r, struct raft_peer *p, const struct raft_msg_append_reply *a)
{
    if (a->received > p->received) {
        p->progress_at = r->now;
    }
    p->received = a->received;

    if (p->state == RAFT_PROGRESS_SNAPSHOT && p->match + 1 >= r->log.first) {
        raft_peer_probe(r, p, p->match + 1);
    }

    if (p->state == RAFT_PROGRESS_PROBE && a->received + 1 >= p->next) {
        raft_peer_replicate(r, p, a->received + 1);
    }
}

void raft_on_append_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_append_reply *a = &m->u.append_reply;
    struct raft_peer *p = raft_peer_find(r, m->from);

    if (r->role != RAFT_LEADER || !p) {
        r->dropped++;
        return;
    }

    if (a->received > raft_last_index(r) || a->round > r->round) {
        r->dropped++;
        return;
    }

    if (a->round > p->acked_round) {
        p->acked_round = a->round;
    }

    if (RAFT_MUTANT(r, READ_ANY_ROUND)) {
        p->acked_round = r->round;
    }

    if (a->recovering && a->rejected && a->match < p->match) {
        /* What is committed stays so: it cannot vote before it has all of it again. */
        p->match = a->match;
        p->received = a->match;
        raft_peer_probe(r, p, a->prev_index + 1);
    }

    raft_leader_match(r, p, a->match);
    if (a->rejected) {
        on_reject(r, p, a);
    } else {
        on_accept(r, p, a);
    }

    raft_reads_round(r);
    raft_change_progress(r, p);
    raft_transfer_progress(r);
}

/* Whether a majority of the voters of `c` was heard within the last 2E (thesis 6.2). */
bool raft_hears_majority(const struct raft *r, const struct raft_config *c)
{
    uint32_t n = raft_config_is_voter(c, r->opt.id) ? 1 : 0;

    for (uint32_t i = 0; i < r->n_peers; i++) {
        if (raft_config_is_voter(c, r->peers[i].id) &&
            r->now - r->peers[i].contact <= 2 * r->opt.election_ns) {
            n++;
        }
    }

    return n >= raft_config_quorum(c);
}

/*
 * Messages get lost. What was sent and is not even received (heartbeats' replies would say so) for
 * a while is sent again: one probe soon, a whole pipeline not before E, since it may just be long.
 */
static void repeat_lost(struct raft *r, struct raft_peer *p)
{
    uint64_t wait = p->state == RAFT_PROGRESS_PROBE ? 2 * r->opt.heartbeat_ns : r->opt.election_ns;

    /* To a peer that does not answer at all go heartbeats only. */
    if (r->now - p->progress_at < wait || r->now - p->contact > r->opt.election_ns) {
        return;
    }

    switch (p->state) {
    case RAFT_PROGRESS_PROBE:
        if (!RAFT_MUTANT(r, STUCK_PROBE)) {
            p->paused = false;
        }
        break;
    case RAFT_PROGRESS_REPLICATE:
        /* Also when nothing counts as in flight: it may have received and forgotten in a crash. */
        if (p->received + 1 < p->next) {
            raft_peer_probe(r, p, p->received + 1);
        }
        break;
    case RAFT_PROGRESS_SNAPSHOT:
        if (r->now - p->snap_sent_at >= 2 * r->opt.election_ns) {
            raft_resend_chunks(r, p);
        }
        break;
    }
}

void raft_leader_timers(struct raft *r)
{
    raft_transfer_timer(r);
    raft_change_timer(r);

    if (r->now < r->heartbeat_deadline) {
        return;
    }

    if (!r->more && !raft_hears_majority(r, raft_config_current(r)) &&
        !RAFT_MUTANT(r, NO_STEP_DOWN)) {
        raft_become_follower(r, r->term, 0);
        return;
    }

    r->heartbeat_deadline = r->now + r->opt.heartbeat_ns;
    raft_heartbeat(r);
    for (uint32_t i = 0; i < r->n_peers; i++) {
        repeat_lost(r, &r->peers[i]);
    }
    raft_bind_incarnations(r);
}

static int propose_check(const struct raft *r, const struct raft_event_propose *e, uint64_t bytes)
{
    uint64_t waiting = raft_last_index(r) - r->commit;

    if (r->transfer_to != 0) {
        return RAFT_ERR_TRANSFER;
    }

    if (waiting > 0 && (waiting + e->n_entries > r->opt.max_uncommitted_entries ||
                        r->uncommitted_bytes + bytes > r->opt.max_uncommitted_bytes)) {
        return RAFT_ERR_BUSY;
    }

    if (raft_last_index(r) + e->n_entries - r->log.first >= r->opt.max_log_entries) {
        return RAFT_ERR_BUSY;
    }

    return RAFT_OK;
}

int raft_propose(struct raft *r, const struct raft_event_propose *e)
{
    uint64_t bytes = 0;
    int rc;

    if (r->role != RAFT_LEADER) {
        return RAFT_ERR_NOT_LEADER;
    }

    if (e->n_entries == 0) {
        return RAFT_ERR_INVALID;
    }

    for (size_t i = 0; i < e->n_entries; i++) {
        if (e->entries[i].type != RAFT_ENTRY_COMMAND) {
            return RAFT_ERR_INVALID;
        }

        if (e->entries[i].size > RAFT_MAX_ENTRY_BYTES) {
            return RAFT_ERR_TOO_BIG;
        }
        bytes += e->entries[i].size;
    }

    rc = propose_check(r, e, bytes);
    if (rc != RAFT_OK) {
        return rc;
    }

    if (raft_trail_reserve(&r->log, &r->opt.alloc, e->n_entries) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    for (size_t i = 0; i < e->n_entries; i++) {
        e->entries[i].term = r->term;
        raft_trail_append(&r->log, r->term, e->entries[i].size);
    }

    r->uncommitted_bytes += bytes;
    r->out.proposed_first = raft_last_index(r) + 1 - e->n_entries;
    r->out.persist.first_index = r->out.proposed_first;
    r->out.persist.entries = e->entries;
    r->out.persist.n_entries = e->n_entries;
    return RAFT_OK;
}
