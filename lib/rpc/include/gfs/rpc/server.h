/* A gRPC server: protobuf-c services with a table of handlers, byte streams (stream.h), unix and
 * TCP listeners, graceful drain.
 *
 *   new -> listen, add_service, add_stream -> start -> stop -> free
 *
 * Threads. The server owns opts.n_threads threads; handlers, cancel callbacks and stream callbacks
 * run on them. A handler that blocks holds one of them: a server whose handlers block (CSI) sets
 * n_threads to the number of calls it wants to run at the same time; one whose handlers must stay
 * quick replies later, from any thread. Raft and clients belong on different servers, so that
 * neither waits for the other.
 *
 * Limits, each answered with RESOURCE_EXHAUSTED: size of a message, number of calls running. A
 * request that does not parse gets INVALID_ARGUMENT, an unknown method UNIMPLEMENTED. Any
 * `:authority` is accepted. */
#ifndef GFS_RPC_SERVER_H
#define GFS_RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <protobuf-c/protobuf-c.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/base/metrics.h>
#include <gfs/rpc/rpc.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_rpc_server;
struct gfs_rpc_call;

struct gfs_rpc_server_opts {
    const char *name;            /* for log lines and thread names, <= 9 bytes used; NULL: "rpc" */
    size_t max_message;          /* bytes; 0: GFS_RPC_MAX_MESSAGE */
    unsigned n_threads;          /* 0: 2; at most 64 */
    unsigned max_calls;          /* running at the same time, streams not counted; 0: 4096 */
    bool multiplex;              /* also serves calls that share one stream (client.h). All calls of
                                    a stream run on one thread, one after the other: only for a
                                    server whose handlers never block */
    bool strict_text;            /* a text field that holds a NUL or is no UTF-8 makes a request
                                    INVALID_ARGUMENT; not together with multiplex */
    struct gfs_metrics *metrics; /* borrowed for the server's life; NULL: none. Per method:
                                    goosefs_rpc_server_seconds, goosefs_rpc_server_errors_total */
};

/* `opts` may be NULL. *out is freed with gfs_rpc_server_free. GFS_EINVAL for a bad option. */
int gfs_rpc_server_new(const struct gfs_rpc_server_opts *opts, struct gfs_rpc_server **out,
                       struct gfs_err *err);

/* Where to listen; several times for several addresses, before start.
 *   "unix:///path/x.sock"  `mode` is set on the socket file (0: leave it to the umask). A socket
 * file that nobody listens on is removed first; GFS_EBUSY when somebody does, GFS_EEXIST when the
 * path is something other than a socket. The file is removed again by stop. "host:port",
 * "[v6]:port"  `hosts` (may be NULL) is asked before the resolver. Port 0 takes a free one.
 * GFS_EBUSY, naming the port, when it is taken. out_port (may be NULL) receives the TCP port, 0 for
 * unix. The socket exists when this returns; connections made before start wait. */
int gfs_rpc_server_listen(struct gfs_rpc_server *server, const char *address,
                          const struct gfs_hosts *hosts, mode_t mode, uint16_t *out_port,
                          struct gfs_err *err);

#define GFS_RPC_PEERS_MAX 8

/* Listens on "unix:///path" for processes of these users only, as the kernel knows them
 * (SO_PEERCRED); other connections are closed, and some of them logged. Everything else as for
 * listen. One such socket per server. GFS_EINVAL for another kind of address or number of users. */
int gfs_rpc_server_listen_peers(struct gfs_rpc_server *server, const char *address, mode_t mode,
                                const uid_t *uids, size_t n_uids, struct gfs_err *err);

/* Runs on a server thread. Must reply exactly once with gfs_rpc_reply, gfs_rpc_fail or
 * gfs_rpc_fail_status: before it returns, or later from any thread. `request` (of the method's
 * input type) lives until then. `user` is what add_service got. */
typedef void (*gfs_rpc_handler)(struct gfs_rpc_call *call, const ProtobufCMessage *request,
                                void *user);

struct gfs_rpc_method {
    const char *name; /* as in the .proto: "NodePublishVolume" */
    gfs_rpc_handler handler;
};

/* Before start. `methods` ends with {NULL, NULL} and needs not name every method of the service:
 * the others are UNIMPLEMENTED. It is copied; `user` is borrowed until stop has returned.
 * GFS_EINVAL for a name the descriptor does not have or that takes or returns a stream, GFS_EEXIST
 * for a duplicate. */
int gfs_rpc_server_add_service(struct gfs_rpc_server *server,
                               const ProtobufCServiceDescriptor *service,
                               const struct gfs_rpc_method *methods, void *user,
                               struct gfs_err *err);

/* Starts the threads; calls are accepted from here on. */
int gfs_rpc_server_start(struct gfs_rpc_server *server, struct gfs_err *err);

/* Stops accepting (listeners close, unix socket files go), closes streams, lets running calls
 * finish until `deadline` (monotonic ns), cancels the rest and waits for the threads. Cancel
 * callbacks and on_close callbacks have run when it returns. A handler that still holds a call may
 * reply after that: the reply goes nowhere. Once; later calls return at once. Not from a server
 * thread. */
void gfs_rpc_server_stop(struct gfs_rpc_server *server, int64_t deadline);

/* Stops without waiting for running calls if stop has not been called. Accepts NULL. Returns NULL.
 */
struct gfs_rpc_server *gfs_rpc_server_free(struct gfs_rpc_server *server);

/* Calls running now (streams not counted). */
unsigned gfs_rpc_server_running(const struct gfs_rpc_server *server);

/* ---- one call; thread: any, until the reply, after which `call` must not be touched ---- */

/* Answers with `response` (of the method's output type), which is copied out before this returns.
 */
void gfs_rpc_reply(struct gfs_rpc_call *call, const ProtobufCMessage *response);

/* Fails with the status of gfs error `code` (negative) and `text` (NULL: the table's text). The
 * client wrapper gets exactly `code` back. */
void gfs_rpc_fail(struct gfs_rpc_call *call, int code, const char *text);

/* Fails with code and text of `err`, or of `code` when err is NULL or empty. */
void gfs_rpc_fail_err(struct gfs_rpc_call *call, int code, const struct gfs_err *err);

/* Fails with a plain gRPC status (1..16), as CSI and the plugin registration prescribe them. */
void gfs_rpc_fail_status(struct gfs_rpc_call *call, int grpc_status, const char *text);

/* Trailing metadata sent with the reply, e.g. GFS_RPC_KEY_LEADER. Key: lower case, not "grpc-...";
 * value: printable ASCII. GFS_EBUSY beyond GFS_RPC_TRAILERS_MAX, GFS_EINVAL for bad bytes. */
int gfs_rpc_call_set_trailer(struct gfs_rpc_call *call, const char *key, const char *value);

/* Absolute monotonic ns; GFS_RPC_NO_DEADLINE when the client set none. */
int64_t gfs_rpc_call_deadline(const struct gfs_rpc_call *call);

/* Whether the client has gone, cancelled, or its deadline passed, or the server is being stopped.
 */
bool gfs_rpc_call_cancelled(const struct gfs_rpc_call *call);

/* `on_cancel(call, arg)` runs once on a server thread if the call is cancelled before the reply (at
 * once, on this thread, when it already is). It may reply. It may run while another thread replies:
 * what it touches through `arg` must outlive both, so `release(arg)` (may be NULL) runs exactly
 * once when neither can happen any more. At most one registration per call. */
void gfs_rpc_call_on_cancel(struct gfs_rpc_call *call,
                            void (*on_cancel)(struct gfs_rpc_call *call, void *arg),
                            void (*release)(void *arg), void *arg);

/* "ipv4:127.0.0.1:40000", "unix:" ... as gRPC spells it. Borrowed until the reply. */
const char *gfs_rpc_call_peer(const struct gfs_rpc_call *call);

/* "/package.Service/Method". Borrowed until the reply. */
const char *gfs_rpc_call_method(const struct gfs_rpc_call *call);

#ifdef __cplusplus
}
#endif
#endif
