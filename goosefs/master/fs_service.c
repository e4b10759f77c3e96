/* FileSystemMaster: the table of its calls; what one entry is. list_service.c and count_service.c
 * read more of the namespace, mount_service.c changes the mount table. */
#include "fs_service_priv.h"

#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

/* ---- finding what a request means ----------------------------------------------------------- */

/* It has to be fetched from the origin for this request. Each inode at most once. */
int gfsi_fs_want(struct gfsi_request *r, uint64_t inode)
{
    r->load = inode;
    r->revalidated = inode;
    return GFSI_RUN_LOAD;
}

bool gfsi_fs_stale(const struct gfsi_request *r, const struct gfsi_inode *inode)
{
    return r->fresh_after_ms != 0 && inode->mount_id != 0 && r->revalidated != inode->id &&
           inode->synced_ms < r->fresh_after_ms;
}

bool gfsi_fs_unloaded(const struct gfsi_inode *dir)
{
    return (dir->flags & GFSI_DIRECTORY) != 0 && (dir->flags & GFSI_LOADED) == 0 &&
           dir->mount_id != 0;
}

/* A file whose length the listing did not tell. */
bool gfsi_fs_vague(const struct gfsi_request *r, const struct gfsi_inode *inode)
{
    return (inode->flags & GFSI_LENGTH_UNKNOWN) != 0 && r->revalidated != inode->id;
}

int gfsi_fs_by_path(struct gfsi_request *r, struct gfsi_view *view, const char *text, char *path,
                    struct gfsi_inode *out, struct gfs_err *err)
{
    const char *rest;
    int rc = gfs_path_normalize(text, path, GFSI_PATH_MAX);

    if (rc != 0) {
        return gfs_err_set(err, rc, "'%s' is not an absolute path", text);
    }

    rc = gfsi_view_resolve(view, path, out, &rest);
    if (rc == GFS_ENOENT) {
        return gfsi_fs_unloaded(out) || gfsi_fs_stale(r, out)
                   ? gfsi_fs_want(r, out->id)
                   : gfs_err_set(err, rc, "path %s does not exist", path);
    }

    return rc == GFS_ENOTDIR ? gfs_err_set(err, GFS_ENOENT, "path %s does not exist", path) : rc;
}

/* `code`, unless nothing was ever mounted: the journal is new then and the client that asks by id
 * older than it, so it waits for the mounts as for a leader. */
static int missing(const struct gfsi_view *view, int code, struct gfs_err *err)
{
    struct gfsi_state state;

    gfsi_view_state(view, &state);
    return state.next_mount_id == 1 ? gfs_err_set(err, GFS_EUNAVAIL, "nothing has been mounted yet")
                                    : gfs_err_set(err, code, "%s", gfs_err_string(code));
}

int gfsi_fs_by_id(struct gfsi_view *view, uint64_t id, struct gfsi_inode *out, struct gfs_err *err)
{
    int rc = gfsi_view_inode(view, id, out);

    return rc == GFS_ENOENT ? missing(view, GFS_ESTALE, err) : rc;
}

int gfsi_fs_target(struct gfsi_request *r, struct gfsi_view *view,
                   const Goosefs__V1__PathOrId *target, char *path, struct gfsi_inode *out,
                   struct gfs_err *err)
{
    *path = '\0';
    if (target == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "neither path nor id is given");
    }

    if (target->id == 0) {
        return gfsi_fs_by_path(r, view, target->path, path, out, err);
    }

    return gfsi_fs_by_id(view, target->id, out, err);
}

/* ---- GetStatus, Lookup ---------------------------------------------------------------------- */

static int fill_ufs_uri(struct gfsi_arena *arena, struct gfsi_view *view,
                        const struct gfsi_inode *inode, const char *ufs_path,
                        Goosefs__V1__FileInfo *info)
{
    struct gfsi_mount *mount = gfsi_arena_alloc(arena, sizeof(*mount));
    struct gfsi_str rest = {ufs_path, strlen(ufs_path)};
    char *uri;
    int rc = mount == NULL ? GFS_ENOMEM : gfsi_view_mount(view, inode->mount_id, mount);

    if (rc != 0) {
        return rc;
    }

    uri = rest.len == 0 ? gfsi_arena_text(arena, mount->uri, strlen(mount->uri))
                        : gfsi_info_join(arena, mount->uri, &rest);
    if (uri == NULL) {
        return GFS_ENOMEM;
    }

    info->ufs_uri = uri;
    return 0;
}

static int run_get_status(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__GetStatusRequest *q = (const Goosefs__V1__GetStatusRequest *)r->message;
    Goosefs__V1__GetStatusResponse response = GOOSEFS__V1__GET_STATUS_RESPONSE__INIT;
    Goosefs__V1__FileInfo info;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    struct gfsi_inode inode;
    char path[GFSI_PATH_MAX];
    char ufs_path[GFSI_PATH_MAX] = "";
    int rc;

    if (r->loads == 0) {
        r->fresh_after_ms = gfsi_fresh_after(r->m, q->has_sync_interval, q->sync_interval_ms);
    }

    rc = gfsi_view_open(r->m->ns, &view, err);
    rc = rc != 0 ? rc : gfsi_fs_target(r, view, q->target, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if (gfsi_fs_vague(r, &inode) || gfsi_fs_stale(r, &inode)) {
        return gfsi_fs_want(r, inode.id);
    }

    rc = *path == '\0' ? gfsi_view_path(view, inode.id, path, sizeof(path)) : 0;
    if (rc == 0 && inode.mount_id != 0) {
        rc = gfsi_view_ufs_path(view, &inode, ufs_path, sizeof(ufs_path));
    }

    rc = rc != 0 ? rc : gfsi_info_file(r->m, &arena, &inode, path, ufs_path, &info);
    if (rc == 0 && inode.mount_id != 0) {
        rc = fill_ufs_uri(&arena, view, &inode, ufs_path, &info);
    }

    if (rc != 0) {
        return rc;
    }

    response.info = &info;
    gfs_rpc_reply(r->call, &response.base);
    return 0;
}

static int run_lookup(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__LookupRequest *q = (const Goosefs__V1__LookupRequest *)r->message;
    Goosefs__V1__LookupResponse response = GOOSEFS__V1__LOOKUP_RESPONSE__INIT;
    Goosefs__V1__FileInfo info;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    struct gfsi_inode dir;
    struct gfsi_inode inode;
    char ufs_path[GFSI_PATH_MAX] = "";
    int rc = gfsi_view_open(r->m->ns, &view, err);

    rc = rc != 0 ? rc : gfsi_fs_by_id(view, q->parent_id, &dir, err);
    if (rc != 0) {
        return rc;
    }

    if ((dir.flags & GFSI_DIRECTORY) == 0) {
        return GFS_ENOTDIR;
    }

    rc = gfsi_view_child(view, dir.id, q->name, strlen(q->name), &inode);
    if (rc == GFS_ENOENT) {
        return gfsi_fs_unloaded(&dir) || gfsi_fs_stale(r, &dir) ? gfsi_fs_want(r, dir.id)
                                                                : missing(view, rc, err);
    }

    if (rc == 0 && (gfsi_fs_vague(r, &inode) ||
                    ((inode.flags & GFSI_DIRECTORY) == 0 && gfsi_fs_stale(r, &inode)))) {
        return gfsi_fs_want(r, inode.id);
    }

    if (rc == 0 && inode.mount_id != 0) {
        rc = gfsi_view_ufs_path(view, &inode, ufs_path, sizeof(ufs_path));
    }

    rc = rc != 0 ? rc : gfsi_info_file(r->m, &arena, &inode, NULL, ufs_path, &info);
    if (rc != 0) {
        return rc;
    }

    response.info = &info;
    gfs_rpc_reply(r->call, &response.base);
    return 0;
}

/* ---- ListMounts ----------------------------------------------------------------------------- */

static int run_list_mounts(struct gfsi_request *r, struct gfs_err *err)
{
    Goosefs__V1__ListMountsResponse response = GOOSEFS__V1__LIST_MOUNTS_RESPONSE__INIT;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    int rc = gfsi_view_open(r->m->ns, &view, err);

    rc = rc != 0 ? rc : gfsi_info_mounts(&arena, view, &response.mounts, &response.n_mounts);
    if (rc == 0) {
        gfs_rpc_reply(r->call, &response.base);
    }

    return rc;
}

/* ---- table ---------------------------------------------------------------------------------- */

#define READ(name, run, heavy)                                                                     \
    static void on_##name(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)  \
    {                                                                                              \
        gfsi_request_start(user, call, request, run, heavy);                                       \
    }

READ(get_status, run_get_status, false)
READ(lookup, run_lookup, false)
READ(count, gfsi_run_count, true)
READ(load_metadata, gfsi_run_load_metadata, true)
READ(list_mounts, run_list_mounts, false)

static void on_list_status(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    const Goosefs__V1__ListStatusRequest *q = (const Goosefs__V1__ListStatusRequest *)request;

    gfsi_request_start(user, call, request, gfsi_run_list_status, q->recursive);
}

int gfsi_fs_service_add(struct gfs_master *m, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"GetStatus", on_get_status},
        {"Lookup", on_lookup},
        {"ListStatus", on_list_status},
        {"Count", on_count},
        {"LoadMetadata", on_load_metadata},
        {"ListMounts", on_list_mounts},
        {"Mount", gfsi_on_mount},
        {"Unmount", gfsi_on_unmount},
        {NULL, NULL},
    };

    return gfs_rpc_server_add_service(m->rpc, &goosefs__v1__file_system_master__descriptor, methods,
                                      m, err);
}
