/* Bytes from anybody who reaches a port with streams. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size > 0) {
        const uint8_t *message = NULL;
        size_t n = 0;
        const size_t used = gfsi_frame_next(data, size, &message, &n);
        if (used == 0) {
            break;
        }

        /* Inside what was given, and said again the same. */
        uint8_t header[GFSI_FRAME_HEADER];
        gfsi_frame_put_header(header, (uint32_t)n);
        if (used > size || message != data + GFSI_FRAME_HEADER || n + GFSI_FRAME_HEADER != used ||
            header[0] != data[0] || header[3] != data[3]) {
            abort();
        }
        data += used;
        size -= used;
    }
    return 0;
}
