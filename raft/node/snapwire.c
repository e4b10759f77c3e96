/* Snapshots on their way: reading the wire form, receiving it, opening an image to restore. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <raft/node.h>

#include "node/snapfile_priv.h"
#include "node/snapmeta_priv.h"
#include "wal/crc32c.h"

int rafti_snapfile_pread(int fd, void *buf, size_t len, uint64_t offset)
{
    uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? RAFT_NODE_CORRUPT : RAFT_NODE_IO;
        }
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return RAFT_NODE_OK;
}

int rafti_snapfile_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
    const uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return rafti_snapfile_status(n == 0 ? EIO : errno);
        }
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return RAFT_NODE_OK;
}

/* Meta file of the newest snapshot, if it has this index. */
static int newest_meta(struct rafti_snapstore *store, uint64_t index, struct rafti_snap *snap,
                       uint8_t **out, size_t *out_len)
{
    char name[RAFTI_SNAP_NAME_MAX];

    if (!rafti_snapstore_newest(store, snap) || snap->index != index || index == 0) {
        return RAFT_NODE_NOT_FOUND;
    }
    rafti_snapfile_name(name, snap->index, snap->term, "meta");
    return rafti_snapfile_read_meta(store->dirfd, name, out, out_len);
}

static int open_newest_image(struct rafti_snapstore *store, const struct rafti_snap *snap)
{
    char name[RAFTI_SNAP_NAME_MAX];

    rafti_snapfile_name(name, snap->index, snap->term, "img");
    int fd = openat(store->dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? RAFT_NODE_NOT_FOUND : RAFT_NODE_IO;
    }
    return fd;
}

int rafti_snapstore_open_image(struct rafti_snapstore *store, uint64_t index)
{
    struct rafti_snap snap;
    const uint8_t *crcs;
    uint8_t *meta;
    size_t len;

    int err = newest_meta(store, index, &snap, &meta, &len);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    err = rafti_snapmeta_decode(meta, len, store->cluster_id, &snap, &crcs);
    int fd = err == RAFT_NODE_OK ? open_newest_image(store, &snap) : err;
    if (fd >= 0) {
        err = rafti_snapfile_verify(fd, snap.image_bytes, crcs);
        if (err != RAFT_NODE_OK) {
            close(fd);
            fd = err;
        }
    }
    free(meta);
    return fd;
}

/* Bytes [offset, offset + len) of the image, each chunk they touch checked as a whole: damage is
 * found here and not only by the receiver, who could do nothing about it. */
static int read_image(struct rafti_snapstore *store, const struct rafti_snap *snap,
                      const uint8_t *crcs, uint64_t offset, uint8_t *to, size_t len)
{
    uint8_t *chunk = malloc(RAFTI_SNAP_CHUNK);
    int fd = chunk == NULL ? RAFT_NODE_NO_MEMORY : open_newest_image(store, snap);
    int err = fd < 0 ? fd : RAFT_NODE_OK;

    while (len > 0 && err == RAFT_NODE_OK) {
        uint64_t i = offset / RAFTI_SNAP_CHUNK;
        uint64_t start = i * RAFTI_SNAP_CHUNK;
        uint64_t left = snap->image_bytes - start;
        size_t size = left < RAFTI_SNAP_CHUNK ? (size_t)left : RAFTI_SNAP_CHUNK;
        size_t skip = (size_t)(offset - start);
        size_t part = size - skip < len ? size - skip : len;

        err = rafti_snapfile_pread(fd, chunk, size, start);
        if (err == RAFT_NODE_OK && rafti_crc32c(0, chunk, size) != rafti_snapmeta_crc_at(crcs, i)) {
            err = RAFT_NODE_CORRUPT;
        }
        if (err == RAFT_NODE_OK) {
            memcpy(to, chunk + skip, part);
        }
        to += part;
        offset += part;
        len -= part;
    }
    if (fd >= 0) {
        close(fd);
    }
    free(chunk);
    return err;
}

int rafti_snapstore_read(struct rafti_snapstore *store, uint64_t index, uint64_t offset, void *buf,
                         uint32_t len)
{
    struct rafti_snap snap;
    const uint8_t *crcs = NULL;
    uint8_t *meta;
    size_t meta_len;

    int err = newest_meta(store, index, &snap, &meta, &meta_len);
    if (err != RAFT_NODE_OK) {
        return err;
    }
    err = rafti_snapmeta_decode(meta, meta_len, store->cluster_id, &snap, &crcs);
    if (err == RAFT_NODE_OK &&
        (offset > rafti_snap_size(&snap) || len > rafti_snap_size(&snap) - offset)) {
        err = RAFT_NODE_NOT_FOUND;
    }

    uint8_t *p = buf;
    if (err == RAFT_NODE_OK && offset < snap.image_bytes) {
        uint64_t left = snap.image_bytes - offset;
        uint32_t part = left < len ? (uint32_t)left : len;

        err = read_image(store, &snap, crcs, offset, p, part);
        p += part;
        len -= part;
        offset += part;
    }
    if (err == RAFT_NODE_OK && len > 0) {
        memcpy(p, meta + (offset - snap.image_bytes), len);
    }
    free(meta);
    return err;
}

/* Splits image and meta of a whole received file, checks them, publishes them. */
static int finish(struct rafti_snapstore *store, int fd, uint64_t total, uint64_t index,
                  uint64_t term)
{
    uint8_t footer[RAFTI_SNAP_META_FOOTER];
    struct rafti_snap snap;
    const uint8_t *crcs;

    if (total < sizeof footer ||
        rafti_snapfile_pread(fd, footer, sizeof footer, total - sizeof footer) != RAFT_NODE_OK) {
        return RAFT_NODE_CORRUPT;
    }
    uint64_t meta_len = rafti_snapmeta_footer(footer);
    if (meta_len == 0 || meta_len > total) {
        return RAFT_NODE_CORRUPT;
    }
    uint8_t *meta = malloc(meta_len);
    if (meta == NULL) {
        return RAFT_NODE_NO_MEMORY;
    }
    int err = rafti_snapfile_pread(fd, meta, meta_len, total - meta_len);
    if (err == RAFT_NODE_OK) {
        err = rafti_snapmeta_decode(meta, meta_len, store->cluster_id, &snap, &crcs);
    }
    if (err == RAFT_NODE_OK &&
        (snap.index != index || snap.term != term || snap.image_bytes + meta_len != total)) {
        err = RAFT_NODE_CORRUPT;
    }
    if (err == RAFT_NODE_OK) {
        err = rafti_snapfile_verify(fd, snap.image_bytes, crcs);
    }
    if (err == RAFT_NODE_OK && (ftruncate(fd, (off_t)snap.image_bytes) < 0 || fsync(fd) < 0)) {
        err = rafti_snapfile_status(errno);
    }
    if (err == RAFT_NODE_OK) {
        err = rafti_snapfile_publish(store, RAFTI_SNAP_INSTALL_TMP, meta, meta_len, &snap);
    }
    free(meta);
    return err;
}

int rafti_snapstore_receive(struct rafti_snapstore *store, uint64_t offset, const void *data,
                            uint32_t len, bool last, uint64_t index, uint64_t term)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (offset == 0 ? O_TRUNC : 0);
    struct stat st;

    int fd = openat(store->dirfd, RAFTI_SNAP_INSTALL_TMP, flags, 0600);
    if (fd < 0) {
        return rafti_snapfile_status(errno);
    }
    int err = RAFT_NODE_OK;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < offset) {
        err = RAFT_NODE_INVALID;
    }
    if (err == RAFT_NODE_OK) {
        err = rafti_snapfile_pwrite(fd, data, len, offset);
    }
    if (err == RAFT_NODE_OK && last) {
        err = ftruncate(fd, (off_t)(offset + len)) < 0
                  ? rafti_snapfile_status(errno)
                  : finish(store, fd, offset + len, index, term);
    }
    close(fd);
    return err;
}
