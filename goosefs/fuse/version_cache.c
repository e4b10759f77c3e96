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

bool gfsi_version_cache_open(struct gfsi_version_cache *c, uint64_t ino, uint64_t version)
{
    struct gfsi_version_entry *e =
        &c->entries[(ino * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (GFSI_VERSIONS - 1)];
    bool same;

    (void)pthread_mutex_lock(&c->mutex);
    same = e->ino == ino && e->version == version;
    *e = (struct gfsi_version_entry){.ino = ino, .version = version};
    (void)pthread_mutex_unlock(&c->mutex);
    return same;
}
