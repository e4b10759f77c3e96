/* The trailer of a snapshot that a peer sent, as it is and with its checksum set right. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <raft/node.h>

#include "node/snapmeta_priv.h"
#include "wal/crc32c.h"

#define CLUSTER 0x77u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *bytes, size_t len)
{
    struct rafti_snap snap;
    const uint8_t *crcs = NULL;

    if (rafti_snapmeta_decode(bytes, len, CLUSTER, &snap, &crcs) != RAFT_NODE_OK) {
        return;
    }
    uint64_t n = rafti_snap_chunks(snap.image_bytes);
    uint32_t *copy = malloc((n + 1) * sizeof *copy);
    for (uint64_t i = 0; copy != NULL && i < n; i++) {
        copy[i] = rafti_snapmeta_crc_at(crcs, i);
    }
    /* What was understood can be said again. */
    size_t again_len = 0;
    uint8_t *again =
        copy == NULL ? NULL : rafti_snapmeta_encode(&snap, CLUSTER, copy, n, &again_len);
    if (again != NULL && again_len != len) {
        abort();
    }
    free(again);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    if (size < RAFTI_SNAP_META_FOOTER) {
        return 0;
    }
    (void)rafti_snapmeta_footer(data + size - RAFTI_SNAP_META_FOOTER);

    uint8_t *fixed = malloc(size);
    if (fixed != NULL) {
        memcpy(fixed, data, size);
        uint32_t crc = rafti_crc32c(0, fixed, size - 4);
        for (int i = 0; i < 4; i++) {
            fixed[size - 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
        }
        decode(fixed, size);
        free(fixed);
    }
    return 0;
}
