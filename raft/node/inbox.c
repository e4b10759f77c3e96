#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>

void rafti_inbox_init(struct rafti_inbox *inbox)
{
    pthread_mutex_init(&inbox->lock, NULL);
    rafti_cond_init(&inbox->filled);
    rafti_cond_init(&inbox->drained);
    inbox->running = true; /* until the core has started */
    RAFTI_LIST_INIT(&inbox->notes);
    RAFTI_LIST_INIT(&inbox->proposals);
    RAFTI_LIST_INIT(&inbox->reads);
    RAFTI_LIST_INIT(&inbox->admins);
}

void rafti_inbox_fini(struct rafti_inbox *inbox)
{
    while (inbox->notes.head != NULL) {
        struct rafti_note *note = inbox->notes.head;
        RAFTI_LIST_POP(&inbox->notes);
        free(note);
    }
    pthread_cond_destroy(&inbox->filled);
    pthread_cond_destroy(&inbox->drained);
    pthread_mutex_destroy(&inbox->lock);
}

void rafti_note(struct raft_node *node, enum rafti_note_kind kind, uint64_t a, uint64_t b,
                bool flag)
{
    struct rafti_note *note = calloc(1, sizeof *note);

    if (note == NULL) {
        rafti_fatal(node, RAFT_NODE_NO_MEMORY, "no memory for a note");
        return;
    }
    note->kind = kind;
    note->a = a;
    note->b = b;
    note->flag = flag;
    pthread_mutex_lock(&node->inbox.lock);
    RAFTI_LIST_PUSH(&node->inbox.notes, note);
    bool run = kind == RAFTI_NOTE_PERSISTED && rafti_loop_claim(node);
    bool wake = !run && !node->inbox.running; /* who runs looks again */
    pthread_mutex_unlock(&node->inbox.lock);
    /* Behind the lock, here and elsewhere: who is woken would only wait for it. */
    if (run) {
        rafti_loop_turn(node);
    } else if (wake) {
        pthread_cond_signal(&node->inbox.filled);
    }
}

int raft_node_receive(struct raft_node *node, const void *bytes, size_t len)
{
    struct rafti_inbox *inbox = &node->inbox;

    if (len == 0 || len > raft_node_max_frame(node)) {
        atomic_fetch_add(&node->frames_dropped, 1);
        return 0;
    }
    struct rafti_note *note = malloc(sizeof *note + len);
    if (note == NULL) {
        atomic_fetch_add(&node->frames_dropped, 1);
        return RAFT_NODE_BUSY;
    }
    note->kind = RAFTI_NOTE_FRAME;
    note->len = len;
    memcpy(note->bytes, bytes, len);

    pthread_mutex_lock(&inbox->lock);
    bool room = !inbox->stop && inbox->frame_bytes + len <= node->opts.max_inbox_bytes;
    if (room) {
        inbox->frame_bytes += len;
        RAFTI_LIST_PUSH(&inbox->notes, note);
    }
    bool run = room && rafti_loop_claim(node);
    bool wake = !run && !inbox->running;
    pthread_mutex_unlock(&inbox->lock);
    if (!room) {
        free(note);
        atomic_fetch_add(&node->frames_dropped, 1);
        return RAFT_NODE_BUSY;
    }
    if (run) {
        rafti_loop_turn(node);
    } else if (wake) {
        pthread_cond_signal(&inbox->filled);
    }
    return 0;
}

void raft_node_link_down(struct raft_node *node, uint64_t peer_id)
{
    rafti_note(node, RAFTI_NOTE_LINK_DOWN, peer_id, 0, false);
}

void raft_node_link_up(struct raft_node *node, uint64_t peer_id)
{
    rafti_note(node, RAFTI_NOTE_LINK_UP, peer_id, 0, false);
}
