/*
 * A damaged log (PAR, FAST'18): entries that were acknowledged may be gone, so the node must not
 * act as if it had never had them. The log is cut before the damage, and how far it once reached,
 * with the newest term and vote that can still be read, is kept in the file "recovering" until the
 * node has everything back. The file is durable before anything is cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "wal/crc32c.h"
#include "wal/wal_priv.h"

#define RECOVERING_NAME "recovering"
#define TEXT_MAX        256

int rafti_wal_recovering_read(struct raft_wal *wal, struct rafti_wal_evidence *evidence)
{
    struct rafti_wal_evidence found;
    char text[TEXT_MAX];
    unsigned crc;
    int crc_at = 0;

    int err = rafti_wal_text_read(wal, RECOVERING_NAME, text, sizeof text);
    if (err != RAFT_WAL_OK) {
        return err == RAFTI_WAL_IDENT_ABSENT ? RAFT_WAL_OK : err;
    }
    if (sscanf(text, "until %16" SCNx64 "\nterm %16" SCNx64 "\nvote %16" SCNx64 "\n%ncrc %x",
               &found.last, &found.term, &found.vote, &crc_at, &crc) != 4 ||
        crc != rafti_crc32c(0, text, (size_t)crc_at)) {
        return RAFT_WAL_CORRUPT;
    }
    *evidence = found;
    return RAFT_WAL_OK;
}

static int recovering_write(struct raft_wal *wal, const struct rafti_wal_evidence *evidence)
{
    char text[TEXT_MAX];
    int n = snprintf(text, sizeof text,
                     "until %016" PRIx64 "\nterm %016" PRIx64 "\nvote %016" PRIx64 "\n",
                     evidence->last, evidence->term, evidence->vote);

    n +=
        snprintf(text + n, sizeof text - (size_t)n, "crc %08x\n", rafti_crc32c(0, text, (size_t)n));
    return rafti_wal_text_write(wal, RECOVERING_NAME, text, (size_t)n);
}

int rafti_wal_salvage(struct raft_wal *wal, struct rafti_wal_replay *replay)
{
    const struct raft_wal_io *io = &wal->io;

    rafti_wal_log(wal, RAFT_WAL_LOG_ERROR,
                  "wal is damaged and was cut dir=%s: %s; entries up to %" PRIu64
                  " have to come back from the other nodes",
                  wal->dir, replay->text, replay->evidence.last);
    int err = recovering_write(wal, &replay->evidence);
    if (err != RAFT_WAL_OK) {
        return err;
    }
    /* From the end, so that what remains has no gap at any time. */
    while (replay->n_files > replay->n_good) {
        struct rafti_wal_file *file = &replay->files[replay->n_files - 1];
        char aside[RAFTI_WAL_NAME_MAX + 16];

        snprintf(aside, sizeof aside, "%s.damaged", file->name);
        if (io->renameat(io->arg, wal->dirfd, file->name, aside) < 0 ||
            io->fsync(io->arg, wal->dirfd) < 0) {
            return RAFT_WAL_IO;
        }
        io->close(io->arg, file->fd);
        replay->n_files--;
    }
    return RAFT_WAL_OK;
}

int raft_wal_mark_lost(struct raft_wal *wal, uint64_t until, uint64_t term, uint64_t vote)
{
    struct rafti_wal_evidence evidence = {.last = until, .term = term, .vote = vote};

    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    int err = recovering_write(wal, &evidence);
    if (err != RAFT_WAL_OK) {
        wal->dead = err;
    }
    return err;
}

int raft_wal_recovered(struct raft_wal *wal)
{
    const struct raft_wal_io *io = &wal->io;

    if (wal->dead != RAFT_WAL_OK) {
        return wal->dead;
    }
    int err = io->unlinkat(io->arg, wal->dirfd, RECOVERING_NAME);
    if ((err < 0 && err != -ENOENT) || io->fsync(io->arg, wal->dirfd) < 0) {
        wal->dead = RAFT_WAL_IO;
    }
    return wal->dead;
}
