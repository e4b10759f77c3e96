#include "platform/local/masters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/rpc/client.h>

#include "goosefs_master.pb-c.h"
#include "platform/local/masters_priv.h"

#define POLL_FAST_NS  (20 * GFS_NS_PER_MS)
#define POLL_SLOW_NS  (1 * GFS_NS_PER_S)
#define POLL_LIMIT_NS (2 * GFS_NS_PER_S) /* deadline of a question */
#define COUNT_NS      (3 * GFS_NS_PER_S) /* how often the size is asked at rest */

/* ---- calls: on the channel's thread only to come back to the loop ---- */

static void unref(struct gfsi_masters *m)
{
    if (--m->refs > 0) {
        return;
    }

    for (size_t i = 0; i < m->n_workers; i++) {
        free(m->workers[i].host);
    }

    free(m->workers);
    free(m->masters);
    free(m);
}

static void on_loop(void *arg)
{
    struct gfsi_call *call = arg;
    struct gfsi_masters *m = call->masters;

    if (!m->dead) {
        call->fn(m, call);
    }
    if (call->response != NULL) {
        protobuf_c_message_free_unpacked(call->response, NULL);
    }
    if (call->release != NULL) {
        call->release(call->arg);
    }

    free(call);
    unref(m);
}

static void on_done(void *arg, const struct gfs_rpc_result *result, ProtobufCMessage *response)
{
    struct gfsi_call *call = arg;

    call->result = *result;
    call->response = response;
    /* A post that is refused (4096 are waiting) is a loop that hangs: the call is lost with it. */
    if (gfsi_loop_post(call->masters->loop, on_loop, call) < 0) {
        gfs_error("local", "an answer was lost", "method=%s", call->method);
    }
}

void gfsi_masters_call(struct gfsi_masters *m, size_t to, const ProtobufCServiceDescriptor *service,
                       const char *method, const ProtobufCMessage *request, int64_t timeout_ns,
                       struct gfsi_call *call)
{
    struct gfs_err err = GFS_ERR_INIT;

    call->masters = m;
    call->method = method;
    call->to = to;
    m->refs++;

    int rc = gfs_rpc_call_async(m->masters[to].channel, service, method, request,
                                gfs_clock_mono() + timeout_ns, on_done, call, &err);

    if (rc < 0) {
        call->result.code = rc;
        (void)snprintf(call->result.text, sizeof(call->result.text), "%s", gfs_err_text(&err, rc));
        (void)gfsi_loop_post(m->loop, on_loop, call);
    }
}

struct gfsi_call *gfsi_call_new(gfsi_call_fn fn)
{
    struct gfsi_call *call = calloc(1, sizeof(*call));

    if (call != NULL) {
        call->fn = fn;
    }

    return call;
}

/* ---- who answers, who leads ---- */

static void ask_info(void *arg);
static void ask_workers(struct gfsi_masters *m);
static void ask_size(struct gfsi_masters *m);

static void next_poll(struct gfsi_masters *m, struct gfsi_master *master, bool fine)
{
    master->pause_ns = fine ? POLL_SLOW_NS : master->pause_ns * 3 / 2;
    if (master->pause_ns > POLL_SLOW_NS) {
        master->pause_ns = POLL_SLOW_NS;
    }

    gfsi_timer_set(m->loop, &master->timer, gfs_clock_mono() + master->pause_ns, ask_info, master);
}

static bool workers_missing(const struct gfsi_masters *m)
{
    size_t live = 0;

    for (size_t i = 0; i < m->n_workers; i++) {
        live += m->workers[i].live;
    }

    return live < m->expected_workers;
}

static void on_info(struct gfsi_masters *m, struct gfsi_call *call)
{
    struct gfsi_master *master = &m->masters[call->to];
    const Goosefs__V1__GetMasterInfoResponse *info =
        (const Goosefs__V1__GetMasterInfoResponse *)call->response;
    bool knows = call->result.code == 0 && info->leader_rpc_address[0] != '\0';
    bool leads = knows && info->this_is_leader;

    master->asking = false;
    if (master->answers != knows || master->leads != leads) {
        master->answers = knows;
        master->leads = leads;
        m->changed(m->arg);
    }

    next_poll(m, master, knows);
    if (leads) {
        ask_workers(m);
        ask_size(m);
        if (m->want_load) {
            gfsi_masters_load(m);
        }
    }
}

static void ask_info(void *arg)
{
    struct gfsi_master *master = arg;
    struct gfsi_masters *m = master->owner;
    Goosefs__V1__GetMasterInfoRequest request = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    struct gfsi_call *call = master->asking ? NULL : gfsi_call_new(on_info);

    if (call == NULL) {
        return;
    }

    master->asking = true;
    gfsi_masters_call(m, (size_t)(master - m->masters), &goosefs__v1__meta_master__descriptor,
                      "GetMasterInfo", &request.base, POLL_LIMIT_NS, call);
}

static ssize_t leader(const struct gfsi_masters *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->masters[i].leads) {
            return (ssize_t)i;
        }
    }

    return -1;
}

ssize_t gfsi_masters_leader(const struct gfsi_masters *m)
{
    return leader(m);
}

/* ---- workers ---- */

static void take_worker(struct gfsi_masters *m, const Goosefs__V1__WorkerInfo *info)
{
    struct gfsi_worker *w = &m->workers[m->n_workers];

    w->host = strdup(info->host);
    if (w->host == NULL) {
        return;
    }

    w->live = info->live;
    w->capacity = w->used = 0;
    for (size_t t = 0; t < info->n_tiers; t++) {
        w->capacity += info->tiers[t]->capacity;
        w->used += info->tiers[t]->used;
    }

    m->n_workers++;
}

static void on_workers_timer(void *arg)
{
    ask_workers(arg);
}

static void on_workers(struct gfsi_masters *m, struct gfsi_call *call)
{
    const Goosefs__V1__ListWorkersResponse *list =
        (const Goosefs__V1__ListWorkersResponse *)call->response;

    m->asking_workers = false;
    if (call->result.code == 0) {
        for (size_t i = 0; i < m->n_workers; i++) {
            free(m->workers[i].host);
        }
        m->n_workers = 0;
        for (size_t i = 0; i < list->n_workers && m->n_workers < GFSI_MASTERS_WORKERS_MAX; i++) {
            take_worker(m, list->workers[i]);
        }
        m->workers_known = true;
        m->changed(m->arg);
    }

    /* At rest the poll of the leader asks again. */
    if (workers_missing(m)) {
        m->workers_pause_ns = m->workers_pause_ns * 3 / 2;
        if (m->workers_pause_ns > POLL_SLOW_NS) {
            m->workers_pause_ns = POLL_SLOW_NS;
        }
        gfsi_timer_set(m->loop, &m->workers_timer, gfs_clock_mono() + m->workers_pause_ns,
                       on_workers_timer, m);
    }
}

static void ask_workers(struct gfsi_masters *m)
{
    Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    ssize_t to = leader(m);
    struct gfsi_call *call = to < 0 || m->asking_workers ? NULL : gfsi_call_new(on_workers);

    if (call == NULL) {
        return;
    }

    m->asking_workers = true;
    gfsi_masters_call(m, (size_t)to, &goosefs__v1__worker_master__descriptor, "ListWorkers",
                      &request.base, POLL_LIMIT_NS, call);
}

/* ---- size ---- */

static void on_size(struct gfsi_masters *m, struct gfsi_call *call)
{
    const Goosefs__V1__CountResponse *count = (const Goosefs__V1__CountResponse *)call->response;

    m->asking_size = false;
    if (call->result.code == 0) {
        m->sized = true;
        m->bytes = count->length;
        m->files = count->files;
        m->cached = count->cached_bytes;
        m->changed(m->arg);
    }
}

static void ask_size(struct gfsi_masters *m)
{
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    char path[] = "/";
    ssize_t to = leader(m);
    int64_t now = gfs_clock_mono();
    struct gfsi_call *call = NULL;

    if (to < 0 || m->asking_size || !m->loaded || now - m->size_asked < COUNT_NS) {
        return;
    }

    call = gfsi_call_new(on_size);
    if (call == NULL) {
        return;
    }

    request.path = path;
    m->asking_size = true;
    m->size_asked = now;
    gfsi_masters_call(m, (size_t)to, &goosefs__v1__file_system_master__descriptor, "Count",
                      &request.base, 60 * GFS_NS_PER_S, call);
}

void gfsi_masters_loaded(struct gfsi_masters *m)
{
    m->loaded = true;
    m->size_asked = gfs_clock_mono() - COUNT_NS;
    ask_size(m);
}

/* ---- life ---- */

int gfsi_masters_new(struct gfsi_loop *loop, const char *const *targets, size_t n,
                     gfsi_loop_fn changed, void *arg, struct gfsi_masters **out,
                     struct gfs_err *err)
{
    struct gfsi_masters *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    m->refs = 1;
    m->loop = loop;
    m->changed = changed;
    m->arg = arg;
    m->masters = calloc(n, sizeof(*m->masters));
    m->workers = calloc(GFSI_MASTERS_WORKERS_MAX, sizeof(*m->workers));

    int rc = m->masters != NULL && m->workers != NULL ? 0 : GFS_ENOMEM;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        m->masters[i].owner = m;
        rc = gfs_rpc_channel_new(targets[i], NULL, &m->masters[i].channel, err);
        m->n += rc == 0;
    }
    if (rc < 0) {
        (void)gfsi_masters_free(m);
        return rc;
    }

    gfsi_masters_hurry(m);
    *out = m;
    return 0;
}

struct gfsi_masters *gfsi_masters_free(struct gfsi_masters *m)
{
    if (m == NULL) {
        return NULL;
    }

    m->dead = true;
    gfsi_timer_clear(m->loop, &m->workers_timer);
    for (size_t i = 0; i < m->n; i++) {
        gfsi_timer_clear(m->loop, &m->masters[i].timer);
        m->masters[i].channel = gfs_rpc_channel_free(m->masters[i].channel);
    }

    /* Calls that were under way are posted by now; the last of them frees the memory. */
    unref(m);
    return NULL;
}

void gfsi_masters_hurry(struct gfsi_masters *m)
{
    for (size_t i = 0; i < m->n; i++) {
        m->masters[i].pause_ns = POLL_FAST_NS;
        gfsi_timer_set(m->loop, &m->masters[i].timer, 1, ask_info, &m->masters[i]);
    }

    m->workers_pause_ns = POLL_FAST_NS;
}

void gfsi_masters_expect_workers(struct gfsi_masters *m, size_t n)
{
    m->expected_workers = n;
}

bool gfsi_masters_answers(const struct gfsi_masters *m, size_t i)
{
    return i < m->n && m->masters[i].answers;
}

bool gfsi_masters_has_leader(const struct gfsi_masters *m)
{
    return leader(m) >= 0;
}

bool gfsi_masters_worker_live(const struct gfsi_masters *m, const char *host,
                              uint64_t *out_capacity, uint64_t *out_used)
{
    for (size_t i = 0; i < m->n_workers; i++) {
        const struct gfsi_worker *w = &m->workers[i];

        if (strcmp(w->host, host) != 0 || !w->live) {
            continue;
        }
        if (out_capacity != NULL) {
            *out_capacity = w->capacity;
        }
        if (out_used != NULL) {
            *out_used = w->used;
        }
        return true;
    }

    return false;
}

bool gfsi_masters_workers_known(const struct gfsi_masters *m)
{
    return m->workers_known;
}

bool gfsi_masters_cached(const struct gfsi_masters *m, uint64_t *out_cached)
{
    if (m->sized) {
        *out_cached = m->cached;
    }

    return m->sized;
}

bool gfsi_masters_size(const struct gfsi_masters *m, uint64_t *out_bytes, uint64_t *out_files)
{
    if (m->sized) {
        *out_bytes = m->bytes;
        *out_files = m->files;
    }

    return m->sized;
}
