/* The control socket. Server threads only hand calls over; they are answered on the loop, at once
 * or (delete, wait) when it is so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "fluid_local.pb-c.h"
#include "platform/local/control_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/table.h"
#include "platform/local/pathf.h"

#define MESSAGE_MAX  (16u << 20)
#define WARNINGS_MAX 65536
#define JSON_MAX     (12u << 20)

/* A call on its way from a server thread to the loop. */
struct handover {
    struct gfsi_local *local;
    struct gfs_rpc_call *call;
    const ProtobufCMessage *request; /* lives until the reply */
    void (*fn)(struct gfsi_local *local, struct gfs_rpc_call *call,
               const ProtobufCMessage *request);
};

static void on_loop(void *arg)
{
    struct handover *h = arg;

    h->fn(h->local, h->call, h->request);
    free(h);
}

static void
hand_over(struct gfsi_local *local, struct gfs_rpc_call *call, const ProtobufCMessage *request,
          void (*fn)(struct gfsi_local *, struct gfs_rpc_call *, const ProtobufCMessage *))
{
    struct handover *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return;
    }

    *h = (struct handover){.local = local, .call = call, .request = request, .fn = fn};

    int rc = gfsi_loop_post(local->loop, on_loop, h);

    if (rc < 0) {
        free(h);
        gfs_rpc_fail(call, rc, NULL);
    }
}

/* ---- apply ---- */

/* Parses every file before anything is taken: a wrong file changes nothing. */
static int parse_files(const Fluid__Local__V1__ApplyRequest *request,
                       struct gfs_manifest **manifests, struct gfs_buf *messages)
{
    const char *ns = request->namespace_[0] != '\0' ? request->namespace_ : "default";
    int rc = 0;

    for (size_t i = 0; i < request->n_files; i++) {
        const Fluid__Local__V1__File *file = request->files[i];
        struct gfs_diags diags;
        int one = gfs_diags_init(&diags, file->name);

        if (one == 0) {
            one = gfs_manifest_parse(file->text, strlen(file->text), ns, &diags, &manifests[i]);
            gfs_diags_print(&diags, messages);
            gfs_diags_fini(&diags);
        }
        rc = one < 0 ? one : rc;
    }

    return rc;
}

static int exists(struct gfsi_local *local, const struct gfs_object *object, struct gfs_err *err)
{
    const struct gfsi_pair *pair = gfsi_pair_find(local, object->ns, object->name);

    if (pair == NULL ||
        (object->kind == GFS_KIND_DATASET ? pair->dataset : pair->runtime) == NULL) {
        return 0;
    }

    return gfs_err_set(err, GFS_EEXIST, "%s.data.fluid.io \"%s\" already exists",
                       gfs_object_kind_names(object->kind)->plural, object->name);
}

static int apply_one(struct gfsi_local *local, struct gfs_manifest *manifest, size_t i,
                     bool create_only, Fluid__Local__V1__Applied *out, struct gfs_err *err)
{
    struct gfs_object *object = manifest->objects[i];
    char *resource = NULL;
    int rc = create_only ? exists(local, object, err) : 0;

    if (rc < 0) {
        return rc;
    }
    if (asprintf(&resource, "%s.data.fluid.io/%s", gfs_object_kind_names(object->kind)->singular,
                 object->name) < 0) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    object = gfs_manifest_take(manifest, i);

    const char *verb = gfsi_pair_apply(local, object, 0, err);

    if (verb == NULL) {
        (void)gfs_object_free(object);
        free(resource);
        return err->code;
    }

    out->resource = resource;
    out->verb = (char *)(uintptr_t)verb;
    return 0;
}

static void apply_all(struct gfsi_local *local, struct gfs_rpc_call *call,
                      const Fluid__Local__V1__ApplyRequest *request,
                      struct gfs_manifest **manifests, struct gfs_buf *warnings)
{
    Fluid__Local__V1__Applied items[GFS_LOCAL_FILES_MAX * 4];
    Fluid__Local__V1__Applied *pointers[GFS_LOCAL_FILES_MAX * 4];
    Fluid__Local__V1__ApplyResponse response = FLUID__LOCAL__V1__APPLY_RESPONSE__INIT;
    struct gfs_err err = GFS_ERR_INIT;
    size_t n = 0;
    int rc = 0;

    for (size_t f = 0; rc == 0 && f < request->n_files; f++) {
        for (size_t i = 0; rc == 0 && manifests[f] != NULL && i < manifests[f]->n; i++) {
            if (n == sizeof(items) / sizeof(items[0])) {
                rc = gfs_err_set(&err, GFS_ERANGE, "more than %zu objects at once", n);
                break;
            }
            fluid__local__v1__applied__init(&items[n]);
            pointers[n] = &items[n];
            rc = apply_one(local, manifests[f], i, request->create_only, &items[n], &err);
            n += rc == 0;
        }
    }

    response.n_applied = n;
    response.applied = pointers;
    response.findings = (char *)(uintptr_t)gfs_buf_str(warnings);
    if (rc == 0) {
        gfs_rpc_reply(call, &response.base);
    } else {
        gfs_rpc_fail_err(call, rc, &err);
    }
    for (size_t i = 0; i < n; i++) {
        free(items[i].resource);
    }
}

static void do_apply(struct gfsi_local *local, struct gfs_rpc_call *call,
                     const ProtobufCMessage *message)
{
    const Fluid__Local__V1__ApplyRequest *request = (const Fluid__Local__V1__ApplyRequest *)message;
    struct gfs_manifest *manifests[GFS_LOCAL_FILES_MAX] = {0};
    struct gfs_buf messages gfs_auto_buf;

    gfs_buf_init(&messages, WARNINGS_MAX);
    if (local->stage != GFSI_STAGE_RUNNING) {
        gfs_rpc_fail(call, GFS_EUNAVAIL, "fluid-controller is stopping");
        return;
    }
    if (request->n_files > GFS_LOCAL_FILES_MAX) {
        gfs_rpc_fail(call, GFS_ERANGE, "too many files");
        return;
    }

    if (parse_files(request, manifests, &messages) < 0) {
        /* Not as a status: its text is one line, and short. */
        Fluid__Local__V1__ApplyResponse refusal = FLUID__LOCAL__V1__APPLY_RESPONSE__INIT;

        refusal.refused = true;
        refusal.findings = (char *)(uintptr_t)gfs_buf_str(&messages);
        gfs_rpc_reply(call, &refusal.base);
    } else {
        apply_all(local, call, request, manifests, &messages);
    }
    for (size_t i = 0; i < GFS_LOCAL_FILES_MAX; i++) { /* the request went with the reply */
        (void)gfs_manifest_free(manifests[i]);
    }
}

static void on_apply(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    hand_over(user, call, request, do_apply);
}

/* ---- get ---- */

static void reply_table(struct gfs_rpc_call *call, struct gfsi_table *table)
{
    Fluid__Local__V1__GetResponse response = FLUID__LOCAL__V1__GET_RESPONSE__INIT;
    Fluid__Local__V1__Row *rows = calloc(table->n_rows + 1, sizeof(*rows));
    Fluid__Local__V1__Row **pointers = calloc(table->n_rows + 1, sizeof(Fluid__Local__V1__Row *));
    static char empty[] = "";

    for (size_t r = 0; rows != NULL && pointers != NULL && r < table->n_rows; r++) {
        fluid__local__v1__row__init(&rows[r]);
        pointers[r] = &rows[r];
        rows[r].n_cells = table->n_columns;
        rows[r].cells = table->rows[r];
        for (size_t c = 0; c < table->n_columns; c++) {
            if (table->rows[r][c] == NULL) {
                table->rows[r][c] = strdup(empty);
            }
            if (table->rows[r][c] == NULL) {
                rows[r].n_cells = c; /* out of memory: the rest of the line is lost */
                break;
            }
        }
    }

    if (rows == NULL || pointers == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
    } else {
        response.n_columns = table->n_columns;
        response.columns = (char **)(uintptr_t)table->columns;
        response.n_rows = table->n_rows;
        response.rows = pointers;
        gfs_rpc_reply(call, &response.base);
    }

    free(pointers);
    free(rows);
}

const char *gfsi_namespace(const char *ns)
{
    return ns[0] != '\0' ? ns : "default";
}

int gfsi_resource_or_fail(struct gfs_rpc_call *call, const char *name)
{
    struct gfs_err err = GFS_ERR_INIT;
    int resource = gfsi_resource_find(name);

    if (resource < 0) {
        (void)gfs_err_set(&err, GFS_EINVAL,
                          "there is no resource '%.60s' (nodes, pods, datasets, goosefsruntimes, "
                          "pv, pvc, events)",
                          name);
        gfs_rpc_fail_err(call, GFS_EINVAL, &err);
    }

    return resource;
}

static void do_get(struct gfsi_local *local, struct gfs_rpc_call *call,
                   const ProtobufCMessage *message)
{
    const Fluid__Local__V1__GetRequest *request = (const Fluid__Local__V1__GetRequest *)message;
    struct gfsi_query query = {.ns = gfsi_namespace(request->namespace_),
                               .name = request->name,
                               .all_namespaces = request->all_namespaces,
                               .wide = request->wide};
    int resource = gfsi_resource_or_fail(call, request->resource);
    struct gfs_err err = GFS_ERR_INIT;

    if (resource < 0) {
        return;
    }

    if (request->json) {
        Fluid__Local__V1__GetResponse response = FLUID__LOCAL__V1__GET_RESPONSE__INIT;
        struct gfs_buf text gfs_auto_buf;

        gfs_buf_init(&text, JSON_MAX);

        int rc = gfsi_json_get(local, (enum gfsi_resource)resource, &query, &text, &err);

        response.json = (char *)(uintptr_t)gfs_buf_str(&text);
        if (rc < 0) {
            gfs_rpc_fail_err(call, rc, &err);
        } else {
            gfs_rpc_reply(call, &response.base);
        }
        return;
    }

    struct gfsi_table table;
    int rc = gfsi_table_get(local, (enum gfsi_resource)resource, &query, &table, &err);

    if (rc < 0) {
        gfs_rpc_fail_err(call, rc, &err);
        return;
    }

    reply_table(call, &table);
    gfsi_table_fini(&table);
}

static void on_get(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    hand_over(user, call, request, do_get);
}

/* ---- one pod ---- */

static void do_get_pod(struct gfsi_local *local, struct gfs_rpc_call *call,
                       const ProtobufCMessage *message)
{
    const Fluid__Local__V1__GetPodRequest *request =
        (const Fluid__Local__V1__GetPodRequest *)message;
    Fluid__Local__V1__GetPodResponse response = FLUID__LOCAL__V1__GET_POD_RESPONSE__INIT;
    Fluid__Local__V1__Container containers[GFS_POD_MAX_CONTAINERS];
    Fluid__Local__V1__Container *pointers[GFS_POD_MAX_CONTAINERS];
    struct gfsi_pod *pod = gfsi_pod_find(local, gfsi_namespace(request->namespace_), request->name);
    char conf[PATH_MAX + 32];
    char hostname[128];
    char path[PATH_MAX + 16];
    char *env[] = {conf, hostname, path};
    struct gfs_err err = GFS_ERR_INIT;

    if (pod == NULL) {
        (void)gfs_err_set(&err, GFS_ENOENT, "pods \"%s\" not found", request->name);
        gfs_rpc_fail_err(call, GFS_ENOENT, &err);
        return;
    }

    gfsi_pathf(conf, sizeof(conf), "GOOSEFS_CONF_DIR=%s", pod->dir);
    (void)snprintf(hostname, sizeof(hostname), "HOSTNAME=%s", pod->name);
    gfsi_pathf(path, sizeof(path), "GOOSEFS_BIN_DIR=%s", local->opts.bin_dir);
    for (size_t i = 0; i < pod->n_containers; i++) {
        fluid__local__v1__container__init(&containers[i]);
        containers[i].name = pod->containers[i].name;
        containers[i].log_path = pod->containers[i].log_path;
        pointers[i] = &containers[i];
    }

    response.directory = pod->dir;
    response.n_env = sizeof(env) / sizeof(env[0]);
    response.env = env;
    response.n_containers = pod->n_containers;
    response.containers = pointers;
    gfs_rpc_reply(call, &response.base);
}

static void on_get_pod(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    hand_over(user, call, request, do_get_pod);
}

/* ---- delete and wait ---- */

static void on_delete(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    hand_over(user, call, request, gfsi_control_delete);
}

static void on_wait(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    hand_over(user, call, request, gfsi_control_wait);
}

/* ---- life ---- */

int gfsi_control_start(struct gfsi_local *local, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"Apply", on_apply}, {"Get", on_get},        {"Delete", on_delete},
        {"Wait", on_wait},   {"GetPod", on_get_pod}, {NULL, NULL},
    };
    const struct gfs_rpc_server_opts opts = {
        .name = "control", .max_message = MESSAGE_MAX, .n_threads = 2};
    char address[PATH_MAX + 32];
    int rc = gfs_rpc_server_new(&opts, &local->server, err);

    gfsi_pathf(address, sizeof(address), "unix://%s/control.sock", local->opts.state_dir);
    rc = rc < 0 ? rc : gfs_rpc_server_listen(local->server, address, NULL, 0600, NULL, err);
    rc = rc < 0 ? rc
                : gfs_rpc_server_add_service(local->server, &fluid__local__v1__local__descriptor,
                                             methods, local, err);
    return rc < 0 ? rc : gfs_rpc_server_start(local->server, err);
}

void gfsi_control_stop(struct gfsi_local *local)
{
    if (local->server != NULL) {
        gfs_rpc_server_stop(local->server, gfs_clock_mono());
        gfsi_loop_drain(local->loop); /* calls that were handed over meanwhile */
    }
    gfsi_waiters_drop(local);
    local->server = gfs_rpc_server_free(local->server);
}
