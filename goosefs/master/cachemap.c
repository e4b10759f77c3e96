#include "cachemap_priv.h"

#include <stdlib.h>

#include <gfs/base/err.h>

#define MIN_CAP 64

void gfsi_cachemap_init(struct gfsi_cachemap *map, size_t max)
{
    *map = (struct gfsi_cachemap){.max = max};
}

void gfsi_cachemap_fini(struct gfsi_cachemap *map)
{
    free(map->slots);
    *map = (struct gfsi_cachemap){.max = map->max};
}

static size_t home(uint64_t inode, uint64_t version, size_t cap)
{
    uint64_t h = (inode ^ (version >> 17)) * UINT64_C(0x9e3779b97f4a7c15);

    h ^= version;
    h ^= h >> 32;
    return (size_t)h & (cap - 1);
}

/* The slot of the key, or the first one where it could go. */
static struct gfsi_cachemap_slot *probe(const struct gfsi_cachemap *map, uint64_t inode,
                                        uint64_t version)
{
    struct gfsi_cachemap_slot *deleted = NULL;
    size_t at = home(inode, version, map->cap);

    for (;; at = (at + 1) & (map->cap - 1)) {
        struct gfsi_cachemap_slot *slot = &map->slots[at];

        if (slot->inode == 0) {
            return deleted != NULL ? deleted : slot;
        }

        if (slot->inode == inode && slot->version == version) {
            return slot;
        }

        if (slot->bytes == 0 && deleted == NULL) {
            deleted = slot;
        }
    }
}

/* At least half of the slots stay free, so that probing ends soon. */
static int make_room(struct gfsi_cachemap *map)
{
    struct gfsi_cachemap old = *map;
    size_t cap = MIN_CAP;

    if (map->cap > 0 && (map->used + 1) * 2 <= map->cap) {
        return 0;
    }

    while (cap < (map->live + 1) * 4) {
        cap *= 2;
    }

    map->slots = calloc(cap, sizeof(*map->slots));
    if (map->slots == NULL) {
        map->slots = old.slots;
        return GFS_ENOMEM;
    }

    map->cap = cap;
    map->used = old.live;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].inode != 0 && old.slots[i].bytes != 0) {
            *probe(map, old.slots[i].inode, old.slots[i].version) = old.slots[i];
        }
    }

    free(old.slots);
    return 0;
}

uint64_t gfsi_cachemap_get(const struct gfsi_cachemap *map, uint64_t inode, uint64_t version)
{
    const struct gfsi_cachemap_slot *slot;

    if (map->cap == 0 || inode == 0) {
        return 0;
    }

    slot = probe(map, inode, version);
    return slot->inode == inode && slot->version == version ? slot->bytes : 0;
}

int gfsi_cachemap_set(struct gfsi_cachemap *map, uint64_t inode, uint64_t version, uint64_t bytes,
                      uint64_t *out_before)
{
    struct gfsi_cachemap_slot *slot;
    uint64_t before;
    int rc;

    if (inode == 0) {
        return GFS_EINVAL;
    }

    before = gfsi_cachemap_get(map, inode, version);
    if (before == 0 && bytes == 0) {
        *out_before = 0;
        return 0;
    }

    if (before == 0 && map->live >= map->max) {
        return GFS_EBUSY;
    }

    rc = make_room(map);
    if (rc != 0) {
        return rc;
    }

    slot = probe(map, inode, version);
    map->used += slot->inode == 0 ? 1 : 0;
    map->live += before == 0 ? 1 : 0;
    map->live -= bytes == 0 ? 1 : 0;
    *slot = (struct gfsi_cachemap_slot){inode, version, bytes};
    *out_before = before;
    return 0;
}

const struct gfsi_cachemap_slot *gfsi_cachemap_next(const struct gfsi_cachemap *map, size_t *at)
{
    while (*at < map->cap) {
        const struct gfsi_cachemap_slot *slot = &map->slots[(*at)++];

        if (slot->inode != 0 && slot->bytes != 0) {
            return slot;
        }
    }

    return NULL;
}
