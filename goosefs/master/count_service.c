/* Count and LoadMetadata: a subtree as a whole. */
#include "fs_service_priv.h"

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

    rc = rc != 0 ? rc : gfsi_fs_by_path(r, view, path_text, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if ((inode.flags & GFSI_DIRECTORY) != 0 && !r->tree_loaded) {
        r->load = inode.id;
        return GFSI_RUN_TREE;
    }

    return gfsi_fs_vague(r, &inode) ? gfsi_fs_want(r, inode.id) : total(r->m, view, &inode, out);
}

int gfsi_run_count(struct gfsi_request *r, struct gfs_err *err)
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

    rc = rc != 0 ? rc : gfsi_fs_by_path(r, view, q->path, path, &inode, err);
    if (rc != 0) {
        return rc;
    }

    if (gfsi_fs_unloaded(&inode) ||
        (q->force && inode.mount_id != 0 && r->revalidated != inode.id)) {
        return gfsi_fs_want(r, inode.id);
    }

    out->directories = (inode.flags & GFSI_DIRECTORY) != 0 ? 1 : 0;
    out->files = out->directories == 0 ? 1 : inode.child_count;
    return 0;
}

int gfsi_run_load_metadata(struct gfsi_request *r, struct gfs_err *err)
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
