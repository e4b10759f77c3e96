/* Listing one directory, and everything below one. */
#include "ns_store_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

struct gfsi_cursor {
    MDB_cursor *cursor;
    struct gfsi_edge_key seek; /* the first answer is at or behind it */
    uint64_t dir;
    bool begun;
    bool skip_equal; /* `seek` itself was in the page before */
};

int gfsi_cursor_open(struct gfsi_view *view, uint64_t dir, const char *after, size_t after_len,
                     struct gfsi_cursor **out)
{
    struct gfsi_cursor *c;

    if (after_len > GFSI_NAME_MAX) {
        return GFS_EINVAL;
    }

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return GFS_ENOMEM;
    }

    c->dir = dir;
    c->skip_equal = after_len > 0;
    gfsi_edge_key(&c->seek, dir, after, after_len);
    if (mdb_cursor_open(view->txn, view->env->table[GFSI_T_EDGE], &c->cursor) != 0) {
        free(c);
        return GFS_EIO;
    }

    *out = c;
    return 0;
}

int gfsi_cursor_next(struct gfsi_cursor *c, struct gfsi_inode *out)
{
    MDB_val key = {.mv_size = c->seek.len, .mv_data = c->seek.bytes};
    MDB_val rec;
    int rc = mdb_cursor_get(c->cursor, &key, &rec, c->begun ? MDB_NEXT : MDB_SET_RANGE);

    if (rc == 0 && !c->begun && c->skip_equal && key.mv_size == c->seek.len &&
        memcmp(key.mv_data, c->seek.bytes, c->seek.len) == 0) {
        rc = mdb_cursor_get(c->cursor, &key, &rec, MDB_NEXT);
    }

    c->begun = true;
    if (rc == MDB_NOTFOUND) {
        return 0;
    }

    if (rc != 0 || key.mv_size < 8) {
        return GFS_EIO;
    }

    if (gfsi_from_be64(key.mv_data) != c->dir) {
        return 0;
    }

    rc = gfsi_inode_decode(&key, &rec, out);
    return rc == 0 ? 1 : rc;
}

void gfsi_cursor_close(struct gfsi_cursor *c)
{
    if (c != NULL) {
        mdb_cursor_close(c->cursor);
        free(c);
    }
}

/* ---- depth first ---------------------------------------------------------------------------- */

#define MAX_DEPTH (GFSI_PATH_MAX / 2)

struct level {
    struct gfsi_cursor *cursor;
    size_t path_len; /* of the directory this level lists */
};

struct gfsi_walk {
    struct gfsi_view *view;
    struct level *levels;
    size_t n;
    size_t cap;
    uint64_t start;
    uint64_t enter; /* directory given out last: its children come next */
    char path[GFSI_PATH_MAX];
    size_t path_len;
};

static int push(struct gfsi_walk *w, uint64_t dir, const char *after, size_t after_len)
{
    int rc;

    if (w->n == MAX_DEPTH) {
        return GFS_ENAMETOOLONG;
    }

    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 16 : w->cap * 2;
        struct level *more = realloc(w->levels, cap * sizeof(*more));

        if (more == NULL) {
            return GFS_ENOMEM;
        }

        w->levels = more;
        w->cap = cap;
    }

    rc = gfsi_cursor_open(w->view, dir, after, after_len, &w->levels[w->n].cursor);
    if (rc == 0) {
        w->levels[w->n].path_len = w->path_len;
        w->n++;
    }

    return rc;
}

int gfsi_walk_open(struct gfsi_view *view, uint64_t dir, struct gfsi_walk **out)
{
    struct gfsi_walk *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return GFS_ENOMEM;
    }

    w->view = view;
    w->start = dir;
    w->enter = dir;
    *out = w;
    return 0;
}

static int append_name(struct gfsi_walk *w, const char *name, size_t len)
{
    size_t slash = w->path_len > 0 ? 1 : 0;

    if (w->path_len + slash + len >= sizeof(w->path)) {
        return GFS_ENAMETOOLONG;
    }

    if (slash != 0) {
        w->path[w->path_len] = '/';
    }

    memcpy(w->path + w->path_len + slash, name, len);
    w->path_len += slash + len;
    w->path[w->path_len] = '\0';
    return 0;
}

int gfsi_walk_after(struct gfsi_walk *w, const char *path)
{
    uint64_t dir = w->start;

    w->enter = 0;
    for (;;) {
        size_t len = strcspn(path, "/");
        struct gfsi_inode inode;
        int rc;

        if (len == 0) {
            return GFS_EINVAL;
        }

        rc = push(w, dir, path, len);
        rc = rc != 0 ? rc : append_name(w, path, len);
        if (rc != 0) {
            return rc;
        }

        rc = gfsi_view_child(w->view, dir, path, len, &inode);
        if (rc == GFS_ENOENT) {
            return 0; /* gone since: go on behind its name */
        }

        if (rc != 0) {
            return rc;
        }

        dir = inode.id;
        if (path[len] == '\0') {
            w->enter = (inode.flags & GFSI_DIRECTORY) != 0 ? dir : 0;
            return 0;
        }

        if ((inode.flags & GFSI_DIRECTORY) == 0) {
            return 0;
        }

        path += len + 1;
    }
}

int gfsi_walk_next(struct gfsi_walk *w, struct gfsi_inode *out, const char **path)
{
    int rc;

    if (w->enter != 0) {
        rc = push(w, w->enter, "", 0);
        w->enter = 0;
        if (rc != 0) {
            return rc;
        }
    }

    while (w->n > 0) {
        struct level *top = &w->levels[w->n - 1];

        w->path_len = top->path_len;
        rc = gfsi_cursor_next(top->cursor, out);
        if (rc < 0) {
            return rc;
        }

        if (rc == 1) {
            rc = append_name(w, out->name.s, out->name.len);
            if (rc != 0) {
                return rc;
            }

            w->enter = (out->flags & GFSI_DIRECTORY) != 0 ? out->id : 0;
            *path = w->path;
            return 1;
        }

        gfsi_cursor_close(top->cursor);
        w->n--;
    }

    return 0;
}

void gfsi_walk_close(struct gfsi_walk *w)
{
    if (w == NULL) {
        return;
    }

    while (w->n > 0) {
        gfsi_cursor_close(w->levels[--w->n].cursor);
    }

    free(w->levels);
    free(w);
}
