#include "backing.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* linux/fuse.h of kernel 6.9; older headers do not have them. */
struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define IOC_BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

#define GROW_MIN 64

void gfsi_backing_fini(struct gfsi_backing_table *t)
{
    free(t->items);
    *t = (struct gfsi_backing_table){.items = NULL};
}

static struct gfsi_backing *find(const struct gfsi_backing_table *t, uint64_t ino)
{
    size_t i;

    for (i = 0; i < t->count; i++) {
        if (t->items[i].ino == ino) {
            return &t->items[i];
        }
    }
    return NULL;
}

static int make_room(struct gfsi_backing_table *t)
{
    size_t cap = t->cap == 0 ? GROW_MIN : t->cap * 2;
    struct gfsi_backing *items;

    if (t->count < t->cap) {
        return 0;
    }
    if (t->cap >= GFS_SESSION_OPENS_MAX) {
        return GFS_EBUSY;
    }
    items = realloc(t->items, cap * sizeof(*items));
    if (items == NULL) {
        return GFS_ENOMEM;
    }
    t->items = items;
    t->cap = cap;
    return 0;
}

int gfsi_backing_open(struct gfsi_backing_table *t, int fuse_fd, uint64_t ino, int fd)
{
    struct backing_map map = {.fd = fd};
    struct gfsi_backing *b = find(t, ino);
    struct stat st;
    int id;
    int rc;

    if (fstat(fd, &st) != 0) {
        return gfs_err_from_errno(errno);
    }
    if (b != NULL && (b->dev != st.st_dev || b->file != st.st_ino)) {
        return GFS_EBUSY;
    }
    if (b != NULL) {
        b->refs++;
        return b->id;
    }
    rc = make_room(t);
    if (rc != 0) {
        return rc;
    }
    id = ioctl(fuse_fd, IOC_BACKING_OPEN, &map);
    if (id <= 0) {
        return errno == ENOTTY || errno == EOPNOTSUPP ? GFS_EUNSUPPORTED
                                                      : gfs_err_from_errno(errno);
    }
    t->items[t->count++] =
        (struct gfsi_backing){.ino = ino, .dev = st.st_dev, .file = st.st_ino, .id = id, .refs = 1};
    return id;
}

void gfsi_backing_close(struct gfsi_backing_table *t, int fuse_fd, uint64_t ino)
{
    struct gfsi_backing *b = find(t, ino);
    uint32_t id;

    if (b == NULL || --b->refs > 0) {
        return;
    }
    id = (uint32_t)b->id;
    *b = t->items[--t->count];
    (void)ioctl(fuse_fd, IOC_BACKING_CLOSE, &id);
}

void gfsi_backing_adopt(struct gfsi_backing_table *t, const struct gfs_session *session)
{
    size_t i;

    for (i = 0; i < GFS_SESSION_OPENS_MAX; i++) {
        const struct gfs_session_open *open = &session->opens[i];
        uint64_t ino = __atomic_load_n(&open->ino, __ATOMIC_ACQUIRE);
        uint32_t id = open->backing_id;

        if (ino != 0 && id > 0 && id <= INT32_MAX && find(t, ino) == NULL && make_room(t) == 0) {
            t->items[t->count++] = (struct gfsi_backing){.ino = ino, .id = (int32_t)id, .refs = 1};
        }
    }
}

/* The client's own memory says so: who lies there keeps a backing file of its own mount open. */
static bool is_recorded(const struct gfs_session *session, const struct gfsi_backing *b)
{
    const struct gfs_session_open *at = &session->opens[gfs_session_bucket(b->ino)];
    size_t i;

    for (i = 0; i < GFS_SESSION_OPENS_BUCKET; i++) {
        if (__atomic_load_n(&at[i].ino, __ATOMIC_ACQUIRE) == b->ino) {
            return at[i].backing_id == (uint32_t)b->id;
        }
    }
    return false;
}

void gfsi_backing_settle(struct gfsi_backing_table *t, int fuse_fd,
                         const struct gfs_session *session)
{
    size_t i = 0;

    while (i < t->count) {
        uint64_t ino = t->items[i].ino;

        t->items[i].refs = 1;
        if (is_recorded(session, &t->items[i])) {
            i++;
            continue;
        }
        gfsi_backing_close(t, fuse_fd, ino); /* the last one takes its place */
    }
}
