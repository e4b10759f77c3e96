/*
 * What the disk knows. Requests leave in order and complete in order; each remembers the hard state
 * and the log end it makes durable. Nothing of term T leaves this server before T and the vote in
 * it are durable (`gate`), so a crash can never take back what a peer has heard.
 */
#include <assert.h>
#include <string.h>

#include "core_priv.h"

bool raft_gate_open(const struct raft *r)
{
    return r->hs_durable == r->hs_version;
}

void raft_set_hard_state(struct raft *r, raft_term term, raft_id vote)
{
    assert(term >= r->term);

    if (term == r->term && vote == r->vote) {
        return;
    }

    r->term = term;
    r->vote = vote;
    r->hs_version++;
    r->hs_dirty = true;
}

raft_index raft_last_index(const struct raft *r)
{
    return r->log.last;
}

raft_term raft_last_term(const struct raft *r)
{
    return raft_trail_last_term(&r->log);
}

raft_term raft_term_at(const struct raft *r, raft_index index)
{
    return raft_trail_term(&r->log, index);
}

raft_index raft_apply_index(const struct raft *r)
{
    return r->commit < r->durable ? r->commit : r->durable;
}

/* Appends an entry that the core makes itself: a no-op (c == NULL) or a configuration. */
int raft_append_own(struct raft *r, uint8_t type, const struct raft_config *c)
{
    int len = 0;

    if (r->out.persist.n_entries > 0) {
        return RAFT_ERR_BUSY;
    }

    if (raft_trail_reserve(&r->log, &r->opt.alloc, 1) != RAFT_OK ||
        raft_configs_reserve(r, 1) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    if (c) {
        len = raft_config_encode(c, r->own_payload, sizeof(r->own_payload));
        if (len < 0) {
            return len;
        }
    }

    raft_trail_append(&r->log, r->term, (uint32_t)len);
    r->own_entry = (struct raft_entry){
        .term = r->term,
        .type = type,
        .data = len > 0 ? r->own_payload : NULL,
        .size = (uint32_t)len,
    };
    r->out.persist.first_index = r->log.last;
    r->out.persist.entries = &r->own_entry;
    r->out.persist.n_entries = 1;
    r->uncommitted_bytes += (uint64_t)len;
    if (c) {
        raft_configs_push(r, r->log.last, c);
    }

    return RAFT_OK;
}

/* The entries above `last` are about to be overwritten: whatever is in flight for them counts no
 * more. */
void raft_log_truncate(struct raft *r, raft_index last)
{
    assert(last >= r->commit);

    raft_trail_truncate(&r->log, last);
    raft_configs_truncate(r, last);
    if (r->durable > last && !RAFT_MUTANT(r, STALE_COMPLETION)) {
        r->durable = last;
    }

    if (RAFT_MUTANT(r, STALE_COMPLETION)) {
        return;
    }

    for (uint32_t i = 0; i < r->flights_count; i++) {
        struct raft_flight *f = &r->flights[(r->flights_head + i) % RAFT_MAX_FLIGHTS];

        if (f->last > last) {
            f->last = last;
        }
    }
}

void raft_persist_finish(struct raft *r)
{
    struct raft_persist *p = &r->out.persist;
    struct raft_flight *f;

    if (!r->hs_dirty && p->n_entries == 0 && !p->has_snapshot) {
        return;
    }

    r->seq++;
    p->seq = r->seq;
    p->hard_state = r->hs_dirty;
    p->term = r->term;
    p->vote = r->vote;
    r->hs_dirty = false;

    if (r->flights_count == RAFT_MAX_FLIGHTS) {
        /* Joined with its predecessor: it completes when the later one does. */
        f = &r->flights[(r->flights_head + r->flights_count - 1) % RAFT_MAX_FLIGHTS];
    } else {
        f = &r->flights[(r->flights_head + r->flights_count) % RAFT_MAX_FLIGHTS];
        f->install = 0;
        r->flights_count++;
    }

    f->seq = r->seq;
    f->hs_version = r->hs_version;
    f->last = r->log.last;
    if (p->has_snapshot && p->reset_log) {
        f->install = p->snapshot.index;
    }
}

/* Takes completed requests off the queue. Returns the snapshot whose installation they complete. */
static raft_index complete_flights(struct raft *r, uint64_t seq)
{
    raft_index installed = 0;

    while (r->flights_count > 0 && r->flights[r->flights_head].seq <= seq) {
        struct raft_flight *f = &r->flights[r->flights_head];
        raft_index last = f->last < r->log.last ? f->last : r->log.last;

        if (last > r->durable) {
            r->durable = last;
        }

        if (f->install > 0) {
            installed = f->install;
        }

        r->hs_durable = f->hs_version;
        r->flights_head = (r->flights_head + 1) % RAFT_MAX_FLIGHTS;
        r->flights_count--;
    }

    return installed;
}

void raft_persisted(struct raft *r, uint64_t seq)
{
    raft_index match = raft_match_here(r);
    bool gate = raft_gate_open(r);
    raft_index installed;

    if (seq > r->seq) {
        r->dropped++;
        return;
    }

    installed = complete_flights(r, seq);
    if (installed > 0) {
        raft_snapshot_installed(r, installed);
    }

    if (!gate && raft_gate_open(r)) {
        raft_vote_durable(r);
        raft_campaign_durable(r);
    }

    if (r->role == RAFT_LEADER) {
        raft_leader_commit(r);
        return;
    }

    if (r->leader == 0 || !raft_gate_open(r)) {
        return;
    }

    if (raft_match_here(r) > match) {
        r->ack_held = true;
    }
    raft_answer_held(r);
}
