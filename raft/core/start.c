/* Creation, and taking up the state that the disk holds. */
#include <stdlib.h>
#include <string.h>

#include "core_priv.h"

#define MS 1000000ull

static void *libc_resize(void *ctx, void *ptr, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(ptr);
        return NULL;
    }

    return realloc(ptr, size);
}

void *raft_alloc_resize(struct raft *r, void *ptr, size_t size)
{
    return r->opt.alloc.resize(r->opt.alloc.ctx, ptr, size);
}

void raft_options_init(struct raft_options *o)
{
    *o = (struct raft_options){
        .alloc = {.resize = libc_resize},
        .heartbeat_ns = 30 * MS,
        .election_ns = 150 * MS,
        .max_append_entries = 1024,
        .max_append_bytes = 1u << 20,
        .max_inflight_messages = 64,
        .max_inflight_bytes = 8u << 20,
        .max_uncommitted_bytes = 64u << 20,
        .max_uncommitted_entries = 65536,
        .max_log_entries = 4u << 20,
        .max_pending_reads = 4096,
        .trailing_entries = 10000,
        .snapshot_threshold = 50000,
        .snapshot_chunk_bytes = 512u << 10,
        .catch_up_rounds = 10,
        .catch_up_timeout_ns = 30000 * MS,
    };
}

static bool options_valid(const struct raft_options *o)
{
    return o->id != 0 && !raft_uuid_is_zero(&o->cluster) && !raft_uuid_is_zero(&o->incarnation) &&
           o->heartbeat_ns > 0 && o->election_ns > o->heartbeat_ns &&
           o->election_ns < UINT64_MAX / 64 && o->max_append_entries > 0 &&
           o->max_append_entries <= RAFT_MAX_MESSAGE_ENTRIES &&
           o->max_append_bytes <= RAFT_MAX_MESSAGE_BYTES / 2 && o->max_inflight_messages > 0 &&
           o->max_inflight_bytes > 0 && o->max_log_entries > 1 && o->max_pending_reads > 0 &&
           o->snapshot_chunk_bytes > 0 && o->snapshot_chunk_bytes <= RAFT_MAX_MESSAGE_BYTES / 2;
}

static bool allocate(struct raft *r)
{
    size_t reads = r->opt.max_pending_reads;
    size_t window = r->opt.max_inflight_messages;

    r->peers = raft_alloc_resize(r, NULL, RAFT_MAX_SERVERS * sizeof(*r->peers));
    r->windows = raft_alloc_resize(r, NULL, RAFT_MAX_SERVERS * window * sizeof(*r->windows));
    r->reads = raft_alloc_resize(r, NULL, reads * sizeof(*r->reads));
    r->forwards = raft_alloc_resize(r, NULL, reads * sizeof(*r->forwards));
    r->read_results = raft_alloc_resize(r, NULL, 2 * reads * sizeof(*r->read_results));
    if (!r->peers || !r->windows || !r->reads || !r->forwards || !r->read_results) {
        return false;
    }

    for (uint32_t i = 0; i < RAFT_MAX_SERVERS; i++) {
        r->peers[i] = (struct raft_peer){.inflight = r->windows + i * window};
    }

    return true;
}

struct raft *raft_new(const struct raft_options *o)
{
    struct raft_alloc alloc = o->alloc;
    struct raft *r;

    if (!options_valid(o)) {
        return NULL;
    }

    if (!alloc.resize) {
        alloc.resize = libc_resize;
    }

    r = alloc.resize(alloc.ctx, NULL, sizeof(*r));
    if (!r) {
        return NULL;
    }

    memset(r, 0, sizeof(*r));
    r->opt = *o;
    r->opt.alloc = alloc;
    /* Servers that were given the same seed by mistake must still differ (pitfall 25). */
    r->rng = o->seed + o->id * 0xD1B54A32D192ED03ull;
    if (!allocate(r)) {
        raft_free(r);
        return NULL;
    }

    raft_trail_reset(&r->log, 0, 0);
    /* Own time begins late enough that "a while ago" can be subtracted from it. */
    r->now = r->opt.election_ns * 64;
    r->nonce = raft_random(r, UINT64_MAX) + 1;
    return r;
}

void raft_free(struct raft *r)
{
    struct raft_alloc alloc;

    if (!r) {
        return;
    }

    alloc = r->opt.alloc;
    raft_trail_free(&r->log, &alloc);
    raft_alloc_resize(r, r->peers, 0);
    raft_alloc_resize(r, r->windows, 0);
    raft_alloc_resize(r, r->reads, 0);
    raft_alloc_resize(r, r->forwards, 0);
    raft_alloc_resize(r, r->read_results, 0);
    raft_alloc_resize(r, r->configs, 0);
    alloc.resize(alloc.ctx, r, 0);
}

/* The restored log must be one that the core itself could have written. */
static bool start_valid(const struct raft_event_start *e)
{
    raft_term term = e->prev_term;

    if (!e->config || e->config->n_servers > RAFT_MAX_SERVERS || e->snapshot_term > e->term ||
        (e->snapshot_index == 0) != (e->snapshot_term == 0)) {
        return false;
    }

    if (e->n_entries == 0) {
        return true;
    }

    if (e->first_index == 0 || e->first_index > e->snapshot_index + 1 ||
        (e->first_index == 1) != (e->prev_term == 0)) {
        return false;
    }

    for (size_t i = 0; i < e->n_entries; i++) {
        if (e->entries[i].term < term || e->entries[i].term > e->term || e->entries[i].term == 0) {
            return false;
        }
        term = e->entries[i].term;
    }

    return true;
}

static int restore_config(struct raft *r, raft_index index, const struct raft_entry *entry)
{
    struct raft_config config;

    if (raft_config_decode(entry->data, entry->size, &config) != RAFT_OK) {
        return RAFT_ERR_INVALID;
    }

    if (raft_configs_reserve(r, 1) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    raft_configs_push(r, index, &config);
    return RAFT_OK;
}

static int restore_log(struct raft *r, const struct raft_event_start *e)
{
    raft_index last = e->n_entries > 0 ? e->first_index + e->n_entries - 1 : 0;

    if (last < e->snapshot_index) {
        /* The snapshot covers all of it. */
        raft_trail_reset(&r->log, e->snapshot_index, e->snapshot_term);
        return RAFT_OK;
    }

    if (e->n_entries == 0) {
        return RAFT_OK;
    }

    raft_trail_reset(&r->log, e->first_index - 1, e->prev_term);
    if (raft_trail_reserve(&r->log, &r->opt.alloc, e->n_entries) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    for (size_t i = 0; i < e->n_entries; i++) {
        const struct raft_entry *entry = &e->entries[i];
        raft_index index = e->first_index + i;

        raft_trail_append(&r->log, entry->term, entry->size);
        if (entry->type == RAFT_ENTRY_CONFIG && index > e->snapshot_index) {
            int rc = restore_config(r, index, entry);

            if (rc != RAFT_OK) {
                return rc;
            }
        }
    }

    if (e->snapshot_index > 0 && raft_term_at(r, e->snapshot_index) != e->snapshot_term) {
        return RAFT_ERR_INVALID;
    }

    return RAFT_OK;
}

int raft_start(struct raft *r, const struct raft_event_start *e)
{
    int rc;

    if (r->role != RAFT_STOPPED || !start_valid(e)) {
        return RAFT_ERR_INVALID;
    }

    if (raft_configs_reserve(r, 1) != RAFT_OK) {
        return RAFT_ERR_NOMEM;
    }

    raft_configs_reset(r, e->snapshot_index, e->config);
    rc = restore_log(r, e);
    if (rc != RAFT_OK) {
        /* As if nothing had been asked. */
        raft_trail_reset(&r->log, 0, 0);
        r->n_configs = 0;
        r->n_peers = 0;
        return rc;
    }

    r->term = e->term;
    r->vote = e->vote;
    r->snapshot = (struct raft_snapshot){
        .index = e->snapshot_index,
        .term = e->snapshot_term,
        .size = e->snapshot_size,
        .config = *e->config,
    };
    r->commit = e->snapshot_index;
    r->durable = raft_last_index(r);
    r->verified = r->commit;
    r->last_heard_term = r->term;
    r->recover_until = e->recover_until;
    r->recovering = e->recover_until > r->commit;
    r->role = RAFT_FOLLOWER;
    raft_election_timer(r);

    /* Alone: there is nobody to wait for. */
    if (raft_self_votes(r) && raft_config_voters(raft_config_current(r)) == 1) {
        r->election_deadline = r->now;
    }

    return RAFT_OK;
}
