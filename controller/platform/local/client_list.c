/* What the keeper holds, asked regularly: the state of clients, and which there are on demand. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/mounter/keeper_client.h>

#include "platform/local/client_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"

#define LIST_LIMIT_NS (5 * GFS_NS_PER_S)
#define LIST_MAX      256

struct held_info {
    char id[GFS_KEEPER_ID_MAX + 1];
    uint32_t state, pid;
    uint64_t restarts;
};

struct listing {
    struct gfsi_local *local;
    char socket[PATH_MAX];
    bool release;
    int rc;
    size_t n;
    struct held_info items[LIST_MAX];
};

static bool list_each(void *arg, const struct gfs_keeper_info *info)
{
    struct listing *l = arg;
    struct held_info *item = &l->items[l->n];

    (void)snprintf(item->id, sizeof(item->id), "%s", info->id);
    item->state = info->state;
    item->pid = info->pid;
    item->restarts = info->restarts;
    l->n++;
    return l->n < LIST_MAX;
}

static void list_work(void *arg)
{
    struct listing *l = arg;
    struct gfs_keeper_client *client gfsi_auto_client = NULL;
    int64_t deadline = gfs_clock_mono() + LIST_LIMIT_NS;

    l->rc = gfs_keeper_client_connect(l->socket, deadline, &client, NULL);
    if (l->rc == 0) {
        l->rc = gfs_keeper_client_list(client, deadline, list_each, l, NULL);
    }

    /* The end: whoever still uses a mount keeps what is open, and nothing new can be opened. */
    for (size_t i = 0; l->release && l->rc == 0 && i < l->n; i++) {
        struct gfs_err err = GFS_ERR_INIT;
        int64_t limit = gfs_clock_mono() + GFSI_UNMOUNT_LIMIT_NS;
        int rc = gfs_keeper_client_unmount(client, l->items[i].id, 0, limit, &err);

        if (rc == GFS_EPRECONDITION) {
            rc = gfs_keeper_client_unmount(client, l->items[i].id, GFS_KEEPER_LAZY, limit, &err);
        }
        if (rc < 0 && rc != GFS_ENOENT) {
            gfs_warn("local", "cannot unmount", "id=%s error=%s", l->items[i].id, GFS_Q(err.text));
        }
    }
}

static const struct held_info *find_info(const struct listing *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->items[i].id, id) == 0) {
            return &l->items[i];
        }
    }

    return NULL;
}

static bool update_held(struct gfsi_pod *pod, const struct held_info *info)
{
    struct gfsi_held *h = &pod->held;
    bool serving = info != NULL && info->state == GFS_KEEPER_SERVING;
    uint32_t pid = info != NULL ? info->pid : 0;
    bool changed = serving != h->serving || pid != h->pid;

    if (info != NULL && info->restarts > h->restarts) {
        gfsi_local_event(pod->local, pod->ns, "pod", pod->name, true, "Restarted",
                         "The keeper replaced the client under load");
    }

    h->known = info != NULL;
    h->serving = serving;
    h->pid = pid;
    h->restarts = info != NULL ? info->restarts : h->restarts;
    return changed;
}

/* Which clients there are on demand is the keeper's to say: the plugin has it mount them. */
static void follow_demand(struct gfsi_pair *pair, const struct held_info *info)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_pod *pod = pair->pods;

    while (pod != NULL && pod->role != GFS_ROLE_FUSE) {
        pod = pod->next;
    }
    if (pod == NULL && info != NULL) {
        for (size_t i = 0; i < pair->plan->n_pods; i++) {
            if (pair->plan->pods[i].role == GFS_ROLE_FUSE &&
                gfsi_pod_create(pair, &pair->plan->pods[i], &err) < 0) {
                gfs_error("local", "cannot create a pod", "error=%s", GFS_Q(err.text));
            }
        }
        gfsi_pair_poke(pair);
    } else if (pod != NULL && info == NULL && !pod->held.busy && !pod->deleting) {
        pod->held.known = pod->held.serving = false;
        gfsi_pod_delete(pod, false);
    }
}

static void update_pair(struct gfsi_pair *pair, const struct listing *l)
{
    char id[GFS_KEEPER_ID_MAX + 1];

    gfsi_keeper_id(pair, id, sizeof(id));

    const struct held_info *info = find_info(l, id);

    for (struct gfsi_pod *pod = pair->pods; pod != NULL; pod = pod->next) {
        if (pod->role != GFS_ROLE_FUSE || pod->held.busy) {
            continue;
        }
        if (update_held(pod, info)) {
            gfsi_pair_poke(pair);
            gfsi_local_changed(pair->local);
        }
        if (info == NULL && !pod->deleting && pair->plan != NULL && pair->plan->fuse_global &&
            pod->held.retry.deadline == 0) {
            gfsi_client_mount(pod); /* the keeper was started anew */
        }
    }

    if (pair->plan != NULL && !pair->plan->fuse_global && !pair->runtime_deleting) {
        follow_demand(pair, info);
    }
}

static void list_done(void *arg)
{
    struct listing *l = arg;
    struct gfsi_local *local = l->local;
    bool ready = l->rc == 0;

    local->polling = false;
    if (local->node_pod != NULL && local->node_pod->containers[0].ready != ready) {
        local->node_pod->containers[0].ready = ready;
        gfsi_local_changed(local);
    }
    for (struct gfsi_pair *pair = local->pairs; ready && !l->release && pair != NULL;
         pair = pair->next) {
        update_pair(pair, l);
    }

    for (size_t i = 0; ready && !l->release && i < l->n; i++) {
        gfsi_client_check_orphan(local, l->items[i].id);
    }

    if (l->release) {
        local->stage = GFSI_STAGE_SYSTEM;
    }
    if (local->stage != GFSI_STAGE_RUNNING) {
        gfsi_local_changed(local); /* the stop waits for questions that are under way */
    }

    free(l);
}

static int ask_keeper(struct gfsi_local *local, bool release)
{
    struct listing *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        return GFS_ENOMEM;
    }

    l->local = local;
    l->release = release;
    gfsi_pathf(l->socket, sizeof(l->socket), "%s", local->keeper_socket);
    local->polling = true;

    int rc = gfsi_jobs_run(local->jobs, list_work, list_done, l);

    if (rc < 0) {
        local->polling = false;
        free(l);
    }

    return rc;
}

void gfsi_clients_poll(struct gfsi_local *local)
{
    if (!local->polling) {
        (void)ask_keeper(local, false); /* the next tick asks again */
    }
}

void gfsi_clients_release(struct gfsi_local *local)
{
    (void)ask_keeper(local, true); /* so does the next tick */
}
