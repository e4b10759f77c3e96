/* The space of one tier directory: a pure core, no clock, disk or lock. Bytes are reserved before
 * they are fetched, so used never exceeds the quota; above the high watermark the least recently
 * used entries go until used is at the low one.
 *
 *   reserve(bytes) --> OK                      used += bytes
 *                  \-> FULL                    read through without caching
 *   plan(bytes)    --> victims                 the caller unlinks them, then forget(victim)
 *
 * An entry in use (pins > 0) is never a victim. The caller holds the store's mutex. */
#ifndef GFSI_WORKER_SPACE_H
#define GFSI_WORKER_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GFSI_SPACE_UNIT UINT64_C(4096) /* what a file system allocates at least */

struct gfsi_space_entry {
    struct gfsi_space_entry *newer;
    struct gfsi_space_entry *older;
    uint64_t bytes; /* charged */
    uint64_t stamp; /* of the last touch; higher is newer */
    uint32_t pins;
    bool leaving; /* planned as a victim: its bytes count until forget */
    bool linked;
};

struct gfsi_space {
    uint64_t quota;
    uint64_t high; /* bytes */
    uint64_t low;
    uint64_t used;    /* charged and reserved */
    uint64_t leaving; /* of used: on its way out */
    size_t count;
    struct gfsi_space_entry *newest;
    struct gfsi_space_entry *oldest;
};

void gfsi_space_init(struct gfsi_space *space, uint64_t quota, double high_ratio, double low_ratio);

/* Rounded up to what a file system allocates. */
uint64_t gfsi_space_round(uint64_t bytes);

/* Adds an entry as the newest, with entry->bytes already charged (0 for a fresh one; after a
 * restart what its file holds). */
void gfsi_space_add(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t stamp);

/* Makes it the newest. */
void gfsi_space_touch(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t stamp);

/* true: used += bytes, to be charged to an entry or given back. */
bool gfsi_space_reserve(struct gfsi_space *space, uint64_t bytes);
void gfsi_space_unreserve(struct gfsi_space *space, uint64_t bytes);

/* Reserved bytes become the entry's. */
void gfsi_space_charge(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t bytes);

/* The other way round: bytes of the entry that turned out not to be good. */
void gfsi_space_uncharge(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t bytes);

/* Chooses what must go so that `bytes` more fit: nothing while used + bytes stays within the high
 * watermark, else the oldest unpinned entries until it is within the low one. They are marked
 * leaving and unlinked from the order. At most `max`; returns how many. */
size_t gfsi_space_plan(struct gfsi_space *space, uint64_t bytes, struct gfsi_space_entry **victims,
                       size_t max);

/* Takes an entry out for a reason of the caller's own (freed, changed): as if planned. */
void gfsi_space_remove(struct gfsi_space *space, struct gfsi_space_entry *entry);

/* The file of a leaving entry is gone: its bytes are free. */
void gfsi_space_forget(struct gfsi_space *space, struct gfsi_space_entry *entry);

/* Which of n directories (in the order of their tiers) a new entry goes to: the first with room
 * for `bytes` below its high watermark; when there is none, the one whose oldest entry is the
 * oldest, among those whose quota could ever hold `bytes`. -1 when there is none. */
int gfsi_space_choose(const struct gfsi_space *const *spaces, size_t n, uint64_t bytes);

/* Everything that must always hold; for tests and asserts. */
bool gfsi_space_consistent(const struct gfsi_space *space);

#endif
