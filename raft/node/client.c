/* Client operations: from the public call into the inbox, and their end. */
#include "node/node_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ADMINS 64u

/* ---- proposals
 * ---------------------------------------------------------------------------------*/

/* Inbox locked. */
static void signal_drained(struct rafti_inbox *inbox)
{
    if (inbox->pending_proposals == 0 && inbox->pending_reads == 0) {
        pthread_cond_signal(&inbox->drained);
    }
}

void rafti_clients_drain(struct raft_node *node, uint64_t until_ns)
{
    struct rafti_inbox *inbox = &node->inbox;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};

    pthread_mutex_lock(&inbox->lock);
    while ((inbox->pending_proposals > 0 || inbox->pending_reads > 0) && !rafti_is_dead(node) &&
           pthread_cond_timedwait(&inbox->drained, &inbox->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&inbox->lock);
}

void rafti_proposal_end(struct raft_node *node, struct rafti_proposal *p, int status,
                        int64_t result)
{
    pthread_mutex_lock(&node->inbox.lock);
    node->inbox.pending_proposals--;
    node->inbox.pending_bytes -= p->payload->size;
    signal_drained(&node->inbox);
    pthread_mutex_unlock(&node->inbox.lock);
    p->cb(p->arg, status, status == RAFT_NODE_OK ? p->index : 0, result);
    rafti_payload_unref(p->payload);
    free(p);
}

/* Why nothing can be proposed right now, or 0. Inbox locked. */
static int refuse_proposal(const struct raft_node *node, size_t len)
{
    const struct rafti_inbox *inbox = &node->inbox;

    if (inbox->stop || !atomic_load(&node->started)) {
        return RAFT_NODE_STOPPED;
    }
    if (inbox->pending_proposals >= node->opts.max_pending_proposals ||
        inbox->pending_bytes + len > node->opts.max_pending_bytes) {
        return RAFT_NODE_BUSY;
    }
    return RAFT_NODE_OK;
}

void raft_node_propose(struct raft_node *node, const void *data, size_t len,
                       raft_node_propose_cb cb, void *arg)
{
    struct rafti_inbox *inbox = &node->inbox;
    struct rafti_proposal *p = NULL;
    struct rafti_payload *payload = NULL;
    int status = RAFT_NODE_OK;
    bool wake = false;

    if (len > node->opts.max_entry_bytes) {
        status = RAFT_NODE_TOO_BIG;
    } else if (atomic_load(&node->started) && atomic_load(&node->role) != RAFT_LEADER &&
               !atomic_load(&node->handing_over)) {
        status = RAFT_NODE_NOT_LEADER;
    }
    if (status == RAFT_NODE_OK) {
        p = calloc(1, sizeof *p);
        payload = rafti_payload_new(data, len);
        status = p == NULL || payload == NULL ? RAFT_NODE_NO_MEMORY : RAFT_NODE_OK;
    }
    if (status == RAFT_NODE_OK) {
        p->cb = cb;
        p->arg = arg;
        p->payload = payload;
        pthread_mutex_lock(&inbox->lock);
        status = refuse_proposal(node, len);
        if (status == RAFT_NODE_OK) {
            inbox->pending_proposals++;
            inbox->pending_bytes += len;
            RAFTI_LIST_PUSH(&inbox->proposals, p);
            wake = !inbox->running; /* who runs looks again */
        }
        pthread_mutex_unlock(&inbox->lock);
    }
    if (wake) {
        pthread_cond_signal(&inbox->filled);
    } else if (status != RAFT_NODE_OK) {
        rafti_payload_unref(payload);
        free(p);
        cb(arg, status, 0, 0);
    }
}

/* ---- reads ------------------------------------------------------------------------------------
 */

void rafti_read_end(struct raft_node *node, struct rafti_read *read, int status)
{
    pthread_mutex_lock(&node->inbox.lock);
    node->inbox.pending_reads--;
    signal_drained(&node->inbox);
    pthread_mutex_unlock(&node->inbox.lock);
    read->cb(read->arg, status, status == RAFT_NODE_OK ? read->index : 0);
    free(read);
}

void raft_node_read(struct raft_node *node, raft_node_read_cb cb, void *arg)
{
    struct rafti_inbox *inbox = &node->inbox;
    struct rafti_read *read = calloc(1, sizeof *read);
    int status = read == NULL ? RAFT_NODE_NO_MEMORY : RAFT_NODE_OK;
    bool wake = false;

    if (status == RAFT_NODE_OK) {
        read->cb = cb;
        read->arg = arg;
        pthread_mutex_lock(&inbox->lock);
        if (inbox->stop || !atomic_load(&node->started)) {
            status = RAFT_NODE_STOPPED;
        } else if (inbox->pending_reads >= node->opts.max_pending_reads) {
            status = RAFT_NODE_BUSY;
        } else {
            inbox->pending_reads++;
            RAFTI_LIST_PUSH(&inbox->reads, read);
            wake = !inbox->running;
        }
        pthread_mutex_unlock(&inbox->lock);
    }
    if (wake) {
        pthread_cond_signal(&inbox->filled);
    } else if (status != RAFT_NODE_OK) {
        free(read);
        cb(arg, status, 0);
    }
}

/* ---- administration
 * ----------------------------------------------------------------------------*/

void rafti_admin_end(struct raft_node *node, struct rafti_admin *admin, int status)
{
    pthread_mutex_lock(&node->inbox.lock);
    node->inbox.pending_admins--;
    pthread_mutex_unlock(&node->inbox.lock);
    if (admin->cb != NULL) {
        admin->cb(admin->arg, status);
    }
    free(admin);
}

static void submit(struct raft_node *node, const struct rafti_admin *what, const char *address)
{
    struct rafti_inbox *inbox = &node->inbox;
    struct rafti_admin *admin = calloc(1, sizeof *admin);
    int status = admin == NULL ? RAFT_NODE_NO_MEMORY : RAFT_NODE_OK;

    if (address != NULL && strlen(address) >= RAFT_NODE_ADDRESS_MAX) {
        status = RAFT_NODE_INVALID;
    }
    if (status == RAFT_NODE_OK) {
        *admin = *what;
        if (address != NULL) {
            snprintf(admin->address, sizeof admin->address, "%s", address);
        }
        pthread_mutex_lock(&inbox->lock);
        if (inbox->stop || !atomic_load(&node->started)) {
            status = RAFT_NODE_STOPPED;
        } else if (inbox->pending_admins >= MAX_ADMINS) {
            status = RAFT_NODE_BUSY;
        } else {
            inbox->pending_admins++;
            RAFTI_LIST_PUSH(&inbox->admins, admin);
            pthread_cond_signal(&inbox->filled);
        }
        pthread_mutex_unlock(&inbox->lock);
    }
    if (status != RAFT_NODE_OK) {
        free(admin);
        if (what->cb != NULL) {
            what->cb(what->arg, status);
        }
    }
}

void rafti_transfer_within(struct raft_node *node, uint64_t limit_ns, raft_node_done_cb cb,
                           void *arg)
{
    struct rafti_admin what = {
        .kind = RAFTI_ADMIN_TRANSFER, .limit_ns = limit_ns, .cb = cb, .arg = arg};

    submit(node, &what, NULL);
}

void raft_node_transfer(struct raft_node *node, uint64_t peer_id, raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_TRANSFER, .peer = peer_id, .cb = cb, .arg = arg};

    submit(node, &what, NULL);
}

void raft_node_add_learner(struct raft_node *node, uint64_t id, const char *address,
                           raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_ADD_LEARNER, .peer = id, .cb = cb, .arg = arg};

    submit(node, &what, address);
}

void raft_node_promote(struct raft_node *node, uint64_t id, raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_PROMOTE, .peer = id, .cb = cb, .arg = arg};

    submit(node, &what, NULL);
}

void raft_node_remove(struct raft_node *node, uint64_t id, raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_REMOVE, .peer = id, .cb = cb, .arg = arg};

    submit(node, &what, NULL);
}

void raft_node_readmit(struct raft_node *node, uint64_t id, const uint8_t *incarnation,
                       raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_READMIT, .peer = id, .cb = cb, .arg = arg};

    memcpy(what.incarnation.bytes, incarnation, sizeof what.incarnation.bytes);
    submit(node, &what, NULL);
}

void raft_node_snapshot(struct raft_node *node, raft_node_done_cb cb, void *arg)
{
    struct rafti_admin what = {.kind = RAFTI_ADMIN_SNAPSHOT, .peer = 0, .cb = cb, .arg = arg};

    submit(node, &what, NULL);
}
