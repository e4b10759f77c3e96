/* The small HTTP server of every daemon: metrics, health, a status page.
 *
 * GET and HEAD only, no request bodies, bounded connections, one request each. Meant for operators
 * and scrapers, not for data.
 *
 * Threads: one internal thread runs all handlers, one at a time: a handler must not block. Routes
 * are added before gfs_http_start. */
#ifndef GFS_HTTP_HTTP_H
#define GFS_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/base/err.h>
#include <gfs/base/metrics.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_HTTP_ROUTES_MAX      32
#define GFS_HTTP_CONNECTIONS_MAX 64
#define GFS_HTTP_BODY_MAX        (8u << 20)

struct gfs_http;

struct gfs_http_request {
    const char *path;       /* decoded, without query */
    const char *host;       /* Host header, "" when missing */
    const void *connection; /* opaque, for gfs_http_query */
};

struct gfs_http_response {
    int status;               /* preset to 200 */
    const char *content_type; /* preset to "text/plain; charset=utf-8"; static or route-lived */
    struct gfs_buf body;      /* initialised with GFS_HTTP_BODY_MAX; owned by the server */
};

typedef void (*gfs_http_handler)(const struct gfs_http_request *request,
                                 struct gfs_http_response *response, void *user);

struct gfs_http *gfs_http_new(void);

/* Stops when it runs. Accepts NULL. */
struct gfs_http *gfs_http_free(struct gfs_http *http);

/* Answers `path` exactly; a path ending in "/" answers everything below as well (longest match
 * wins). GFS_ERANGE when the table is full. `path` and `user` outlive the server. */
int gfs_http_route(struct gfs_http *http, const char *path, gfs_http_handler handler, void *user);

/* GET /metrics prints the registry, which outlives the server. */
int gfs_http_route_metrics(struct gfs_http *http, struct gfs_metrics *metrics);

/* GET /healthz (or another path): 200 "ok" while check returns true, else 503 with what it wrote to
 * `reason`. */
typedef bool (*gfs_http_check)(struct gfs_buf *reason, void *user);
int gfs_http_route_health(struct gfs_http *http, const char *path, gfs_http_check check,
                          void *user);

/* Listens on "host:port" (an IP literal; port 0 picks one) and serves. A port in use is an error
 * that names it. */
int gfs_http_start(struct gfs_http *http, const char *address, struct gfs_err *err);
void gfs_http_stop(struct gfs_http *http);
uint16_t gfs_http_port(const struct gfs_http *http); /* 0 while stopped */

/* A query parameter of the request being handled, NULL when missing. Borrowed. A query that has a
 * part without "=" counts as none. */
const char *gfs_http_query(const struct gfs_http_request *request, const char *name);

/* Appends `text` with & < > " ' escaped for HTML. */
int gfs_http_escape(struct gfs_buf *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
