/* Calls that are answered when something is so: deletions that ended, conditions that came true. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fluid_local.pb-c.h"
#include "platform/local/control_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/table.h"

#define WAITERS_MAX 256

struct gfsi_waiter {
    struct gfsi_waiter *next;
    struct gfs_rpc_call *call;
    enum gfsi_resource resource;
    enum gfsi_condition condition;
    bool is_delete; /* the call is Delete, not Wait */
    char ns[64];
    char name[65]; /* of the node, too */
};

static bool object_gone(const struct gfsi_pair *pair, enum gfsi_resource resource)
{
    return pair == NULL ||
           (resource == GFSI_RESOURCE_DATASET ? pair->dataset == NULL : pair->runtime == NULL);
}

static bool dataset_is(const struct gfsi_pair *pair, enum gfsi_condition condition)
{
    const struct gfs_condition *ready = gfs_conditions_get(&pair->ds.conditions, "Ready");

    if (pair->dataset == NULL) {
        return false;
    }
    if (condition == GFSI_WAIT_NOT_BOUND) {
        return pair->ds.phase == GFS_DATASET_NOT_BOUND;
    }

    return pair->ds.phase == GFS_DATASET_BOUND &&
           (condition == GFSI_WAIT_BOUND || (ready != NULL && ready->status));
}

static bool is_so(struct gfsi_local *local, const struct gfsi_waiter *w)
{
    struct gfsi_pair *pair = gfsi_pair_find(local, w->ns, w->name);
    const struct gfsi_pod *pod = NULL;

    switch (w->resource) {
    case GFSI_RESOURCE_NODE: return gfsi_node_ready(local);
    case GFSI_RESOURCE_POD:
        pod = gfsi_pod_find(local, w->ns, w->name);
        return w->condition == GFSI_WAIT_DELETE ? pod == NULL : pod != NULL && gfsi_pod_ready(pod);
    case GFSI_RESOURCE_DATASET:
        return w->condition == GFSI_WAIT_DELETE ? object_gone(pair, w->resource)
                                                : pair != NULL && dataset_is(pair, w->condition);
    case GFSI_RESOURCE_RUNTIME:
        return w->condition == GFSI_WAIT_DELETE
                   ? object_gone(pair, w->resource)
                   : pair != NULL && pair->runtime != NULL && gfsi_runtime_ready(pair);
    case GFSI_RESOURCE_PV:
    case GFSI_RESOURCE_PVC: return pair != NULL && pair->volume;
    default: return true;
    }
}

static void reply_waiter(const struct gfsi_waiter *w)
{
    Fluid__Local__V1__WaitResponse waited = FLUID__LOCAL__V1__WAIT_RESPONSE__INIT;
    Fluid__Local__V1__DeleteResponse deleted = FLUID__LOCAL__V1__DELETE_RESPONSE__INIT;
    char resource[160];

    if (w->is_delete) {
        (void)snprintf(resource, sizeof(resource), "%s \"%s\"", gfsi_resource_name(w->resource),
                       w->name);
        deleted.resource = resource;
        gfs_rpc_reply(w->call, &deleted.base);
        return;
    }

    (void)snprintf(resource, sizeof(resource), "%s/%s", gfsi_resource_name(w->resource), w->name);
    waited.resource = resource;
    gfs_rpc_reply(w->call, &waited.base);
}

void gfsi_control_check_waiters(struct gfsi_local *local)
{
    for (struct gfsi_waiter **at = &local->waiters; *at != NULL;) {
        struct gfsi_waiter *w = *at;
        bool gone = gfs_rpc_call_cancelled(w->call);

        if (!gone && !is_so(local, w)) {
            at = &w->next;
            continue;
        }

        *at = w->next;
        if (gone) {
            gfs_rpc_fail(w->call, GFS_ECANCELLED, NULL);
        } else {
            reply_waiter(w);
        }
        free(w);
    }
}

static void add_waiter(struct gfsi_local *local, const struct gfsi_waiter *waiter)
{
    size_t n = 0;

    for (const struct gfsi_waiter *w = local->waiters; w != NULL; w = w->next) {
        n++;
    }

    struct gfsi_waiter *copy = n < WAITERS_MAX ? malloc(sizeof(*copy)) : NULL;

    if (copy == NULL) {
        gfs_rpc_fail(waiter->call, GFS_EBUSY, "too many clients wait already");
        return;
    }

    *copy = *waiter;
    copy->next = local->waiters;
    local->waiters = copy;
    gfsi_control_check_waiters(local);
}

void gfsi_control_delete(struct gfsi_local *local, struct gfs_rpc_call *call,
                         const ProtobufCMessage *message)
{
    const Fluid__Local__V1__DeleteRequest *request =
        (const Fluid__Local__V1__DeleteRequest *)message;
    struct gfsi_waiter w = {.call = call, .condition = GFSI_WAIT_DELETE, .is_delete = true};
    int resource = gfsi_resource_or_fail(call, request->resource);
    struct gfs_err err = GFS_ERR_INIT;

    if (resource < 0) {
        return;
    }
    if (resource != GFSI_RESOURCE_DATASET && resource != GFSI_RESOURCE_RUNTIME) {
        gfs_rpc_fail(
            call, GFS_EINVAL,
            "only datasets and goosefsruntimes can be deleted: the rest follows from them");
        return;
    }

    if (local->stage != GFSI_STAGE_RUNNING) {
        gfs_rpc_fail(call, GFS_EUNAVAIL, "fluid-controller is stopping");
        return;
    }

    enum gfs_object_kind kind =
        resource == GFSI_RESOURCE_DATASET ? GFS_KIND_DATASET : GFS_KIND_RUNTIME;

    w.resource = (enum gfsi_resource)resource;
    (void)snprintf(w.ns, sizeof(w.ns), "%s", gfsi_namespace(request->namespace_));
    (void)snprintf(w.name, sizeof(w.name), "%s", request->name);

    int rc = gfsi_pair_delete(local, kind, w.ns, w.name, &err);

    if (rc < 0) {
        gfs_rpc_fail_err(call, rc, &err);
        return;
    }

    add_waiter(local, &w);
}

void gfsi_control_wait(struct gfsi_local *local, struct gfs_rpc_call *call,
                       const ProtobufCMessage *message)
{
    const Fluid__Local__V1__WaitRequest *request = (const Fluid__Local__V1__WaitRequest *)message;
    struct gfsi_waiter w = {.call = call};
    int resource = gfsi_resource_or_fail(call, request->resource);

    if (resource < 0) {
        return;
    }
    if (gfsi_condition_parse(request->condition, &w.condition) < 0) {
        gfs_rpc_fail(call, GFS_EINVAL,
                     "--for must be condition=Ready, phase=Bound, phase=NotBound or delete");
        return;
    }

    w.resource = (enum gfsi_resource)resource;
    (void)snprintf(w.ns, sizeof(w.ns), "%s", gfsi_namespace(request->namespace_));
    (void)snprintf(w.name, sizeof(w.name), "%s",
                   resource == GFSI_RESOURCE_NODE && request->name[0] == '\0' ? local->node
                                                                              : request->name);
    add_waiter(local, &w);
}

int gfsi_condition_parse(const char *text, enum gfsi_condition *out)
{
    static const struct {
        const char *text;
        enum gfsi_condition condition;
    } table[] = {
        {"condition=Ready", GFSI_WAIT_READY},
        {"condition=ready", GFSI_WAIT_READY},
        {"phase=Bound", GFSI_WAIT_BOUND},
        {"jsonpath={.status.phase}=Bound", GFSI_WAIT_BOUND},
        {"phase=NotBound", GFSI_WAIT_NOT_BOUND},
        {"delete", GFSI_WAIT_DELETE},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(text, table[i].text) == 0) {
            *out = table[i].condition;
            return 0;
        }
    }

    return GFS_EINVAL;
}

void gfsi_waiters_drop(struct gfsi_local *local)
{
    while (local->waiters != NULL) {
        struct gfsi_waiter *w = local->waiters;

        local->waiters = w->next;
        gfs_rpc_fail(w->call, GFS_EUNAVAIL, "fluid-controller is stopping");
        free(w);
    }
}
