#include "mux_wire.h"

#include <string.h>

static void put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    return value;
}

size_t gfsi_mux_head_size(const struct gfsi_mux_frame *frame)
{
    switch (frame->kind) {
    case GFSI_MUX_CALL: return GFSI_MUX_CALL_HEADER + frame->path_len;
    case GFSI_MUX_REPLY: {
        size_t size = GFSI_MUX_HEADER;
        for (unsigned i = 0; i < frame->n_trailers; i++) {
            size += 3 + frame->trailers[i].key_len + frame->trailers[i].value_len;
        }
        return size;
    }
    case GFSI_MUX_CANCEL:
    case GFSI_MUX_GOAWAY: break;
    }
    return GFSI_MUX_HEADER;
}

void gfsi_mux_head_put(const struct gfsi_mux_frame *frame, uint8_t *out)
{
    memset(out, 0, GFSI_MUX_HEADER);
    out[0] = (uint8_t)frame->kind;
    put(out + 4, frame->id, 4);
    if (frame->kind == GFSI_MUX_CALL) {
        out[1] = (uint8_t)frame->path_len;
        put(out + GFSI_MUX_HEADER, frame->timeout_ns, 8);
        memcpy(out + GFSI_MUX_CALL_HEADER, frame->path, frame->path_len);
    } else if (frame->kind == GFSI_MUX_REPLY) {
        out[1] = frame->status;
        out[2] = frame->flags;
        out[3] = frame->n_trailers;
        uint8_t *at = out + GFSI_MUX_HEADER;
        for (unsigned i = 0; i < frame->n_trailers; i++) {
            const struct gfsi_mux_trailer *t = &frame->trailers[i];
            at[0] = (uint8_t)t->key_len;
            put(at + 1, t->value_len, 2);
            memcpy(at + 3, t->key, t->key_len);
            memcpy(at + 3 + t->key_len, t->value, t->value_len);
            at += 3 + t->key_len + t->value_len;
        }
    }
}

static bool decode_call(const uint8_t *p, size_t len, struct gfsi_mux_frame *out)
{
    const size_t path_len = p[1];
    if (path_len == 0 || len < GFSI_MUX_CALL_HEADER + path_len) {
        return false;
    }
    out->timeout_ns = get(p + GFSI_MUX_HEADER, 8);
    out->path = (const char *)p + GFSI_MUX_CALL_HEADER;
    out->path_len = path_len;
    out->body = p + GFSI_MUX_CALL_HEADER + path_len;
    out->body_len = len - GFSI_MUX_CALL_HEADER - path_len;
    return true;
}

static bool decode_reply(const uint8_t *p, size_t len, struct gfsi_mux_frame *out)
{
    if (p[3] > GFSI_MUX_TRAILERS_MAX || p[2] > GFSI_MUX_MORE) {
        return false;
    }
    out->status = p[1];
    out->flags = p[2];
    out->n_trailers = p[3];
    const uint8_t *at = p + GFSI_MUX_HEADER;
    size_t left = len - GFSI_MUX_HEADER;
    for (unsigned i = 0; i < out->n_trailers; i++) {
        if (left < 3) {
            return false;
        }
        struct gfsi_mux_trailer *t = &out->trailers[i];
        t->key_len = at[0];
        t->value_len = (size_t)get(at + 1, 2);
        if (t->key_len > GFSI_MUX_KEY_MAX || t->value_len >= GFS_RPC_TRAILER_MAX ||
            left - 3 < t->key_len + t->value_len) {
            return false;
        }
        t->key = (const char *)at + 3;
        t->value = t->key + t->key_len;
        at += 3 + t->key_len + t->value_len;
        left -= 3 + t->key_len + t->value_len;
    }
    out->body = at;
    out->body_len = left;
    return true;
}

bool gfsi_mux_decode(const uint8_t *p, size_t len, struct gfsi_mux_frame *out)
{
    if (len < GFSI_MUX_HEADER) {
        return false;
    }
    out->kind = (enum gfsi_mux_kind)p[0];
    out->id = (uint32_t)get(p + 4, 4);
    out->n_trailers = 0;
    out->body = NULL;
    out->body_len = 0;
    switch (p[0]) {
    case GFSI_MUX_CALL: return decode_call(p, len, out);
    case GFSI_MUX_REPLY: return decode_reply(p, len, out);
    case GFSI_MUX_CANCEL:
    case GFSI_MUX_GOAWAY: return len == GFSI_MUX_HEADER;
    default: return false;
    }
}

void gfsi_mux_text(const void *bytes, size_t len, char *out, size_t size)
{
    const uint8_t *p = bytes;
    if (len > size - 1) {
        len = size - 1;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = p[i] < 0x20 || p[i] == 0x7f ? '?' : (char)p[i];
    }
    out[len] = '\0';
}

void gfsi_mux_trailer_find(const struct gfsi_mux_frame *frame, const char *key, char *out,
                           size_t size)
{
    out[0] = '\0';
    for (unsigned i = 0; i < frame->n_trailers; i++) {
        const struct gfsi_mux_trailer *t = &frame->trailers[i];
        if (strlen(key) == t->key_len && memcmp(key, t->key, t->key_len) == 0) {
            gfsi_mux_text(t->value, t->value_len, out, size);
            return;
        }
    }
}
