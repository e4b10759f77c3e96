/* HTTP for the web UFS: a bounded pool of libcurl handles, each with its own kept-alive connection;
 * DNS answers and TLS sessions are shared. Thread-safe. */
#ifndef GFSI_WEB_CLIENT_H
#define GFSI_WEB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/ufs/ufs.h>

#include "web_url.h"

struct gfsi_web_client;

struct gfsi_web_client_config {
    struct gfs_ufs_limits limits;
    char user[256]; /* sent to the mount's host only, never along a redirect to another */
    char password[256];
    char ca_file[1024];
    bool https; /* redirects stay on https then */
};

/* The headers of the last answer of a redirect chain. */
struct gfsi_web_answer {
    int status;
    bool html; /* Content-Type is HTML */
    char content_type[96];
    char etag[GFS_UFS_VERSION_MAX + 1]; /* "" when there is none, or one we cannot carry */
    int64_t last_modified_ms;           /* 0: none */
    bool has_length;
    uint64_t length; /* of this answer's body */
    bool has_range;  /* Content-Range parsed */
    uint64_t range_first;
    uint64_t range_total;       /* UINT64_MAX: not told */
    char url[GFSI_WEB_URL_MAX]; /* effective */
};

struct gfsi_web_request {
    const char *url;
    const char *display; /* for error texts */
    bool head;
    bool ranged;
    uint64_t range_first;
    uint64_t range_last; /* inclusive */
    int64_t timeout_ns;  /* of the whole; 0: only connect and stall timeouts */

    /* Called once with the headers before any body byte, also when there is none; negative ends the
     * request with that code. May be NULL. */
    int (*on_headers)(void *arg, const struct gfsi_web_answer *answer, struct gfs_err *err);
    /* Body bytes of a 2xx answer. Negative ends with that code; 1: enough, ends with success. */
    int (*on_body)(void *arg, const char *data, size_t len, struct gfs_err *err);
    void *arg;
};

int gfsi_web_client_new(const struct gfsi_web_client_config *config, struct gfsi_web_client **out,
                        struct gfs_err *err);
struct gfsi_web_client *gfsi_web_client_free(struct gfsi_web_client *client);
void gfsi_web_client_cancel(struct gfsi_web_client *client);

/* Performs. 0 for 2xx with *answer filled (may be NULL); other statuses as
 * gfsi_web_status_error. GFS_EBUSY when no connection gets free within the metadata timeout. */
int gfsi_web_client_perform(struct gfsi_web_client *client, const struct gfsi_web_request *request,
                            struct gfsi_web_answer *answer, struct gfs_err *err);

/* Parses one header line into `answer`; a status line resets it. Exposed for tests. */
void gfsi_web_answer_line(struct gfsi_web_answer *answer, const char *line, size_t len);

/* What a status means: 404 and 410 NOENT, 401 UNAUTH, 403 PERM, 408/429/5xx UNAVAIL, 412/416
 * CHANGED, 405/501 UNSUPPORTED, else PROTO; 0 for 2xx. */
int gfsi_web_status_error(int status);

#endif
