/* The GooseFS client: finds the masters' leader, calls masters, keeps the list of workers. Used by
 * goosefs-fuse, the CLI and the controller. Files are read with <gfs/client/file.h>.
 *
 * Every call has a deadline and until then hides what passes: a master that is down, an election, a
 * leader that moved. Calls that only read go to any master; the others to the leader, found by the
 * hint of whoever was asked, or by asking all masters at once.
 *
 * Thread: any; one client serves all threads of a process. It starts threads of its own (gRPC's
 * and, with the first read of a file, one that refreshes the worker list). */
#ifndef GFS_CLIENT_CLIENT_H
#define GFS_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/base/metrics.h>
#include <goosefs_master.pb-c.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_client;

#define GFS_CLIENT_MASTERS_MAX 16
#define GFS_CLIENT_WORKERS_MAX 4096 /* of a ListWorkers answer, more are ignored */

struct gfs_client_opts {
    const char *masters;           /* "host:port,host:port,..." required */
    const struct gfs_hosts *hosts; /* borrowed for the client's life; NULL: the resolver only */
    int64_t retry_ns;              /* deadline of calls that give none; 0: 2 min */
    int64_t try_ns;                /* one attempt at one master or worker; 0: 5 s */
    unsigned worker_connections;   /* at most, to each worker; 0: 32, at most 256 */
    struct gfs_metrics *metrics;   /* borrowed; NULL: none */
};

/* Does not connect. GFS_EINVAL when `masters` does not parse. *out is freed with gfs_client_free.
 */
int gfs_client_new(const struct gfs_client_opts *opts, struct gfs_client **out,
                   struct gfs_err *err);

/* The same from properties. `get(arg, key)` returns a property's text or NULL (gfs_cfg_property,
 * gfs_props_get):
 *   goosefs.master.rpc.addresses, or the hosts of goosefs.master.embedded.journal.addresses, or
 *   goosefs.master.hostname, the latter two with goosefs.master.rpc.port (9200)
 *   goosefs.network.hosts.file, goosefs.user.rpc.retry.max.duration (2min)
 * The client owns the hosts table it loads. `metrics` may be NULL. */
int gfs_client_new_from_props(const char *(*get)(void *arg, const char *key), void *arg,
                              struct gfs_metrics *metrics, struct gfs_client **out,
                              struct gfs_err *err);

/* Calls and reads in flight in other threads fail with GFS_ECANCELLED; they must have come back,
 * and files been closed, before free. */
void gfs_client_close(struct gfs_client *client);
struct gfs_client *gfs_client_free(struct gfs_client *client); /* accepts NULL, returns NULL */

/* The addresses in the order of the configuration. Borrowed. */
size_t gfs_client_n_masters(const struct gfs_client *client);
const char *gfs_client_master(const struct gfs_client *client, size_t i);

/* ---- calls ----
 *
 * int gfs_client_lookup(client, const Goosefs__V1__LookupRequest *request,
 *                       Goosefs__V1__LookupResponse **out, int64_t deadline, struct gfs_err *err);
 *
 * and so on for each line below. `deadline`: absolute monotonic ns, 0: the client's retry_ns from
 * now. Free *out with goosefs__v1__lookup_response__free_unpacked(*out, NULL). Errors: what the
 * master answered (GFS_ENOENT, GFS_EINVAL, ...), at once; GFS_EUNAVAIL, GFS_ETIMEOUT and the like
 * only when the deadline is reached, with the last attempt's reason in err. Mount and unmount need
 * an operation_id (gfs_client_operation_id), by which a retry applies once. */

/* X(function, service, Method, snake-case message, message, route) */
#define GFS_CLIENT_METHODS(X)                                                                      \
    X(get_status, file_system_master, GetStatus, get_status, GetStatus, READ)                      \
    X(lookup, file_system_master, Lookup, lookup, Lookup, READ)                                    \
    X(list_status, file_system_master, ListStatus, list_status, ListStatus, READ)                  \
    X(count, file_system_master, Count, count, Count, READ)                                        \
    X(load_metadata, file_system_master, LoadMetadata, load_metadata, LoadMetadata, LEADER_SLOW)   \
    X(mount, file_system_master, Mount, mount, Mount, LEADER_SLOW)                                 \
    X(unmount, file_system_master, Unmount, unmount, Unmount, LEADER)                              \
    X(list_mounts, file_system_master, ListMounts, list_mounts, ListMounts, READ)                  \
    X(get_master_info, meta_master, GetMasterInfo, get_master_info, GetMasterInfo, ANY)            \
    X(get_quorum_info, meta_master, GetQuorumInfo, get_quorum_info, GetQuorumInfo, LEADER)         \
    X(transfer_leadership, meta_master, TransferLeadership, transfer_leadership,                   \
      TransferLeadership, LEADER_ONCE)                                                             \
    X(add_quorum_server, meta_master, AddQuorumServer, add_quorum_server, AddQuorumServer,         \
      LEADER_ONCE)                                                                                 \
    X(promote_quorum_server, meta_master, PromoteQuorumServer, promote_quorum_server,              \
      PromoteQuorumServer, LEADER_SLOW)                                                            \
    X(remove_quorum_server, meta_master, RemoveQuorumServer, remove_quorum_server,                 \
      RemoveQuorumServer, LEADER_ONCE)                                                             \
    X(checkpoint, meta_master, Checkpoint, checkpoint, Checkpoint, LEADER_SLOW)                    \
    X(list_workers, worker_master, ListWorkers, list_workers, ListWorkers, ANY)                    \
    X(free_data, worker_master, Free, free, Free, LEADER)

enum gfs_client_method {
#define GFS_CLIENT_ENUM(fn, service, method, lower, type, route) GFS_CLIENT_METHOD_##fn,
    GFS_CLIENT_METHODS(GFS_CLIENT_ENUM)
#undef GFS_CLIENT_ENUM
        GFS_CLIENT_N_METHODS
};

int gfs_client_call(struct gfs_client *client, enum gfs_client_method method,
                    const ProtobufCMessage *request, ProtobufCMessage **out, int64_t deadline,
                    struct gfs_err *err);

/* One try at the i-th master, whoever leads: what that master itself answers. */
int gfs_client_call_master(struct gfs_client *client, size_t i, enum gfs_client_method method,
                           const ProtobufCMessage *request, ProtobufCMessage **out,
                           int64_t deadline, struct gfs_err *err);

#define GFS_CLIENT_INLINE(fn, service, method, lower, type, route)                                 \
    static inline int gfs_client_##fn(                                                             \
        struct gfs_client *client, const Goosefs__V1__##type##Request *request,                    \
        Goosefs__V1__##type##Response **out, int64_t deadline, struct gfs_err *err)                \
    {                                                                                              \
        ProtobufCMessage *message = NULL;                                                          \
        const int rc = gfs_client_call(client, GFS_CLIENT_METHOD_##fn, &request->base, &message,   \
                                       deadline, err);                                             \
        if (rc == 0) {                                                                             \
            *out = (Goosefs__V1__##type##Response *)(void *)message;                               \
        }                                                                                          \
        return rc;                                                                                 \
    }
GFS_CLIENT_METHODS(GFS_CLIENT_INLINE)
#undef GFS_CLIENT_INLINE

/* 16 random bytes. */
#define GFS_CLIENT_OPERATION_ID 16
void gfs_client_operation_id(uint8_t out[GFS_CLIENT_OPERATION_ID]);

#ifdef __cplusplus
}
#endif
#endif
