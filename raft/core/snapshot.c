/*
 * Snapshots: Raft paper 7, in chunks. A few are out per peer; the receiver takes them in order and
 * names the offset it wants next, so lost, repeated and reordered chunks need no special care: from
 * there on all are sent again.
 */
#include "core_priv.h"

/* ---- sending ----------------------------------------------------------------------------------
 */

static const struct raft_snapshot *find_snapshot(const struct raft *r, raft_index index)
{
    if (r->snapshot.index == index) {
        return &r->snapshot;
    }

    return r->old_snapshot.index == index ? &r->old_snapshot : NULL;
}

/* False: it counts as lost. */
static bool send_chunk(struct raft *r, struct raft_peer *p, const struct raft_snapshot *s)
{
    struct raft_message *m = raft_message_new(r, p->id, RAFT_MSG_SNAPSHOT);
    uint64_t left = s->size - p->snap_next;
    uint32_t len =
        left < r->opt.snapshot_chunk_bytes ? (uint32_t)left : r->opt.snapshot_chunk_bytes;

    if (!m) {
        return false;
    }

    m->u.snapshot = (struct raft_msg_snapshot){
        .index = s->index,
        .index_term = s->term,
        .total = s->size,
        .offset = p->snap_next,
        .len = len,
        .config = &s->config,
    };
    p->snap_next += len;
    return true;
}

/* As far as the window reaches; of an empty snapshot one empty chunk. */
static void fill_window(struct raft *r, struct raft_peer *p)
{
    const struct raft_snapshot *s = find_snapshot(r, p->snap_index);
    uint64_t window = (uint64_t)RAFT_SNAPSHOT_WINDOW * r->opt.snapshot_chunk_bytes;

    if (!s) {
        /* Two newer ones were taken meanwhile. */
        s = &r->snapshot;
        p->snap_index = s->index;
        p->snap_offset = 0;
        p->snap_next = 0;
    }

    p->snap_sent_at = r->now;
    do {
        if (!send_chunk(r, p, s)) {
            return;
        }
    } while (p->snap_next < s->size && p->snap_next - p->snap_offset < window);
}

void raft_peer_snapshot(struct raft *r, struct raft_peer *p)
{
    raft_peer_snapshot_begin(r, p, r->snapshot.index);
    fill_window(r, p);
}

void raft_resend_chunks(struct raft *r, struct raft_peer *p)
{
    p->snap_next = p->snap_offset;
    p->snap_again = p->snap_offset;
    fill_window(r, p);
}

static void on_wanted(struct raft *r, struct raft_peer *p, const struct raft_snapshot *s,
                      uint64_t next_offset)
{
    /* An answer that brings nothing new answers a repeated chunk, or one behind a lost one: then
     * the others that are out will not be taken either, and answered in the same way. */
    if (next_offset == p->snap_offset) {
        if (p->snap_next > next_offset &&
            (p->snap_again != next_offset || r->now - p->snap_sent_at >= r->opt.heartbeat_ns)) {
            raft_resend_chunks(r, p);
        }
        return;
    }

    if (next_offset < p->snap_offset || next_offset > p->snap_next) {
        p->snap_next = next_offset; /* it has begun anew, or had more from another leader */
    }

    p->snap_offset = next_offset;
    p->progress_at = r->now;
    if (p->snap_next < s->size) {
        fill_window(r, p);
    }
}

void raft_on_snapshot_reply(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_snapshot_reply *a = &m->u.snapshot_reply;
    struct raft_peer *p = raft_peer_find(r, m->from);
    const struct raft_snapshot *s;

    if (r->role != RAFT_LEADER || !p || p->state != RAFT_PROGRESS_SNAPSHOT ||
        a->index != p->snap_index) {
        r->dropped++;
        return;
    }

    if (a->installed) {
        raft_leader_match(r, p, a->match);
        raft_peer_probe(r, p, p->match + 1);
        return;
    }

    s = find_snapshot(r, p->snap_index);
    if (!s) {
        raft_resend_chunks(r, p); /* a newer one */
        return;
    }

    if (a->next_offset > s->size) {
        r->dropped++;
        return;
    }

    on_wanted(r, p, s, a->next_offset);
}

void raft_snapshot_gone(struct raft *r, const struct raft_event_gone *e)
{
    if (r->role != RAFT_LEADER || e->index == r->snapshot.index) {
        return;
    }

    for (uint32_t i = 0; i < r->n_peers; i++) {
        struct raft_peer *p = &r->peers[i];

        if (p->state == RAFT_PROGRESS_SNAPSHOT && p->snap_index == e->index) {
            raft_peer_snapshot(r, p);
        }
    }
}

/* ---- own snapshots ----------------------------------------------------------------------------
 */

static void persist_marker(struct raft *r, bool reset_log)
{
    r->out.persist.has_snapshot = true;
    r->out.persist.reset_log = reset_log;
    r->out.persist.snapshot = (struct raft_snapshot_meta){
        .index = r->snapshot.index,
        .term = r->snapshot.term,
        .size = r->snapshot.size,
        .config = &r->snapshot.config,
    };
}

int raft_snapshot_taken(struct raft *r, const struct raft_event_taken *e)
{
    uint64_t keep = r->opt.trailing_entries;

    if (e->index <= r->snapshot.index || e->index > raft_apply_index(r) ||
        raft_config_for(r, e->index)->n_servers == 0) {
        return RAFT_ERR_INVALID;
    }

    r->old_snapshot = r->snapshot;
    r->snapshot = (struct raft_snapshot){
        .index = e->index,
        .term = raft_term_at(r, e->index),
        .size = e->size,
        .config = RAFT_MUTANT(r, SNAPSHOT_NEWEST_CONFIG) ? *raft_config_current(r)
                                                         : *raft_config_for(r, e->index),
    };
    raft_configs_trim(r, e->index);
    persist_marker(r, false);

    if (e->index > keep && e->index - keep + 1 > r->log.first) {
        raft_trail_trim(&r->log, e->index - keep + 1);
        r->out.compact_before = r->log.first;
    }

    return RAFT_OK;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void reply_offset(struct raft *r, raft_id to, raft_index index, uint64_t next_offset)
{
    struct raft_message *m = raft_message_new(r, to, RAFT_MSG_SNAPSHOT_REPLY);

    if (m) {
        m->u.snapshot_reply = (struct raft_msg_snapshot_reply){
            .index = index,
            .next_offset = next_offset,
        };
    }
}

/* Says that nothing more is needed, as soon as that is true on disk as well. */
static void reply_installed(struct raft *r, raft_id to, raft_index index)
{
    struct raft_message *m;

    if (raft_match_here(r) < index) {
        return;
    }

    m = raft_message_new(r, to, RAFT_MSG_SNAPSHOT_REPLY);
    if (m) {
        m->u.snapshot_reply = (struct raft_msg_snapshot_reply){
            .index = index,
            .installed = true,
            .match = raft_match_here(r),
        };
    }
}

static void take_chunk(struct raft *r, const struct raft_msg_snapshot *s)
{
    struct raft_install *in = &r->install;

    in->storing++;
    in->handed = s->offset + s->len;
    r->out.chunk = (struct raft_snapshot_chunk){
        .present = true,
        .meta = {.index = in->index, .term = in->term, .size = in->total, .config = &in->config},
        .offset = s->offset,
        .data = s->data,
        .len = s->len,
        .last = s->offset + s->len == in->total,
    };
}

void raft_on_snapshot(struct raft *r, const struct raft_message *m)
{
    const struct raft_msg_snapshot *s = &m->u.snapshot;
    struct raft_install *in = &r->install;

    if (r->role == RAFT_LEADER || s->index == 0 || s->index_term > m->term || !s->config ||
        s->offset > s->total || s->len > s->total - s->offset) {
        r->dropped++;
        return;
    }

    raft_become_follower(r, r->term, m->from);
    raft_hear_leader(r, m->from);

    if (s->index <= r->commit && !RAFT_MUTANT(r, OLD_SNAPSHOT_INSTALLED)) {
        reply_installed(r, m->from, s->index);
        return;
    }

    bool same =
        in->active && in->index == s->index && in->term == s->index_term && in->total == s->total;
    if (in->storing > 0 && (!same || in->failed || in->storing == RAFT_SNAPSHOT_WINDOW)) {
        return; /* the host is still busy with earlier ones; the leader repeats this one */
    }

    if (!same) {
        *in = (struct raft_install){
            .active = true,
            .index = s->index,
            .term = s->index_term,
            .total = s->total,
            .config = *s->config,
        };
    }

    /* An empty snapshot is one empty chunk. */
    if (s->offset == in->handed && (s->len > 0 || s->total == 0)) {
        take_chunk(r, s);
        return;
    }

    if (in->storing == 0) { /* else the host's next answer is one to the leader, too */
        reply_offset(r, m->from, s->index, in->stored);
    }
}

/* The log gives way to the snapshot, unless it holds the snapshot's last entry. */
static void install(struct raft *r)
{
    struct raft_install *in = &r->install;

    in->active = false;
    if (in->index <= r->commit && !RAFT_MUTANT(r, OLD_SNAPSHOT_INSTALLED)) {
        return;
    }

    if (in->index > r->commit && in->index <= raft_last_index(r) &&
        raft_term_at(r, in->index) == in->term) {
        raft_follower_commit(r, in->index);
        return;
    }

    r->old_snapshot = (struct raft_snapshot){0};
    r->snapshot = (struct raft_snapshot){
        .index = in->index,
        .term = in->term,
        .size = in->total,
        .config = RAFT_MUTANT(r, SNAPSHOT_WITHOUT_CONFIG) ? *raft_config_current(r) : in->config,
    };

    for (uint32_t i = 0; i < r->flights_count; i++) {
        r->flights[(r->flights_head + i) % RAFT_MAX_FLIGHTS].last = 0;
    }

    if (r->durable > r->commit) {
        r->durable = r->commit;
    }
    raft_trail_reset(&r->log, in->index, in->term);
    raft_configs_reset(r, in->index, &r->snapshot.config);
    r->commit = in->index;
    r->verified = in->index;
    persist_marker(r, true);
}

void raft_snapshot_stored(struct raft *r, const struct raft_event_stored *e)
{
    struct raft_install *in = &r->install;

    if (in->storing == 0 || e->index != in->index) {
        r->dropped++;
        return;
    }

    in->storing--;
    in->failed = in->failed || e->failed;
    if (in->failed && in->storing > 0) {
        return;
    }

    if (in->failed) {
        in->active = false;
        in->failed = false;
        in->stored = 0;
        in->handed = 0;
    } else {
        in->stored = e->end;
    }

    if (in->active && in->stored == in->total) {
        if (r->role == RAFT_FOLLOWER) {
            install(r);
            if (r->leader != 0) {
                reply_installed(r, r->leader, in->index);
            }
        }
        in->active = false;
        return;
    }

    if (r->role == RAFT_FOLLOWER && r->leader != 0) {
        reply_offset(r, r->leader, in->index, in->stored);
    }
}

/* The marker is on disk: the state machine may change over, and the leader may know. */
void raft_snapshot_installed(struct raft *r, raft_index index)
{
    r->out.restore_index = index;
    raft_follower_commit(r, r->commit);
    if (r->role == RAFT_FOLLOWER && r->leader != 0) {
        reply_installed(r, r->leader, index);
    }
}
