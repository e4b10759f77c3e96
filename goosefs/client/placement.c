#include <gfs/client/placement.h>

/* The finaliser of MurmurHash3 (Appleby): every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

uint64_t gfs_placement_weight(uint64_t worker_id, uint64_t inode_id, uint64_t extent_index)
{
    return mix(mix(mix(worker_id) + inode_id) + extent_index);
}

size_t gfs_placement_order(const uint64_t *worker_ids, size_t n, uint64_t inode_id,
                           uint64_t extent_index, uint32_t *out, size_t n_out)
{
    /* Insertion into the few best: n_out is small, n may be thousands. Equal weights (the same id
     * twice) keep the order of the list. */
    size_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t weight = gfs_placement_weight(worker_ids[i], inode_id, extent_index);
        size_t at = filled;
        while (at > 0 &&
               gfs_placement_weight(worker_ids[out[at - 1]], inode_id, extent_index) < weight) {
            at--;
        }
        if (at >= n_out) {
            continue;
        }
        if (filled < n_out) {
            filled++;
        }
        for (size_t k = filled - 1; k > at; k--) {
            out[k] = out[k - 1];
        }
        out[at] = (uint32_t)i;
    }
    return filled;
}
