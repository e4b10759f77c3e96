/*
 * Snapshot files in the data directory.
 *
 *   snapshot-INDEX-TERM.img   the state machine's image, as it wrote it
 *   snapshot-INDEX-TERM.meta  index, term, membership, CRC32C of each chunk of the image
 *
 * The image is durable before the meta file gets its name: a snapshot exists when its meta does.
 * On the wire a snapshot is the image followed by the meta file, so what arrives checks itself.
 * Index 0 has a meta file only: the membership a new cluster began with.
 */
#ifndef RAFT_NODE_SNAPSTORE_PRIV_H
#define RAFT_NODE_SNAPSTORE_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <raft/types.h>

#define RAFTI_SNAP_CHUNK (256u << 10) /* bytes under one checksum */

struct rafti_snap {
    uint64_t index;
    uint64_t term;
    uint64_t image_bytes;
    uint64_t meta_bytes;
    struct raft_config config;
};

struct rafti_snapstore {
    int dirfd;
    uint64_t cluster_id;
    pthread_mutex_t lock;
    struct rafti_snap newest; /* under lock */
    bool has_newest;
    bool fell_back; /* a newer one was damaged: the log may begin behind what is left */
};

/* Size of a snapshot on the wire. */
static inline uint64_t rafti_snap_size(const struct rafti_snap *snap)
{
    return snap->image_bytes + snap->meta_bytes;
}

/* Takes a duplicate of @dirfd; finds the newest snapshot whose meta file is whole and whose image
 * has the right length, sets newer ones aside, and removes unfinished files. 0 or a RAFT_NODE_
 * status: IO, MISMATCH. */
int rafti_snapstore_init(struct rafti_snapstore *store, int dirfd, uint64_t cluster_id);
void rafti_snapstore_fini(struct rafti_snapstore *store);

/* False when there is none. */
bool rafti_snapstore_newest(struct rafti_snapstore *store, struct rafti_snap *out);

/* The image of the newest one turned out to be damaged: sets it aside, and the one before it is the
 * newest, if there is one. Before the threads run. */
int rafti_snapstore_discard(struct rafti_snapstore *store);

/* Writes the membership at index 0. */
int rafti_snapstore_bootstrap(struct rafti_snapstore *store, const struct raft_config *config);

/* An empty file for a new image, read-write. Negative status on failure. */
int rafti_snapstore_begin(struct rafti_snapstore *store);

/* Makes the image in @fd (from begin; stays the caller's) the newest snapshot, and removes all but
 * the newest two. *snap: index, term and config in, sizes out. IO, FULL, NO_MEMORY. */
int rafti_snapstore_commit(struct rafti_snapstore *store, int fd, struct rafti_snap *snap);
void rafti_snapstore_abandon(struct rafti_snapstore *store);

/* Opens the image after checking all of it against its checksums. Descriptor, or CORRUPT, IO,
 * NOT_FOUND. */
int rafti_snapstore_open_image(struct rafti_snapstore *store, uint64_t index);

/* Bytes of the wire form, checked. 0, NOT_FOUND (no such snapshot any more), CORRUPT, IO. */
int rafti_snapstore_read(struct rafti_snapstore *store, uint64_t index, uint64_t offset, void *buf,
                         uint32_t len);

/* Receiving: chunks in order. At offset 0 begins anew. After the last one the whole is checked and
 * becomes the newest snapshot. 0, CORRUPT (wrong bytes), INVALID (gap), IO, FULL. */
int rafti_snapstore_receive(struct rafti_snapstore *store, uint64_t offset, const void *data,
                            uint32_t len, bool last, uint64_t index, uint64_t term);

#endif
