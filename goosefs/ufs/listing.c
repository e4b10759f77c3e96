/* A directory's entries: names in an arena of chunks that never move, entries in one array. */
#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#include "ufs_priv.h"

#define CHUNK_SIZE (64 * 1024)

struct chunk {
    struct chunk *next;
    size_t used;
    char bytes[CHUNK_SIZE];
};

struct gfs_ufs_listing {
    struct gfs_ufs_entry *entries;
    size_t count;
    size_t cap;
    size_t skipped;
    struct chunk *chunks;
};

struct gfs_ufs_listing *gfsi_listing_new(void)
{
    return calloc(1, sizeof(struct gfs_ufs_listing));
}

struct gfs_ufs_listing *gfs_ufs_listing_free(struct gfs_ufs_listing *listing)
{
    if (listing == NULL) {
        return NULL;
    }

    while (listing->chunks != NULL) {
        struct chunk *next = listing->chunks->next;

        free(listing->chunks);
        listing->chunks = next;
    }
    free(listing->entries);
    free(listing);
    return NULL;
}

size_t gfs_ufs_listing_count(const struct gfs_ufs_listing *listing)
{
    return listing->count;
}

const struct gfs_ufs_entry *gfs_ufs_listing_at(const struct gfs_ufs_listing *listing, size_t i)
{
    return i < listing->count ? &listing->entries[i] : NULL;
}

size_t gfs_ufs_listing_skipped(const struct gfs_ufs_listing *listing)
{
    return listing->skipped;
}

struct gfs_ufs_entry *gfsi_listing_mutable(struct gfs_ufs_listing *listing, size_t i)
{
    return &listing->entries[i];
}

/* Names are at most 255 bytes, so every name fits a fresh chunk. */
static const char *keep_name(struct gfs_ufs_listing *listing, const char *name, size_t len)
{
    struct chunk *chunk = listing->chunks;

    if (chunk == NULL || CHUNK_SIZE - chunk->used < len + 1) {
        chunk = malloc(sizeof(*chunk));
        if (chunk == NULL) {
            return NULL;
        }
        chunk->next = listing->chunks;
        chunk->used = 0;
        listing->chunks = chunk;
    }

    char *copy = chunk->bytes + chunk->used;

    memcpy(copy, name, len + 1);
    chunk->used += len + 1;
    return copy;
}

static int grow(struct gfs_ufs_listing *listing)
{
    size_t cap = listing->cap == 0 ? 64 : listing->cap * 2;
    struct gfs_ufs_entry *entries = realloc(listing->entries, cap * sizeof(*entries));

    if (entries == NULL) {
        return GFS_ENOMEM;
    }
    listing->entries = entries;
    listing->cap = cap;
    return 0;
}

int gfs_ufs_listing_add(struct gfs_ufs_listing *listing, size_t max, const char *name,
                        const struct gfs_ufs_stat *stat)
{
    size_t len = strlen(name);

    /* A name that is not UTF-8 could be read, but neither JSON nor a protobuf string may hold it.
     */
    if (!gfs_name_valid(name, len) || !gfs_utf8_valid(name, len)) {
        listing->skipped++;
        return 0;
    }
    if (listing->count >= max) {
        return GFS_ERANGE;
    }
    if (listing->count == listing->cap && grow(listing) < 0) {
        return GFS_ENOMEM;
    }

    const char *copy = keep_name(listing, name, len);

    if (copy == NULL) {
        return GFS_ENOMEM;
    }
    listing->entries[listing->count++] = (struct gfs_ufs_entry){.name = copy, .stat = *stat};
    return 0;
}

/* Byte order of names; of the same name, the one that tells more comes first. */
static int compare_entries(const void *a, const void *b)
{
    const struct gfs_ufs_entry *x = a;
    const struct gfs_ufs_entry *y = b;
    int order = strcmp(x->name, y->name);

    if (order != 0) {
        return order;
    }
    if (x->stat.size_known != y->stat.size_known) {
        return x->stat.size_known ? -1 : 1;
    }
    return (y->stat.mtime_ms != 0) - (x->stat.mtime_ms != 0);
}

void gfsi_listing_finish(struct gfs_ufs_listing *listing)
{
    size_t kept = 0;

    if (listing->count == 0) {
        return;
    }
    qsort(listing->entries, listing->count, sizeof(*listing->entries), compare_entries);
    for (size_t i = 1; i < listing->count; i++) {
        if (strcmp(listing->entries[kept].name, listing->entries[i].name) != 0) {
            listing->entries[++kept] = listing->entries[i];
        }
    }
    listing->count = kept + 1;
}

void gfsi_listing_compact(struct gfs_ufs_listing *listing)
{
    size_t kept = 0;

    for (size_t i = 0; i < listing->count; i++) {
        if ((int)listing->entries[i].stat.type != 0) {
            listing->entries[kept++] = listing->entries[i];
        }
    }
    listing->count = kept;
}
