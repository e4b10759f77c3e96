/* Framing of stream messages inside one gRPC message: length as 4 bytes little endian, then the
 * bytes. Pure. */
#ifndef GFSI_RPC_FRAME_H
#define GFSI_RPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define GFSI_FRAME_HEADER 4

void gfsi_frame_put_header(uint8_t out[GFSI_FRAME_HEADER], uint32_t len);

/* The first frame of [p, p + len): its message, borrowed, and how many bytes it takes with its
 * header; 0 when it is not whole. */
size_t gfsi_frame_next(const uint8_t *p, size_t len, const uint8_t **out_message, size_t *out_len);

#endif
