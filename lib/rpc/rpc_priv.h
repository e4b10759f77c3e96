/* Inside lib/rpc: the completion loop, messages, addresses. The only files of the project that see
 * gRPC headers include this one. */
#ifndef GFSI_RPC_PRIV_H
#define GFSI_RPC_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include <gfs/base/hosts.h>
#include <gfs/rpc/rpc.h>

#define gfsi_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- loop.c: a completion queue and the threads that drain it ---- */

/* What a batch or request is started with: the loop calls fn(tag, ok) when it is complete. */
struct gfsi_tag {
    void (*fn)(struct gfsi_tag *tag, bool ok);
};

/* gRPC orders what was written before a start ahead of its completion, by locks that
 * ThreadSanitizer does not see: it is told here. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define gfsi_tsan_acquire(address) __tsan_acquire(address)
#define gfsi_tsan_release(address) __tsan_release(address)
#else
#define gfsi_tsan_acquire(address) ((void)(address))
#define gfsi_tsan_release(address) ((void)(address))
#endif

static inline void *gfsi_tag_arm(struct gfsi_tag *tag)
{
    gfsi_tsan_release(tag);
    return tag;
}

struct gfsi_loop {
    grpc_completion_queue *cq;
    pthread_t *threads;
    unsigned n_threads;
    /* Called by a thread before it waits; when to come again at the latest, monotonic ns. NULL:
     * none. Set before start. */
    int64_t (*tick)(void *arg);
    void *tick_arg;
};

/* Creates the queue; threads come with start. */
int gfsi_loop_init(struct gfsi_loop *loop, struct gfs_err *err);
int gfsi_loop_start(struct gfsi_loop *loop, unsigned n_threads, const char *name,
                    struct gfs_err *err);
/* Runs out what is queued, joins. Nothing may be started on the queue any more. */
void gfsi_loop_fini(struct gfsi_loop *loop);
bool gfsi_loop_is_current(
    const struct gfsi_loop *loop); /* whether called from one of its threads */

/* ---- message.c: bytes and protobuf-c ---- */

/* Bounds what one received message may allocate: a few bytes on the wire can stand for a large
 * structure (repeated empty sub-messages). Must outlive the message. */
struct gfsi_budget {
    ProtobufCAllocator allocator;
    size_t left;
};

void gfsi_budget_init(struct gfsi_budget *budget, size_t max_message);

/* NULL when out of memory. Destroy with grpc_byte_buffer_destroy. */
grpc_byte_buffer *gfsi_pack(const ProtobufCMessage *message);

/* NULL when the bytes are not such a message, or one beyond the budget. */
ProtobufCMessage *gfsi_unpack(const ProtobufCMessageDescriptor *descriptor, grpc_byte_buffer *bytes,
                              struct gfsi_budget *budget);

/* Whether all text fields of a message on the wire are UTF-8 without NUL, and the rest is in order.
 * *out_field: the first that is not (its name lives as long as the descriptor), NULL when the bytes
 * are no message at all. Pure. */
bool gfsi_text_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                     const char **out_field);

/* The bytes as one slice (no copy when they already are); unref it. */
bool gfsi_bytes_flatten(grpc_byte_buffer *bytes, grpc_slice *out);

/* Text of a slice, cut to size - 1 and NUL-terminated; control bytes become '?'. */
void gfsi_slice_text(grpc_slice slice, char *out, size_t size);

/* Value of `key`, "" when absent. */
void gfsi_metadata_find(const grpc_metadata_array *array, const char *key, char *out, size_t size);

/* gfs error of a finished call: the exact one named by the server if it agrees with the status. */
int gfsi_code_of_status(int grpc_status, const char *error_name);

/* gRPC <-> monotonic ns. */
gpr_timespec gfsi_deadline_to_gpr(int64_t deadline);
int64_t gfsi_deadline_from_gpr(gpr_timespec deadline);

/* ---- args.c ---- */

#define GFSI_ARGS_MAX 24
struct gfsi_args {
    grpc_arg args[GFSI_ARGS_MAX];
    grpc_channel_args list;
};
void gfsi_args_init(struct gfsi_args *args, size_t max_message);
void gfsi_args_int(struct gfsi_args *args, const char *key, int value);
void gfsi_args_str(struct gfsi_args *args, const char *key, const char *value); /* borrowed */

/* ---- address.c ---- */

#define GFSI_TARGET_MAX 320

/* What gRPC should connect to for a user's target, and the ":authority" that goes with it. */
int gfsi_target_resolve(const char *target, const struct gfs_hosts *hosts, char *out, size_t size,
                        char *authority, size_t authority_size, struct gfs_err *err);

/* What gRPC should listen on. Checks that it can (port free, socket file stale or absent, which is
 * then removed). *out_unix_path is "" for TCP. */
int gfsi_listen_resolve(const char *address, const struct gfs_hosts *hosts, char *out, size_t size,
                        char *unix_path, size_t unix_size, struct gfs_err *err);

#endif
