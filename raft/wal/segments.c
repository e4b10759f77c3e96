/* The list of open segments, and beginning a new one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "wal/wal_priv.h"

int rafti_wal_segment_add(struct raft_wal *wal, uint32_t number, int fd)
{
    struct rafti_wal_segment *segment = calloc(1, sizeof *segment);
    struct rafti_wal_segment **list =
        segment == NULL ? NULL
                        : realloc(wal->segments, (wal->n_segments + 1) * sizeof(*wal->segments));

    if (list == NULL) {
        free(segment);
        return RAFT_WAL_NO_MEMORY;
    }
    *segment = (struct rafti_wal_segment){.number = number, .fd = fd, .refs = 1};
    wal->segments = list;
    wal->segments[wal->n_segments++] = segment;
    return RAFT_WAL_OK;
}

struct rafti_wal_segment *rafti_wal_segment_get(struct raft_wal *wal, uint32_t number)
{
    for (size_t i = 0; i < wal->n_segments; i++) {
        if (wal->segments[i]->number == number) {
            wal->segments[i]->refs++;
            return wal->segments[i];
        }
    }
    return NULL;
}

void rafti_wal_segment_put(struct raft_wal *wal, struct rafti_wal_segment *segment)
{
    if (--segment->refs > 0) {
        return;
    }
    wal->io.close(wal->io.arg, segment->fd);
    free(segment);
}

/*
 * The head becomes durable before the segment gets its name, and the name before any record is
 * written behind it: a segment that can be seen always has a valid head.
 */
static int activate(struct raft_wal *wal, int fd, const struct rafti_wal_head *head)
{
    const struct raft_wal_io *io = &wal->io;
    uint8_t block[RAFTI_WAL_BLOCK];
    char name[RAFTI_WAL_NAME_MAX];

    rafti_wal_head_encode(head, block);
    rafti_wal_file_name(name, head->number, head->next_index);
    if (rafti_wal_write_fully(io, fd, block, sizeof block, 0) != 0 ||
        io->fdatasync(io->arg, fd) < 0 ||
        io->renameat(io->arg, wal->dirfd, RAFTI_WAL_SPARE_NAME, name) < 0 ||
        io->fsync(io->arg, wal->dirfd) < 0) {
        return RAFT_WAL_IO;
    }
    return RAFT_WAL_OK;
}

static void fill_head(struct raft_wal *wal, uint64_t salt, struct rafti_wal_head *head)
{
    const struct rafti_wal_index *index = &wal->index;
    const struct rafti_wal_pos *last = rafti_wal_index_find(index, index->last);

    *head = (struct rafti_wal_head){
        .number = wal->number + 1,
        .salt = salt,
        .cluster_id = wal->cluster_id,
        .node_id = wal->node_id,
        .bytes = wal->segment_bytes,
        .first_batch = wal->next_batch,
        .next_index = index->last + 1,
        .prev_term = last != NULL ? last->term : index->prev_term,
        .term = index->term,
        .vote = index->vote,
        .prev_end = wal->end,
        .prev_chain = wal->chain,
    };
    memcpy(head->incarnation, wal->incarnation, sizeof head->incarnation);
}

int rafti_wal_segment_roll(struct raft_wal *wal)
{
    struct rafti_wal_head head;
    uint64_t salt;
    int fd = -1;

    int err = rafti_wal_random(&salt, sizeof salt);
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_spare_take(wal, &fd);
    }
    if (err != RAFT_WAL_OK) {
        return err;
    }

    fill_head(wal, salt, &head); /* index: this thread is its only writer */
    err = activate(wal, fd, &head);
    if (err == RAFT_WAL_OK) {
        pthread_mutex_lock(&wal->lock);
        err = rafti_wal_segment_add(wal, (uint32_t)head.number, fd);
        wal->stats.segments = wal->n_segments;
        pthread_mutex_unlock(&wal->lock);
    }
    if (err != RAFT_WAL_OK) {
        wal->io.close(wal->io.arg, fd);
        return RAFT_WAL_IO; /* what the directory now holds is unknown: only a restart can tell */
    }

    wal->number = head.number;
    wal->salt = salt;
    wal->capacity = head.bytes;
    wal->pos = RAFTI_WAL_BLOCK;
    wal->end = RAFTI_WAL_BLOCK;
    wal->marked = false;
    return rafti_wal_spare_want(wal);
}

/* Unlinks the oldest segment for good before the next may go, so that no crash leaves a gap. */
static int remove_oldest(struct raft_wal *wal)
{
    const struct raft_wal_io *io = &wal->io;
    char name[RAFTI_WAL_NAME_MAX];
    uint8_t block[RAFTI_WAL_BLOCK];
    struct rafti_wal_head head;
    struct rafti_wal_segment *segment = wal->segments[0];

    if (io->pread(io->arg, segment->fd, block, sizeof block, 0) != (ssize_t)sizeof block ||
        rafti_wal_head_decode(block, &head) != RAFT_WAL_OK) {
        return RAFT_WAL_IO;
    }
    rafti_wal_file_name(name, head.number, head.next_index);
    if (io->unlinkat(io->arg, wal->dirfd, name) < 0 || io->fsync(io->arg, wal->dirfd) < 0) {
        return RAFT_WAL_IO;
    }

    pthread_mutex_lock(&wal->lock);
    rafti_wal_index_drop(&wal->index, segment->number);
    memmove(wal->segments, wal->segments + 1, (wal->n_segments - 1) * sizeof(*wal->segments));
    wal->n_segments--;
    wal->stats.segments = wal->n_segments;
    rafti_wal_segment_put(wal, segment);
    pthread_mutex_unlock(&wal->lock);
    return RAFT_WAL_OK;
}

/* True when no live entry above @index lies in the oldest segment. */
static bool oldest_is_free(const struct raft_wal *wal, uint64_t index)
{
    uint64_t next = index + 1 > wal->index.first ? index + 1 : wal->index.first;
    const struct rafti_wal_pos *pos = rafti_wal_index_find(&wal->index, next);

    if (wal->n_segments < 2) {
        return false; /* the current one stays */
    }
    return pos == NULL || pos->segment > wal->segments[0]->number;
}

int raft_wal_release(struct raft_wal *wal, uint64_t index)
{
    bool any = false;

    while (wal->dead == RAFT_WAL_OK && oldest_is_free(wal, index)) {
        if (remove_oldest(wal) != RAFT_WAL_OK) {
            wal->dead = RAFT_WAL_IO;
        }
        any = true;
    }
    if (any && wal->dead == RAFT_WAL_OK) {
        rafti_wal_spare_nudge(wal);
        rafti_wal_stage_reset(wal);
    }
    return wal->dead;
}
