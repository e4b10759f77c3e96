/* What is watched, what of it is kept, and which keys a change wakes. */
#include <stdio.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"

#define SYNC_NS (60 * GFS_NS_PER_S)

static void add_key(struct gfs_kube_queue *queue, const char *ns, const char *name)
{
    char key[GFS_KUBE_KEY_MAX];

    if (queue != NULL && name != NULL && name[0] != '\0') {
        (void)snprintf(key, sizeof(key), "%s/%s", ns, name);
        (void)gfs_kube_queue_add(queue, key);
    }
}

static void on_pair_object(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;
    const json_t *object = now != NULL ? now : before;

    add_key(k->datasets, gfs_kube_namespace(object), gfs_kube_name(object));
    add_key(k->runtimes, gfs_kube_namespace(object), gfs_kube_name(object));
}

static void on_part(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;
    const json_t *object = now != NULL ? now : before;
    const json_t *labels = gfs_kube_at(object, "metadata", "labels", NULL);

    add_key(k->runtimes, gfs_kube_namespace(object),
            json_string_value(json_object_get(labels, "release")));
}

/* The node of a worker is labelled; so is the one a worker has left. */
static void on_pod(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;
    const json_t *both[] = {before, now};

    on_part(arg, before, now);
    for (size_t i = 0; i < 2; i++) {
        const char *node = json_string_value(gfs_kube_at(both[i], "spec", "nodeName", NULL));

        if (node != NULL &&
            strcmp(gfsi_kube_meta(both[i], "labels", "role"), "goosefs-worker") == 0) {
            (void)gfs_kube_queue_add(k->nodes, node);
        }
    }
}

static void on_node(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;

    if (now != NULL && !json_equal(gfs_kube_at(before, "metadata", "labels", NULL),
                                   gfs_kube_at(now, "metadata", "labels", NULL))) {
        (void)gfs_kube_queue_add(k->nodes, gfs_kube_name(now));
    }
}

static void on_claim(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;
    const json_t *object = now != NULL ? now : before;
    const char *release = gfsi_kube_meta(object, "labels", "release"); /* of a journal */

    add_key(k->runtimes, gfs_kube_namespace(object),
            release[0] != '\0' ? release : gfs_kube_name(object));
}

static void on_volume(void *arg, json_t *before, json_t *now)
{
    struct gfsi_kube *k = arg;
    const json_t *object = now != NULL ? now : before;
    const json_t *claim = gfs_kube_at(object, "spec", "claimRef", NULL);
    const char *release = gfsi_kube_meta(object, "labels", "release"); /* of a journal */
    const char *ns = json_string_value(json_object_get(claim, "namespace"));

    add_key(k->runtimes, ns != NULL ? ns : "",
            release[0] != '\0' ? release : json_string_value(json_object_get(claim, "name")));
}

int gfsi_kube_watch(struct gfsi_kube *k, struct gfs_err *err)
{
    static const struct gfs_kube_selector all = {0};
    static const struct gfs_kube_selector ours = {.labels = "fluid.io/managed-by=fluid"};
    static const struct {
        const struct gfs_kube_resource *resource;
        const struct gfs_kube_selector *selector;
        gfs_kube_change_fn change;
        gfs_kube_trim_fn trim;
    } table[GFSI_KUBE_KINDS] = {
        [GFSI_KUBE_DATASETS] = {&gfs_kube_datasets, &all, on_pair_object, gfsi_kube_trim_users},
        [GFSI_KUBE_RUNTIMES] = {&gfs_kube_goosefsruntimes, &all, on_pair_object,
                                gfsi_kube_trim_users},
        [GFSI_KUBE_PODS] = {&gfs_kube_pods, &ours, on_pod, gfsi_kube_trim_pod},
        [GFSI_KUBE_SERVICES] = {&gfs_kube_services, &ours, on_part, gfsi_kube_trim_part},
        [GFSI_KUBE_CONFIGMAPS] = {&gfs_kube_configmaps, &ours, on_part, gfsi_kube_trim_part},
        [GFSI_KUBE_STATEFULSETS] = {&gfs_kube_statefulsets, &ours, on_part, gfsi_kube_trim_set},
        [GFSI_KUBE_REPLICASETS] = {&gfs_kube_replicasets, &ours, on_part, gfsi_kube_trim_set},
        [GFSI_KUBE_DAEMONSETS] = {&gfs_kube_daemonsets, &ours, on_part, gfsi_kube_trim_set},
        [GFSI_KUBE_BUDGETS] = {&gfs_kube_poddisruptionbudgets, &ours, on_part, gfsi_kube_trim_part},
        [GFSI_KUBE_VOLUMES] = {&gfs_kube_persistentvolumes, &ours, on_volume,
                               gfsi_kube_trim_volume},
        [GFSI_KUBE_CLAIMS] = {&gfs_kube_persistentvolumeclaims, &ours, on_claim,
                              gfsi_kube_trim_claim},
        [GFSI_KUBE_NODES] = {&gfs_kube_nodes, &all, on_node, gfsi_kube_trim_node},
    };
    /* dataset-controller alone needs the two kinds users write. */
    size_t n = (k->opts.controllers & GFS_CONTROLLER_RUNTIME) != 0 ? GFSI_KUBE_KINDS
                                                                   : GFSI_KUBE_RUNTIMES + 1;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = gfs_kube_informer_new(k->client, table[i].resource, table[i].selector, table[i].change,
                                   k, &k->informers[i], err);
        if (rc == 0) {
            gfs_kube_informer_set_trim(k->informers[i], table[i].trim);
            rc = gfs_kube_informer_start(k->informers[i], err);
        }
    }
    for (size_t i = 0; rc == 0 && i < n && i != GFSI_KUBE_NODES; i++) {
        while (!gfs_kube_informer_wait_synced(k->informers[i], gfs_clock_mono() + SYNC_NS)) {
            /* Nothing may be decided on half a view; the API server will come. */
            gfs_warn("kubernetes", "no list of objects yet", "kind=%s", table[i].resource->kind);
            pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

            if (k->stopping) {
                return gfs_err_set(err, GFS_ECANCELLED, "stopped");
            }
        }
    }

    return rc;
}
