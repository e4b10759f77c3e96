#include "wal/index_priv.h"

#include <stdlib.h>
#include <string.h>

static size_t index_count(const struct rafti_wal_index *index)
{
    return (size_t)(index->last + 1 - index->first);
}

void rafti_wal_index_fini(struct rafti_wal_index *index)
{
    free(index->items);
    memset(index, 0, sizeof *index);
}

void rafti_wal_index_init(struct rafti_wal_index *index, uint64_t next, uint64_t prev_term)
{
    rafti_wal_index_fini(index);
    index->first = next;
    index->last = next - 1;
    index->prev_term = prev_term;
}

int rafti_wal_index_reserve(struct rafti_wal_index *index, size_t n)
{
    size_t count = index_count(index);

    if (index->head + count + n <= index->cap) {
        return RAFT_WAL_OK;
    }
    if (index->head > 0 && index->head >= index->cap / 2 && count + n <= index->cap) {
        memmove(index->items, index->items + index->head, count * sizeof *index->items);
        index->head = 0;
        return RAFT_WAL_OK;
    }

    size_t cap = index->cap < 64 ? 64 : index->cap * 2;
    while (cap < count + n) {
        cap *= 2;
    }
    struct rafti_wal_pos *items = malloc(cap * sizeof *items);
    if (items == NULL) {
        return RAFT_WAL_NO_MEMORY;
    }
    if (count > 0) {
        memcpy(items, index->items + index->head, count * sizeof *items);
    }
    free(index->items);
    index->items = items;
    index->cap = cap;
    index->head = 0;
    return RAFT_WAL_OK;
}

static int replay_entry(struct rafti_wal_index *index, const struct rafti_wal_header *header,
                        uint32_t segment, uint32_t offset)
{
    if (header->index == 0 || header->index > index->last + 1) {
        return RAFT_WAL_CORRUPT;
    }
    if (header->index < index->first) {
        /* Overwritten from below what is left of the log: the older segments were released. */
        index->first = header->index;
        index->last = header->index - 1;
        index->prev_term = 0;
        index->head = 0;
    }
    index->last = header->index - 1;

    int err = rafti_wal_index_reserve(index, 1);
    if (err != RAFT_WAL_OK) {
        return err;
    }
    index->items[index->head + index_count(index)] = (struct rafti_wal_pos){
        .term = header->term,
        .segment = segment,
        .offset = offset,
        .len = header->len,
        .entry_type = header->entry_type,
    };
    index->last++;
    return RAFT_WAL_OK;
}

int rafti_wal_index_replay(struct rafti_wal_index *index, const struct rafti_wal_header *header,
                           uint32_t segment, uint32_t offset)
{
    switch (header->type) {
    case RAFT_WAL_RECORD_ENTRY: return replay_entry(index, header, segment, offset);
    case RAFT_WAL_RECORD_HARD:
        if (header->term < index->term) {
            return RAFT_WAL_CORRUPT; /* terms never go back */
        }
        index->term = header->term;
        index->vote = header->index;
        return RAFT_WAL_OK;
    case RAFT_WAL_RECORD_RESET:
        index->first = header->index + 1;
        index->last = header->index;
        index->prev_term = header->term;
        index->head = 0;
        return RAFT_WAL_OK;
    default: return RAFT_WAL_CORRUPT;
    }
}

const struct rafti_wal_pos *rafti_wal_index_find(const struct rafti_wal_index *index, uint64_t i)
{
    if (i < index->first || i > index->last) {
        return NULL;
    }
    return &index->items[index->head + (size_t)(i - index->first)];
}

void rafti_wal_index_drop(struct rafti_wal_index *index, uint32_t segment)
{
    /* Live entries lie in rising segments, because rewriting one drops all behind it. */
    while (index->first <= index->last && index->items[index->head].segment <= segment) {
        index->prev_term = index->items[index->head].term;
        index->head++;
        index->first++;
    }
}
