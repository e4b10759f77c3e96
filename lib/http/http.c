#include <gfs/http/http.h>

#include <gfs/base/auto.h>
#include <gfs/base/hosts.h>
#include <gfs/base/str.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server_priv.h"

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

struct gfs_http {
    struct gfsi_http_server *server;
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

static void answer(void *user, const struct gfsi_http_head *head,
                   struct gfs_http_response *response)
{
    const struct gfs_http *http = user;
    const struct route *route = find_route(http, head->path);
    struct gfs_http_request request = {.path = head->path, .host = head->host, .connection = head};

    if (route == NULL) {
        response->status = 404;
        (void)gfs_buf_puts(&response->body, "not found\n");
        return;
    }
    route->handler(&request, response, route->user);
}

const char *gfs_http_query(const struct gfs_http_request *request, const char *name)
{
    const struct gfsi_http_head *head = request->connection;

    for (size_t i = 0; i < head->n_params; i++) {
        if (strcmp(head->params[i].name, name) == 0) {
            return head->params[i].value;
        }
    }
    return NULL;
}

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

int gfs_http_start(struct gfs_http *http, const char *address, struct gfs_err *err)
{
    uint16_t port = 0;
    int fd gfs_auto_fd = listen_on(address, &port, err);
    if (fd < 0) {
        return fd;
    }

    int rc = gfsi_http_server_start(fd, answer, http, &http->server, err);
    if (rc < 0) {
        return rc;
    }
    (void)GFS_TAKE_FD(fd);
    http->port = port;
    return GFS_OK;
}

void gfs_http_stop(struct gfs_http *http)
{
    http->server = gfsi_http_server_stop(http->server);
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
