#include "http_priv.h"

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_FLAGS (JSON_REJECT_DUPLICATES)

static char *dup_or_null(const char *s)
{
    return s == NULL ? NULL : strdup(s);
}

static int copy_config(const struct gfs_kube_config *from, struct gfs_kube_config *to)
{
    *to = (struct gfs_kube_config){
        .server = dup_or_null(from->server),
        .ca_pem = dup_or_null(from->ca_pem),
        .client_cert_pem = dup_or_null(from->client_cert_pem),
        .client_key_pem = dup_or_null(from->client_key_pem),
        .token = dup_or_null(from->token),
        .token_file = dup_or_null(from->token_file),
        .ns = dup_or_null(from->ns),
        .insecure = from->insecure,
    };
    bool complete = (to->server != NULL) && (to->ca_pem != NULL || from->ca_pem == NULL) &&
                    (to->client_cert_pem != NULL || from->client_cert_pem == NULL) &&
                    (to->client_key_pem != NULL || from->client_key_pem == NULL) &&
                    (to->token != NULL || from->token == NULL) &&
                    (to->token_file != NULL || from->token_file == NULL) &&
                    (to->ns != NULL || from->ns == NULL);
    return complete ? GFS_OK : GFS_ENOMEM;
}

int gfs_kube_client_new(const struct gfs_kube_config *config,
                        const struct gfs_kube_client_opts *opts, struct gfs_kube_client **out,
                        struct gfs_err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) { /* thread-safe since 7.84 */
        return gfs_err_set(err, GFS_EINTERNAL, "can't start the HTTP library");
    }
    struct gfs_kube_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    (void)pthread_mutex_init(&client->mutex, NULL);
    (void)pthread_cond_init(&client->cond, NULL);
    if (opts != NULL) {
        client->opts = *opts;
    }
    struct gfs_kube_client_opts *o = &client->opts;
    o->qps = o->qps > 0 ? o->qps : 20;
    o->burst = o->burst > 0 ? o->burst : 30;
    o->connections = o->connections > 0 ? o->connections : 16;
    o->connections =
        o->connections > GFSI_KUBE_CONNECTIONS_MAX ? GFSI_KUBE_CONNECTIONS_MAX : o->connections;
    o->timeout_ns = o->timeout_ns > 0 ? o->timeout_ns : 30 * GFS_NS_PER_S;
    client->tokens = o->burst;
    client->tokens_at = gfs_clock_mono();
    client->user_agent = strdup(o->user_agent != NULL ? o->user_agent : "goosefs");
    client->requests =
        gfs_metrics_get(o->metrics, GFS_METRIC_COUNTER, "goosefs_kube_requests_total", "",
                        "Requests to the API server.");
    client->failures =
        gfs_metrics_get(o->metrics, GFS_METRIC_COUNTER, "goosefs_kube_failures_total", "",
                        "Requests to the API server that failed.");
    client->latency = gfs_metrics_get(o->metrics, GFS_METRIC_HISTOGRAM, "goosefs_kube_seconds", "",
                                      "Time of requests to the API server, watches aside.");
    if (client->user_agent == NULL || copy_config(config, &client->config) < 0) {
        (void)gfs_kube_client_free(client);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *out = client;
    return GFS_OK;
}

void gfs_kube_client_cancel(struct gfs_kube_client *client)
{
    atomic_store(&client->cancelled, true);
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&client->mutex);
    (void)guard;
    (void)pthread_cond_broadcast(&client->cond);
}

struct gfs_kube_client *gfs_kube_client_free(struct gfs_kube_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < client->n_slots; i++) {
        curl_easy_cleanup(client->slots[i].handle);
    }
    if (client->file_token != NULL) {
        explicit_bzero(client->file_token, strlen(client->file_token));
        free(client->file_token);
    }
    gfs_kube_config_fini(&client->config);
    free(client->user_agent);
    (void)pthread_cond_destroy(&client->cond);
    (void)pthread_mutex_destroy(&client->mutex);
    free(client);
    curl_global_cleanup();
    return NULL;
}

const char *gfs_kube_client_namespace(const struct gfs_kube_client *client)
{
    return client->config.ns != NULL ? client->config.ns : "default";
}

static int parse(const struct gfsi_kube_answer *answer, const char *path, json_t **out,
                 struct gfs_err *err)
{
    json_error_t why;
    json_t *object = json_loadb(gfs_buf_str(&answer->body), answer->body.len, JSON_FLAGS, &why);
    if (object == NULL) {
        return gfs_err_set(err, GFS_EPROTO, "%s: the answer is no JSON: %s", path, why.text);
    }
    *out = object;
    return GFS_OK;
}

static int request(struct gfs_kube_client *client, const char *method, const char *path,
                   const char *content_type, const json_t *body, json_t **out, struct gfs_err *err)
{
    char *text gfs_auto_free = NULL;
    if (body != NULL) {
        text = json_dumps(body, JSON_COMPACT);
        if (text == NULL) {
            return gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
    }
    struct gfsi_kube_exchange exchange = {
        .method = method, .path = path, .content_type = content_type, .body = text};
    struct gfsi_kube_answer answer;
    int rc = gfsi_kube_exchange(client, &exchange, &answer, err);
    if (rc == GFS_OK) {
        rc = gfsi_kube_status(&answer, method, path, err);
    }
    if (rc == GFS_OK && out != NULL) {
        rc = parse(&answer, path, out, err);
    }
    gfs_buf_fini(&answer.body);
    return rc;
}

static int make_path(const struct gfs_kube_resource *resource, const char *ns, const char *name,
                     const char *sub, char *path, struct gfs_err *err)
{
    int rc = gfs_kube_path(resource, ns, name, sub, path, GFS_KUBE_PATH_MAX);
    return rc < 0 ? gfs_err_set(err, rc, "'%s' in '%s' is no valid %s name",
                                name != NULL ? name : "", ns != NULL ? ns : "", resource->kind)
                  : rc;
}

int gfs_kube_get(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                 const char *ns, const char *name, json_t **out, struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, name, NULL, path, err);
    return rc < 0 ? rc : request(client, "GET", path, NULL, NULL, out, err);
}

int gfs_kube_create(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, json_t *object, json_t **out, struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, NULL, NULL, path, err);
    return rc < 0 ? rc : request(client, "POST", path, "application/json", object, out, err);
}

int gfs_kube_update(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, const char *name, json_t *object, json_t **out,
                    struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, name, NULL, path, err);
    return rc < 0 ? rc : request(client, "PUT", path, "application/json", object, out, err);
}

int gfs_kube_apply(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                   const char *ns, const char *name, const char *subresource, const char *manager,
                   bool force, json_t *object, json_t **out, struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, name, subresource, path, err);
    if (rc < 0) {
        return rc;
    }
    size_t len = strlen(path);
    (void)snprintf(path + len, sizeof path - len, "?fieldManager=%s%s", manager,
                   force ? "&force=true" : "");
    /* JSON is YAML, and this is the only media type every server has for apply. */
    return request(client, "PATCH", path, "application/apply-patch+yaml", object, out, err);
}

int gfs_kube_merge_patch(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                         const char *ns, const char *name, const char *subresource, json_t *patch,
                         json_t **out, struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, name, subresource, path, err);
    return rc < 0 ? rc
                  : request(client, "PATCH", path, "application/merge-patch+json", patch, out, err);
}

int gfs_kube_delete(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, const char *name, const struct gfs_kube_delete_opts *opts,
                    struct gfs_err *err)
{
    char path[GFS_KUBE_PATH_MAX];
    int rc = make_path(resource, ns, name, NULL, path, err);
    if (rc < 0) {
        return rc;
    }
    json_t *body = json_pack("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
    if (opts != NULL && opts->uid != NULL) {
        (void)json_object_set_new(body, "preconditions", json_pack("{s:s}", "uid", opts->uid));
    }
    if (opts != NULL && opts->grace_seconds >= 0) {
        (void)json_object_set_new(body, "gracePeriodSeconds", json_integer(opts->grace_seconds));
    }
    if (opts != NULL && opts->propagation != NULL) {
        (void)json_object_set_new(body, "propagationPolicy", json_string(opts->propagation));
    }
    rc = body == NULL ? gfs_err_set(err, GFS_ENOMEM, "out of memory")
                      : request(client, "DELETE", path, "application/json", body, NULL, err);
    json_decref(body);
    return rc;
}
