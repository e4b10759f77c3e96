/* Inside of struct raft_wal, shared by the files of raft/wal. */
#ifndef RAFT_WAL_WAL_PRIV_H
#define RAFT_WAL_WAL_PRIV_H

#include <pthread.h>
#include <stdarg.h>

#include "wal/index_priv.h"
#include "wal/replay_priv.h"

#define RAFTI_WAL_SPARE_NAME "spare.tmp"

/* An open segment. Readers hold a reference while they read without the lock. */
struct rafti_wal_segment {
    uint32_t number;
    int fd;
    unsigned refs; /* one of the list, one per reader; under raft_wal.lock */
};

/*
 * The next segment, made in advance.
 *
 *   NONE ──▶ MAKING ──▶ READY ──▶ TAKEN ──(renamed: its name is free)──▶ NONE
 *              └─▶ NOSPACE ──(release, or a second later)──▶ MAKING
 *              └─▶ FAILED: final, the log is dead
 */
enum rafti_wal_spare_state {
    RAFTI_WAL_SPARE_NONE,
    RAFTI_WAL_SPARE_MAKING,
    RAFTI_WAL_SPARE_READY,
    RAFTI_WAL_SPARE_TAKEN,
    RAFTI_WAL_SPARE_NOSPACE,
    RAFTI_WAL_SPARE_FAILED,
};

struct rafti_wal_spare {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread;
    bool stop;
    bool nudge; /* space may have come back */
    bool full;  /* the last attempt ended for lack of space */
    enum rafti_wal_spare_state state;
    int fd;
};

struct raft_wal {
    /* fixed */
    struct raft_wal_io io;
    void (*log)(void *arg, enum raft_wal_log_level level, const char *line);
    void *log_arg;
    char *dir;
    int dirfd;
    int lockfd;
    uint64_t cluster_id;
    uint64_t node_id;
    uint8_t incarnation[16];
    size_t segment_bytes;
    size_t batch_bytes;
    bool inline_spare;
    bool salvage;

    struct rafti_wal_spare spare;

    /* writer only */
    int dead;       /* sticky error */
    uint8_t *batch; /* BATCH and HARD headers, then what was added */
    size_t batch_len;
    bool staged_hard;
    uint64_t staged_entries;
    uint64_t staged_term;
    uint64_t staged_vote;
    uint64_t staged_first; /* log bounds as they will be after the flush */
    uint64_t staged_last;
    uint64_t number; /* of the current segment */
    uint64_t salt;
    uint64_t capacity; /* bytes of the current segment */
    uint64_t pos;      /* where the next batch goes */
    uint64_t end;      /* behind the last record */
    uint32_t chain;
    uint64_t next_batch;
    bool marked; /* the mark at pos is written */

    pthread_mutex_t lock; /* guards what follows */
    struct rafti_wal_index index;
    struct rafti_wal_segment **segments; /* in order; the last one is current */
    size_t n_segments;
    struct raft_wal_stats stats;
};

/* One line for the host. */
__attribute__((format(printf, 3, 4))) void
rafti_wal_log(struct raft_wal *wal, enum raft_wal_log_level level, const char *fmt, ...);

/* Writes all of @len. 0 or a negative errno (ENOSPC kept, a short write is retried). */
int rafti_wal_write_fully(const struct raft_wal_io *io, int fd, const void *buf, size_t len,
                          uint64_t offset);

/* ident.c: the incarnation file */
enum { RAFTI_WAL_IDENT_ABSENT = 1 };
int rafti_wal_ident_read(struct raft_wal *wal); /* 0, ABSENT, MISMATCH, CORRUPT, IO */
int rafti_wal_ident_write(struct raft_wal *wal);
int rafti_wal_random(void *buf, size_t len);
/* A small text file, replaced as a whole, durable on return; 0, FULL, IO. */
int rafti_wal_text_write(struct raft_wal *wal, const char *name, const char *text, size_t len);
/* At most @cap - 1 bytes, terminated. 0, ABSENT, IO. */
int rafti_wal_text_read(struct raft_wal *wal, const char *name, char *text, size_t cap);

/* salvage.c */
int rafti_wal_recovering_read(struct raft_wal *wal, struct rafti_wal_evidence *evidence);
/* Before adopting a log that was cut: writes down what was lost, sets the void files aside. */
int rafti_wal_salvage(struct raft_wal *wal, struct rafti_wal_replay *replay);

/* spare.c */
int rafti_wal_spare_init(struct raft_wal *wal);
void rafti_wal_spare_fini(struct raft_wal *wal);
/* Starts making one: at once when inline, else in the thread, which it starts if need be. */
int rafti_wal_spare_want(struct raft_wal *wal);
/* The ready spare's descriptor, now the caller's. FULL or IO. Waits for one being made. */
int rafti_wal_spare_take(struct raft_wal *wal, int *out_fd);
void rafti_wal_spare_nudge(struct raft_wal *wal);

/* segments.c */
int rafti_wal_segment_add(struct raft_wal *wal, uint32_t number, int fd);
/* Begins the next segment behind the current state of the log. */
int rafti_wal_segment_roll(struct raft_wal *wal);
struct rafti_wal_segment *rafti_wal_segment_get(struct raft_wal *wal, uint32_t number); /* locked */
void rafti_wal_segment_put(struct raft_wal *wal, struct rafti_wal_segment *segment);    /* locked */

/* write.c */
void rafti_wal_stage_reset(struct raft_wal *wal);

#endif
