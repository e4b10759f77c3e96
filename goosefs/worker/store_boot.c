/* What a restart finds. Records whose file is there become extents again; files without a record,
 * and records without a file, go. When the machine was booted since, no order between index and
 * data can be relied on: every block is suspect until it matched its CRC. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/log.h>

#include "record.h"
#include "store_priv.h"

struct boot {
    struct gfsi_store *store;
    uint32_t dir;
    bool suspect;
    struct gfsi_extent **extents;
    size_t n;
    size_t cap;
    struct gfsi_index_change *drops;
    size_t n_drops;
    size_t drops_cap;
};

static int drop(struct boot *b, const unsigned char *key)
{
    if (b->n_drops == b->drops_cap) {
        size_t cap = b->drops_cap == 0 ? 64 : b->drops_cap * 2;
        struct gfsi_index_change *drops = realloc(b->drops, cap * sizeof(*drops));

        if (drops == NULL) {
            return GFS_ENOMEM;
        }
        b->drops = drops;
        b->drops_cap = cap;
    }
    b->drops[b->n_drops] = (struct gfsi_index_change){.value = NULL};
    memcpy(b->drops[b->n_drops].key, key, GFSI_INDEX_KEY_LEN);
    b->n_drops++;
    return 0;
}

static int keep(struct boot *b, struct gfsi_extent *extent)
{
    if (b->n == b->cap) {
        size_t cap = b->cap == 0 ? 64 : b->cap * 2;
        struct gfsi_extent **extents = realloc(b->extents, cap * sizeof(struct gfsi_extent *));

        if (extents == NULL) {
            return GFS_ENOMEM;
        }
        b->extents = extents;
        b->cap = cap;
    }
    b->extents[b->n++] = extent;
    return 0;
}

static bool record_fits(const struct gfsi_store *store, const struct gfsi_record *r)
{
    if (r->block_size != store->config.block_size || r->extent_size != store->config.extent_size ||
        r->file_length == 0 || r->extent > (r->file_length - 1) / r->extent_size) {
        return false;
    }

    uint64_t length = gfsi_extent_length(store, r->file_length, r->extent);

    return r->n_blocks == (length + r->block_size - 1) / r->block_size;
}

/* Fills the extent from its record; the file must reach as far as its last block. */
static bool restore(struct boot *b, struct gfsi_extent *extent, const struct gfsi_record *r)
{
    struct gfsi_store *store = b->store;
    char path[1536];
    struct stat st;
    uint64_t end = 0;

    for (uint32_t i = 0; i < r->n_blocks; i++) {
        if (r->valid[i] == GFSI_RECORD_EMPTY) {
            continue;
        }

        uint64_t len = gfsi_block_length(store, extent, i);

        extent->crcs[i] = gfsi_record_crc(r, i);
        extent->space.bytes += gfsi_space_round(len);
        end = (uint64_t)i * r->block_size + len;
        if (b->suspect || r->valid[i] != GFSI_RECORD_VALID) {
            extent->blocks[i] = GFSI_BLOCK_SUSPECT;
        } else {
            extent->blocks[i] = GFSI_BLOCK_VALID;
            extent->n_valid++;
            extent->file->bytes += len;
        }
    }
    extent->space.stamp = r->stamp;
    extent->recorded_stamp = r->stamp;
    extent->indexed = true;
    extent->created = true;
    extent->sealed = extent->n_valid == extent->n_blocks;
    gfsi_extent_path(store, extent, path, sizeof(path));
    return end > 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= end;
}

static int visit(void *arg, const unsigned char *key, const void *value, size_t len)
{
    struct boot *b = arg;
    struct gfsi_store *store = b->store;
    struct gfsi_record r;

    if (gfsi_record_decode(key, value, len, &r) < 0 || !record_fits(store, &r)) {
        return drop(b, key);
    }

    struct gfsi_file *file = gfsi_file_find(store, r.inode_id, r.version_id);

    if (file == NULL) {
        file = gfsi_file_new(store, r.inode_id, r.version_id, r.file_length);
        if (file == NULL) {
            return GFS_ENOMEM;
        }
        memcpy(file->exact, r.exact, sizeof(file->exact));
    }

    /* Of two directories that have it, or that disagree about the version, the first one wins. */
    if (file->length != r.file_length || strcmp(file->exact, r.exact) != 0 ||
        gfsi_extent_find(file, r.extent) != NULL) {
        return drop(b, key);
    }

    struct gfsi_extent *extent = gfsi_extent_new(store, file, r.extent, b->dir, r.seq);

    if (extent == NULL) {
        return GFS_ENOMEM;
    }
    if (!restore(b, extent, &r)) {
        file->bytes = 0;
        for (struct gfsi_extent *e = extent->next; e != NULL; e = e->next) {
            for (uint32_t i = 0; i < e->n_blocks; i++) {
                file->bytes +=
                    e->blocks[i] == GFSI_BLOCK_VALID ? gfsi_block_length(store, e, i) : 0;
            }
        }
        file->extents = extent->next;
        store->n_attached--;
        gfsi_extent_destroy(store, extent);
        gfsi_file_release(store, file);
        return drop(b, key);
    }
    if (r.seq >= store->next_seq) {
        store->next_seq = r.seq + 1;
    }
    if (r.stamp >= store->stamp) {
        store->stamp = r.stamp + 1;
    }
    return keep(b, extent);
}

static int by_stamp(const void *a, const void *b)
{
    const struct gfsi_extent *const *x = a;
    const struct gfsi_extent *const *y = b;

    return ((*x)->space.stamp > (*y)->space.stamp) - ((*x)->space.stamp < (*y)->space.stamp);
}

/* "INODE-VERSION-NUMBER-SEQ" in hexadecimal, as gfsi_extent_path makes it. */
static bool parse_name(const char *name, uint64_t out[4])
{
    const char *p = name;

    for (int i = 0; i < 4; i++) {
        char *end = NULL;

        if (!isxdigit((unsigned char)*p)) {
            return false;
        }
        out[i] = strtoull(p, &end, 16);
        if (*end != (i < 3 ? '-' : '\0')) {
            return false;
        }
        p = end + 1;
    }
    return out[2] <= UINT32_MAX;
}

static bool known(const struct boot *b, const char *name)
{
    uint64_t parts[4];

    if (!parse_name(name, parts)) {
        return false;
    }

    struct gfsi_file *file = gfsi_file_find(b->store, parts[0], parts[1]);
    struct gfsi_extent *extent = file != NULL ? gfsi_extent_find(file, (uint32_t)parts[2]) : NULL;

    return extent != NULL && extent->seq == parts[3] && extent->dir == b->dir;
}

/* Files nobody knows: of a fill that was not recorded, or whose record did not survive. */
static size_t sweep(const struct boot *b)
{
    size_t n = 0;

    for (unsigned i = 0; i < 256; i++) {
        char path[1536];

        (void)snprintf(path, sizeof(path), "%s/extents/%02x", b->store->dirs[b->dir].folder, i);

        DIR *dir gfs_auto_dir = opendir(path);
        const struct dirent *entry = NULL;

        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            if (entry->d_name[0] != '.' && !known(b, entry->d_name)) {
                (void)unlinkat(dirfd(dir), entry->d_name, 0);
                n++;
            }
        }
    }
    return n;
}

/* A quota that was lowered since: what no longer fits goes, the oldest first. */
static void shrink(struct gfsi_store *store, struct gfsi_dir *dir)
{
    struct gfsi_space_entry *victims[GFSI_VICTIMS_MAX];
    size_t n = 0;

    while ((n = gfsi_space_plan(&dir->space, 0, victims, GFSI_VICTIMS_MAX)) > 0) {
        for (size_t i = 0; i < n; i++) {
            struct gfsi_extent *extent = (struct gfsi_extent *)victims[i];

            gfsi_extent_pin(extent);
            gfsi_extent_detach(store, extent);
            gfsi_extent_bury(store, extent);
        }
    }
}

static int settle_boot_id(struct boot *b, struct gfs_err *err)
{
    struct gfsi_store *store = b->store;

    if (b->suspect) {
        /* On disk before the new boot id is, or a crash of the process would hide the boot. */
        for (size_t i = 0; i < b->n; i++) {
            gfsi_extent_dirty(store, b->extents[i]);
        }
        (void)pthread_mutex_lock(&store->mutex);
        gfsi_store_flush(store);
        (void)pthread_mutex_unlock(&store->mutex);
    }
    return gfsi_index_meta_put(store->dirs[b->dir].index, "boot", store->boot_id, err);
}

int gfsi_dir_load(struct gfsi_store *store, uint32_t number, struct gfs_err *err)
{
    struct gfsi_dir *dir = &store->dirs[number];
    struct boot b = {.store = store, .dir = number};
    char boot_id[64] = "";

    (void)gfsi_index_meta_get(dir->index, "boot", boot_id, sizeof(boot_id));
    b.suspect = strcmp(boot_id, store->boot_id) != 0;

    int rc = gfsi_index_walk(dir->index, visit, &b, err);

    if (rc == GFS_ENOMEM) {
        (void)gfs_err_set(err, rc, "out of memory");
    }
    if (rc == 0) {
        rc = gfsi_index_apply(dir->index, b.drops, b.n_drops, err);
    }
    if (rc == 0) {
        if (b.n > 0) {
            qsort(b.extents, b.n, sizeof(struct gfsi_extent *), by_stamp);
        }
        for (size_t i = 0; i < b.n; i++) {
            gfsi_space_add(&dir->space, &b.extents[i]->space, b.extents[i]->space.stamp);
            if (b.extents[i]->n_valid > 0) {
                gfsi_file_changed(store, b.extents[i]->file);
            }
        }

        size_t swept = sweep(&b);

        rc = settle_boot_id(&b, err);
        shrink(store, dir);
        gfs_info("worker", "tier directory loaded",
                 "dir=%s extents=%zu bytes=%" PRIu64 " dropped_records=%zu dropped_files=%zu "
                 "verify=%s",
                 GFS_Q(dir->folder), b.n, dir->space.used, b.n_drops, swept,
                 b.suspect && b.n > 0 ? "yes" : "no");
    }
    free(b.extents);
    free(b.drops);
    return rc;
}
