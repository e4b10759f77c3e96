#include "file_table.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/assert.h>

#define BUCKETS 8192 /* a power of two */

struct gfsi_file {
    struct gfsi_file *next; /* in the bucket */
    struct gfsi_file *idle_prev, *idle_next;
    uint64_t ino;
    uint64_t version;
    uint64_t size;
    void *file;     /* the backend's */
    size_t handles; /* open handles of this process */
    size_t reads;   /* in progress */
    bool idle;
    bool has_local;
    int local; /* a local file with the same bytes */
    uint64_t local_length;
};

int gfsi_file_table_init(struct gfsi_file_table *t, const struct gfs_fuse_backend *backend)
{
    *t = (struct gfsi_file_table){.backend = backend};
    t->buckets = calloc(BUCKETS, sizeof(struct gfsi_file *));
    if (t->buckets == NULL) {
        return GFS_ENOMEM;
    }
    (void)pthread_mutex_init(&t->mutex, NULL);
    return 0;
}

static struct gfsi_file **bucket_of(struct gfsi_file_table *t, uint64_t ino)
{
    return &t->buckets[(ino * UINT64_C(0x9e3779b97f4a7c15)) >> 51];
}
_Static_assert(BUCKETS == 1 << (64 - 51), "the hash's top bits index the buckets");

static struct gfsi_file *find(struct gfsi_file_table *t, uint64_t ino, uint64_t version)
{
    struct gfsi_file *f = *bucket_of(t, ino);

    while (f != NULL && (f->ino != ino || f->version != version)) {
        f = f->next;
    }
    return f;
}

static void idle_remove(struct gfsi_file_table *t, struct gfsi_file *f)
{
    if (!f->idle) {
        return;
    }
    *(f->idle_prev != NULL ? &f->idle_prev->idle_next : &t->idle_first) = f->idle_next;
    *(f->idle_next != NULL ? &f->idle_next->idle_prev : &t->idle_last) = f->idle_prev;
    f->idle_prev = NULL;
    f->idle_next = NULL;
    f->idle = false;
    t->idle--;
}

static void idle_append(struct gfsi_file_table *t, struct gfsi_file *f)
{
    f->idle_prev = t->idle_last;
    *(t->idle_last != NULL ? &t->idle_last->idle_next : &t->idle_first) = f;
    t->idle_last = f;
    f->idle = true;
    t->idle++;
}

static void drop_local(struct gfsi_file_table *t, struct gfsi_file *f)
{
    if (f->has_local) {
        (void)close(f->local);
        f->has_local = false;
        t->locals--;
    }
}

static void unlink_file(struct gfsi_file_table *t, struct gfsi_file *f)
{
    struct gfsi_file **at = bucket_of(t, f->ino);

    while (*at != f) {
        at = &(*at)->next;
    }
    *at = f->next;
    idle_remove(t, f);
    t->count--;
}

/* With the lock. After a use ended: into the idle list, and out with the oldest one over its
 * maximum, which is returned to be closed without the lock. */
static struct gfsi_file *settle(struct gfsi_file_table *t, struct gfsi_file *f)
{
    struct gfsi_file *oldest;

    if (f->handles > 0 || f->reads > 0) {
        return NULL;
    }
    /* The worker may want its space back: what nobody has open holds no file of it. */
    drop_local(t, f);
    idle_append(t, f);
    if (t->idle <= GFSI_FILES_IDLE_MAX) {
        return NULL;
    }
    oldest = t->idle_first;
    unlink_file(t, oldest);
    return oldest;
}

static void dispose(struct gfsi_file_table *t, struct gfsi_file *f)
{
    if (f != NULL) {
        t->backend->ops->close(t->backend->ctx, f->file);
        free(f);
    }
}

void gfsi_file_table_fini(struct gfsi_file_table *t)
{
    size_t i;

    if (t->buckets == NULL) {
        return;
    }
    for (i = 0; i < BUCKETS; i++) {
        while (t->buckets[i] != NULL) {
            struct gfsi_file *f = t->buckets[i];

            GFS_ASSERT_EQ(f->reads, 0);
            t->buckets[i] = f->next;
            drop_local(t, f);
            dispose(t, f);
        }
    }
    free(t->buckets);
    t->buckets = NULL;
    (void)pthread_mutex_destroy(&t->mutex);
}

/* Asks the backend, then adds the result or, when another thread was faster, uses the other's. The
 * returned file has one handle, or one read in progress, more. */
static int open_and_add(struct gfsi_file_table *t, uint64_t ino, bool for_handle,
                        struct gfsi_file **out)
{
    struct gfs_fuse_attr attr;
    struct gfsi_file *f;
    struct gfsi_file *spare = calloc(1, sizeof(*spare));
    int rc;

    if (spare == NULL) {
        return GFS_ENOMEM;
    }
    rc = t->backend->ops->open(t->backend->ctx, ino, &attr, &spare->file);
    if (rc != 0) {
        free(spare);
        return rc;
    }
    (void)pthread_mutex_lock(&t->mutex);
    attr.version &= GFSI_VERSION_BITS;
    f = find(t, ino, attr.version);
    if (f == NULL && t->count < GFSI_FILES_MAX) {
        f = spare;
        spare = NULL;
        f->ino = ino;
        f->version = attr.version;
        f->size = attr.size;
        f->next = *bucket_of(t, ino);
        *bucket_of(t, ino) = f;
        t->count++;
    }
    if (f != NULL) {
        idle_remove(t, f);
        f->handles += for_handle ? 1 : 0;
        f->reads += for_handle ? 0 : 1;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    dispose(t, spare);
    if (f == NULL) {
        return GFS_EBUSY;
    }
    *out = f;
    return 0;
}

int gfsi_file_open(struct gfsi_file_table *t, uint64_t ino, uint64_t *out_version,
                   uint64_t *out_size)
{
    struct gfsi_file *f;
    int rc = open_and_add(t, ino, true, &f);

    if (rc == 0) {
        *out_version = f->version;
        if (out_size != NULL) {
            *out_size = f->size;
        }
    }
    return rc;
}

static void end_read(struct gfsi_file_table *t, struct gfsi_file *f)
{
    struct gfsi_file *old;

    (void)pthread_mutex_lock(&t->mutex);
    f->reads--;
    old = settle(t, f);
    (void)pthread_mutex_unlock(&t->mutex);
    dispose(t, old);
}

static int begin_read(struct gfsi_file_table *t, uint64_t ino, uint64_t version,
                      struct gfsi_file **out)
{
    struct gfsi_file *f;
    int rc;

    (void)pthread_mutex_lock(&t->mutex);
    f = find(t, ino, version);
    if (f != NULL) {
        idle_remove(t, f);
        f->reads++;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    if (f == NULL) {
        rc = open_and_add(t, ino, false, &f);
        if (rc != 0) {
            return rc;
        }
    }
    if (f->version != version) {
        end_read(t, f);
        return GFS_ECHANGED;
    }
    *out = f;
    return 0;
}

ssize_t gfsi_file_read(struct gfsi_file_table *t, uint64_t ino, uint64_t version, void *buf,
                       size_t size, uint64_t offset)
{
    struct gfsi_file *f;
    ssize_t n = begin_read(t, ino, version, &f);

    if (n != 0) {
        return n;
    }
    n = t->backend->ops->pread(t->backend->ctx, f->file, buf, size, offset);
    end_read(t, f);
    return n;
}

int gfsi_file_backing(struct gfsi_file_table *t, uint64_t ino, uint64_t version, int *out_fd)
{
    struct gfsi_file *f;
    int rc;

    if (t->backend->ops->backing == NULL) {
        return GFS_EUNSUPPORTED;
    }
    rc = begin_read(t, ino, version, &f);
    if (rc != 0) {
        return rc;
    }
    rc = t->backend->ops->backing(t->backend->ctx, f->file, out_fd);
    end_read(t, f);
    return rc;
}

void gfsi_file_local_keep(struct gfsi_file_table *t, uint64_t ino, uint64_t version, int fd)
{
    struct gfsi_file *f;
    struct stat st;
    bool kept = false;

    if (fstat(fd, &st) == 0) {
        (void)pthread_mutex_lock(&t->mutex);
        f = find(t, ino, version);
        if (f != NULL && f->handles > 0 && !f->has_local && t->locals < GFSI_LOCALS_MAX) {
            f->local = fd;
            f->local_length = (uint64_t)st.st_size;
            f->has_local = true;
            t->locals++;
            kept = true;
        }
        (void)pthread_mutex_unlock(&t->mutex);
    }
    if (!kept) {
        (void)close(fd);
    }
}

bool gfsi_file_local_wants(struct gfsi_file_table *t, uint64_t ino, uint64_t version)
{
    struct gfsi_file *f;
    bool wants;

    (void)pthread_mutex_lock(&t->mutex);
    f = find(t, ino, version);
    wants = f != NULL && !f->has_local && t->locals < GFSI_LOCALS_MAX;
    (void)pthread_mutex_unlock(&t->mutex);
    return wants;
}

bool gfsi_file_local_begin(struct gfsi_file_table *t, uint64_t ino, uint64_t version,
                           struct gfsi_file **out, int *out_fd, uint64_t *out_length)
{
    struct gfsi_file *f;
    bool found;

    (void)pthread_mutex_lock(&t->mutex);
    f = find(t, ino, version);
    found = f != NULL && f->has_local;
    if (found) {
        f->reads++;
        *out = f;
        *out_fd = f->local;
        *out_length = f->local_length;
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return found;
}

void gfsi_file_local_end(struct gfsi_file_table *t, struct gfsi_file *file)
{
    end_read(t, file);
}

void gfsi_file_release(struct gfsi_file_table *t, uint64_t ino, uint64_t version)
{
    struct gfsi_file *old = NULL;
    struct gfsi_file *f;

    (void)pthread_mutex_lock(&t->mutex);
    f = find(t, ino, version);
    if (f != NULL && f->handles > 0) {
        f->handles--;
        old = settle(t, f);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    dispose(t, old);
}
