/* Objects come, change and go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/local/local_priv.h"
#include "platform/local/state.h"

static struct gfsi_pair *find_or_add(struct gfsi_local *local, const char *ns, const char *name)
{
    struct gfsi_pair *pair = gfsi_pair_find(local, ns, name);

    if (pair != NULL) {
        return pair;
    }

    pair = calloc(1, sizeof(*pair));
    if (pair == NULL) {
        return NULL;
    }

    pair->local = local;
    (void)snprintf(pair->ns, sizeof(pair->ns), "%s", ns);
    (void)snprintf(pair->name, sizeof(pair->name), "%s", name);

    struct gfsi_pair **tail = &local->pairs;

    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    *tail = pair;
    return pair;
}

static int check_change(const struct gfsi_pair *pair, const struct gfs_object *object,
                        struct gfs_err *err)
{
    bool dataset = object->kind == GFS_KIND_DATASET;

    if (dataset ? pair->dataset_deleting : pair->runtime_deleting) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s %s/%s is being deleted: wait for its end",
                           gfs_object_kind_names(object->kind)->kind, object->ns, object->name);
    }
    /* The journal of each master is bound to the list of masters. */
    if (!dataset && pair->runtime != NULL &&
        pair->runtime->runtime->master.replicas != object->runtime->master.replicas) {
        return gfs_err_set(err, GFS_EPRECONDITION,
                           "spec.master.replicas of a running GooseFSRuntime cannot change from %d "
                           "to %d: delete the runtime and apply it again",
                           pair->runtime->runtime->master.replicas,
                           object->runtime->master.replicas);
    }

    return 0;
}

static bool has_mount(const struct gfs_dataset *dataset, const struct gfs_dataset_mount *mount)
{
    for (size_t i = 0; i < dataset->n_mounts; i++) {
        if (strcmp(dataset->mounts[i].path, mount->path) == 0) {
            return true;
        }
    }

    return false;
}

/* Mounts that are no longer wanted go; the others are looked at again, and a changed origin is
 * mounted anew (defect D-41 of the predecessor). */
static void replace_dataset(struct gfsi_pair *pair, struct gfs_object *object)
{
    for (size_t i = 0; pair->masters != NULL && i < pair->dataset->dataset->n_mounts; i++) {
        const struct gfs_dataset_mount *mount = &pair->dataset->dataset->mounts[i];

        if (!has_mount(object->dataset, mount)) {
            gfsi_masters_unmount(pair->masters, mount->path);
        }
    }

    memset(pair->ds.mounts, 0, sizeof(pair->ds.mounts));
    pair->dataset = gfs_object_free(pair->dataset);
    pair->dataset = object;
}

static void take(struct gfsi_pair *pair, struct gfs_object *object, int64_t created_ms)
{
    pair->replan = true;
    if (object->kind == GFS_KIND_RUNTIME) {
        pair->runtime_created_ms = created_ms;
        pair->runtime = gfs_object_free(pair->runtime);
        pair->runtime = object;
        pair->missing_dataset_said = false;
        return;
    }

    pair->dataset_created_ms = created_ms;
    if (pair->dataset != NULL) {
        replace_dataset(pair, object);
    } else {
        pair->dataset = object;
    }
}

const char *gfsi_pair_apply(struct gfsi_local *local, struct gfs_object *object, int64_t stored_ms,
                            struct gfs_err *err)
{
    struct gfsi_pair *pair = find_or_add(local, object->ns, object->name);

    if (pair == NULL) {
        (void)gfs_err_set(err, GFS_ENOMEM, "out of memory");
        return NULL;
    }

    const struct gfs_object *old = object->kind == GFS_KIND_DATASET ? pair->dataset : pair->runtime;

    int64_t created_ms = stored_ms != 0 ? stored_ms : gfs_clock_wall_ms();

    if (old != NULL) {
        created_ms =
            object->kind == GFS_KIND_DATASET ? pair->dataset_created_ms : pair->runtime_created_ms;
    }
    if (check_change(pair, object, err) < 0 ||
        (stored_ms == 0 && gfsi_state_save(local->opts.state_dir, object, created_ms, err) < 0)) {
        gfsi_pair_poke(pair); /* which frees it if it was made for nothing */
        return NULL;
    }

    const char *verb = old == NULL                            ? "created"
                       : strcmp(old->json, object->json) == 0 ? "unchanged"
                                                              : "configured";

    if (old != NULL && strcmp(old->json, object->json) == 0) {
        pair->replan = true; /* a tier path may exist by now */
        (void)gfs_object_free(object);
    } else {
        take(pair, object, created_ms);
    }

    gfsi_pair_poke(pair);
    return verb;
}

int gfsi_pair_delete(struct gfsi_local *local, enum gfs_object_kind kind, const char *ns,
                     const char *name, struct gfs_err *err)
{
    struct gfsi_pair *pair = gfsi_pair_find(local, ns, name);
    struct gfs_object *object = NULL;

    if (pair != NULL) {
        object = kind == GFS_KIND_DATASET ? pair->dataset : pair->runtime;
    }
    if (object == NULL) {
        return gfs_err_set(err, GFS_ENOENT, "%s.data.fluid.io \"%s\" not found",
                           gfs_object_kind_names(kind)->plural, name);
    }

    int rc = gfsi_state_remove(local->opts.state_dir, object, err);

    if (rc < 0) {
        return rc;
    }
    if (kind == GFS_KIND_DATASET) {
        pair->dataset_deleting = true;
    }
    /* A runtime is owned by its Dataset (fluid.md §2.3) and goes with it. */
    if (pair->runtime != NULL) {
        rc = gfsi_state_remove(local->opts.state_dir, pair->runtime, err);
        pair->runtime_deleting = true;
    }
    if (rc < 0) {
        return rc;
    }

    gfsi_pair_poke(pair);
    return 0;
}
