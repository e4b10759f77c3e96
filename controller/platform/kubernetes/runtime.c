/* goosefsruntime-controller: one round for one runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"

#define FINALIZER "goosefs-runtime-controller-finalizer"
#define SETUP_NS  (1 * GFS_NS_PER_S)  /* between rounds until all is ready */
#define REST_NS   (15 * GFS_NS_PER_S) /* between looks at what is cached */

/* ---- effects ---- */

static int create_volume(struct gfsi_kube_round *r)
{
    struct gfsi_kube_objects objects;
    int rc = gfsi_kube_volume_build(r->pair->plan, r->dataset, r->runtime, &objects, r->err);

    if (rc == 0) {
        rc = gfsi_kube_apply_all(r->k, r->pair, &objects, r->err);
        gfsi_kube_objects_fini(&objects);
    }

    return rc;
}

static void mount_at_masters(struct gfsi_kube_round *r, size_t index)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_kube_masters_mount(r->pair, &r->pair->dataset->dataset->mounts[index], &err);

    gfs_reconcile_mounted(&r->pair->ds, index, rc, gfs_err_text(&err, rc), gfs_clock_wall_ms());
    if (rc == 0 && r->pair->ds.phase == GFS_DATASET_BOUND) {
        (void)gfs_kube_queue_add(r->k->loads, r->key); /* added later, or lost and mounted again */
    }
}

/* Returns when to come back, ns; negative errors. */
static int64_t carry_out(struct gfsi_kube_round *r, const struct gfs_effects *effects)
{
    int64_t next = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < effects->n; i++) {
        const struct gfs_effect *e = &effects->items[i];

        switch (e->kind) {
        case GFS_EFFECT_EVENT:
            gfsi_kube_event(r->k, e->about == GFS_KIND_DATASET ? r->dataset : r->runtime,
                            e->warning, e->reason, e->message);
            break;
        case GFS_EFFECT_MOUNT:
            mount_at_masters(r, e->index);
            next = 1;
            break;
        case GFS_EFFECT_CREATE_VOLUME: rc = create_volume(r); break;
        case GFS_EFFECT_LOAD_METADATA: rc = gfs_kube_queue_add(r->k->loads, r->key); break;
        case GFS_EFFECT_WAKE: break; /* rounds come often enough: SETUP_NS */
        }
    }

    return rc < 0 ? rc : next;
}

/* ---- a round ---- */

static bool owned_by(const json_t *runtime, const char *uid)
{
    json_t *item = NULL;
    size_t i = 0;

    json_array_foreach(gfs_kube_at(runtime, "metadata", "ownerReferences", NULL), i, item)
    {
        const char *owner = json_string_value(json_object_get(item, "uid"));

        if (owner != NULL && strcmp(owner, uid) == 0) {
            return true;
        }
    }

    return false;
}

/* So that a data set that is deleted takes its runtime with it. */
static int own_runtime(struct gfsi_kube_round *r)
{
    if (owned_by(r->runtime, gfs_kube_uid(r->dataset))) {
        return 0;
    }

    json_t *patch = json_pack("{s:{s:s, s:[{s:s, s:s, s:s, s:s}]}}", "metadata", "resourceVersion",
                              gfs_kube_version(r->runtime), "ownerReferences", "apiVersion",
                              "data.fluid.io/v1alpha1", "kind", "Dataset", "name", r->name, "uid",
                              gfs_kube_uid(r->dataset));
    int rc = gfs_kube_merge_patch(r->k->client, &gfs_kube_goosefsruntimes, r->ns, r->name, NULL,
                                  patch, NULL, r->err);

    json_decref(patch);
    return rc;
}

static void note_revision(struct gfsi_kube_round *r, const struct gfsi_kube_objects *objects)
{
    for (size_t i = 0; i < objects->n; i++) {
        const json_t *pods = gfs_kube_at(objects->items[i].json, "spec", "template", NULL);

        if (objects->items[i].resource == &gfs_kube_replicasets) {
            (void)snprintf(r->workers, sizeof(r->workers), "%s",
                           gfsi_kube_meta(pods, "annotations", GFSI_KUBE_REVISION));
        }
    }
}

static int apply_objects(struct gfsi_kube_round *r)
{
    const struct gfsi_kube_place place = gfsi_kube_place_of(r->k);
    struct gfsi_kube_objects objects;
    int rc =
        gfsi_kube_objects_build(r->pair->plan, r->dataset, r->runtime, &place, &objects, r->err);

    if (rc == 0) {
        note_revision(r, &objects);
        rc = gfsi_kube_apply_all(r->k, r->pair, &objects, r->err);
        gfsi_kube_objects_fini(&objects);
    }

    return rc;
}

static int write_statuses(struct gfsi_kube_round *r)
{
    int rc = gfsi_kube_status_write(r->k, &gfs_kube_datasets, r->dataset,
                                    gfsi_kube_dataset_status(r->pair, r->dataset), r->err);

    return rc < 0 ? rc
                  : gfsi_kube_status_write(r->k, &gfs_kube_goosefsruntimes, r->runtime,
                                           gfsi_kube_runtime_status(r->pair), r->err);
}

static bool all_ready(const struct gfsi_kube_pair *pair)
{
    for (int role = 0; role < GFS_ROLES; role++) {
        if (pair->rs.roles[role].phase != GFS_PHASE_READY) {
            return false;
        }
    }

    return pair->ds.phase == GFS_DATASET_BOUND && pair->ds.sized;
}

static int64_t work(struct gfsi_kube_round *r)
{
    struct gfs_observation seen = {0};
    struct gfs_effects *effects gfs_auto_free = calloc(1, sizeof(*effects));
    int rc = effects != NULL ? apply_objects(r) : GFS_ENOMEM;

    if (rc == 0) {
        rc = gfsi_kube_journals_provide(r);
    }
    if (rc == GFS_EINVAL) { /* such as another spec.master.journal: claims' templates are fixed */
        gfsi_kube_event(r->k, r->runtime, true, "ErrorValidateSpecFields",
                        gfs_err_text(r->err, rc));
    }
    if (rc == 0) {
        rc = gfsi_kube_note_nodes(r);
    }
    if (rc == 0) {
        rc = gfsi_kube_journals_end(r->k, r->ns, r->name, r->err);
    }
    if (rc == 0) {
        rc = gfsi_kube_rebind(r);
    }
    if (rc == 0) {
        rc = gfsi_kube_observe(r, &seen);
    }
    if (rc < 0) {
        return rc;
    }

    if (seen.has_leader && r->pair->ds.phase == GFS_DATASET_BOUND) {
        rc = gfsi_kube_masters_unmount_former(r->pair, r->dataset, r->err);
        if (rc < 0) {
            return rc;
        }
    }
    gfs_reconcile(r->pair->dataset, r->pair->plan, &seen, &r->pair->ds, &r->pair->rs, effects);

    int64_t next = carry_out(r, effects);

    rc = write_statuses(r);
    if (next != 0 || rc < 0) {
        return next != 0 ? next : rc;
    }

    return all_ready(r->pair) ? REST_NS : SETUP_NS;
}

/* A new pair in this process: what a former one did is in the objects. */
static int adopt(struct gfsi_kube_round *r)
{
    r->pair = gfsi_kube_pair_get(r->k, r->key, gfs_kube_uid(r->runtime));
    if (r->pair == NULL) {
        return gfs_err_set(r->err, GFS_ENOMEM, "out of memory");
    }
    if (r->pair->fresh) {
        gfsi_kube_status_restore(r->dataset, r->runtime, r->pair);
    }

    return 0;
}

/* The journals are bound to the list of masters: another number needs a membership change. What
 * runs goes on with the number there is (pairs.c); said once for each number asked for. */
static void tell_refused(struct gfsi_kube_round *r)
{
    char text[160];

    if (r->pair->refused == r->pair->told) {
        return;
    }

    r->pair->told = r->pair->refused;
    if (r->pair->refused != 0) {
        (void)snprintf(text, sizeof(text),
                       "spec.master.replicas of a running runtime cannot change from %zu to %d: "
                       "put it back, or delete the runtime and create it anew",
                       r->pair->plan->desired[GFS_ROLE_MASTER], r->pair->refused);
        gfsi_kube_event(r->k, r->runtime, true, "ErrorValidateSpecFields", text);
    }
}

static int64_t live(struct gfsi_kube_round *r)
{
    int rc =
        gfsi_kube_finalizer(r->k, &gfs_kube_goosefsruntimes, r->runtime, FINALIZER, true, r->err);

    if (rc < 0 || r->dataset == NULL) {
        return rc;
    }

    rc = own_runtime(r);
    if (rc == 0) {
        rc = adopt(r);
    }
    if (rc < 0) {
        return rc;
    }

    rc = gfsi_kube_pair_plan(r->k, r->pair, r->dataset, r->runtime, r->err);
    if (rc == GFS_EINVAL) {
        gfsi_kube_event(r->k, r->runtime, true, "ErrorValidateSpecFields",
                        gfs_err_text(r->err, rc));
        return 0; /* until the object changes */
    }
    if (rc < 0) {
        return rc;
    }
    tell_refused(r);
    if (r->pair->fresh && r->pair->ds.phase == GFS_DATASET_BOUND) {
        (void)gfs_kube_queue_add(r->k->loads, r->key);
    }

    return work(r);
}

static int unbind(struct gfsi_kube_round *r)
{
    if (r->dataset == NULL || gfsi_kube_deleting(r->dataset)) {
        return 0;
    }

    struct gfsi_kube_pair *none gfs_auto_free = calloc(1, sizeof(*none));

    if (none == NULL) {
        return gfs_err_set(r->err, GFS_ENOMEM, "out of memory");
    }

    gfsi_kube_status_restore(r->dataset, r->runtime, none);
    gfs_reconcile_unbind(&none->ds, gfs_clock_wall_ms());
    return gfsi_kube_status_write(r->k, &gfs_kube_datasets, r->dataset,
                                  gfsi_kube_dataset_status(none, r->dataset), r->err);
}

/* The volume as our copy has it: a request each round for one that is gone would hold up the rest
 * of a deletion while the API server stumbles. */
static int delete_volume(struct gfsi_kube_round *r)
{
    char name[2 * GFS_KUBE_NAME_MAX + 2];

    (void)snprintf(name, sizeof(name), "%s-%s", r->ns, r->name);

    json_t *volume = gfsi_kube_get(r->k, GFSI_KUBE_VOLUMES, "", name);
    int rc = 0;

    if (volume != NULL && !gfsi_kube_deleting(volume)) {
        rc = gfsi_kube_delete(r->k, &gfs_kube_persistentvolumes, NULL, name, r->err);
    }

    json_decref(volume);
    return rc;
}

/* What we made a moment ago may not be in our copy yet, and nobody looks for it later. */
static int delete_unseen(struct gfsi_kube_round *r)
{
    char name[2 * GFS_KUBE_NAME_MAX + 2];
    int rc = gfsi_kube_delete(r->k, &gfs_kube_persistentvolumeclaims, r->ns, r->name, r->err);

    (void)snprintf(name, sizeof(name), "%s-%s", r->ns, r->name);
    return rc < 0 ? rc : gfsi_kube_delete(r->k, &gfs_kube_persistentvolumes, NULL, name, r->err);
}

/* The claim first: while a pod uses it, it stays, and all else with it. */
static int64_t tear_down(struct gfsi_kube_round *r)
{
    json_t *claim = gfsi_kube_get(r->k, GFSI_KUBE_CLAIMS, r->ns, r->name);
    int64_t rc = 0;

    if (claim != NULL) {
        if (!gfsi_kube_deleting(claim)) {
            rc = gfsi_kube_delete(r->k, &gfs_kube_persistentvolumeclaims, r->ns, r->name, r->err);
        }
        json_decref(claim);
        return rc < 0 ? rc : SETUP_NS;
    }

    rc = delete_volume(r);
    if (rc == 0) {
        rc = unbind(r);
    }
    if (rc == 0) {
        rc = gfsi_kube_unmark_nodes(r->k, r->ns, r->name, r->err);
    }
    if (rc == 0) {
        rc = gfsi_kube_clean(r);
    }
    if (rc == 0) {
        rc = delete_unseen(r);
    }
    if (rc == 0) {
        rc = gfsi_kube_finalizer(r->k, &gfs_kube_goosefsruntimes, r->runtime, FINALIZER, false,
                                 r->err);
        if (rc == 0) {
            gfs_info("kubernetes", "runtime deleted", "pair=%s", r->key);
            gfsi_kube_pair_drop(r->k, r->key);
        }
    }

    return rc;
}

int64_t gfsi_kube_reconcile_runtime(struct gfsi_kube *k, const char *key, struct gfs_err *err)
{
    struct gfsi_kube_round r = {.k = k, .key = key, .err = err};
    const char *slash = strchr(key, '/');

    if (slash == NULL) {
        return 0;
    }

    (void)snprintf(r.ns, sizeof(r.ns), "%.*s", (int)(slash - key), key);
    (void)snprintf(r.name, sizeof(r.name), "%s", slash + 1);
    r.runtime = gfsi_kube_get(k, GFSI_KUBE_RUNTIMES, r.ns, r.name);
    if (r.runtime == NULL) {
        int rc = gfsi_kube_end_orphans(&r);

        gfsi_kube_pair_drop(k, key);
        return rc < 0 ? rc : gfsi_kube_journals_end(k, r.ns, r.name, err);
    }

    r.dataset = gfsi_kube_get(k, GFSI_KUBE_DATASETS, r.ns, r.name);

    int64_t next = gfsi_kube_deleting(r.runtime) ? tear_down(&r) : live(&r);

    gfsi_kube_pair_end(k, key, r.pair);
    json_decref(r.dataset);
    json_decref(r.runtime);
    return next;
}
