/* Bytes by (inode, version): an open-addressing table with a stated maximum. Not thread-safe. */
#ifndef GFSI_CACHEMAP_PRIV_H
#define GFSI_CACHEMAP_PRIV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_cachemap_slot {
    uint64_t inode; /* 0: free */
    uint64_t version;
    uint64_t bytes; /* 0: deleted, still part of the probe sequence */
};

struct gfsi_cachemap {
    struct gfsi_cachemap_slot *slots;
    size_t cap;  /* power of two, or 0 */
    size_t used; /* slots that are not free, deleted ones included */
    size_t live;
    size_t max;
};

void gfsi_cachemap_init(struct gfsi_cachemap *map, size_t max);
void gfsi_cachemap_fini(struct gfsi_cachemap *map);

/* 0 when it is not there. */
uint64_t gfsi_cachemap_get(const struct gfsi_cachemap *map, uint64_t inode, uint64_t version);

/* Sets; 0 bytes deletes. *out_before is the old value. BUSY at the maximum, NOMEM. */
int gfsi_cachemap_set(struct gfsi_cachemap *map, uint64_t inode, uint64_t version, uint64_t bytes,
                      uint64_t *out_before);

/* The live slot at or behind *at, or NULL; *at moves behind it. Start with 0. */
const struct gfsi_cachemap_slot *gfsi_cachemap_next(const struct gfsi_cachemap *map, size_t *at);

#ifdef __cplusplus
}
#endif
#endif
