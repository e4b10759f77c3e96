#include "version_cache.h"

#include <stdlib.h>

#include <gfs/base/err.h>

int gfsi_version_cache_init(struct gfsi_version_cache *c)
{
    c->entries = calloc(GFSI_VERSIONS, sizeof(*c->entries));
    if (c->entries == NULL) {
        return GFS_ENOMEM;
    }
    (void)pthread_mutex_init(&c->mutex, NULL);
    return 0;
}

void gfsi_version_cache_fini(struct gfsi_version_cache *c)
{
    if (c->entries == NULL) {
        return;
    }
    free(c->entries);
    c->entries = NULL;
    (void)pthread_mutex_destroy(&c->mutex);
}

/* With the lock: the inode's entry, emptied when it was another's. */
static struct gfsi_version_entry *entry_of(struct gfsi_version_cache *c, uint64_t ino)
{
    struct gfsi_version_entry *e =
        &c->entries[(ino * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (GFSI_VERSIONS - 1)];

    if (e->ino != ino) {
        *e = (struct gfsi_version_entry){.ino = ino};
    }
    return e;
}

void gfsi_version_cache_tell(struct gfsi_version_cache *c, uint64_t ino, uint64_t version)
{
    struct gfsi_version_entry *e;

    (void)pthread_mutex_lock(&c->mutex);
    e = entry_of(c, ino);
    e->attrs = version;
    e->has_attrs = true;
    (void)pthread_mutex_unlock(&c->mutex);
}

bool gfsi_version_cache_open(struct gfsi_version_cache *c, uint64_t ino, uint64_t version,
                             bool *out_stale)
{
    struct gfsi_version_entry *e;
    bool same;

    (void)pthread_mutex_lock(&c->mutex);
    e = entry_of(c, ino);
    same = e->has_pages && e->pages == version;
    *out_stale = e->has_attrs && e->attrs != version;
    e->pages = version;
    e->has_pages = true;
    e->has_attrs = e->has_attrs && !*out_stale; /* the kernel is made to ask again */
    (void)pthread_mutex_unlock(&c->mutex);
    return same;
}
