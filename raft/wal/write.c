/* Gathering records and making them durable: one batch, one write, one flush. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wal/crc32c.h"
#include "wal/wal_priv.h"

/* Every batch begins with a BATCH and a HARD record. */
#define HARD_AT  (RAFTI_WAL_RECORD_HEADER + RAFTI_WAL_BATCH_BODY)
#define PREAMBLE (HARD_AT + RAFTI_WAL_RECORD_HEADER)

int rafti_wal_write_fully(const struct raft_wal_io *io, int fd, const void *buf, size_t len,
                          uint64_t offset)
{
    const uint8_t *p = buf;

    while (len > 0) {
        ssize_t n = io->pwrite(io->arg, fd, p, len, (off_t)offset);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? -EIO : (int)n;
        }
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

void rafti_wal_stage_reset(struct raft_wal *wal)
{
    if (wal->batch_len > PREAMBLE) {
        return; /* something is staged: its bounds stay */
    }
    wal->batch_len = PREAMBLE;
    wal->staged_entries = 0;
    wal->staged_first = wal->index.first;
    wal->staged_last = wal->index.last;
    if (!wal->staged_hard) {
        wal->staged_term = wal->index.term;
        wal->staged_vote = wal->index.vote;
    }
}

int raft_wal_add_hard_state(struct raft_wal *wal, uint64_t term, uint64_t vote)
{
    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    if (term < wal->staged_term) {
        return RAFT_WAL_INVALID;
    }
    wal->staged_hard = true;
    wal->staged_term = term;
    wal->staged_vote = vote;
    return RAFT_WAL_OK;
}

/* Appends a record without chain and header checksum: those are filled in at the flush. */
static int stage(struct raft_wal *wal, const struct rafti_wal_header *header, const void *data)
{
    size_t len = rafti_align8(RAFTI_WAL_RECORD_HEADER + (size_t)header->len);

    if (len > wal->batch_bytes - wal->batch_len) {
        return RAFT_WAL_BATCH_FULL;
    }
    uint8_t *at = wal->batch + wal->batch_len;
    struct rafti_wal_header copy = *header;

    memset(at + len - 8, 0, 8); /* the padding */
    if (data != NULL && header->len > 0) {
        memcpy(at + RAFTI_WAL_RECORD_HEADER, data, header->len);
    }
    copy.crc_body = rafti_crc32c(0, at + RAFTI_WAL_RECORD_HEADER, header->len);
    rafti_wal_header_encode(&copy, at);
    wal->batch_len += len;
    return RAFT_WAL_OK;
}

int raft_wal_add_entry(struct raft_wal *wal, const struct raft_wal_entry *entry)
{
    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    if (entry->len > raft_wal_max_entry(wal) || entry->index < wal->staged_first ||
        entry->index > wal->staged_last + 1) {
        return RAFT_WAL_INVALID;
    }
    struct rafti_wal_header header = {
        .len = (uint32_t)entry->len,
        .type = RAFT_WAL_RECORD_ENTRY,
        .entry_type = entry->type,
        .index = entry->index,
        .term = entry->term,
    };
    int err = stage(wal, &header, entry->data);
    if (err == RAFT_WAL_OK) {
        wal->staged_last = entry->index;
        wal->staged_entries++;
    }
    return err;
}

int raft_wal_add_reset(struct raft_wal *wal, uint64_t index, uint64_t term)
{
    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    struct rafti_wal_header header = {.type = RAFT_WAL_RECORD_RESET, .index = index, .term = term};
    int err = stage(wal, &header, NULL);
    if (err == RAFT_WAL_OK) {
        wal->staged_first = index + 1;
        wal->staged_last = index;
    }
    return err;
}

size_t raft_wal_max_entry(const struct raft_wal *wal)
{
    return wal->batch_bytes - PREAMBLE - RAFTI_WAL_RECORD_HEADER - 8;
}

/* Chains the staged records to the log and pads the batch. Returns the bytes to write. */
static size_t seal(struct raft_wal *wal, uint32_t *out_chain)
{
    uint32_t salt = (uint32_t)wal->salt;
    uint8_t *body = wal->batch + RAFTI_WAL_RECORD_HEADER;

    rafti_wal_put64(body, wal->index.last);
    struct rafti_wal_header batch = {
        .crc_body = rafti_crc32c(0, body, RAFTI_WAL_BATCH_BODY),
        .len = RAFTI_WAL_BATCH_BODY,
        .type = RAFT_WAL_RECORD_BATCH,
        .index = wal->next_batch,
        .term = wal->batch_len,
        .chain = wal->chain,
        .salt = salt,
    };
    rafti_wal_header_encode(&batch, wal->batch);

    struct rafti_wal_header hard = {
        .type = RAFT_WAL_RECORD_HARD,
        .index = wal->staged_vote,
        .term = wal->staged_term,
        .chain = batch.crc,
        .salt = salt,
    };
    rafti_wal_header_encode(&hard, wal->batch + HARD_AT);

    uint32_t chain = hard.crc;
    for (size_t at = PREAMBLE; at < wal->batch_len;) {
        struct rafti_wal_header header;

        (void)rafti_wal_header_decode(wal->batch + at, &header);
        header.chain = chain;
        header.salt = salt;
        rafti_wal_header_encode(&header, wal->batch + at);
        chain = header.crc;
        at += rafti_align8(RAFTI_WAL_RECORD_HEADER + (size_t)header.len);
    }

    size_t total = rafti_align_block(wal->batch_len);
    memset(wal->batch + wal->batch_len, 0, total - wal->batch_len);
    *out_chain = chain;
    return total;
}

/* What is durable now becomes what readers see. Called with the lock held; can't fail. */
static void publish(struct raft_wal *wal)
{
    for (size_t at = HARD_AT; at < wal->batch_len;) {
        struct rafti_wal_header header;

        (void)rafti_wal_header_decode(wal->batch + at, &header);
        (void)rafti_wal_index_replay(&wal->index, &header, (uint32_t)wal->number,
                                     (uint32_t)(wal->pos + at));
        at += rafti_align8(RAFTI_WAL_RECORD_HEADER + (size_t)header.len);
    }
}

static uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int write_batch(struct raft_wal *wal, size_t total)
{
    int fd = wal->segments[wal->n_segments - 1]->fd;

    int err = rafti_wal_write_fully(&wal->io, fd, wal->batch, total, wal->pos);
    if (err == 0) {
        err = wal->io.fdatasync(wal->io.arg, fd);
    }
    if (err != 0) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal write failed dir=%s errno=%d", wal->dir, -err);
        return RAFT_WAL_IO;
    }
    return RAFT_WAL_OK;
}

static void account(struct raft_wal *wal, size_t total, uint64_t took)
{
    wal->stats.flushes++;
    wal->stats.bytes += total;
    wal->stats.entries += wal->staged_entries;
    wal->stats.last_flush_ns = took;
    if (took > wal->stats.max_flush_ns) {
        wal->stats.max_flush_ns = took;
    }
}

int raft_wal_flush(struct raft_wal *wal)
{
    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    if (wal->batch_len == PREAMBLE && !wal->staged_hard) {
        return RAFT_WAL_OK;
    }

    pthread_mutex_lock(&wal->lock);
    int err = rafti_wal_index_reserve(&wal->index, (size_t)wal->staged_entries);
    pthread_mutex_unlock(&wal->lock);
    if (err != RAFT_WAL_OK) {
        return err;
    }
    if (wal->pos + rafti_align_block(wal->batch_len) > wal->capacity) {
        err = rafti_wal_segment_roll(wal);
        if (err != RAFT_WAL_OK) {
            wal->dead = err == RAFT_WAL_FULL ? RAFT_WAL_OK : RAFT_WAL_IO;
            return err;
        }
    }

    uint32_t chain;
    uint64_t started = clock_ns();
    size_t total = seal(wal, &chain);
    err = write_batch(wal, total);
    if (err != RAFT_WAL_OK) {
        wal->dead = err;
        return err;
    }

    pthread_mutex_lock(&wal->lock);
    publish(wal);
    account(wal, total, clock_ns() - started);
    pthread_mutex_unlock(&wal->lock);
    wal->end = wal->pos + wal->batch_len;
    wal->pos += total;
    wal->chain = chain;
    wal->next_batch++;
    wal->marked = false;
    wal->staged_hard = false;
    wal->batch_len = PREAMBLE;
    rafti_wal_stage_reset(wal);
    return RAFT_WAL_OK;
}

int raft_wal_idle(struct raft_wal *wal)
{
    if (wal->dead != RAFT_WAL_OK || wal->marked || wal->pos == RAFTI_WAL_BLOCK ||
        wal->pos + RAFTI_WAL_BLOCK > wal->capacity) {
        return wal->dead;
    }
    uint8_t block[RAFTI_WAL_BLOCK] = {0};
    uint8_t *body = block + RAFTI_WAL_RECORD_HEADER;

    rafti_wal_put64(body, wal->index.last);
    rafti_wal_put64(body + 8, wal->index.term);
    rafti_wal_put64(body + 16, wal->index.vote);
    struct rafti_wal_header mark = {
        .crc_body = rafti_crc32c(0, body, RAFTI_WAL_MARK_BODY),
        .len = RAFTI_WAL_MARK_BODY,
        .type = RAFT_WAL_RECORD_MARK,
        .index = wal->next_batch,
        .chain = wal->chain,
        .salt = (uint32_t)wal->salt,
    };

    rafti_wal_header_encode(&mark, block);
    int fd = wal->segments[wal->n_segments - 1]->fd;
    if (rafti_wal_write_fully(&wal->io, fd, block, sizeof block, wal->pos) != 0) {
        wal->dead = RAFT_WAL_IO;
        return wal->dead;
    }
    wal->marked = true;
    return RAFT_WAL_OK;
}
