/* A gRPC client: one channel per server address, unary calls by protobuf-c descriptor, retry
 * helper.
 *
 * Threads. Any thread may call on a channel at the same time. A synchronous call uses the calling
 * thread. A channel starts one thread of its own at its first asynchronous call or stream, or when
 * the server cannot be reached. Callbacks run there: they must not block, nor make synchronous
 * calls on the same channel.
 *
 * Sharing a stream. A gRPC call of its own costs each side more than most calls' work. On a channel
 * with `multiplex` calls travel as frames of one bidirectional stream, those that wait for a write
 * together in one message; so do their answers. To callers nothing changes: errors, deadlines,
 * cancellation and limits are those of unary calls, and when the stream breaks, every call in
 * flight ends as a unary one whose connection broke. The stream is opened after a few calls; before
 * that, while it is away, for requests over 64 KiB, beyond 1024 calls in flight, and with a server
 * that does not know it (struct gfs_rpc_server_opts), calls are unary ones. It starts the channel's
 * thread.
 *
 * A channel connects at its first call and reconnects by itself (first after 20 ms, at most every
 * 500 ms). While there is no connection a call fails at once with GFS_EUNAVAIL, unless
 * wait_for_ready. */
#ifndef GFS_RPC_CLIENT_H
#define GFS_RPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include <gfs/base/clock.h>
#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/rpc/rpc.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_rpc_channel;

struct gfs_rpc_channel_opts {
    const struct gfs_hosts
        *hosts;            /* names asked here before the resolver; NULL; used in new only */
    size_t max_message;    /* bytes received; 0: GFS_RPC_MAX_MESSAGE */
    const char *authority; /* sent as ":authority"; NULL: from the target */
    bool wait_for_ready;   /* calls wait for a connection until their deadline */
    unsigned max_async;    /* asynchronous calls in flight, beyond: GFS_EBUSY; 0: 1024 */
    bool multiplex;        /* calls share one stream, see below */
};

/* "host:port", "[v6]:port" or "unix:///path". `opts` may be NULL. Does not connect. GFS_EINVAL when
 * the target does not parse. *out is freed with gfs_rpc_channel_free. */
int gfs_rpc_channel_new(const char *target, const struct gfs_rpc_channel_opts *opts,
                        struct gfs_rpc_channel **out, struct gfs_err *err);

/* All calls and streams in flight end with GFS_ECANCELLED, and so do later ones. Thread: any. */
void gfs_rpc_channel_close(struct gfs_rpc_channel *channel);

/* Closes, waits until every callback has run, frees. No synchronous call may be running: close
 * first and let its thread come back. Not from a callback of this channel. Accepts NULL, returns
 * NULL. */
struct gfs_rpc_channel *gfs_rpc_channel_free(struct gfs_rpc_channel *channel);

/* The target as given to new. */
const char *gfs_rpc_channel_target(const struct gfs_rpc_channel *channel);

/* What a finished call says beyond its error code. */
struct gfs_rpc_result {
    int code;        /* 0 or negative gfs error */
    int grpc_status; /* as received; 0: OK */
    char text[GFS_ERR_TEXT_MAX];
    char leader[GFS_HOST_NAME_MAX + 8]; /* GFS_RPC_KEY_LEADER from the server, "" when absent */
};

/* Calls `method` of `service` and waits. On success 0 and *out_response, to be freed with
 * protobuf_c_message_free_unpacked(resp, NULL). On failure a negative gfs error: what the server
 * passed to gfs_rpc_fail; GFS_EUNAVAIL when it cannot be reached or the connection broke (the call
 * may or may not have run); GFS_ETIMEOUT; GFS_EPROTO when the answer does not parse. `deadline`:
 * absolute monotonic ns. `result` may be NULL; it is filled in both cases. */
int gfs_rpc_call_sync_result(struct gfs_rpc_channel *channel,
                             const ProtobufCServiceDescriptor *service, const char *method,
                             const ProtobufCMessage *request, ProtobufCMessage **out_response,
                             int64_t deadline, struct gfs_rpc_result *result, struct gfs_err *err);

static inline int gfs_rpc_call_sync(struct gfs_rpc_channel *channel,
                                    const ProtobufCServiceDescriptor *service, const char *method,
                                    const ProtobufCMessage *request,
                                    ProtobufCMessage **out_response, int64_t deadline,
                                    struct gfs_err *err)
{
    return gfs_rpc_call_sync_result(channel, service, method, request, out_response, deadline, NULL,
                                    err);
}

/* Runs once on the channel's thread. `response` is NULL unless result->code is 0; the callee owns
 * it and frees it with protobuf_c_message_free_unpacked(response, NULL). */
typedef void (*gfs_rpc_done)(void *arg, const struct gfs_rpc_result *result,
                             ProtobufCMessage *response);

/* The same without waiting; `request` is copied out before this returns. 0: `done` will run.
 * Negative: it will not (GFS_EINVAL, GFS_EBUSY when max_async are in flight, GFS_ECANCELLED after
 * close, GFS_ETIMEOUT when the deadline is in the past). */
int gfs_rpc_call_async(struct gfs_rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                       const char *method, const ProtobufCMessage *request, int64_t deadline,
                       gfs_rpc_done done, void *arg, struct gfs_err *err);

/* ---- retries ----
 *
 * struct gfs_rpc_retry r;
 * gfs_rpc_retry_init(&r, deadline, &budget);
 * do { rc = call(...); } while (gfs_rpc_retry_again(&r, rc));
 */

/* Shared by the calls of one client, so that a thousand of them do not hammer a server that comes
 * back: a failure costs ten tokens, a success earns one, and below half retries are paced at the
 * longest step of the back-off. They are never given up before the deadline. The bucket lets 500
 * failures pass: a hundred calls that fail together because their server died find the next one at
 * their own pace. Thread: any. */
struct gfs_rpc_retry_budget {
    int32_t tokens; /* private */
};
#define GFS_RPC_RETRY_TOKENS 10000
#define GFS_RPC_RETRY_BUDGET_INIT                                                                  \
    {                                                                                              \
        GFS_RPC_RETRY_TOKENS                                                                       \
    }

struct gfs_rpc_retry {
    int64_t deadline;
    struct gfs_backoff backoff;
    struct gfs_rpc_retry_budget *budget;
    unsigned tries;
};

/* `deadline` absolute monotonic ns; back-off 20 ms to 1 s; `budget` may be NULL. */
void gfs_rpc_retry_init(struct gfs_rpc_retry *retry, int64_t deadline,
                        struct gfs_rpc_retry_budget *budget);

/* Whether to try again after `code`, and in how many ns. false when it is success, not retryable
 * (gfs_err_retryable), or the deadline leaves no room. Does not sleep. */
bool gfs_rpc_retry_delay(struct gfs_rpc_retry *retry, int code, int64_t *out_delay);

/* The same, and sleeps the delay. Never on an event loop. */
bool gfs_rpc_retry_again(struct gfs_rpc_retry *retry, int code);

#ifdef __cplusplus
}
#endif
#endif
