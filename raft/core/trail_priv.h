/*
 * The log without payloads: all decisions of Raft need only terms, flow control only sizes.
 * Runs of equal term {first index, term} and one size per entry, both in growable rings.
 */
#ifndef RAFT_TRAIL_PRIV_H
#define RAFT_TRAIL_PRIV_H

#include <raft/raft.h>

struct raft_trail_run {
    raft_index first;
    raft_term term;
};

struct raft_trail {
    raft_index first;    /* first entry kept; first == last + 1: none */
    raft_index last;     /* last entry, or first - 1 */
    raft_term prev_term; /* term of entry first - 1 */

    struct raft_trail_run *runs;
    uint64_t runs_cap; /* power of two */
    uint64_t runs_head;
    uint64_t runs_count;

    uint32_t *sizes; /* of entry i: sizes[i & (cap - 1)] */
    uint64_t sizes_cap;
};

/* Empties the trail so that the next entry is index + 1. Keeps the storage. */
void raft_trail_reset(struct raft_trail *t, raft_index index, raft_term term);
void raft_trail_free(struct raft_trail *t, const struct raft_alloc *a);

/* Makes room for `n` more entries (of as many terms); the appends that follow cannot fail. */
int raft_trail_reserve(struct raft_trail *t, const struct raft_alloc *a, uint64_t n);
void raft_trail_append(struct raft_trail *t, raft_term term, uint32_t size);

/* Drops entries > last, or < first. */
void raft_trail_truncate(struct raft_trail *t, raft_index last);
void raft_trail_trim(struct raft_trail *t, raft_index first);

/* Term of first - 1 ... last; 0 outside. */
raft_term raft_trail_term(const struct raft_trail *t, raft_index index);
uint32_t raft_trail_size(const struct raft_trail *t, raft_index index);
raft_term raft_trail_last_term(const struct raft_trail *t);

/*
 * Largest index <= `index` whose term is <= `term` (first - 1 if there is none in the trail):
 * where two logs can meet at best, given that one of them holds (index, term).
 */
raft_index raft_trail_meet(const struct raft_trail *t, raft_index index, raft_term term);

#endif
