#include "http_priv.h"

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_FILE_MAX     65536
#define TOKEN_FILE_LIFE_NS (60 * GFS_NS_PER_S)
#define CONNECT_TIMEOUT_S  10L

/* ---- the pool ---- */

static struct gfsi_kube_slot *free_slot(struct gfs_kube_client *client)
{
    for (unsigned i = 0; i < client->n_slots; i++) {
        if (!client->slots[i].busy) {
            return &client->slots[i];
        }
    }
    if (client->n_slots < client->opts.connections) {
        struct gfsi_kube_slot *slot = &client->slots[client->n_slots];
        slot->handle = curl_easy_init();
        if (slot->handle != NULL) {
            client->n_slots++;
            return slot;
        }
    }
    return NULL;
}

static struct gfsi_kube_slot *take_slot(struct gfs_kube_client *client)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    (void)guard;
    for (;;) {
        if (atomic_load(&client->cancelled)) {
            return NULL;
        }
        struct gfsi_kube_slot *slot = free_slot(client);
        if (slot != NULL) {
            slot->busy = true;
            return slot;
        }
        (void)pthread_cond_wait(&client->cond, &client->mutex);
    }
}

static void give_slot(struct gfs_kube_client *client, struct gfsi_kube_slot *slot)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    (void)guard;
    curl_easy_reset(slot->handle);
    slot->busy = false;
    (void)pthread_cond_signal(&client->cond);
}

/* ---- the rate limit: a token bucket, as client-go's flowcontrol ---- */

static void wait_for_turn(struct gfs_kube_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    int64_t now = gfs_clock_mono();
    client->tokens += (double)(now - client->tokens_at) / 1e9 * client->opts.qps;
    client->tokens_at = now;
    if (client->tokens > client->opts.burst) {
        client->tokens = client->opts.burst;
    }
    client->tokens -= 1;
    double missing = -client->tokens;
    (void)pthread_mutex_unlock(&client->mutex);

    if (missing > 0) {
        gfs_clock_sleep_until(now + (int64_t)(missing / client->opts.qps * 1e9));
    }
}

/* ---- credentials ---- */

/* The bearer token, re-read from its file once a minute: service account tokens rotate. */
static char *bearer(struct gfs_kube_client *client)
{
    if (client->config.token_file == NULL) {
        return client->config.token == NULL ? NULL : strdup(client->config.token);
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    (void)guard;
    int64_t now = gfs_clock_mono();
    if (client->file_token == NULL || now - client->file_token_at > TOKEN_FILE_LIFE_NS) {
        struct gfs_buf text gfs_auto_buf;
        gfs_buf_init(&text, TOKEN_FILE_MAX);
        if (gfs_file_read(client->config.token_file, &text, NULL) == GFS_OK) {
            free(client->file_token);
            client->file_token = gfs_buf_take(&text);
            client->file_token_at = now;
        }
        if (client->file_token != NULL) {
            client->file_token[strcspn(client->file_token, "\r\n")] = '\0';
        }
    }
    return client->file_token == NULL ? NULL : strdup(client->file_token);
}

static struct curl_blob blob(const char *pem)
{
    return (struct curl_blob){.data = (void *)(uintptr_t)pem,
                              .len = strlen(pem),
                              .flags = CURL_BLOB_NOCOPY}; /* config outlives the transfer */
}

static void set_tls(struct gfs_kube_client *client, CURL *h)
{
    const struct gfs_kube_config *c = &client->config;
    if (c->ca_pem != NULL) {
        struct curl_blob b = blob(c->ca_pem);
        (void)curl_easy_setopt(h, CURLOPT_CAINFO_BLOB, &b);
    }
    if (c->client_cert_pem != NULL && c->client_key_pem != NULL) {
        struct curl_blob cert = blob(c->client_cert_pem);
        struct curl_blob key = blob(c->client_key_pem);
        (void)curl_easy_setopt(h, CURLOPT_SSLCERTTYPE, "PEM");
        (void)curl_easy_setopt(h, CURLOPT_SSLCERT_BLOB, &cert);
        (void)curl_easy_setopt(h, CURLOPT_SSLKEYTYPE, "PEM");
        (void)curl_easy_setopt(h, CURLOPT_SSLKEY_BLOB, &key);
    }
    if (c->insecure) {
        (void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* ---- one exchange ---- */

struct transfer {
    struct gfs_kube_client *client;
    const struct gfsi_kube_exchange *exchange;
    struct gfsi_kube_answer *answer;
    CURL *handle;
    int sink_rc;
};

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    long status = 0;
    (void)curl_easy_getinfo(t->handle, CURLINFO_RESPONSE_CODE, &status);
    size_t len = size * n;
    if (t->exchange->sink != NULL && status >= 200 && status < 300) {
        t->sink_rc = t->exchange->sink(t->exchange->sink_arg, data, len);
        return t->sink_rc == 0 ? len : CURL_WRITEFUNC_ERROR;
    }
    t->sink_rc = gfs_buf_append(&t->answer->body, data, len);
    return t->sink_rc == 0 ? len : CURL_WRITEFUNC_ERROR;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&((struct transfer *)user)->client->cancelled) ? 1 : 0;
}

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *line = NULL;
    if (asprintf(&line, "%s:%s%s", name, value[0] != '\0' ? " " : "", value) >= 0) {
        struct curl_slist *longer = curl_slist_append(*list, line);
        *list = longer != NULL ? longer : *list;
        explicit_bzero(line, strlen(line)); /* may be the token */
        free(line);
    }
}

static struct curl_slist *headers(struct gfs_kube_client *client,
                                  const struct gfsi_kube_exchange *exchange)
{
    struct curl_slist *list = NULL;
    add_header(&list, "Accept", "application/json");
    add_header(&list, "Expect", "");
    if (exchange->content_type != NULL) {
        add_header(&list, "Content-Type", exchange->content_type);
    }
    char *token = bearer(client);
    if (token != NULL) {
        char *value = NULL;
        if (asprintf(&value, "Bearer %s", token) >= 0) {
            add_header(&list, "Authorization", value);
            explicit_bzero(value, strlen(value));
            free(value);
        }
        explicit_bzero(token, strlen(token));
        free(token);
    }
    return list;
}

static void set_request(struct transfer *t, struct gfsi_kube_slot *slot, const char *url,
                        struct curl_slist *list)
{
    CURL *h = slot->handle;
    const struct gfsi_kube_exchange *e = t->exchange;
    slot->error[0] = '\0';
    (void)curl_easy_setopt(h, CURLOPT_URL, url);
    (void)curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, e->method);
    (void)curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(h, CURLOPT_ERRORBUFFER, slot->error);
    (void)curl_easy_setopt(h, CURLOPT_USERAGENT, t->client->user_agent);
    (void)curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
    (void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(h, CURLOPT_TCP_KEEPIDLE, 15L);
    (void)curl_easy_setopt(h, CURLOPT_TCP_KEEPINTVL, 5L);
    (void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    if (!e->stream) {
        (void)curl_easy_setopt(h, CURLOPT_TIMEOUT_MS,
                               (long)(t->client->opts.timeout_ns / GFS_NS_PER_MS));
    }
    if (e->body != NULL) {
        (void)curl_easy_setopt(h, CURLOPT_POSTFIELDS, e->body);
        (void)curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(e->body));
    }
    set_tls(t->client, h);
}

static int transfer_error(const struct transfer *t, CURLcode code, const char *detail,
                          struct gfs_err *err)
{
    const struct gfsi_kube_exchange *e = t->exchange;
    if (atomic_load(&t->client->cancelled)) {
        return gfs_err_set(err, GFS_ECANCELLED, "%s %s: cancelled", e->method, e->path);
    }
    if (t->sink_rc != 0) {
        return t->sink_rc == GFS_ERANGE
                   ? gfs_err_set(err, GFS_ERANGE, "%s %s: the answer is larger than %u bytes",
                                 e->method, e->path, GFS_KUBE_BODY_MAX)
                   : t->sink_rc;
    }
    int rc = code == CURLE_OPERATION_TIMEDOUT ? GFS_ETIMEOUT
             : code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CERTPROBLEM
                 ? GFS_EUNAUTH
                 : GFS_EUNAVAIL;
    return gfs_err_set(err, rc, "%s %s: %s", e->method, e->path,
                       detail[0] != '\0' ? detail : curl_easy_strerror(code));
}

static int perform(struct transfer *t, struct gfsi_kube_slot *slot, struct gfs_err *err)
{
    char *url gfs_auto_free = NULL;
    if (asprintf(&url, "%s%s", t->client->config.server, t->exchange->path) < 0) {
        url = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    struct curl_slist *list = headers(t->client, t->exchange);
    t->handle = slot->handle;
    set_request(t, slot, url, list);
    CURLcode code = curl_easy_perform(slot->handle);
    curl_slist_free_all(list);
    (void)curl_easy_getinfo(slot->handle, CURLINFO_RESPONSE_CODE, &t->answer->status);

    curl_off_t retry_after = 0;
    (void)curl_easy_getinfo(slot->handle, CURLINFO_RETRY_AFTER, &retry_after);
    t->answer->retry_after_ns = (int64_t)retry_after * GFS_NS_PER_S;
    return code == CURLE_OK ? GFS_OK : transfer_error(t, code, slot->error, err);
}

int gfsi_kube_exchange(struct gfs_kube_client *client, const struct gfsi_kube_exchange *exchange,
                       struct gfsi_kube_answer *answer, struct gfs_err *err)
{
    gfs_buf_init(&answer->body, GFS_KUBE_BODY_MAX);
    answer->status = 0;
    answer->retry_after_ns = 0;
    wait_for_turn(client);
    struct gfsi_kube_slot *slot = take_slot(client);
    if (slot == NULL) {
        return gfs_err_set(err, GFS_ECANCELLED, "%s %s: cancelled", exchange->method,
                           exchange->path);
    }

    struct transfer t = {.client = client, .exchange = exchange, .answer = answer};
    int64_t start = gfs_clock_mono();
    int rc = perform(&t, slot, err);
    give_slot(client, slot);

    gfs_metric_add(client->requests, 1);
    if (rc < 0 || answer->status >= 400) {
        gfs_metric_add(client->failures, 1);
    }
    if (!exchange->stream) {
        gfs_metric_observe(client->latency, gfs_clock_mono() - start);
    }
    gfs_debug("kube", "request", "method=%s path=%s status=%ld", exchange->method,
              GFS_Q(exchange->path), answer->status);
    return rc;
}
