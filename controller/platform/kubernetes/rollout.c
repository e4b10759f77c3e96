#include "platform/kubernetes/rollout.h"

#include <stdlib.h>
#include <string.h>

/* By number, then by text: NAME-master-10 comes after NAME-master-9. */
static bool after(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);

    return la != lb ? la > lb : strcmp(a, b) > 0;
}

enum gfsi_rollout_action gfsi_rollout_next(const struct gfsi_rollout_pod *pods, size_t n,
                                           size_t wanted, size_t *out_pod)
{
    size_t unready = n < wanted ? wanted - n : 0;
    size_t ready = 0;
    size_t sick = n;
    size_t best = n;

    for (size_t i = 0; i < n; i++) {
        unready += !pods[i].ready;
        ready += pods[i].ready;
        if (!pods[i].stale) {
            continue;
        }
        if (!pods[i].ready) {
            sick = i;
        }
        /* Followers before the leader. */
        if (best == n || (pods[best].leader && !pods[i].leader) ||
            (pods[best].leader == pods[i].leader && after(pods[i].name, pods[best].name))) {
            best = i;
        }
    }

    /* What does not run loses nothing, and the new template may be its cure. */
    if (sick < n && (ready == 0 || unready == 1)) {
        *out_pod = sick;
        return GFSI_ROLLOUT_REPLACE;
    }
    if (best == n || unready > 0) {
        return GFSI_ROLLOUT_NOTHING;
    }

    *out_pod = best;
    return pods[best].leader && n > 1 ? GFSI_ROLLOUT_HAND_OVER : GFSI_ROLLOUT_REPLACE;
}
