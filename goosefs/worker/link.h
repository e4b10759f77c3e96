/* The link to the masters: one thread per master that heartbeats, so that a new leader knows this
 * worker already. Brings the mount table and files to free. */
#ifndef GFSI_WORKER_LINK_H
#define GFSI_WORKER_LINK_H

#include <stdbool.h>

#include <gfs/base/err.h>
#include <gfs/base/hosts.h>
#include <gfs/worker/worker.h>

#include "mounts.h"
#include "store.h"

struct gfsi_link;

struct gfsi_link_config {
    const struct gfs_worker_config *worker; /* borrowed for the link's life, as are the others */
    const struct gfs_hosts *hosts;
    struct gfsi_store *store;
    struct gfsi_mounts *mounts;
    struct gfs_metrics *metrics;
    uint64_t id;
    const char *data_address; /* "host:port" */
    const char *local_socket;
    uint16_t web_port;
};

int gfsi_link_start(const struct gfsi_link_config *config, struct gfsi_link **out,
                    struct gfs_err *err);

/* Heartbeat now (`arg` is the link): something is asked for that the masters may know. Any thread.
 */
void gfsi_link_poke(void *arg);

/* Tells the masters that this worker stops, so that they place nothing here any more; waits at most
 * until `deadline` for those that answer. Before stop; heartbeats go on until then. */
void gfsi_link_leave(struct gfsi_link *link, int64_t deadline);

/* How many masters answered their last heartbeat. */
unsigned gfsi_link_masters_up(struct gfsi_link *link);

/* Whether a mount table has come. */
bool gfsi_link_has_mounts(struct gfsi_link *link);

/* Accepts NULL, returns NULL. */
struct gfsi_link *gfsi_link_stop(struct gfsi_link *link);

#endif
