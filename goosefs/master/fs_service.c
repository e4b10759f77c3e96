/* FileSystemMaster: reading the namespace. mount_service.c has the changes of the mount table. */
#include "fs_service_priv.h"

#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

#define LIST_DEFAULT 1000
#define LIST_MAX     10000
#define PAGE_BYTES   ((size_t)2 << 20) /* of one listing: half of what a message may have */

/* ---- finding what a request means -------------------------------------------------------------
 */

/* It has to be fetched from the origin for this request. Each inode at most once. */
static int want(struct gfsi_request *r, uint64_t inode)
{
    r->load = inode;
    r->revalidated = inode;
    return GFSI_RUN_LOAD;
}

static bool stale(const struct gfsi_request *r, const struct gfsi_inode *inode)
{
    return r->fresh_after_ms != 0 && inode->mount_id != 0 && r->revalidated != inode->id &&
           inode->synced_ms < r->fresh_after_ms;
}

static bool unloaded(const struct gfsi_inode *dir)
{
    return (dir->flags & GFSI_DIRECTORY) != 0 && (dir->flags & GFSI_LOADED) == 0 &&
           dir->mount_id != 0;
}

/* A file whose length the listing did not tell. */
static bool vague(const struct gfsi_request *r, const struct gfsi_inode *inode)
{
    return (inode->flags & GFSI_LENGTH_UNKNOWN) != 0 && r->revalidated != inode->id;
}

static int by_path(struct gfsi_request *r, struct gfsi_view *view, const char *text, char *path,
                   struct gfsi_inode *out, struct gfs_err *err)
{
    const char *rest;
    int rc = gfs_path_normalize(text, path, GFSI_PATH_MAX);

    if (rc != 0) {
        return gfs_err_set(err, rc, "'%s' is not an absolute path", text);
    }

    rc = gfsi_view_resolve(view, path, out, &rest);
    if (rc == GFS_ENOENT) {
        return unloaded(out) || stale(r, out)
                   ? want(r, out->id)
                   : gfs_err_set(err, rc, "path %s does not exist", path);
    }

    return rc == GFS_ENOTDIR ? gfs_err_set(err, GFS_ENOENT, "path %s does not exist", path) : rc;
}

int gfsi_fs_target(struct gfsi_request *r, struct gfsi_view *view,
                   const Goosefs__V1__PathOrId *target, char *path, struct gfsi_inode *out,
                   struct gfs_err *err)
{
    int rc;

    *path = '\0';
    if (target == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "neither path nor id is given");
    }

    if (target->id == 0) {
        return by_path(r, view, target->path, path, out, err);
    }

    rc = gfsi_view_inode(view, target->id, out);
    return rc == 0 ? 0
                   : gfs_err_set(err, rc, "no entry has id %llu", (unsigned long long)target->id);
}

/* ---- GetStatus, Lookup ------------------------------------------------------------------------
 */

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

    if (vague(r, &inode) || stale(r, &inode)) {
        return want(r, inode.id);
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

    rc = rc != 0 ? rc : gfsi_view_inode(view, q->parent_id, &dir);
    if (rc != 0) {
        return rc;
    }

    if ((dir.flags & GFSI_DIRECTORY) == 0) {
        return GFS_ENOTDIR;
    }

    rc = gfsi_view_child(view, dir.id, q->name, strlen(q->name), &inode);
    if (rc == GFS_ENOENT) {
        return unloaded(&dir) || stale(r, &dir) ? want(r, dir.id) : GFS_ENOENT;
    }

    if (rc == 0 &&
        (vague(r, &inode) || ((inode.flags & GFSI_DIRECTORY) == 0 && stale(r, &inode)))) {
        return want(r, inode.id);
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

/* ---- ListStatus -------------------------------------------------------------------------------
 */

struct page {
    struct gfsi_request *r;
    struct gfsi_view *view;
    struct gfsi_arena arena;
    Goosefs__V1__FileInfo **entries;
    size_t n;
    size_t limit;
    bool more;
    const char *path;     /* of the directory; "" leaves paths out */
    const char *ufs_path; /* of the directory */
};

/* 1 when the page is full (and the entry is not in it). */
static int page_add(struct page *page, const struct gfsi_inode *inode, const char *path,
                    const char *ufs_path)
{
    Goosefs__V1__FileInfo *info;

    if (page->n == page->limit || page->arena.bytes > PAGE_BYTES) {
        page->more = true;
        return 1;
    }

    info = gfsi_arena_alloc(&page->arena, sizeof(*info));
    if (info == NULL ||
        gfsi_info_file(page->r->m, &page->arena, inode, path, ufs_path, info) != 0) {
        return GFS_ENOMEM;
    }

    page->entries[page->n++] = info;
    return 0;
}

static int list_flat(struct page *page, const struct gfsi_inode *dir, const char *after)
{
    struct gfsi_cursor *cursor = NULL;
    struct gfsi_inode inode;
    int rc = gfsi_cursor_open(page->view, dir->id, after, strlen(after), &cursor);

    while (rc == 0 && (rc = gfsi_cursor_next(cursor, &inode)) == 1) {
        bool other = (inode.flags & GFSI_MOUNT_POINT) != 0 || inode.mount_id == 0;
        const char *path =
            *page->path == '\0' ? NULL : gfsi_info_join(&page->arena, page->path, &inode.name);
        const char *ufs_path =
            other ? "" : gfsi_info_join(&page->arena, page->ufs_path, &inode.name);

        rc = ufs_path == NULL ? GFS_ENOMEM : page_add(page, &inode, path, ufs_path);
    }

    gfsi_cursor_close(cursor);
    return rc < 0 ? rc : 0;
}

static int list_recursive(struct page *page, const struct gfsi_inode *dir, const char *after)
{
    struct gfsi_walk *walk = NULL;
    struct gfsi_inode inode;
    const char *below;
    char ufs_path[GFSI_PATH_MAX];
    int rc = gfsi_walk_open(page->view, dir->id, &walk);

    if (rc == 0 && *after != '\0') {
        rc = gfsi_walk_after(walk, after);
    }

    while (rc == 0 && (rc = gfsi_walk_next(walk, &inode, &below)) == 1) {
        struct gfsi_str rest = {below, strlen(below)};
        const char *path = gfsi_info_join(&page->arena, page->path, &rest);

        ufs_path[0] = '\0';
        rc = path == NULL ? GFS_ENOMEM
             : inode.mount_id != 0
                 ? gfsi_view_ufs_path(page->view, &inode, ufs_path, sizeof(ufs_path))
                 : 0;
        rc = rc != 0 ? rc : page_add(page, &inode, path, ufs_path);
    }

    gfsi_walk_close(walk);
    return rc < 0 ? rc : 0;
}

/* "after" of a recursive page may be a whole path or one below the directory. */
static const char *below(const char *after, const char *dir)
{
    size_t len = strlen(dir);

    if (*after != '/') {
        return after;
    }

    if (strncmp(after, dir, len) == 0 && (after[len] == '/' || len == 1)) {
        after += len;
    }

    return after + strspn(after, "/");
}

static int fill_page(struct page *page, const struct gfsi_inode *dir,
                     const Goosefs__V1__ListStatusRequest *q)
{
    if ((dir->flags & GFSI_DIRECTORY) == 0) {
        return *q->after != '\0' ? 0 : page_add(page, dir, page->path, page->ufs_path);
    }

    return q->recursive ? list_recursive(page, dir, below(q->after, page->path))
                        : list_flat(page, dir, q->after);
}

static int reply_page(struct page *page, const struct gfsi_inode *dir,
                      const Goosefs__V1__ListStatusRequest *q)
{
    Goosefs__V1__ListStatusResponse response = GOOSEFS__V1__LIST_STATUS_RESPONSE__INIT;
    Goosefs__V1__FileInfo directory;
    int rc;

    page->limit = q->limit == 0 ? LIST_DEFAULT : q->limit < LIST_MAX ? q->limit : LIST_MAX;
    page->entries = gfsi_arena_alloc(&page->arena, page->limit * sizeof(*page->entries));
    page->arena.bytes = 0; /* the limit is about what the message carries */
    rc = page->entries == NULL ? GFS_ENOMEM : fill_page(page, dir, q);
    rc = rc != 0 ? rc
                 : gfsi_info_file(page->r->m, &page->arena, dir, page->path, page->ufs_path,
                                  &directory);
    if (rc == 0) {
        response.n_entries = page->n;
        response.entries = page->entries;
        response.more = page->more;
        response.directory = &directory;
        gfs_rpc_reply(page->r->call, &response.base);
    }

    gfsi_arena_fini(&page->arena);
    return rc;
}

static int run_list_status(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__ListStatusRequest *q = (const Goosefs__V1__ListStatusRequest *)r->message;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_inode inode;
    char path[GFSI_PATH_MAX];
    char ufs_path[GFSI_PATH_MAX] = "";
    struct page page = {.r = r, .path = path, .ufs_path = ufs_path};
    bool first_page = *q->after == '\0';
    int rc;

    if (r->loads == 0) {
        r->fresh_after_ms = gfsi_fresh_after(r->m, q->has_sync_interval, q->sync_interval_ms);
    }

    rc = gfsi_view_open(r->m->ns, &view, err);
    rc = rc != 0 ? rc : gfsi_fs_target(r, view, q->target, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if (q->recursive && first_page && !r->tree_loaded) {
        r->load = inode.id;
        return (inode.flags & GFSI_DIRECTORY) != 0 ? GFSI_RUN_TREE : want(r, inode.id);
    }

    /* Later pages go on in what the first one saw. */
    if (unloaded(&inode) || vague(r, &inode) ||
        (first_page && !r->tree_loaded && stale(r, &inode))) {
        return want(r, inode.id);
    }

    if (q->recursive && *path == '\0') {
        rc = gfsi_view_path(view, inode.id, path, sizeof(path));
    }

    if (rc == 0 && inode.mount_id != 0) {
        rc = gfsi_view_ufs_path(view, &inode, ufs_path, sizeof(ufs_path));
    }

    page.view = view;
    return rc != 0 ? rc : reply_page(&page, &inode, q);
}

/* ---- Count, LoadMetadata ----------------------------------------------------------------------
 */

struct totals {
    uint64_t files;
    uint64_t directories;
    uint64_t length;
    uint64_t cached;
};

static void add_up(struct gfs_master *m, const struct gfsi_inode *inode, struct totals *t)
{
    uint64_t cached;

    if ((inode->flags & GFSI_DIRECTORY) != 0) {
        t->directories++;
        return;
    }

    cached = gfsi_registry_cached(m->registry, inode->id, inode->version_id);
    t->files++;
    t->length += inode->length;
    t->cached += cached < inode->length ? cached : inode->length;
}

static int total(struct gfs_master *m, struct gfsi_view *view, const struct gfsi_inode *root,
                 struct totals *out)
{
    struct gfsi_walk *walk = NULL;
    struct gfsi_inode inode;
    const char *ignored;
    int rc;

    add_up(m, root, out);
    if ((root->flags & GFSI_DIRECTORY) == 0) {
        return 0;
    }

    rc = gfsi_walk_open(view, root->id, &walk);
    while (rc == 0 && (rc = gfsi_walk_next(walk, &inode, &ignored)) == 1) {
        add_up(m, &inode, out);
        rc = 0;
    }

    gfsi_walk_close(walk);
    return rc;
}

/* Loads what is missing below `path` first. */
static int run_totals(struct gfsi_request *r, const char *path_text, struct totals *out,
                      struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_inode inode;
    char path[GFSI_PATH_MAX];
    int rc = gfsi_view_open(r->m->ns, &view, err);

    rc = rc != 0 ? rc : by_path(r, view, path_text, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if ((inode.flags & GFSI_DIRECTORY) != 0 && !r->tree_loaded) {
        r->load = inode.id;
        return GFSI_RUN_TREE;
    }

    return vague(r, &inode) ? want(r, inode.id) : total(r->m, view, &inode, out);
}

static int run_count(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__CountRequest *q = (const Goosefs__V1__CountRequest *)r->message;
    Goosefs__V1__CountResponse response = GOOSEFS__V1__COUNT_RESPONSE__INIT;
    struct totals totals = {0, 0, 0, 0};
    int rc = run_totals(r, q->path, &totals, err);

    if (rc == 0) {
        response.files = totals.files;
        response.directories = totals.directories;
        response.length = totals.length;
        response.cached_bytes = totals.cached;
        gfs_rpc_reply(r->call, &response.base);
    }

    return rc;
}

static int load_one(struct gfsi_request *r, const Goosefs__V1__LoadMetadataRequest *q,
                    struct totals *out, struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_inode inode;
    char path[GFSI_PATH_MAX];
    int rc = gfsi_view_open(r->m->ns, &view, err);

    rc = rc != 0 ? rc : by_path(r, view, q->path, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if (unloaded(&inode) || (q->force && inode.mount_id != 0 && r->revalidated != inode.id)) {
        return want(r, inode.id);
    }

    out->directories = (inode.flags & GFSI_DIRECTORY) != 0 ? 1 : 0;
    out->files = out->directories == 0 ? 1 : inode.child_count;
    return 0;
}

static int run_load_metadata(struct gfsi_request *r, struct gfs_err *err)
{
    const Goosefs__V1__LoadMetadataRequest *q =
        (const Goosefs__V1__LoadMetadataRequest *)r->message;
    Goosefs__V1__LoadMetadataResponse response = GOOSEFS__V1__LOAD_METADATA_RESPONSE__INIT;
    struct totals totals = {0, 0, 0, 0};
    int rc;

    r->tree_force = q->force;
    rc = q->recursive ? run_totals(r, q->path, &totals, err) : load_one(r, q, &totals, err);
    if (rc == 0) {
        response.files = totals.files;
        response.directories = totals.directories;
        gfs_rpc_reply(r->call, &response.base);
    }

    return rc;
}

/* ---- ListMounts -------------------------------------------------------------------------------
 */

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

/* ---- table ------------------------------------------------------------------------------------
 */

#define READ(name)                                                                                 \
    static void on_##name(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)  \
    {                                                                                              \
        gfsi_request_start(user, call, request, run_##name);                                       \
    }

READ(get_status)
READ(lookup)
READ(list_status)
READ(count)
READ(load_metadata)
READ(list_mounts)

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
