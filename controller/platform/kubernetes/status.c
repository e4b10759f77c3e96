/* Statuses as Fluid's CRDs have them; fluid.md §3.1, §3.2. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <gfs/base/clock.h>

#include "platform/kubernetes/kube_priv.h"

static json_t *conditions_json(const struct gfs_conditions *conditions, const char *second)
{
    json_t *list = json_array();

    for (size_t i = 0; i < conditions->n; i++) {
        const struct gfs_condition *c = &conditions->items[i];
        char when[32];

        (void)gfs_clock_format_rfc3339(c->last_transition_ms, when, sizeof(when));
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type",
                                                    c->type, "status", c->status ? "True" : "False",
                                                    "reason", c->reason, "message", c->message,
                                                    second, when, "lastTransitionTime", when));
    }

    return list;
}

static void restore_conditions(const json_t *status, struct gfs_conditions *out)
{
    json_t *item = NULL;
    size_t i = 0;

    json_array_foreach(json_object_get(status, "conditions"), i, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        const char *state = json_string_value(json_object_get(item, "status"));
        const char *reason = json_string_value(json_object_get(item, "reason"));
        const char *message = json_string_value(json_object_get(item, "message"));
        const char *when = json_string_value(json_object_get(item, "lastTransitionTime"));
        struct gfs_condition *c = &out->items[out->n];
        struct tm tm = {0};

        if (out->n == GFS_CONDITIONS_MAX || type == NULL || state == NULL) {
            continue;
        }

        c->status = strcmp(state, "True") == 0;
        (void)snprintf(c->type, sizeof(c->type), "%s", type);
        (void)snprintf(c->reason, sizeof(c->reason), "%s", reason != NULL ? reason : "");
        (void)snprintf(c->message, sizeof(c->message), "%s", message != NULL ? message : "");
        if (when != NULL && strptime(when, "%Y-%m-%dT%H:%M:%SZ", &tm) != NULL) {
            c->last_transition_ms = (int64_t)timegm(&tm) * 1000;
        }
        out->n++;
    }
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(json_object_get(object, "status"), key));
}

void gfsi_kube_status_restore(const json_t *dataset, const json_t *runtime,
                              struct gfsi_kube_pair *pair)
{
    const char *phase = text_at(dataset, "phase");
    const char *setup = text_at(runtime, "setupDuration");
    json_int_t masters =
        json_integer_value(gfs_kube_at(runtime, "status", "desiredMasterNumberScheduled", NULL));
    long long ms = 0;

    pair->rs.roles[GFS_ROLE_MASTER].desired = masters > 0 ? (size_t)masters : 0;
    restore_conditions(json_object_get(dataset, "status"), &pair->ds.conditions);
    restore_conditions(json_object_get(runtime, "status"), &pair->rs.conditions);
    if (phase != NULL && strcmp(phase, "Bound") == 0) {
        pair->ds.phase = GFS_DATASET_BOUND;
    }
    if (setup != NULL && sscanf(setup, "%18lldms", &ms) == 1) { /* NOLINT(cert-err34-c) */
        pair->rs.setup_ms = ms;
    }
}

static void set_text(json_t *object, const char *key, const char *text)
{
    (void)json_object_set_new(object, key, json_string(text));
}

/* While a size is being found out again, the one found before stays. */
static void set_size(const struct gfs_dataset_status *ds, const json_t *dataset, json_t *status)
{
    const char *total = text_at(dataset, "ufsTotal");
    const char *files = text_at(dataset, "fileNum");
    char buf[32];

    if (ds->sized) {
        set_text(status, "ufsTotal", gfs_status_size(ds->ufs_total, buf, sizeof(buf)));
        (void)snprintf(buf, sizeof(buf), "%llu", (unsigned long long)ds->files);
        set_text(status, "fileNum", buf);
    } else if (ds->phase == GFS_DATASET_BOUND) {
        set_text(status, "ufsTotal", total != NULL ? total : "[Calculating]");
        set_text(status, "fileNum", files != NULL ? files : "[Calculating]");
    }
}

static json_t *cache_states(const struct gfs_dataset_status *ds)
{
    json_t *cache = json_object();
    char buf[32];

    if (ds->cache_known) {
        set_text(cache, "cached", gfs_status_size(ds->cached, buf, sizeof(buf)));
        set_text(cache, "cacheCapacity", gfs_status_size(ds->capacity, buf, sizeof(buf)));
    }
    if (ds->cache_known && ds->sized) {
        set_text(cache, "cachedPercentage",
                 gfs_status_percent(ds->cached, ds->ufs_total, buf, sizeof(buf)));
    }

    return cache;
}

/* Without options: they may be secrets. */
static json_t *mounts_json(const struct gfs_object *dataset)
{
    json_t *list = json_array();

    for (size_t i = 0; i < dataset->dataset->n_mounts; i++) {
        const struct gfs_dataset_mount *m = &dataset->dataset->mounts[i];

        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "mountPoint", m->mount_point,
                                                    "name", m->name != NULL ? m->name : "", "path",
                                                    m->path));
    }

    return list;
}

json_t *gfsi_kube_dataset_status(const struct gfsi_kube_pair *pair, const json_t *dataset)
{
    const struct gfs_dataset_status *ds = &pair->ds;
    json_t *status = json_pack("{s:s, s:o}", "phase", gfs_dataset_phase_name(ds->phase),
                               "conditions", conditions_json(&ds->conditions, "lastUpdateTime"));

    if (ds->phase != GFS_DATASET_BOUND || pair->plan == NULL) {
        return status;
    }

    set_size(ds, dataset, status);
    (void)json_object_set_new(status, "cacheStates", cache_states(ds));
    (void)json_object_set_new(status, "mounts", mounts_json(pair->dataset));
    (void)json_object_set_new(status, "hcfs", json_pack("{s:s}", "endpoint", pair->plan->hcfs));
    (void)json_object_set_new(status, "runtimes",
                              json_pack("[{s:s, s:s, s:s, s:s, s:i}]", "name", pair->plan->name,
                                        "namespace", pair->plan->ns, "category", "Accelerate",
                                        "type", "goosefs", "masterReplicas",
                                        (int)pair->plan->desired[GFS_ROLE_MASTER]));
    return status;
}

json_t *gfsi_kube_runtime_status(const struct gfsi_kube_pair *pair)
{
    static const char *const names[GFS_ROLES][4] = {
        {"masterPhase", "masterNumberReady", "currentMasterNumberScheduled",
         "desiredMasterNumberScheduled"},
        {"workerPhase", "workerNumberReady", "currentWorkerNumberScheduled",
         "desiredWorkerNumberScheduled"},
        {"fusePhase", "fuseNumberReady", "currentFuseNumberScheduled",
         "desiredFuseNumberScheduled"},
    };
    json_t *status =
        json_pack("{s:s, s:o, s:o, s:o}", "valueFile", "", "conditions",
                  conditions_json(&pair->rs.conditions, "lastProbeTime"), "cacheStates",
                  cache_states(&pair->ds), "selector",
                  json_sprintf("app=goosefs,release=%s,role=goosefs-worker", pair->plan->name));

    for (int role = 0; role < GFS_ROLES; role++) {
        const struct gfs_role_status *rs = &pair->rs.roles[role];

        set_text(status, names[role][0], gfs_phase_name(rs->phase));
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

int gfsi_kube_status_write(struct gfsi_kube *k, const struct gfs_kube_resource *resource,
                           const json_t *object, json_t *status, struct gfs_err *err)
{
    if (status == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (json_equal(status, json_object_get(object, "status"))) {
        json_decref(status);
        return 0;
    }

    json_t *body =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", "data.fluid.io/v1alpha1", "kind",
                  resource->kind, "metadata", "name", gfs_kube_name(object), "namespace",
                  gfs_kube_namespace(object), "status", status);
    int rc = gfs_kube_apply(k->client, resource, gfs_kube_namespace(object), gfs_kube_name(object),
                            "status", GFSI_KUBE_MANAGER, true, body, NULL, err);

    json_decref(body);
    return rc;
}
