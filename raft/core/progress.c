/* What the leader knows of each peer: probe, replicate (pipelined) or snapshot. */
#include <assert.h>

#include "core_priv.h"

struct raft_peer *raft_peer_find(struct raft *r, raft_id id)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].id == id) {
            return &r->peers[i];
        }
    }

    return NULL;
}

static void inflight_clear(struct raft_peer *p)
{
    p->inflight_head = 0;
    p->inflight_count = 0;
    p->inflight_bytes = 0;
}

void raft_peer_probe(struct raft *r, struct raft_peer *p, raft_index next)
{
    p->state = RAFT_PROGRESS_PROBE;
    p->next = next > p->match ? next : p->match + 1;
    p->paused = false;
    p->progress_at = r->now;
    inflight_clear(p);
}

void raft_peer_replicate(struct raft *r, struct raft_peer *p, raft_index next)
{
    p->state = RAFT_PROGRESS_REPLICATE;
    p->next = next > p->match ? next : p->match + 1;
    p->progress_at = r->now;
    inflight_clear(p);
}

void raft_peer_snapshot_begin(struct raft *r, struct raft_peer *p, raft_index snapshot)
{
    p->state = RAFT_PROGRESS_SNAPSHOT;
    p->progress_at = r->now;
    p->snap_index = snapshot;
    p->snap_offset = 0;
    p->snap_next = 0;
    p->snap_again = UINT64_MAX;
    inflight_clear(p);
}

static void peer_reset(struct raft *r, struct raft_peer *p)
{
    p->match = 0;
    p->received = 0;
    p->commit_sent = 0;
    p->contact = r->now;
    p->acked_round = 0;
    p->snap_index = 0;
    raft_peer_probe(r, p, raft_last_index(r) + 1);
}

/* A new leader knows nothing of anybody. */
void raft_peers_reset(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_peers; i++) {
        peer_reset(r, &r->peers[i]);
    }
}

/* Whether a peer is still whom the configuration means; with another disk it knows nothing. */
static bool same_server(const struct raft_peer *p, const struct raft_server *s)
{
    return p->id == s->id &&
           (raft_uuid_is_zero(&p->bound) || raft_uuid_equal(&p->bound, &s->incarnation));
}

/* Follows a change of configuration; who stays keeps its progress. */
void raft_peers_rebuild(struct raft *r)
{
    const struct raft_config *c = raft_config_current(r);
    struct raft_peer old[RAFT_MAX_SERVERS];
    bool kept[RAFT_MAX_SERVERS] = {false};
    uint32_t n = 0;

    for (uint32_t i = 0; i < RAFT_MAX_SERVERS; i++) {
        old[i] = r->peers[i];
    }

    for (uint32_t i = 0; i < c->n_servers; i++) {
        if (c->servers[i].id == r->opt.id) {
            continue;
        }

        r->peers[n] = (struct raft_peer){.id = c->servers[i].id};
        for (uint32_t k = 0; k < r->n_peers; k++) {
            if (same_server(&old[k], &c->servers[i])) {
                r->peers[n] = old[k];
                kept[k] = true;
            }
        }
        r->peers[n].bound = c->servers[i].incarnation;
        n++;
    }

    /* Rings of those who left serve those who came. */
    for (uint32_t i = 0, k = 0; i < RAFT_MAX_SERVERS; i++) {
        if (i < n && r->peers[i].inflight) {
            continue;
        }

        while (kept[k]) {
            k++;
        }

        if (i >= n) {
            r->peers[i] = (struct raft_peer){0};
        }
        r->peers[i].inflight = old[k].inflight;
        k++;
        if (i < n) {
            peer_reset(r, &r->peers[i]);
        }
    }

    r->n_peers = n;
}

void raft_peer_inflight_add(struct raft *r, struct raft_peer *p, raft_index last, uint64_t bytes)
{
    uint32_t at = (p->inflight_head + p->inflight_count) % r->opt.max_inflight_messages;

    assert(p->inflight_count < r->opt.max_inflight_messages);

    if (p->inflight_count == 0) {
        p->progress_at = r->now;
    }

    p->inflight[at] = (struct raft_inflight){.last = last, .bytes = bytes};
    p->inflight_count++;
    p->inflight_bytes += bytes;
}

void raft_peer_inflight_ack(struct raft *r, struct raft_peer *p, raft_index match)
{
    while (p->inflight_count > 0 && p->inflight[p->inflight_head].last <= match) {
        p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
        p->inflight_head = (p->inflight_head + 1) % r->opt.max_inflight_messages;
        p->inflight_count--;
    }
}

bool raft_peer_full(const struct raft *r, const struct raft_peer *p)
{
    switch (p->state) {
    case RAFT_PROGRESS_PROBE: return p->paused;
    case RAFT_PROGRESS_SNAPSHOT: return true;
    case RAFT_PROGRESS_REPLICATE: break;
    }

    return p->inflight_count >= r->opt.max_inflight_messages ||
           p->inflight_bytes >= r->opt.max_inflight_bytes;
}
