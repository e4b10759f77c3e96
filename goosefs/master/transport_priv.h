/* Raft frames between masters: goosefs_raft.proto over lib/rpc streams. */
#ifndef GFSI_TRANSPORT_PRIV_H
#define GFSI_TRANSPORT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/base/metrics.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_TRANSPORT_PEERS_MAX 16

struct gfsi_transport;

struct gfsi_transport_opts {
    const char *cluster; /* compared in the hello */
    uint64_t self;
    const char *listen; /* "host:port" */
    const struct gfs_hosts *hosts;
    struct gfs_metrics *metrics;
    size_t max_frame;
    /* On an RPC thread; must not block. */
    void (*on_frame)(void *arg, uint64_t peer, const void *data, size_t len);
    /* The first link to the peer is up, or the last one broke. On an RPC thread. */
    void (*on_link)(void *arg, uint64_t peer, bool up);
    void *arg;
};

/* Binds; nothing runs yet. */
int gfsi_transport_new(const struct gfsi_transport_opts *opts, struct gfsi_transport **out,
                       struct gfs_err *err);

/* Accepts and dials from here on. */
int gfsi_transport_start(struct gfsi_transport *t, struct gfs_err *err);

/* The peers to keep links with; own id is skipped, what is not named is closed. Any thread. */
void gfsi_transport_peers(struct gfsi_transport *t, const uint64_t *ids,
                          const char *const *addresses, size_t n);

/* One frame, copied. UNAVAIL: no link; BUSY: its queue is full. Never blocks. Any thread. */
int gfsi_transport_send(struct gfsi_transport *t, uint64_t peer, const struct iovec *iov,
                        int iovcnt);

/* Closes all; no callback runs after it. Sends fail. */
void gfsi_transport_stop(struct gfsi_transport *t);

/* Stops and frees; NULL is fine. */
void gfsi_transport_free(struct gfsi_transport *t);

#ifdef __cplusplus
}
#endif
#endif
