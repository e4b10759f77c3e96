/* Inside the client: its state, masters, workers, data connections. */
#ifndef GFSI_CLIENT_PRIV_H
#define GFSI_CLIENT_PRIV_H

#include <pthread.h>

#include <gfs/client/client.h>
#include <gfs/client/data_proto.h>
#include <gfs/rpc/client.h>

#define GFSI_CLIENT_ADDRESS_MAX (GFS_HOST_NAME_MAX + 8)
#define GFSI_SOCKET_PATH_MAX    108 /* of a struct sockaddr_un */

struct gfsi_master {
    char address[GFSI_CLIENT_ADDRESS_MAX];
    struct gfs_rpc_channel *channel;
};

/* One open connection of the data protocol. */
struct gfsi_conn {
    int fd;
    uint64_t next_id;
    struct gfsi_conn *next; /* idle list */
};

/* A worker as one ListWorkers answer described it; kept across refreshes while it is the same. */
struct gfsi_worker {
    uint64_t id;
    char address[GFSI_CLIENT_ADDRESS_MAX];   /* of the data protocol */
    char local_socket[GFSI_SOCKET_PATH_MAX]; /* "": none */
    const struct gfs_hosts *hosts;
    unsigned max_conns;

    pthread_mutex_t mutex; /* all below */
    pthread_cond_t changed;
    unsigned refs; /* each list it is in */
    struct gfsi_conn *idle;
    unsigned n_conns;      /* idle and in use */
    int64_t suspect_until; /* monotonic ns; asked last until then */
    int64_t local_until;   /* monotonic ns; its socket is left alone until then */
};

/* An immutable list; readers hold a reference while they use it. */
struct gfsi_workers {
    unsigned refs; /* under client->mutex */
    size_t n;
    struct gfsi_worker **list;
    uint64_t *ids;
};

struct gfs_client {
    struct gfsi_master masters[GFS_CLIENT_MASTERS_MAX];
    unsigned n_masters;
    struct gfs_hosts *own_hosts; /* loaded by new_from_props */
    const struct gfs_hosts *hosts;
    int64_t retry_ns;
    int64_t try_ns;
    unsigned worker_connections;
    struct gfs_rpc_retry_budget budget;
    struct gfs_metric *retries, *read_bytes, *read_failovers;

    pthread_mutex_t mutex;  /* all below */
    pthread_cond_t changed; /* closed, discovery or worker list */
    bool closed;
    unsigned leader;      /* whom to ask first: a guess */
    unsigned reader;      /* for calls that any master answers */
    int64_t reader_again; /* until then followers do not answer reads: ask the leader */
    bool discovering;
    unsigned discoveries; /* completed */

    struct gfsi_workers *workers; /* NULL until the first answer */
    pthread_t refresher;
    bool refresher_started;
    bool refresh_wanted;
};

/* Sleeps until `until` (monotonic ns); false when the client is closed. */
bool gfsi_client_sleep(struct gfs_client *client, int64_t until);
bool gfsi_client_closed(struct gfs_client *client);
int64_t gfsi_client_deadline(const struct gfs_client *client, int64_t deadline);

/* discovery.c: asks all masters who leads, one asker at a time; the others wait for its result.
 * `failed`: the master that just failed, whose leadership others may not have noticed the end of.
 * Returns the leader's index or -1. */
int gfsi_client_discover(struct gfs_client *client, unsigned failed, int64_t deadline);
int gfsi_client_find_master(const struct gfs_client *client, const char *address);

/* workers.c */
/* The present list, waiting for the first one; NULL after the deadline, with err. Release it. */
struct gfsi_workers *gfsi_workers_get(struct gfs_client *client, int64_t deadline,
                                      struct gfs_err *err);
void gfsi_workers_release(struct gfs_client *client, struct gfsi_workers *workers);
void gfsi_workers_want_refresh(struct gfs_client *client);
void gfsi_workers_stop(struct gfs_client *client); /* at free */

/* data_conn.c */
/* An idle or a new connection; waits for one while the worker has all it may have. *out_reused
 * tells that it was idle, so a first failure says nothing about the worker. */
int gfsi_conn_take(struct gfs_client *client, struct gfsi_worker *worker, int64_t deadline,
                   struct gfsi_conn **out, bool *out_reused, struct gfs_err *err);
/* Gives it back; `usable`: no answer is outstanding on it. */
void gfsi_conn_give(struct gfsi_worker *worker, struct gfsi_conn *conn, bool usable);
void gfsi_conn_drop_idle(struct gfsi_worker *worker);
/* Whether the worker answers at all, on a connection of its own. */
int gfsi_worker_ping(struct gfs_client *client, struct gfsi_worker *worker, int64_t deadline);
/* All bytes or an error; GFS_EUNAVAIL when the peer has gone, GFS_ETIMEOUT, GFS_ECANCELLED. */
int gfsi_conn_send(struct gfs_client *client, struct gfsi_conn *conn, const void *data, size_t len,
                   int64_t deadline, struct gfs_err *err);
int gfsi_conn_readable(struct gfs_client *client, struct gfsi_conn *conn, int64_t deadline,
                       struct gfs_err *err);
int gfsi_conn_recv(struct gfs_client *client, struct gfsi_conn *conn, void *data, size_t len,
                   int64_t deadline, struct gfs_err *err);

#endif
