/* What the kernel has of an inode, as far as this process knows: which version its cached pages are
 * of, and which one it was last told attributes of. An open of the same version keeps the pages,
 * any other drops them. Forgetting an inode (the table is bounded and direct-mapped, a successor
 * starts with an empty one) only costs reading again. Thread: any. */
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
    uint64_t ino;   /* 0: empty */
    uint64_t pages; /* version of the pages; valid when has_pages */
    uint64_t attrs; /* version of the attributes; valid when has_attrs */
    bool has_pages;
    bool has_attrs;
};

struct gfsi_version_cache {
    pthread_mutex_t mutex;
    struct gfsi_version_entry *entries;
};

int gfsi_version_cache_init(struct gfsi_version_cache *c);
void gfsi_version_cache_fini(struct gfsi_version_cache *c);

/* Notes that the kernel is told attributes of `version`. */
void gfsi_version_cache_tell(struct gfsi_version_cache *c, uint64_t ino, uint64_t version);

/* Notes that `version` is being opened; true when the cached pages are of that version.
 * *out_stale: the kernel is known to have attributes of another version. */
bool gfsi_version_cache_open(struct gfsi_version_cache *c, uint64_t ino, uint64_t version,
                             bool *out_stale);

#ifdef __cplusplus
}
#endif
#endif
