/*
 * A log segment as a broken disk may hand it back. The first byte chooses: the rest is the segment
 * as it is; or it describes a valid segment (kinds, terms, lengths) followed by bytes to damage in
 * it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wal/crc32c.h"
#include "wal/index_priv.h"
#include "wal/segment_priv.h"

#define SEGMENT RAFTI_WAL_SEGMENT_MIN
#define SALT    0x5a17u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_record(void *arg, const struct rafti_wal_header *header, uint64_t offset,
                     const uint8_t *body)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < header->len; i++) {
        sum ^= body[i];
    }
    (void)sum;
    if (header->type == RAFT_WAL_RECORD_BATCH) {
        return 0;
    }
    /* A refused record ends the replay, as it does in recovery. */
    return rafti_wal_index_replay(arg, header, 1, (uint32_t)offset);
}

static void scan(const uint8_t *bytes, const struct rafti_wal_head *head, uint64_t until)
{
    struct rafti_wal_index index = {0};

    rafti_wal_index_init(&index, head->next_index, head->prev_term);
    struct rafti_wal_segment_scan scan = {
        .bytes = bytes, .head = *head, .until = until, .record = on_record, .arg = &index};
    int err = rafti_wal_segment_run(&scan);
    if (scan.end > head->bytes || (err == 0 && index.last + 1 < index.first)) {
        abort();
    }
    if (until != 0 && err == 0 && scan.verdict == RAFTI_WAL_TORN) {
        abort(); /* only the last segment can be torn */
    }
    rafti_wal_index_fini(&index);
}

static uint32_t put(uint8_t *bytes, size_t at, struct rafti_wal_header header, uint32_t chain)
{
    header.salt = SALT;
    header.chain = chain;
    header.crc_body = rafti_crc32c(0, bytes + at + RAFTI_WAL_RECORD_HEADER, header.len);
    rafti_wal_header_encode(&header, bytes + at);
    return header.crc;
}

/* One batch of one record per description (4 bytes). Returns the bytes of input used. */
static size_t build(uint8_t *bytes, const uint8_t *data, size_t size)
{
    size_t at = RAFTI_WAL_BLOCK;
    size_t used = 0;
    uint32_t chain = 0;
    uint64_t number = 1;

    while (used + 4 <= size && data[used] != 0xff && at + RAFTI_WAL_BLOCK <= SEGMENT) {
        const uint8_t *d = data + used;
        struct rafti_wal_header record = {.type = (uint8_t)(2 + d[0] % 4),
                                          .index = d[1],
                                          .term = d[2],
                                          .len = (uint32_t)d[3] * 8};
        struct rafti_wal_header batch = {.type = RAFT_WAL_RECORD_BATCH,
                                         .index = number++,
                                         .term =
                                             2 * RAFTI_WAL_RECORD_HEADER + (uint64_t)record.len};

        chain = put(bytes, at, batch, chain);
        chain = put(bytes, at + RAFTI_WAL_RECORD_HEADER, record, chain);
        at += RAFTI_WAL_BLOCK;
        used += 4;
    }
    return used < size ? used + 1 : used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rafti_wal_head head = {
        .number = 1, .bytes = SEGMENT, .salt = SALT, .next_index = 1, .first_batch = 1};
    uint8_t *bytes = calloc(1, SEGMENT);

    if (bytes == NULL || size == 0) {
        free(bytes);
        return 0;
    }
    if (data[0] % 2 == 0) {
        memcpy(bytes, data + 1, size - 1 < SEGMENT ? size - 1 : SEGMENT);
        struct rafti_wal_head raw;
        if (rafti_wal_head_decode(bytes, &raw) == RAFT_WAL_OK && raw.bytes <= SEGMENT) {
            scan(bytes, &raw, 0);
        }
    } else {
        size_t used = 1 + build(bytes, data + 1, size - 1);
        for (; used + 3 <= size; used += 3) {
            bytes[((size_t)data[used] << 8 | data[used + 1]) % SEGMENT] ^= data[used + 2];
        }
    }
    scan(bytes, &head, 0);
    scan(bytes, &head, 2 * RAFTI_WAL_BLOCK + 80);
    free(bytes);
    return 0;
}
