/* Text fields of a request as they were on the wire. The specification of proto3 wants UTF-8 in
 * them; protobuf-c does not look, and hands out C strings, of which only the part before a NUL can
 * be seen. */
#include "rpc_priv.h"

#include <string.h>

#include <gfs/base/str.h>

#define DEPTH_MAX 32 /* messages in messages; no message of ours comes near */

struct reader {
    const uint8_t *at, *end;
};

static bool read_varint(struct reader *r, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        const uint8_t byte = *r->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct reader *r, uint64_t len)
{
    if (len > (uint64_t)(r->end - r->at)) {
        return false;
    }
    r->at += len;
    return true;
}

/* Control bytes are text (a secret may hold lines), NUL is not. */
static bool is_text(const uint8_t *bytes, size_t len)
{
    size_t start = 0;

    for (size_t i = 0; i <= len; i++) {
        const bool control = i < len && (bytes[i] < 0x20 || bytes[i] == 0x7f);

        if (i < len && bytes[i] == 0) {
            return false;
        }
        if (i == len || control) {
            if (!gfs_utf8_valid((const char *)bytes + start, i - start)) {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

static bool check(const ProtobufCMessageDescriptor *descriptor, struct reader r, unsigned depth,
                  const char **out_field)
{
    while (r.at < r.end) {
        const ProtobufCFieldDescriptor *field;
        const uint8_t *start;
        uint64_t tag, len = 0;

        if (!read_varint(&r, &tag)) {
            return false;
        }
        switch (tag & 7) {
        case 0:
            if (!read_varint(&r, &len)) {
                return false;
            }
            continue;
        case 1: len = 8; break;
        case 5: len = 4; break;
        case 2:
            if (!read_varint(&r, &len)) {
                return false;
            }
            break;
        default: return false; /* groups are no part of proto3 */
        }
        start = r.at;
        if (!skip(&r, len)) {
            return false;
        }

        field = protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
        if ((tag & 7) != 2 || field == NULL) {
            continue;
        }
        if (field->type == PROTOBUF_C_TYPE_STRING && !is_text(start, (size_t)len)) {
            *out_field = field->name;
            return false;
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == DEPTH_MAX || !check(field->descriptor, (struct reader){start, start + len},
                                          depth + 1, out_field))) {
            return false;
        }
    }
    return true;
}

bool gfsi_text_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                     const char **out_field)
{
    *out_field = NULL;
    return check(descriptor, (struct reader){bytes, bytes + len}, 0, out_field);
}
