#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "csi.pb-c.h"
#include "plugin_priv.h"

/* ---- operations that change mounts ---- */

static const char *const kind_names[] = {
    [GFSI_STAGE] = "stage",
    [GFSI_UNSTAGE] = "unstage",
    [GFSI_PUBLISH] = "publish",
    [GFSI_UNPUBLISH] = "unpublish",
};

/* One call on its way through the engine. */
struct pending_call {
    struct gfs_csi_plugin *plugin;
    struct gfs_rpc_call *call;
    enum gfsi_kind kind;
    unsigned long long number;
    int64_t started;
    char volume_id[GFSI_ID_MAX + 1];
};

static void reply_empty(struct gfs_rpc_call *call, enum gfsi_kind kind)
{
    Csi__V1__NodeStageVolumeResponse stage;
    Csi__V1__NodeUnstageVolumeResponse unstage;
    Csi__V1__NodePublishVolumeResponse publish;
    Csi__V1__NodeUnpublishVolumeResponse unpublish;

    csi__v1__node_stage_volume_response__init(&stage);
    csi__v1__node_unstage_volume_response__init(&unstage);
    csi__v1__node_publish_volume_response__init(&publish);
    csi__v1__node_unpublish_volume_response__init(&unpublish);
    switch (kind) {
    case GFSI_STAGE: gfs_rpc_reply(call, &stage.base); break;
    case GFSI_UNSTAGE: gfs_rpc_reply(call, &unstage.base); break;
    case GFSI_PUBLISH: gfs_rpc_reply(call, &publish.base); break;
    case GFSI_UNPUBLISH: gfs_rpc_reply(call, &unpublish.base); break;
    }
}

static void update_gauges(struct gfs_csi_plugin *plugin)
{
    struct gfsi_journal_totals counts;

    gfsi_journal_counts(plugin->node.journal, &counts);
    gfs_metric_set(plugin->volumes_gauge, counts.volumes);
    gfs_metric_set(plugin->targets_gauge, counts.published);
}

static void operation_done(void *arg, int code, const struct gfs_err *err)
{
    struct pending_call *p = arg;
    int64_t us = (gfs_clock_mono() - p->started) / GFS_NS_PER_US;

    if (code < 0) {
        gfs_warn("csi", "operation failed",
                 "request=%llu op=%s volume=%s code=%s us=%" PRId64 " error=%s", p->number,
                 kind_names[p->kind], GFS_Q(p->volume_id),
                 gfs_rpc_status_name(gfs_err_to_grpc(code)), us, GFS_Q(gfs_err_text(err, code)));
        gfs_rpc_fail_err(p->call, code, err);
    } else {
        gfs_info("csi", "operation done", "request=%llu op=%s volume=%s us=%" PRId64, p->number,
                 kind_names[p->kind], GFS_Q(p->volume_id), us);
        update_gauges(p->plugin);
        reply_empty(p->call, p->kind);
    }
    free(p);
}

/* `rc` and `err`: what checking the message gave. Takes `request`. */
static void submit(struct gfs_csi_plugin *plugin, struct gfs_rpc_call *call,
                   struct gfsi_request *request, int rc, struct gfs_err *err)
{
    struct gfsi_request *owned gfs_auto_free = request;
    struct pending_call *p gfs_auto_free = NULL;
    int64_t now = gfs_clock_mono();

    if (rc == 0) {
        p = calloc(1, sizeof(*p));
        rc = p != NULL ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (rc == 0) {
        *p = (struct pending_call){.plugin = plugin,
                                   .call = call,
                                   .kind = owned->kind,
                                   .number = atomic_fetch_add(&plugin->next_request, 1) + 1,
                                   .started = now};
        memcpy(p->volume_id, owned->volume_id, sizeof(p->volume_id));
        gfs_debug("csi", "operation asked for", "request=%llu op=%s volume=%s path=%s", p->number,
                  kind_names[p->kind], GFS_Q(p->volume_id), GFS_Q(owned->path));
        rc = gfsi_engine_submit(plugin->engine, GFS_TAKE_PTR(owned), now + plugin->answer_ns,
                                operation_done, p, err);
        if (rc == 0) {
            p = NULL;
            return;
        }
    }
    gfs_debug("csi", "request refused", "method=%s error=%s", gfs_rpc_call_method(call),
              GFS_Q(gfs_err_text(err, rc)));
    gfs_rpc_fail_err(call, rc, err);
}

static struct gfsi_request *new_request(struct gfs_rpc_call *call)
{
    struct gfsi_request *request = malloc(sizeof(*request));

    if (request == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
    }
    return request;
}

/* The library hands requests out as const; the secrets in them are still ours to wipe. */
#define MUTABLE(type, message) ((type *)(uintptr_t)(message))

static void stage(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct gfs_csi_plugin *plugin = user;
    Csi__V1__NodeStageVolumeRequest *m = MUTABLE(Csi__V1__NodeStageVolumeRequest, message);
    struct gfsi_request *request = new_request(call);
    struct gfs_err err = GFS_ERR_INIT;

    if (request == NULL) {
        return;
    }
    gfsi_request_wipe_stage(m);
    submit(plugin, call, request, gfsi_request_stage(m, &plugin->node.rules, request, &err), &err);
}

static void unstage(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct gfs_csi_plugin *plugin = user;
    struct gfsi_request *request = new_request(call);
    struct gfs_err err = GFS_ERR_INIT;

    if (request == NULL) {
        return;
    }
    submit(plugin, call, request,
           gfsi_request_unstage((const Csi__V1__NodeUnstageVolumeRequest *)message,
                                &plugin->node.rules, request, &err),
           &err);
}

static void publish(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct gfs_csi_plugin *plugin = user;
    Csi__V1__NodePublishVolumeRequest *m = MUTABLE(Csi__V1__NodePublishVolumeRequest, message);
    struct gfsi_request *request = new_request(call);
    struct gfs_err err = GFS_ERR_INIT;

    if (request == NULL) {
        return;
    }
    gfsi_request_wipe_publish(m);
    submit(plugin, call, request, gfsi_request_publish(m, &plugin->node.rules, request, &err),
           &err);
}

static void unpublish(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct gfs_csi_plugin *plugin = user;
    struct gfsi_request *request = new_request(call);
    struct gfs_err err = GFS_ERR_INIT;

    if (request == NULL) {
        return;
    }
    submit(plugin, call, request,
           gfsi_request_unpublish((const Csi__V1__NodeUnpublishVolumeRequest *)message,
                                  &plugin->node.rules, request, &err),
           &err);
}

/* ---- stats ---- */

struct stats_call {
    struct gfs_rpc_call *call;
    bool condition;
};

static void stats_done(void *arg, int code, const struct gfsi_stats_result *result,
                       const struct gfs_err *err)
{
    struct stats_call *s = arg;
    Csi__V1__NodeGetVolumeStatsResponse response;
    Csi__V1__VolumeUsage bytes;
    Csi__V1__VolumeUsage inodes;
    Csi__V1__VolumeUsage *usage[] = {&bytes, &inodes};
    Csi__V1__VolumeCondition condition;
    char healthy[] = "the mount answers";
    char stale[] = "the mount does not answer; these are the last figures known";

    csi__v1__node_get_volume_stats_response__init(&response);
    csi__v1__volume_usage__init(&bytes);
    csi__v1__volume_usage__init(&inodes);
    csi__v1__volume_condition__init(&condition);
    if (code < 0) {
        gfs_rpc_fail_err(s->call, code, err);
        free(s);
        return;
    }

    bytes.unit = CSI__V1__VOLUME_USAGE__UNIT__BYTES;
    bytes.total = result->total;
    bytes.available = result->available;
    bytes.used = result->used;
    inodes.unit = CSI__V1__VOLUME_USAGE__UNIT__INODES;
    inodes.total = result->inodes;
    inodes.available = result->inodes_free;
    inodes.used = result->inodes_used;
    response.n_usage = 2;
    response.usage = usage;
    if (s->condition) {
        condition.abnormal = result->stale;
        condition.message = result->stale ? stale : healthy;
        response.volume_condition = &condition;
    }
    gfs_rpc_reply(s->call, &response.base);
    free(s);
}

static void get_stats(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct gfs_csi_plugin *plugin = user;
    const Csi__V1__NodeGetVolumeStatsRequest *m =
        (const Csi__V1__NodeGetVolumeStatsRequest *)message;
    char path[GFSI_PATH_MAX + 1];
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_request_stats(m, &err);
    struct stats_call *s = rc == 0 ? malloc(sizeof(*s)) : NULL;

    if (rc == 0 && s == NULL) {
        rc = gfs_err_set(&err, GFS_ENOMEM, "out of memory");
    }
    if (rc < 0) {
        gfs_rpc_fail_err(call, rc, &err);
        return;
    }
    *s = (struct stats_call){.call = call, .condition = plugin->volume_condition};
    if (gfsi_path_resolve(m->volume_path, plugin->node.rules.kubelet_text,
                          plugin->node.rules.kubelet_root, path, sizeof(path)) < 0) {
        path[0] = '\0'; /* longer than any path there is: found nowhere */
    }
    gfsi_stats_get(plugin->stats, m->volume_id, path, stats_done, s);
}

/* ---- what the plugin is ---- */

static void get_capabilities(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    static const Csi__V1__NodeServiceCapability__RPC__Type types[] = {
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__SINGLE_NODE_MULTI_WRITER,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_MOUNT_GROUP,
        /* last: only when the operator wants it, on all nodes alike */
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION,
    };
    enum { N = sizeof(types) / sizeof(types[0]) };
    const struct gfs_csi_plugin *plugin = user;
    Csi__V1__NodeGetCapabilitiesResponse response;
    Csi__V1__NodeServiceCapability capabilities[N];
    Csi__V1__NodeServiceCapability__RPC rpcs[N];
    Csi__V1__NodeServiceCapability *list[N];

    csi__v1__node_get_capabilities_response__init(&response);
    (void)message;
    for (size_t i = 0; i < N; i++) {
        csi__v1__node_service_capability__rpc__init(&rpcs[i]);
        csi__v1__node_service_capability__init(&capabilities[i]);
        rpcs[i].type = types[i];
        capabilities[i].type_case = CSI__V1__NODE_SERVICE_CAPABILITY__TYPE_RPC;
        capabilities[i].rpc = &rpcs[i];
        list[i] = &capabilities[i];
    }
    response.n_capabilities = plugin->volume_condition ? N : N - 1;
    response.capabilities = list;
    gfs_rpc_reply(call, &response.base);
}

static void get_info(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    const struct gfs_csi_plugin *plugin = user;
    Csi__V1__NodeGetInfoResponse response;

    csi__v1__node_get_info_response__init(&response);
    (void)message;
    response.node_id = plugin->node_id;
    gfs_rpc_reply(call, &response.base);
}

int gfsi_node_service_add(struct gfs_csi_plugin *plugin, struct gfs_err *err)
{
    /* NodeExpandVolume is not here: a dataset has no size to grow. */
    static const struct gfs_rpc_method methods[] = {
        {"NodeStageVolume", stage},        {"NodeUnstageVolume", unstage},
        {"NodePublishVolume", publish},    {"NodeUnpublishVolume", unpublish},
        {"NodeGetVolumeStats", get_stats}, {"NodeGetCapabilities", get_capabilities},
        {"NodeGetInfo", get_info},         {NULL, NULL},
    };

    return gfs_rpc_server_add_service(plugin->server, &csi__v1__node__descriptor, methods, plugin,
                                      err);
}
