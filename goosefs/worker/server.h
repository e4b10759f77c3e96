/* The data server: frames of gfs/client/data_proto.h over TCP and a unix socket.
 *
 * One thread runs the epoll loop: it accepts, parses, asks the store, and never touches a disk or
 * blocks. Answers go out from a few sender threads by sendfile; a connection that takes no more is
 * left to the loop until it does. A read that waits for the origin holds no thread. */
#ifndef GFSI_WORKER_SERVER_H
#define GFSI_WORKER_SERVER_H

#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>

#include "store.h"

struct gfsi_server;

struct gfsi_server_config {
    struct gfsi_store *store;
    const char *address;      /* "127.0.0.1:0": an IP literal and a port */
    const char *local_socket; /* "" = none */
    uint32_t local_group;     /* that may connect there; 0: our own */
    unsigned send_threads;    /* 1..64 */
    unsigned connections_max; /* beyond: closed at once */
    int64_t stall_ns;         /* a client that takes no byte of an answer for so long is cut off */
    struct gfs_metrics *metrics; /* may be NULL */
};

/* Listens and serves. GFS_EBUSY, naming the address, when it is taken. */
int gfsi_server_start(const struct gfsi_server_config *config, struct gfsi_server **out,
                      struct gfs_err *err);

uint16_t gfsi_server_port(const struct gfsi_server *server);

/* Takes no more connections or requests, waits until every answer is out or `deadline` (monotonic
 * ns). */
void gfsi_server_drain(struct gfsi_server *server, int64_t deadline);

/* Cuts what is left and frees. The store is cancelled already, so that no read waits for long; it
 * is closed after this. Accepts NULL, returns NULL. */
struct gfsi_server *gfsi_server_stop(struct gfsi_server *server);

/* Connections open now; for tests and the status page. */
unsigned gfsi_server_connections(struct gfsi_server *server);

#endif
