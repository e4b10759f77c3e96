/* Carrying out what the core asks for. */
#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>

/* Payload of entry @i of @persist with one reference for the caller. */
static struct rafti_payload *payload_of(const struct raft_effects *fx, size_t i,
                                        const struct rafti_batch *batch)
{
    const struct raft_entry *entry = &fx->persist.entries[i];
    uint64_t index = fx->persist.first_index + i;

    if (batch != NULL && fx->proposed_first != 0 && index >= fx->proposed_first &&
        index - fx->proposed_first < batch->n) {
        return rafti_payload_ref(batch->payloads[index - fx->proposed_first]);
    }
    return rafti_payload_new(entry->data, entry->size);
}

static struct rafti_write *make_write(struct raft_node *node, const struct raft_effects *fx,
                                      const struct rafti_batch *batch)
{
    const struct raft_persist *persist = &fx->persist;
    size_t n = persist->seq != 0 ? persist->n_entries : 0;
    struct rafti_write *write = calloc(1, sizeof *write + n * sizeof write->entries[0]);

    if (write == NULL) {
        return NULL;
    }
    write->release = fx->compact_before > 0 ? fx->compact_before - 1 : 0;
    if (persist->seq == 0) {
        return write;
    }
    write->seq = persist->seq;
    write->hard_state = persist->hard_state;
    write->term = persist->term;
    write->vote = persist->vote;
    write->reset = persist->has_snapshot && persist->reset_log;
    write->reset_index = persist->snapshot.index;
    write->reset_term = persist->snapshot.term;
    if (write->reset) {
        rafti_cache_clear(&node->cache);
    }

    for (size_t i = 0; i < n; i++) {
        struct rafti_entry *entry = &write->entries[i];

        entry->payload = payload_of(fx, i, batch);
        if (entry->payload == NULL) {
            break;
        }
        write->n_entries++;
        entry->index = persist->first_index + i;
        entry->term = persist->entries[i].term;
        entry->type = persist->entries[i].type;
        if (!rafti_cache_put(&node->cache, entry)) {
            break;
        }
    }
    if (write->n_entries < n) {
        rafti_write_free(write);
        return NULL;
    }
    return write;
}

static void do_persist(struct raft_node *node, const struct raft_effects *fx,
                       const struct rafti_batch *batch)
{
    if (fx->persist.seq == 0 && fx->compact_before == 0) {
        return;
    }
    struct rafti_write *write = make_write(node, fx, batch);
    if (write == NULL) {
        /* The core already counts on it. */
        rafti_fatal(node, RAFT_NODE_NO_MEMORY, "no memory for a log write");
        return;
    }
    rafti_writer_push(node, write);
}

static int status_of_read(int result)
{
    switch (result) {
    case RAFT_OK: return RAFT_NODE_OK;
    case RAFT_ERR_NOT_LEADER:
    case RAFT_ERR_NO_LEADER: return RAFT_NODE_NOT_LEADER;
    case RAFT_ERR_BUSY: return RAFT_NODE_BUSY;
    default: return RAFT_NODE_UNKNOWN;
    }
}

static bool forget_batch(struct raft_node *node, const struct rafti_read_batch *batch)
{
    struct rafti_read_batch **at = &node->reading.head;

    while (*at != NULL && *at != batch) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return false;
    }
    *at = batch->next;
    if (*at == NULL) {
        node->reading.tail = at;
    }
    return true;
}

static void do_read(struct raft_node *node, const struct raft_read_result *result)
{
    struct rafti_read_batch *batch = (struct rafti_read_batch *)(uintptr_t)result->ctx;

    if (!forget_batch(node, batch)) {
        return;
    }
    while (batch->reads.head != NULL) {
        struct rafti_read *read = batch->reads.head;

        RAFTI_LIST_POP(&batch->reads);
        read->index = result->index;
        if (result->result == RAFT_OK) {
            rafti_applier_add_read(node, read);
        } else if (node->transfer != NULL) { /* asked again after it */
            RAFTI_LIST_PUSH(&node->unread, read);
        } else {
            rafti_read_end(node, read, status_of_read(result->result));
        }
    }
    free(batch);
}

static void do_change(struct raft_node *node, const struct raft_change_result *result)
{
    struct rafti_admin *admin = (struct rafti_admin *)(uintptr_t)result->ctx;
    struct rafti_admin **at = &node->changes.head;

    while (*at != NULL && *at != admin) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return;
    }
    *at = admin->next;
    if (*at == NULL) {
        node->changes.tail = at;
    }
    rafti_admin_end(node, admin, rafti_status_of_core(result->result));
}

static void do_role(struct raft_node *node, const struct raft_effects *fx)
{
    bool was_leader = node->last_role == RAFT_LEADER;

    if (was_leader && (fx->role != RAFT_LEADER || fx->term != node->last_term)) {
        rafti_applier_lose(node, fx->commit_index);
    }
    atomic_store(&node->role, (int)fx->role);
    atomic_store(&node->leader, fx->leader);
    rafti_log(node, RAFT_NODE_LOG_INFO, "raft role id=%llu role=%s term=%llu leader=%llu",
              (unsigned long long)node->opts.id, raft_role_name(fx->role),
              (unsigned long long)fx->term, (unsigned long long)fx->leader);
    node->last_role = fx->role;
    node->last_term = fx->term;
    node->last_leader = fx->leader;
    node->announce = true;
}

static void do_config(struct raft_node *node)
{
    const struct raft_config *config = raft_config_in_force(node->core);
    uint64_t ids[RAFT_MAX_SERVERS];
    const char *addresses[RAFT_MAX_SERVERS];

    pthread_mutex_lock(&node->status_lock);
    node->config = *config;
    pthread_mutex_unlock(&node->status_lock);
    for (uint32_t i = 0; i < config->n_servers; i++) {
        ids[i] = config->servers[i].id;
        addresses[i] = config->servers[i].address;
    }
    if (node->opts.transport.peers_changed != NULL) {
        node->opts.transport.peers_changed(node->opts.transport.arg, ids, addresses,
                                           config->n_servers);
    }
}

int rafti_step(struct raft_node *node, const struct raft_event *event,
               const struct rafti_batch *batch, uint64_t *out_first)
{
    struct raft_effects fx;

    int err = raft_step(node->core, rafti_now_ns(), event, &fx);
    if (out_first != NULL) {
        *out_first = fx.proposed_first;
    }
    node->deadline_ns = fx.deadline_ns;
    node->commit_index = fx.commit_index;

    if (fx.config_changed || event->type == RAFT_EVENT_START) {
        do_config(node);
    }
    do_persist(node, &fx, batch);
    for (size_t i = 0; i < fx.n_messages; i++) {
        rafti_outbox_add(node, &fx.messages[i]);
    }
    if (fx.role_changed) {
        do_role(node, &fx);
    }
    atomic_store(&node->ready, fx.role == RAFT_LEADER && fx.commit_index > 0 &&
                                   raft_term_at(node->core, fx.commit_index) == fx.term);
    if (fx.restore_index != 0) {
        rafti_applier_restore(node, fx.restore_index);
    }
    rafti_applier_advance(node, fx.apply_index);
    for (size_t i = 0; i < fx.n_reads; i++) {
        do_read(node, &fx.reads[i]);
    }
    for (size_t i = 0; i < fx.n_changes; i++) {
        do_change(node, &fx.changes[i]);
    }
    if (fx.chunk.present) {
        rafti_courier_store(node, &fx.chunk);
    }
    if (fx.snapshot_due) {
        (void)rafti_snapper_want(node);
    }
    return err;
}
