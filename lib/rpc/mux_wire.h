/* Frames of calls that share one stream: what the client asks, what the server answers. Pure.
 *
 *   client: CALL, CANCEL            server: REPLY (the last of a call without MORE), GOAWAY
 *
 * Every frame begins with 8 bytes, integers little endian:
 *   kind u8, a u8, b u8, c u8, id u32
 *   CALL    a: length of the path; then timeout u64 (ns, 0: none), path, request
 *   CANCEL  nothing more
 *   REPLY   a: gRPC status, b: flags, c: trailers; then each trailer (key length u8, value length
 *           u16, key, value), then the response, or the text of a status that is not OK
 *   GOAWAY  nothing more: calls that follow are refused, those under way are answered
 */
#ifndef GFSI_RPC_MUX_WIRE_H
#define GFSI_RPC_MUX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/rpc/rpc.h>

#define GFSI_MUX_PATH "/goosefs.v1.Calls/Multiplex"

/* A gRPC message with frames, and what one frame carries at most: longer requests are made as plain
 * unary calls, longer responses come in several frames. */
#define GFSI_MUX_MESSAGE_MAX (128u << 10)
#define GFSI_MUX_BODY_MAX    (64u << 10)

#define GFSI_MUX_HEADER      8
#define GFSI_MUX_CALL_HEADER 16
#define GFSI_MUX_MORE        1u /* flag of a REPLY: the response goes on in the next frame */

/* The ones the wrapper itself adds, and the handler's. */
#define GFSI_MUX_TRAILERS_MAX (GFS_RPC_TRAILERS_MAX + 1)
#define GFSI_MUX_KEY_MAX      31

/* The most a frame has besides its body. */
#define GFSI_MUX_HEAD_MAX                                                                          \
    (GFSI_MUX_CALL_HEADER + GFSI_MUX_TRAILERS_MAX * (3 + GFSI_MUX_KEY_MAX + GFS_RPC_TRAILER_MAX))

enum gfsi_mux_kind {
    GFSI_MUX_CALL = 1,
    GFSI_MUX_CANCEL = 2,
    GFSI_MUX_REPLY = 3,
    GFSI_MUX_GOAWAY = 4,
};

struct gfsi_mux_trailer {
    const char *key, *value; /* not terminated */
    size_t key_len, value_len;
};

struct gfsi_mux_frame {
    enum gfsi_mux_kind kind;
    uint32_t id;
    uint64_t timeout_ns; /* CALL */
    const char *path;    /* CALL; not terminated */
    size_t path_len;     /* 1 to GFS_RPC_METHOD_MAX - 1 */
    uint8_t status;      /* REPLY */
    uint8_t flags;       /* REPLY */
    uint8_t n_trailers;  /* REPLY */
    struct gfsi_mux_trailer trailers[GFSI_MUX_TRAILERS_MAX];
    const uint8_t *body;
    size_t body_len;
};

/* Bytes of the frame without its body. */
size_t gfsi_mux_head_size(const struct gfsi_mux_frame *frame);

/* Writes them; the body follows at out + gfsi_mux_head_size(). */
void gfsi_mux_head_put(const struct gfsi_mux_frame *frame, uint8_t *out);

/* The frame in [p, p + len): pointers are borrowed. false when it is none. */
bool gfsi_mux_decode(const uint8_t *p, size_t len, struct gfsi_mux_frame *out);

/* Value of a REPLY's trailer, "" when absent; control bytes become '?'. */
void gfsi_mux_trailer_find(const struct gfsi_mux_frame *frame, const char *key, char *out,
                           size_t size);

/* @len bytes as text: cut to size - 1, terminated, control bytes become '?'. */
void gfsi_mux_text(const void *bytes, size_t len, char *out, size_t size);

#endif
