#include <string.h>

#include <gfs/controller/desired.h>

static bool same_pod(const struct gfs_observed_pod *observed, const struct gfs_pod *pod)
{
    return strcmp(observed->name, pod->name) == 0 && strcmp(observed->ns, pod->ns) == 0;
}

static const struct gfs_pod *find_wanted(const struct gfs_plan *plan,
                                         const struct gfs_observed_pod *observed)
{
    for (size_t i = 0; plan != NULL && i < plan->n_pods; i++) {
        if (same_pod(observed, &plan->pods[i])) {
            return &plan->pods[i];
        }
    }

    return NULL;
}

static const struct gfs_observed_pod *find_observed(const struct gfs_observed_pod *observed,
                                                    size_t n, const struct gfs_pod *pod)
{
    for (size_t i = 0; i < n; i++) {
        if (same_pod(&observed[i], pod)) {
            return &observed[i];
        }
    }

    return NULL;
}

size_t gfs_diff(const struct gfs_observed_pod *observed, size_t n_observed,
                const struct gfs_plan *plan, struct gfs_action *actions, size_t max)
{
    size_t n = 0;

    /* Readers before what they read from. */
    for (int role = GFS_ROLES - 1; role >= 0; role--) {
        for (size_t i = 0; i < n_observed && n < max; i++) {
            if ((int)observed[i].role == role && find_wanted(plan, &observed[i]) == NULL) {
                actions[n++] =
                    (struct gfs_action){.kind = GFS_ACTION_DELETE, .observed = &observed[i]};
            }
        }
    }

    for (int role = 0; role < GFS_ROLES; role++) {
        for (size_t i = 0; plan != NULL && i < plan->n_pods && n < max; i++) {
            const struct gfs_pod *pod = &plan->pods[i];
            const struct gfs_observed_pod *there = find_observed(observed, n_observed, pod);

            if ((int)pod->role != role || (there != NULL && there->hash == pod->hash)) {
                continue;
            }

            actions[n++] = (struct gfs_action){
                .kind = there == NULL ? GFS_ACTION_CREATE : GFS_ACTION_REPLACE,
                .pod = pod,
                .observed = there,
            };
        }
    }

    return n;
}
