/* Bounded little-endian reading and writing. An error sticks: check `failed` once at the end. */
#ifndef RAFT_WIRE_PRIV_H
#define RAFT_WIRE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool failed;
};

struct wire_reader {
    const uint8_t *buf;
    size_t len;
    size_t at;
    bool failed;
};

static inline struct wire_writer wire_writer_init(void *buf, size_t cap)
{
    return (struct wire_writer){.buf = buf, .cap = cap};
}

static inline struct wire_reader wire_reader_init(const void *buf, size_t len)
{
    return (struct wire_reader){.buf = buf, .len = len};
}

static inline void wire_put_bytes(struct wire_writer *w, const void *p, size_t n)
{
    if (w->failed || n > w->cap - w->len) {
        w->failed = true;
        return;
    }

    if (n > 0) {
        memcpy(w->buf + w->len, p, n);
    }
    w->len += n;
}

static inline void wire_put_uint(struct wire_writer *w, uint64_t v, size_t n)
{
    uint8_t b[8];

    for (size_t i = 0; i < n; i++) {
        b[i] = (uint8_t)(v >> (8 * i));
    }
    wire_put_bytes(w, b, n);
}

static inline void wire_put_u8(struct wire_writer *w, uint8_t v)
{
    wire_put_uint(w, v, 1);
}

static inline void wire_put_u16(struct wire_writer *w, uint16_t v)
{
    wire_put_uint(w, v, 2);
}

static inline void wire_put_u32(struct wire_writer *w, uint32_t v)
{
    wire_put_uint(w, v, 4);
}

static inline void wire_put_u64(struct wire_writer *w, uint64_t v)
{
    wire_put_uint(w, v, 8);
}

/* Bytes left; 0 after an error. */
static inline size_t wire_left(const struct wire_reader *r)
{
    return r->failed ? 0 : r->len - r->at;
}

/* `n` bytes in place, or NULL. */
static inline const uint8_t *wire_get_span(struct wire_reader *r, size_t n)
{
    const uint8_t *p;

    if (r->failed || n > r->len - r->at) {
        r->failed = true;
        return NULL;
    }

    p = r->buf + r->at;
    r->at += n;
    return p;
}

static inline void wire_get_bytes(struct wire_reader *r, void *out, size_t n)
{
    const uint8_t *p = wire_get_span(r, n);

    if (p && n > 0) {
        memcpy(out, p, n);
    }
}

static inline uint64_t wire_get_uint(struct wire_reader *r, size_t n)
{
    const uint8_t *p = wire_get_span(r, n);
    uint64_t v = 0;

    for (size_t i = 0; p && i < n; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }

    return v;
}

static inline uint8_t wire_get_u8(struct wire_reader *r)
{
    return (uint8_t)wire_get_uint(r, 1);
}

static inline uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)wire_get_uint(r, 2);
}

static inline uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)wire_get_uint(r, 4);
}

static inline uint64_t wire_get_u64(struct wire_reader *r)
{
    return wire_get_uint(r, 8);
}

#endif
