/* Puts store, data server, mounts, link and web server together, and takes them apart again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>
#include <gfs/http/http.h>
#include <gfs/worker/worker.h>

#include "link.h"
#include "mounts.h"
#include "server.h"
#include "store.h"

#define QUEUE_MAX   8192                /* fetches waiting for a thread */
#define OPEN_FILES  1024                /* descriptors of idle extents */
#define EXTENTS_MAX (1000 * 1000)       /* in memory: about 400 bytes each */
#define LEAVE       (1 * GFS_NS_PER_S)  /* masters are waited for when it stops */
#define STALL       (60 * GFS_NS_PER_S) /* a client that takes no byte */

struct gfs_worker {
    struct gfs_worker_config config;
    char data_address[GFS_HOST_NAME_MAX + 8];
    char local_socket[108];
    uint64_t id;
    struct gfsi_mounts *mounts;
    struct gfsi_store *store;
    struct gfsi_server *server;
    struct gfsi_link *_Atomic link; /* pages may be asked for before it is there */
    struct gfs_http *http;
};

/* Kept where it lasts longest: the last tier's directory. */
static int load_id(struct gfs_worker *w, struct gfs_err *err)
{
    char path[1400];
    struct gfs_buf text gfs_auto_buf;
    const struct gfs_worker_tier *tier = &w->config.tiers[w->config.n_tiers - 1];

    gfs_buf_init(&text, 64);
    (void)snprintf(path, sizeof(path), "%s/%s/worker_id", tier->path, w->config.data_folder);
    if (gfs_file_read(path, &text, NULL) == 0) {
        w->id = strtoull(gfs_buf_str(&text), NULL, 16); /* 0 when it is no number: a new one */
    }
    if (w->id != 0) {
        return 0;
    }
    while (w->id == 0) {
        if (getrandom(&w->id, sizeof(w->id), 0) != (ssize_t)sizeof(w->id)) {
            return gfs_err_set(err, GFS_EIO, "no random numbers");
        }
    }
    gfs_buf_clear(&text);
    (void)gfs_buf_printf(&text, "%016" PRIx64 "\n", w->id);
    return gfs_file_write_atomic(path, text.data, text.len, 0644, err);
}

static int open_store(struct gfs_worker *w, struct gfs_metrics *metrics, struct gfs_err *err)
{
    struct gfsi_store_config config = {
        .tiers = w->config.tiers,
        .n_tiers = w->config.n_tiers,
        .data_folder = w->config.data_folder,
        .block_size = w->config.block_size,
        .extent_size = GFS_EXTENT_SIZE,
        .fetch_threads = w->config.fetch_threads,
        .readahead_blocks = w->config.readahead_blocks,
        .queue_max = QUEUE_MAX,
        .read_through_max = w->config.read_through_max,
        .open_files = OPEN_FILES,
        .extents_max = EXTENTS_MAX,
        .fetch = gfsi_mounts_fetch,
        .fetch_arg = w->mounts,
        .metrics = metrics,
    };

    return gfsi_store_open(&config, &w->store, err);
}

/* Without one of its own: in the first directory, when that name is short enough for a socket. */
static void choose_socket(struct gfs_worker *w)
{
    char path[1400];

    if (w->config.local_socket[0] != '\0') {
        (void)gfs_str_copy(w->local_socket, sizeof(w->local_socket), w->config.local_socket);
        return;
    }
    (void)snprintf(path, sizeof(path), "%s/%s/data.sock", w->config.tiers[0].path,
                   w->config.data_folder);
    if (gfs_str_copy(w->local_socket, sizeof(w->local_socket), path) < 0) {
        gfs_info("worker", "path too long for a unix socket, clients on this node use TCP",
                 "path=%s", GFS_Q(path));
    }
}

static const char *address(const char *host, unsigned port, char *out, size_t size)
{
    host = host[0] != '\0' ? host : "0.0.0.0";
    (void)snprintf(out, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    return out;
}

static int start_server(struct gfs_worker *w, struct gfs_metrics *metrics, struct gfs_err *err)
{
    char bind[96];

    choose_socket(w);

    struct gfsi_server_config config = {
        .store = w->store,
        .address = address(w->config.bind_host, w->config.data_port, bind, sizeof(bind)),
        .local_socket = w->local_socket,
        .local_group = w->config.local_group,
        .send_threads = w->config.send_threads,
        .connections_max = w->config.connections_max,
        .stall_ns = STALL,
        .metrics = metrics,
    };
    int rc = gfsi_server_start(&config, &w->server, err);

    if (rc < 0) {
        return gfs_err_wrap(err, rc, "data port");
    }
    (void)address(w->config.data_host[0] != '\0' ? w->config.data_host : w->config.hostname,
                  gfsi_server_port(w->server), w->data_address, sizeof(w->data_address));
    return 0;
}

/* ---- the web port --------------------------------------------------------------------------- */

/* Healthy: it serves what is cached even while no master answers. */
static bool healthy(struct gfs_buf *reason, void *user)
{
    struct gfs_worker *w = user;
    struct gfsi_link *link = w->link;

    if (w->config.n_masters > 0 && (link == NULL || !gfsi_link_has_mounts(link))) {
        (void)gfs_buf_puts(reason, "no master has answered yet");
        return false;
    }
    return true;
}

static void status_page(const struct gfs_http_request *request, struct gfs_http_response *response,
                        void *user)
{
    struct gfs_worker *w = user;
    struct gfsi_tier_usage usage[GFS_WORKER_DIRS_MAX];
    size_t n = gfsi_store_usage(w->store, usage, GFS_WORKER_DIRS_MAX);
    struct gfsi_link *link = w->link;

    (void)request;
    (void)gfs_buf_printf(&response->body,
                         "goosefs-worker %s\nhost: %s\ndata: %s\nlocal socket: %s\n"
                         "masters up: %u of %zu\nconnections: %u\n",
                         gfs_version(), w->config.hostname, w->data_address, w->local_socket,
                         link != NULL ? gfsi_link_masters_up(link) : 0, w->config.n_masters,
                         gfsi_server_connections(w->server));
    for (size_t i = 0; i < n; i++) {
        char capacity[32];
        char used[32];

        (void)gfs_buf_printf(&response->body, "tier %s: %s of %s used\n", usage[i].alias,
                             gfs_format_size(usage[i].used, used, sizeof(used)),
                             gfs_format_size(usage[i].capacity, capacity, sizeof(capacity)));
    }
}

static int start_web(struct gfs_worker *w, struct gfs_metrics *metrics, struct gfs_err *err)
{
    char bind[96];

    if (w->config.web_port < 0) {
        return 0;
    }
    w->http = gfs_http_new();
    if (w->http == NULL || gfs_http_route(w->http, "/", status_page, w) < 0 ||
        gfs_http_route_metrics(w->http, metrics) < 0 ||
        gfs_http_route_health(w->http, "/healthz", healthy, w) < 0) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    return gfs_http_start(
        w->http, address(w->config.web_bind_host, (unsigned)w->config.web_port, bind, sizeof(bind)),
        err);
}

static int start_link(struct gfs_worker *w, const struct gfs_hosts *hosts,
                      struct gfs_metrics *metrics, struct gfs_err *err)
{
    struct gfsi_link_config config = {
        .worker = &w->config,
        .hosts = hosts,
        .store = w->store,
        .mounts = w->mounts,
        .metrics = metrics,
        .id = w->id,
        .data_address = w->data_address,
        .local_socket = w->local_socket,
        .web_port = gfs_worker_web_port(w),
    };

    struct gfsi_link *link = NULL;
    int rc = w->config.n_masters > 0 ? gfsi_link_start(&config, &link, err) : 0;

    w->link = link;
    return rc;
}

/* ---- start and stop ------------------------------------------------------------------------- */

int gfs_worker_start(const struct gfs_worker_config *config, const struct gfs_hosts *hosts,
                     struct gfs_metrics *metrics, struct gfs_worker **out, struct gfs_err *err)
{
    struct gfs_worker *w = calloc(1, sizeof(*w));
    int rc = 0;

    if (w == NULL || (w->mounts = gfsi_mounts_new()) == NULL) {
        free(w);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    w->config = *config;
    rc = open_store(w, metrics, err);
    if (rc == 0) {
        rc = load_id(w, err);
    }
    if (rc == 0) {
        rc = start_server(w, metrics, err);
    }

    /* The web port first: the masters are told its number. Its pages wait for the link. */
    if (rc == 0) {
        rc = start_web(w, metrics, err);
    }
    if (rc == 0) {
        rc = start_link(w, hosts, metrics, err);
    }
    if (rc < 0) {
        gfs_worker_stop(w);
        return rc;
    }
    gfs_info("worker", "serving", "host=%s data=%s web=%u socket=%s id=%016" PRIx64,
             GFS_Q(w->config.hostname), GFS_Q(w->data_address), gfs_worker_web_port(w),
             GFS_Q(w->local_socket), w->id);
    *out = w;
    return 0;
}

uint16_t gfs_worker_data_port(const struct gfs_worker *worker)
{
    return gfsi_server_port(worker->server);
}

uint16_t gfs_worker_web_port(const struct gfs_worker *worker)
{
    return worker->http != NULL ? gfs_http_port(worker->http) : 0;
}

struct gfs_worker *gfs_worker_stop(struct gfs_worker *w)
{
    if (w == NULL) {
        return NULL;
    }
    if (w->http != NULL) {
        gfs_http_stop(w->http); /* its pages look at the rest */
    }
    if (w->link != NULL) {
        gfsi_link_leave(w->link, gfs_clock_mono() + LEAVE);
    }
    if (w->server != NULL) {
        gfsi_server_drain(w->server, gfs_clock_mono() + w->config.drain_ns);
    }
    gfsi_link_stop(w->link);
    gfsi_mounts_cancel(w->mounts); /* fetches end ... */
    if (w->store != NULL) {
        gfsi_store_cancel(w->store); /* ... so do the reads that wait for them */
    }
    gfsi_server_stop(w->server);
    gfsi_store_close(w->store);
    gfsi_mounts_free(w->mounts);
    gfs_http_free(w->http);
    free(w);
    return NULL;
}
