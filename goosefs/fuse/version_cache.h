/* Which version of an inode the kernel's page cache holds, as far as this process knows. An open of
 * the same version keeps the cached pages, any other drops them; forgetting an inode (the table is
 * bounded and direct-mapped, a successor starts with an empty one) only costs reading again.
 * Thread: any. */
#ifndef GFSI_VERSION_CACHE_H
#define GFSI_VERSION_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_VERSIONS 16384 /* inodes remembered; a power of two */

struct gfsi_version_entry {
    uint64_t ino; /* 0: empty */
    uint64_t version;
};

struct gfsi_version_cache {
    pthread_mutex_t mutex;
    struct gfsi_version_entry *entries;
};

int gfsi_version_cache_init(struct gfsi_version_cache *c);
void gfsi_version_cache_fini(struct gfsi_version_cache *c);

/* Notes that `version` is being opened; true when the cached pages are of that version. */
bool gfsi_version_cache_open(struct gfsi_version_cache *c, uint64_t ino, uint64_t version);

#ifdef __cplusplus
}
#endif
#endif
