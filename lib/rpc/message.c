#include "rpc_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>

/* How many bytes of structures a message of n wire bytes may become: a densely packed message of
 * many small sub-messages reaches about ten times. */
#define BUDGET_FACTOR 16
#define BUDGET_FLOOR  (1u << 20)

static void *budget_alloc(void *data, size_t size)
{
    struct gfsi_budget *budget = data;
    if (size > budget->left) {
        return NULL;
    }
    void *p = malloc(size);
    if (p != NULL) {
        budget->left -= size;
    }
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data;
    free(p);
}

void gfsi_budget_init(struct gfsi_budget *budget, size_t max_message)
{
    *budget = (struct gfsi_budget){
        .allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = budget},
        .left = max_message * BUDGET_FACTOR + BUDGET_FLOOR,
    };
}

grpc_byte_buffer *gfsi_pack(const ProtobufCMessage *message)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(size);
    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));

    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

bool gfsi_bytes_flatten(grpc_byte_buffer *bytes, grpc_slice *out)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
        return false;
    }
    if (reader.buffer_out->data.raw.slice_buffer.count == 1) {
        *out = grpc_slice_ref(reader.buffer_out->data.raw.slice_buffer.slices[0]);
    } else {
        *out = grpc_byte_buffer_reader_readall(&reader);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

ProtobufCMessage *gfsi_unpack(const ProtobufCMessageDescriptor *descriptor, grpc_byte_buffer *bytes,
                              struct gfsi_budget *budget)
{
    grpc_slice slice;
    if (!gfsi_bytes_flatten(bytes, &slice)) {
        return NULL;
    }
    ProtobufCMessage *message = protobuf_c_message_unpack(
        descriptor, &budget->allocator, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    return message;
}

/* The bytes are gRPC's, written by a thread of its own under locks ThreadSanitizer does not see. */
__attribute__((no_sanitize("thread"))) void gfsi_slice_text(grpc_slice slice, char *out,
                                                            size_t size)
{
    const size_t len = GRPC_SLICE_LENGTH(slice) < size - 1 ? GRPC_SLICE_LENGTH(slice) : size - 1;
    const uint8_t *start = GRPC_SLICE_START_PTR(slice);
    for (size_t i = 0; i < len; i++) {
        out[i] = start[i] < 0x20 || start[i] == 0x7f ? '?' : (char)start[i];
    }
    out[len] = '\0';
}

void gfsi_metadata_find(const grpc_metadata_array *array, const char *key, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < array->count; i++) {
        if (grpc_slice_str_cmp(array->metadata[i].key, key) == 0) {
            gfsi_slice_text(array->metadata[i].value, out, size);
            return;
        }
    }
}

int gfsi_code_of_status(int grpc_status, const char *error_name)
{
    if (grpc_status == 0) {
        return 0;
    }
    if (error_name[0] != '\0') {
        for (int code = -1; code >= GFS_ESTALE; code--) {
            if (strcmp(gfs_err_name(code), error_name) == 0 &&
                gfs_err_to_grpc(code) == grpc_status) {
                return code;
            }
        }
    }
    return gfs_err_from_grpc(grpc_status);
}

gpr_timespec gfsi_deadline_to_gpr(int64_t deadline)
{
    if (deadline == GFS_RPC_NO_DEADLINE) {
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    }
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_nanos(deadline - gfs_clock_mono(), GPR_TIMESPAN));
}

int64_t gfsi_deadline_from_gpr(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
        return GFS_RPC_NO_DEADLINE;
    }
    const gpr_timespec left = gpr_time_sub(gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC),
                                           gpr_now(GPR_CLOCK_MONOTONIC));
    if (left.tv_sec > INT64_C(1) << 32) {
        return GFS_RPC_NO_DEADLINE;
    }
    return gfs_clock_mono() + left.tv_sec * GFS_NS_PER_S + left.tv_nsec;
}
