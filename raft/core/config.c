/*
 * The history of configurations: the one in force is the last in the log (thesis 4.1), committed or
 * not; an overwritten entry brings the one before it back.
 */
#include <assert.h>

#include "core_priv.h"

const struct raft_config *raft_config_current(const struct raft *r)
{
    return &r->configs[r->n_configs - 1].config;
}

raft_index raft_config_current_index(const struct raft *r)
{
    return r->configs[r->n_configs - 1].index;
}

const struct raft_config *raft_config_in_force(const struct raft *r)
{
    return raft_config_current(r);
}

const struct raft_config *raft_config_for(const struct raft *r, raft_index index)
{
    uint32_t i = r->n_configs - 1;

    while (i > 0 && r->configs[i].index > index) {
        i--;
    }

    return &r->configs[i].config;
}

bool raft_self_votes(const struct raft *r)
{
    return raft_config_is_voter(raft_config_current(r), r->opt.id);
}

/*
 * Thesis 4.2.2: a server that its uncommitted last configuration leaves out may still be the only
 * one that can be elected, because no other log is as long; it leads until that entry is committed.
 */
bool raft_self_electable(const struct raft *r)
{
    for (uint32_t i = r->n_configs; i > 0; i--) {
        if (raft_config_is_voter(&r->configs[i - 1].config, r->opt.id)) {
            return true;
        }

        if (r->configs[i - 1].index <= r->commit) {
            break;
        }
    }

    return false;
}

int raft_configs_reserve(struct raft *r, uint32_t extra)
{
    uint32_t need = r->n_configs + extra;
    uint32_t cap = r->cap_configs ? r->cap_configs : 4;
    struct raft_config_at *p;

    if (need <= r->cap_configs) {
        return RAFT_OK;
    }

    while (cap < need) {
        cap *= 2;
    }

    p = raft_alloc_resize(r, r->configs, cap * sizeof(*p));
    if (!p) {
        return RAFT_ERR_NOMEM;
    }

    r->configs = p;
    r->cap_configs = cap;
    return RAFT_OK;
}

static void config_changed(struct raft *r)
{
    r->out.config_changed = true;
    raft_peers_rebuild(r);
}

void raft_configs_push(struct raft *r, raft_index index, const struct raft_config *c)
{
    assert(r->n_configs < r->cap_configs);
    assert(r->n_configs == 0 || index > raft_config_current_index(r));

    r->configs[r->n_configs] = (struct raft_config_at){.index = index, .config = *c};
    r->n_configs++;
    config_changed(r);
}

void raft_configs_truncate(struct raft *r, raft_index last)
{
    uint32_t n = r->n_configs;

    if (RAFT_MUTANT(r, CONFIG_NO_ROLLBACK)) {
        /* Keeps the order of indices, which the history relies on. */
        if (n > 1 && r->configs[n - 1].index > last) {
            r->configs[n - 2].config = r->configs[n - 1].config;
            r->n_configs--;
            raft_configs_truncate(r, last);
        }
        return;
    }

    while (r->n_configs > 1 && r->configs[r->n_configs - 1].index > last) {
        r->n_configs--;
    }

    if (r->n_configs != n) {
        config_changed(r);
    }
}

void raft_configs_trim(struct raft *r, raft_index snapshot)
{
    uint32_t drop = 0;

    while (drop + 1 < r->n_configs && r->configs[drop + 1].index <= snapshot) {
        drop++;
    }

    if (drop > 0) {
        for (uint32_t i = drop; i < r->n_configs; i++) {
            r->configs[i - drop] = r->configs[i];
        }
        r->n_configs -= drop;
    }
}

void raft_configs_reset(struct raft *r, raft_index index, const struct raft_config *c)
{
    assert(r->cap_configs > 0);

    r->configs[0] = (struct raft_config_at){.index = index, .config = *c};
    r->n_configs = 1;
    config_changed(r);
}

int raft_snapshot_meta_at(const struct raft *r, raft_index index, struct raft_snapshot_meta *meta)
{
    if (r->role == RAFT_STOPPED || index > r->commit || index < r->snapshot.index) {
        return RAFT_ERR_INVALID;
    }

    /* A server that joined with the log from its beginning does not know the initial one. */
    if (raft_config_for(r, index)->n_servers == 0) {
        return RAFT_ERR_INVALID;
    }

    *meta = (struct raft_snapshot_meta){
        .index = index,
        .term = index == r->snapshot.index ? r->snapshot.term : raft_trail_term(&r->log, index),
        .config = RAFT_MUTANT(r, SNAPSHOT_NEWEST_CONFIG) ? raft_config_current(r)
                                                         : raft_config_for(r, index),
    };
    return RAFT_OK;
}
