/*
 * Bytes of a log segment. All numbers little-endian.
 *
 *   0      segment head, one block, its last 4 bytes the CRC32C of the rest
 *   4096   batch: BATCH record, HARD record, other records, zeros up to the next block
 *   ...    next batch (always at a block boundary: a flush never rewrites acknowledged bytes)
 *   ...    zeros to the end of the file; the first of these blocks may hold a MARK record, which
 *          the next batch overwrites
 *
 * Each record carries the header checksum of the record before it (chain), so a record can only
 * follow the one it was written behind, and the low half of the segment's random salt, so bytes
 * left from another segment are never taken for records of this one.
 */
#ifndef RAFT_WAL_FORMAT_PRIV_H
#define RAFT_WAL_FORMAT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <raft/wal.h>

#define RAFTI_WAL_VERSION       1u
#define RAFTI_WAL_BLOCK         4096u
#define RAFTI_WAL_RECORD_HEADER 40u
#define RAFTI_WAL_BATCH_BODY    8u  /* last index of the log before the batch */
#define RAFTI_WAL_MARK_BODY     24u /* last index, term, vote */
#define RAFTI_WAL_SEGMENT_MIN   (8u * RAFTI_WAL_BLOCK)
#define RAFTI_WAL_SEGMENT_MAX   (256u << 20)

struct rafti_wal_head {
    uint64_t number; /* 1, 2, ...: position in the directory's sequence of segments */
    uint64_t salt;
    uint64_t cluster_id;
    uint64_t node_id;
    uint8_t incarnation[16];
    uint64_t bytes; /* of the whole file */
    uint64_t first_batch;
    uint64_t next_index;
    uint64_t prev_term;
    uint64_t term;
    uint64_t vote;
    uint64_t prev_end;   /* offset behind the last record of segment number - 1 */
    uint32_t prev_chain; /* and that record's header checksum */
};

struct rafti_wal_header {
    uint32_t crc;
    uint32_t crc_body;
    uint32_t len;
    uint8_t type;
    uint8_t entry_type;
    uint64_t index;
    uint64_t term;
    uint32_t chain;
    uint32_t salt;
};

void rafti_wal_put64(uint8_t *to, uint64_t value);
uint64_t rafti_wal_get64(const uint8_t *from);

static inline size_t rafti_align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static inline size_t rafti_align_block(size_t n)
{
    return (n + RAFTI_WAL_BLOCK - 1) & ~(size_t)(RAFTI_WAL_BLOCK - 1);
}

/* Fills @block (RAFTI_WAL_BLOCK bytes). */
void rafti_wal_head_encode(const struct rafti_wal_head *head, uint8_t *block);

/* 0, CORRUPT (checksum, impossible size), or MISMATCH (not ours, other version). */
int rafti_wal_head_decode(const uint8_t *block, struct rafti_wal_head *out);

/* Writes the header with its checksum; stores that into header->crc too. */
void rafti_wal_header_encode(struct rafti_wal_header *header, uint8_t *out);

/* False when the checksum of the header does not match. */
bool rafti_wal_header_decode(const uint8_t *bytes, struct rafti_wal_header *out);

/* False also when the record does not fit into the @avail bytes at @bytes or its body is damaged.
 */
bool rafti_wal_record_decode(const uint8_t *bytes, size_t avail, struct rafti_wal_header *out);

#endif
