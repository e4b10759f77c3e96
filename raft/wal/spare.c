/*
 * The spare segment: written with zeros once, so that later flushes find allocated, written blocks
 * and need no metadata commit, and so that lack of space is known a whole segment ahead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wal/wal_priv.h"

#define ZERO_CHUNK ((size_t)1 << 20)

static int zero_write(struct raft_wal *wal, int fd)
{
    size_t chunk = wal->segment_bytes < ZERO_CHUNK ? wal->segment_bytes : ZERO_CHUNK;
    uint8_t *zeros = calloc(1, chunk);
    int err = zeros == NULL ? -ENOMEM : 0;

    for (size_t at = 0; at < wal->segment_bytes && err == 0; at += chunk) {
        size_t len = wal->segment_bytes - at < chunk ? wal->segment_bytes - at : chunk;
        err = rafti_wal_write_fully(&wal->io, fd, zeros, len, at);
    }
    free(zeros);
    return err != 0 ? err : wal->io.fsync(wal->io.arg, fd);
}

/* Returns the state that results, and its descriptor if READY. */
static enum rafti_wal_spare_state make(struct raft_wal *wal, int *out_fd)
{
    const struct raft_wal_io *io = &wal->io;
    int fd =
        io->openat(io->arg, wal->dirfd, RAFTI_WAL_SPARE_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int err = fd < 0 ? fd : zero_write(wal, fd);

    if (err == 0) {
        *out_fd = fd;
        return RAFTI_WAL_SPARE_READY;
    }
    if (fd >= 0) {
        io->close(io->arg, fd);
        io->unlinkat(io->arg, wal->dirfd, RAFTI_WAL_SPARE_NAME);
    }
    if (err == -ENOSPC || err == -EDQUOT || err == -ENOMEM) {
        return RAFTI_WAL_SPARE_NOSPACE;
    }
    rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal spare segment failed dir=%s errno=%d", wal->dir,
                  -err);
    return RAFTI_WAL_SPARE_FAILED;
}

/* Called and returns with the lock held. */
static void make_unlocked(struct raft_wal *wal)
{
    struct rafti_wal_spare *spare = &wal->spare;
    bool was_full = spare->full;
    int fd = -1;

    spare->state = RAFTI_WAL_SPARE_MAKING;
    spare->nudge = false;
    pthread_mutex_unlock(&spare->lock);
    enum rafti_wal_spare_state state = make(wal, &fd);
    if (state == RAFTI_WAL_SPARE_NOSPACE && !was_full) {
        rafti_wal_log(wal, RAFT_WAL_LOG_WARN,
                      "wal has no space for a spare segment dir=%s bytes=%zu", wal->dir,
                      wal->segment_bytes);
    }
    pthread_mutex_lock(&spare->lock);
    spare->state = state;
    spare->full = state == RAFTI_WAL_SPARE_NOSPACE;
    spare->fd = fd;
    pthread_cond_broadcast(&spare->changed);
}

static void wait_for_space(struct rafti_wal_spare *spare)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    while (!spare->stop && !spare->nudge) {
        if (pthread_cond_timedwait(&spare->changed, &spare->lock, &until) == ETIMEDOUT) {
            return;
        }
    }
}

static void *spare_main(void *arg)
{
    struct raft_wal *wal = arg;
    struct rafti_wal_spare *spare = &wal->spare;

    pthread_mutex_lock(&spare->lock);
    while (!spare->stop) {
        if (spare->state == RAFTI_WAL_SPARE_NONE) {
            make_unlocked(wal);
        } else if (spare->state == RAFTI_WAL_SPARE_NOSPACE) {
            wait_for_space(spare);
            if (!spare->stop) {
                make_unlocked(wal);
            }
        } else {
            pthread_cond_wait(&spare->changed, &spare->lock);
        }
    }
    pthread_mutex_unlock(&spare->lock);
    return NULL;
}

int rafti_wal_spare_init(struct raft_wal *wal)
{
    struct rafti_wal_spare *spare = &wal->spare;
    pthread_condattr_t attr;

    spare->fd = -1;
    pthread_mutex_init(&spare->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&spare->changed, &attr);
    pthread_condattr_destroy(&attr);
    return RAFT_WAL_OK;
}

void rafti_wal_spare_fini(struct raft_wal *wal)
{
    struct rafti_wal_spare *spare = &wal->spare;

    if (spare->has_thread) {
        pthread_mutex_lock(&spare->lock);
        spare->stop = true;
        pthread_cond_broadcast(&spare->changed);
        pthread_mutex_unlock(&spare->lock);
        pthread_join(spare->thread, NULL);
    }
    if (spare->fd >= 0) {
        wal->io.close(wal->io.arg, spare->fd);
    }
    pthread_cond_destroy(&spare->changed);
    pthread_mutex_destroy(&spare->lock);
}

int rafti_wal_spare_want(struct raft_wal *wal)
{
    struct rafti_wal_spare *spare = &wal->spare;
    int err = RAFT_WAL_OK;

    pthread_mutex_lock(&spare->lock);
    if (spare->state == RAFTI_WAL_SPARE_TAKEN) {
        spare->state = RAFTI_WAL_SPARE_NONE;
    }
    if (wal->inline_spare) {
        if (spare->state == RAFTI_WAL_SPARE_NONE || spare->state == RAFTI_WAL_SPARE_NOSPACE) {
            make_unlocked(wal);
        }
    } else if (!spare->has_thread) {
        if (pthread_create(&spare->thread, NULL, spare_main, wal) != 0) {
            err = RAFT_WAL_NO_MEMORY;
        } else {
            spare->has_thread = true;
        }
    } else {
        pthread_cond_broadcast(&spare->changed);
    }
    pthread_mutex_unlock(&spare->lock);
    return err;
}

int rafti_wal_spare_take(struct raft_wal *wal, int *out_fd)
{
    struct rafti_wal_spare *spare = &wal->spare;
    int err = RAFT_WAL_OK;

    pthread_mutex_lock(&spare->lock);
    if (!spare->has_thread && spare->state != RAFTI_WAL_SPARE_READY &&
        spare->state != RAFTI_WAL_SPARE_FAILED) {
        make_unlocked(wal);
    }
    while (spare->state == RAFTI_WAL_SPARE_NONE || spare->state == RAFTI_WAL_SPARE_MAKING) {
        pthread_cond_wait(&spare->changed, &spare->lock);
    }
    if (spare->state == RAFTI_WAL_SPARE_READY) {
        *out_fd = spare->fd;
        spare->fd = -1;
        spare->state = RAFTI_WAL_SPARE_TAKEN;
    } else {
        err = spare->state == RAFTI_WAL_SPARE_NOSPACE ? RAFT_WAL_FULL : RAFT_WAL_IO;
    }
    pthread_mutex_unlock(&spare->lock);
    return err;
}

void rafti_wal_spare_nudge(struct raft_wal *wal)
{
    struct rafti_wal_spare *spare = &wal->spare;

    pthread_mutex_lock(&spare->lock);
    if (spare->state == RAFTI_WAL_SPARE_NOSPACE) {
        spare->nudge = true;
        pthread_cond_broadcast(&spare->changed);
        if (wal->inline_spare) {
            make_unlocked(wal);
        }
    }
    pthread_mutex_unlock(&spare->lock);
}

bool raft_wal_is_full(struct raft_wal *wal)
{
    pthread_mutex_lock(&wal->spare.lock);
    bool full = wal->spare.full;
    pthread_mutex_unlock(&wal->spare.lock);
    return full;
}
