#include "survival_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#define MTIME_MS INT64_C(1700000000000)

enum {
    INO_ROOT = 1,
    INO_FILE0 = 10,
    INO_EMPTY = 20,
    INO_BIG = 21,
    INO_MANY = 22,
    INO_DEEP = 23,
    INO_DEEP_A = 24,
    INO_DEEP_B = 25,
    INO_LEAF = 26,
    INO_LONG = 27,
    INO_ENTRY0 = 1000,
};

/* Added to all ids but the root's once the tree is renumbered. */
#define NEW_IDS     (UINT64_C(1) << 40)
#define OLD_ID(ino) ((ino) & (NEW_IDS - 1))

#define N5   "nnnnn"
#define N51  N5 N5 N5 N5 N5 N5 N5 N5 N5 N5 "n"
#define N255 N51 N51 N51 N51 N51

struct node {
    uint64_t parent;
    const char *name;
    uint64_t ino;
};

/* In the order of names per directory. */
static const struct node nodes[] = {
    {INO_ROOT, "big", INO_BIG},      {INO_ROOT, "deep", INO_DEEP},
    {INO_ROOT, "empty", INO_EMPTY},  {INO_ROOT, "f0", INO_FILE0},
    {INO_ROOT, "f1", INO_FILE0 + 1}, {INO_ROOT, "f2", INO_FILE0 + 2},
    {INO_ROOT, "f3", INO_FILE0 + 3}, {INO_ROOT, "f4", INO_FILE0 + 4},
    {INO_ROOT, "f5", INO_FILE0 + 5}, {INO_ROOT, "f6", INO_FILE0 + 6},
    {INO_ROOT, "f7", INO_FILE0 + 7}, {INO_ROOT, "many", INO_MANY},
    {INO_ROOT, N255, INO_LONG},      {INO_DEEP, "a", INO_DEEP_A},
    {INO_DEEP_A, "b", INO_DEEP_B},   {INO_DEEP_B, "leaf", INO_LEAF},
};
#define N_NODES (sizeof(nodes) / sizeof(nodes[0]))

uint64_t survival_ino_of_file(unsigned index)
{
    return INO_FILE0 + index;
}

uint64_t survival_ino_of_big(void)
{
    return INO_BIG;
}

static uint64_t word_at(uint64_t ino, uint64_t index)
{
    uint64_t x = (ino << 48) ^ (index * UINT64_C(0x9e3779b97f4a7c15));

    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 32;
}

void survival_fill(uint64_t ino, uint64_t offset, void *buf, size_t size)
{
    unsigned char *out = buf;
    size_t i = 0;

    while (i < size) {
        uint64_t word = word_at(ino, (offset + i) / 8);
        size_t skip = (offset + i) % 8;
        size_t n = 8 - skip < size - i ? 8 - skip : size - i;

        memcpy(out + i, (const unsigned char *)&word + skip, n);
        i += n;
    }
}

static uint64_t shift_of(const struct survival_tree *t, uint64_t ino)
{
    bool now = t->renumber != NULL && access(t->renumber, F_OK) == 0;

    return now && ino != INO_ROOT ? NEW_IDS : 0;
}

/* The number of an id in the tables; 0: given out before the tree was renumbered. */
static uint64_t table_id(const struct survival_tree *t, uint64_t ino)
{
    uint64_t shift = shift_of(t, ino);

    return ino >= shift ? ino - shift : 0;
}

static int attr_of(const struct survival_tree *t, uint64_t ino, struct gfs_fuse_attr *out)
{
    bool dir = ino == INO_ROOT || ino == INO_MANY || (ino >= INO_DEEP && ino <= INO_DEEP_B);
    uint64_t size = 0;

    if (ino >= INO_FILE0 && ino < INO_FILE0 + SURVIVAL_FILES) {
        size = t->size;
    } else if (ino == INO_BIG) {
        size = SURVIVAL_BIG_SIZE;
    } else if (ino == INO_LEAF || ino == INO_LONG) {
        size = 100;
    } else if (ino >= INO_ENTRY0 && ino < INO_ENTRY0 + t->entries) {
        size = ino - INO_ENTRY0;
    } else if (!dir && ino != INO_EMPTY) {
        return GFS_ENOENT;
    }
    *out = (struct gfs_fuse_attr){
        .ino = ino + shift_of(t, ino),
        .size = size,
        .version = 7,
        .mtime_ms = MTIME_MS,
        .mode = dir ? S_IFDIR | 0755 : S_IFREG | 0444,
    };
    return 0;
}

static int tree_getattr(void *ctx, uint64_t ino, struct gfs_fuse_attr *out)
{
    uint64_t id = table_id(ctx, ino);

    return id != 0 ? attr_of(ctx, id, out) : GFS_ESTALE;
}

static int tree_lookup(void *ctx, uint64_t parent, const char *name, struct gfs_fuse_attr *out)
{
    const struct survival_tree *t = ctx;
    uint64_t number;
    size_t i;

    parent = table_id(t, parent);
    if (parent == 0) {
        return GFS_ESTALE;
    }
    if (parent == INO_MANY && name[0] == 'e' && strlen(name) == 8 &&
        gfs_parse_u64(name + 1, UINT32_MAX, &number) == 0 && number < t->entries) {
        return attr_of(t, INO_ENTRY0 + number, out);
    }
    for (i = 0; i < N_NODES; i++) {
        if (nodes[i].parent == parent && strcmp(nodes[i].name, name) == 0) {
            return attr_of(t, nodes[i].ino, out);
        }
    }
    return GFS_ENOENT;
}

static void list_many(const struct survival_tree *t, const char *after, size_t max,
                      gfs_fuse_entry_fn each, void *arg, bool *out_end)
{
    struct gfs_fuse_attr attr;
    uint64_t i = 0;
    size_t n;

    if (after[0] == 'e' && gfs_parse_u64(after + 1, UINT32_MAX, &i) == 0) {
        i++;
    }
    for (n = 0; n < max && i < t->entries; n++, i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "e%07u", (unsigned)i);
        (void)attr_of(t, INO_ENTRY0 + i, &attr);
        if (!each(arg, name, &attr)) {
            break;
        }
    }
    *out_end = i >= t->entries;
}

static int tree_list(void *ctx, uint64_t dir, const char *after, size_t max, gfs_fuse_entry_fn each,
                     void *arg, bool *out_end)
{
    struct gfs_fuse_attr attr;
    size_t n = 0;
    size_t i;

    dir = table_id(ctx, dir);
    if (dir == 0) {
        return GFS_ESTALE;
    }
    if (dir == INO_MANY) {
        list_many(ctx, after, max, each, arg, out_end);
        return 0;
    }
    for (i = 0; i < N_NODES; i++) {
        if (nodes[i].parent != dir || strcmp(nodes[i].name, after) <= 0) {
            continue;
        }
        if (n++ == max) {
            *out_end = false;
            return 0;
        }
        (void)attr_of(ctx, nodes[i].ino, &attr);
        if (!each(arg, nodes[i].name, &attr)) {
            *out_end = false;
            return 0;
        }
    }
    *out_end = true;
    return 0;
}

static int tree_open(void *ctx, uint64_t ino, struct gfs_fuse_attr *out, void **out_file)
{
    struct gfs_fuse_attr *file = malloc(sizeof(*file));
    int rc = file == NULL ? GFS_ENOMEM : tree_getattr(ctx, ino, file);

    if (rc != 0) {
        free(file);
        return rc;
    }
    *out = *file;
    *out_file = file;
    return 0;
}

static ssize_t tree_pread(void *ctx, void *file, void *buf, size_t size, uint64_t offset)
{
    const struct survival_tree *t = ctx;
    const struct gfs_fuse_attr *attr = file;
    struct timespec delay = {.tv_nsec = (long)t->delay_us * 1000};
    struct timespec pause = {.tv_nsec = 5 * GFS_NS_PER_MS};

    if (t->delay_us != 0) {
        (void)nanosleep(&delay, NULL);
    }
    while (t->stuck != NULL && access(t->stuck, F_OK) == 0) {
        (void)poll(NULL, 0, -1);
    }
    while (t->hang != NULL && access(t->hang, F_OK) == 0) {
        (void)nanosleep(&pause, NULL);
    }
    if (offset >= attr->size) {
        return 0;
    }
    if (size > attr->size - offset) {
        size = attr->size - offset;
    }
    survival_fill(OLD_ID(attr->ino), offset, buf, size);
    return (ssize_t)size;
}

static void tree_close(void *ctx, void *file)
{
    (void)ctx;
    free(file);
}

static int tree_statfs(void *ctx, struct gfs_fuse_statfs *out)
{
    const struct survival_tree *t = ctx;

    *out = (struct gfs_fuse_statfs){
        .total_bytes = SURVIVAL_FILES * t->size, .free_bytes = 0, .files = N_NODES + t->entries};
    return 0;
}

static int make_copy(const struct survival_tree *t, uint64_t ino)
{
    char *bytes = malloc(t->size);
    int fd = memfd_create("survival", MFD_CLOEXEC);

    if (bytes == NULL || fd < 0) {
        abort();
    }
    survival_fill(ino, 0, bytes, t->size);
    if (gfs_write_all(fd, bytes, t->size) != 0) {
        abort();
    }
    free(bytes);
    return fd;
}

/* As from a worker: a file that has the bytes, the same one each time. */
static int tree_backing(void *ctx, void *file, int *out_fd)
{
    struct survival_tree *t = ctx;
    const struct gfs_fuse_attr *attr = file;
    uint64_t ino = OLD_ID(attr->ino);
    int *slot;
    int known;
    int made;

    if (ino < INO_FILE0 || ino >= INO_FILE0 + SURVIVAL_FILES) {
        return GFS_EPRECONDITION;
    }
    slot = &t->backing[ino - INO_FILE0];
    known = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (known == 0) {
        made = make_copy(t, ino) + 1;
        if (__atomic_compare_exchange_n(slot, &known, made, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            known = made;
        } else {
            (void)close(made - 1);
        }
    }
    *out_fd = fcntl(known - 1, F_DUPFD_CLOEXEC, 0);
    return *out_fd >= 0 ? 0 : GFS_EIO;
}

const struct gfs_fuse_backend_ops survival_backing_ops = {
    .lookup = tree_lookup,
    .getattr = tree_getattr,
    .list = tree_list,
    .open = tree_open,
    .pread = tree_pread,
    .close = tree_close,
    .backing = tree_backing,
    .statfs = tree_statfs,
};

const struct gfs_fuse_backend_ops survival_backend_ops = {
    .lookup = tree_lookup,
    .getattr = tree_getattr,
    .list = tree_list,
    .open = tree_open,
    .pread = tree_pread,
    .close = tree_close,
    .statfs = tree_statfs,
};
