/* Reading one segment: where its valid records end, and whether that end is natural. */
#ifndef RAFT_WAL_SEGMENT_PRIV_H
#define RAFT_WAL_SEGMENT_PRIV_H

#include "wal/format_priv.h"

enum rafti_wal_verdict {
    RAFTI_WAL_CLEAN,  /* ends at a batch end; nothing but zeros or the mark behind it */
    RAFTI_WAL_TORN,   /* ends inside an unfinished last batch */
    RAFTI_WAL_DAMAGED /* something valid lies behind the first invalid record */
};

/* What later records say about the log that a damaged one hides. */
struct rafti_wal_evidence {
    uint64_t last; /* highest index that was ever durable */
    uint64_t term; /* newest hard state */
    uint64_t vote;
};

struct rafti_wal_segment_scan {
    const uint8_t *bytes; /* the whole segment */
    struct rafti_wal_head head;
    uint64_t until; /* prev_end of the next segment; 0 if this is the last one */

    /* Called for each valid record, BATCH included; non-zero ends the scan. */
    int (*record)(void *arg, const struct rafti_wal_header *header, uint64_t offset,
                  const uint8_t *body);
    void *arg;

    /* results */
    enum rafti_wal_verdict verdict;
    uint64_t end;        /* behind the last valid record */
    uint64_t bad;        /* offset of the first invalid one, if TORN or DAMAGED */
    uint32_t chain;      /* header checksum of the last valid record */
    uint64_t next_batch; /* number for the next batch */
    uint64_t batches;
    uint64_t records;
    bool broken; /* DAMAGED by an earlier version of a block: what is before is not sure either */
};

/* 0, or what record() returned. */
int rafti_wal_segment_run(struct rafti_wal_segment_scan *scan);

/* Raises @evidence by all valid records of the segment behind @from. */
void rafti_wal_evidence_gather(const struct rafti_wal_segment_scan *scan, uint64_t from,
                               struct rafti_wal_evidence *evidence);
void rafti_wal_evidence_hard(struct rafti_wal_evidence *evidence, uint64_t term, uint64_t vote);
void rafti_wal_evidence_last(struct rafti_wal_evidence *evidence, uint64_t last);

#endif
