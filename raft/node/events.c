/* Turning what came in into events for the core. Raft thread only. */
#include "node/node_priv.h"

#include <stdlib.h>
#include <string.h>

void rafti_event_frame(struct raft_node *node, const uint8_t *bytes, size_t len, bool more)
{
    struct raft_message message;
    struct raft_message_room room = {.entries = node->room,
                                     .max_entries = RAFT_MAX_MESSAGE_ENTRIES};

    while (len > 0) {
        size_t skip = 0;
        int64_t n = raft_message_decode(bytes, len, &message, &room, &skip);

        if (n > 0) {
            struct raft_event event = {.type = RAFT_EVENT_MESSAGE,
                                       .more = more || (size_t)n < len,
                                       .u = {.message = &message}};
            (void)rafti_step(node, &event, NULL, NULL);
        } else if (n == RAFT_ERR_VERSION && skip > 0 && skip <= len) {
            atomic_fetch_add(&node->frames_dropped, 1); /* a newer peer's: the rest may be known */
            n = (int64_t)skip;
        } else {
            atomic_fetch_add(&node->frames_dropped, 1);
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

/* ---- proposals
 * ---------------------------------------------------------------------------------*/

static void end_unsent(struct raft_node *node, int status)
{
    while (node->unsent.head != NULL) {
        struct rafti_proposal *p = node->unsent.head;

        RAFTI_LIST_POP(&node->unsent);
        rafti_proposal_end(node, p, status, 0);
    }
}

/* The first up to @max of node->unsent as one event. Returns what the core said. */
static int propose_some(struct raft_node *node, size_t max, size_t *out_n)
{
    struct raft_entry entries[RAFTI_PROPOSE_BATCH];
    struct rafti_payload *payloads[RAFTI_PROPOSE_BATCH];
    rafti_proposals taken;
    uint64_t first = 0;
    size_t n = 0;

    for (struct rafti_proposal *p = node->unsent.head; p != NULL && n < max; p = p->next, n++) {
        entries[n] = (struct raft_entry){
            .data = p->payload->bytes, .size = p->payload->size, .type = RAFT_ENTRY_COMMAND};
        payloads[n] = p->payload;
    }
    struct rafti_batch batch = {.payloads = payloads, .n = n};
    struct raft_event event = {.type = RAFT_EVENT_PROPOSE,
                               .u = {.propose = {.entries = entries, .n_entries = n}}};

    *out_n = n;
    int err = rafti_step(node, &event, &batch, &first);
    if (err != 0) {
        return err;
    }
    /* The applier can't reach them before the next step: they aren't durable yet. */
    RAFTI_LIST_INIT(&taken);
    for (size_t i = 0; i < n; i++) {
        struct rafti_proposal *p = node->unsent.head;

        RAFTI_LIST_POP(&node->unsent);
        p->index = first + i;
        p->term = entries[i].term;
        RAFTI_LIST_PUSH(&taken, p);
    }
    rafti_applier_add_pending(node, &taken);
    return 0;
}

/*
 * While leadership moves, nobody could take a proposal or a read, and the caller would not know
 * whom to ask next. Both wait here, no longer than the transfer: after it this node knows the
 * leader again (or is it still).
 */
static bool waits_for_transfer(const struct raft_node *node, int err)
{
    return node->transfer != NULL &&
           (err == RAFT_ERR_TRANSFER || err == RAFT_ERR_NOT_LEADER || err == RAFT_ERR_NO_LEADER);
}

void rafti_event_proposals(struct raft_node *node)
{
    size_t max = RAFTI_PROPOSE_BATCH;

    if (node->unsent.head != NULL && raft_wal_is_full(node->wal)) {
        end_unsent(node, RAFT_NODE_FULL);
    }
    while (node->unsent.head != NULL) {
        size_t n;
        int err = propose_some(node, max, &n);

        if (err == RAFT_ERR_BUSY && n > 1) {
            max = n / 2; /* all or none are taken: see whether fewer fit under the cap */
        } else if (waits_for_transfer(node, err)) {
            return;
        } else if (err != 0) {
            end_unsent(node, rafti_status_of_core(err));
        }
    }
}

/* ---- reads ------------------------------------------------------------------------------------
 */

void rafti_event_reads(struct raft_node *node, rafti_reads *reads)
{
    struct rafti_read_batch *batch = calloc(1, sizeof *batch);
    int err = RAFT_ERR_NOMEM;

    if (batch != NULL) {
        RAFTI_LIST_INIT(&batch->reads);
        while (reads->head != NULL) {
            struct rafti_read *read = reads->head;
            RAFTI_LIST_POP(reads);
            RAFTI_LIST_PUSH(&batch->reads, read);
        }
        RAFTI_LIST_PUSH(&node->reading, batch);
        struct raft_event event = {.type = RAFT_EVENT_READ,
                                   .u = {.read = {.ctx = (uint64_t)(uintptr_t)batch}}};
        err = rafti_step(node, &event, NULL, NULL);
        if (err == 0) {
            return; /* answered, maybe already */
        }
        /* Refused: it is the last of the list. */
        struct rafti_read_batch **at = &node->reading.head;
        while (*at != batch) {
            at = &(*at)->next;
        }
        *at = NULL;
        node->reading.tail = at;
        reads = &batch->reads;
    }
    int status = err == RAFT_ERR_NO_LEADER ? RAFT_NODE_NOT_LEADER : rafti_status_of_core(err);
    if (waits_for_transfer(node, err)) {
        RAFTI_LIST_TAKE(reads, &node->unread);
    }
    while (reads->head != NULL) {
        struct rafti_read *read = reads->head;
        RAFTI_LIST_POP(reads);
        rafti_read_end(node, read, status);
    }
    free(batch);
}

/* ---- administration
 * ----------------------------------------------------------------------------*/

static void start_transfer(struct raft_node *node, struct rafti_admin *admin)
{
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER,
                               .u = {.transfer = {.target = admin->peer}}};

    if (node->transfer != NULL) {
        rafti_admin_end(node, admin, RAFT_NODE_PENDING);
        return;
    }
    int err = rafti_step(node, &event, NULL, NULL);
    if (err != 0) {
        rafti_admin_end(node, admin, rafti_status_of_core(err));
        return;
    }
    admin->deadline_ns =
        rafti_now_ns() + (admin->limit_ns != 0 ? admin->limit_ns : 4 * node->core_opts.election_ns);
    node->transfer = admin;
    atomic_store(&node->handing_over, true);
}

/* The core gives a transfer up by itself; its end shows in the role. */
void rafti_event_check_transfer(struct raft_node *node, uint64_t now)
{
    struct rafti_admin *admin = node->transfer;
    int status;

    if (admin == NULL) {
        return;
    }
    if (node->last_role != RAFT_LEADER && node->last_leader != 0) {
        status = RAFT_NODE_OK;
    } else if (now >= admin->deadline_ns ||
               (node->last_role == RAFT_LEADER && !node->status.transferring)) {
        status = RAFT_NODE_TIMEOUT;
    } else {
        return;
    }
    node->transfer = NULL;
    atomic_store(&node->handing_over, false);
    rafti_admin_end(node, admin, status);
}

static void start_change(struct raft_node *node, struct rafti_admin *admin)
{
    static const uint8_t ops[] = {
        [RAFTI_ADMIN_ADD_LEARNER] = RAFT_ADD_LEARNER,
        [RAFTI_ADMIN_PROMOTE] = RAFT_PROMOTE,
        [RAFTI_ADMIN_REMOVE] = RAFT_REMOVE,
        [RAFTI_ADMIN_READMIT] = RAFT_READMIT,
    };
    struct raft_event event = {
        .type = RAFT_EVENT_CHANGE,
        .u = {.change = {.ctx = (uint64_t)(uintptr_t)admin,
                         .op = ops[admin->kind],
                         .server = {.id = admin->peer, .incarnation = admin->incarnation}}}};

    memcpy(event.u.change.server.address, admin->address, sizeof event.u.change.server.address);
    RAFTI_LIST_PUSH(&node->changes, admin);
    int err = rafti_step(node, &event, NULL, NULL);
    if (err != 0) {
        struct rafti_admin **at = &node->changes.head;
        while (*at != admin) {
            at = &(*at)->next;
        }
        *at = NULL;
        node->changes.tail = at;
        rafti_admin_end(node, admin, rafti_status_of_core(err));
    }
}

void rafti_event_admin(struct raft_node *node, struct rafti_admin *admin)
{
    switch (admin->kind) {
    case RAFTI_ADMIN_TRANSFER: start_transfer(node, admin); return;
    case RAFTI_ADMIN_SNAPSHOT:
        if (rafti_snapper_want(node)) {
            RAFTI_LIST_PUSH(&node->snapshots, admin);
        } else {
            rafti_admin_end(node, admin, RAFT_NODE_PENDING);
        }
        return;
    default: start_change(node, admin); return;
    }
}

/* ---- notes from the other threads --------------------------------------------------------------
 */

static void answer_snapper(struct raft_node *node, uint64_t index)
{
    struct raft_snapshot_meta meta;
    struct rafti_snap snap = {.index = index};

    int err = raft_snapshot_meta_at(node->core, index, &meta);
    if (err == 0) {
        snap.term = meta.term;
        snap.config = *meta.config;
    }
    rafti_snapper_meta(node, rafti_status_of_core(err), &snap);
}

static void snapshot_taken(struct raft_node *node, const struct rafti_note *note)
{
    struct raft_event event = {.type = RAFT_EVENT_SNAPSHOT_TAKEN,
                               .u = {.taken = {.index = note->a, .size = note->b}}};
    int err = 0;

    if (note->flag && note->a != 0) {
        err = rafti_step(node, &event, NULL, NULL);
    }
    if (err != 0) {
        rafti_log(node, RAFT_NODE_LOG_INFO, "raft own snapshot is not needed index=%llu why=\"%s\"",
                  (unsigned long long)note->a, raft_strerror(err));
    }
    while (node->snapshots.head != NULL) {
        struct rafti_admin *admin = node->snapshots.head;

        RAFTI_LIST_POP(&node->snapshots);
        rafti_admin_end(node, admin, note->flag ? RAFT_NODE_OK : RAFT_NODE_IO);
    }
}

void rafti_event_note(struct raft_node *node, const struct rafti_note *note)
{
    struct raft_event event;

    switch (note->kind) {
    case RAFTI_NOTE_FRAME:
        rafti_event_frame(node, note->bytes, note->len, note->next != NULL);
        return;
    case RAFTI_NOTE_IMAGE_WRITTEN: answer_snapper(node, note->a); return;
    case RAFTI_NOTE_TAKEN: snapshot_taken(node, note); return;
    case RAFTI_NOTE_LINK_DOWN:
    case RAFTI_NOTE_LINK_UP:
        event = (struct raft_event){.type = note->kind == RAFTI_NOTE_LINK_UP ? RAFT_EVENT_LINK_UP
                                                                             : RAFT_EVENT_LINK_DOWN,
                                    .u = {.link = {.peer = note->a}}};
        break;
    case RAFTI_NOTE_PERSISTED:
        event =
            (struct raft_event){.type = RAFT_EVENT_PERSISTED, .u = {.persisted = {.seq = note->a}}};
        break;
    case RAFTI_NOTE_STORED:
        event = (struct raft_event){
            .type = RAFT_EVENT_SNAPSHOT_STORED,
            .u = {.stored = {.index = note->a, .end = note->b, .failed = note->flag}}};
        break;
    case RAFTI_NOTE_GONE:
        event = (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_GONE,
                                    .u = {.gone = {.index = note->a}}};
        break;
    default: return;
    }
    event.more = note->next != NULL;
    (void)rafti_step(node, &event, NULL, NULL);
}
