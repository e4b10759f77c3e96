/* One HTTP exchange with the API server: connection pool, TLS, credentials, rate limit. */
#ifndef GFS_KUBE_HTTP_PRIV_H
#define GFS_KUBE_HTTP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>

#include <gfs/base/buf.h>
#include <gfs/kube/client.h>

#define GFSI_KUBE_CONNECTIONS_MAX 64

/* A connection kept for the next request. The error buffer belongs to its handle. */
struct gfsi_kube_slot {
    CURL *handle;
    bool busy;
    char error[CURL_ERROR_SIZE];
};

struct gfs_kube_client {
    struct gfs_kube_config config;
    struct gfs_kube_client_opts opts;
    char *user_agent;
    atomic_bool cancelled;

    pthread_mutex_t mutex; /* everything below */
    pthread_cond_t cond;   /* a slot became free */
    struct gfsi_kube_slot slots[GFSI_KUBE_CONNECTIONS_MAX];
    unsigned n_slots;
    double tokens; /* of the rate limit */
    int64_t tokens_at;
    char *file_token; /* last read of config.token_file */
    int64_t file_token_at;

    struct gfs_metric *requests;
    struct gfs_metric *failures;
    struct gfs_metric *latency;
};

/* What to send; `sink` takes the body as it comes (a watch), else it is collected. */
struct gfsi_kube_exchange {
    const char *method;
    const char *path; /* with query */
    const char *content_type;
    const char *body; /* NULL: none */
    bool stream;      /* no overall timeout; ends by the server or by cancel */
    int (*sink)(void *arg, const char *data, size_t len); /* negative ends the exchange */
    void *sink_arg;
};

struct gfsi_kube_answer {
    long status; /* 0: none came */
    int64_t retry_after_ns;
    struct gfs_buf body; /* collected, or the body of a failure; the caller's to fini */
};

/* Runs the exchange. Returns 0 for any HTTP status; negative when no whole answer came (text in
 * err), or what the sink returned. */
int gfsi_kube_exchange(struct gfs_kube_client *client, const struct gfsi_kube_exchange *exchange,
                       struct gfsi_kube_answer *answer, struct gfs_err *err);

/* The gfs error of a failed answer, with the server's message. 0 for 2xx. */
int gfsi_kube_status(const struct gfsi_kube_answer *answer, const char *method, const char *path,
                     struct gfs_err *err);

/* The gfs error of a Status object (watch ERROR events and failed answers). */
int gfsi_kube_status_code(long http_status, const char *reason);

/* The events of a watch, one JSON document per line, from pieces cut anywhere. The line is the
 * caller's to fini. */
struct gfsi_kube_events {
    struct gfs_buf line;
    gfs_kube_event_fn each;
    void *arg;
    struct gfs_err *err;
    int each_rc; /* not 0: `each` ended it */
};

void gfsi_kube_events_init(struct gfsi_kube_events *w, gfs_kube_event_fn each, void *arg,
                           struct gfs_err *err);
/* `arg` is a struct gfsi_kube_events. Negative ends the watch. */
int gfsi_kube_events_feed(void *arg, const char *data, size_t len);

#endif
