/* The bytes of a snapshot's meta file. */
#ifndef RAFT_NODE_SNAPMETA_PRIV_H
#define RAFT_NODE_SNAPMETA_PRIV_H

#include "node/snapstore_priv.h"

#define RAFTI_SNAP_META_MAX    (16u << 20) /* checksums of 1 TiB */
#define RAFTI_SNAP_META_FOOTER 16u

/* Encoded meta for @snap with @n chunk checksums; malloc'd, NULL without memory. */
uint8_t *rafti_snapmeta_encode(const struct rafti_snap *snap, uint64_t cluster_id,
                               const uint32_t *crcs, uint64_t n, size_t *out_len);

/* Decodes a whole meta file. *out_crcs points into @bytes (unaligned, little-endian) when not
 * NULL. 0, CORRUPT, or MISMATCH (other version or cluster). Safe for hostile input. */
int rafti_snapmeta_decode(const uint8_t *bytes, size_t len, uint64_t cluster_id,
                          struct rafti_snap *out, const uint8_t **out_crcs);

/* Length of the meta block that ends with this footer; 0 if it is none. */
uint64_t rafti_snapmeta_footer(const uint8_t *footer);

static inline uint64_t rafti_snap_chunks(uint64_t image_bytes)
{
    return (image_bytes + RAFTI_SNAP_CHUNK - 1) / RAFTI_SNAP_CHUNK;
}

uint32_t rafti_snapmeta_crc_at(const uint8_t *crcs, uint64_t i);

#endif
