/*
 * Turns: what is in the inbox, and the core's deadline, through the core. One thread at a time runs
 * them, whoever has inbox.running. Mostly the raft thread, which waits for the inbox or the
 * deadline; but who brings a frame, or the end of a flush, runs the turn itself when nobody does: a
 * switch to another thread costs more than most turns.
 */
#include "node/node_priv.h"

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

/* Takes what is there. Running, inbox locked. */
static void collect(struct raft_node *node, struct turn *turn)
{
    struct rafti_inbox *inbox = &node->inbox;

    RAFTI_LIST_INIT(&turn->notes);
    RAFTI_LIST_INIT(&turn->reads);
    RAFTI_LIST_INIT(&turn->admins);
    if (!rafti_is_dead(node) && has_held(node)) {
        RAFTI_LIST_TAKE(&node->unread, &turn->reads);
    }
    RAFTI_LIST_TAKE(&inbox->notes, &turn->notes);
    RAFTI_LIST_TAKE(&inbox->proposals, &node->unsent);
    RAFTI_LIST_TAKE(&inbox->reads, &turn->reads);
    RAFTI_LIST_TAKE(&inbox->admins, &turn->admins);
    inbox->frame_bytes = 0;
    turn->stop = inbox->stop;
}

/* Whether there is something for a turn by now. Nobody runs, inbox locked. */
static bool is_due(struct raft_node *node)
{
    const struct rafti_inbox *inbox = &node->inbox;

    if (inbox->stop || !is_empty(inbox)) {
        return true;
    }
    return !rafti_is_dead(node) && (has_held(node) || rafti_now_ns() >= next_deadline(node));
}

/* Waits until a turn is due and nobody else runs one; then this thread does. Inbox locked. */
static void wait_for_turn(struct raft_node *node)
{
    struct rafti_inbox *inbox = &node->inbox;

    while (inbox->running || !is_due(node)) {
        inbox->wake_ns = inbox->running || rafti_is_dead(node) ? UINT64_MAX : next_deadline(node);
        if (inbox->wake_ns == UINT64_MAX) {
            pthread_cond_wait(&inbox->filled, &inbox->lock);
        } else {
            struct timespec until = {.tv_sec = (time_t)(inbox->wake_ns / 1000000000u),
                                     .tv_nsec = (long)(inbox->wake_ns % 1000000000u)};
            (void)pthread_cond_timedwait(&inbox->filled, &inbox->lock, &until);
        }
    }
    inbox->running = true;
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

/* One turn. Running, inbox not locked. */
static void turn_over(struct raft_node *node, struct turn *turn)
{
    if (rafti_is_dead(node)) {
        finish(node);
    } else if (!turn->stop) {
        run_turn(node, turn);
    }
    discard(node, turn);
}

bool rafti_loop_claim(struct raft_node *node)
{
    struct rafti_inbox *inbox = &node->inbox;

    if (!node->opts.caller_turns || inbox->running || inbox->stop || rafti_is_dead(node)) {
        return false;
    }
    inbox->running = true;
    return true;
}

void rafti_loop_turn(struct raft_node *node)
{
    struct rafti_inbox *inbox = &node->inbox;
    struct turn turn;

    pthread_mutex_lock(&inbox->lock);
    collect(node, &turn);
    pthread_mutex_unlock(&inbox->lock);
    turn_over(node, &turn);

    /* What came meanwhile, or is due earlier than the raft thread thinks, is the raft thread's. */
    pthread_mutex_lock(&inbox->lock);
    inbox->running = false;
    bool wake = is_due(node) || rafti_is_dead(node) || next_deadline(node) < inbox->wake_ns;
    pthread_mutex_unlock(&inbox->lock);
    if (wake) {
        pthread_cond_signal(&inbox->filled);
    }
}

void *rafti_loop_main(void *arg)
{
    struct raft_node *node = arg;
    struct rafti_inbox *inbox = &node->inbox;
    struct raft_event start = {.type = RAFT_EVENT_START, .u = {.start = node->start}};
    struct turn turn;

    int err = rafti_step(node, &start, NULL, NULL);
    if (err != 0) {
        rafti_fatal(node, rafti_status_of_core(err), "core refused the recovered state: %s",
                    raft_strerror(err));
    }
    rafti_recover_release(node);
    end_turn(node);

    pthread_mutex_lock(&inbox->lock);
    inbox->running = false; /* since init: nobody else before START */
    do {
        wait_for_turn(node);
        collect(node, &turn);
        pthread_mutex_unlock(&inbox->lock);
        turn_over(node, &turn);
        pthread_mutex_lock(&inbox->lock);
        inbox->running = turn.stop; /* at the end for good */
    } while (!turn.stop);
    pthread_mutex_unlock(&inbox->lock);
    finish(node);
    return NULL;
}
