/* A pod as people see it. */
#include <string.h>
#include <unistd.h>

#include "platform/local/local_priv.h"

bool gfsi_pod_container_ready(const struct gfsi_pod *pod, size_t i)
{
    const struct gfsi_container *c = &pod->containers[i];

    if (pod->role == GFS_ROLE_FUSE) {
        return pod->held.serving;
    }
    if (c->child == NULL) {
        return pod->role == GFS_ROLE_SYSTEM; /* this process */
    }
    if (gfsi_child_state(c->child) != GFSI_CHILD_RUNNING) {
        return false;
    }

    switch (pod->role) {
    case GFS_ROLE_MASTER:
        return pod->pair->masters != NULL &&
               gfsi_masters_answers(pod->pair->masters, (size_t)pod->index);
    case GFS_ROLE_WORKER:
        return pod->pair->masters != NULL &&
               gfsi_masters_worker_live(pod->pair->masters, pod->name, NULL, NULL);
    default: return c->ready;
    }
}

bool gfsi_pod_ready(const struct gfsi_pod *pod)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        if (!gfsi_pod_container_ready(pod, i)) {
            return false;
        }
    }

    return pod->n_containers > 0 && !pod->deleting;
}

const char *gfsi_pod_status(const struct gfsi_pod *pod)
{
    if (pod->deleting) {
        return "Terminating";
    }
    if (pod->role == GFS_ROLE_FUSE) {
        if (pod->held.serving) {
            return "Running";
        }
        return pod->held.error[0] != '\0' ? "CrashLoopBackOff" : "ContainerCreating";
    }

    for (size_t i = 0; i < pod->n_containers; i++) {
        const struct gfsi_child *child = pod->containers[i].child;

        if (child != NULL && gfsi_child_state(child) == GFSI_CHILD_BACKOFF) {
            return "CrashLoopBackOff";
        }
    }

    return "Running";
}

unsigned gfsi_pod_restarts(const struct gfsi_pod *pod)
{
    unsigned n = (unsigned)pod->held.restarts;

    for (size_t i = 0; i < pod->n_containers; i++) {
        if (pod->containers[i].child != NULL) {
            n += gfsi_child_restarts(pod->containers[i].child);
        }
    }

    return n;
}

pid_t gfsi_pod_pid(const struct gfsi_pod *pod, size_t i)
{
    if (pod->role == GFS_ROLE_FUSE) {
        return (pid_t)pod->held.pid;
    }
    if (i >= pod->n_containers) {
        return 0;
    }

    return pod->containers[i].child != NULL ? gfsi_child_pid(pod->containers[i].child) : getpid();
}

static struct gfsi_pod *find_in(struct gfsi_pod *list, const char *ns, const char *name)
{
    for (struct gfsi_pod *pod = list; pod != NULL; pod = pod->next) {
        if (strcmp(pod->name, name) == 0 && strcmp(pod->ns, ns) == 0) {
            return pod;
        }
    }

    return NULL;
}

struct gfsi_pod *gfsi_pod_find(struct gfsi_local *local, const char *ns, const char *name)
{
    struct gfsi_pod *pod = find_in(local->system_pods, ns, name);

    for (struct gfsi_pair *pair = local->pairs; pod == NULL && pair != NULL; pair = pair->next) {
        pod = find_in(pair->pods, ns, name);
    }

    return pod;
}
