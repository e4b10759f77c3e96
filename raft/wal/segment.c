#include "wal/segment_priv.h"

#include <string.h>

static bool is_zero(const uint8_t *p, uint64_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* A record that belongs to this segment, whatever it follows. */
static bool decode_own(const struct rafti_wal_segment_scan *scan, uint64_t at,
                       struct rafti_wal_header *out)
{
    return rafti_wal_record_decode(scan->bytes + at, scan->head.bytes - at, out) &&
           out->salt == (uint32_t)scan->head.salt;
}

/*
 * Something in batch scan->next_batch is invalid (PAR, FAST'18; reference 4.4 (7)). A batch is
 * written only after the one before it was flushed, so a later batch, or the mark saying that this
 * one had been flushed, proves damage; without either, it is the write the crash cut short.
 */
static bool proves_damage(const struct rafti_wal_segment_scan *scan, uint64_t batch_at)
{
    for (uint64_t at = batch_at; at < scan->head.bytes; at += RAFTI_WAL_BLOCK) {
        struct rafti_wal_header header;

        if (decode_own(scan, at, &header) && header.index > scan->next_batch &&
            (header.type == RAFT_WAL_RECORD_BATCH || header.type == RAFT_WAL_RECORD_MARK)) {
            return true;
        }
    }
    return false;
}

/* A whole record of this segment that was not written behind the one before it: that one is not
 * what it was (a lost or misdirected write left an earlier version in its place). */
static bool breaks_chain(const struct rafti_wal_segment_scan *scan, uint64_t at)
{
    struct rafti_wal_header header;

    return decode_own(scan, at, &header) && header.chain != scan->chain;
}

static void judge(struct rafti_wal_segment_scan *scan, uint64_t batch_at, uint64_t bad)
{
    scan->bad = bad;
    scan->broken = breaks_chain(scan, bad);
    if (scan->until != 0 || scan->broken || proves_damage(scan, batch_at)) {
        scan->verdict = RAFTI_WAL_DAMAGED;
        return;
    }
    bool clean = bad == batch_at && is_zero(scan->bytes + bad, scan->head.bytes - bad);
    scan->verdict = clean ? RAFTI_WAL_CLEAN : RAFTI_WAL_TORN;
}

/* Hands on the record at @at; returns its length with padding, 0 if it is invalid. */
static uint64_t take_record(struct rafti_wal_segment_scan *scan, uint64_t at, uint64_t limit,
                            struct rafti_wal_header *out, int *out_err)
{
    struct rafti_wal_header header;

    if (at + RAFTI_WAL_RECORD_HEADER > limit || !decode_own(scan, at, &header) ||
        header.chain != scan->chain) {
        return 0;
    }
    uint64_t len = rafti_align8(RAFTI_WAL_RECORD_HEADER + (uint64_t)header.len);
    if (len > limit - at) {
        return 0;
    }

    *out_err = scan->record == NULL ? 0
                                    : scan->record(scan->arg, &header, at,
                                                   scan->bytes + at + RAFTI_WAL_RECORD_HEADER);
    scan->chain = header.crc;
    scan->end = at + len;
    scan->records++;
    *out = header;
    return len;
}

/* One batch at @at. Returns true when all of it was valid. */
static bool take_batch(struct rafti_wal_segment_scan *scan, uint64_t at, uint64_t *out_next,
                       int *out_err)
{
    struct rafti_wal_header batch;

    if (!decode_own(scan, at, &batch) || batch.type != RAFT_WAL_RECORD_BATCH ||
        batch.index != scan->next_batch || batch.term > scan->head.bytes - at) {
        judge(scan, at, at);
        return false;
    }

    uint64_t limit = at + batch.term;
    uint64_t pos = at;
    while (pos < limit && pos != scan->until) {
        struct rafti_wal_header header;
        uint64_t len = take_record(scan, pos, limit, &header, out_err);

        if (len == 0 || (pos > at && header.type == RAFT_WAL_RECORD_BATCH)) {
            judge(scan, at, pos);
            return false;
        }
        if (*out_err != 0) {
            return false;
        }
        pos += len;
    }
    scan->batches++;
    scan->next_batch++;
    *out_next = rafti_align_block(limit);
    return true;
}

int rafti_wal_segment_run(struct rafti_wal_segment_scan *scan)
{
    uint64_t at = RAFTI_WAL_BLOCK;
    int err = 0;

    scan->chain = scan->head.prev_chain;
    scan->next_batch = scan->head.first_batch;
    scan->end = RAFTI_WAL_BLOCK;
    scan->verdict = RAFTI_WAL_CLEAN;

    while (at < scan->head.bytes && scan->end != scan->until) {
        struct rafti_wal_header mark;

        if (decode_own(scan, at, &mark) && mark.type == RAFT_WAL_RECORD_MARK &&
            mark.index == scan->next_batch && mark.chain == scan->chain && scan->until == 0) {
            bool rest_zero = is_zero(scan->bytes + at + RAFTI_WAL_BLOCK,
                                     scan->head.bytes - at - RAFTI_WAL_BLOCK);
            if (!rest_zero) {
                judge(scan, at, at);
            }
            return 0;
        }
        if (!take_batch(scan, at, &at, &err)) {
            return err;
        }
    }
    if (scan->until != 0 && scan->end != scan->until) {
        scan->verdict = RAFTI_WAL_DAMAGED;
        scan->bad = scan->end;
    }
    return 0;
}

void rafti_wal_evidence_hard(struct rafti_wal_evidence *evidence, uint64_t term, uint64_t vote)
{
    if (term >= evidence->term) { /* in the order of writing: the later vote of a term counts */
        evidence->term = term;
        evidence->vote = vote;
    }
}

void rafti_wal_evidence_last(struct rafti_wal_evidence *evidence, uint64_t last)
{
    evidence->last = last > evidence->last ? last : evidence->last;
}

void rafti_wal_evidence_gather(const struct rafti_wal_segment_scan *scan, uint64_t from,
                               struct rafti_wal_evidence *evidence)
{
    uint64_t end = scan->head.bytes - RAFTI_WAL_RECORD_HEADER;

    for (uint64_t at = rafti_align8(from); at <= end; at += 8) {
        const uint8_t *body = scan->bytes + at + RAFTI_WAL_RECORD_HEADER;
        struct rafti_wal_header header;

        if (rafti_wal_get64(scan->bytes + at) == 0 || !decode_own(scan, at, &header)) {
            continue;
        }
        if (header.type == RAFT_WAL_RECORD_ENTRY || header.type == RAFT_WAL_RECORD_RESET) {
            rafti_wal_evidence_last(evidence, header.index);
        } else if (header.type == RAFT_WAL_RECORD_HARD) {
            rafti_wal_evidence_hard(evidence, header.term, header.index);
        } else if (header.len >= RAFTI_WAL_BATCH_BODY) {
            rafti_wal_evidence_last(evidence, rafti_wal_get64(body));
        }
        if (header.type == RAFT_WAL_RECORD_MARK && header.len == RAFTI_WAL_MARK_BODY) {
            rafti_wal_evidence_hard(evidence, rafti_wal_get64(body + 8),
                                    rafti_wal_get64(body + 16));
        }
    }
}
