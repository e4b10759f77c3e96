/* Offline reading, for journal dump and verify. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wal/replay_priv.h"

static void fill_report(const struct rafti_wal_replay *replay, struct raft_wal_report *report)
{
    const struct rafti_wal_index *index = &replay->index;

    report->segments = replay->n_files;
    report->batches = replay->batches;
    report->records = replay->records;
    report->torn = replay->n_files > 0 && replay->last.verdict == RAFTI_WAL_TORN;
    report->state.torn = report->torn;
    report->state.created = replay->n_files == 0;
    if (replay->n_files > 0) {
        memcpy(report->state.incarnation, replay->files[0].head.incarnation, 16);
    }
    report->state.term = index->term;
    report->state.vote = index->vote;
    report->state.first_index = index->first;
    report->state.last_index = index->last;
    report->state.prev_term = index->prev_term;
    snprintf(report->text, sizeof report->text, "%s", replay->text);
}

int raft_wal_scan(const char *dir, const struct raft_wal_io *io,
                  const struct raft_wal_visitor *visitor, struct raft_wal_report *report)
{
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dirfd < 0) {
        return RAFT_WAL_IO;
    }
    struct rafti_wal_replay replay = {
        .io = io != NULL ? io : raft_wal_io_posix(), .dirfd = dirfd, .visitor = visitor};
    rafti_wal_index_init(&replay.index, 1, 0);

    int err = rafti_wal_replay_list(&replay);
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_replay_run(&replay);
    }
    memset(report, 0, sizeof *report);
    fill_report(&replay, report);
    if (err == RAFT_WAL_CORRUPT) {
        report->corrupt = true;
        report->torn = false;
        err = RAFT_WAL_OK;
    }
    rafti_wal_replay_fini(&replay);
    close(dirfd);
    return err;
}
