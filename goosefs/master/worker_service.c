/* WorkerMaster: heartbeats on every master, the list of workers, Free. */
#include "fs_service_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

static int64_t mono_ms(void)
{
    return gfs_clock_mono() / GFS_NS_PER_MS;
}

static int take_worker(const Goosefs__V1__WorkerInfo *from, struct gfsi_worker *to)
{
    int rc = 0;

    if (from == NULL || from->n_tiers > GFSI_TIERS_MAX) {
        return GFS_EINVAL;
    }

    to->id = from->id;
    rc |= gfs_str_copy(to->host, sizeof(to->host), from->host);
    rc |= gfs_str_copy(to->data_address, sizeof(to->data_address), from->data_address);
    rc |= gfs_str_copy(to->local_socket, sizeof(to->local_socket), from->local_socket);
    rc |= gfs_str_copy(to->version, sizeof(to->version), from->version);
    to->web_port = from->web_port;
    to->start_ms = from->start_time_ms;
    to->leaving = from->leaving;
    to->n_tiers = from->n_tiers;
    for (size_t i = 0; i < from->n_tiers; i++) {
        rc |= gfs_str_copy(to->tiers[i].alias, sizeof(to->tiers[i].alias), from->tiers[i]->alias);
        to->tiers[i].capacity = from->tiers[i]->capacity;
        to->tiers[i].used = from->tiers[i]->used;
    }

    return rc == 0 ? 0 : GFS_EINVAL;
}

/* The mount table goes along when this master's is newer than what the worker has. A follower may
 * lag behind: it then has nothing newer to say. */
static int add_mounts(struct gfs_master *m, uint64_t epoch, struct gfsi_arena *arena,
                      Goosefs__V1__WorkerHeartbeatResponse *response)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_state state;
    int rc = gfsi_view_open(m->ns, &view, NULL);

    if (rc != 0) {
        return rc;
    }

    gfsi_view_state(view, &state);
    response->mounts_epoch = state.mounts_epoch;
    if (state.mounts_epoch <= epoch) {
        return 0;
    }

    response->mounts_changed = true;
    return gfsi_info_mounts(arena, view, &response->mounts, &response->n_mounts);
}

static int add_free(struct gfsi_arena *arena, const struct gfsi_free_file *files, size_t n,
                    Goosefs__V1__WorkerHeartbeatResponse *response)
{
    Goosefs__V1__FreeFile *list = gfsi_arena_alloc(arena, (n + 1) * sizeof(*list));

    response->free = gfsi_arena_alloc(arena, (n + 1) * sizeof(Goosefs__V1__FreeFile *));
    if (list == NULL || response->free == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < n; i++) {
        goosefs__v1__free_file__init(&list[i]);
        list[i].inode_id = files[i].inode;
        list[i].version_id = files[i].version;
        response->free[i] = &list[i];
    }

    response->n_free = n;
    return 0;
}

static int beat(struct gfs_master *m, const Goosefs__V1__WorkerHeartbeatRequest *q,
                struct gfsi_arena *arena, Goosefs__V1__WorkerHeartbeatResponse *response)
{
    struct gfsi_worker *worker gfs_auto_free = calloc(1, sizeof(*worker));
    struct gfsi_cached *cached gfs_auto_free = calloc(q->n_cached + 1, sizeof(*cached));
    struct gfsi_free_file *files gfs_auto_free = NULL;
    size_t n_files = 0;
    bool first = false;
    int rc = worker == NULL || cached == NULL ? GFS_ENOMEM : take_worker(q->worker, worker);

    if (rc != 0) {
        return rc;
    }

    for (size_t i = 0; i < q->n_cached; i++) {
        cached[i] = (struct gfsi_cached){q->cached[i]->inode_id, q->cached[i]->version_id,
                                         q->cached[i]->bytes};
    }

    rc = gfsi_registry_beat(m->registry, worker, q->sequence, cached, q->n_cached, mono_ms(),
                            &files, &n_files, &first);
    if (rc == GFS_EABORTED) {
        response->resend_all = true;
        rc = 0;
    } else if (rc == 0 && first) {
        gfs_info(GFSI_LOG, "worker is here", "host=%s data=%s id=%016" PRIx64, GFS_Q(worker->host),
                 GFS_Q(worker->data_address), worker->id);
    }

    rc = rc != 0 ? rc : add_free(arena, files, n_files, response);
    return rc != 0 ? rc : add_mounts(m, q->mounts_epoch, arena, response);
}

static void on_heartbeat(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    const Goosefs__V1__WorkerHeartbeatRequest *q =
        (const Goosefs__V1__WorkerHeartbeatRequest *)request;
    Goosefs__V1__WorkerHeartbeatResponse response = GOOSEFS__V1__WORKER_HEARTBEAT_RESPONSE__INIT;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    int rc = beat(user, q, &arena, &response);

    if (rc != 0) {
        gfs_rpc_fail(call, rc, "heartbeat refused: a field is missing or too long");
        return;
    }

    gfs_rpc_reply(call, &response.base);
}

static int list_workers(struct gfs_master *m, struct gfsi_arena *arena,
                        Goosefs__V1__ListWorkersResponse *response)
{
    struct gfsi_worker *list gfs_auto_free = NULL;
    Goosefs__V1__WorkerInfo *infos;
    size_t n = 0;
    int rc = gfsi_registry_list(m->registry, mono_ms(), &list, &n);

    if (rc != 0) {
        return rc;
    }

    infos = gfsi_arena_alloc(arena, (n + 1) * sizeof(*infos));
    response->workers = gfsi_arena_alloc(arena, (n + 1) * sizeof(Goosefs__V1__WorkerInfo *));
    if (infos == NULL || response->workers == NULL) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = gfsi_info_worker(arena, &list[i], &infos[i]);
        response->workers[i] = &infos[i];
    }

    response->n_workers = n;
    return rc;
}

static void on_list_workers(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    Goosefs__V1__ListWorkersResponse response = GOOSEFS__V1__LIST_WORKERS_RESPONSE__INIT;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    int rc = list_workers(user, &arena, &response);

    (void)request;
    if (rc != 0) {
        gfs_rpc_fail(call, rc, NULL);
        return;
    }

    gfs_rpc_reply(call, &response.base);
}

/* ---- Free ----------------------------------------------------------------------------------- */

static int free_below(struct gfs_master *m, struct gfsi_view *view, uint64_t dir, uint64_t *out_n)
{
    struct gfsi_walk *walk = NULL;
    struct gfsi_inode inode;
    const char *ignored;
    int rc = gfsi_walk_open(view, dir, &walk);

    while (rc == 0 && (rc = gfsi_walk_next(walk, &inode, &ignored)) == 1) {
        rc = 0;
        if ((inode.flags & GFSI_DIRECTORY) == 0 &&
            gfsi_registry_cached(m->registry, inode.id, inode.version_id) > 0) {
            rc = gfsi_registry_free_file(m->registry, inode.id, inode.version_id);
            *out_n += 1;
        }
    }

    gfsi_walk_close(walk);
    return rc;
}

static int run_free(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__FreeRequest *q = (const Goosefs__V1__FreeRequest *)r->message;
    Goosefs__V1__FreeResponse response = GOOSEFS__V1__FREE_RESPONSE__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_inode inode;
    char path[GFSI_PATH_MAX];
    int rc =
        raft_node_is_leader(r->m->node) ? gfsi_view_open(r->m->ns, &view, err) : GFS_ENOTLEADER;

    target.path = q->path;
    rc = rc != 0 ? rc : gfsi_fs_target(r, view, &target, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if ((inode.flags & GFSI_DIRECTORY) == 0) {
        response.files = 1;
        rc = gfsi_registry_free_file(r->m->registry, inode.id, 0);
    } else if (!q->recursive) {
        return gfs_err_set(err, GFS_EISDIR, "%s is a directory: free it recursively", path);
    } else {
        rc = free_below(r->m, view, inode.id, &response.files);
    }

    if (rc == 0) {
        gfs_rpc_reply(r->call, &response.base);
    }

    return rc;
}

static void on_free(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    gfsi_request_start(user, call, request, run_free, true);
}

int gfsi_worker_service_add(struct gfs_master *m, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"Heartbeat", on_heartbeat},
        {"ListWorkers", on_list_workers},
        {"Free", on_free},
        {NULL, NULL},
    };

    return gfs_rpc_server_add_service(m->rpc, &goosefs__v1__worker_master__descriptor, methods, m,
                                      err);
}
