/* Small text files of the log directory: replaced as a whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "wal/wal_priv.h"

#define TMP_NAME "text.tmp"

int rafti_wal_text_read(struct raft_wal *wal, const char *name, char *text, size_t cap)
{
    int fd = wal->io.openat(wal->io.arg, wal->dirfd, name, O_RDONLY, 0);

    if (fd == -ENOENT) {
        return RAFTI_WAL_IDENT_ABSENT;
    }
    if (fd < 0) {
        return RAFT_WAL_IO;
    }
    ssize_t n = wal->io.pread(wal->io.arg, fd, text, cap - 1, 0);
    wal->io.close(wal->io.arg, fd);
    if (n < 0) {
        return RAFT_WAL_IO;
    }
    text[n] = '\0';
    return RAFT_WAL_OK;
}

int rafti_wal_text_write(struct raft_wal *wal, const char *name, const char *text, size_t len)
{
    const struct raft_wal_io *io = &wal->io;

    int fd = io->openat(io->arg, wal->dirfd, TMP_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        return fd == -ENOSPC || fd == -EDQUOT ? RAFT_WAL_FULL : RAFT_WAL_IO;
    }
    int err = rafti_wal_write_fully(io, fd, text, len, 0);
    if (err == 0) {
        err = io->fsync(io->arg, fd);
    }
    io->close(io->arg, fd);
    if (err == 0) {
        err = io->renameat(io->arg, wal->dirfd, TMP_NAME, name);
    }
    if (err == 0) {
        err = io->fsync(io->arg, wal->dirfd);
    }
    if (err == -ENOSPC || err == -EDQUOT) {
        return RAFT_WAL_FULL;
    }
    return err < 0 ? RAFT_WAL_IO : RAFT_WAL_OK;
}
