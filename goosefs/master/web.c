/* The web port: metrics, health, the status page. */
#include "master_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include <gfs/base/log.h>
#include <gfs/base/str.h>

static void on_metrics(const struct gfs_http_request *request, struct gfs_http_response *response,
                       void *user)
{
    struct gfs_master *m = user;

    (void)request;
    gfsi_counters_refresh(m);
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    (void)gfs_metrics_print(m->metrics, &response->body);
}

static void on_page(const struct gfs_http_request *request, struct gfs_http_response *response,
                    void *user)
{
    if (strcmp(request->path, "/") != 0) {
        response->status = 404;
        (void)gfs_buf_puts(&response->body, "not found\n");
        return;
    }

    response->content_type = "text/html; charset=utf-8";
    response->status = gfsi_status_html(user, &response->body) == 0 ? 200 : 500;
}

static void on_json(const struct gfs_http_request *request, struct gfs_http_response *response,
                    void *user)
{
    (void)request;
    response->content_type = "application/json";
    response->status = gfsi_status_json(user, &response->body) == 0 ? 200 : 500;
}

/* Alive: Raft has not died. Whether there is a leader is readiness, not health: restarting a master
 * does not help against a lost majority. */
static bool is_alive(struct gfs_buf *reason, void *user)
{
    struct gfs_master *m = user;
    struct raft_node_info info;

    raft_node_status(m->node, &info);
    if (info.fatal != 0) {
        (void)gfs_buf_puts(reason, raft_node_strerror(info.fatal));
    }

    return info.fatal == 0;
}

static bool is_ready(struct gfs_buf *reason, void *user)
{
    struct gfs_master *m = user;

    if (atomic_load(&m->stopping)) {
        (void)gfs_buf_puts(reason, "stopping");
        return false;
    }

    if (*gfsi_leader_address(m) == '\0') {
        (void)gfs_buf_puts(reason, "no leader");
        return false;
    }

    return true;
}

/* A name becomes the address it has in the hosts file, else what the resolver says. */
static int resolve(const struct gfs_master *m, const char *host, char *out, size_t size)
{
    const char *known = gfs_hosts_find(m->opts.hosts, host);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    uint8_t ignored[sizeof(struct in6_addr)];
    int rc;

    host = known != NULL ? known : host;
    if (inet_pton(AF_INET, host, ignored) == 1 || inet_pton(AF_INET6, host, ignored) == 1) {
        return gfs_str_copy(out, size, host);
    }

    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        return GFS_EINVAL;
    }

    rc =
        getnameinfo(list->ai_addr, list->ai_addrlen, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    return rc == 0 ? 0 : GFS_EINVAL;
}

int gfsi_bind_address(const struct gfs_master *m, const char *host, uint16_t port, char *out,
                      size_t size, struct gfs_err *err)
{
    const char *own = gfs_hosts_find(m->opts.hosts, m->opts.hostname);
    char address[GFS_HOST_NAME_MAX + 1];
    int n;

    if (*host == '\0') {
        host = own != NULL ? own : "0.0.0.0";
    }

    if (resolve(m, host, address, sizeof(address)) != 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "'%s' cannot be bound: it is no address, and neither the hosts file nor "
                           "the resolver knows the name",
                           host);
    }

    n = snprintf(out, size, strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address, port);
    return n > 0 && (size_t)n < size ? 0 : gfs_err_set(err, GFS_EINVAL, "'%s' is too long", host);
}

int gfsi_web_start(struct gfs_master *m, struct gfs_err *err)
{
    char listen[GFS_HOST_NAME_MAX + 8];
    int rc;

    if (m->opts.no_web) {
        return 0;
    }

    rc = gfsi_bind_address(m, m->opts.web_bind_host, m->opts.web_port, listen, sizeof(listen), err);
    if (rc != 0) {
        return rc;
    }

    m->web = gfs_http_new();
    if (m->web == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    rc = gfs_http_route(m->web, "/", on_page, m);
    rc = rc != 0 ? rc : gfs_http_route(m->web, "/metrics", on_metrics, m);
    rc = rc != 0 ? rc : gfs_http_route(m->web, "/metrics/prometheus/", on_metrics, m);
    rc = rc != 0 ? rc : gfs_http_route(m->web, "/api/v1/master/info", on_json, m);
    rc = rc != 0 ? rc : gfs_http_route_health(m->web, "/healthz", is_alive, m);
    rc = rc != 0 ? rc : gfs_http_route_health(m->web, "/readyz", is_ready, m);
    if (rc != 0) {
        return gfs_err_set(err, rc, "web port: %s", gfs_err_string(rc));
    }

    rc = gfs_http_start(m->web, listen, err);
    return rc == 0 ? 0 : gfs_err_wrap(err, rc, "goosefs.master.web.port");
}
