#include <gfs/controller/reconcile.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "reconcile/reconcile_priv.h"

struct round {
    const struct gfs_object *dataset;
    const struct gfs_plan *plan;
    const struct gfs_observation *seen;
    struct gfs_dataset_status *ds;
    struct gfs_runtime_status *rs;
    struct gfs_effects *effects;
    int64_t wake_ms; /* 0: no need */
};

/* A full list drops events only: everything else has its room (GFS_EFFECTS_MAX). */
static struct gfs_effect *add(struct round *r, enum gfs_effect_kind kind)
{
    struct gfs_effects *effects = r->effects;

    if (effects->n == GFS_EFFECTS_MAX) {
        return NULL;
    }

    struct gfs_effect *effect = &effects->items[effects->n++];

    *effect = (struct gfs_effect){.kind = kind};
    return effect;
}

static void __attribute__((format(printf, 5, 6)))
event(struct round *r, enum gfs_object_kind about, bool warning, const char *reason,
      const char *fmt, ...)
{
    struct gfs_effect *effect = add(r, GFS_EFFECT_EVENT);
    va_list ap;

    if (effect == NULL) {
        return;
    }

    effect->about = about;
    effect->warning = warning;
    effect->reason = reason;
    va_start(ap, fmt);
    (void)vsnprintf(effect->message, sizeof(effect->message), fmt, ap);
    va_end(ap);
}

static void wake_at(struct round *r, int64_t at_ms)
{
    if (r->wake_ms == 0 || at_ms < r->wake_ms) {
        r->wake_ms = at_ms;
    }
}

static enum gfs_phase phase_of(size_t desired, size_t ready)
{
    if (ready >= desired) {
        return GFS_PHASE_READY;
    }

    return ready > 0 ? GFS_PHASE_PARTIAL : GFS_PHASE_NOT_READY;
}

/* Conditions of a role; reference: fluid.md §3.2. */
static const struct {
    const char *initialized;
    const char *initialized_reason;
    const char *ready;
    const char *ready_reason;
    const char *scaled_out, *scaled_in;
} ROLE_CONDITIONS[GFS_ROLES] = {
    [GFS_ROLE_MASTER] = {"MasterInitialized", "Master is initialized", "MasterReady",
                         "Master is ready", NULL, NULL},
    [GFS_ROLE_WORKER] = {"WorkersInitialized", "Workers are initialized", "WorkersReady",
                         "Workers are ready", "WorkersScaledOut", "WorkersScaledIn"},
    [GFS_ROLE_FUSE] = {"FusesInitialized", "Fuses are initialized", "FusesReady", "Fuses are ready",
                       "FusesScaledOut", "FusesScaledIn"},
};

static void role_scaled(struct round *r, int role, size_t before, size_t after)
{
    bool out = after > before;
    const char *type = out ? ROLE_CONDITIONS[role].scaled_out : ROLE_CONDITIONS[role].scaled_in;
    char reason[48];

    if (type == NULL) {
        return;
    }

    (void)snprintf(reason, sizeof(reason), "%s scaled %s",
                   role == GFS_ROLE_WORKER ? "Workers" : "Fuses", out ? "out" : "in");
    (void)gfsi_condition_set(&r->rs->conditions, type, true, reason,
                             out ? "The workers are scale out." : "The workers are scale in.",
                             r->seen->now_ms);
    if (role == GFS_ROLE_WORKER) {
        event(r, GFS_KIND_RUNTIME, false, "Succeed",
              "Runtime scaled %s. current replicas: %zu, desired replicas: %zu.",
              out ? "out" : "in", before, after);
    }
}

static void update_role(struct round *r, int role)
{
    struct gfs_role_status *status = &r->rs->roles[role];
    size_t desired = r->plan->desired[role];
    size_t current = r->seen->current[role];

    /* On demand, as many clients are wanted as there are. */
    if (role == GFS_ROLE_FUSE && !r->plan->fuse_global) {
        desired = current;
    }
    if (status->phase != GFS_PHASE_NONE && status->desired != desired) {
        role_scaled(r, role, status->desired, desired);
    }

    status->desired = desired;
    status->current = current;
    status->ready = r->seen->ready[role] < current ? r->seen->ready[role] : current;
    status->phase = phase_of(desired, status->ready);
    if (current > 0 || desired == 0) {
        (void)gfsi_condition_set(&r->rs->conditions, ROLE_CONDITIONS[role].initialized, true,
                                 ROLE_CONDITIONS[role].initialized_reason, "", r->seen->now_ms);
    }

    bool ready = status->phase == GFS_PHASE_READY;
    char message[96] = "";

    if (!ready) {
        (void)snprintf(message, sizeof(message), "%zu of %zu ready", status->ready, desired);
    }

    (void)gfsi_condition_set(&r->rs->conditions, ROLE_CONDITIONS[role].ready, ready,
                             ROLE_CONDITIONS[role].ready_reason, message, r->seen->now_ms);
}

/* Tries what is not mounted, when it is time. True when everything is. */
static bool drive_mounts(struct round *r)
{
    const struct gfs_dataset *dataset = r->dataset->dataset;
    bool all = true;

    for (size_t i = 0; i < dataset->n_mounts; i++) {
        struct gfs_mount_status *m = &r->ds->mounts[i];
        struct gfs_effect *effect = NULL;

        if (m->state == GFS_MOUNT_MOUNTED) {
            continue;
        }

        all = false;
        if (!r->seen->has_leader || m->state == GFS_MOUNT_TRYING) {
            continue;
        }
        if (m->state == GFS_MOUNT_FAILED && m->next_try_ms > r->seen->now_ms) {
            wake_at(r, m->next_try_ms);
            continue;
        }

        effect = add(r, GFS_EFFECT_MOUNT);
        if (effect != NULL) {
            effect->index = i;
            m->state = GFS_MOUNT_TRYING;
        }
    }

    return all;
}

static const struct gfs_mount_status *first_failure(const struct round *r, const char **out_path)
{
    for (size_t i = 0; i < r->dataset->dataset->n_mounts; i++) {
        if (r->ds->mounts[i].error[0] != '\0' && r->ds->mounts[i].state != GFS_MOUNT_MOUNTED) {
            *out_path = r->dataset->dataset->mounts[i].path;
            return &r->ds->mounts[i];
        }
    }

    return NULL;
}

/* Why it is not bound: the first thing in the way, in the order of the setup. */
static void explain_not_bound(struct round *r, bool mounted)
{
    const char *path = NULL;
    const struct gfs_mount_status *failed = first_failure(r, &path);
    char message[GFS_ERR_TEXT_MAX];
    const char *reason = "DatasetNotReady";

    if (failed != NULL) {
        bool named = strstr(failed->error, path) != NULL;

        reason = "DatasetFailedToSetup";
        (void)snprintf(message, sizeof(message), "%.60s%s%.440s", named ? "" : path,
                       named ? "" : ": ", failed->error);
    } else if (!r->seen->has_leader) {
        (void)snprintf(message, sizeof(message), "no leader master yet");
    } else if (!mounted) {
        (void)snprintf(message, sizeof(message), "mounting");
    } else if (r->rs->roles[GFS_ROLE_WORKER].phase == GFS_PHASE_NOT_READY) {
        (void)snprintf(message, sizeof(message), "no worker is ready yet");
    } else {
        (void)snprintf(message, sizeof(message), "the volume is being created");
    }

    bool changed =
        gfsi_condition_set(&r->ds->conditions, "Ready", false, reason, message, r->seen->now_ms);

    if (changed && failed != NULL) {
        event(r, GFS_KIND_DATASET, true, "RuntimeMountUfsFailed", "%s", message);
    }
}

static void bind_dataset(struct round *r)
{
    r->ds->phase = GFS_DATASET_BOUND;
    r->rs->setup_ms = r->seen->now_ms - r->rs->setup_started_ms;
    (void)gfsi_condition_set(&r->ds->conditions, "Ready", true, "DatasetReady",
                             "The ddc runtime is ready.", r->seen->now_ms);
    event(r, GFS_KIND_DATASET, false, "Succeed", "Bound to runtime %s/%s", r->plan->ns,
          r->plan->name);
    (void)add(r, GFS_EFFECT_LOAD_METADATA);
}

/* Bound once means bound until the runtime goes; whether it works right now is a condition. A
 * failover takes well under the grace. */
static void watch_bound(struct round *r)
{
    int64_t now = r->seen->now_ms;

    if (r->seen->has_leader) {
        r->ds->leader_lost_ms = 0;
        (void)gfsi_condition_set(&r->ds->conditions, "Ready", true, "DatasetReady",
                                 "The ddc runtime is ready.", now);
        return;
    }
    if (r->ds->leader_lost_ms == 0) {
        r->ds->leader_lost_ms = now;
    }
    if (now - r->ds->leader_lost_ms < GFS_LEADER_GRACE_MS) {
        wake_at(r, r->ds->leader_lost_ms + GFS_LEADER_GRACE_MS);
        return;
    }

    if (gfsi_condition_set(&r->ds->conditions, "Ready", false, "DatasetFailed",
                           "no leader master answers", now)) {
        event(r, GFS_KIND_DATASET, true, "RuntimeNotReady", "no leader master answers");
    }
}

static void update_cache(struct round *r)
{
    if (r->seen->sized) {
        r->ds->sized = true;
        r->ds->ufs_total = r->seen->ufs_total;
        r->ds->files = r->seen->files;
    }
    if (r->seen->cache_known) {
        r->ds->cache_known = true;
        r->ds->cached = r->seen->cached;
        r->ds->capacity = r->seen->capacity;
    }
}

void gfs_reconcile(const struct gfs_object *dataset, const struct gfs_plan *plan,
                   const struct gfs_observation *seen, struct gfs_dataset_status *dataset_status,
                   struct gfs_runtime_status *runtime_status, struct gfs_effects *effects)
{
    struct round r = {
        .dataset = dataset,
        .plan = plan,
        .seen = seen,
        .ds = dataset_status,
        .rs = runtime_status,
        .effects = effects,
    };

    effects->n = 0;
    if (runtime_status->setup_started_ms == 0) {
        runtime_status->setup_started_ms = seen->now_ms;
    }
    for (int role = 0; role < GFS_ROLES; role++) {
        update_role(&r, role);
    }

    update_cache(&r);

    bool mounted = drive_mounts(&r);
    bool workers = runtime_status->roles[GFS_ROLE_WORKER].phase != GFS_PHASE_NOT_READY;

    if (dataset_status->phase == GFS_DATASET_BOUND) {
        watch_bound(&r);
        if (!seen->volume_ready) { /* somebody deleted it */
            (void)add(&r, GFS_EFFECT_CREATE_VOLUME);
        }
    } else if (mounted && workers && seen->has_leader && !seen->volume_ready) {
        (void)add(&r, GFS_EFFECT_CREATE_VOLUME);
        explain_not_bound(&r, mounted);
    } else if (mounted && workers && seen->has_leader) {
        bind_dataset(&r);
    } else {
        explain_not_bound(&r, mounted);
    }

    struct gfs_effect *wake = r.wake_ms != 0 ? add(&r, GFS_EFFECT_WAKE) : NULL;

    if (wake != NULL) {
        wake->at_ms = r.wake_ms;
    }
}

void gfs_reconcile_mounted(struct gfs_dataset_status *status, size_t index, int code,
                           const char *text, int64_t now_ms)
{
    struct gfs_mount_status *m = &status->mounts[index];

    if (code >= 0) {
        *m = (struct gfs_mount_status){.state = GFS_MOUNT_MOUNTED};
        return;
    }

    unsigned shift = m->failures < 10 ? m->failures : 10;
    int64_t pause = (int64_t)GFS_MOUNT_RETRY_FIRST_MS << shift;

    m->state = GFS_MOUNT_FAILED;
    m->failures++;
    m->next_try_ms = now_ms + (pause < GFS_MOUNT_RETRY_MAX_MS ? pause : GFS_MOUNT_RETRY_MAX_MS);
    (void)snprintf(m->error, sizeof(m->error), "%s", text);
}

void gfs_reconcile_unbind(struct gfs_dataset_status *status, int64_t now_ms)
{
    struct gfs_conditions conditions = status->conditions;

    *status = (struct gfs_dataset_status){.phase = GFS_DATASET_NOT_BOUND};
    status->conditions = conditions;
    if (conditions.n > 0) {
        (void)gfsi_condition_set(&status->conditions, "Ready", false, "DatasetNotReady",
                                 "no runtime of this name", now_ms);
    }
}
