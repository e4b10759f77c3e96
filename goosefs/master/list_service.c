/* ListStatus: one page of a directory, or of everything below it. */
#include "fs_service_priv.h"

#include <string.h>

#define LIST_DEFAULT 1000
#define LIST_MAX     10000
#define PAGE_BYTES   ((size_t)2 << 20) /* of one listing: half of what a message may have */

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
    page->entries = gfsi_arena_alloc(&page->arena, page->limit * sizeof(Goosefs__V1__FileInfo *));
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

int gfsi_run_list_status(struct gfsi_request *r, struct gfs_err *err)
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
        return (inode.flags & GFSI_DIRECTORY) != 0 ? GFSI_RUN_TREE : gfsi_fs_want(r, inode.id);
    }

    /* Later pages go on in what the first one saw. */
    if (gfsi_fs_unloaded(&inode) || gfsi_fs_vague(r, &inode) ||
        (first_page && !r->tree_loaded && gfsi_fs_stale(r, &inode))) {
        return gfsi_fs_want(r, inode.id);
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
