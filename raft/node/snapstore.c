/* Finding, making and opening snapshots. Receiving and sending: snapwire.c. */
#include "node/snapstore_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <raft/node.h>

#include "node/snapfile_priv.h"
#include "node/snapmeta_priv.h"
#include "wal/crc32c.h"

#define OWN_TMP     "snapshot.tmp"
#define META_ASIDE  "snapshot.meta.damaged"
#define IMAGE_ASIDE "snapshot.img.damaged"

int rafti_snapfile_status(int err)
{
    return err == ENOSPC || err == EDQUOT ? RAFT_NODE_FULL : RAFT_NODE_IO;
}

void rafti_snapfile_name(char *out, uint64_t index, uint64_t term, const char *suffix)
{
    snprintf(out, RAFTI_SNAP_NAME_MAX, "snapshot-%016" PRIx64 "-%016" PRIx64 ".%s", index, term,
             suffix);
}

static bool parse_name(const char *name, const char *suffix, uint64_t *index, uint64_t *term)
{
    char again[RAFTI_SNAP_NAME_MAX];

    if (sscanf(name, "snapshot-%16" SCNx64 "-%16" SCNx64, index, term) != 2) {
        return false;
    }
    rafti_snapfile_name(again, *index, *term, suffix);
    return strcmp(name, again) == 0;
}

int rafti_snapfile_read_meta(int dirfd, const char *name, uint8_t **out, size_t *out_len)
{
    struct stat st;
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    int err = RAFT_NODE_OK;

    if (fd < 0) {
        return errno == ENOENT ? RAFT_NODE_NOT_FOUND : RAFT_NODE_IO;
    }
    uint8_t *bytes = NULL;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)RAFTI_SNAP_META_MAX) {
        err = RAFT_NODE_CORRUPT;
    } else {
        bytes = malloc((size_t)st.st_size);
        err = bytes == NULL ? RAFT_NODE_NO_MEMORY
                            : rafti_snapfile_pread(fd, bytes, (size_t)st.st_size, 0);
    }
    close(fd);
    if (err != RAFT_NODE_OK) {
        free(bytes);
        return err;
    }
    *out = bytes;
    *out_len = (size_t)st.st_size;
    return RAFT_NODE_OK;
}

static int load(struct rafti_snapstore *store, uint64_t index, uint64_t term,
                struct rafti_snap *out)
{
    char name[RAFTI_SNAP_NAME_MAX];
    uint8_t *bytes;
    size_t len;
    struct stat st;

    rafti_snapfile_name(name, index, term, "meta");
    int err = rafti_snapfile_read_meta(store->dirfd, name, &bytes, &len);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    err = rafti_snapmeta_decode(bytes, len, store->cluster_id, out, NULL);
    free(bytes);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    if (out->index != index || out->term != term) {
        return RAFT_NODE_CORRUPT;
    }
    if (index == 0) {
        return RAFT_NODE_OK;
    }
    rafti_snapfile_name(name, index, term, "img");
    if (fstatat(store->dirfd, name, &st, 0) < 0 || (uint64_t)st.st_size != out->image_bytes) {
        return RAFT_NODE_CORRUPT;
    }
    return RAFT_NODE_OK;
}

/* Calls @each with index and term of every file that ends with @suffix. */
static int for_each(struct rafti_snapstore *store, const char *suffix,
                    void (*each)(void *arg, uint64_t index, uint64_t term), void *arg)
{
    int fd = openat(store->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t index;
    uint64_t term;

    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return RAFT_NODE_IO;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (parse_name(entry->d_name, suffix, &index, &term)) {
            each(arg, index, term);
        }
    }
    closedir(dir);
    return RAFT_NODE_OK;
}

struct newest_two {
    bool any;
    uint64_t index[2]; /* [0] is the newest */
    uint64_t term[2];
};

static void keep_newest(void *arg, uint64_t index, uint64_t term)
{
    struct newest_two *two = arg;

    if (!two->any || index > two->index[0]) {
        two->index[1] = two->index[0];
        two->term[1] = two->term[0];
        two->index[0] = index;
        two->term[0] = term;
        two->any = true;
    } else if (index > two->index[1]) {
        two->index[1] = index;
        two->term[1] = term;
    }
}

struct purge {
    struct rafti_snapstore *store;
    uint64_t keep_from;
};

static void purge_one(void *arg, uint64_t index, uint64_t term)
{
    const struct purge *purge = arg;
    char name[RAFTI_SNAP_NAME_MAX];

    if (index >= purge->keep_from) {
        return;
    }
    /* Meta first: without it the image is no snapshot. */
    rafti_snapfile_name(name, index, term, "meta");
    unlinkat(purge->store->dirfd, name, 0);
    rafti_snapfile_name(name, index, term, "img");
    unlinkat(purge->store->dirfd, name, 0);
}

static void purge_old(struct rafti_snapstore *store)
{
    struct newest_two two = {.any = false};

    if (for_each(store, "meta", keep_newest, &two) == RAFT_NODE_OK && two.any) {
        struct purge purge = {.store = store, .keep_from = two.index[1]};
        (void)for_each(store, "meta", purge_one, &purge);
    }
}

/* An image whose meta file never got its name. */
static void drop_orphan(void *arg, uint64_t index, uint64_t term)
{
    const struct rafti_snapstore *store = arg;
    char name[RAFTI_SNAP_NAME_MAX];
    struct stat st;

    rafti_snapfile_name(name, index, term, "meta");
    if (fstatat(store->dirfd, name, &st, 0) < 0 && errno == ENOENT) {
        rafti_snapfile_name(name, index, term, "img");
        unlinkat(store->dirfd, name, 0);
    }
}

/* One damaged snapshot is kept for whoever wants to know; it is none any more. */
static int set_aside(struct rafti_snapstore *store, uint64_t index, uint64_t term)
{
    static const struct {
        const char *suffix, *aside;
    } files[] = {{"meta", META_ASIDE}, {"img", IMAGE_ASIDE}};
    char name[RAFTI_SNAP_NAME_MAX];

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        rafti_snapfile_name(name, index, term, files[i].suffix);
        if (renameat(store->dirfd, name, store->dirfd, files[i].aside) < 0 && errno != ENOENT) {
            return rafti_snapfile_status(errno);
        }
    }
    store->fell_back = true;
    return fsync(store->dirfd) < 0 ? rafti_snapfile_status(errno) : RAFT_NODE_OK;
}

/* The newest whose meta file can be trusted; what is newer is set aside. */
static int pick_newest(struct rafti_snapstore *store)
{
    for (;;) {
        struct newest_two two = {.any = false};

        store->has_newest = false;
        int err = for_each(store, "meta", keep_newest, &two);
        if (err != RAFT_NODE_OK || !two.any) {
            return err;
        }
        err = load(store, two.index[0], two.term[0], &store->newest);
        if (err == RAFT_NODE_OK) {
            store->has_newest = true;
            return err;
        }
        err = err == RAFT_NODE_CORRUPT ? set_aside(store, two.index[0], two.term[0]) : err;
        if (err != RAFT_NODE_OK) {
            return err;
        }
    }
}

int rafti_snapstore_discard(struct rafti_snapstore *store)
{
    int err = set_aside(store, store->newest.index, store->newest.term);

    return err == RAFT_NODE_OK ? pick_newest(store) : err;
}

int rafti_snapstore_init(struct rafti_snapstore *store, int dirfd, uint64_t cluster_id)
{
    pthread_mutex_init(&store->lock, NULL);
    store->cluster_id = cluster_id;
    store->has_newest = false;
    store->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if (store->dirfd < 0) {
        return RAFT_NODE_IO;
    }
    store->fell_back = faccessat(store->dirfd, META_ASIDE, F_OK, 0) == 0;
    unlinkat(store->dirfd, OWN_TMP, 0);
    unlinkat(store->dirfd, RAFTI_SNAP_INSTALL_TMP, 0);
    unlinkat(store->dirfd, RAFTI_SNAP_META_TMP, 0);
    (void)for_each(store, "img", drop_orphan, store);

    return pick_newest(store);
}

void rafti_snapstore_fini(struct rafti_snapstore *store)
{
    if (store->dirfd >= 0) {
        close(store->dirfd);
    }
    pthread_mutex_destroy(&store->lock);
}

bool rafti_snapstore_newest(struct rafti_snapstore *store, struct rafti_snap *out)
{
    pthread_mutex_lock(&store->lock);
    bool has = store->has_newest;
    if (has) {
        *out = store->newest;
    }
    pthread_mutex_unlock(&store->lock);
    return has;
}

int rafti_snapfile_publish(struct rafti_snapstore *store, const char *image_tmp,
                           const uint8_t *meta, size_t meta_len, const struct rafti_snap *snap)
{
    char name[RAFTI_SNAP_NAME_MAX];

    if (image_tmp != NULL) {
        rafti_snapfile_name(name, snap->index, snap->term, "img");
        if (renameat(store->dirfd, image_tmp, store->dirfd, name) < 0) {
            return rafti_snapfile_status(errno);
        }
    }
    int fd =
        openat(store->dirfd, RAFTI_SNAP_META_TMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return rafti_snapfile_status(errno);
    }
    int err = rafti_snapfile_pwrite(fd, meta, meta_len, 0);
    if (err == RAFT_NODE_OK && fsync(fd) < 0) {
        err = rafti_snapfile_status(errno);
    }
    close(fd);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    /* The image's name first, then the meta file's, each durable. */
    rafti_snapfile_name(name, snap->index, snap->term, "meta");
    if (fsync(store->dirfd) < 0 ||
        renameat(store->dirfd, RAFTI_SNAP_META_TMP, store->dirfd, name) < 0 ||
        fsync(store->dirfd) < 0) {
        return rafti_snapfile_status(errno);
    }

    pthread_mutex_lock(&store->lock);
    if (!store->has_newest || snap->index >= store->newest.index) {
        store->newest = *snap;
        store->has_newest = true;
    }
    pthread_mutex_unlock(&store->lock);
    purge_old(store);
    return RAFT_NODE_OK;
}

int rafti_snapstore_bootstrap(struct rafti_snapstore *store, const struct raft_config *config)
{
    struct rafti_snap snap = {.config = *config};
    size_t len;
    uint8_t *meta = rafti_snapmeta_encode(&snap, store->cluster_id, NULL, 0, &len);

    if (meta == NULL) {
        return RAFT_NODE_INVALID;
    }
    snap.meta_bytes = len;
    int err = rafti_snapfile_publish(store, NULL, meta, len, &snap);
    free(meta);
    return err;
}

int rafti_snapstore_begin(struct rafti_snapstore *store)
{
    int fd = openat(store->dirfd, OWN_TMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    return fd < 0 ? rafti_snapfile_status(errno) : fd;
}

void rafti_snapstore_abandon(struct rafti_snapstore *store)
{
    unlinkat(store->dirfd, OWN_TMP, 0);
}

/* Checksums of all chunks of @fd; malloc'd. */
static int checksum(int fd, uint64_t bytes, uint32_t **out)
{
    uint64_t n = rafti_snap_chunks(bytes);
    uint32_t *crcs = malloc((n + 1) * sizeof *crcs);
    uint8_t *chunk = malloc(RAFTI_SNAP_CHUNK);
    int err = crcs == NULL || chunk == NULL ? RAFT_NODE_NO_MEMORY : RAFT_NODE_OK;

    for (uint64_t i = 0; i < n && err == RAFT_NODE_OK; i++) {
        uint64_t at = i * RAFTI_SNAP_CHUNK;
        size_t len = bytes - at < RAFTI_SNAP_CHUNK ? bytes - at : RAFTI_SNAP_CHUNK;

        err = rafti_snapfile_pread(fd, chunk, len, at);
        if (err == RAFT_NODE_OK) {
            crcs[i] = rafti_crc32c(0, chunk, len);
        }
    }
    free(chunk);
    if (err != RAFT_NODE_OK) {
        free(crcs);
        return err;
    }
    *out = crcs;
    return RAFT_NODE_OK;
}

int rafti_snapstore_commit(struct rafti_snapstore *store, int fd, struct rafti_snap *snap)
{
    struct stat st;
    uint32_t *crcs = NULL;
    size_t len = 0;

    if (fsync(fd) < 0 || fstat(fd, &st) < 0) {
        return rafti_snapfile_status(errno);
    }
    snap->image_bytes = (uint64_t)st.st_size;
    int err = checksum(fd, snap->image_bytes, &crcs);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    uint8_t *meta = rafti_snapmeta_encode(snap, store->cluster_id, crcs,
                                          rafti_snap_chunks(snap->image_bytes), &len);
    free(crcs);
    if (meta == NULL) {
        return RAFT_NODE_NO_MEMORY;
    }
    snap->meta_bytes = len;
    err = rafti_snapfile_publish(store, OWN_TMP, meta, len, snap);
    free(meta);
    return err;
}

int rafti_snapfile_verify(int fd, uint64_t bytes, const uint8_t *crcs)
{
    uint32_t *have = NULL;
    int err = checksum(fd, bytes, &have);

    for (uint64_t i = 0; err == RAFT_NODE_OK && i < rafti_snap_chunks(bytes); i++) {
        if (have[i] != rafti_snapmeta_crc_at(crcs, i)) {
            err = RAFT_NODE_CORRUPT;
        }
    }
    free(have);
    return err;
}
