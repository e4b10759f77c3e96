#include "server_priv.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <gfs/base/clock.h>

#define IDLE_NS   (10 * GFS_NS_PER_S) /* without a byte in the awaited direction */
#define LINGER_NS GFS_NS_PER_S        /* for the other side to read what it was sent */

/* READING a head, WRITING an answer, LINGERING until the other side has closed: closing at once
 * with something unread would take the answer away from it (RFC 9112 section 9.6). */
enum state { READING, WRITING, LINGERING };

struct connection {
    int fd; /* -1: a free place */
    enum state state;
    int64_t deadline;
    char *in; /* GFSI_HTTP_HEAD_MAX bytes */
    size_t in_len;
    struct gfs_buf head, body; /* of the answer */
    size_t sent;               /* of both */
};

struct gfsi_http_server {
    int listen_fd, stop_fd;
    pthread_t thread;
    gfsi_http_answer answer;
    void *user;
    struct connection connections[GFS_HTTP_CONNECTIONS_MAX];
};

static void close_connection(struct connection *c)
{
    (void)close(c->fd);
    c->fd = -1;
    free(c->in);
    c->in = NULL;
    gfs_buf_fini(&c->head);
    gfs_buf_fini(&c->body);
}

static void enter(struct connection *c, enum state state)
{
    c->state = state;
    c->deadline = gfs_clock_mono() + (state == LINGERING ? LINGER_NS : IDLE_NS);
}

/* ---- answering ---- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

static int write_head(struct connection *c, const struct gfs_http_response *response)
{
    time_t now = (time_t)(gfs_clock_wall_ms() / 1000);
    struct tm tm;
    char date[64] = "";

    if (gmtime_r(&now, &tm) != NULL) {
        (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return gfs_buf_printf(&c->head,
                          "HTTP/1.1 %d %s\r\n"
                          "Date: %s\r\n"
                          "Connection: close\r\n"
                          "Content-Type: %s\r\n"
                          "Content-Length: %zu\r\n"
                          "Cache-Control: no-store\r\n"
                          "X-Content-Type-Options: nosniff\r\n"
                          "%s\r\n",
                          response->status, reason_of(response->status), date,
                          response->content_type, response->body.len,
                          response->status == 405 ? "Allow: GET, HEAD\r\n" : "");
}

static void refuse(struct gfs_http_response *response, int status, const char *text)
{
    gfs_buf_clear(&response->body);
    response->status = status;
    response->content_type = "text/plain; charset=utf-8";
    (void)gfs_buf_puts(&response->body, text);
}

/* `status`: of a head that was not understood, else 0. */
static void answer(const struct gfsi_http_server *s, struct connection *c,
                   const struct gfsi_http_head *head, int status)
{
    struct gfs_http_response response = {.status = 200,
                                         .content_type = "text/plain; charset=utf-8"};
    bool head_only = status == 0 && strcmp(head->method, "HEAD") == 0;

    gfs_buf_init(&response.body, GFS_HTTP_BODY_MAX);
    if (status != 0) {
        refuse(&response, status, "the request is not understood\n");
    } else if (!head_only && strcmp(head->method, "GET") != 0) {
        refuse(&response, 405, "only GET and HEAD\n");
    } else if (head->has_body) {
        refuse(&response, 400, "no request body is taken\n");
    } else {
        s->answer(s->user, head, &response);
    }
    if (response.body.error != 0) {
        refuse(&response, 500, "the answer is too large\n");
    }

    if (write_head(c, &response) < 0) {
        gfs_buf_clear(&c->head); /* no memory: closed without an answer */
        gfs_buf_fini(&response.body);
    } else if (head_only) {
        gfs_buf_fini(&response.body);
    } else {
        c->body = response.body;
    }
    enter(c, WRITING);
}

/* ---- moving bytes; false: the connection is over ---- */

static bool read_head(const struct gfsi_http_server *s, struct connection *c)
{
    struct gfsi_http_head head = {.method = ""};
    ssize_t n = recv(c->fd, c->in + c->in_len, GFSI_HTTP_HEAD_MAX - c->in_len, 0);
    size_t len;

    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    c->in_len += (size_t)n;
    len = gfsi_http_head_length(c->in, c->in_len);
    if (len > 0) {
        answer(s, c, &head, gfsi_http_head_parse(c->in, len, &head));
    } else if (c->in_len == GFSI_HTTP_HEAD_MAX) {
        answer(s, c, &head, 431);
    }
    return true;
}

static bool write_answer(struct connection *c)
{
    bool in_head = c->sent < c->head.len;
    const struct gfs_buf *part = in_head ? &c->head : &c->body;
    size_t at = in_head ? c->sent : c->sent - c->head.len;
    ssize_t n;

    if (at < part->len) {
        n = send(c->fd, part->data + at, part->len - at, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        c->sent += (size_t)n;
        c->deadline = gfs_clock_mono() + IDLE_NS;
    }
    if (c->sent < c->head.len + c->body.len) {
        return true;
    }
    if (shutdown(c->fd, SHUT_WR) < 0) {
        return false;
    }
    enter(c, LINGERING);
    return true;
}

static bool drain(struct connection *c)
{
    ssize_t n = recv(c->fd, c->in, GFSI_HTTP_HEAD_MAX, 0);

    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void serve(const struct gfsi_http_server *s, struct connection *c, short events)
{
    bool on = true;

    if (events != 0) {
        switch (c->state) {
        case READING: on = read_head(s, c); break;
        case WRITING: on = write_answer(c); break;
        case LINGERING: on = drain(c); break;
        }
    }
    if (!on || gfs_clock_mono() >= c->deadline) {
        close_connection(c);
    }
}

static void accept_one(struct gfsi_http_server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        return;
    }
    for (size_t i = 0; i < GFS_HTTP_CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];

        if (c->fd < 0 && (c->in = malloc(GFSI_HTTP_HEAD_MAX)) != NULL) {
            c->fd = fd;
            c->in_len = 0;
            c->sent = 0;
            gfs_buf_init(&c->head, GFSI_HTTP_HEAD_MAX);
            gfs_buf_init(&c->body, GFS_HTTP_BODY_MAX);
            enter(c, READING);
            return;
        }
    }
    (void)close(fd);
}

/* ---- the thread ---- */

/* Returns how many to poll; connection i is at 2 + i or, when free, -1 there. While all places are
 * taken nobody is accepted: who comes waits in the kernel's queue. */
static int64_t fill_polls(const struct gfsi_http_server *s, struct pollfd *fds)
{
    int64_t next = INT64_MAX;
    bool room = false;

    for (size_t i = 0; i < GFS_HTTP_CONNECTIONS_MAX; i++) {
        const struct connection *c = &s->connections[i];

        fds[2 + i] = (struct pollfd){.fd = c->fd, .events = c->state == WRITING ? POLLOUT : POLLIN};
        room = room || c->fd < 0;
        if (c->fd >= 0 && c->deadline < next) {
            next = c->deadline;
        }
    }
    fds[0] = (struct pollfd){.fd = s->stop_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = room ? s->listen_fd : -1, .events = POLLIN};
    return next;
}

static int timeout_until(int64_t deadline)
{
    int64_t left = deadline == INT64_MAX ? -1 : deadline - gfs_clock_mono();

    if (deadline == INT64_MAX) {
        return -1;
    }
    return left <= 0 ? 0 : (int)(left / GFS_NS_PER_MS) + 1;
}

static void *run(void *arg)
{
    struct gfsi_http_server *s = arg;
    struct pollfd fds[2 + GFS_HTTP_CONNECTIONS_MAX];

    for (;;) {
        int64_t next = fill_polls(s, fds);
        int n = poll(fds, 2 + GFS_HTTP_CONNECTIONS_MAX, timeout_until(next));

        if (n > 0 && fds[0].revents != 0) {
            return NULL;
        }
        for (size_t i = 0; i < GFS_HTTP_CONNECTIONS_MAX; i++) {
            if (s->connections[i].fd >= 0) {
                serve(s, &s->connections[i], n > 0 ? fds[2 + i].revents : 0);
            }
        }
        if (n > 0 && fds[1].revents != 0) {
            accept_one(s);
        }
    }
}

int gfsi_http_server_start(int listen_fd, gfsi_http_answer answer_fn, void *user,
                           struct gfsi_http_server **out, struct gfs_err *err)
{
    struct gfsi_http_server *s = calloc(1, sizeof(*s));
    int rc;

    if (s == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    s->listen_fd = listen_fd;
    s->answer = answer_fn;
    s->user = user;
    for (size_t i = 0; i < GFS_HTTP_CONNECTIONS_MAX; i++) {
        s->connections[i].fd = -1;
    }
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = s->stop_fd < 0 ? errno : pthread_create(&s->thread, NULL, run, s);
    if (rc != 0) {
        if (s->stop_fd >= 0) {
            (void)close(s->stop_fd);
        }
        free(s);
        return gfs_err_set_errno(err, rc, "starting the HTTP server");
    }
    *out = s;
    return 0;
}

struct gfsi_http_server *gfsi_http_server_stop(struct gfsi_http_server *s)
{
    uint64_t one = 1;

    if (s == NULL) {
        return NULL;
    }
    (void)!write(s->stop_fd, &one, sizeof(one));
    (void)pthread_join(s->thread, NULL);
    for (size_t i = 0; i < GFS_HTTP_CONNECTIONS_MAX; i++) {
        if (s->connections[i].fd >= 0) {
            close_connection(&s->connections[i]);
        }
    }
    (void)close(s->listen_fd);
    (void)close(s->stop_fd);
    free(s);
    return NULL;
}
