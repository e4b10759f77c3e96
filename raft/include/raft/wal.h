/*
 * raft_wal: the write-ahead log of one Raft node: term and vote, log entries, log resets.
 *
 * A directory of zero-written segments; see raft/wal/README.md. Writers gather records
 * with raft_wal_add_*() and make them durable together with raft_wal_flush(). Nothing is ever
 * truncated or rewritten in place: an entry added at an index that exists replaces it and all
 * behind it. A failed write or flush is final: every later call answers the same error, and the
 * caller has to end the process (what the kernel still shows of the file can't be trusted).
 *
 * Threads: one writer (add, flush, release); raft_wal_read() and the getters from any thread.
 */
#ifndef RAFT_WAL_H
#define RAFT_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct raft_wal;

/* X(name, value, text) */
#define RAFT_WAL_STATUS_TABLE(X)                                                                   \
    X(OK, 0, "ok")                                                                                 \
    X(IO, -1, "a read, write or flush failed")                                                     \
    X(FULL, -2, "no space for the next segment")                                                   \
    X(CORRUPT, -3, "a record that was once durable is damaged")                                    \
    X(LOCKED, -4, "another process holds the directory")                                           \
    X(MISMATCH, -5, "the directory belongs to another cluster, node or format version")            \
    X(INVALID, -6, "invalid argument")                                                             \
    X(NO_MEMORY, -7, "out of memory")                                                              \
    X(BATCH_FULL, -8, "the batch has no room for it: flush first")                                 \
    X(RANGE, -9, "no such entry in the log")

enum raft_wal_status {
#define RAFT_WAL_STATUS_ENUM(name, value, text) RAFT_WAL_##name = (value),
    RAFT_WAL_STATUS_TABLE(RAFT_WAL_STATUS_ENUM)
#undef RAFT_WAL_STATUS_ENUM
};

/* English text of a status, never NULL; static storage. */
const char *raft_wal_strerror(int status);

/*
 * The system calls a log makes, so that tests can fail each of them and build crash images. All
 * return >= 0, or a negative errno. @dirfd is the log directory, or AT_FDCWD with its own path.
 */
struct raft_wal_io {
    void *arg;
    int (*openat)(void *arg, int dirfd, const char *name, int flags, mode_t mode);
    int (*close)(void *arg, int fd);
    ssize_t (*pread)(void *arg, int fd, void *buf, size_t len, off_t offset);
    ssize_t (*pwrite)(void *arg, int fd, const void *buf, size_t len, off_t offset);
    int (*fdatasync)(void *arg, int fd);
    int (*fsync)(void *arg, int fd); /* of files and of the directory */
    int (*renameat)(void *arg, int dirfd, const char *from, const char *to);
    int (*unlinkat)(void *arg, int dirfd, const char *name);
};

/* The real thing. Static storage. */
const struct raft_wal_io *raft_wal_io_posix(void);

enum raft_wal_log_level {
    RAFT_WAL_LOG_DEBUG,
    RAFT_WAL_LOG_INFO,
    RAFT_WAL_LOG_WARN,
    RAFT_WAL_LOG_ERROR,
};

struct raft_wal_opts {
    const char *dir;
    uint64_t cluster_id; /* a directory of another cluster or node is refused */
    uint64_t node_id;
    size_t segment_bytes; /* 0 = 16 MiB; multiple of 4096, 32 KiB .. 256 MiB; of new segments */
    size_t batch_bytes;   /* 0 = 4 MiB, cut to what a segment holds: most one flush writes */
    bool salvage;         /* damage: keep the log before it and say so in lost_until, instead of
                             CORRUPT. What is cut off stays beside it as *.damaged */
    bool inline_spare;    /* prepare the spare segment in the writer, not in a thread (tests) */
    const struct raft_wal_io *io; /* NULL = raft_wal_io_posix(); borrowed */
    void (*log)(void *arg, enum raft_wal_log_level level, const char *line); /* NULL = silent */
    void *log_arg;
};

/* What recovery found. */
struct raft_wal_state {
    uint8_t incarnation[16]; /* random identity, made with the directory */
    bool created;            /* the directory was empty */
    bool torn;               /* an unfinished batch was dropped at the end */
    uint64_t term;           /* hard state; 0 when never written */
    uint64_t vote;
    uint64_t first_index; /* of the entries in the log; last_index + 1 when it is empty */
    uint64_t last_index;
    uint64_t prev_term; /* term of entry first_index - 1; 0 when unknown */
    uint64_t
        lost_until; /* 0: healthy. Else entries up to here were durable and may be lost: neither
                       vote nor stand until they are back (until raft_wal_recovered()) */
};

/* The type is the caller's, kept as it is. */
struct raft_wal_entry {
    uint64_t index;
    uint64_t term;
    uint8_t type;
    const void *data;
    size_t len;
};

/*
 * Opens or creates the log in opts->dir (created 0700 if missing), recovers it, locks it.
 * Errors: INVALID, NO_MEMORY, LOCKED, MISMATCH, IO, FULL, CORRUPT. Outputs only set on success.
 */
int raft_wal_open(const struct raft_wal_opts *opts, struct raft_wal **out,
                  struct raft_wal_state *out_state);

/* Waits for the background thread; does not flush. NULL is fine. */
void raft_wal_close(struct raft_wal *wal);

/* ---- writing (one thread) -------------------------------------------------------------------- */

/* Term and vote: the last one before a flush wins and is written ahead of the entries. */
int raft_wal_add_hard_state(struct raft_wal *wal, uint64_t term, uint64_t vote);

/*
 * An entry, copied. At last + 1 it extends the log; at a lower index it replaces that entry and
 * all behind it. INVALID: a gap, or larger than raft_wal_max_entry(). BATCH_FULL: flush, repeat.
 */
int raft_wal_add_entry(struct raft_wal *wal, const struct raft_wal_entry *entry);

/* Empties the log; it continues at @index + 1 behind an entry of @term (installed snapshot). */
int raft_wal_add_reset(struct raft_wal *wal, uint64_t index, uint64_t term);

/*
 * Writes what was added and returns when it is durable. Nothing added: nothing done. FULL: no
 * room for the next segment, nothing was written, what was added is kept and the call can be
 * repeated. IO: final.
 */
int raft_wal_flush(struct raft_wal *wal);

/*
 * Call after a flush when nothing else is waiting: notes (unflushed) that the last batch had been
 * durable, so that damage to it later is not mistaken for an unfinished write.
 */
int raft_wal_idle(struct raft_wal *wal);

/*
 * Entries up to @index are not needed any more (they are behind a durable snapshot): deletes
 * whole segments that hold nothing else. The log's first index rises to at most @index + 1.
 */
int raft_wal_release(struct raft_wal *wal, uint64_t index);

/* The caller lost entries up to @until by other means than damage to the log: from now on, and
 * after a restart, lost_until says so. @term and @vote: the newest there are. Durable on return. */
int raft_wal_mark_lost(struct raft_wal *wal, uint64_t until, uint64_t term, uint64_t vote);

/* What was lost is back: forgets lost_until for good. */
int raft_wal_recovered(struct raft_wal *wal);

#define RAFT_WAL_READ_OVERHEAD 48

/* ---- any thread -------------------------------------------------------------------------------
 */

/*
 * Copies durable entries from @index on into @buf: at most @max, while they fit into @cap
 * bytes with RAFT_WAL_READ_OVERHEAD each; out[i].data points into @buf. *out_n is 0 only if the
 * first alone does not fit (its length then is in out[0].len). RANGE: @index is not in the log.
 * CORRUPT: checksum.
 */
int raft_wal_read(struct raft_wal *wal, uint64_t index, struct raft_wal_entry *out, size_t max,
                  void *buf, size_t cap, size_t *out_n);

/* Durable bounds of the log. */
void raft_wal_bounds(struct raft_wal *wal, uint64_t *out_first, uint64_t *out_last);

/* Term of durable entry @index, 0 if it is not in the log. */
uint64_t raft_wal_term(struct raft_wal *wal, uint64_t index);

/* Index, term, type and length of durable entry @index, without its payload. RANGE. */
int raft_wal_peek(struct raft_wal *wal, uint64_t index, struct raft_wal_entry *out);

/* True when the spare segment could not be prepared for lack of space: stop taking proposals; what
 * is left of the current segment serves terms and votes. Ends by itself when space is back. */
bool raft_wal_is_full(struct raft_wal *wal);

/* The largest payload one entry can have, given the segment and batch sizes. */
size_t raft_wal_max_entry(const struct raft_wal *wal);

struct raft_wal_stats {
    uint64_t flushes;
    uint64_t bytes; /* written, padding included, zero-writing excluded */
    uint64_t entries;
    uint64_t last_flush_ns;
    uint64_t max_flush_ns;
    uint64_t segments; /* in the directory now, without the spare */
};

void raft_wal_get_stats(struct raft_wal *wal, struct raft_wal_stats *out);

/* ---- offline (journal dump, journal verify)
 * -----------------------------------------------------*/

enum raft_wal_record_type {
    RAFT_WAL_RECORD_BATCH = 1, /* head of one flush: index = batch number, term = its bytes */
    RAFT_WAL_RECORD_HARD = 2,  /* term, vote in index */
    RAFT_WAL_RECORD_ENTRY = 3,
    RAFT_WAL_RECORD_RESET = 4, /* log emptied; continues behind index, term */
    RAFT_WAL_RECORD_MARK = 5,  /* everything before it had been flushed */
};

struct raft_wal_segment_info {
    const char *name;
    uint64_t number;
    uint64_t salt;
    uint64_t cluster_id;
    uint64_t node_id;
    uint8_t incarnation[16];
    uint64_t next_index; /* of the next entry when the segment was begun */
    uint64_t prev_term;
    uint64_t term; /* hard state repeated at the head */
    uint64_t vote;
    uint32_t prev_chain;
    uint64_t bytes;
};

struct raft_wal_record {
    enum raft_wal_record_type type;
    uint8_t entry_type;
    uint64_t index;
    uint64_t term;
    uint64_t offset; /* in the segment */
    const void *data;
    size_t len;
};

/* Both may be NULL. Non-zero return ends the scan and is returned by it. */
struct raft_wal_visitor {
    void *arg;
    int (*segment)(void *arg, const struct raft_wal_segment_info *segment);
    int (*record)(void *arg, const struct raft_wal_record *record);
};

/* Verdict of a scan; text says where. */
struct raft_wal_report {
    uint64_t segments;
    uint64_t batches;
    uint64_t records;
    bool torn;    /* unfinished last batch: normal after a crash */
    bool corrupt; /* a record that was once durable is damaged */
    struct raft_wal_state state;
    char text[256];
};

/*
 * Reads the whole log in @dir without lock or change; on a log in use the end may look torn.
 * Returns 0 also when report->corrupt is set; negative when the directory can't be read at all, is
 * of another version (MISMATCH), or the visitor's value.
 */
int raft_wal_scan(const char *dir, const struct raft_wal_io *io,
                  const struct raft_wal_visitor *visitor, struct raft_wal_report *report);

#ifdef __cplusplus
}
#endif

#endif
