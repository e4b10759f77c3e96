/*
 * Where each live entry of the log is: a gapless run of positions from first to last. Also the
 * replay rule: what each record does to the log, the same for recovery, for writing and offline.
 */
#ifndef RAFT_WAL_INDEX_PRIV_H
#define RAFT_WAL_INDEX_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal/format_priv.h"

struct rafti_wal_pos {
    uint64_t term;
    uint32_t segment; /* number */
    uint32_t offset;  /* of the record header */
    uint32_t len;     /* of the body */
    uint8_t entry_type;
};

struct rafti_wal_index {
    struct rafti_wal_pos *items; /* entry first + i is items[head + i] */
    size_t cap;
    size_t head;
    uint64_t first; /* 1 at birth; last + 1 when empty */
    uint64_t last;
    uint64_t prev_term; /* of entry first - 1; 0 unknown */
    uint64_t term;      /* hard state */
    uint64_t vote;
};

/* Starts an empty log behind entry @next - 1 of term @prev_term. Frees what it held. */
void rafti_wal_index_init(struct rafti_wal_index *index, uint64_t next, uint64_t prev_term);
void rafti_wal_index_fini(struct rafti_wal_index *index);

/* Room for @n more entries, so that replaying them can't fail. 0 or NO_MEMORY. */
int rafti_wal_index_reserve(struct rafti_wal_index *index, size_t n);

/* What @header at @offset of segment @segment does to the log. CORRUPT: it can't follow. */
int rafti_wal_index_replay(struct rafti_wal_index *index, const struct rafti_wal_header *header,
                           uint32_t segment, uint32_t offset);

/* NULL if @i is not in the log. */
const struct rafti_wal_pos *rafti_wal_index_find(const struct rafti_wal_index *index, uint64_t i);

/* Forgets the entries that lie in segments up to @segment. */
void rafti_wal_index_drop(struct rafti_wal_index *index, uint32_t segment);

#endif
