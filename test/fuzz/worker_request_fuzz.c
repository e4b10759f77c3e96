/* Bytes a worker decodes: bodies of data requests and records of its index. Whatever is accepted
 * must stay within its bounds; a record that is accepted encodes again within its size. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "server_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const uint8_t *data, size_t size)
{
    struct gfsi_owned_target out;

    if (gfsi_target_decode((const char *)data, size, &out) < 0) {
        return;
    }
    if (sizeof(struct gfs_data_target) + strlen(out.path) + strlen(out.version) != size ||
        out.target.path != out.path || out.target.version != out.version) {
        abort();
    }
}

static void check_record(const uint8_t *data, size_t size)
{
    struct gfsi_record record;
    struct gfs_buf again;

    if (size < GFSI_INDEX_KEY_LEN || gfsi_record_decode(data, data + GFSI_INDEX_KEY_LEN,
                                                        size - GFSI_INDEX_KEY_LEN, &record) < 0) {
        return;
    }

    uint32_t *crcs = calloc(record.n_blocks + 1, sizeof(*crcs));

    if (crcs == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < record.n_blocks; i++) {
        crcs[i] = gfsi_record_crc(&record, i);
    }
    gfs_buf_init(&again, size);

    /* A version text with a NUL inside is the one thing that does not come out as it went in. */
    if (gfsi_record_encode(&again, &record, crcs) < 0 || again.len > size - GFSI_INDEX_KEY_LEN) {
        abort();
    }
    gfs_buf_fini(&again);
    free(crcs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] == 'R') {
        check_record(data + 1, size - 1);
    } else {
        check_target(data + 1, size - 1);
    }
    return 0;
}
