/* An extent in the index. Little-endian, with a CRC over all of it; record.c has the layout. */
#ifndef GFSI_WORKER_RECORD_H
#define GFSI_WORKER_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/ufs/ufs.h>

#include "index.h"

enum gfsi_record_block {
    GFSI_RECORD_EMPTY,
    GFSI_RECORD_VALID,
    GFSI_RECORD_SUSPECT, /* to be compared with its CRC before use */
};

struct gfsi_record {
    uint64_t inode_id;
    uint64_t version_id;
    uint32_t extent;
    uint32_t block_size;
    uint64_t extent_size;
    uint64_t file_length;
    uint64_t seq;   /* in the file's name */
    uint64_t stamp; /* of the last use */
    uint32_t n_blocks;
    const uint8_t *valid; /* n_blocks bytes, enum gfsi_record_block */
    const uint8_t *crcs;  /* n_blocks times 4 bytes, unaligned */
    char exact[GFS_UFS_VERSION_MAX + 1];
};

#define GFSI_RECORD_BLOCKS_MAX (1024 * 1024)

void gfsi_record_key(uint64_t inode_id, uint64_t version_id, uint32_t extent,
                     unsigned char key[GFSI_INDEX_KEY_LEN]);

/* Appends the value. valid and crcs as in memory: `crc_words` of native endianness. */
int gfsi_record_encode(struct gfs_buf *out, const struct gfsi_record *record,
                       const uint32_t *crc_words);

/* valid and crcs point into `value`. GFS_ECORRUPT when anything is wrong with it. */
int gfsi_record_decode(const unsigned char *key, const void *value, size_t len,
                       struct gfsi_record *out);

uint32_t gfsi_record_crc(const struct gfsi_record *record, uint32_t block);

#endif
