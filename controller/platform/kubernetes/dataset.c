/* dataset-controller: finalizer, first phase, and no deletion while pods use the claim. */
#include <stdio.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"

#define FINALIZER "fluid-dataset-controller-finalizer"
#define IN_USE_NS (10 * GFS_NS_PER_S) /* Fluid's requeue */

struct users {
    const char *claim;
    size_t n;
    char first[GFS_KUBE_NAME_MAX + 1];
};

static bool uses(const json_t *pod, const char *claim)
{
    json_t *volume = NULL;
    size_t i = 0;

    json_array_foreach(gfs_kube_at(pod, "spec", "volumes", NULL), i, volume)
    {
        const char *name =
            json_string_value(gfs_kube_at(volume, "persistentVolumeClaim", "claimName", NULL));

        if (name != NULL && strcmp(name, claim) == 0) {
            return true;
        }
    }

    return false;
}

static int look(void *arg, json_t *pod)
{
    struct users *users = arg;
    const char *phase = json_string_value(gfs_kube_at(pod, "status", "phase", NULL));
    bool done = phase != NULL && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);

    if (!done && uses(pod, users->claim)) {
        users->n++;
        (void)snprintf(users->first, sizeof(users->first), "%s", gfs_kube_name(pod));
    }

    return 0;
}

static int64_t delete_dataset(struct gfsi_kube *k, const json_t *dataset, struct gfs_err *err)
{
    struct users users = {.claim = gfs_kube_name(dataset)};
    const struct gfs_kube_selector here = {.ns = gfs_kube_namespace(dataset)};
    int rc = gfs_kube_list(k->client, &gfs_kube_pods, &here, look, &users, NULL, 0, err);

    if (rc < 0) {
        return rc;
    }
    if (users.n > 0) {
        char text[512];

        (void)snprintf(text, sizeof(text), "%zu pod(s) still use claim %.250s, e.g. %.200s",
                       users.n, users.claim, users.first);
        gfsi_kube_event(k, dataset, true, "ErrorDeleteDataset", text);
        return IN_USE_NS;
    }

    return gfsi_kube_finalizer(k, &gfs_kube_datasets, dataset, FINALIZER, false, err);
}

static int first_phase(struct gfsi_kube *k, const json_t *dataset, struct gfs_err *err)
{
    const char *phase = json_string_value(gfs_kube_at(dataset, "status", "phase", NULL));

    if (phase != NULL && phase[0] != '\0') {
        return 0;
    }

    json_t *patch = json_pack("{s:{s:s, s:s}, s:{s:s, s:[]}}", "metadata", "resourceVersion",
                              gfs_kube_version(dataset), "name", gfs_kube_name(dataset), "status",
                              "phase", "NotBound", "conditions");
    int rc = gfs_kube_merge_patch(k->client, &gfs_kube_datasets, gfs_kube_namespace(dataset),
                                  gfs_kube_name(dataset), "status", patch, NULL, err);

    json_decref(patch);
    return rc;
}

int64_t gfsi_kube_reconcile_dataset(struct gfsi_kube *k, const char *key, struct gfs_err *err)
{
    char ns[GFS_KUBE_NAME_MAX + 1];
    const char *slash = strchr(key, '/');

    if (slash == NULL) {
        return 0;
    }

    (void)snprintf(ns, sizeof(ns), "%.*s", (int)(slash - key), key);

    json_t *dataset = gfsi_kube_get(k, GFSI_KUBE_DATASETS, ns, slash + 1);
    int64_t next = 0;

    if (dataset == NULL) {
        return 0;
    }
    if (gfsi_kube_deleting(dataset)) {
        next = delete_dataset(k, dataset, err);
    } else {
        next = gfsi_kube_finalizer(k, &gfs_kube_datasets, dataset, FINALIZER, true, err);
        if (next == 0) {
            /* The finalizer's write comes back as a change, with the version this needs. */
            next = first_phase(k, dataset, err);
        }
    }

    json_decref(dataset);
    return next;
}
