/* Objects with their status, as `get -o json` shows them. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <gfs/base/clock.h>

#include "platform/local/table.h"

static json_t *time_json(int64_t ms)
{
    char buf[32];

    return json_string(gfs_clock_format_rfc3339(ms, buf, sizeof(buf)));
}

static json_t *conditions_json(const struct gfs_conditions *conditions)
{
    json_t *list = json_array();

    for (size_t i = 0; i < conditions->n; i++) {
        const struct gfs_condition *c = &conditions->items[i];

        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", c->type, "status",
                            c->status ? "True" : "False", "reason", c->reason, "message",
                            c->message, "lastTransitionTime", time_json(c->last_transition_ms)));
    }

    return list;
}

static json_t *dataset_status(const struct gfsi_pair *pair)
{
    const struct gfs_dataset_status *ds = &pair->ds;
    json_t *status = json_pack("{s:s, s:o}", "phase", gfs_dataset_phase_name(ds->phase),
                               "conditions", conditions_json(&ds->conditions));
    json_t *cache = json_object();
    char buf[32];

    if (ds->sized) {
        (void)json_object_set_new(status, "ufsTotal",
                                  json_string(gfs_status_size(ds->ufs_total, buf, sizeof(buf))));
        (void)json_object_set_new(status, "fileNum",
                                  json_sprintf("%llu", (unsigned long long)ds->files));
    } else if (ds->phase == GFS_DATASET_BOUND) {
        (void)json_object_set_new(status, "ufsTotal", json_string("[Calculating]"));
        (void)json_object_set_new(status, "fileNum", json_string("[Calculating]"));
    }
    if (ds->cache_known) {
        (void)json_object_set_new(cache, "cached",
                                  json_string(gfs_status_size(ds->cached, buf, sizeof(buf))));
        (void)json_object_set_new(cache, "cacheCapacity",
                                  json_string(gfs_status_size(ds->capacity, buf, sizeof(buf))));
    }
    if (ds->cache_known && ds->sized) {
        (void)json_object_set_new(
            cache, "cachedPercentage",
            json_string(gfs_status_percent(ds->cached, ds->ufs_total, buf, sizeof(buf))));
    }

    (void)json_object_set_new(status, "cacheStates", cache);
    if (ds->phase == GFS_DATASET_BOUND && pair->plan != NULL) {
        (void)json_object_set_new(status, "hcfs", json_pack("{s:s}", "endpoint", pair->plan->hcfs));
        (void)json_object_set_new(status, "runtimes",
                                  json_pack("[{s:s, s:s, s:s, s:s, s:i}]", "name", pair->name,
                                            "namespace", pair->ns, "category", "Accelerate", "type",
                                            "goosefs", "masterReplicas",
                                            (int)pair->plan->desired[GFS_ROLE_MASTER]));
    }

    return status;
}

static json_t *runtime_status(const struct gfsi_pair *pair)
{
    static const char *const names[GFS_ROLES][4] = {
        {"masterPhase", "masterNumberReady", "currentMasterNumberScheduled",
         "desiredMasterNumberScheduled"},
        {"workerPhase", "workerNumberReady", "currentWorkerNumberScheduled",
         "desiredWorkerNumberScheduled"},
        {"fusePhase", "fuseNumberReady", "currentFuseNumberScheduled",
         "desiredFuseNumberScheduled"},
    };
    json_t *status = json_pack("{s:o}", "conditions", conditions_json(&pair->rs.conditions));

    for (int role = 0; role < GFS_ROLES; role++) {
        const struct gfs_role_status *rs = &pair->rs.roles[role];

        (void)json_object_set_new(status, names[role][0], json_string(gfs_phase_name(rs->phase)));
        (void)json_object_set_new(status, names[role][1], json_integer((json_int_t)rs->ready));
        (void)json_object_set_new(status, names[role][2], json_integer((json_int_t)rs->current));
        (void)json_object_set_new(status, names[role][3], json_integer((json_int_t)rs->desired));
    }
    if (pair->rs.setup_ms > 0) {
        (void)json_object_set_new(status, "setupDuration",
                                  json_sprintf("%lldms", (long long)pair->rs.setup_ms));
    }

    return status;
}

static json_t *object_json(const struct gfs_object *object, int64_t created_ms, json_t *status)
{
    json_t *json = json_loads(object->json, 0, NULL);

    (void)json_object_set_new(json_object_get(json, "metadata"), "creationTimestamp",
                              time_json(created_ms));
    (void)json_object_set_new(json, "status", status);
    return json;
}

static json_t *pod_json(const struct gfsi_pod *pod)
{
    json_t *containers = json_array();
    size_t ready = 0;

    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct gfsi_container *c = &pod->containers[i];

        ready += gfsi_pod_container_ready(pod, i);
        (void)json_array_append_new(containers,
                                    json_pack("{s:s, s:b, s:i, s:s}", "name", c->name, "ready",
                                              gfsi_pod_container_ready(pod, i), "pid",
                                              (int)gfsi_pod_pid(pod, i), "log", c->log_path));
    }

    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o}, s:{s:s}, s:{s:s, s:s, s:b, s:i, s:o}}",
                     "apiVersion", "v1", "kind", "Pod", "metadata", "name", pod->name, "namespace",
                     pod->ns, "creationTimestamp", time_json(pod->created_ms), "spec", "nodeName",
                     pod->local->node, "status", "phase", gfsi_pod_status(pod), "podIP",
                     pod->address, "ready", ready == pod->n_containers, "restarts",
                     (int)gfsi_pod_restarts(pod), "containerStatuses", containers);
}

static void add_pods(json_t *list, const struct gfsi_query *q, const struct gfsi_pod *pods)
{
    for (const struct gfsi_pod *pod = pods; pod != NULL; pod = pod->next) {
        if (gfsi_query_matches(q, pod->ns, pod->name)) {
            (void)json_array_append_new(list, pod_json(pod));
        }
    }
}

/* The volume objects of the plan, which prints all objects in their Kubernetes form. */
static void add_planned(json_t *list, const struct gfsi_pair *pair, const char *kind)
{
    struct gfs_buf text;
    json_t *all = NULL;
    json_t *item = NULL;
    size_t i = 0;

    gfs_buf_init(&text, 16u << 20);
    if (gfs_plan_print(pair->plan, &text) == 0) {
        all = json_loads(gfs_buf_str(&text), 0, NULL);
    }
    json_array_foreach(all, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "kind")), kind) == 0) {
            (void)json_object_set_new(item, "status", json_pack("{s:s}", "phase", "Bound"));
            (void)json_array_append(list, item);
        }
    }

    json_decref(all);
    gfs_buf_fini(&text);
}

static void add_events(json_t *list, const struct gfsi_local *local, const struct gfsi_query *q)
{
    for (size_t i = 0; i < local->events.n; i++) {
        const struct gfsi_event *e = gfsi_events_at(&local->events, i);

        if (gfsi_query_matches(q, e->ns, e->name)) {
            (void)json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:i, s:{s:s, s:s, s:s}, s:o, s:o}", "type",
                                e->warning ? "Warning" : "Normal", "reason", e->reason, "message",
                                e->message, "count", (int)e->count, "involvedObject", "kind",
                                e->kind, "namespace", e->ns, "name", e->name, "firstTimestamp",
                                time_json(e->first_ms), "lastTimestamp", time_json(e->last_ms)));
        }
    }
}

static void add_pair(json_t *list, const struct gfsi_pair *pair, enum gfsi_resource resource,
                     const struct gfsi_query *q)
{
    bool mine = gfsi_query_matches(q, pair->ns, pair->name);
    bool volume = pair->volume && pair->plan != NULL;

    switch (resource) {
    case GFSI_RESOURCE_POD: add_pods(list, q, pair->pods); return;
    case GFSI_RESOURCE_DATASET:
        if (mine && pair->dataset != NULL) {
            (void)json_array_append_new(
                list, object_json(pair->dataset, pair->dataset_created_ms, dataset_status(pair)));
        }
        return;
    case GFSI_RESOURCE_RUNTIME:
        if (mine && pair->runtime != NULL) {
            (void)json_array_append_new(
                list, object_json(pair->runtime, pair->runtime_created_ms, runtime_status(pair)));
        }
        return;
    case GFSI_RESOURCE_PV:
        if (volume && (q->name[0] == '\0' || strcmp(q->name, pair->plan->volume.pv) == 0)) {
            add_planned(list, pair, "PersistentVolume");
        }
        return;
    case GFSI_RESOURCE_PVC:
        if (volume && mine) {
            add_planned(list, pair, "PersistentVolumeClaim");
        }
        return;
    default: return;
    }
}

static json_t *collect(struct gfsi_local *local, enum gfsi_resource resource,
                       const struct gfsi_query *q)
{
    json_t *list = json_array();

    if (resource == GFSI_RESOURCE_NODE &&
        (q->name[0] == '\0' || strcmp(q->name, local->node) == 0)) {
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:{s:s}, s:{s:[{s:s, s:s}]}}", "apiVersion", "v1", "kind",
                            "Node", "metadata", "name", local->node, "status", "conditions", "type",
                            "Ready", "status", gfsi_node_ready(local) ? "True" : "False"));
    }
    if (resource == GFSI_RESOURCE_EVENT) {
        add_events(list, local, q);
    }
    if (resource == GFSI_RESOURCE_POD) {
        add_pods(list, q, local->system_pods);
    }
    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        add_pair(list, pair, resource, q);
    }

    return list;
}

int gfsi_json_get(struct gfsi_local *local, enum gfsi_resource resource,
                  const struct gfsi_query *query, struct gfs_buf *out, struct gfs_err *err)
{
    json_t *list = collect(local, resource, query);
    bool one = query->name[0] != '\0' && resource != GFSI_RESOURCE_EVENT;

    if (one && json_array_size(list) == 0) {
        json_decref(list);
        return gfs_err_set(err, GFS_ENOENT, "%s \"%s\" not found", gfsi_resource_name(resource),
                           query->name);
    }

    json_t *shown =
        one ? json_incref(json_array_get(list, 0))
            : json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", list);
    char *text = json_dumps(shown, JSON_INDENT(4));
    int rc = text != NULL ? gfs_buf_printf(out, "%s\n", text) : GFS_ENOMEM;

    free(text);
    json_decref(shown);
    json_decref(list);
    return rc < 0 ? gfs_err_set(err, rc, "the answer is too large") : 0;
}
