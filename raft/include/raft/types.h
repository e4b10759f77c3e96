/*
 * Raft: the values that cross every border of the library: ids, entries, configurations, errors.
 *
 * Everything under raft/ uses libc only and compiles as C (gnu11) and as C++17.
 */
#ifndef RAFT_TYPES_H
#define RAFT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Error codes: 0 is success, errors are negative and never change their number.
 * X(name, value, text)
 */
#define RAFT_ERRORS(X)                                                                             \
    X(RAFT_ERR_NOMEM, -1, "out of memory; nothing was changed")                                    \
    X(RAFT_ERR_INVALID, -2, "invalid argument or event")                                           \
    X(RAFT_ERR_NOT_LEADER, -3, "this server is not the leader")                                    \
    X(RAFT_ERR_BUSY, -4, "a limit is reached, try again later")                                    \
    X(RAFT_ERR_TRANSFER, -5, "leadership is being transferred")                                    \
    X(RAFT_ERR_CONFIG_PENDING, -6, "another configuration change is pending")                      \
    X(RAFT_ERR_NOT_READY, -7, "no own-term entry is committed, or no majority answers")            \
    X(RAFT_ERR_NO_LEADER, -8, "no leader is known")                                                \
    X(RAFT_ERR_UNKNOWN_SERVER, -9, "no such server, or not in a fitting role")                     \
    X(RAFT_ERR_EXISTS, -10, "the server is in the configuration already")                          \
    X(RAFT_ERR_CATCH_UP, -11, "the learner does not catch up")                                     \
    X(RAFT_ERR_LOST, -12, "leadership was lost, the outcome is unknown")                           \
    X(RAFT_ERR_TIMEOUT, -13, "not done within its time")                                           \
    X(RAFT_ERR_TRUNCATED, -14, "the buffer ends before the message does")                          \
    X(RAFT_ERR_MALFORMED, -15, "malformed bytes")                                                  \
    X(RAFT_ERR_VERSION, -16, "unknown version or type")                                            \
    X(RAFT_ERR_NOSPACE, -17, "the output buffer is too small")                                     \
    X(RAFT_ERR_STALE, -18, "the log has moved on, the message is void")                            \
    X(RAFT_ERR_TOO_BIG, -19, "larger than the stated maximum")                                     \
    X(RAFT_ERR_IO, -20, "input/output error")                                                      \
    X(RAFT_ERR_CORRUPT, -21, "corrupt data")                                                       \
    X(RAFT_ERR_LAST_VOTER, -22, "the last voter cannot be removed")

enum raft_err {
    RAFT_OK = 0,
#define RAFT_X(name, value, text) name = value,
    RAFT_ERRORS(RAFT_X)
#undef RAFT_X
};

/* Text of an error code; a constant string, never NULL, also for unknown codes. Any thread. */
const char *raft_strerror(int err);

#define RAFT_MAX_SERVERS         16          /* servers in one configuration, learners included */
#define RAFT_MAX_ADDRESS         104         /* bytes of an address, terminating 0 included */
#define RAFT_MAX_ENTRY_BYTES     (4u << 20)  /* payload of one entry */
#define RAFT_MAX_MESSAGE_ENTRIES 4096u       /* entries of one append message */
#define RAFT_MAX_MESSAGE_BYTES   (16u << 20) /* one encoded message */

/* Server ids are chosen by the user, unique within a cluster, and never 0. */
typedef uint64_t raft_id;
typedef uint64_t raft_term;
typedef uint64_t raft_index;

/* 128 bits; all zero means "not set". */
struct raft_uuid {
    uint8_t bytes[16];
};

bool raft_uuid_is_zero(const struct raft_uuid *u);
bool raft_uuid_equal(const struct raft_uuid *a, const struct raft_uuid *b);

enum raft_entry_type {
    RAFT_ENTRY_COMMAND = 1, /* payload belongs to the state machine */
    RAFT_ENTRY_NOOP = 2,    /* a leader's first entry: no payload, nothing to apply */
    RAFT_ENTRY_CONFIG = 3,  /* payload is raft_config_encode(); nothing to apply */
};

/*
 * One log entry. `data` is borrowed: who lends it and for how long is said where the entry is used.
 * The core looks into the payload of RAFT_ENTRY_CONFIG only.
 */
struct raft_entry {
    raft_term term;
    const void *data; /* `size` bytes; may be NULL if size is 0 */
    uint32_t size;
    uint8_t type; /* enum raft_entry_type */
};

enum raft_server_role {
    RAFT_VOTER = 1,
    RAFT_LEARNER = 2, /* receives the log, does not count for any quorum */
};

struct raft_server {
    raft_id id;
    uint8_t role;                   /* enum raft_server_role */
    struct raft_uuid incarnation;   /* data directory bound to this id; zero: not bound yet */
    char address[RAFT_MAX_ADDRESS]; /* for the host's transport; the core never reads it */
};

/* A configuration is a value: copy it freely. Servers are kept sorted by id. */
struct raft_config {
    uint32_t n_servers;
    struct raft_server servers[RAFT_MAX_SERVERS];
};

/* Adds a server, keeping the order. RAFT_ERR_EXISTS, RAFT_ERR_BUSY (full), RAFT_ERR_INVALID. */
int raft_config_add(struct raft_config *c, const struct raft_server *server);

/* RAFT_ERR_UNKNOWN_SERVER if it is not there. */
int raft_config_remove(struct raft_config *c, raft_id id);

/* The server, or NULL. Points into `c`. */
const struct raft_server *raft_config_find(const struct raft_config *c, raft_id id);

bool raft_config_is_voter(const struct raft_config *c, raft_id id);

/* Number of voters, and the number of them that is a majority (0 voters: 1, so nobody wins). */
uint32_t raft_config_voters(const struct raft_config *c);
uint32_t raft_config_quorum(const struct raft_config *c);

/* Upper bound of raft_config_encode(). */
#define RAFT_MAX_CONFIG_BYTES (8 + RAFT_MAX_SERVERS * (8 + 1 + 16 + 2 + RAFT_MAX_ADDRESS))

/* Bytes written, or RAFT_ERR_NOSPACE / RAFT_ERR_INVALID. */
int raft_config_encode(const struct raft_config *c, void *buf, size_t cap);

/*
 * Decodes exactly `len` bytes. On any error (RAFT_ERR_MALFORMED, RAFT_ERR_VERSION) `*c` is
 * untouched. Safe for hostile input.
 */
int raft_config_decode(const void *buf, size_t len, struct raft_config *c);

#ifdef __cplusplus
}
#endif

#endif
