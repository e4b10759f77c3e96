/* Frames of calls that share a stream, from anybody who reaches a port. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mux_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool what)
{
    if (!what) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gfsi_mux_frame frame, again;
    if (!gfsi_mux_decode(data, size, &frame)) {
        return 0;
    }

    /* Inside what was given, nothing left out, and said again the same. */
    const size_t head = gfsi_mux_head_size(&frame);
    expect(head <= GFSI_MUX_HEAD_MAX && head + frame.body_len == size);
    expect(frame.body_len == 0 || frame.body == data + head);
    uint8_t bytes[GFSI_MUX_HEAD_MAX];
    gfsi_mux_head_put(&frame, bytes);
    expect(gfsi_mux_decode(bytes, head, &again));
    expect(again.kind == frame.kind && again.id == frame.id && again.body_len == 0);
    if (frame.kind == GFSI_MUX_CALL) {
        expect(again.timeout_ns == frame.timeout_ns && again.path_len == frame.path_len &&
               memcmp(again.path, frame.path, frame.path_len) == 0);
    }
    if (frame.kind == GFSI_MUX_REPLY) {
        expect(again.status == frame.status && again.flags == frame.flags &&
               again.n_trailers == frame.n_trailers && memcmp(bytes, data, head) == 0);
        char text[64];
        gfsi_mux_trailer_find(&frame, GFS_RPC_KEY_ERROR, text, sizeof(text));
        expect(strlen(text) < sizeof(text));
    }
    return 0;
}
