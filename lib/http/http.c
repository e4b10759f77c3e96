#include <gfs/http/http.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/hosts.h>
#include <gfs/base/str.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX        8192 /* bytes of a request line and its fields */
#define TIMEOUT_SECONDS 10   /* without a byte in the awaited direction */

/* How often connections that have ended give their places back. */
static const struct timeval tick_interval = {.tv_usec = 100000};

struct route {
    const char *path;
    size_t len;
    gfs_http_handler handler;
    void *user;
};

struct health {
    gfs_http_check check;
    void *user;
};

/* Of the thread alone while it runs: libevent's locks are not switched on. */
struct running {
    struct event_base *base; /* NULL while stopped */
    struct evhttp *server;
    struct evconnlistener *listener; /* the server's */
    struct event *stop, *tick;
    int stop_fd;
    bool full; /* all places are taken, the listener is switched off */
    size_t n_open;
    struct bufferevent *open[GFS_HTTP_CONNECTIONS_MAX];
};

struct gfs_http {
    struct running run;
    pthread_t thread;
    struct route routes[GFS_HTTP_ROUTES_MAX];
    size_t n_routes;
    struct health health[GFS_HTTP_ROUTES_MAX];
    size_t n_health;
    uint16_t port;
};

struct gfs_http *gfs_http_new(void)
{
    return calloc(1, sizeof(struct gfs_http));
}

struct gfs_http *gfs_http_free(struct gfs_http *http)
{
    if (http != NULL) {
        gfs_http_stop(http);
        free(http);
    }
    return NULL;
}

int gfs_http_route(struct gfs_http *http, const char *path, gfs_http_handler handler, void *user)
{
    if (http->n_routes == GFS_HTTP_ROUTES_MAX) {
        return GFS_ERANGE;
    }
    http->routes[http->n_routes++] =
        (struct route){.path = path, .len = strlen(path), .handler = handler, .user = user};
    return GFS_OK;
}

static void serve_metrics(const struct gfs_http_request *request,
                          struct gfs_http_response *response, void *user)
{
    (void)request;
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    (void)gfs_metrics_print(user, &response->body);
}

int gfs_http_route_metrics(struct gfs_http *http, struct gfs_metrics *metrics)
{
    return gfs_http_route(http, "/metrics", serve_metrics, metrics);
}

static void serve_health(const struct gfs_http_request *request, struct gfs_http_response *response,
                         void *user)
{
    (void)request;
    const struct health *health = user;
    if (health->check(&response->body, health->user)) {
        gfs_buf_clear(&response->body);
        (void)gfs_buf_puts(&response->body, "ok\n");
    } else {
        response->status = 503;
    }
}

int gfs_http_route_health(struct gfs_http *http, const char *path, gfs_http_check check, void *user)
{
    if (http->n_health == GFS_HTTP_ROUTES_MAX) {
        return GFS_ERANGE;
    }
    struct health *health = &http->health[http->n_health++];
    *health = (struct health){.check = check, .user = user};
    return gfs_http_route(http, path, serve_health, health);
}

static const struct route *find_route(const struct gfs_http *http, const char *path)
{
    const struct route *best = NULL;
    for (size_t i = 0; i < http->n_routes; i++) {
        const struct route *r = &http->routes[i];
        bool below = r->path[r->len - 1] == '/' && strncmp(path, r->path, r->len) == 0;
        if ((strcmp(path, r->path) == 0 || below) && (best == NULL || r->len > best->len)) {
            best = r;
        }
    }
    /* "/" answers itself only: what nobody routed is 404. */
    return best != NULL && best->len == 1 && strcmp(path, "/") != 0 ? NULL : best;
}

/* ---- answering ---- */

static void refuse(struct gfs_http_response *response, int status, const char *text)
{
    gfs_buf_clear(&response->body);
    response->status = status;
    response->content_type = "text/plain; charset=utf-8";
    (void)gfs_buf_puts(&response->body, text);
}

static void serve(const struct gfs_http *http, struct evhttp_request *req,
                  struct gfs_http_response *response)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *text = evhttp_uri_get_query(uri);
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");
    const char *encoded = evhttp_uri_get_path(uri);
    struct evkeyvalq query = TAILQ_HEAD_INITIALIZER(query);
    size_t len = 0;
    char *path gfs_auto_free = evhttp_uridecode(encoded != NULL ? encoded : "", 0, &len);
    const struct route *route;

    if (path == NULL || strlen(path) != len) { /* a %00 would hide the rest */
        refuse(response, 400, "the path is not understood\n");
        return;
    }
    route = find_route(http, path);
    if (route == NULL) {
        refuse(response, 404, "not found\n");
        return;
    }
    if (text != NULL) {
        (void)evhttp_parse_query_str(text, &query);
    }
    route->handler(&(struct gfs_http_request){.path = path,
                                              .host = host != NULL ? host : "",
                                              .connection = &query},
                   response, route->user);
    evhttp_clear_headers(&query);
}

const char *gfs_http_query(const struct gfs_http_request *request, const char *name)
{
    return evhttp_find_header(request->connection, name);
}

static void send_response(struct evhttp_request *req, const struct gfs_http_response *response)
{
    char length[24];
    const char *const fields[][2] = {
        {"Content-Type", response->content_type},
        {"Content-Length", length},
        {"Connection", "close"},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Allow", response->status == 405 ? "GET, HEAD" : NULL},
    };
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    bool failed = false;

    (void)snprintf(length, sizeof length, "%zu", response->body.len);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        failed = failed || (fields[i][1] != NULL &&
                            evhttp_add_header(headers, fields[i][0], fields[i][1]) != 0);
    }
    /* evhttp would send the body of an answer to HEAD. */
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD && response->body.len > 0) {
        failed = failed || evbuffer_add(evhttp_request_get_output_buffer(req), response->body.data,
                                        response->body.len) != 0;
    }
    if (failed) {
        evhttp_send_error(req, 500, NULL); /* no memory */
    } else {
        evhttp_send_reply(req, response->status, NULL, NULL);
    }
}

static void on_request(struct evhttp_request *req, void *user)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(req);
    struct gfs_http_response response = {.status = 200,
                                         .content_type = "text/plain; charset=utf-8"};

    gfs_buf_init(&response.body, GFS_HTTP_BODY_MAX);
    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        refuse(&response, 405, "only GET and HEAD\n");
    } else {
        serve(user, req, &response);
    }
    if (response.body.error != 0) {
        refuse(&response, 500, "the answer is too large\n");
    }
    send_response(req, &response);
    gfs_buf_fini(&response.body);
}

/* ---- no more connections than there are places ----
 *
 * evhttp 2.1 has no limit and says of no connection that it has ended, if that made no request. So
 * we hold a reference to each one's bufferevent and look at times which ones evhttp has let go:
 * bufferevent_free takes the callbacks away. */

static void forget_closed(struct running *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n_open; i++) {
        bufferevent_event_cb on_event = NULL;

        bufferevent_getcb(r->open[i], NULL, NULL, &on_event, NULL);
        if (on_event != NULL) {
            r->open[kept++] = r->open[i];
        } else {
            (void)bufferevent_decref(r->open[i]);
        }
    }
    r->n_open = kept;
}

static void on_tick(evutil_socket_t fd, short what, void *user)
{
    struct running *r = user;
    (void)fd;
    (void)what;

    forget_closed(r);
    if (r->full && r->n_open < GFS_HTTP_CONNECTIONS_MAX) {
        r->full = evconnlistener_enable(r->listener) != 0;
    }
    if (r->n_open > 0 || r->full) {
        (void)event_add(r->tick, &tick_interval);
    }
}

/* evhttp's question for the bufferevent of a connection that was just accepted. While all places
 * are taken nobody is accepted: who comes waits in the kernel's queue. */
static struct bufferevent *on_connection(struct event_base *base, void *user)
{
    struct running *r = user;
    struct bufferevent *connection = bufferevent_socket_new(base, -1, 0);

    forget_closed(r);
    if (connection != NULL && r->n_open < GFS_HTTP_CONNECTIONS_MAX) {
        bufferevent_incref(connection);
        r->open[r->n_open++] = connection;
    }
    if (r->n_open == GFS_HTTP_CONNECTIONS_MAX) {
        r->full = evconnlistener_disable(r->listener) == 0;
    }
    (void)event_add(r->tick, &tick_interval);
    return connection;
}

static void on_pause_over(evutil_socket_t fd, short what, void *listener)
{
    (void)fd;
    (void)what;
    (void)evconnlistener_enable(listener);
}

/* Most likely the process has no descriptor left: without a pause the thread would spin. */
static void on_accept_error(struct evconnlistener *listener, void *user)
{
    (void)user; /* evhttp's */
    if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, on_pause_over, listener,
                        &tick_interval) == 0) {
        (void)evconnlistener_disable(listener);
    }
}

/* ---- the thread ---- */

static int parse_address(const char *address, struct sockaddr_storage *out, socklen_t *out_len,
                         struct gfs_err *err)
{
    char host[GFS_HOST_NAME_MAX + 1];
    uint16_t port = 0;
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (gfs_hostport_split(address, host, sizeof host, &port) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "'%s' is not of the form ADDRESS:PORT", address);
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *out_len = sizeof *v4;
        return GFS_OK;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *out_len = sizeof *v6;
        return GFS_OK;
    }
    return gfs_err_set(err, GFS_EINVAL, "'%s' is not an IP address", host);
}

/* We listen ourselves, so that a failure says which address and why. */
static int listen_on(const char *address, uint16_t *out_port, struct gfs_err *err)
{
    struct sockaddr_storage sa;
    socklen_t len = 0;
    int rc = parse_address(address, &sa, &len, err);
    if (rc < 0) {
        return rc;
    }

    int fd gfs_auto_fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, GFS_HTTP_CONNECTIONS_MAX) != 0) {
        int errnum = errno;
        return gfs_err_set_errno(err, errnum, "can't listen on %s%s", address,
                                 errnum == EADDRINUSE ? " (another process has the port)" : "");
    }

    len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
        return gfs_err_set_errno(err, errno, "can't read the address of a socket");
    }
    *out_port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                               : ((struct sockaddr_in *)&sa)->sin_port);
    return GFS_TAKE_FD(fd);
}

static void on_stop(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(user);
}

/* Also of what was built in parts. */
static void release(struct running *r)
{
    if (r->server != NULL) {
        evhttp_free(r->server); /* with the listener and all connections */
    }
    for (size_t i = 0; i < r->n_open; i++) {
        (void)bufferevent_decref(r->open[i]);
    }
    if (r->stop != NULL) {
        event_free(r->stop);
    }
    if (r->tick != NULL) {
        event_free(r->tick);
    }
    if (r->base != NULL) {
        event_base_free(r->base);
    }
    if (r->stop_fd >= 0) {
        (void)close(r->stop_fd);
    }
    *r = (struct running){.stop_fd = -1};
}

/* Takes `fd` when it returns true. */
static bool build(struct gfs_http *http, int fd)
{
    struct running *r = &http->run;
    struct evhttp_bound_socket *bound;

    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->base = r->stop_fd < 0 ? NULL : event_base_new();
    if (r->base == NULL) {
        return false;
    }
    r->server = evhttp_new(r->base);
    r->stop = event_new(r->base, r->stop_fd, EV_READ, on_stop, r->base);
    r->tick = event_new(r->base, -1, 0, on_tick, r);
    if (r->server == NULL || r->stop == NULL || r->tick == NULL || event_add(r->stop, NULL) != 0) {
        return false;
    }

    evhttp_set_timeout(r->server, TIMEOUT_SECONDS);
    evhttp_set_max_headers_size(r->server, HEAD_MAX);
    evhttp_set_max_body_size(r->server, 0);
    /* Those evhttp may ask us about; it answers others itself. */
    evhttp_set_allowed_methods(r->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                              EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                              EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_bevcb(r->server, on_connection, r);
    evhttp_set_gencb(r->server, on_request, http);
    bound = evhttp_accept_socket_with_handle(r->server, fd);
    if (bound == NULL) {
        return false;
    }
    r->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(r->listener, on_accept_error);
    return true;
}

static void *dispatch(void *arg)
{
    (void)event_base_dispatch(arg);
    return NULL;
}

int gfs_http_start(struct gfs_http *http, const char *address, struct gfs_err *err)
{
    uint16_t port = 0;
    int fd gfs_auto_fd = listen_on(address, &port, err);
    if (fd < 0) {
        return fd;
    }

    GFS_ASSERT(http->run.base == NULL);
    if (!build(http, fd)) {
        release(&http->run);
        return gfs_err_set(err, GFS_EINTERNAL, "can't start the HTTP server on %s", address);
    }
    (void)GFS_TAKE_FD(fd);

    /* Signals belong to the daemon's main thread; libevent's writes may raise SIGPIPE. */
    sigset_t all, old;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int errnum = pthread_create(&http->thread, NULL, dispatch, http->run.base);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (errnum != 0) {
        release(&http->run);
        return gfs_err_set_errno(err, errnum, "can't start a thread for %s", address);
    }
    http->port = port;
    return GFS_OK;
}

void gfs_http_stop(struct gfs_http *http)
{
    uint64_t one = 1;

    if (http->run.base == NULL) {
        return;
    }
    (void)!write(http->run.stop_fd, &one, sizeof one);
    (void)pthread_join(http->thread, NULL);
    release(&http->run);
    http->port = 0;
}

uint16_t gfs_http_port(const struct gfs_http *http)
{
    return http->port;
}

int gfs_http_escape(struct gfs_buf *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        switch (*p) {
        case '&': (void)gfs_buf_puts(out, "&amp;"); break;
        case '<': (void)gfs_buf_puts(out, "&lt;"); break;
        case '>': (void)gfs_buf_puts(out, "&gt;"); break;
        case '"': (void)gfs_buf_puts(out, "&quot;"); break;
        case '\'': (void)gfs_buf_puts(out, "&#39;"); break;
        default: (void)gfs_buf_append(out, p, 1); break;
        }
    }
    return out->error;
}
