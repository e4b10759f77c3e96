#include <gfs/kube/lease.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/kube/resources.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct gfs_kube_elector {
    struct gfs_kube_client *client;
    char *ns;
    char *name;
    char *identity;
    int64_t lease_ns;
    int64_t renew_ns;
    int64_t retry_ns;
    gfs_kube_leading_fn leading_fn;
    void *arg;

    pthread_mutex_t mutex; /* stopping */
    pthread_cond_t cond;
    bool stopping;
    pthread_t thread;

    /* The thread's own. */
    struct gfs_kube_lease_view view;
    bool leading;
    int64_t renewed_at;
};

static const char *spec_text(const json_t *lease, const char *key)
{
    const char *text = json_string_value(gfs_kube_at(lease, "spec", key, NULL));
    return text == NULL ? "" : text;
}

enum gfs_kube_lease_action gfs_kube_lease_decide(struct gfs_kube_lease_view *view,
                                                 const json_t *lease, const char *identity,
                                                 int64_t now)
{
    const char *holder = spec_text(lease, "holderIdentity");
    if (lease == NULL || holder[0] == '\0') {
        return GFS_KUBE_LEASE_TAKE;
    }

    char record[sizeof view->record];
    (void)snprintf(record, sizeof record, "%s %s", holder, spec_text(lease, "renewTime"));
    if (strcmp(record, view->record) != 0) {
        memcpy(view->record, record, sizeof record);
        view->changed_at = now;
    }
    if (strcmp(holder, identity) == 0) {
        return GFS_KUBE_LEASE_RENEW;
    }

    json_int_t seconds =
        json_integer_value(gfs_kube_at(lease, "spec", "leaseDurationSeconds", NULL));
    int64_t duration = (seconds > 0 && seconds < 86400 ? seconds : 15) * GFS_NS_PER_S;
    return now - view->changed_at > duration ? GFS_KUBE_LEASE_TAKE : GFS_KUBE_LEASE_WAIT;
}

/* MicroTime of the API: RFC 3339 with microseconds. */
static void micro_time(char *buf, size_t size)
{
    struct timespec ts;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf + n, size - n, ".%06ldZ", ts.tv_nsec / 1000);
}

/* The lease as it should be with us (or, released, nobody) as its holder. */
static json_t *claim(struct gfs_kube_elector *e, const json_t *lease, bool release)
{
    char now[48];
    micro_time(now, sizeof now);
    bool ours = strcmp(spec_text(lease, "holderIdentity"), e->identity) == 0;
    json_int_t transitions =
        json_integer_value(gfs_kube_at(lease, "spec", "leaseTransitions", NULL));
    const char *acquired = ours ? spec_text(lease, "acquireTime") : now;

    json_t *object =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:I, s:s, s:s, s:I}}", "apiVersion",
                  "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name", e->name,
                  "namespace", e->ns, "spec", "holderIdentity", release ? "" : e->identity,
                  "leaseDurationSeconds", (json_int_t)(release ? 1 : e->lease_ns / GFS_NS_PER_S),
                  "acquireTime", acquired[0] != '\0' ? acquired : now, "renewTime", now,
                  "leaseTransitions", transitions + (ours || lease == NULL ? 0 : 1));
    if (object != NULL && lease != NULL) {
        /* Without it two could both take the lease: the server refuses the second write. */
        (void)json_object_set_new(json_object_get(object, "metadata"), "resourceVersion",
                                  json_string(gfs_kube_version(lease)));
    }
    return object;
}

static int write_claim(struct gfs_kube_elector *e, const json_t *lease, bool release,
                       struct gfs_err *err)
{
    json_t *object = claim(e, lease, release);
    if (object == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    int rc = lease == NULL
                 ? gfs_kube_create(e->client, &gfs_kube_leases, e->ns, object, NULL, err)
                 : gfs_kube_update(e->client, &gfs_kube_leases, e->ns, e->name, object, NULL, err);
    json_decref(object);
    return rc;
}

static void set_leading(struct gfs_kube_elector *e, bool leading)
{
    if (e->leading != leading) {
        gfs_info("lease", leading ? "leading" : "not leading any more", "lease=%s/%s identity=%s",
                 e->ns, e->name, e->identity);
        e->leading = leading;
        e->leading_fn(e->arg, leading);
    }
}

static void turn(struct gfs_kube_elector *e)
{
    struct gfs_err err = GFS_ERR_INIT;
    json_t *lease = NULL;
    int rc = gfs_kube_get(e->client, &gfs_kube_leases, e->ns, e->name, &lease, &err);
    int64_t asked_at = gfs_clock_mono();
    if (rc == GFS_OK || rc == GFS_ENOENT) {
        enum gfs_kube_lease_action action =
            gfs_kube_lease_decide(&e->view, lease, e->identity, asked_at);
        if (action == GFS_KUBE_LEASE_WAIT) {
            set_leading(e, false);
            rc = GFS_OK;
        } else {
            rc = write_claim(e, lease, false, &err);
        }
        if (rc == GFS_OK && action != GFS_KUBE_LEASE_WAIT) {
            e->renewed_at = asked_at; /* the time before the write: the safe side */
            set_leading(e, true);
        }
    }
    json_decref(lease);
    if (rc < 0) {
        gfs_debug("lease", "turn failed", "lease=%s/%s error=%s", e->ns, e->name,
                  GFS_Q(gfs_err_text(&err, rc)));
    }
    if (e->leading && gfs_clock_mono() - e->renewed_at > e->renew_ns) {
        set_leading(e, false);
    }
}

static bool pause_for(struct gfs_kube_elector *e, int64_t ns)
{
    int64_t due = gfs_clock_mono() + ns;
    struct timespec ts = {.tv_sec = due / GFS_NS_PER_S, .tv_nsec = due % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&e->mutex);
    (void)guard;
    while (!e->stopping && pthread_cond_timedwait(&e->cond, &e->mutex, &ts) != ETIMEDOUT) {
    }
    return !e->stopping;
}

static void give_back(struct gfs_kube_elector *e)
{
    json_t *lease = NULL;
    if (gfs_kube_get(e->client, &gfs_kube_leases, e->ns, e->name, &lease, NULL) == GFS_OK &&
        strcmp(spec_text(lease, "holderIdentity"), e->identity) == 0) {
        (void)write_claim(e, lease, true, NULL); /* else it runs out by itself */
    }
    json_decref(lease);
}

static void *run(void *arg)
{
    struct gfs_kube_elector *e = arg;
    do {
        turn(e);
    } while (pause_for(e, e->retry_ns));

    bool was = e->leading;
    set_leading(e, false);
    if (was) {
        give_back(e);
    }
    return NULL;
}

static struct gfs_kube_elector *elector_free(struct gfs_kube_elector *e)
{
    free(e->ns);
    free(e->name);
    free(e->identity);
    (void)pthread_cond_destroy(&e->cond);
    (void)pthread_mutex_destroy(&e->mutex);
    free(e);
    return NULL;
}

int gfs_kube_elector_start(struct gfs_kube_client *client, const struct gfs_kube_lease_opts *opts,
                           gfs_kube_leading_fn leading, void *arg, struct gfs_kube_elector **out,
                           struct gfs_err *err)
{
    struct gfs_kube_elector *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&e->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&e->mutex, NULL);
    e->client = client;
    e->ns = strdup(opts->ns);
    e->name = strdup(opts->name);
    e->identity = strdup(opts->identity);
    e->lease_ns = opts->lease_ns > 0 ? opts->lease_ns : 15 * GFS_NS_PER_S;
    e->renew_ns = opts->renew_ns > 0 ? opts->renew_ns : 10 * GFS_NS_PER_S;
    e->retry_ns = opts->retry_ns > 0 ? opts->retry_ns : 2 * GFS_NS_PER_S;
    e->leading_fn = leading;
    e->arg = arg;
    if (e->ns == NULL || e->name == NULL || e->identity == NULL) {
        (void)elector_free(e);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (e->renew_ns >= e->lease_ns || e->retry_ns >= e->renew_ns) {
        (void)elector_free(e);
        return gfs_err_set(err, GFS_EINVAL, "a lease needs retry < renew < lease duration");
    }
    int errnum = pthread_create(&e->thread, NULL, run, e);
    if (errnum != 0) {
        (void)elector_free(e);
        return gfs_err_set_errno(err, errnum, "can't start a thread");
    }
    *out = e;
    return GFS_OK;
}

struct gfs_kube_elector *gfs_kube_elector_stop(struct gfs_kube_elector *e)
{
    if (e == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&e->mutex);
    e->stopping = true;
    (void)pthread_cond_broadcast(&e->cond);
    (void)pthread_mutex_unlock(&e->mutex);
    (void)pthread_join(e->thread, NULL);
    return elector_free(e);
}
