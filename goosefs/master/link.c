/* One stream to or from a peer.
 *
 *   opened ── hello sent / awaited ──> up (hello of the right cluster, id, protocol) ──> closed
 *
 * Only an "up" link is used or reported; one that is refused in the hello never was. */
#include "link_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/log.h>

#include "goosefs_raft.pb-c.h"

#define LOG       "raft-link"
#define PROTOCOL  1
#define HELLO_MAX 512

/* User pointer of one stream. */
struct link {
    struct gfsi_transport *t;
    uint64_t peer; /* incoming: 0 until the hello */
    bool incoming;
    bool up;
};

/* ---- hello ---------------------------------------------------------------------------------- */

static int send_hello(struct gfsi_transport *t, struct gfs_rpc_stream *stream, uint64_t to)
{
    Goosefs__V1__RaftHello hello = GOOSEFS__V1__RAFT_HELLO__INIT;
    uint8_t bytes[HELLO_MAX];

    hello.cluster_id = t->cluster;
    hello.from = t->opts.self;
    hello.to = to;
    hello.protocol = PROTOCOL;
    if (goosefs__v1__raft_hello__get_packed_size(&hello) > sizeof(bytes)) {
        return GFS_ERANGE;
    }

    return gfs_rpc_stream_send(stream, bytes, goosefs__v1__raft_hello__pack(&hello, bytes));
}

/* Whether the hello fits; `expect` 0 takes any peer. *out_from is who sent it. */
static bool check_hello(struct gfsi_transport *t, uint64_t expect, const void *data, size_t len,
                        uint64_t *out_from)
{
    Goosefs__V1__RaftHello *hello =
        len > HELLO_MAX ? NULL : goosefs__v1__raft_hello__unpack(NULL, len, data);
    bool fits;

    if (hello == NULL) {
        gfs_warn(LOG, "what came is not a hello", "bytes=%zu", len);
        return false;
    }

    fits = strcmp(hello->cluster_id, t->cluster) == 0 && hello->to == t->opts.self &&
           hello->protocol == PROTOCOL && hello->from != 0 && hello->from != t->opts.self &&
           (expect == 0 || hello->from == expect);
    if (fits) {
        *out_from = hello->from;
    } else {
        gfs_warn(LOG, "hello refused", "from=%" PRIu64 " to=%" PRIu64 " cluster=%s protocol=%u",
                 hello->from, hello->to, GFS_Q(hello->cluster_id), hello->protocol);
    }

    goosefs__v1__raft_hello__free_unpacked(hello, NULL);
    return fits;
}

/* ---- links coming and going ----------------------------------------------------------------- */

static void link_up(struct link *link, struct gfs_rpc_stream *stream)
{
    struct gfsi_transport *t = link->t;
    struct gfs_rpc_stream *old = NULL;
    struct gfsi_peer *p;
    bool first = false;

    (void)pthread_mutex_lock(&t->mutex);
    p = gfsi_peer_find(t, link->peer);
    if (p != NULL) {
        struct gfs_rpc_stream **slot = link->incoming ? &p->in : &p->out;

        first = !gfsi_peer_reachable(p);
        old = *slot;
        *slot = gfs_rpc_stream_ref(stream);
        gfs_backoff_reset(&p->backoff);
    }

    link->up = true;
    (void)pthread_mutex_unlock(&t->mutex);
    if (old != NULL) { /* the peer came back before its old link was seen to break */
        gfs_rpc_stream_close(old);
        gfs_rpc_stream_unref(old);
    }

    if (first) {
        gfs_debug(LOG, "link up", "peer=%" PRIu64, link->peer);
        t->opts.on_link(t->opts.arg, link->peer, true);
    }
}

static void link_closed(struct link *link, struct gfs_rpc_stream *stream, const char *text)
{
    struct gfsi_transport *t = link->t;
    struct gfs_rpc_stream *old = NULL;
    struct gfsi_peer *p;
    bool lost = false;

    (void)pthread_mutex_lock(&t->mutex);
    p = gfsi_peer_find(t, link->peer);
    if (p != NULL) {
        struct gfs_rpc_stream **slot = link->incoming ? &p->in : &p->out;

        if (*slot == stream) {
            old = *slot;
            *slot = NULL;
            lost = !gfsi_peer_reachable(p);
        }

        if (!link->incoming) {
            p->dialing = false;
            p->next_try = gfs_clock_mono() + gfs_backoff_next(&p->backoff);
            (void)pthread_cond_signal(&t->changed);
        }
    }

    (void)pthread_mutex_unlock(&t->mutex);
    gfs_rpc_stream_unref(old);
    if (lost) {
        gfs_debug(LOG, "link down", "peer=%" PRIu64 " why=%s", link->peer, GFS_Q(text));
        t->opts.on_link(t->opts.arg, link->peer, false);
    }
}

static void take_message(struct link *link, struct gfs_rpc_stream *stream, const void *data,
                         size_t len)
{
    struct gfsi_transport *t = link->t;

    if (link->up) {
        t->opts.on_frame(t->opts.arg, link->peer, data, len);
        return;
    }

    if (!check_hello(t, link->peer, data, len, &link->peer) ||
        (link->incoming && send_hello(t, stream, link->peer) != 0)) {
        gfs_rpc_stream_close(stream);
        return;
    }

    link_up(link, stream);
}

static void on_message(struct gfs_rpc_stream *stream, void *user, const void *data, size_t len)
{
    take_message(user, stream, data, len);
}

static void on_close(struct gfs_rpc_stream *stream, void *user, int code, const char *text)
{
    struct link *link = user;

    (void)code;
    link_closed(link, stream, text);
    free(link);
}

static int on_accept(struct gfs_rpc_stream *stream, void *user, void **out_stream_user)
{
    struct gfsi_transport *t = user;
    struct link *link;
    bool stopping;

    (void)stream;
    (void)pthread_mutex_lock(&t->mutex);
    stopping = t->stopping;
    (void)pthread_mutex_unlock(&t->mutex);
    if (stopping) {
        return GFS_EUNAVAIL;
    }

    link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return GFS_ENOMEM;
    }

    link->t = t;
    link->incoming = true;
    *out_stream_user = link;
    return 0;
}

const struct gfs_rpc_stream_server *gfsi_link_server(void)
{
    static const struct gfs_rpc_stream_server callbacks = {
        .on_open = on_accept,
        .on_message = on_message,
        .on_close = on_close,
    };

    return &callbacks;
}

int gfsi_link_dial(struct gfsi_transport *t, struct gfs_rpc_channel *channel, uint64_t id)
{
    static const struct gfs_rpc_stream_client callbacks = {
        .on_message = on_message,
        .on_close = on_close,
    };
    const struct gfs_rpc_stream_opts opts = {.queue_bytes = 4 * t->opts.max_frame};
    struct link *link = calloc(1, sizeof(*link));
    struct gfs_rpc_stream *stream;
    int rc;

    if (link == NULL) {
        return GFS_ENOMEM;
    }

    link->t = t;
    link->peer = id;
    rc = gfs_rpc_stream_open(channel, GFSI_LINK_METHOD, &opts, &callbacks, link, &stream, NULL);
    if (rc != 0) {
        free(link);
        return rc;
    }

    (void)send_hello(t, stream, id); /* when it fails, on_close says so */
    gfs_rpc_stream_unref(stream);
    return 0;
}
