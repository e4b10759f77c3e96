/* Reading a whole log directory in order: what recovery, dump and verify have in common. */
#ifndef RAFT_WAL_REPLAY_PRIV_H
#define RAFT_WAL_REPLAY_PRIV_H

#include "wal/index_priv.h"
#include "wal/segment_priv.h"

#define RAFTI_WAL_NAME_MAX 48

struct rafti_wal_file {
    char name[RAFTI_WAL_NAME_MAX];
    uint64_t number;
    int fd;
    struct rafti_wal_head head;
};

struct rafti_wal_replay {
    const struct raft_wal_io *io;
    int dirfd;
    bool writable; /* open for writing, make what can be read durable before trusting it */
    bool salvage;  /* on damage keep what is before it, instead of failing */
    const struct raft_wal_visitor *visitor; /* may be NULL */

    struct rafti_wal_file *files; /* sorted by number */
    size_t n_files;
    struct rafti_wal_index index;
    struct rafti_wal_segment_scan last; /* results of the last segment; bytes is void */
    bool salvaged;                      /* the log ends before damage in file n_good - 1 */
    size_t n_good;                      /* files that belong to the log; the others are void */
    struct rafti_wal_evidence evidence; /* of what was lost */
    uint64_t batches;
    uint64_t records;
    char text[256]; /* what is wrong and where; empty if nothing */
};

/* Formats the file name of a segment. */
void rafti_wal_file_name(char *out, uint64_t number, uint64_t next_index);

/* Lists, opens and sorts the segments and reads their heads. 0, IO, NO_MEMORY, MISMATCH, CORRUPT.
 */
int rafti_wal_replay_list(struct rafti_wal_replay *replay);

/* Replays them. 0, IO, NO_MEMORY, CORRUPT, or what the visitor returned. */
int rafti_wal_replay_run(struct rafti_wal_replay *replay);

/* Closes what it holds (fds taken by others are set to -1 before). */
void rafti_wal_replay_fini(struct rafti_wal_replay *replay);

#endif
