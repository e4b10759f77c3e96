/* Each master dials every other one, and each stream carries frames both ways. So two masters have
 * up to two links: frames go over the own one while it is up, else over the peer's. A master that
 * comes back can be reached at once by what it dials, whatever back-off the others are in. */
#include "link_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define LOG          "raft-link"
#define BACKOFF_BASE (10 * GFS_NS_PER_MS)
#define BACKOFF_MAX  (250 * GFS_NS_PER_MS)

struct gfsi_peer *gfsi_peer_find(struct gfsi_transport *t, uint64_t id)
{
    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        if (id != 0 && t->peers[i].id == id) {
            return &t->peers[i];
        }
    }

    return NULL;
}

bool gfsi_peer_reachable(const struct gfsi_peer *p)
{
    return p->out != NULL || p->in != NULL;
}

/* ---- dialling ------------------------------------------------------------------------------- */

/* A peer that is due, or NULL and when to look again. */
static struct gfsi_peer *due_peer(struct gfsi_transport *t, int64_t now, int64_t *out_next)
{
    *out_next = now + GFS_NS_PER_S;
    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        struct gfsi_peer *p = &t->peers[i];

        if (p->id == 0 || p->dialing || p->channel == NULL) {
            continue;
        }

        if (p->next_try <= now) {
            return p;
        }

        *out_next = p->next_try < *out_next ? p->next_try : *out_next;
    }

    return NULL;
}

static void *dialer_main(void *arg)
{
    struct gfsi_transport *t = arg;

    (void)pthread_mutex_lock(&t->mutex);
    while (!t->stopping) {
        int64_t next;
        struct gfsi_peer *p = due_peer(t, gfs_clock_mono(), &next);
        struct timespec until = {.tv_sec = next / GFS_NS_PER_S, .tv_nsec = next % GFS_NS_PER_S};
        struct gfs_rpc_channel *channel;
        uint64_t id;

        if (p == NULL) {
            (void)pthread_cond_timedwait(&t->changed, &t->mutex, &until);
            continue;
        }

        p->dialing = true;
        channel = p->channel;
        id = p->id;
        (void)pthread_mutex_unlock(&t->mutex);
        if (gfsi_link_dial(t, channel, id) != 0) {
            (void)pthread_mutex_lock(&t->mutex);
            p = gfsi_peer_find(t, id);
            if (p != NULL) {
                p->dialing = false;
                p->next_try = gfs_clock_mono() + BACKOFF_MAX;
            }
            continue;
        }

        (void)pthread_mutex_lock(&t->mutex);
    }

    (void)pthread_mutex_unlock(&t->mutex);
    return NULL;
}

/* ---- peers ---------------------------------------------------------------------------------- */

static bool named(const struct gfsi_peer *p, const uint64_t *ids, const char *const *addresses,
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == p->id && strcmp(addresses[i], p->address) == 0) {
            return true;
        }
    }

    return false;
}

static void add_peer(struct gfsi_transport *t, uint64_t id, const char *address)
{
    const struct gfs_rpc_channel_opts opts = {
        .hosts = t->opts.hosts,
        .max_message = t->opts.max_frame + 64,
    };
    struct gfs_err err = GFS_ERR_INIT;

    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        struct gfsi_peer *p = &t->peers[i];

        if (p->id != 0 || p->channel != NULL) {
            continue;
        }

        *p = (struct gfsi_peer){.id = id};
        gfs_backoff_init(&p->backoff, BACKOFF_BASE, BACKOFF_MAX, t->opts.self * 31 + id);
        if (gfs_str_copy(p->address, sizeof(p->address), address) != 0 ||
            gfs_rpc_channel_new(address, &opts, &p->channel, &err) != 0) {
            gfs_error(LOG, "peer cannot be dialled", "peer=%" PRIu64 " address=%s why=%s", id,
                      GFS_Q(address), GFS_Q(err.text));
        }
        return;
    }
}

/* Closes links and channel of a peer that is not a member any more. Its slot stays taken (id 0, a
 * channel) until the transport is freed: freeing the channel here would wait for callbacks that
 * need the lock. */
static void drop_peer(struct gfsi_peer *p)
{
    if (p->out != NULL) {
        gfs_rpc_stream_close(p->out);
        gfs_rpc_stream_unref(p->out);
    }

    if (p->in != NULL) {
        gfs_rpc_stream_close(p->in);
        gfs_rpc_stream_unref(p->in);
    }

    if (p->channel != NULL) {
        gfs_rpc_channel_close(p->channel);
    }

    p->id = 0;
    p->out = NULL;
    p->in = NULL;
}

void gfsi_transport_peers(struct gfsi_transport *t, const uint64_t *ids,
                          const char *const *addresses, size_t n)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&t->mutex);

    if (t->stopping) {
        return;
    }

    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        if (t->peers[i].id != 0 && !named(&t->peers[i], ids, addresses, n)) {
            drop_peer(&t->peers[i]);
        }
    }

    for (size_t i = 0; i < n; i++) {
        if (ids[i] != t->opts.self && gfsi_peer_find(t, ids[i]) == NULL) {
            add_peer(t, ids[i], addresses[i]);
        }
    }

    (void)pthread_cond_signal(&t->changed);
}

int gfsi_transport_send(struct gfsi_transport *t, uint64_t peer, const struct iovec *iov,
                        int iovcnt)
{
    struct gfs_rpc_stream *stream = NULL;
    struct gfsi_peer *p;
    uint8_t *joined gfs_auto_free = NULL;
    size_t len = 0;
    int rc;

    (void)pthread_mutex_lock(&t->mutex);
    p = gfsi_peer_find(t, peer);
    if (p != NULL && gfsi_peer_reachable(p)) {
        stream = gfs_rpc_stream_ref(p->out != NULL ? p->out : p->in);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    if (stream == NULL) {
        return GFS_EUNAVAIL;
    }

    for (int i = 2; i < iovcnt; i++) {
        len += iov[i].iov_len;
    }

    if (len == 0) {
        rc = gfs_rpc_stream_send2(stream, iov[0].iov_base, iov[0].iov_len,
                                  iovcnt > 1 ? iov[1].iov_base : NULL,
                                  iovcnt > 1 ? iov[1].iov_len : 0);
        gfs_rpc_stream_unref(stream);
        return rc;
    }

    len += iov[1].iov_len;
    joined = malloc(len);
    if (joined == NULL) {
        gfs_rpc_stream_unref(stream);
        return GFS_ENOMEM;
    }

    len = 0;
    for (int i = 1; i < iovcnt; i++) {
        if (iov[i].iov_len > 0) {
            memcpy(joined + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
    }

    rc = gfs_rpc_stream_send2(stream, iov[0].iov_base, iov[0].iov_len, joined, len);
    gfs_rpc_stream_unref(stream);
    return rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

int gfsi_transport_new(const struct gfsi_transport_opts *opts, struct gfsi_transport **out,
                       struct gfs_err *err)
{
    const struct gfs_rpc_server_opts server_opts = {
        .name = "raft-rpc",
        .max_message = opts->max_frame + 64,
        .n_threads = 1,
        .metrics = opts->metrics,
    };
    const struct gfs_rpc_stream_opts stream_opts = {.queue_bytes = 4 * opts->max_frame};
    struct gfsi_transport *t = calloc(1, sizeof(*t));
    pthread_condattr_t attr;
    int rc;

    if (t == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    t->opts = *opts;
    (void)pthread_mutex_init(&t->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    rc = gfs_str_copy(t->cluster, sizeof(t->cluster), opts->cluster);
    if (rc != 0) {
        rc = gfs_err_set(err, GFS_EINVAL, "goosefs.master.cluster.id is too long");
    }

    rc = rc != 0 ? rc : gfs_rpc_server_new(&server_opts, &t->server, err);
    rc = rc != 0 ? rc : gfs_rpc_server_listen(t->server, opts->listen, opts->hosts, 0, NULL, err);
    rc = rc != 0
             ? rc
             : gfs_rpc_server_add_stream(t->server, GFSI_LINK_METHOD, &stream_opts,
                                         gfsi_link_server(), 4 * GFSI_TRANSPORT_PEERS_MAX, t, err);
    if (rc != 0) {
        gfsi_transport_free(t);
        return rc;
    }

    *out = t;
    return 0;
}

int gfsi_transport_start(struct gfsi_transport *t, struct gfs_err *err)
{
    int rc = gfs_rpc_server_start(t->server, err);

    if (rc != 0) {
        return rc;
    }

    rc = pthread_create(&t->dialer, NULL, dialer_main, t);
    if (rc != 0) {
        return gfs_err_set_errno(err, rc, "cannot start a thread");
    }

    t->dialer_runs = true;
    (void)pthread_setname_np(t->dialer, "raft-dial");
    return 0;
}

void gfsi_transport_stop(struct gfsi_transport *t)
{
    (void)pthread_mutex_lock(&t->mutex);
    t->stopping = true;
    (void)pthread_cond_signal(&t->changed);
    (void)pthread_mutex_unlock(&t->mutex);
    if (t->dialer_runs) {
        (void)pthread_join(t->dialer, NULL);
        t->dialer_runs = false;
    }

    /* Nobody adds channels any more, and free waits for callbacks: no lock here. */
    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        t->peers[i].channel = gfs_rpc_channel_free(t->peers[i].channel);
    }

    if (t->server != NULL) {
        gfs_rpc_server_stop(t->server, 0);
    }
}

void gfsi_transport_free(struct gfsi_transport *t)
{
    if (t == NULL) {
        return;
    }

    gfsi_transport_stop(t);
    t->server = gfs_rpc_server_free(t->server);
    for (size_t i = 0; i < GFSI_TRANSPORT_PEERS_MAX; i++) {
        gfs_rpc_stream_unref(t->peers[i].out);
        gfs_rpc_stream_unref(t->peers[i].in);
    }

    (void)pthread_cond_destroy(&t->changed);
    (void)pthread_mutex_destroy(&t->mutex);
    free(t);
}
