/*
 * magic 8 | version u32 | config length u32 | cluster u64 | index u64 | term u64 | image bytes u64
 * | chunks u64 | config | chunks x crc32c u32 | length of all of this with the footer u64
 * | end magic u32 | crc32c of all before u32
 */
#include "node/snapmeta_priv.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <raft/node.h>

#include "wal/crc32c.h"

#define VERSION   1u
#define FIXED     56u
#define END_MAGIC 0x50414e53u /* "SNAP" */

static const uint8_t magic[8] = {'R', 'A', 'F', 'T', 'S', 'N', 'P', '\n'};

static void put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
}

static void put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, 8);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return le64toh(v);
}

uint32_t rafti_snapmeta_crc_at(const uint8_t *crcs, uint64_t i)
{
    return get32(crcs + 4 * i);
}

uint8_t *rafti_snapmeta_encode(const struct rafti_snap *snap, uint64_t cluster_id,
                               const uint32_t *crcs, uint64_t n, size_t *out_len)
{
    uint8_t config[RAFT_MAX_CONFIG_BYTES];
    int config_len = raft_config_encode(&snap->config, config, sizeof config);

    if (config_len < 0) {
        return NULL;
    }
    size_t len = FIXED + (size_t)config_len + 4 * n + RAFTI_SNAP_META_FOOTER;
    uint8_t *bytes = malloc(len);
    if (bytes == NULL) {
        return NULL;
    }

    memcpy(bytes, magic, 8);
    put32(bytes + 8, VERSION);
    put32(bytes + 12, (uint32_t)config_len);
    put64(bytes + 16, cluster_id);
    put64(bytes + 24, snap->index);
    put64(bytes + 32, snap->term);
    put64(bytes + 40, snap->image_bytes);
    put64(bytes + 48, n);
    memcpy(bytes + FIXED, config, (size_t)config_len);
    uint8_t *p = bytes + FIXED + config_len;
    for (uint64_t i = 0; i < n; i++, p += 4) {
        put32(p, crcs[i]);
    }
    put64(p, len);
    put32(p + 8, END_MAGIC);
    put32(p + 12, rafti_crc32c(0, bytes, len - 4));
    *out_len = len;
    return bytes;
}

uint64_t rafti_snapmeta_footer(const uint8_t *footer)
{
    uint64_t len = get64(footer);

    if (get32(footer + 8) != END_MAGIC || len < FIXED + RAFTI_SNAP_META_FOOTER ||
        len > RAFTI_SNAP_META_MAX) {
        return 0;
    }
    return len;
}

int rafti_snapmeta_decode(const uint8_t *bytes, size_t len, uint64_t cluster_id,
                          struct rafti_snap *out, const uint8_t **out_crcs)
{
    struct rafti_snap snap;

    if (len < FIXED + RAFTI_SNAP_META_FOOTER ||
        rafti_snapmeta_footer(bytes + len - RAFTI_SNAP_META_FOOTER) != len ||
        get32(bytes + len - 4) != rafti_crc32c(0, bytes, len - 4)) {
        return RAFT_NODE_CORRUPT;
    }
    if (memcmp(bytes, magic, 8) != 0 || get32(bytes + 8) != VERSION ||
        get64(bytes + 16) != cluster_id) {
        return RAFT_NODE_MISMATCH;
    }

    size_t config_len = get32(bytes + 12);
    uint64_t chunks = get64(bytes + 48);
    snap.index = get64(bytes + 24);
    snap.term = get64(bytes + 32);
    snap.image_bytes = get64(bytes + 40);
    snap.meta_bytes = len;
    if (snap.image_bytes > (uint64_t)RAFTI_SNAP_META_MAX / 4 * RAFTI_SNAP_CHUNK ||
        chunks != rafti_snap_chunks(snap.image_bytes) || config_len > RAFT_MAX_CONFIG_BYTES ||
        FIXED + config_len + 4 * chunks + RAFTI_SNAP_META_FOOTER != len ||
        raft_config_decode(bytes + FIXED, config_len, &snap.config) != 0) {
        return RAFT_NODE_CORRUPT;
    }
    *out = snap;
    if (out_crcs != NULL) {
        *out_crcs = bytes + FIXED + config_len;
    }
    return RAFT_NODE_OK;
}
