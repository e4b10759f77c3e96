/* Which worker caches an extent: rendezvous hashing (Thaler and Ravishankar, "Using Name-Based
 * Mappings to Increase Hit Rates", 1998). Every client gets the same order from the same workers; a
 * worker that comes or goes moves only the extents it gains or had.
 *
 * Pure functions. The hash is part of the contract between clients of different versions. */
#ifndef GFS_CLIENT_PLACEMENT_H
#define GFS_CLIENT_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Weight of a worker for an extent: the highest comes first. */
uint64_t gfs_placement_weight(uint64_t worker_id, uint64_t inode_id, uint64_t extent_index);

/* Fills out[0..n_out) with indexes into workers[], best first. Returns how many: min(n, n_out). */
size_t gfs_placement_order(const uint64_t *worker_ids, size_t n, uint64_t inode_id,
                           uint64_t extent_index, uint32_t *out, size_t n_out);

#ifdef __cplusplus
}
#endif
#endif
