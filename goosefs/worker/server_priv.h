/* The data server's own structures.
 *
 * A connection is referenced by the loop (until it is removed from it), by each request that is
 * outstanding, and by the send queue. Only the loop thread removes a connection; a sender that
 * finds it broken shuts the socket down and leaves the rest to the loop. Lock order: a connection's
 * mutex, then the server's; the store's is never taken under either. */
#ifndef GFSI_WORKER_SERVER_PRIV_H
#define GFSI_WORKER_SERVER_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/client/data_proto.h>

#include "server.h"

#define GFSI_FRAME_MAX (sizeof(struct gfs_data_header) + GFS_DATA_BODY_MAX)

struct gfsi_conn;

/* A target with the strings it points to. */
struct gfsi_owned_target {
    struct gfsi_target target; /* first: freed as one */
    char path[GFS_DATA_PATH_MAX + 1];
    char version[GFS_DATA_VERSION_MAX + 1];
};

/* An answer, from the request until its last byte is out. */
struct gfsi_response {
    struct gfsi_conn *conn;
    struct gfsi_response *next;
    struct gfs_data_header header; /* of the answer, host order until sent */
    int64_t started;
    bool prepared; /* header and body are final */

    struct gfsi_read *read; /* READ */
    struct gfsi_piece pieces[GFSI_PIECES_MAX];
    int n_pieces;
    int piece;
    size_t piece_sent;

    struct gfsi_target *target; /* OPEN: looked up by the sender */
    int fd;                     /* to hand out, -1 */

    char head[sizeof(struct gfs_data_header) + GFS_ERR_TEXT_MAX]; /* header and a small body */
    size_t head_len;
    size_t head_sent;
};

struct gfsi_conn {
    struct gfsi_server *server;
    int fd;
    bool local;
    unsigned refs; /* under the server's mutex */
    struct gfsi_conn *prev;
    struct gfsi_conn *next;
    struct gfsi_conn *queue_next;

    /* Loop thread only. */
    char *in;
    size_t in_len;

    pthread_mutex_t mutex;
    struct gfsi_response *ready_head;
    struct gfsi_response *ready_tail;
    unsigned outstanding;
    bool sending;    /* in the send queue or with a sender */
    bool want_write; /* the socket is full: the loop waits for it */
    bool paused;     /* too many outstanding, or draining */
    bool kick;       /* frames may be waiting in `in` */
    bool dead;
    int64_t progress; /* time of the last byte sent */
};

struct gfsi_server {
    struct gfsi_store *store;
    unsigned connections_max;
    int64_t stall_ns;
    char local_socket[108];
    int epoll;
    int tcp;
    int unix_fd;
    int wake;
    uint16_t port;

    pthread_mutex_t mutex;
    pthread_cond_t queue_filled;
    pthread_cond_t idle; /* outstanding went to 0 */
    struct gfsi_conn *conns;
    unsigned n_conns;
    unsigned outstanding;
    struct gfsi_conn *queue_head;
    struct gfsi_conn *queue_tail;
    bool draining;
    bool stopping;
    bool queue_closed; /* senders leave when it is empty */

    pthread_t loop_thread;
    bool loop_started;
    pthread_t senders[64];
    unsigned n_senders;

    struct gfs_metric *m_connections;
    struct gfs_metric *m_refused;
    struct gfs_metric *m_requests[GFS_DATA_LOAD + 1];
    struct gfs_metric *m_broken;
    struct gfs_metric *m_errors;
    struct gfs_metric *m_bytes;
    struct gfs_metric *m_seconds;
};

/* server_conn.c */
struct gfsi_conn *gfsi_conn_new(struct gfsi_server *server, int fd, bool local); /* loop thread */
void gfsi_conn_remove(struct gfsi_conn *conn);                                   /* loop thread */
void gfsi_conn_unref(struct gfsi_conn *conn);
void gfsi_conn_interest(struct gfsi_conn *conn); /* under conn->mutex: tells epoll */
void gfsi_conn_enqueue(struct gfsi_conn *conn);  /* under conn->mutex, conn->sending just set */

/* server_listen.c */
int gfsi_server_listen_tcp(struct gfsi_server *server, const char *address, struct gfs_err *err);
int gfsi_server_listen_local(struct gfsi_server *server, const char *path, uint32_t group,
                             struct gfs_err *err);

/* server_request.c: loop thread. Takes the frames in conn->in. 1: reading pauses, a kick comes when
 * it may go on; negative: the connection must end. */
int gfsi_conn_parse(struct gfsi_conn *conn);

/* A request's body. GFS_EPROTO when its lengths do not add up or a string holds a NUL. */
int gfsi_target_decode(const char *body, size_t len, struct gfsi_owned_target *out);

/* server_send.c */
void gfsi_response_ready(struct gfsi_response *response); /* any thread */
void gfsi_response_free(struct gfsi_response *response);
void *gfsi_sender_main(void *arg);

#endif
