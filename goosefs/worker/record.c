#include "record.h"

#include <endian.h>
#include <string.h>

#include "crc32c.h"

#define MAGIC UINT32_C(0x31585847) /* "GXX1" */

struct fixed {
    uint32_t magic;
    uint32_t crc; /* of all behind it */
    uint32_t block_size;
    uint32_t n_blocks;
    uint64_t extent_size;
    uint64_t file_length;
    uint64_t seq;
    uint64_t stamp;
    uint32_t exact_len;
    uint32_t reserved;
} __attribute__((packed));

#define CRC_FROM (offsetof(struct fixed, crc) + sizeof(uint32_t))

static void put_be64(unsigned char *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

void gfsi_record_key(uint64_t inode_id, uint64_t version_id, uint32_t extent,
                     unsigned char key[GFSI_INDEX_KEY_LEN])
{
    uint32_t e = htobe32(extent);

    put_be64(key, inode_id);
    put_be64(key + 8, version_id);
    memcpy(key + 16, &e, sizeof(e));
}

int gfsi_record_encode(struct gfs_buf *out, const struct gfsi_record *record,
                       const uint32_t *crc_words)
{
    size_t start = out->len;
    struct fixed fixed = {
        .magic = htole32(MAGIC),
        .block_size = htole32(record->block_size),
        .n_blocks = htole32(record->n_blocks),
        .extent_size = htole64(record->extent_size),
        .file_length = htole64(record->file_length),
        .seq = htole64(record->seq),
        .stamp = htole64(record->stamp),
        .exact_len = htole32((uint32_t)strlen(record->exact)),
    };

    (void)gfs_buf_append(out, &fixed, sizeof(fixed));
    (void)gfs_buf_puts(out, record->exact);
    (void)gfs_buf_append(out, record->valid, record->n_blocks);
    for (uint32_t i = 0; i < record->n_blocks; i++) {
        uint32_t crc = htole32(crc_words[i]);

        (void)gfs_buf_append(out, &crc, sizeof(crc));
    }
    if (out->error != 0) {
        return out->error;
    }

    uint32_t crc =
        htole32(gfsi_crc32c(0, out->data + start + CRC_FROM, out->len - start - CRC_FROM));

    memcpy(out->data + start + offsetof(struct fixed, crc), &crc, sizeof(crc));
    return 0;
}

int gfsi_record_decode(const unsigned char *key, const void *value, size_t len,
                       struct gfsi_record *out)
{
    const unsigned char *bytes = value;
    struct fixed fixed;
    uint64_t words[2];
    uint32_t extent;

    if (len < sizeof(fixed)) {
        return GFS_ECORRUPT;
    }
    memcpy(&fixed, bytes, sizeof(fixed));
    if (le32toh(fixed.magic) != MAGIC ||
        le32toh(fixed.crc) != gfsi_crc32c(0, bytes + CRC_FROM, len - CRC_FROM)) {
        return GFS_ECORRUPT;
    }

    size_t exact_len = le32toh(fixed.exact_len);
    size_t n_blocks = le32toh(fixed.n_blocks);

    if (exact_len > GFS_UFS_VERSION_MAX || n_blocks > GFSI_RECORD_BLOCKS_MAX ||
        len != sizeof(fixed) + exact_len + n_blocks * 5) {
        return GFS_ECORRUPT;
    }
    memcpy(words, key, sizeof(words));
    memcpy(&extent, key + 16, sizeof(extent));
    *out = (struct gfsi_record){
        .inode_id = be64toh(words[0]),
        .version_id = be64toh(words[1]),
        .extent = be32toh(extent),
        .block_size = le32toh(fixed.block_size),
        .extent_size = le64toh(fixed.extent_size),
        .file_length = le64toh(fixed.file_length),
        .seq = le64toh(fixed.seq),
        .stamp = le64toh(fixed.stamp),
        .n_blocks = (uint32_t)n_blocks,
        .valid = bytes + sizeof(fixed) + exact_len,
        .crcs = bytes + sizeof(fixed) + exact_len + n_blocks,
    };
    memcpy(out->exact, bytes + sizeof(fixed), exact_len);
    out->exact[exact_len] = '\0';
    return 0;
}

uint32_t gfsi_record_crc(const struct gfsi_record *record, uint32_t block)
{
    uint32_t crc;

    memcpy(&crc, record->crcs + (size_t)block * 4, sizeof(crc));
    return le32toh(crc);
}
