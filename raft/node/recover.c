/*
 * From disk to the core's START event: the log, the newest snapshot, and a state machine that is
 * not behind the snapshot.
 */
#include "node/node_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wal_log(void *arg, enum raft_wal_log_level level, const char *line)
{
    struct raft_node *node = arg;

    rafti_log(node, (enum raft_node_log_level)level, "%s", line);
}

static int open_wal(struct raft_node *node, const struct raft_node_opts *opts,
                    struct raft_wal_state *state)
{
    struct raft_wal_opts wal = {
        .dir = opts->dir,
        .cluster_id = opts->cluster_id,
        .node_id = opts->id,
        .segment_bytes = opts->segment_bytes,
        .salvage = true,
        .io = opts->wal_io,
        .log = wal_log,
        .log_arg = node,
    };

    return rafti_status_of_wal(raft_wal_open(&wal, &node->wal, state));
}

static int open_store(struct raft_node *node, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return RAFT_NODE_IO;
    }
    int err = rafti_snapstore_init(&node->store, fd, node->opts.cluster_id);
    node->has_store = true;
    close(fd);
    return err;
}

static int initial_config(const struct raft_node_opts *opts, struct raft_config *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < opts->n_voters; i++) {
        struct raft_server server = {.id = opts->voters[i].id, .role = RAFT_VOTER};
        const char *address = opts->voters[i].address != NULL ? opts->voters[i].address : "";

        if (strlen(address) >= sizeof server.address) {
            return RAFT_NODE_INVALID;
        }
        snprintf(server.address, sizeof server.address, "%s", address);
        if (raft_config_add(out, &server) != 0) {
            return RAFT_NODE_INVALID;
        }
    }
    return RAFT_NODE_OK;
}

/* The newest snapshot; in a new directory the one at index 0 that holds the first members. */
static int find_snapshot(struct raft_node *node, const struct raft_node_opts *opts,
                         const struct raft_wal_state *state, struct rafti_snap *snap)
{
    struct raft_config config;

    if (rafti_snapstore_newest(&node->store, snap)) {
        return RAFT_NODE_OK;
    }
    if (state->first_index != 1 || state->last_index != 0 || state->term != 0) {
        rafti_log(node, RAFT_NODE_LOG_ERROR, "raft log without the snapshot it began with dir=%s",
                  opts->dir);
        return RAFT_NODE_CORRUPT;
    }
    int err = initial_config(opts, &config);
    if (err == RAFT_NODE_OK) {
        err = rafti_snapstore_bootstrap(&node->store, &config);
    }
    if (err == RAFT_NODE_OK) {
        (void)rafti_snapstore_newest(&node->store, snap);
    }
    return err;
}

/*
 * The one to start from. Its image matters only to a state machine that is behind it; one whose
 * image is damaged is no better than none.
 */
static int pick_snapshot(struct raft_node *node, const struct raft_node_opts *opts,
                         const struct raft_wal_state *state, struct rafti_snap *snap)
{
    uint64_t applied = node->opts.fsm.applied_index(node->opts.fsm.arg);

    for (;;) {
        int err = find_snapshot(node, opts, state, snap);
        if (err != RAFT_NODE_OK || applied >= snap->index) {
            return err;
        }
        int fd = rafti_snapstore_open_image(&node->store, snap->index);
        if (fd >= 0) {
            close(fd);
            return RAFT_NODE_OK;
        }
        if (fd != RAFT_NODE_CORRUPT) {
            return fd;
        }
        err = rafti_snapstore_discard(&node->store);
        if (err != RAFT_NODE_OK) {
            return err;
        }
    }
}

/*
 * The snapshot that the log began with is damaged, and the one before it is too old for the log:
 * what lies between is lost, so this server goes the way of a damaged log. It says so before it
 * cuts anything.
 */
static int bridge_gap(struct raft_node *node, const struct rafti_snap *snap,
                      struct raft_wal_state *state)
{
    uint64_t lost = state->lost_until > state->last_index ? state->lost_until : state->last_index;

    rafti_log(node, RAFT_NODE_LOG_ERROR,
              "raft snapshot is damaged: entries %llu..%llu have to come back from the other nodes",
              (unsigned long long)(snap->index + 1), (unsigned long long)lost);
    int err = raft_wal_mark_lost(node->wal, lost, state->term, state->vote);
    if (err == RAFT_WAL_OK) {
        err = raft_wal_add_reset(node->wal, snap->index, snap->term);
    }
    if (err == RAFT_WAL_OK) {
        err = raft_wal_flush(node->wal);
    }
    state->lost_until = lost;
    state->first_index = snap->index + 1;
    state->last_index = snap->index;
    state->prev_term = snap->term;
    return rafti_status_of_wal(err);
}

/*
 * Crash between the installation of a snapshot and the reset of the log: finish it. The log is void
 * when it ends before the snapshot or disagrees with it.
 */
static int align_log(struct raft_node *node, const struct rafti_snap *snap,
                     struct raft_wal_state *state)
{
    uint64_t term = raft_wal_term(node->wal, snap->index);

    if (snap->index + 1 == state->first_index) {
        term = state->prev_term != 0 ? state->prev_term : snap->term;
    }
    bool agrees = snap->index + 1 >= state->first_index && snap->index <= state->last_index &&
                  term == snap->term;
    bool gap = snap->index + 1 < state->first_index;
    if (agrees || (snap->index == 0 && !gap)) {
        return RAFT_NODE_OK;
    }
    if (gap && node->store.fell_back && raft_config_voters(&snap->config) > 1) {
        return bridge_gap(node, snap, state);
    }
    if (gap) {
        rafti_log(node, RAFT_NODE_LOG_ERROR,
                  "raft log begins behind the snapshot first=%llu snapshot=%llu",
                  (unsigned long long)state->first_index, (unsigned long long)snap->index);
        return RAFT_NODE_CORRUPT;
    }
    /* A higher term without a vote can be taken up at any time. */
    int err = RAFT_WAL_OK;
    if (state->term < snap->term) {
        err = raft_wal_add_hard_state(node->wal, snap->term, 0);
        state->term = snap->term;
        state->vote = 0;
    }
    if (err == RAFT_WAL_OK) {
        err = raft_wal_add_reset(node->wal, snap->index, snap->term);
    }
    if (err == RAFT_WAL_OK) {
        err = raft_wal_flush(node->wal);
    }
    state->first_index = snap->index + 1;
    state->last_index = snap->index;
    state->prev_term = snap->term;
    return rafti_status_of_wal(err);
}

/* A damaged log can only be made whole by others. */
static int check_lost(struct raft_node *node, const struct rafti_snap *snap,
                      const struct raft_wal_state *state)
{
    if (state->lost_until == 0 || raft_config_voters(&snap->config) != 1) {
        return RAFT_NODE_OK;
    }
    rafti_log(node, RAFT_NODE_LOG_ERROR,
              "raft log of the only voter is damaged: entries %llu..%llu are lost",
              (unsigned long long)(state->last_index + 1), (unsigned long long)state->lost_until);
    return RAFT_NODE_CORRUPT;
}

/* Brings the state machine to at least the snapshot. */
static int align_fsm(struct raft_node *node, const struct rafti_snap *snap,
                     const struct raft_wal_state *state)
{
    uint64_t applied = node->opts.fsm.applied_index(node->opts.fsm.arg);
    uint64_t term;

    uint64_t last = state->last_index > state->lost_until ? state->last_index : state->lost_until;

    if (applied > last) {
        rafti_log(node, RAFT_NODE_LOG_ERROR,
                  "raft state machine is ahead of the log applied=%llu last=%llu",
                  (unsigned long long)applied, (unsigned long long)last);
        return RAFT_NODE_CORRUPT;
    }
    if (applied < snap->index) {
        int err = rafti_restore(node, snap->index, &term);
        if (err != RAFT_NODE_OK) {
            return err;
        }
        applied = snap->index;
    }
    node->applier.applied = applied;
    node->applier.target = applied;
    return RAFT_NODE_OK;
}

/* A configuration entry's payload, kept for the START event. */
static int load_config_entry(struct raft_node *node, uint64_t index, struct raft_entry *entry)
{
    size_t cap = entry->size + RAFT_WAL_READ_OVERHEAD;
    uint8_t *buf = malloc(cap);
    struct raft_wal_entry read;
    size_t n = 0;

    if (buf == NULL) {
        return RAFT_NODE_NO_MEMORY;
    }
    int err = raft_wal_read(node->wal, index, &read, 1, buf, cap, &n);
    if (err != RAFT_WAL_OK || n != 1) {
        free(buf);
        return err != RAFT_WAL_OK ? rafti_status_of_wal(err) : RAFT_NODE_CORRUPT;
    }
    memmove(buf, read.data, read.len);
    entry->data = buf; /* freed by rafti_recover_release() */
    return RAFT_NODE_OK;
}

static int load_entries(struct raft_node *node, const struct raft_wal_state *state)
{
    struct raft_event_start *start = &node->start;
    size_t n = (size_t)(state->last_index + 1 - state->first_index);

    node->start_entries = calloc(n + 1, sizeof *node->start_entries);
    if (node->start_entries == NULL) {
        return RAFT_NODE_NO_MEMORY;
    }
    start->entries = node->start_entries;
    start->first_index = state->first_index;
    start->prev_term = state->prev_term;
    for (size_t i = 0; i < n; i++) {
        struct raft_entry *entry = &node->start_entries[i];
        struct raft_wal_entry peek;

        int err = raft_wal_peek(node->wal, state->first_index + i, &peek);
        if (err != RAFT_WAL_OK) {
            return rafti_status_of_wal(err);
        }
        *entry =
            (struct raft_entry){.term = peek.term, .size = (uint32_t)peek.len, .type = peek.type};
        start->n_entries++;
        if (peek.type == RAFT_ENTRY_CONFIG) {
            err = load_config_entry(node, peek.index, entry);
            if (err != RAFT_NODE_OK) {
                return err;
            }
        }
    }
    return RAFT_NODE_OK;
}

/* The core needs the term in front of the log. Where the log was overwritten from below its oldest
 * segment that is not known, and the first entry stands in for it. */
static void anchor(struct raft_event_start *start)
{
    if (start->first_index == 1 || start->prev_term != 0) {
        return;
    }
    if (start->first_index == start->snapshot_index + 1) {
        start->prev_term = start->snapshot_term;
    } else if (start->n_entries > 0) {
        start->prev_term = start->entries[0].term;
        start->entries++;
        start->first_index++;
        start->n_entries--;
    }
}

void rafti_recover_release(struct raft_node *node)
{
    const struct raft_event_start *start = &node->start;

    if (node->start_entries == NULL) {
        return;
    }
    const struct raft_entry *end = start->entries + start->n_entries;
    for (const struct raft_entry *entry = node->start_entries; entry < end; entry++) {
        free((void *)(uintptr_t)entry->data);
    }
    free(node->start_entries);
    node->start_entries = NULL;
}

int rafti_recover(struct raft_node *node, const struct raft_node_opts *opts)
{
    struct raft_wal_state state;
    struct rafti_snap snap;

    int err = open_wal(node, opts, &state);
    if (err == RAFT_NODE_OK) {
        err = open_store(node, opts->dir);
    }
    if (err == RAFT_NODE_OK) {
        err = pick_snapshot(node, opts, &state, &snap);
    }
    if (err == RAFT_NODE_OK) {
        err = check_lost(node, &snap, &state);
    }
    if (err == RAFT_NODE_OK) {
        err = align_log(node, &snap, &state);
    }
    if (err == RAFT_NODE_OK) {
        err = align_fsm(node, &snap, &state);
    }
    if (err != RAFT_NODE_OK) {
        return err;
    }

    memcpy(node->incarnation.bytes, state.incarnation, sizeof node->incarnation.bytes);
    node->start_config = snap.config;
    node->start = (struct raft_event_start){
        .term = state.term,
        .vote = state.vote,
        .snapshot_index = snap.index,
        .snapshot_term = snap.term,
        .snapshot_size = snap.index == 0 ? 0 : rafti_snap_size(&snap),
        .config = &node->start_config,
        .recover_until = state.lost_until,
    };
    node->recovering = state.lost_until != 0;
    err = load_entries(node, &state);
    anchor(&node->start);
    rafti_log(node, RAFT_NODE_LOG_INFO,
              "raft recovered id=%llu term=%llu first=%llu last=%llu snapshot=%llu applied=%llu "
              "torn=%d lost_until=%llu",
              (unsigned long long)opts->id, (unsigned long long)state.term,
              (unsigned long long)state.first_index, (unsigned long long)state.last_index,
              (unsigned long long)snap.index, (unsigned long long)node->applier.applied, state.torn,
              (unsigned long long)state.lost_until);
    return err;
}
