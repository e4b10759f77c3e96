/* Which pod of a set is replaced next, when its template has changed. Pure.
 *
 * One at a time, each when all others are there and ready: a template whose pods do not become
 * ready costs one pod, not the set. Masters: followers from the highest number down, then the
 * leader, which hands its leadership over before it goes. */
#ifndef GFSI_CONTROLLER_KUBE_ROLLOUT_H
#define GFSI_CONTROLLER_KUBE_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfsi_rollout_pod {
    const char *name;
    bool ready; /* and not being deleted */
    bool stale; /* of a former template */
    bool leader;
};

enum gfsi_rollout_action {
    GFSI_ROLLOUT_NOTHING,
    GFSI_ROLLOUT_REPLACE,   /* delete the pod: its set makes another */
    GFSI_ROLLOUT_HAND_OVER, /* the pod leads: make another one lead */
};

/* `wanted` pods make the set whole. *out_pod is the index of the pod to act on. */
enum gfsi_rollout_action gfsi_rollout_next(const struct gfsi_rollout_pod *pods, size_t n,
                                           size_t wanted, size_t *out_pod);

#ifdef __cplusplus
}
#endif
#endif
