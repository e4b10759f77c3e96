/* Loading a subtree: a stack of directories to look at, a bounded number of listings in flight.
 * Directories that are loaded already are only looked through. */
#include "loader_priv.h"

#include <pthread.h>
#include <stdlib.h>

#include <gfs/base/auto.h>

#include "master_priv.h"

#define MAX_INFLIGHT 16
#define MAX_STACK    ((size_t)16 << 20) /* directories known and not yet looked at */

struct tree {
    struct gfs_master *m;
    struct gfsi_tree_opts opts;
    pthread_mutex_t mutex;
    uint64_t *stack;
    size_t n;
    size_t cap;
    unsigned inflight;
    int rc;
    struct gfs_err err; /* of the first failure */
};

/* One directory being listed for a tree. */
struct branch {
    struct tree *tree;
    uint64_t dir;
};

static void fail(struct tree *t, int rc, const struct gfs_err *err)
{
    if (t->rc == 0) {
        t->rc = rc;
        if (err != NULL && err->code != 0) {
            t->err = *err;
        } else {
            (void)gfs_err_set(&t->err, rc, "%s", gfs_err_string(rc));
        }
    }
}

static int push(struct tree *t, uint64_t dir)
{
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 256 : t->cap * 2;
        uint64_t *more = cap > MAX_STACK ? NULL : realloc(t->stack, cap * sizeof(*more));

        if (more == NULL) {
            return GFS_ENOMEM;
        }

        t->stack = more;
        t->cap = cap;
    }

    t->stack[t->n++] = dir;
    return 0;
}

/* Whether the directory has to be listed; if not, its sub directories go onto the stack. */
static int look_through(struct tree *t, uint64_t dir, bool just_loaded, bool *out_load,
                        struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_cursor *cursor = NULL;
    struct gfsi_inode inode;
    int rc = gfsi_view_open(t->m->ns, &view, err);

    rc = rc != 0 ? rc : gfsi_view_inode(view, dir, &inode);
    if (rc != 0 || (inode.flags & GFSI_DIRECTORY) == 0) {
        *out_load = false;
        return rc == GFS_ENOENT ? 0 : rc; /* gone meanwhile */
    }

    *out_load = !just_loaded && inode.mount_id != 0 &&
                ((inode.flags & GFSI_LOADED) == 0 || inode.synced_ms < t->opts.fresh_after_ms);
    if (*out_load) {
        return 0;
    }

    rc = gfsi_cursor_open(view, dir, "", 0, &cursor);
    while (rc == 0 && (rc = gfsi_cursor_next(cursor, &inode)) == 1) {
        rc = (inode.flags & GFSI_DIRECTORY) != 0 ? push(t, inode.id) : 0;
    }

    gfsi_cursor_close(cursor);
    return rc;
}

static void settle(struct tree *t, bool over);
static bool advance(struct tree *t);

static void branch_loaded(void *arg, int rc, const struct gfs_err *err)
{
    struct branch *branch = arg;
    struct tree *t = branch->tree;
    struct gfs_err local = GFS_ERR_INIT;
    bool ignored;
    bool over;

    (void)pthread_mutex_lock(&t->mutex);
    t->inflight--;
    if (rc == 0) {
        rc = look_through(t, branch->dir, true, &ignored, &local);
        err = &local;
    }

    if (rc != 0 && (rc != GFS_ENOENT || branch->dir == t->opts.root)) {
        fail(t, rc, err);
    }

    /* In the same critical section as inflight--: whoever sees the end is the last one here. */
    over = advance(t);
    (void)pthread_mutex_unlock(&t->mutex);
    free(branch);
    settle(t, over);
}

static int start_branch(struct tree *t, uint64_t dir)
{
    struct branch *branch = malloc(sizeof(*branch));
    int rc = branch == NULL ? GFS_ENOMEM : 0;

    if (rc == 0) {
        *branch = (struct branch){t, dir};
        t->inflight++;
        rc = gfsi_loader_load(t->m->loader, dir, branch_loaded, branch);
        if (rc != 0) {
            t->inflight--;
            free(branch);
        }
    }

    return rc;
}

/* Whether the whole is over; takes from the stack while there is room in flight. A lost leadership
 * or a full queue ends it: going on would only collect more of the same. */
static bool advance(struct tree *t)
{
    while (t->n > 0 && t->inflight < MAX_INFLIGHT) {
        struct gfs_err err = GFS_ERR_INIT;
        uint64_t dir = t->stack[--t->n];
        bool load = false;
        int rc = t->opts.cancelled(t->opts.arg) ? GFS_ECANCELLED
                                                : look_through(t, dir, false, &load, &err);

        rc = rc == 0 && load ? start_branch(t, dir) : rc;
        if (rc != 0) {
            fail(t, rc, &err);
        }

        if (t->rc == GFS_ENOTLEADER || t->rc == GFS_ECANCELLED || t->rc == GFS_EBUSY) {
            t->n = 0;
        }
    }

    return t->n == 0 && t->inflight == 0;
}

static void settle(struct tree *t, bool over)
{
    if (!over) {
        return;
    }

    t->opts.done(t->opts.arg, t->rc, &t->err);
    (void)pthread_mutex_destroy(&t->mutex);
    free(t->stack);
    free(t);
}

int gfsi_tree_load(struct gfs_master *m, const struct gfsi_tree_opts *opts)
{
    struct tree *t = calloc(1, sizeof(*t));
    bool over;

    if (t == NULL) {
        return GFS_ENOMEM;
    }

    t->m = m;
    t->opts = *opts;
    (void)pthread_mutex_init(&t->mutex, NULL);
    if (push(t, opts->root) != 0) {
        (void)pthread_mutex_destroy(&t->mutex);
        free(t);
        return GFS_ENOMEM;
    }

    (void)pthread_mutex_lock(&t->mutex);
    over = advance(t);
    (void)pthread_mutex_unlock(&t->mutex);
    settle(t, over);
    return 0;
}
