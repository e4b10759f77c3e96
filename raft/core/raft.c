/* The step: time, dispatch, timers, effects. */
#include <assert.h>
#include <string.h>

#include "core_priv.h"

/* With nothing to wait for, the host is asked to come back after this. */
#define IDLE_NS 1000000000ull

/* splitmix64: small, good enough to keep servers apart, the same everywhere. */
uint64_t raft_random(struct raft *r, uint64_t below)
{
    uint64_t z;

    r->rng += 0x9E3779B97F4A7C15ull;
    z = r->rng;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (z ^ (z >> 31)) % below;
}

/*
 * A message to be filled in, or NULL if none may leave: the hard state it would speak of is not
 * durable yet, or the step has sent too many. Either way it counts as lost.
 */
struct raft_message *raft_message_new(struct raft *r, raft_id to, uint8_t type)
{
    struct raft_message *m;

    if (!raft_gate_open(r) || r->n_messages >= RAFT_MESSAGES_PER_STEP) {
        return NULL;
    }

    m = &r->messages[r->n_messages++];
    *m = (struct raft_message){
        .cluster = r->opt.cluster,
        .incarnation = r->opt.incarnation,
        .from = r->opt.id,
        .to = to,
        .term = r->term,
        .type = type,
    };
    return m;
}

/*
 * Own time follows the host's clock forwards only. A host that comes more than E late was stopped,
 * or its clock jumped: then silence proves nothing about the others, who may be waiting in the
 * queue, so all of them get another chance.
 */
static void advance_time(struct raft *r, uint64_t now_ns)
{
    uint64_t late;

    if (now_ns > r->host_now) {
        r->now += r->host_now == 0 && r->role == RAFT_STOPPED ? 0 : now_ns - r->host_now;
    }
    r->host_now = now_ns;

    if (r->role == RAFT_STOPPED || r->now <= r->deadline + r->opt.election_ns) {
        return;
    }

    late = r->now - r->deadline;
    if (r->role != RAFT_LEADER) {
        raft_election_timer(r);
        return;
    }

    for (uint32_t i = 0; i < r->n_peers; i++) {
        uint64_t silent = r->now - r->peers[i].contact;

        r->peers[i].contact += late < silent ? late : silent;
    }
}

static bool is_reply(uint8_t type)
{
    return type == RAFT_MSG_VOTE_REPLY || type == RAFT_MSG_APPEND_REPLY ||
           type == RAFT_MSG_SNAPSHOT_REPLY;
}

/*
 * A server that lost its disk has forgotten what it promised: its answers must not count under its
 * old id. Requests are not refused for this reason: our own configuration may be the outdated one.
 */
static bool stranger(const struct raft *r, const struct raft_message *m)
{
    const struct raft_server *s = raft_config_find(raft_config_current(r), m->from);

    return is_reply(m->type) && s && !raft_uuid_is_zero(&s->incarnation) &&
           !raft_uuid_equal(&s->incarnation, &m->incarnation);
}

/* From an earlier term: whoever leads there must learn that its time is over (pitfall 8). */
static void on_old_term(struct raft *r, const struct raft_message *m)
{
    struct raft_message *reply;

    r->dropped++;
    if (m->type != RAFT_MSG_APPEND && m->type != RAFT_MSG_SNAPSHOT) {
        return;
    }

    reply = raft_message_new(r, m->from, RAFT_MSG_APPEND_REPLY);
    if (reply) {
        reply->u.append_reply.rejected = true;
        reply->u.append_reply.prev_index = m->type == RAFT_MSG_APPEND ? m->u.append.prev_index : 0;
    }
}

static void dispatch_current(struct raft *r, const struct raft_message *m)
{
    struct raft_peer *p = raft_peer_find(r, m->from);

    if (p) {
        p->contact = r->now;
        p->incarnation = m->incarnation;
    }

    switch ((enum raft_message_type)m->type) {
    case RAFT_MSG_APPEND: raft_on_append(r, m); break;
    case RAFT_MSG_APPEND_REPLY: raft_on_append_reply(r, m); break;
    case RAFT_MSG_SNAPSHOT: raft_on_snapshot(r, m); break;
    case RAFT_MSG_SNAPSHOT_REPLY: raft_on_snapshot_reply(r, m); break;
    case RAFT_MSG_TIMEOUT_NOW: raft_on_timeout_now(r, m); break;
    case RAFT_MSG_READ: raft_on_read(r, m); break;
    case RAFT_MSG_READ_REPLY: raft_on_read_reply(r, m); break;
    case RAFT_MSG_VOTE:
    case RAFT_MSG_VOTE_REPLY: break;
    }
}

static void on_message(struct raft *r, const struct raft_message *m)
{
    bool from_leader = m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_SNAPSHOT;

    if (!raft_uuid_equal(&m->cluster, &r->opt.cluster) || m->to != r->opt.id || m->from == 0 ||
        m->from == r->opt.id || stranger(r, m)) {
        r->dropped++;
        return;
    }

    if (m->type == RAFT_MSG_VOTE) {
        raft_on_vote(r, m);
        return;
    }

    if (m->type == RAFT_MSG_VOTE_REPLY) {
        raft_on_vote_reply(r, m);
        return;
    }

    if (m->term > r->term) {
        raft_become_follower(r, m->term, from_leader ? m->from : 0);
    }

    if (m->term < r->term && !(RAFT_MUTANT(r, OLD_LEADER_ACCEPTED) && from_leader)) {
        on_old_term(r, m);
        return;
    }

    dispatch_current(r, m);
}

/*
 * The operating system says that a peer's process is gone, long before silence would. If it led us,
 * we ask the others whether they lost it too, after a short random while; who still hears it says
 * no.
 */
static void on_link_down(struct raft *r, const struct raft_event_link *e)
{
    struct raft_peer *p = raft_peer_find(r, e->peer);

    if (r->role == RAFT_LEADER) {
        if (p && p->state == RAFT_PROGRESS_REPLICATE) {
            raft_peer_probe(r, p, p->match + 1);
        }
        return;
    }

    if (r->role == RAFT_FOLLOWER && r->leader == e->peer && r->leader != 0) {
        uint64_t soon = r->now + raft_random(r, r->opt.heartbeat_ns + 1);

        r->leader_contact = 0;
        raft_forwards_fail(r, RAFT_ERR_NO_LEADER);
        if (soon < r->election_deadline) {
            r->election_deadline = soon;
        }
    }
}

static void on_link_up(struct raft *r, const struct raft_event_link *e)
{
    struct raft_peer *p = raft_peer_find(r, e->peer);

    if (r->role == RAFT_LEADER && p) {
        if (p->state == RAFT_PROGRESS_PROBE) {
            p->paused = false;
        }
        raft_heartbeat_peer(r, p);
    }
}

static int dispatch(struct raft *r, const struct raft_event *ev)
{
    if (ev->type == RAFT_EVENT_START) {
        return raft_start(r, &ev->u.start);
    }

    if (r->role == RAFT_STOPPED) {
        return RAFT_ERR_INVALID;
    }

    switch (ev->type) {
    case RAFT_EVENT_START:
    case RAFT_EVENT_TIMEOUT: return RAFT_OK;
    case RAFT_EVENT_MESSAGE: on_message(r, ev->u.message); return RAFT_OK;
    case RAFT_EVENT_PERSISTED: raft_persisted(r, ev->u.persisted.seq); return RAFT_OK;
    case RAFT_EVENT_PROPOSE: return raft_propose(r, &ev->u.propose);
    case RAFT_EVENT_READ: return raft_read_request(r, &ev->u.read);
    case RAFT_EVENT_CHANGE: return raft_change_request(r, &ev->u.change);
    case RAFT_EVENT_TRANSFER: return raft_transfer_request(r, &ev->u.transfer);
    case RAFT_EVENT_LINK_DOWN: on_link_down(r, &ev->u.link); return RAFT_OK;
    case RAFT_EVENT_LINK_UP: on_link_up(r, &ev->u.link); return RAFT_OK;
    case RAFT_EVENT_SNAPSHOT_TAKEN: return raft_snapshot_taken(r, &ev->u.taken);
    case RAFT_EVENT_SNAPSHOT_STORED: raft_snapshot_stored(r, &ev->u.stored); return RAFT_OK;
    case RAFT_EVENT_SNAPSHOT_GONE: raft_snapshot_gone(r, &ev->u.gone); return RAFT_OK;
    }

    return RAFT_ERR_INVALID;
}

/*
 * A host that comes late may have the leader's messages waiting in its queue behind this event:
 * they get one heartbeat's time, so that a server short of CPU does not take itself for a lonely
 * one.
 */
static void election_timer(struct raft *r)
{
    if (r->now < r->election_deadline || r->more) {
        return;
    }

    if (!r->grace_given && r->now - r->election_deadline > r->opt.heartbeat_ns / 2) {
        r->election_deadline = r->now + r->opt.heartbeat_ns;
        r->grace_given = true;
        return;
    }

    raft_election_timeout(r);
}

static void timers(struct raft *r)
{
    if (r->role == RAFT_LEADER) {
        raft_leader_timers(r);
        return;
    }

    election_timer(r);

    if (r->n_forwards > 0 && r->now >= r->forward_deadline) {
        raft_forward(r);
    }
}

static uint64_t next_deadline(const struct raft *r)
{
    uint64_t at = r->now + IDLE_NS;

    if (r->role == RAFT_LEADER) {
        at = r->heartbeat_deadline < at ? r->heartbeat_deadline : at;
        if (r->transfer_to != 0 && r->transfer_deadline < at) {
            at = r->transfer_deadline;
        }
        return at;
    }

    at = r->election_deadline < at ? r->election_deadline : at;
    if (r->n_forwards > 0 && r->forward_deadline < at) {
        at = r->forward_deadline;
    }

    return at;
}

/* A snapshot still on its way to a peer would be overtaken by a new one; but not without limit. */
static bool snapshot_due(const struct raft *r)
{
    uint64_t since =
        raft_apply_index(r) > r->snapshot.index ? raft_apply_index(r) - r->snapshot.index : 0;

    if (since < r->opt.snapshot_threshold ||
        raft_config_for(r, raft_apply_index(r))->n_servers == 0) {
        return false;
    }

    for (uint32_t i = 0; r->role == RAFT_LEADER && i < r->n_peers; i++) {
        if (r->peers[i].state == RAFT_PROGRESS_SNAPSHOT &&
            r->now - r->peers[i].contact < r->opt.election_ns) {
            return since >= 4 * r->opt.snapshot_threshold;
        }
    }

    return true;
}

static void begin(struct raft *r)
{
    memset(&r->out, 0, sizeof(r->out));
    r->n_messages = 0;
    r->n_read_results = 0;
    r->n_change_results = 0;
}

static void finish(struct raft *r)
{
    struct raft_effects *out = &r->out;

    raft_persist_finish(r);
    r->deadline = next_deadline(r);
    if (r->deadline < r->now) {
        r->deadline = r->now;
    }

    out->messages = r->messages;
    out->n_messages = r->n_messages;
    out->reads = r->read_results;
    out->n_reads = r->n_read_results;
    out->changes = r->change_results;
    out->n_changes = r->n_change_results;
    out->commit_index = r->commit;
    out->apply_index = raft_apply_index(r);
    out->deadline_ns = r->host_now + (r->deadline - r->now);
    out->role = r->role;
    out->term = r->term;
    out->leader = r->leader;
    out->role_changed =
        r->role != r->last_role || r->term != r->last_term || r->leader != r->last_leader;
    out->snapshot_due = snapshot_due(r);
    r->last_role = r->role;
    r->last_term = r->term;
    r->last_leader = r->leader;
}

int raft_step(struct raft *r, uint64_t now_ns, const struct raft_event *ev,
              struct raft_effects *out)
{
    int rc;

    begin(r);
    r->more = ev->more;
    advance_time(r, now_ns);
    rc = dispatch(r, ev);

    if (r->role == RAFT_STOPPED) {
        *out = (struct raft_effects){.deadline_ns = UINT64_MAX};
        return rc;
    }

    timers(r);
    if (r->role == RAFT_LEADER) {
        raft_broadcast(r);
    }

    finish(r);
    *out = r->out;
    return rc;
}
