#include "wal/format_priv.h"

#include <endian.h>
#include <string.h>

#include "wal/crc32c.h"

static const char head_magic[8] = {'R', 'A', 'F', 'T', 'W', 'A', 'L', '\n'};

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
    return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, 8);
    return p + 8;
}

static uint32_t get32(const uint8_t **p)
{
    uint32_t v;

    memcpy(&v, *p, 4);
    *p += 4;
    return le32toh(v);
}

static uint64_t get64(const uint8_t **p)
{
    uint64_t v;

    memcpy(&v, *p, 8);
    *p += 8;
    return le64toh(v);
}

void rafti_wal_put64(uint8_t *to, uint64_t value)
{
    put64(to, value);
}

uint64_t rafti_wal_get64(const uint8_t *from)
{
    return get64(&from);
}

void rafti_wal_head_encode(const struct rafti_wal_head *head, uint8_t *block)
{
    uint8_t *p = block;

    memset(block, 0, RAFTI_WAL_BLOCK);
    memcpy(p, head_magic, sizeof head_magic);
    p = put32(p + sizeof head_magic, RAFTI_WAL_VERSION);
    p = put32(p, head->prev_chain);
    p = put64(p, head->number);
    p = put64(p, head->salt);
    p = put64(p, head->cluster_id);
    p = put64(p, head->node_id);
    memcpy(p, head->incarnation, 16);
    p = put64(p + 16, head->bytes);
    p = put64(p, head->first_batch);
    p = put64(p, head->next_index);
    p = put64(p, head->prev_term);
    p = put64(p, head->term);
    p = put64(p, head->vote);
    put64(p, head->prev_end);
    put32(block + RAFTI_WAL_BLOCK - 4, rafti_crc32c(0, block, RAFTI_WAL_BLOCK - 4));
}

int rafti_wal_head_decode(const uint8_t *block, struct rafti_wal_head *out)
{
    const uint8_t *crc_at = block + RAFTI_WAL_BLOCK - 4;

    if (get32(&crc_at) != rafti_crc32c(0, block, RAFTI_WAL_BLOCK - 4)) {
        return RAFT_WAL_CORRUPT;
    }
    if (memcmp(block, head_magic, sizeof head_magic) != 0) {
        return RAFT_WAL_MISMATCH;
    }

    const uint8_t *p = block + sizeof head_magic;
    if (get32(&p) != RAFTI_WAL_VERSION) {
        return RAFT_WAL_MISMATCH;
    }
    struct rafti_wal_head head = {.prev_chain = get32(&p)};
    head.number = get64(&p);
    head.salt = get64(&p);
    head.cluster_id = get64(&p);
    head.node_id = get64(&p);
    memcpy(head.incarnation, p, 16);
    p += 16;
    head.bytes = get64(&p);
    head.first_batch = get64(&p);
    head.next_index = get64(&p);
    head.prev_term = get64(&p);
    head.term = get64(&p);
    head.vote = get64(&p);
    head.prev_end = get64(&p);

    if (head.number == 0 || head.number > UINT32_MAX || head.next_index == 0 ||
        head.bytes < RAFTI_WAL_SEGMENT_MIN || head.bytes > RAFTI_WAL_SEGMENT_MAX ||
        head.bytes % RAFTI_WAL_BLOCK != 0) {
        return RAFT_WAL_CORRUPT;
    }
    *out = head;
    return RAFT_WAL_OK;
}

void rafti_wal_header_encode(struct rafti_wal_header *header, uint8_t *out)
{
    uint8_t *p = put32(out + 4, header->crc_body);

    p = put32(p, header->len);
    *p++ = header->type;
    *p++ = header->entry_type;
    *p++ = 0;
    *p++ = 0;
    p = put64(p, header->index);
    p = put64(p, header->term);
    p = put32(p, header->chain);
    put32(p, header->salt);
    header->crc = rafti_crc32c(0, out + 4, RAFTI_WAL_RECORD_HEADER - 4);
    put32(out, header->crc);
}

bool rafti_wal_header_decode(const uint8_t *bytes, struct rafti_wal_header *out)
{
    const uint8_t *p = bytes;
    struct rafti_wal_header header = {.crc = get32(&p)};

    if (header.crc != rafti_crc32c(0, p, RAFTI_WAL_RECORD_HEADER - 4)) {
        return false;
    }
    header.crc_body = get32(&p);
    header.len = get32(&p);
    header.type = *p++;
    header.entry_type = *p++;
    p += 2;
    header.index = get64(&p);
    header.term = get64(&p);
    header.chain = get32(&p);
    header.salt = get32(&p);
    *out = header;
    return true;
}

bool rafti_wal_record_decode(const uint8_t *bytes, size_t avail, struct rafti_wal_header *out)
{
    struct rafti_wal_header header;

    if (avail < RAFTI_WAL_RECORD_HEADER || !rafti_wal_header_decode(bytes, &header) ||
        header.len > avail - RAFTI_WAL_RECORD_HEADER ||
        header.crc_body != rafti_crc32c(0, bytes + RAFTI_WAL_RECORD_HEADER, header.len)) {
        return false;
    }
    *out = header;
    return true;
}
