#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>

#include "web_client.h"

#define REDIRECTS_MAX 5
#define BUFFER_SIZE   (256L * 1024)

struct gfsi_web_client {
    struct gfsi_web_client_config config;
    CURLSH *share;
    pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];

    pthread_mutex_t mutex;
    pthread_cond_t freed;
    CURL **idle; /* a stack: the handle used last has the warmest connection */
    uint32_t n_idle;
    uint32_t n_made;
    atomic_bool cancelled;
};

/* One perform: what the callbacks of libcurl share. */
struct transfer {
    struct gfsi_web_client *client;
    const struct gfsi_web_request *request;
    CURL *handle;
    struct gfsi_web_answer answer;
    struct gfs_err *err;
    bool headers_seen;
    bool enough;
    int error;
};

static void share_lock(CURL *handle, curl_lock_data data, curl_lock_access access, void *arg)
{
    struct gfsi_web_client *client = arg;

    (void)handle;
    (void)access;
    (void)pthread_mutex_lock(&client->share_locks[data]);
}

static void share_unlock(CURL *handle, curl_lock_data data, void *arg)
{
    struct gfsi_web_client *client = arg;

    (void)handle;
    (void)pthread_mutex_unlock(&client->share_locks[data]);
}

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int gfsi_web_client_new(const struct gfsi_web_client_config *config, struct gfsi_web_client **out,
                        struct gfs_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, global_init);

    struct gfsi_web_client *client = calloc(1, sizeof(*client));
    pthread_condattr_t attr;

    if (client == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    client->config = *config;
    client->idle = calloc(config->limits.connections, sizeof(*client->idle));
    client->share = curl_share_init();
    (void)pthread_mutex_init(&client->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&client->freed, &attr);
    (void)pthread_condattr_destroy(&attr);
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) {
        (void)pthread_mutex_init(&client->share_locks[i], NULL);
    }
    if (client->idle == NULL || client->share == NULL) {
        gfsi_web_client_free(client);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    (void)curl_share_setopt(client->share, CURLSHOPT_LOCKFUNC, share_lock);
    (void)curl_share_setopt(client->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
    (void)curl_share_setopt(client->share, CURLSHOPT_USERDATA, client);
    (void)curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    *out = client;
    return 0;
}

struct gfsi_web_client *gfsi_web_client_free(struct gfsi_web_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < client->n_idle; i++) {
        curl_easy_cleanup(client->idle[i]);
    }
    if (client->share != NULL) {
        (void)curl_share_cleanup(client->share);
    }
    for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) {
        (void)pthread_mutex_destroy(&client->share_locks[i]);
    }
    (void)pthread_cond_destroy(&client->freed);
    (void)pthread_mutex_destroy(&client->mutex);
    free(client->idle);
    free(client);
    return NULL;
}

void gfsi_web_client_cancel(struct gfsi_web_client *client)
{
    atomic_store(&client->cancelled, true);

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);

    (void)pthread_cond_broadcast(&client->freed);
    (void)guard;
}

/* Takes an idle handle, makes one while there may be more, or waits. */
static int acquire(struct gfsi_web_client *client, CURL **out, struct gfs_err *err)
{
    int64_t deadline = gfs_clock_mono() + client->config.limits.metadata_timeout_ns;
    struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);

    (void)guard;
    while (client->n_idle == 0 && client->n_made == client->config.limits.connections &&
           !atomic_load(&client->cancelled)) {
        if (pthread_cond_timedwait(&client->freed, &client->mutex, &until) == ETIMEDOUT) {
            return gfs_err_set(err, GFS_EBUSY, "all %" PRIu32 " connections are busy",
                               client->config.limits.connections);
        }
    }
    if (atomic_load(&client->cancelled)) {
        return gfs_err_set(err, GFS_ECANCELLED, "file system is closing");
    }
    if (client->n_idle > 0) {
        *out = client->idle[--client->n_idle];
        return 0;
    }
    *out = curl_easy_init();
    if (*out == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    client->n_made++;
    return 0;
}

static void release(struct gfsi_web_client *client, CURL *handle)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);

    (void)guard;
    client->idle[client->n_idle++] = handle;
    (void)pthread_cond_signal(&client->freed);
}

static size_t on_header_line(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;

    gfsi_web_answer_line(&t->answer, line, size * count);
    return size * count;
}

/* The end of the headers of the final answer: status, effective URL, and the caller's check. */
static int headers_complete(struct transfer *t)
{
    long status = 0;
    const char *url = NULL;

    if (t->headers_seen) {
        return t->error;
    }
    t->headers_seen = true;
    (void)curl_easy_getinfo(t->handle, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(t->handle, CURLINFO_EFFECTIVE_URL, &url);
    t->answer.status = (int)status;
    if (url == NULL || gfs_str_copy(t->answer.url, sizeof(t->answer.url), url) < 0) {
        t->error = gfs_err_set(t->err, GFS_EPROTO, "%s: redirects to a URL that is too long",
                               t->request->display);
        return t->error;
    }

    int code = gfsi_web_status_error((int)status);

    if (code < 0) {
        t->error =
            gfs_err_set(t->err, code, "%s: the server answers %ld", t->request->display, status);
    } else if (t->request->on_headers != NULL) {
        t->error = t->request->on_headers(t->request->arg, &t->answer, t->err);
    }
    return t->error;
}

static size_t on_body_bytes(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;

    if (headers_complete(t) < 0) {
        return 0;
    }
    if (len > 0 && t->request->on_body != NULL) {
        int rc = t->request->on_body(t->request->arg, data, len, t->err);

        if (rc != 0) {
            t->enough = rc > 0;
            t->error = rc < 0 ? rc : 0;
            return len > 0 ? 0 : 1;
        }
    }
    return len;
}

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                       curl_off_t ulnow)
{
    const struct transfer *t = arg;

    (void)dltotal;
    (void)dlnow;
    (void)ultotal;
    (void)ulnow;
    return atomic_load(&t->client->cancelled) ? 1 : 0;
}

static long to_ms(int64_t ns)
{
    int64_t ms = ns / GFS_NS_PER_MS;

    return ms > 0 ? (long)ms : 1;
}

static void setup_security(const struct transfer *t)
{
    const struct gfsi_web_client_config *config = &t->client->config;
    CURL *h = t->handle;

    (void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L);
    (void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L);
    (void)curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
#if CURL_AT_LEAST_VERSION(7, 85, 0)
    (void)curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, config->https ? "https" : "http,https");
#else
    (void)curl_easy_setopt(h, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    (void)curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS,
                           config->https ? (long)CURLPROTO_HTTPS
                                         : (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (config->user[0] != '\0') {
        (void)curl_easy_setopt(h, CURLOPT_USERNAME, config->user);
        (void)curl_easy_setopt(h, CURLOPT_PASSWORD, config->password);
    }
    if (config->ca_file[0] != '\0') {
        (void)curl_easy_setopt(h, CURLOPT_CAINFO, config->ca_file);
    }
}

static void setup(struct transfer *t, char *range, size_t range_size, char *agent,
                  size_t agent_size)
{
    const struct gfs_ufs_limits *limits = &t->client->config.limits;
    const struct gfsi_web_request *request = t->request;
    CURL *h = t->handle;
    int64_t stall_s = limits->stall_timeout_ns / GFS_NS_PER_S;

    curl_easy_reset(h); /* keeps connections, DNS and TLS caches */
    (void)curl_easy_setopt(h, CURLOPT_SHARE, t->client->share);
    (void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(h, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    (void)snprintf(agent, agent_size, "goosefs/%s", gfs_version());
    (void)curl_easy_setopt(h, CURLOPT_USERAGENT, agent);
    (void)curl_easy_setopt(h, CURLOPT_NOBODY, request->head ? 1L : 0L);
    (void)curl_easy_setopt(h, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    (void)curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    if (request->ranged) {
        (void)snprintf(range, range_size, "%" PRIu64 "-%" PRIu64, request->range_first,
                       request->range_last);
        (void)curl_easy_setopt(h, CURLOPT_RANGE, range);
    }
    (void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, to_ms(limits->connect_timeout_ns));
    (void)curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, stall_s > 0 ? (long)stall_s : 1L);
    if (request->timeout_ns > 0) {
        (void)curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, to_ms(request->timeout_ns));
    }
    (void)curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header_line);
    (void)curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body_bytes);
    (void)curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    setup_security(t);
}

static int timeout_error(const struct transfer *t)
{
    curl_off_t connected_us = 0;

    (void)curl_easy_getinfo(t->handle, CURLINFO_CONNECT_TIME_T, &connected_us);
    if (connected_us == 0) {
        return gfs_err_set(t->err, GFS_ETIMEOUT, "%s: no connection in time", t->request->display);
    }
    return gfs_err_set(t->err, GFS_ETIMEOUT, "%s: %s in time", t->request->display,
                       t->headers_seen ? "the server did not finish its answer"
                                       : "the server did not answer");
}

static int connect_error(const struct transfer *t)
{
    long os_errno = 0;

    (void)curl_easy_getinfo(t->handle, CURLINFO_OS_ERRNO, &os_errno);
    if (os_errno == 0) {
        return gfs_err_set(t->err, GFS_EUNAVAIL, "%s: cannot connect", t->request->display);
    }
    (void)gfs_err_set_errno(t->err, (int)os_errno, "%s: cannot connect", t->request->display);
    if (t->err != NULL) {
        t->err->code = GFS_EUNAVAIL;
    }
    return GFS_EUNAVAIL;
}

static int transfer_error(const struct transfer *t, CURLcode code)
{
    const char *display = t->request->display;

    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return timeout_error(t);
    case CURLE_COULDNT_CONNECT: return connect_error(t);
    case CURLE_COULDNT_RESOLVE_HOST:
        return gfs_err_set(t->err, GFS_EUNAVAIL, "%s: host name not found", display);
    case CURLE_ABORTED_BY_CALLBACK:
        return gfs_err_set(t->err, GFS_ECANCELLED, "%s: file system is closing", display);
    case CURLE_TOO_MANY_REDIRECTS:
        return gfs_err_set(t->err, GFS_EPROTO, "%s: more than %d redirects", display,
                           REDIRECTS_MAX);
    case CURLE_UNSUPPORTED_PROTOCOL:
        return gfs_err_set(t->err, GFS_EPROTO, "%s: redirect to a scheme that is not allowed",
                           display);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return gfs_err_set(t->err, GFS_EUNAUTH, "%s: TLS: %s", display, curl_easy_strerror(code));
    case CURLE_OUT_OF_MEMORY: return gfs_err_set(t->err, GFS_ENOMEM, "out of memory");
    case CURLE_WEIRD_SERVER_REPLY:
        return gfs_err_set(t->err, GFS_EPROTO, "%s: the answer is not HTTP", display);
    default: return gfs_err_set(t->err, GFS_EUNAVAIL, "%s: %s", display, curl_easy_strerror(code));
    }
}

int gfsi_web_client_perform(struct gfsi_web_client *client, const struct gfsi_web_request *request,
                            struct gfsi_web_answer *answer, struct gfs_err *err)
{
    struct transfer *t gfs_auto_free = calloc(1, sizeof(*t));
    char range[48];
    char agent[64];

    if (t == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *t = (struct transfer){.client = client, .request = request, .err = err};

    int rc = acquire(client, &t->handle, err);

    if (rc < 0) {
        return rc;
    }
    setup(t, range, sizeof(range), agent, sizeof(agent));

    CURLcode code = curl_easy_perform(t->handle);

    if (t->error == 0 && !t->enough) {
        if (code != CURLE_OK) {
            t->error = transfer_error(t, code);
        } else {
            (void)headers_complete(t); /* no body came: HEAD, or an empty one */
        }
    }
    release(client, t->handle);
    if (t->error == 0 && answer != NULL) {
        *answer = t->answer;
    }
    return t->error;
}
