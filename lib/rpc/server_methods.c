/* The table of methods: built before start, read-only while the server runs. */
#include "server_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/assert.h>

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct gfsi_method *)a)->path, ((const struct gfsi_method *)b)->path);
}

void gfsi_methods_sort(struct gfs_rpc_server *server)
{
    if (server->n_methods > 0) {
        qsort(server->methods, server->n_methods, sizeof(*server->methods), compare);
    }
}

struct gfsi_method *gfsi_method_find(const struct gfs_rpc_server *server, const char *path,
                                     size_t len)
{
    size_t low = 0, high = server->n_methods;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        struct gfsi_method *method = &server->methods[middle];
        const size_t own = strlen(method->path);
        int order = memcmp(path, method->path, len < own ? len : own);
        if (order == 0 && len == own) {
            return method;
        }
        if (order == 0) {
            order = len < own ? -1 : 1;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

int gfsi_method_add(struct gfs_rpc_server *server, const struct gfsi_method *method,
                    struct gfs_err *err)
{
    GFS_ASSERT_EQ(server->state, GFSI_SERVER_NEW);
    if (server->n_methods >= GFSI_SERVER_METHODS_MAX) {
        return gfs_err_set(err, GFS_ERANGE, "more than %d methods", GFSI_SERVER_METHODS_MAX);
    }
    for (size_t i = 0; i < server->n_methods; i++) {
        if (strcmp(server->methods[i].path, method->path) == 0) {
            return gfs_err_set(err, GFS_EEXIST, "method %s is added twice", method->path);
        }
    }

    struct gfsi_method *grown =
        realloc(server->methods, (server->n_methods + 1) * sizeof(*server->methods));
    if (grown == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    server->methods = grown;
    server->methods[server->n_methods++] = *method;
    return 0;
}

static void add_metrics(struct gfs_rpc_server *server, struct gfsi_method *method)
{
    if (server->metrics == NULL) {
        return;
    }
    char labels[GFS_RPC_METHOD_MAX + 16];
    (void)snprintf(labels, sizeof(labels), "method=\"%s\"", method->path + 1);
    method->seconds =
        gfs_metrics_get(server->metrics, GFS_METRIC_HISTOGRAM, "goosefs_rpc_server_seconds", labels,
                        "Time from receiving a request to its reply");
    method->errors =
        gfs_metrics_get(server->metrics, GFS_METRIC_COUNTER, "goosefs_rpc_server_errors_total",
                        labels, "Calls that failed or were cancelled");
}

int gfs_rpc_server_add_service(struct gfs_rpc_server *server,
                               const ProtobufCServiceDescriptor *service,
                               const struct gfs_rpc_method *methods, void *user,
                               struct gfs_err *err)
{
    for (const struct gfs_rpc_method *m = methods; m->name != NULL; m++) {
        const ProtobufCMethodDescriptor *descriptor =
            protobuf_c_service_descriptor_get_method_by_name(service, m->name);
        if (descriptor == NULL || m->handler == NULL) {
            return gfs_err_set(err, GFS_EINVAL, "service %s has no method %s", service->name,
                               m->name);
        }

        struct gfsi_method method = {.user = user,
                                     .input = descriptor->input,
                                     .output = descriptor->output,
                                     .handler = m->handler};
        const int len =
            snprintf(method.path, sizeof(method.path), "/%s/%s", service->name, m->name);
        if (len < 0 || (size_t)len >= sizeof(method.path)) {
            return gfs_err_set(err, GFS_ENAMETOOLONG, "method name %s is too long", m->name);
        }
        add_metrics(server, &method);
        const int rc = gfsi_method_add(server, &method, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int gfs_rpc_server_add_stream(struct gfs_rpc_server *server, const char *path,
                              const struct gfs_rpc_stream_opts *opts,
                              const struct gfs_rpc_stream_server *callbacks, unsigned max_streams,
                              void *user, struct gfs_err *err)
{
    struct gfsi_method method = {.user = user,
                                 .is_stream = true,
                                 .stream = *callbacks,
                                 .stream_opts =
                                     opts != NULL ? *opts : (struct gfs_rpc_stream_opts){0},
                                 .max_streams = max_streams != 0 ? max_streams : 64};
    const int len = snprintf(method.path, sizeof(method.path), "%s", path);
    if (path[0] != '/' || len < 0 || (size_t)len >= sizeof(method.path)) {
        return gfs_err_set(err, GFS_EINVAL, "'%s' is not /package.Service/Method", path);
    }
    return gfsi_method_add(server, &method, err);
}
