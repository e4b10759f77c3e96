/* A Dataset and the runtime of its name: observe, reconcile, act, until what is wanted is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"

#define RETRY_NS (2 * GFS_NS_PER_S) /* after what could not be made */

void gfsi_pair_event(struct gfsi_pair *pair, enum gfs_object_kind about, bool warning,
                     const char *reason, const char *message)
{
    gfsi_local_event(pair->local, pair->ns, gfs_object_kind_names(about)->singular, pair->name,
                     warning, reason, message);
}

struct gfsi_pair *gfsi_pair_find(struct gfsi_local *local, const char *ns, const char *name)
{
    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        if (strcmp(pair->name, name) == 0 && strcmp(pair->ns, ns) == 0) {
            return pair;
        }
    }

    return NULL;
}

void gfsi_pair_free(struct gfsi_pair *pair)
{
    while (pair->pods != NULL) {
        struct gfsi_pod *pod = pair->pods;

        pair->pods = pod->next;
        gfsi_pod_free(pod);
    }

    gfsi_timer_clear(pair->local->loop, &pair->timer);
    pair->masters = gfsi_masters_free(pair->masters);
    pair->plan = gfs_plan_free(pair->plan);
    pair->dataset = gfs_object_free(pair->dataset);
    pair->runtime = gfs_object_free(pair->runtime);
    free(pair);
}

static void unlink_and_free(struct gfsi_pair *pair)
{
    struct gfsi_pair **at = &pair->local->pairs;

    while (*at != pair) {
        at = &(*at)->next;
    }

    *at = pair->next;
    gfsi_pair_free(pair);
}

/* ---- the plan ---- */

/* Every tier path of the runtime that this machine does not have. MEM tiers are directories in a
 * file system of memory; /dev/shm exists on every Linux. */
static size_t missing_paths(const struct gfs_runtime *runtime, const char **out)
{
    size_t n = 0;

    for (size_t t = 0; t < runtime->n_tiers; t++) {
        for (size_t i = 0; i < runtime->tiers[t].n_paths; i++) {
            if (access(runtime->tiers[t].paths[i], F_OK) < 0) {
                out[n++] = runtime->tiers[t].paths[i];
            }
        }
    }

    return n;
}

static int make_plan(struct gfsi_pair *pair, struct gfs_plan **out, struct gfs_err *err)
{
    struct gfsi_local *local = pair->local;
    const char *missing[GFS_TIER_MAX_LEVELS * GFS_TIER_MAX_PATHS];
    const char *nodes[] = {local->node};
    char hosts[PATH_MAX];

    gfsi_addresses_path(local->opts.state_dir, pair->ns, hosts, sizeof(hosts));

    struct gfs_facts facts = {
        .seed = local->opts.state_dir,
        .nodes = nodes,
        .n_nodes = 1,
        .mount_root = local->opts.mount_root,
        .hosts_file = hosts,
        .pods_dir = local->pods_dir,
        .one_machine = true,
        .missing_paths = missing,
        .n_missing = missing_paths(pair->runtime->runtime, missing),
        .stand_in_dir = local->disks_dir,
    };

    return gfs_desired(pair->dataset, pair->runtime, &facts, out, err);
}

void gfsi_pair_replan(struct gfsi_pair *pair)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_plan *plan = NULL;

    pair->replan = false;
    if (make_plan(pair, &plan, &err) < 0) {
        gfsi_pair_event(pair, GFS_KIND_RUNTIME, true, "ErrorProcessRuntime", err.text);
        gfs_error("local", "cannot plan a runtime", "runtime=%s/%s error=%s", pair->ns, pair->name,
                  GFS_Q(err.text));
        return;
    }

    bool first = pair->plan == NULL;

    pair->plan = gfs_plan_free(pair->plan);
    pair->plan = plan;
    gfsi_pathf(pair->fuse_path, sizeof(pair->fuse_path), "%s", plan->fuse_path);
    gfsi_pathf(pair->conf_path, sizeof(pair->conf_path), "%s", plan->conf_path);
    /* Also without a client: the node plugin has one started with it on demand. */
    if (gfsi_client_write_conf(plan, &err) < 0) {
        gfsi_pair_event(pair, GFS_KIND_RUNTIME, true, "ErrorProcessRuntime", err.text);
        gfs_error("local", "cannot write the clients' configuration", "error=%s", GFS_Q(err.text));
    }
    for (size_t i = 0; i < plan->n_notes; i++) {
        gfsi_pair_event(pair, GFS_KIND_RUNTIME, false, "StandIn", plan->notes[i]);
        if (first) {
            gfs_info("local", "a directory stands in for a tier path", "runtime=%s/%s note=%s",
                     pair->ns, pair->name, GFS_Q(plan->notes[i]));
        }
    }
}

/* ---- the masters ---- */

static void on_masters_changed(void *arg)
{
    struct gfsi_pair *pair = arg;

    gfsi_pair_poke(pair);
    gfsi_local_changed(pair->local);
}

static void connect_masters(struct gfsi_pair *pair)
{
    char targets[GFS_MASTERS_MAX][GFSI_ADDRESS_SIZE + 8];
    const char *list[GFS_MASTERS_MAX];
    size_t n = 0;
    struct gfs_err err = GFS_ERR_INIT;

    if (pair->masters != NULL) {
        return;
    }

    for (size_t i = 0; i < pair->plan->n_pods && n < GFS_MASTERS_MAX; i++) {
        const struct gfs_pod *wanted = &pair->plan->pods[i];
        const struct gfsi_pod *pod = gfsi_pair_pod(pair, wanted->name);

        if (wanted->role != GFS_ROLE_MASTER) {
            continue;
        }
        if (pod == NULL || pod->address[0] == '\0') {
            return;
        }
        (void)snprintf(targets[n], sizeof(targets[n]), "%s:%u", pod->address, wanted->rpc_port);
        list[n] = targets[n];
        n++;
    }

    if (gfsi_masters_new(pair->local->loop, list, n, on_masters_changed, pair, &pair->masters,
                         &err) < 0) {
        gfs_error("local", "cannot ask the masters", "error=%s", GFS_Q(err.text));
    }
}

/* ---- a round ---- */

/* Of the workers that should be there: one that was just stopped counts as live for a while. */
static void observe_cache(const struct gfsi_pair *pair, struct gfs_observation *seen)
{
    uint64_t used_sum = 0;

    for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        uint64_t capacity = 0;
        uint64_t used = 0;

        if (pod->role == GFS_ROLE_WORKER && !pod->deleting &&
            gfsi_masters_worker_live(pair->masters, pod->name, &capacity, &used)) {
            seen->capacity += capacity;
            used_sum += used;
        }
    }

    /* What of the data set is cached, once that is known: `used` holds copies and old versions too.
     */
    if (!gfsi_masters_cached(pair->masters, &seen->cached)) {
        seen->cached = used_sum;
    }

    seen->cache_known = gfsi_masters_workers_known(pair->masters);
}

static void observe(const struct gfsi_pair *pair, struct gfs_observation *seen)
{
    *seen = (struct gfs_observation){.now_ms = gfs_clock_wall_ms(), .volume_ready = pair->volume};
    for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (!pod->deleting || pod->keep_data) {
            seen->current[pod->role]++;
            seen->ready[pod->role] += gfsi_pod_ready(pod);
        }
    }
    if (pair->masters != NULL) {
        seen->has_leader = gfsi_masters_has_leader(pair->masters);
        observe_cache(pair, seen);
        seen->sized = gfsi_masters_size(pair->masters, &seen->ufs_total, &seen->files);
    }
}

static void on_mounted(void *arg, size_t index, int code, const char *text)
{
    struct gfsi_pair *pair = arg;

    if (pair->dataset == NULL || index >= pair->dataset->dataset->n_mounts) {
        return; /* another Dataset meanwhile */
    }
    if (code == GFS_ENOTLEADER) {
        pair->ds.mounts[index].state = GFS_MOUNT_ABSENT;
    } else {
        gfs_reconcile_mounted(&pair->ds, index, code, text, gfs_clock_wall_ms());
    }
    if (code < 0 && code != GFS_ENOTLEADER) {
        gfs_warn("local", "cannot mount an origin", "dataset=%s/%s path=%s error=%s", pair->ns,
                 pair->name, GFS_Q(pair->dataset->dataset->mounts[index].path), GFS_Q(text));
    }

    gfsi_pair_poke(pair);
}

static void on_timer(void *arg);

static void carry_out(struct gfsi_pair *pair, const struct gfs_effect *effect)
{
    switch (effect->kind) {
    case GFS_EFFECT_EVENT:
        gfsi_pair_event(pair, effect->about, effect->warning, effect->reason, effect->message);
        return;
    case GFS_EFFECT_MOUNT:
        gfsi_masters_mount(pair->masters, &pair->dataset->dataset->mounts[effect->index],
                           effect->index, on_mounted, pair);
        return;
    case GFS_EFFECT_CREATE_VOLUME:
        pair->volume = true;
        pair->volume_created_ms = gfs_clock_wall_ms();
        gfsi_pair_poke(pair);
        return;
    case GFS_EFFECT_LOAD_METADATA: gfsi_masters_load(pair->masters); return;
    case GFS_EFFECT_WAKE: {
        int64_t wait = effect->at_ms - gfs_clock_wall_ms();
        int64_t at = gfs_clock_mono() + (wait > 0 ? wait : 0) * GFS_NS_PER_MS;

        if (pair->timer.deadline == 0 || pair->timer.deadline > at) {
            gfsi_timer_set(pair->local->loop, &pair->timer, at, on_timer, pair);
        }
        return;
    }
    default: return;
    }
}

static void reconcile(struct gfsi_pair *pair)
{
    struct gfs_effects *effects gfs_auto_free = calloc(1, sizeof(*effects));
    struct gfs_observation seen;

    if (effects == NULL) {
        return;
    }

    enum gfs_dataset_phase before = pair->ds.phase;

    observe(pair, &seen);
    if (pair->masters != NULL) {
        gfsi_masters_expect_workers(pair->masters, pair->plan->desired[GFS_ROLE_WORKER]);
    }
    gfs_reconcile(pair->dataset, pair->plan, &seen, &pair->ds, &pair->rs, effects);
    for (size_t i = 0; i < effects->n; i++) {
        carry_out(pair, &effects->items[i]);
    }
    if (before != pair->ds.phase) {
        gfs_info("local", "dataset changed phase", "dataset=%s/%s phase=%s setup_ms=%lld", pair->ns,
                 pair->name, gfs_dataset_phase_name(pair->ds.phase), (long long)pair->rs.setup_ms);
    }
}

/* The runtime has to go, or its Dataset is not there: no plan, so its pods go. */
static void wind_down(struct gfsi_pair *pair)
{
    if (pair->plan != NULL) {
        pair->plan = gfs_plan_free(pair->plan);
        pair->volume = false;
        gfs_reconcile_unbind(&pair->ds, gfs_clock_wall_ms());
        pair->rs = (struct gfs_runtime_status){0};
    }

    gfsi_pair_sync_pods(pair);
    if (pair->pods != NULL) {
        return;
    }

    pair->masters = gfsi_masters_free(pair->masters);
    if (pair->conf_path[0] != '\0') {
        gfsi_client_remove_conf(pair->conf_path);
        pair->conf_path[0] = '\0';
    }
    if (pair->runtime != NULL && pair->runtime_deleting) {
        pair->runtime = gfs_object_free(pair->runtime);
        pair->runtime_deleting = false;
    }
}

/* False when the pair is gone. */
static bool wind_up(struct gfsi_pair *pair)
{
    bool dataset_wanted = pair->dataset != NULL && !pair->dataset_deleting;
    bool runtime_wanted = pair->runtime != NULL && !pair->runtime_deleting;

    if (dataset_wanted && runtime_wanted) {
        return true;
    }

    wind_down(pair);
    if (pair->pods == NULL && pair->dataset_deleting) {
        pair->dataset = gfs_object_free(pair->dataset);
        pair->dataset_deleting = false;
        pair->ds = (struct gfs_dataset_status){0};
    }
    if (pair->dataset == NULL && runtime_wanted && !pair->missing_dataset_said) {
        pair->missing_dataset_said = true;
        gfsi_pair_event(pair, GFS_KIND_RUNTIME, true, "ErrorProcessRuntime",
                        "there is no Dataset of this name yet");
    }

    gfsi_local_changed(pair->local);
    if (pair->dataset == NULL && pair->runtime == NULL && pair->pods == NULL) {
        unlink_and_free(pair);
        return false;
    }

    return pair->dataset != NULL && pair->runtime != NULL && !pair->dataset_deleting &&
           !pair->runtime_deleting;
}

static void sync_pair(struct gfsi_pair *pair)
{
    gfsi_pair_free_gone(pair);
    if (pair->local->stage != GFSI_STAGE_RUNNING || !wind_up(pair)) {
        return;
    }

    if (pair->replan || pair->plan == NULL) {
        gfsi_pair_replan(pair);
    }
    if (pair->plan == NULL) {
        return;
    }

    pair->retry = false;
    gfsi_pair_sync_pods(pair);
    connect_masters(pair);
    reconcile(pair);
    if (pair->retry && pair->timer.deadline == 0) {
        gfsi_timer_set(pair->local->loop, &pair->timer, gfs_clock_mono() + RETRY_NS, on_timer,
                       pair);
    }

    gfsi_local_changed(pair->local);
}

static void on_timer(void *arg)
{
    sync_pair(arg);
}

void gfsi_pair_poke(struct gfsi_pair *pair)
{
    gfsi_timer_set(pair->local->loop, &pair->timer, 1, on_timer, pair);
}
