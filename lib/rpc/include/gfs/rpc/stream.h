/* Long-lived bidirectional streams of byte messages: one per raft peer.
 *
 * Each side sends messages of any bytes, in order, without blocking. What waits while one write is
 * on its way goes out together as the next (a gRPC message holds one or more frames: length as 4
 * bytes little endian, bytes), so a burst costs one system call, not one per message.
 *
 * Callbacks of one stream never run at the same time: on_open, on_message..., on_close, the last
 * exactly once. They run on the channel's thread (client) or a server thread, and must not block:
 * the next message is read when on_message returns. on_close comes as soon as the kernel reports
 * the connection gone, within a round trip of the peer's death on the same network. */
#ifndef GFS_RPC_STREAM_H
#define GFS_RPC_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/rpc/client.h>
#include <gfs/rpc/server.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_rpc_stream;

#define GFS_RPC_STREAM_QUEUE_BYTES    (8u << 20) /* default bound of what waits to be sent */
#define GFS_RPC_STREAM_QUEUE_MESSAGES 4096u

struct gfs_rpc_stream_opts {
    size_t queue_bytes;      /* 0: the default above */
    unsigned queue_messages; /* 0: the default above */
};

/* ---- both sides; thread: any ---- */

/* Copies and queues. GFS_EBUSY when the queue is full, GFS_EUNAVAIL when the stream is closed,
 * GFS_ERANGE when the message exceeds the message limit of server or channel less 4 bytes. */
int gfs_rpc_stream_send(struct gfs_rpc_stream *stream, const void *data, size_t len);

/* The same from two pieces, without joining them first. */
int gfs_rpc_stream_send2(struct gfs_rpc_stream *stream, const void *head, size_t head_len,
                         const void *data, size_t len);

/* Ends the stream at once; what is queued is dropped. on_close follows with GFS_ECANCELLED. */
void gfs_rpc_stream_close(struct gfs_rpc_stream *stream);

struct gfs_rpc_stream *gfs_rpc_stream_ref(struct gfs_rpc_stream *stream);
void gfs_rpc_stream_unref(struct gfs_rpc_stream *stream); /* accepts NULL */

/* The user pointer: given to open (client) or set by on_open (server). */
void *gfs_rpc_stream_user(const struct gfs_rpc_stream *stream);
const char *gfs_rpc_stream_peer(const struct gfs_rpc_stream *stream); /* client: the target */

/* ---- client ---- */

struct gfs_rpc_stream_client {
    void (*on_open)(struct gfs_rpc_stream *stream,
                    void *user); /* the server accepted; may be NULL */
    void (*on_message)(struct gfs_rpc_stream *stream, void *user, const void *data, size_t len);
    /* code: GFS_EUNAVAIL (not reachable, connection lost), GFS_ECANCELLED (closed here), or what
     * the server's on_open refused with. `text` for people. The stream is dead; reopen with a
     * back-off. */
    void (*on_close)(struct gfs_rpc_stream *stream, void *user, int code, const char *text);
};

/* Opens "/package.Service/Method" on the channel. *out is a reference for the caller to unref;
 * callbacks may run before this returns. Messages may be sent at once: they wait for the
 * connection. With a channel that is not wait_for_ready an unreachable server closes the stream at
 * once. */
int gfs_rpc_stream_open(struct gfs_rpc_channel *channel, const char *method,
                        const struct gfs_rpc_stream_opts *opts,
                        const struct gfs_rpc_stream_client *callbacks, void *user,
                        struct gfs_rpc_stream **out, struct gfs_err *err);

/* ---- server ---- */

struct gfs_rpc_stream_server {
    /* A client opened a stream. 0 accepts, with *out_stream_user for the later callbacks; a
     * negative error refuses (no on_close then). `stream` is borrowed: ref it to keep it beyond
     * on_close. */
    int (*on_open)(struct gfs_rpc_stream *stream, void *user, void **out_stream_user);
    void (*on_message)(struct gfs_rpc_stream *stream, void *stream_user, const void *data,
                       size_t len);
    void (*on_close)(struct gfs_rpc_stream *stream, void *stream_user, int code, const char *text);
};

/* Before start. `callbacks` is copied, `user` borrowed until stop has returned. At most
 * `max_streams` (0: 64) at a time, more are refused with RESOURCE_EXHAUSTED. */
int gfs_rpc_server_add_stream(struct gfs_rpc_server *server, const char *path,
                              const struct gfs_rpc_stream_opts *opts,
                              const struct gfs_rpc_stream_server *callbacks, unsigned max_streams,
                              void *user, struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
