/* The tables of the store: files by (inode, version), their extents, the order of changes. All of
 * it under the store's mutex. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/assert.h>
#include <gfs/base/str.h>

#include "store_priv.h"

/* Both ids spread by a multiplicative hash (Knuth, TAOCP 6.4): inode ids are consecutive. The
 * version is left out, so that every version of an inode is in one bucket (gfsi_store_free). */
static size_t bucket_of(uint64_t inode_id)
{
    return (size_t)((inode_id * UINT64_C(0x9E3779B97F4A7C15)) >> 48) % GFSI_FILE_BUCKETS;
}

struct gfsi_file *gfsi_file_first(struct gfsi_store *store, uint64_t inode_id)
{
    return store->buckets[bucket_of(inode_id)];
}

struct gfsi_file *gfsi_file_find(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id)
{
    struct gfsi_file *gone = NULL;

    for (struct gfsi_file *file = store->buckets[bucket_of(inode_id)]; file != NULL;
         file = file->hash_next) {
        if (file->inode_id != inode_id) {
            continue;
        }
        if ((file->version_id == version_id && !file->gone) ||
            (file->former_id == version_id && file->former_id != 0)) {
            return file;
        }
        if (file->version_id == version_id) {
            gone = file;
        }
    }
    return gone;
}

struct gfsi_file *gfsi_file_new(struct gfsi_store *store, uint64_t inode_id, uint64_t version_id,
                                uint64_t length)
{
    struct gfsi_file *file = calloc(1, sizeof(*file));
    size_t bucket = bucket_of(inode_id);

    if (file == NULL) {
        return NULL;
    }
    file->inode_id = inode_id;
    file->version_id = version_id;
    file->length = length;
    file->hash_next = store->buckets[bucket];
    store->buckets[bucket] = file;
    return file;
}

static int set_text(char **slot, const char *text)
{
    if (*slot != NULL && strcmp(*slot, text) == 0) {
        return 0;
    }

    char *copy = strdup(text);

    if (copy == NULL) {
        return GFS_ENOMEM;
    }
    free(*slot);
    *slot = copy;
    return 0;
}

/* What is cached of the very object that `target` names by its exact version, but was asked for by
 * an inexact one: a row of a listing became the object's own answer. NULL: nothing is. */
static struct gfsi_file *find_same_object(struct gfsi_store *store,
                                          const struct gfsi_target *target)
{
    struct gfsi_file *file = store->buckets[bucket_of(target->inode_id)];

    if (target->version[0] == '\0') {
        return NULL;
    }
    while (file != NULL &&
           (file->inode_id != target->inode_id || file->length != target->file_length ||
            file->extents == NULL || strcmp(file->exact, target->version) != 0)) {
        file = file->hash_next;
    }
    return file;
}

struct gfsi_file *gfsi_file_lookup(struct gfsi_store *store, const struct gfsi_target *target)
{
    struct gfsi_file *file = gfsi_file_find(store, target->inode_id, target->version_id);
    struct gfsi_file *same = file == NULL ? find_same_object(store, target) : NULL;

    if (same == NULL) {
        return file;
    }
    file = gfsi_file_new(store, target->inode_id, target->version_id, target->file_length);
    if (file == NULL) {
        return NULL;
    }
    /* The extents keep the names they have on disk; who still asks by the old id finds them, too.
     */
    memcpy(file->exact, same->exact, sizeof(file->exact));
    file->former_id = same->version_id;
    file->mount_id = same->mount_id;
    file->bytes = same->bytes;
    file->extents = same->extents;
    for (struct gfsi_extent *e = file->extents; e != NULL; e = e->next) {
        e->file = file;
    }
    same->extents = NULL;
    same->bytes = 0;
    same->former_id = 0;
    if (same->change != 0) {
        gfsi_file_changed(store, same);
    }
    gfsi_file_changed(store, file);
    gfsi_file_release(store, same);
    return file;
}

int gfsi_file_get(struct gfsi_store *store, const struct gfsi_target *target,
                  struct gfsi_file **out, struct gfs_err *err)
{
    struct gfsi_file *file = gfsi_file_lookup(store, target);

    if (file != NULL && file->length != target->file_length) {
        return gfs_err_set(err, GFS_EINVAL,
                           "length %" PRIu64 " of inode %" PRIu64 " is not the %" PRIu64
                           " of this version",
                           target->file_length, target->inode_id, file->length);
    }

    bool fresh = file == NULL;

    if (fresh) {
        file = gfsi_file_new(store, target->inode_id, target->version_id, target->file_length);
    }

    /* The newest request knows best: a directory above may have been renamed or remounted. */
    if (file == NULL || set_text(&file->path, target->path) < 0 ||
        set_text(&file->version, target->version) < 0) {
        if (fresh && file != NULL) {
            gfsi_file_release(store, file);
        }
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    file->mount_id = target->mount_id;
    *out = file;
    return 0;
}

static void unlink_change(struct gfsi_store *store, struct gfsi_file *file)
{
    if (file->change == 0) {
        return;
    }
    if (file->change_newer != NULL) {
        file->change_newer->change_older = file->change_older;
    } else {
        store->change_newest = file->change_older;
    }
    if (file->change_older != NULL) {
        file->change_older->change_newer = file->change_newer;
    } else {
        store->change_oldest = file->change_newer;
    }
    file->change_newer = NULL;
    file->change_older = NULL;
    file->change = 0;
}

void gfsi_file_changed(struct gfsi_store *store, struct gfsi_file *file)
{
    unlink_change(store, file);
    file->change = ++store->change;
    file->change_older = store->change_newest;
    if (store->change_newest != NULL) {
        store->change_newest->change_newer = file;
    } else {
        store->change_oldest = file;
    }
    store->change_newest = file;
}

static void file_destroy(struct gfsi_store *store, struct gfsi_file *file)
{
    struct gfsi_file **slot = &store->buckets[bucket_of(file->inode_id)];

    while (*slot != file) {
        slot = &(*slot)->hash_next;
    }
    *slot = file->hash_next;
    unlink_change(store, file);
    free(file->path);
    free(file->version);
    free(file);
}

/* Forgets the oldest change of a file that is gone; who has not heard of it must begin again. */
static void forget_oldest_gone(struct gfsi_store *store)
{
    for (struct gfsi_file *file = store->change_oldest; file != NULL; file = file->change_newer) {
        if (file->gone) {
            store->forgotten = file->change;
            store->n_gone--;
            file_destroy(store, file);
            return;
        }
    }
}

void gfsi_file_release(struct gfsi_store *store, struct gfsi_file *file)
{
    if (file->extents != NULL) {
        return;
    }
    if (file->change == 0) {
        file_destroy(store, file);
        return;
    }

    if (file->gone) {
        return;
    }

    /* Masters have heard of it: keep it, without bytes, until they heard that too. */
    free(file->path);
    free(file->version);
    file->path = NULL;
    file->version = NULL;
    file->exact[0] = '\0';
    file->gone = true;
    store->n_gone++;
    if (store->n_gone > GFSI_GONE_MAX) {
        forget_oldest_gone(store);
    }
}

uint64_t gfsi_extent_length(const struct gfsi_store *store, uint64_t file_length, uint32_t number)
{
    uint64_t start = number * store->config.extent_size;
    uint64_t left = file_length - start;

    return left < store->config.extent_size ? left : store->config.extent_size;
}

uint64_t gfsi_block_length(const struct gfsi_store *store, const struct gfsi_extent *extent,
                           uint32_t block)
{
    uint64_t start = (uint64_t)block * store->config.block_size;
    uint64_t left = extent->length - start;

    return left < store->config.block_size ? left : store->config.block_size;
}

/* Moves what is found to the front: a reader asks for the same extent again. */
struct gfsi_extent *gfsi_extent_find(struct gfsi_file *file, uint32_t number)
{
    struct gfsi_extent **slot = &file->extents;

    while (*slot != NULL && (*slot)->number != number) {
        slot = &(*slot)->next;
    }

    struct gfsi_extent *extent = *slot;

    if (extent != NULL) {
        *slot = extent->next;
        extent->next = file->extents;
        file->extents = extent;
    }
    return extent;
}

struct gfsi_extent *gfsi_extent_new(struct gfsi_store *store, struct gfsi_file *file,
                                    uint32_t number, uint32_t dir, uint64_t seq)
{
    struct gfsi_extent *extent = calloc(1, sizeof(*extent));
    uint64_t length = gfsi_extent_length(store, file->length, number);
    uint32_t n_blocks =
        (uint32_t)((length + store->config.block_size - 1) / store->config.block_size);

    if (extent == NULL) {
        return NULL;
    }
    extent->blocks = calloc(n_blocks, sizeof(*extent->blocks));
    extent->crcs = calloc(n_blocks, sizeof(*extent->crcs));
    if (extent->blocks == NULL || extent->crcs == NULL) {
        free(extent->blocks);
        free(extent->crcs);
        free(extent);
        return NULL;
    }
    extent->inode_id = file->inode_id;
    extent->version_id = file->version_id;
    extent->number = number;
    extent->dir = dir;
    extent->seq = seq;
    extent->length = length;
    extent->file_length = file->length;
    extent->n_blocks = n_blocks;
    extent->fd = -1;
    extent->last_block = UINT32_MAX;
    extent->file = file;
    if (file->gone) {
        file->gone = false;
        store->n_gone--;
    }
    extent->next = file->extents;
    file->extents = extent;
    store->n_attached++;
    store->n_extents++;
    gfs_metric_set(store->metrics.extents, (int64_t)store->n_extents);
    return extent;
}

/* Room in the table itself: the oldest unused extent of the directory that has the oldest goes. */
static bool make_table_room(struct gfsi_store *store)
{
    struct gfsi_space_entry *oldest = NULL;

    for (size_t i = 0; i < store->n_dirs; i++) {
        struct gfsi_space_entry *e = store->dirs[i].space.oldest;

        while (e != NULL && e->pins > 0) {
            e = e->newer;
        }
        if (e != NULL && (oldest == NULL || e->stamp < oldest->stamp)) {
            oldest = e;
        }
    }
    if (oldest == NULL) {
        return false;
    }
    gfsi_extent_detach(store, (struct gfsi_extent *)oldest);
    return true;
}

int gfsi_extent_room(struct gfsi_store *store, size_t n, struct gfs_err *err)
{
    while (store->n_attached + n > store->config.extents_max) {
        if (!make_table_room(store)) {
            return gfs_err_set(err, GFS_EBUSY, "all %zu extents are in use", store->n_attached);
        }
    }
    return 0;
}

int gfsi_extent_get(struct gfsi_store *store, struct gfsi_file *file, uint32_t number,
                    struct gfsi_extent **out, struct gfs_err *err)
{
    struct gfsi_extent *extent = gfsi_extent_find(file, number);
    const struct gfsi_space *spaces[GFS_WORKER_DIRS_MAX];

    if (extent != NULL) {
        gfsi_space_touch(&store->dirs[extent->dir].space, &extent->space, ++store->stamp);
        *out = extent;
        return 0;
    }
    for (size_t i = 0; i < store->n_dirs; i++) {
        spaces[i] = &store->dirs[i].space;
    }

    uint64_t length = gfsi_extent_length(store, file->length, number);
    int dir = gfsi_space_choose(spaces, store->n_dirs, gfsi_space_round(length));

    if (dir < 0) {
        dir = (int)store->n_dirs - 1; /* larger than any quota: as much as fits of it */
    }
    extent = gfsi_extent_new(store, file, number, (uint32_t)dir, ++store->next_seq);
    if (extent == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    gfsi_space_add(&store->dirs[dir].space, &extent->space, ++store->stamp);
    *out = extent;
    return 0;
}

void gfsi_extent_pin(struct gfsi_extent *extent)
{
    extent->space.pins++;
}

void gfsi_extent_unpin(struct gfsi_store *store, struct gfsi_extent *extent)
{
    GFS_ASSERT(extent->space.pins > 0);
    extent->space.pins--;
    if (extent->space.pins > 0) {
        return;
    }
    if (extent->space.leaving) {
        extent->grave_next = store->graves;
        store->graves = extent;
        (void)pthread_cond_signal(&store->janitor);
        return;
    }
    if (extent->space.bytes == 0) {
        gfsi_extent_detach(store, extent); /* every fetch of it failed: nothing to keep */
        return;
    }
    if (extent->fd >= 0 && store->n_open > store->config.open_files) {
        (void)close(extent->fd);
        extent->fd = -1;
        store->n_open--;
    }
}

/* Out of its file's list and of the file's bytes. */
static void leave_file(struct gfsi_store *store, struct gfsi_extent *extent)
{
    struct gfsi_file *file = extent->file;
    struct gfsi_extent **slot = &file->extents;

    while (*slot != extent) {
        slot = &(*slot)->next;
    }
    *slot = extent->next;
    extent->next = NULL;
    extent->file = NULL;
    store->n_attached--;
    if (extent->space.pins > 0 && file->path != NULL) {
        extent->left_path = strdup(file->path);
        extent->left_version = strdup(file->exact[0] != '\0' ? file->exact : file->version);
        extent->left_mount = file->mount_id;
    }

    uint64_t bytes = 0;

    for (uint32_t i = 0; i < extent->n_blocks; i++) {
        if (extent->blocks[i] == GFSI_BLOCK_VALID) {
            bytes += gfsi_block_length(store, extent, i);
        }
    }
    if (bytes > 0) {
        file->bytes -= bytes;
        gfsi_file_changed(store, file);
    }
    gfsi_file_release(store, file);
}

void gfsi_extent_detach(struct gfsi_store *store, struct gfsi_extent *extent)
{
    if (extent->file == NULL) {
        return;
    }
    gfsi_space_remove(&store->dirs[extent->dir].space, &extent->space);
    leave_file(store, extent);
    if (extent->space.pins == 0) {
        extent->grave_next = store->graves;
        store->graves = extent;
        (void)pthread_cond_signal(&store->janitor);
    }
}

void gfsi_extent_dirty(struct gfsi_store *store, struct gfsi_extent *extent)
{
    if (extent->dirty) {
        return;
    }
    extent->dirty = true;
    extent->dirty_next = store->dirty;
    store->dirty = extent;
    if (extent->dirty_next == NULL) {
        (void)pthread_cond_signal(&store->janitor);
    }
}

void gfsi_extent_destroy(struct gfsi_store *store, struct gfsi_extent *extent)
{
    if (extent->fd >= 0) {
        (void)close(extent->fd);
        store->n_open--;
    }
    store->n_extents--;
    gfs_metric_set(store->metrics.extents, (int64_t)store->n_extents);
    free(extent->left_path);
    free(extent->left_version);
    free(extent->blocks);
    free(extent->crcs);
    free(extent);
}
