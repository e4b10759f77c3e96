/* One call to the masters: whom to ask, whom next, how long. */
#include "client_priv.h"

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

/* How long reads go to the leader after a follower sent one there. */
#define FOLLOWER_REST_NS (5 * GFS_NS_PER_S)

/* An election takes a few hundred ms: longer pauses would show in every failover. */
#define PAUSE_MAX_NS (200 * GFS_NS_PER_MS)

enum route {
    ROUTE_READ,        /* any master may answer, or send us to the leader */
    ROUTE_ANY,         /* every master answers */
    ROUTE_LEADER,      /* the leader answers, others tell who it is */
    ROUTE_LEADER_SLOW, /* the same, and one try may take all the time there is */
    ROUTE_LEADER_ONCE, /* the same, and what failed is not tried again */
};

struct method {
    const ProtobufCServiceDescriptor *service;
    const char *name;
    enum route route;
};

#define ROW(fn, service_, method_, lower, type, route_)                                            \
    [GFS_CLIENT_METHOD_##fn] = {.service = &goosefs__v1__##service_##__descriptor,                 \
                                .name = #method_,                                                  \
                                .route = ROUTE_##route_},
static const struct method methods[GFS_CLIENT_N_METHODS] = {GFS_CLIENT_METHODS(ROW)};
#undef ROW

/* The state of one call. */
struct attempt {
    struct gfs_client *client;
    const struct method *method;
    int64_t deadline;
    bool to_leader;
    unsigned target;
    unsigned moves; /* to another master since the last pause */
};

static unsigned first_target(struct attempt *a)
{
    struct gfs_client *client = a->client;
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    a->to_leader = a->method->route != ROUTE_ANY &&
                   (a->method->route != ROUTE_READ || gfs_clock_mono() < client->reader_again);
    return a->to_leader ? client->leader : client->reader;
}

/* Remembers who answered, for the next call. */
static void note_success(const struct attempt *a)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&a->client->mutex);
    *(a->to_leader ? &a->client->leader : &a->client->reader) = a->target;
}

/* A master that is not the leader answered: whether it told who is. */
static bool follow_hint(struct attempt *a, const struct gfs_rpc_result *result)
{
    const int hint = gfsi_client_find_master(a->client, result->leader);
    (void)pthread_mutex_lock(&a->client->mutex);
    if (!a->to_leader) {
        a->client->reader_again = gfs_clock_mono() + FOLLOWER_REST_NS;
    }
    if (hint >= 0) {
        a->client->leader = (unsigned)hint;
    }
    (void)pthread_mutex_unlock(&a->client->mutex);

    const bool was_to_leader = a->to_leader;
    a->to_leader = true;
    if (hint < 0 || (hint == (int)a->target && was_to_leader)) {
        return false;
    }
    a->target = (unsigned)hint;
    return true;
}

/* Whether to ask another master at once; else after a pause. */
static bool move(struct attempt *a, int code, const struct gfs_rpc_result *result)
{
    const unsigned n = a->client->n_masters;
    const unsigned failed = a->target;
    bool moved = false;
    if (code == GFS_ENOTLEADER && follow_hint(a, result)) {
        moved = true;
    } else if (a->to_leader) {
        const int leader = gfsi_client_discover(a->client, failed, a->deadline);
        moved = leader >= 0 && leader != (int)failed;
        a->target = leader >= 0 ? (unsigned)leader : (failed + 1) % n;
    } else {
        a->target = (failed + 1) % n;
        moved = true;
    }
    a->moves++;
    if (!moved || a->moves >= n) {
        a->moves = 0;
        return false;
    }
    return true;
}

/* What may pass by itself or at another master. NOMEM and NOSPC are left to the caller. */
static bool passes(const struct gfs_client *client, int code)
{
    (void)client;
    switch (code) {
    case GFS_EUNAVAIL:
    case GFS_ENOTLEADER:
    case GFS_ETIMEOUT:
    case GFS_EABORTED:
    case GFS_EBUSY:
    case GFS_EUNKNOWN:
    case GFS_ECANCELLED: /* by a server that stops; by ourselves is asked for before */ return true;
    default: return false;
    }
}

static int try_once(struct attempt *a, const ProtobufCMessage *request, ProtobufCMessage **out,
                    struct gfs_rpc_result *result, struct gfs_err *err)
{
    int64_t deadline = gfs_clock_mono() + a->client->try_ns;
    if (deadline > a->deadline || a->method->route == ROUTE_LEADER_SLOW) {
        deadline = a->deadline;
    }
    return gfs_rpc_call_sync_result(a->client->masters[a->target].channel, a->method->service,
                                    a->method->name, request, out, deadline, result, err);
}

/* Pauses before the next try; an error when there is no time for one, or the client is closed. */
static int pause_before(struct attempt *a, struct gfs_rpc_retry *retry, int code)
{
    int64_t delay;
    if (a->method->route == ROUTE_LEADER_ONCE ||
        !gfs_rpc_retry_delay(retry, code == GFS_ECANCELLED ? GFS_EUNAVAIL : code, &delay)) {
        return code;
    }
    return gfsi_client_sleep(a->client, gfs_clock_mono() + delay) ? 0 : GFS_ECANCELLED;
}

int gfs_client_call(struct gfs_client *client, enum gfs_client_method method,
                    const ProtobufCMessage *request, ProtobufCMessage **out, int64_t deadline,
                    struct gfs_err *err)
{
    struct attempt a = {.client = client,
                        .method = &methods[method],
                        .deadline = gfsi_client_deadline(client, deadline)};
    a.target = first_target(&a);
    struct gfs_rpc_retry retry;
    gfs_rpc_retry_init(&retry, a.deadline, &client->budget);
    retry.backoff.max_ns = PAUSE_MAX_NS;
    struct gfs_err last = GFS_ERR_INIT;

    for (;;) {
        struct gfs_rpc_result result;
        struct gfs_err now = GFS_ERR_INIT;
        const int rc = try_once(&a, request, out, &result, &now);
        if (rc == 0) {
            int64_t unused;
            (void)gfs_rpc_retry_delay(&retry, 0, &unused);
            note_success(&a);
            return 0;
        }
        if (gfsi_client_closed(client)) {
            return gfs_err_set(err, GFS_ECANCELLED, "the client is closed");
        }
        if (!passes(client, rc)) {
            return gfs_err_set(err, rc, "%s", gfs_err_text(&now, rc));
        }

        /* A try cut short by the deadline says less than the one before. */
        if (rc != GFS_ETIMEOUT || last.code == 0) {
            last = now;
            last.code = rc;
        }
        gfs_metric_add(client->retries, 1);
        const bool at_once = rc != GFS_EBUSY && move(&a, rc, &result);
        const int stop =
            at_once && gfs_clock_mono() < a.deadline ? 0 : pause_before(&a, &retry, rc);
        if (stop == GFS_ECANCELLED && gfsi_client_closed(client)) {
            return gfs_err_set(err, GFS_ECANCELLED, "the client is closed");
        }
        if (stop < 0) {
            return gfs_err_set(err, last.code, "no master answered in time: %s",
                               gfs_err_text(&last, last.code));
        }
    }
}

int gfs_client_call_master(struct gfs_client *client, size_t i, enum gfs_client_method method,
                           const ProtobufCMessage *request, ProtobufCMessage **out,
                           int64_t deadline, struct gfs_err *err)
{
    GFS_ASSERT_LT(i, client->n_masters);
    return gfs_rpc_call_sync(client->masters[i].channel, methods[method].service,
                             methods[method].name, request, out,
                             gfsi_client_deadline(client, deadline), err);
}
