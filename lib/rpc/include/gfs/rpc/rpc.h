/* What servers, clients and streams share: start-up of the gRPC library, protobuf-c helpers, names
 * of metadata. No other part of the project includes a gRPC header. */
#ifndef GFS_RPC_RPC_H
#define GFS_RPC_RPC_H

#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Start and stop of the gRPC library, counted: each gfs_rpc_init needs one gfs_rpc_shutdown.
 * Servers and channels hold a count of their own, so a daemon may leave these out; calling them
 * once around main() avoids stopping and starting the library between objects. gRPC's own messages
 * go to the log (component "grpc", level debug). Fork only before the first gfs_rpc_init. Thread:
 * any. */
void gfs_rpc_init(void);
void gfs_rpc_shutdown(void);

#define GFS_RPC_MAX_MESSAGE  (4u << 20) /* bytes, default limit of one message, both directions */
#define GFS_RPC_METHOD_MAX   256        /* bytes of "/package.Service/Method" with its NUL */
#define GFS_RPC_PEER_MAX     128        /* bytes of a peer string with its NUL */
#define GFS_RPC_TRAILERS_MAX 4          /* trailing metadata entries per call */
#define GFS_RPC_TRAILER_MAX  512        /* bytes of one trailing value with its NUL */
#define GFS_RPC_NO_DEADLINE  INT64_MAX  /* as a deadline: none */

/* Trailing metadata keys. GFS_RPC_KEY_ERROR carries the exact gfs error name, which a gRPC status
 * cannot (several map to one status); both ends handle it by themselves. */
#define GFS_RPC_KEY_LEADER "goosefs-leader" /* "host:port" of the leader as the server knows it */
#define GFS_RPC_KEY_ERROR  "goosefs-error"

/* gfs error code -> the numeric gRPC status, and back; see GFS_ERR_MAP. Same as gfs_err_to_grpc,
 * gfs_err_from_grpc, but names too: "INVALID_ARGUMENT" for 3. */
const char *gfs_rpc_status_name(int grpc_status);

#ifdef __cplusplus
}
#endif
#endif
