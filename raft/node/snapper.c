/* The snapshotter: writes the state machine's image while applies go on. */
#include "node/node_priv.h"

#include <stdlib.h>
#include <unistd.h>

bool rafti_snapper_want(struct raft_node *node)
{
    struct rafti_snapper *snapper = &node->snapper;

    pthread_mutex_lock(&snapper->lock);
    bool idle = snapper->state == RAFTI_SNAPPER_IDLE && !snapper->stop;
    if (idle) {
        snapper->state = RAFTI_SNAPPER_WANTED;
        pthread_cond_broadcast(&snapper->changed);
    }
    pthread_mutex_unlock(&snapper->lock);
    return idle;
}

void rafti_snapper_meta(struct raft_node *node, int status, const struct rafti_snap *snap)
{
    struct rafti_snapper *snapper = &node->snapper;

    pthread_mutex_lock(&snapper->lock);
    if (snapper->state == RAFTI_SNAPPER_WRITTEN) {
        snapper->meta_status = status;
        snapper->snap = *snap;
        snapper->state = RAFTI_SNAPPER_META;
        pthread_cond_broadcast(&snapper->changed);
    }
    pthread_mutex_unlock(&snapper->lock);
}

static void move(struct rafti_snapper *snapper, enum rafti_snapper_state to)
{
    pthread_mutex_lock(&snapper->lock);
    snapper->state = to;
    pthread_mutex_unlock(&snapper->lock);
}

/* Waits until the state is @state. False when the node stops. */
static bool await(struct rafti_snapper *snapper, enum rafti_snapper_state state)
{
    pthread_mutex_lock(&snapper->lock);
    while (!snapper->stop && snapper->state != state) {
        pthread_cond_wait(&snapper->changed, &snapper->lock);
    }
    bool go = !snapper->stop;
    pthread_mutex_unlock(&snapper->lock);
    return go;
}

/* One snapshot. *out_index 0 and OK: nothing new to keep. */
static int take(struct raft_node *node, int fd, struct rafti_snap *out)
{
    struct rafti_snapper *snapper = &node->snapper;
    struct rafti_snap newest = {.index = 0};
    uint64_t index = 0;

    int err = node->opts.fsm.snapshot_write(node->opts.fsm.arg, fd, &index);
    if (err != 0) {
        rafti_log(node, RAFT_NODE_LOG_WARN, "raft snapshot abandoned by the state machine error=%d",
                  err);
        return RAFT_NODE_FSM;
    }
    (void)rafti_snapstore_newest(&node->store, &newest);
    if (index <= newest.index) {
        return RAFT_NODE_OK;
    }
    move(snapper, RAFTI_SNAPPER_WRITTEN);
    rafti_note(node, RAFTI_NOTE_IMAGE_WRITTEN, index, 0, false);
    if (!await(snapper, RAFTI_SNAPPER_META)) {
        return RAFT_NODE_STOPPED;
    }
    move(snapper, RAFTI_SNAPPER_COMMITTING);
    if (snapper->meta_status != RAFT_NODE_OK) {
        return RAFT_NODE_OK; /* a newer one was installed meanwhile */
    }
    err = rafti_snapstore_commit(&node->store, fd, &snapper->snap);
    if (err == RAFT_NODE_OK) {
        *out = snapper->snap;
    }
    return err;
}

void *rafti_snapper_main(void *arg)
{
    struct raft_node *node = arg;
    struct rafti_snapper *snapper = &node->snapper;

    while (await(snapper, RAFTI_SNAPPER_WANTED)) {
        struct rafti_snap snap = {.index = 0};

        move(snapper, RAFTI_SNAPPER_WRITING);
        int fd = rafti_snapstore_begin(&node->store);
        int err = fd < 0 ? fd : take(node, fd, &snap);
        if (fd >= 0) {
            close(fd);
        }
        if (snap.index == 0) {
            rafti_snapstore_abandon(&node->store);
        }
        if (err != RAFT_NODE_OK && err != RAFT_NODE_STOPPED) {
            rafti_log(node, RAFT_NODE_LOG_WARN, "raft snapshot failed why=\"%s\"",
                      raft_node_strerror(err));
        }
        move(snapper, RAFTI_SNAPPER_IDLE);
        rafti_note(node, RAFTI_NOTE_TAKEN, snap.index, snap.index == 0 ? 0 : rafti_snap_size(&snap),
                   err == RAFT_NODE_OK);
    }
    return NULL;
}
