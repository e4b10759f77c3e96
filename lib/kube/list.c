#include "http_priv.h"

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE          100  /* bounds what a list costs for a moment: objects are 10 KiB and more */
#define PAGES_MAX     1000 /* of one list; a server that never ends is refused */
#define EVENT_MAX     (4u << 20) /* bytes of one watch event: etcd refuses larger objects */
#define WATCH_SECONDS 290        /* the server ends the watch then, and we resume */

/* Appends "&key=value", escaped. */
static int add_query(struct gfs_buf *path, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0') {
        return GFS_OK;
    }
    char *escaped = curl_easy_escape(NULL, value, 0);
    if (escaped == NULL) {
        return GFS_ENOMEM;
    }
    int rc = gfs_buf_printf(path, "&%s=%s", key, escaped);
    curl_free(escaped);
    return rc;
}

static int begin_query(struct gfs_buf *path, const struct gfs_kube_resource *resource,
                       const struct gfs_kube_selector *selector, const char *first,
                       struct gfs_err *err)
{
    char base[GFS_KUBE_PATH_MAX];
    int rc = gfs_kube_path(resource, selector == NULL ? NULL : selector->ns, NULL, NULL, base,
                           sizeof base);
    if (rc < 0) {
        return gfs_err_set(err, rc, "invalid namespace");
    }
    (void)gfs_buf_printf(path, "%s?%s", base, first);
    if (selector != NULL) {
        (void)add_query(path, "labelSelector", selector->labels);
        (void)add_query(path, "fieldSelector", selector->fields);
    }
    return path->error < 0 ? gfs_err_set(err, path->error, "selector too long") : GFS_OK;
}

static int get_page(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const struct gfs_kube_selector *selector, const char *next, json_t **out,
                    struct gfs_err *err)
{
    struct gfs_buf path gfs_auto_buf;
    gfs_buf_init(&path, 16384);
    char first[32];
    (void)snprintf(first, sizeof first, "limit=%d", PAGE);
    int rc = begin_query(&path, resource, selector, first, err);
    if (rc < 0) {
        return rc;
    }
    (void)add_query(&path, "continue", next);
    if (path.error < 0) {
        return gfs_err_set(err, path.error, "continue token too long");
    }

    struct gfsi_kube_exchange exchange = {.method = "GET", .path = gfs_buf_str(&path)};
    struct gfsi_kube_answer answer;
    rc = gfsi_kube_exchange(client, &exchange, &answer, err);
    if (rc == GFS_OK) {
        rc = gfsi_kube_status(&answer, "GET", exchange.path, err);
    }
    json_t *page = NULL;
    if (rc == GFS_OK) {
        page = json_loadb(gfs_buf_str(&answer.body), answer.body.len, 0, NULL);
        if (!json_is_array(json_object_get(page, "items"))) {
            json_decref(page);
            rc = gfs_err_set(err, GFS_EPROTO, "%s: the answer is no list", exchange.path);
        }
    }
    gfs_buf_fini(&answer.body);
    if (rc == GFS_OK) {
        *out = page;
    }
    return rc;
}

int gfs_kube_list(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                  const struct gfs_kube_selector *selector, gfs_kube_each_fn each, void *arg,
                  char *out_version, size_t out_version_size, struct gfs_err *err)
{
    char *next gfs_auto_free = NULL;
    for (int pages = 0; pages < PAGES_MAX; pages++) {
        json_t *page = NULL;
        int rc = get_page(client, resource, selector, next, &page, err);
        if (rc < 0) {
            return rc;
        }

        size_t i = 0;
        json_t *item = NULL;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            rc = each(arg, item);
            if (rc < 0) {
                break;
            }
        }
        const char *version = gfs_kube_version(page);
        if (rc >= 0 && out_version != NULL &&
            gfs_str_copy(out_version, out_version_size, version) < 0) {
            rc = gfs_err_set(err, GFS_EPROTO, "resource version too long");
        }
        const char *more = json_string_value(gfs_kube_at(page, "metadata", "continue", NULL));
        free(next);
        next = more == NULL || more[0] == '\0' ? NULL : strdup(more);
        json_decref(page);
        if (rc < 0 || next == NULL) {
            return rc < 0 ? rc : GFS_OK;
        }
    }
    return gfs_err_set(err, GFS_ERANGE, "list of %s has more than %d pages", resource->plural,
                       PAGES_MAX);
}

/* ---- watch: one JSON document per line ---- */

static int status_event(struct gfsi_kube_events *w, const json_t *status)
{
    long code = (long)json_integer_value(json_object_get(status, "code"));
    const char *reason = json_string_value(json_object_get(status, "reason"));
    const char *message = json_string_value(json_object_get(status, "message"));
    return gfs_err_set(w->err, gfsi_kube_status_code(code, reason), "watch: %ld %s", code,
                       message != NULL ? message : "");
}

static int take_line(struct gfsi_kube_events *w)
{
    if (w->line.len == 0) {
        return GFS_OK;
    }
    json_t *event = json_loadb(w->line.data, w->line.len, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    int rc = GFS_OK;
    if (type == NULL || !json_is_object(object)) {
        rc = gfs_err_set(w->err, GFS_EPROTO, "watch: a line is no event");
    } else if (strcmp(type, "ERROR") == 0) {
        rc = status_event(w, object);
    } else {
        w->each_rc = w->each(w->arg, type, object);
        rc = w->each_rc == 0 ? GFS_OK : GFS_ECANCELLED;
    }
    json_decref(event);
    gfs_buf_clear(&w->line);
    return rc;
}

/* Lines may be cut anywhere between two pieces of the stream, and one piece may hold many. */
int gfsi_kube_events_feed(void *arg, const char *data, size_t len)
{
    struct gfsi_kube_events *w = arg;
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end == NULL ? len : (size_t)(end - data);
        int rc = gfs_buf_append(&w->line, data, n);
        if (rc < 0) {
            return gfs_err_set(w->err, GFS_EPROTO, "watch: an event is larger than %u bytes",
                               EVENT_MAX);
        }
        if (end == NULL) {
            return GFS_OK;
        }
        rc = take_line(w);
        if (rc < 0) {
            return rc;
        }
        data += n + 1;
        len -= n + 1;
    }
    return GFS_OK;
}

void gfsi_kube_events_init(struct gfsi_kube_events *w, gfs_kube_event_fn each, void *arg,
                           struct gfs_err *err)
{
    *w = (struct gfsi_kube_events){.each = each, .arg = arg, .err = err};
    gfs_buf_init(&w->line, EVENT_MAX);
}

int gfs_kube_watch(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                   const struct gfs_kube_selector *selector, const char *version,
                   gfs_kube_event_fn each, void *arg, struct gfs_err *err)
{
    struct gfs_buf path gfs_auto_buf;
    gfs_buf_init(&path, 16384);
    char first[96];
    (void)snprintf(first, sizeof first, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%d",
                   WATCH_SECONDS);
    int rc = begin_query(&path, resource, selector, first, err);
    if (rc < 0) {
        return rc;
    }
    if (add_query(&path, "resourceVersion", version) < 0) {
        return gfs_err_set(err, GFS_ERANGE, "resource version too long");
    }

    struct gfsi_kube_events w;
    gfsi_kube_events_init(&w, each, arg, err);
    struct gfsi_kube_exchange exchange = {.method = "GET",
                                          .path = gfs_buf_str(&path),
                                          .stream = true,
                                          .sink = gfsi_kube_events_feed,
                                          .sink_arg = &w};
    struct gfsi_kube_answer answer;
    rc = gfsi_kube_exchange(client, &exchange, &answer, err);
    if (rc == GFS_OK) {
        rc = gfsi_kube_status(&answer, "GET", exchange.path, err);
    }
    gfs_buf_fini(&answer.body);
    gfs_buf_fini(&w.line);
    return w.each_rc != 0 ? w.each_rc : rc;
}
