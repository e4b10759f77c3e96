#include <string.h>

#include <gfs/base/str.h>

#include "csictl_priv.h"

static json_t *from_value(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: return json_integer((json_int_t) * (const uint64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT: return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE: return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL: return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM: {
        int number = *(const int *)at;
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value(field->descriptor, number);

        return value != NULL ? json_string(value->name) : json_integer(number);
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)at;
        json_t *json = json_string(text != NULL ? text : "");

        return json != NULL ? json : json_string("(not UTF-8)");
    }
    case PROTOBUF_C_TYPE_MESSAGE: return ctl_json(*(const ProtobufCMessage *const *)at);
    case PROTOBUF_C_TYPE_BYTES: break; /* CSI has none */
    }
    return json_null();
}

static size_t element_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return 8;
    default: return 4;
    }
}

static bool is_map(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE &&
           gfs_str_has_suffix(((const ProtobufCMessageDescriptor *)field->descriptor)->short_name,
                              "Entry");
}

static json_t *from_repeated(const ProtobufCFieldDescriptor *field, const char *base)
{
    size_t n = *(const size_t *)(base + field->quantifier_offset);
    const char *at = *(const char *const *)(base + field->offset);
    json_t *out = is_map(field) ? json_object() : json_array();

    for (size_t i = 0; i < n && out != NULL; i++, at += element_size(field)) {
        const struct ctl_entry *entry = *(const struct ctl_entry *const *)at;
        int rc = is_map(field) ? json_object_set_new(out, entry->key, json_string(entry->value))
                               : json_array_append_new(out, from_value(field, at));

        if (rc < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* Fields of a oneof carry the number of the one that is set; messages and texts are set when not
 * NULL; other fields of proto3 always are. */
static bool is_set(const ProtobufCFieldDescriptor *field, const char *base)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    }
    return field->type != PROTOBUF_C_TYPE_MESSAGE ||
           *(const void *const *)(base + field->offset) != NULL;
}

json_t *ctl_json(const ProtobufCMessage *message)
{
    const char *base = (const char *)message;
    json_t *out = json_object();

    for (unsigned i = 0; i < message->descriptor->n_fields && out != NULL; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        json_t *value;

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            value = from_repeated(field, base);
        } else if (is_set(field, base)) {
            value = from_value(field, base + field->offset);
        } else {
            continue;
        }
        if (json_object_set_new(out, field->name, value) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}
