/* The raft thread: waits for the inbox or the core's deadline, and runs turns. */
#include "node/node_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* What one turn takes from the inbox. */
struct turn {
    rafti_notes notes;
    rafti_reads reads;
    rafti_admins admins;
    bool stop;
};

static bool is_empty(const struct rafti_inbox *inbox)
{
    return inbox->notes.head == NULL && inbox->proposals.head == NULL &&
           inbox->reads.head == NULL && inbox->admins.head == NULL;
}

/* What waited for the end of a transfer, and may now go to the core. */
static bool has_held(const struct raft_node *node)
{
    return node->transfer == NULL && (node->unsent.head != NULL || node->unread.head != NULL);
}

static uint64_t next_deadline(const struct raft_node *node)
{
    if (node->transfer != NULL && node->transfer->deadline_ns < node->deadline_ns) {
        return node->transfer->deadline_ns;
    }
    return node->deadline_ns;
}

static void collect(struct raft_node *node, struct turn *turn)
{
    struct rafti_inbox *inbox = &node->inbox;
    uint64_t deadline = next_deadline(node);
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000u),
                             .tv_nsec = (long)(deadline % 1000000000u)};
    bool held = !rafti_is_dead(node) && has_held(node);

    RAFTI_LIST_INIT(&turn->notes);
    RAFTI_LIST_INIT(&turn->reads);
    RAFTI_LIST_INIT(&turn->admins);
    if (held) {
        RAFTI_LIST_TAKE(&node->unread, &turn->reads);
    }
    pthread_mutex_lock(&inbox->lock);
    while (!inbox->stop && is_empty(inbox) && !held) {
        if (rafti_is_dead(node)) {
            pthread_cond_wait(&inbox->filled, &inbox->lock);
        } else if (pthread_cond_timedwait(&inbox->filled, &inbox->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    RAFTI_LIST_TAKE(&inbox->notes, &turn->notes);
    RAFTI_LIST_TAKE(&inbox->proposals, &node->unsent);
    RAFTI_LIST_TAKE(&inbox->reads, &turn->reads);
    RAFTI_LIST_TAKE(&inbox->admins, &turn->admins);
    inbox->frame_bytes = 0;
    turn->stop = inbox->stop;
    pthread_mutex_unlock(&inbox->lock);
}

/* The core's word that everything lost is back and committed, made durable. */
static void end_recovering(struct raft_node *node)
{
    struct rafti_write *write = calloc(1, sizeof *write);

    if (write == NULL) {
        return; /* the next turn tries again */
    }
    write->recovered = true;
    node->recovering = false;
    rafti_log(node, RAFT_NODE_LOG_INFO, "raft log is whole again id=%llu last=%llu",
              (unsigned long long)node->opts.id, (unsigned long long)node->status.last_index);
    rafti_writer_push(node, write);
}

static void end_turn(struct raft_node *node)
{
    uint64_t now = rafti_now_ns();

    rafti_publish(node, now);
    rafti_cache_durable(&node->cache, node->status.durable_index);
    rafti_event_check_transfer(node, now);
    if (node->recovering && !node->status.recovering) {
        end_recovering(node);
    }
}

/* A leader's heartbeats wait for nothing; of others' silence only what has come in can tell. */
static void check_deadline(struct raft_node *node, bool more)
{
    struct raft_event timeout = {.type = RAFT_EVENT_TIMEOUT, .more = more};

    if (rafti_now_ns() >= node->deadline_ns && !rafti_is_dead(node)) {
        (void)rafti_step(node, &timeout, NULL, NULL);
        rafti_outbox_flush(node);
    }
}

static void run_turn(struct raft_node *node, struct turn *turn)
{
    if (node->last_role == RAFT_LEADER && turn->notes.head != NULL) {
        check_deadline(node, true);
    }
    for (struct rafti_note *note = turn->notes.head; note != NULL && !rafti_is_dead(node);
         note = note->next) {
        rafti_event_note(node, note);
    }
    check_deadline(node, false);
    rafti_outbox_flush(node);
    if (!rafti_is_dead(node)) {
        rafti_event_proposals(node);
    }
    if (turn->reads.head != NULL && !rafti_is_dead(node)) {
        rafti_event_reads(node, &turn->reads);
    }
    while (turn->admins.head != NULL && !rafti_is_dead(node)) {
        struct rafti_admin *admin = turn->admins.head;

        RAFTI_LIST_POP(&turn->admins);
        rafti_event_admin(node, admin);
    }
    rafti_outbox_flush(node);
    end_turn(node);
}

/* What can't be served any more. */
static void discard(struct raft_node *node, struct turn *turn)
{
    while (turn->notes.head != NULL) {
        struct rafti_note *note = turn->notes.head;

        RAFTI_LIST_POP(&turn->notes);
        free(note);
    }
    while (turn->reads.head != NULL) {
        struct rafti_read *read = turn->reads.head;

        RAFTI_LIST_POP(&turn->reads);
        rafti_read_end(node, read, RAFT_NODE_STOPPED);
    }
    while (turn->admins.head != NULL) {
        struct rafti_admin *admin = turn->admins.head;

        RAFTI_LIST_POP(&turn->admins);
        rafti_admin_end(node, admin, RAFT_NODE_STOPPED);
    }
}

static void end_all_admins(struct raft_node *node, rafti_admins *list, int status)
{
    while (list->head != NULL) {
        struct rafti_admin *admin = list->head;

        RAFTI_LIST_POP(list);
        rafti_admin_end(node, admin, status);
    }
}

/* Ends what the core still had. */
static void finish(struct raft_node *node)
{
    while (node->unsent.head != NULL) {
        struct rafti_proposal *p = node->unsent.head;

        RAFTI_LIST_POP(&node->unsent);
        rafti_proposal_end(node, p, RAFT_NODE_STOPPED, 0);
    }
    while (node->unread.head != NULL) {
        struct rafti_read *read = node->unread.head;

        RAFTI_LIST_POP(&node->unread);
        rafti_read_end(node, read, RAFT_NODE_STOPPED);
    }
    while (node->reading.head != NULL) {
        struct rafti_read_batch *batch = node->reading.head;
        struct turn turn = {.stop = true};

        RAFTI_LIST_POP(&node->reading);
        RAFTI_LIST_INIT(&turn.notes);
        RAFTI_LIST_INIT(&turn.reads);
        RAFTI_LIST_INIT(&turn.admins);
        RAFTI_LIST_TAKE(&batch->reads, &turn.reads);
        discard(node, &turn);
        free(batch);
    }
    end_all_admins(node, &node->changes, RAFT_NODE_UNKNOWN);
    end_all_admins(node, &node->snapshots, RAFT_NODE_STOPPED);
    if (node->transfer != NULL) {
        rafti_admin_end(node, node->transfer, RAFT_NODE_STOPPED);
        node->transfer = NULL;
    }
}

void *rafti_loop_main(void *arg)
{
    struct raft_node *node = arg;
    struct raft_event start = {.type = RAFT_EVENT_START, .u = {.start = node->start}};
    struct turn turn;

    int err = rafti_step(node, &start, NULL, NULL);
    if (err != 0) {
        rafti_fatal(node, rafti_status_of_core(err), "core refused the recovered state: %s",
                    raft_strerror(err));
    }
    rafti_recover_release(node);
    end_turn(node);

    do {
        collect(node, &turn);
        if (rafti_is_dead(node)) {
            finish(node);
        } else if (!turn.stop) {
            run_turn(node, &turn);
        }
        discard(node, &turn);
    } while (!turn.stop);
    finish(node);
    return NULL;
}
