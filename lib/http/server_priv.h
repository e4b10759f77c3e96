/* Sockets of the HTTP server: one thread that accepts, reads heads, has them answered and writes.
 * Every connection serves one request and is closed (RFC 9112 section 9.6): what asks here asks
 * every few seconds. */
#ifndef GFSI_HTTP_SERVER_PRIV_H
#define GFSI_HTTP_SERVER_PRIV_H

#include <gfs/base/err.h>
#include <gfs/http/http.h>

#include "head_priv.h"

/* Fills the response (its body is initialised); on the server's thread. */
typedef void (*gfsi_http_answer)(void *user, const struct gfsi_http_head *head,
                                 struct gfs_http_response *response);

struct gfsi_http_server;

/* Takes `listen_fd` (non-blocking) when it returns 0. */
int gfsi_http_server_start(int listen_fd, gfsi_http_answer answer, void *user,
                           struct gfsi_http_server **out, struct gfs_err *err);

/* Ends the thread and all connections. Accepts NULL. */
struct gfsi_http_server *gfsi_http_server_stop(struct gfsi_http_server *server);

#endif
