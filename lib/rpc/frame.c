#include "frame.h"

void gfsi_frame_put_header(uint8_t out[GFSI_FRAME_HEADER], uint32_t len)
{
    for (int i = 0; i < GFSI_FRAME_HEADER; i++) {
        out[i] = (uint8_t)(len >> (8 * i));
    }
}

size_t gfsi_frame_next(const uint8_t *p, size_t len, const uint8_t **out_message, size_t *out_len)
{
    if (len < GFSI_FRAME_HEADER) {
        return 0;
    }
    uint32_t n = 0;
    for (int i = 0; i < GFSI_FRAME_HEADER; i++) {
        n |= (uint32_t)p[i] << (8 * i);
    }
    if (n > len - GFSI_FRAME_HEADER) {
        return 0;
    }
    *out_message = p + GFSI_FRAME_HEADER;
    *out_len = n;
    return GFSI_FRAME_HEADER + (size_t)n;
}
