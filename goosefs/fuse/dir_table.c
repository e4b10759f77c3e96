#include "dir_table.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/buf.h>
#include <gfs/base/str.h>

#define BUCKETS 1024

struct slot {
    struct gfs_fuse_attr attr;
    size_t name; /* offset into names */
};

struct gfsi_dir {
    struct gfsi_dir *next;
    uint64_t id;
    uint64_t ino;
    unsigned users; /* the table's one while the handle is open, and one per call in progress */
    pthread_mutex_t mutex;
    /* The window: entries [base, base + count) in the backend's order. */
    struct slot *slots; /* GFSI_DIR_PAGE, made with the first page */
    uint64_t base;
    size_t count;
    bool end; /* nothing comes after the window */
    struct gfs_buf names;
    char after[NAME_MAX + 1]; /* the name the window follows; "" for the start */
    int error;
};

int gfsi_dir_table_init(struct gfsi_dir_table *t, const struct gfs_fuse_backend *backend,
                        uint64_t first_id)
{
    *t = (struct gfsi_dir_table){.backend = backend, .next_id = first_id};
    t->buckets = calloc(BUCKETS, sizeof(struct gfsi_dir *));
    if (t->buckets == NULL) {
        return GFS_ENOMEM;
    }
    (void)pthread_mutex_init(&t->mutex, NULL);
    return 0;
}

static void dir_free(struct gfsi_dir *d)
{
    gfs_buf_fini(&d->names);
    free(d->slots);
    (void)pthread_mutex_destroy(&d->mutex);
    free(d);
}

void gfsi_dir_table_fini(struct gfsi_dir_table *t)
{
    size_t i;

    if (t->buckets == NULL) {
        return;
    }
    for (i = 0; i < BUCKETS; i++) {
        while (t->buckets[i] != NULL) {
            struct gfsi_dir *d = t->buckets[i];

            t->buckets[i] = d->next;
            dir_free(d);
        }
    }
    free(t->buckets);
    t->buckets = NULL;
    (void)pthread_mutex_destroy(&t->mutex);
}

/* With the table's lock. */
static struct gfsi_dir *find(struct gfsi_dir_table *t, uint64_t id)
{
    struct gfsi_dir *d = t->buckets[id % BUCKETS];

    while (d != NULL && d->id != id) {
        d = d->next;
    }
    return d;
}

/* With the table's lock; the new handle has one user: the table. */
static int add(struct gfsi_dir_table *t, uint64_t id, uint64_t ino, struct gfsi_dir **out)
{
    struct gfsi_dir *d;

    if (t->count >= GFSI_DIRS_MAX) {
        return GFS_EBUSY;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return GFS_ENOMEM;
    }
    d->id = id;
    d->ino = ino;
    d->users = 1;
    d->base = GFSI_DIR_FIRST;
    gfs_buf_init(&d->names, (size_t)GFSI_DIR_PAGE * (NAME_MAX + 1));
    (void)pthread_mutex_init(&d->mutex, NULL);
    d->next = t->buckets[id % BUCKETS];
    t->buckets[id % BUCKETS] = d;
    t->count++;
    *out = d;
    return 0;
}

/* With the table's lock; the last user's leaving frees the handle. */
static void drop_user(struct gfsi_dir_table *t, struct gfsi_dir *d)
{
    struct gfsi_dir **at = &t->buckets[d->id % BUCKETS];

    if (--d->users > 0) {
        return;
    }
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
    t->count--;
    dir_free(d);
}

int gfsi_dir_open(struct gfsi_dir_table *t, uint64_t ino, uint64_t *out_id)
{
    struct gfsi_dir *d;
    int rc;

    (void)pthread_mutex_lock(&t->mutex);
    rc = add(t, t->next_id, ino, &d);
    if (rc == 0) {
        *out_id = t->next_id++;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return rc;
}

void gfsi_dir_release(struct gfsi_dir_table *t, uint64_t id)
{
    struct gfsi_dir *d;

    (void)pthread_mutex_lock(&t->mutex);
    d = find(t, id);
    if (d != NULL) {
        drop_user(t, d);
    }
    (void)pthread_mutex_unlock(&t->mutex);
}

int gfsi_dir_begin(struct gfsi_dir_table *t, uint64_t id, uint64_t ino, struct gfsi_dir **out)
{
    struct gfsi_dir *d;
    int rc = 0;

    (void)pthread_mutex_lock(&t->mutex);
    d = find(t, id);
    if (d == NULL) {
        rc = add(t, id, ino, &d);
    }
    if (rc == 0) {
        d->users++;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    if (rc != 0) {
        return rc;
    }
    (void)pthread_mutex_lock(&d->mutex);
    *out = d;
    return 0;
}

void gfsi_dir_done(struct gfsi_dir_table *t, struct gfsi_dir *dir)
{
    (void)pthread_mutex_unlock(&dir->mutex);
    (void)pthread_mutex_lock(&t->mutex);
    drop_user(t, dir);
    (void)pthread_mutex_unlock(&t->mutex);
}

static bool take_entry(void *arg, const char *name, const struct gfs_fuse_attr *attr)
{
    struct gfsi_dir *d = arg;
    size_t len = strlen(name);

    if (!gfs_name_valid(name, len)) {
        d->error = GFS_EPROTO;
        return false;
    }
    if (d->count == GFSI_DIR_PAGE) {
        return false;
    }
    d->slots[d->count] = (struct slot){.attr = *attr, .name = d->names.len};
    d->error = gfs_buf_append(&d->names, name, len + 1);
    d->count += d->error == 0 ? 1 : 0;
    return d->error == 0;
}

void gfsi_dir_rewind(struct gfsi_dir *d)
{
    d->base = GFSI_DIR_FIRST;
    d->count = 0;
    d->end = false;
    d->after[0] = '\0';
}

/* Moves the window on by one page. */
static int next_page(struct gfsi_dir_table *t, struct gfsi_dir *d)
{
    int rc;

    if (d->slots == NULL) {
        d->slots = calloc(GFSI_DIR_PAGE, sizeof(*d->slots));
        if (d->slots == NULL) {
            return GFS_ENOMEM;
        }
    }
    if (d->count > 0) {
        rc = gfs_str_copy(d->after, sizeof(d->after), d->names.data + d->slots[d->count - 1].name);
        if (rc != 0) {
            return rc;
        }
    }
    d->base += d->count;
    d->count = 0;
    d->error = 0;
    gfs_buf_clear(&d->names);
    rc = t->backend->ops->list(t->backend->ctx, d->ino, d->after, GFSI_DIR_PAGE, take_entry, d,
                               &d->end);
    rc = rc != 0 ? rc : d->error;
    if (rc != 0) {
        gfsi_dir_rewind(d);
        return rc;
    }
    if (d->count == 0) {
        d->end = true;
    }
    return 0;
}

int gfsi_dir_at(struct gfsi_dir_table *t, struct gfsi_dir *dir, uint64_t position,
                struct gfsi_dir_entry *out)
{
    int rc;

    if (position < dir->base) {
        gfsi_dir_rewind(dir);
    }
    while (position >= dir->base + dir->count) {
        if (dir->end) {
            return 0;
        }
        rc = next_page(t, dir);
        if (rc != 0) {
            return rc;
        }
    }
    *out = (struct gfsi_dir_entry){
        .name = dir->names.data + dir->slots[position - dir->base].name,
        .attr = dir->slots[position - dir->base].attr,
    };
    return 1;
}
