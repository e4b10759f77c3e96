/* Reading durable entries back, from any thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wal/wal_priv.h"

void raft_wal_bounds(struct raft_wal *wal, uint64_t *out_first, uint64_t *out_last)
{
    pthread_mutex_lock(&wal->lock);
    *out_first = wal->index.first;
    *out_last = wal->index.last;
    pthread_mutex_unlock(&wal->lock);
}

uint64_t raft_wal_term(struct raft_wal *wal, uint64_t index)
{
    pthread_mutex_lock(&wal->lock);
    const struct rafti_wal_pos *pos = rafti_wal_index_find(&wal->index, index);
    uint64_t term = pos == NULL ? 0 : pos->term;
    pthread_mutex_unlock(&wal->lock);
    return term;
}

int raft_wal_peek(struct raft_wal *wal, uint64_t index, struct raft_wal_entry *out)
{
    int err = RAFT_WAL_RANGE;

    pthread_mutex_lock(&wal->lock);
    const struct rafti_wal_pos *pos = rafti_wal_index_find(&wal->index, index);
    if (pos != NULL) {
        *out = (struct raft_wal_entry){
            .index = index, .term = pos->term, .type = pos->entry_type, .len = pos->len};
        err = RAFT_WAL_OK;
    }
    pthread_mutex_unlock(&wal->lock);
    return err;
}

void raft_wal_get_stats(struct raft_wal *wal, struct raft_wal_stats *out)
{
    pthread_mutex_lock(&wal->lock);
    *out = wal->stats;
    pthread_mutex_unlock(&wal->lock);
}

static int read_record(struct raft_wal *wal, int fd, const struct rafti_wal_pos *pos,
                       uint64_t index, uint8_t *buf)
{
    size_t want = RAFTI_WAL_RECORD_HEADER + (size_t)pos->len;
    size_t got = 0;

    while (got < want) {
        ssize_t n =
            wal->io.pread(wal->io.arg, fd, buf + got, want - got, (off_t)(pos->offset + got));
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return RAFT_WAL_IO;
        }
        got += (size_t)n;
    }

    struct rafti_wal_header header;
    if (!rafti_wal_record_decode(buf, want, &header) || header.index != index ||
        header.term != pos->term || header.len != pos->len) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR,
                      "wal record damaged dir=%s segment=%u offset=%u index=%llu", wal->dir,
                      pos->segment, pos->offset, (unsigned long long)index);
        return RAFT_WAL_CORRUPT;
    }
    return RAFT_WAL_OK;
}

/* Looks @index up and takes a reference on its segment. */
static struct rafti_wal_segment *locate(struct raft_wal *wal, uint64_t index,
                                        struct rafti_wal_pos *out)
{
    struct rafti_wal_segment *segment = NULL;

    pthread_mutex_lock(&wal->lock);
    const struct rafti_wal_pos *pos = rafti_wal_index_find(&wal->index, index);
    if (pos != NULL) {
        *out = *pos;
        segment = rafti_wal_segment_get(wal, pos->segment);
    }
    pthread_mutex_unlock(&wal->lock);
    return segment;
}

static void unlocate(struct raft_wal *wal, struct rafti_wal_segment *segment)
{
    pthread_mutex_lock(&wal->lock);
    rafti_wal_segment_put(wal, segment);
    pthread_mutex_unlock(&wal->lock);
}

int raft_wal_read(struct raft_wal *wal, uint64_t index, struct raft_wal_entry *out, size_t max,
                  void *buf, size_t cap, size_t *out_n)
{
    uint8_t *p = buf;
    size_t n = 0;

    for (; n < max; n++) {
        struct rafti_wal_pos pos;
        struct rafti_wal_segment *segment = locate(wal, index + n, &pos);

        if (segment == NULL) {
            if (n == 0) {
                return RAFT_WAL_RANGE;
            }
            break;
        }
        size_t need = rafti_align8(RAFTI_WAL_RECORD_HEADER + (size_t)pos.len);
        if (need > cap) {
            unlocate(wal, segment);
            if (n == 0) {
                out[0] = (struct raft_wal_entry){.index = index, .term = pos.term, .len = pos.len};
            }
            break;
        }
        int err = read_record(wal, segment->fd, &pos, index + n, p);
        unlocate(wal, segment);
        if (err != RAFT_WAL_OK) {
            return err;
        }
        out[n] = (struct raft_wal_entry){
            .index = index + n,
            .term = pos.term,
            .type = pos.entry_type,
            .data = p + RAFTI_WAL_RECORD_HEADER,
            .len = pos.len,
        };
        p += need;
        cap -= need;
    }
    *out_n = n;
    return RAFT_WAL_OK;
}
