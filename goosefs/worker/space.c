#include "space.h"

#include <gfs/base/assert.h>

void gfsi_space_init(struct gfsi_space *space, uint64_t quota, double high_ratio, double low_ratio)
{
    *space = (struct gfsi_space){
        .quota = quota,
        .high = (uint64_t)((double)quota * high_ratio),
        .low = (uint64_t)((double)quota * low_ratio),
    };
    if (space->high > quota) {
        space->high = quota; /* a double does not hold every 64-bit number */
    }
    if (space->low > space->high) {
        space->low = space->high;
    }
}

uint64_t gfsi_space_round(uint64_t bytes)
{
    return (bytes + GFSI_SPACE_UNIT - 1) / GFSI_SPACE_UNIT * GFSI_SPACE_UNIT;
}

static void link_newest(struct gfsi_space *space, struct gfsi_space_entry *entry)
{
    entry->newer = NULL;
    entry->older = space->newest;
    if (space->newest != NULL) {
        space->newest->newer = entry;
    } else {
        space->oldest = entry;
    }
    space->newest = entry;
    entry->linked = true;
    space->count++;
}

static void unlink_entry(struct gfsi_space *space, struct gfsi_space_entry *entry)
{
    GFS_ASSERT(entry->linked);
    if (entry->newer != NULL) {
        entry->newer->older = entry->older;
    } else {
        space->newest = entry->older;
    }
    if (entry->older != NULL) {
        entry->older->newer = entry->newer;
    } else {
        space->oldest = entry->newer;
    }
    entry->newer = NULL;
    entry->older = NULL;
    entry->linked = false;
    space->count--;
}

void gfsi_space_add(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t stamp)
{
    entry->stamp = stamp;
    space->used += entry->bytes;
    link_newest(space, entry);
}

void gfsi_space_touch(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t stamp)
{
    if (!entry->linked) {
        return; /* leaving */
    }
    entry->stamp = stamp;
    if (space->newest != entry) {
        unlink_entry(space, entry);
        link_newest(space, entry);
    }
}

bool gfsi_space_reserve(struct gfsi_space *space, uint64_t bytes)
{
    if (bytes > space->quota || space->used > space->quota - bytes) {
        return false;
    }
    space->used += bytes;
    return true;
}

void gfsi_space_unreserve(struct gfsi_space *space, uint64_t bytes)
{
    GFS_ASSERT_LE(bytes, space->used);
    space->used -= bytes;
}

void gfsi_space_charge(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t bytes)
{
    entry->bytes += bytes;
    if (entry->leaving) {
        space->leaving += bytes;
    }
}

void gfsi_space_uncharge(struct gfsi_space *space, struct gfsi_space_entry *entry, uint64_t bytes)
{
    GFS_ASSERT_LE(bytes, entry->bytes);
    entry->bytes -= bytes;
    space->used -= bytes;
    if (entry->leaving) {
        space->leaving -= bytes;
    }
}

void gfsi_space_remove(struct gfsi_space *space, struct gfsi_space_entry *entry)
{
    if (entry->leaving) {
        return;
    }
    unlink_entry(space, entry);
    entry->leaving = true;
    space->leaving += entry->bytes;
}

size_t gfsi_space_plan(struct gfsi_space *space, uint64_t bytes, struct gfsi_space_entry **victims,
                       size_t max)
{
    uint64_t projected = space->used - space->leaving + bytes;
    size_t n = 0;

    if (projected <= space->high) {
        return 0;
    }

    struct gfsi_space_entry *entry = space->oldest;

    while (entry != NULL && projected > space->low && n < max) {
        struct gfsi_space_entry *next = entry->newer;

        /* One without bytes frees nothing: it is being filled for the first time. */
        if (entry->pins == 0 && entry->bytes > 0) {
            projected -= entry->bytes;
            gfsi_space_remove(space, entry);
            victims[n++] = entry;
        }
        entry = next;
    }
    return n;
}

void gfsi_space_forget(struct gfsi_space *space, struct gfsi_space_entry *entry)
{
    GFS_ASSERT(entry->leaving);
    GFS_ASSERT_LE(entry->bytes, space->leaving);
    space->leaving -= entry->bytes;
    space->used -= entry->bytes;
    entry->bytes = 0;
}

int gfsi_space_choose(const struct gfsi_space *const *spaces, size_t n, uint64_t bytes)
{
    int oldest = -1;
    uint64_t oldest_stamp = UINT64_MAX;

    for (size_t i = 0; i < n; i++) {
        const struct gfsi_space *space = spaces[i];

        if (space->used - space->leaving + bytes <= space->high) {
            return (int)i;
        }

        uint64_t stamp = space->oldest != NULL ? space->oldest->stamp : UINT64_MAX - 1;

        if (bytes <= space->quota && stamp < oldest_stamp) {
            oldest = (int)i;
            oldest_stamp = stamp;
        }
    }
    return oldest;
}

bool gfsi_space_consistent(const struct gfsi_space *space)
{
    uint64_t charged = 0;
    size_t count = 0;

    for (const struct gfsi_space_entry *e = space->oldest; e != NULL; e = e->newer) {
        if (!e->linked || e->leaving || (e->newer != NULL && e->newer->older != e)) {
            return false;
        }
        charged += e->bytes;
        count++;
    }
    return count == space->count && charged + space->leaving <= space->used &&
           space->low <= space->high && space->high <= space->quota;
}
