/* What snapstore.c and snapwire.c share: names, whole reads and writes, publishing. */
#ifndef RAFT_NODE_SNAPFILE_PRIV_H
#define RAFT_NODE_SNAPFILE_PRIV_H

#include "node/snapstore_priv.h"

#define RAFTI_SNAP_NAME_MAX    64
#define RAFTI_SNAP_INSTALL_TMP "snapshot-install.tmp"
#define RAFTI_SNAP_META_TMP    "snapshot-meta.tmp"

void rafti_snapfile_name(char *out, uint64_t index, uint64_t term, const char *suffix);

/* RAFT_NODE_ status of an errno. */
int rafti_snapfile_status(int err);

/* All of it or an error. A short file is CORRUPT. */
int rafti_snapfile_pread(int fd, void *buf, size_t len, uint64_t offset);
int rafti_snapfile_pwrite(int fd, const void *buf, size_t len, uint64_t offset);

int rafti_snapfile_read_meta(int dirfd, const char *name, uint8_t **out, size_t *out_len);

/* Compares the first @bytes of @fd with their checksums. */
int rafti_snapfile_verify(int fd, uint64_t bytes, const uint8_t *crcs);

/* Gives image and meta their names, durably, and purges old snapshots. */
int rafti_snapfile_publish(struct rafti_snapstore *store, const char *image_tmp,
                           const uint8_t *meta, size_t meta_len, const struct rafti_snap *snap);

#endif
