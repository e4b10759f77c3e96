/*
 * Raft: messages between servers and their wire form.
 *
 * The struct is what the core emits and takes; the wire form is little-endian, versioned and
 * carries its own length, so that messages can be concatenated in one transport frame. Integrity is
 * the transport's task (TCP or better); no checksum here.
 */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include <raft/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum raft_message_type {
    RAFT_MSG_VOTE = 1,       /* RequestVote, also as pre-vote */
    RAFT_MSG_VOTE_REPLY,     /* */
    RAFT_MSG_APPEND,         /* AppendEntries; without entries it is a heartbeat */
    RAFT_MSG_APPEND_REPLY,   /* */
    RAFT_MSG_SNAPSHOT,       /* one chunk of InstallSnapshot */
    RAFT_MSG_SNAPSHOT_REPLY, /* */
    RAFT_MSG_TIMEOUT_NOW,    /* thesis 3.10: the receiver campaigns at once */
    RAFT_MSG_READ,           /* a follower asks the leader for a read index */
    RAFT_MSG_READ_REPLY,     /* */
};

struct raft_msg_vote {
    raft_term campaign_term; /* the term asked for: sender's term, or term + 1 in a pre-vote */
    raft_index last_index;   /* end of the candidate's log */
    raft_term last_term;
    bool pre;      /* pre-vote (thesis 9.6): nothing is remembered by the voter */
    bool transfer; /* the old leader asked for this election: voters don't stick to it */
};

struct raft_msg_vote_reply {
    raft_term campaign_term; /* as in the request */
    bool pre;                /* as in the request */
    bool granted;
};

struct raft_msg_append {
    raft_index prev_index;
    raft_term prev_term;
    raft_index commit;   /* leader's commit index; the receiver takes min(commit, prev_index + n) */
    uint64_t round;      /* read round counter of this term, echoed in the reply */
    bool quiet;          /* only tells the commit index: no answer unless it is a refusal */
    raft_term last_term; /* term of entry prev_index + n_entries; 0 if n_entries is 0. Not sent. */
    uint32_t n_entries;
    const struct raft_entry *entries; /* sender: see raft_message_encode(); receiver: n_entries */
};

struct raft_msg_append_reply {
    bool rejected;         /* no entry (prev_index, prev_term) here */
    raft_index prev_index; /* as in the request */
    raft_index match;      /* durable here and known equal to the leader's log */
    raft_index received;   /* known equal to the leader's log, maybe not durable yet */
    raft_index hint_index; /* rejected: the receiver's last index <= prev_index whose term ... */
    raft_term hint_term;   /* ... is <= prev_term, and its term */
    uint64_t round;        /* as in the request */
    bool recovering;       /* the sender has lost entries that it had acknowledged: `match` counts
                              even where it is less than before */
};

struct raft_msg_snapshot {
    raft_index index; /* last entry the snapshot covers */
    raft_term index_term;
    uint64_t total; /* bytes of the whole snapshot */
    uint64_t offset;
    uint32_t len;                     /* bytes of this chunk; offset + len == total: the last one */
    const struct raft_config *config; /* configuration at `index`; in every chunk */
    const void *data;                 /* sender: see raft_message_encode(); receiver: len bytes */
};

struct raft_msg_snapshot_reply {
    raft_index index;
    uint64_t next_offset; /* bytes stored so far, i.e. the chunk wanted next */
    bool installed;       /* the whole snapshot is in force (or was not needed) */
    raft_index match;     /* as in raft_msg_append_reply, when installed */
};

struct raft_msg_read {
    uint64_t nonce; /* of the asking process: a reply to an earlier life must not count */
    uint64_t seq;
};

struct raft_msg_read_reply {
    uint64_t nonce;
    uint64_t seq; /* every read with a sequence number <= seq is served by `index` */
    raft_index index;
    bool refused; /* not leader any more, or no room: ask again */
};

struct raft_message {
    struct raft_uuid cluster;
    struct raft_uuid incarnation; /* of the sender's data directory */
    raft_id from;
    raft_id to;
    raft_term term; /* sender's current term, durable at the sender before it leaves */
    uint8_t type;   /* enum raft_message_type */
    union {
        struct raft_msg_vote vote;
        struct raft_msg_vote_reply vote_reply;
        struct raft_msg_append append;
        struct raft_msg_append_reply append_reply;
        struct raft_msg_snapshot snapshot;
        struct raft_msg_snapshot_reply snapshot_reply;
        struct raft_msg_read read;
        struct raft_msg_read_reply read_reply;
    } u;
};

/*
 * Who supplies payloads. The core keeps no payload bytes. In a message emitted by raft_step():
 *   - RAFT_MSG_APPEND: `entries` is NULL and n_entries counts the log entries prev_index + 1 ...
 * prev_index + n_entries; the host sets `entries` (in its copy of the message) from its log cache
 * or WAL before encoding. If the host encodes later than the step, the log may have been
 * overwritten meanwhile: raft_message_encode() therefore compares the last entry's term with
 * `last_term` (by the log matching property that one check covers all of them) and answers
 * RAFT_ERR_STALE: drop the message then, the core repairs. An entry no longer in the log
 * (compacted): drop the message too.
 *   - RAFT_MSG_SNAPSHOT: `data` is NULL; the host sets it to `len` bytes at `offset` of its
 * snapshot `index`. `config` points into the core and is valid until the next raft_step(): copy it
 * if the message waits. If that snapshot is gone: drop the message and post
 * RAFT_EVENT_SNAPSHOT_GONE.
 */

/* Bytes raft_message_encode() will write, for a message with its payloads set. Never fails. */
size_t raft_message_size(const struct raft_message *m);

/*
 * Writes the wire form. Returns the bytes written (> 0), or RAFT_ERR_NOSPACE, RAFT_ERR_STALE,
 * RAFT_ERR_TOO_BIG (more than RAFT_MAX_MESSAGE_BYTES), RAFT_ERR_INVALID (unknown type, payload not
 * set). Any thread; `buf` is untouched on failure.
 */
int64_t raft_message_encode(const struct raft_message *m, void *buf, size_t cap);

/*
 * Storage for the variable parts of a decoded message. `entries` belongs to the caller: as many as
 * it wishes to accept, at most RAFT_MAX_MESSAGE_ENTRIES are ever used.
 */
struct raft_message_room {
    struct raft_entry *entries;
    size_t max_entries;
    struct raft_config config;
};

/*
 * Decodes the first message in buf[0..len). Returns the bytes consumed (> 0) and fills `*m`, which
 * borrows from `buf` (payloads) and from `*room` (entries, config): both must outlive the use of
 * `*m`.
 *
 * RAFT_ERR_TRUNCATED  fewer bytes than the message says
 * RAFT_ERR_MALFORMED  lengths, types or values that no encoder writes
 * RAFT_ERR_VERSION    well framed, of an unknown version or type: `*skip` bytes lead to the next
 * RAFT_ERR_TOO_BIG    more entries than room->max_entries
 *
 * On failure `*m` is untouched. `skip` may be NULL. Safe for hostile input. Any thread.
 */
int64_t raft_message_decode(const void *buf, size_t len, struct raft_message *m,
                            struct raft_message_room *room, size_t *skip);

/* Name of a message type for logs ("APPEND"); never NULL. */
const char *raft_message_type_name(uint8_t type);

#ifdef __cplusplus
}
#endif

#endif
