/* The pods of a pair, brought to what its plan says. */
#include <stdlib.h>
#include <string.h>

#include <gfs/base/log.h>

#include "platform/local/local_priv.h"

void gfsi_pair_free_gone(struct gfsi_pair *pair)
{
    for (struct gfsi_pod **at = &pair->pods; *at != NULL;) {
        struct gfsi_pod *pod = *at;

        if (pod->deleting && pod->n_containers == 0 && !pod->removing) {
            *at = pod->next;
            gfsi_pod_free(pod);
        } else {
            at = &pod->next;
        }
    }
}

struct gfsi_pod *gfsi_pair_pod(struct gfsi_pair *pair, const char *name)
{
    for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (strcmp(pod->name, name) == 0) {
            return pod;
        }
    }

    return NULL;
}

static bool role_settled(const struct gfsi_pair *pair, enum gfs_role role)
{
    for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (pod->role == role && !gfsi_pod_ready(pod)) {
            return false;
        }
    }

    return true;
}

static bool any_pod(const struct gfsi_pair *pair, enum gfs_role role)
{
    for (const struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (pod->role == role) {
            return true;
        }
    }

    return false;
}

/* Readers go before what they read from: a role waits until those above it have gone. */
static bool may_delete(const struct gfsi_pair *pair, enum gfs_role role)
{
    for (int above = (int)role + 1; pair->plan == NULL && above < GFS_ROLES; above++) {
        if (any_pod(pair, (enum gfs_role)above)) {
            return false;
        }
    }

    return true;
}

static void replace_pod(struct gfsi_pair *pair, const struct gfs_action *action)
{
    struct gfsi_pod *pod = gfsi_pair_pod(pair, action->observed->name);

    if (pod == NULL || pod->deleting) {
        return;
    }
    if (pod->role == GFS_ROLE_FUSE) {
        /* The mount stays; only its client is started anew with the new configuration. */
        pod->hash = action->pod->hash;
        pod->held.replace = true;
        gfsi_client_mount(pod);
        return;
    }

    /* One of a role at a time, and only while the others serve. */
    if (role_settled(pair, pod->role)) {
        gfsi_pod_delete(pod, true);
    }
}

static void act(struct gfsi_pair *pair, const struct gfs_action *action)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_pod *pod = NULL;

    switch (action->kind) {
    case GFS_ACTION_CREATE:
        if (action->pod->role == GFS_ROLE_FUSE && pair->plan != NULL && !pair->plan->fuse_global) {
            return; /* on demand */
        }
        if (gfsi_pod_create(pair, action->pod, &err) < 0) {
            gfsi_pair_event(pair, GFS_KIND_RUNTIME, true, "ErrorProcessRuntime", err.text);
            gfs_error("local", "cannot create a pod", "pod=%s error=%s", action->pod->name,
                      GFS_Q(err.text));
            pair->retry = true;
        }
        return;
    case GFS_ACTION_REPLACE: replace_pod(pair, action); return;
    case GFS_ACTION_DELETE:
        pod = gfsi_pair_pod(pair, action->observed->name);
        if (pod != NULL && may_delete(pair, pod->role)) {
            gfsi_pod_delete(pod, false);
        }
        return;
    default: return;
    }
}

static void run_actions(struct gfsi_pair *pair, struct gfs_observed_pod *observed,
                        struct gfs_action *actions, size_t max)
{
    size_t n = 0;

    for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        observed[n++] = (struct gfs_observed_pod){
            .ns = pod->ns, .name = pod->name, .role = pod->role, .hash = pod->hash};
    }

    size_t n_actions = gfs_diff(observed, n, pair->plan, actions, max);

    for (size_t i = 0; i < n_actions; i++) {
        act(pair, &actions[i]);
    }
}

/* All addresses are known, and written, before the first process starts: each reads the hosts file
 * once. 1 when the file changed; negative when a pod can have no address. */
static int assign_addresses(struct gfsi_pair *pair)
{
    struct gfsi_addresses *addresses = pair->local->addresses;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = 0;

    for (size_t i = 0; rc == 0 && pair->plan != NULL && i < pair->plan->n_pods; i++) {
        const struct gfs_pod *pod = &pair->plan->pods[i];
        const uint16_t ports[] = {pod->rpc_port, 0};
        char address[GFSI_ADDRESS_SIZE];

        if (pod->rpc_port != 0) {
            rc = gfsi_addresses_get(addresses, pod->ns, pod->name, ports, address, &err);
        }
    }

    rc = rc < 0 || pair->plan == NULL ? rc : gfsi_addresses_save(addresses, pair->ns, &err);
    if (rc < 0) {
        gfsi_pair_event(pair, GFS_KIND_RUNTIME, true, "ErrorProcessRuntime", err.text);
        gfs_error("local", "cannot give pods addresses", "runtime=%s/%s error=%s", pair->ns,
                  pair->name, GFS_Q(err.text));
        pair->retry = true;
    }

    return rc;
}

/* Clients that run read the hosts file before it had the new workers: others take their place. */
static void renew_clients(struct gfsi_pair *pair)
{
    for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (pod->role == GFS_ROLE_FUSE && (pod->held.known || pod->held.busy) && !pod->deleting) {
            pod->held.replace = true;
            gfsi_client_mount(pod);
        }
    }
}

void gfsi_pair_sync_pods(struct gfsi_pair *pair)
{
    size_t n = 0;
    int addresses = assign_addresses(pair);

    if (addresses < 0) {
        return;
    }
    if (addresses > 0) {
        renew_clients(pair);
    }

    for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        n++;
    }

    size_t max = n + (pair->plan != NULL ? pair->plan->n_pods : 0);
    struct gfs_observed_pod *observed = calloc(n + 1, sizeof(*observed));
    struct gfs_action *actions = calloc(max + 1, sizeof(*actions));

    if (observed != NULL && actions != NULL) {
        run_actions(pair, observed, actions, max);
    }

    free(actions);
    free(observed);
}
