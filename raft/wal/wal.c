/* Opening, recovering and closing a log. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wal/wal_priv.h"

#define DEFAULT_SEGMENT_BYTES ((size_t)16 << 20)
#define DEFAULT_BATCH_BYTES   ((size_t)4 << 20)
#define LOG_LINE_MAX          512

const char *raft_wal_strerror(int status)
{
    switch (status) {
#define RAFT_WAL_STATUS_TEXT(name, value, text)                                                    \
    case value: return text;
        RAFT_WAL_STATUS_TABLE(RAFT_WAL_STATUS_TEXT)
#undef RAFT_WAL_STATUS_TEXT
    default: return "unknown status";
    }
}

void rafti_wal_log(struct raft_wal *wal, enum raft_wal_log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    va_list ap;

    if (wal->log == NULL) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    wal->log(wal->log_arg, level, line);
}

static int check_opts(const struct raft_wal_opts *opts)
{
    size_t bytes = opts->segment_bytes;

    if (opts->dir == NULL || opts->dir[0] == '\0' || opts->cluster_id == 0 || opts->node_id == 0) {
        return RAFT_WAL_INVALID;
    }
    if (bytes != 0 && (bytes < RAFTI_WAL_SEGMENT_MIN || bytes > RAFTI_WAL_SEGMENT_MAX ||
                       bytes % RAFTI_WAL_BLOCK != 0)) {
        return RAFT_WAL_INVALID;
    }
    return RAFT_WAL_OK;
}

static int init(struct raft_wal *wal, const struct raft_wal_opts *opts)
{
    wal->io = opts->io != NULL ? *opts->io : *raft_wal_io_posix();
    wal->log = opts->log;
    wal->log_arg = opts->log_arg;
    wal->dirfd = -1;
    wal->lockfd = -1;
    wal->cluster_id = opts->cluster_id;
    wal->node_id = opts->node_id;
    wal->inline_spare = opts->inline_spare;
    wal->salvage = opts->salvage;
    wal->segment_bytes = opts->segment_bytes != 0 ? opts->segment_bytes : DEFAULT_SEGMENT_BYTES;
    size_t room = wal->segment_bytes - RAFTI_WAL_BLOCK;
    size_t batch =
        opts->batch_bytes != 0 ? rafti_align_block(opts->batch_bytes) : DEFAULT_BATCH_BYTES;
    wal->batch_bytes = batch < room ? batch : room;
    pthread_mutex_init(&wal->lock, NULL);
    rafti_wal_index_init(&wal->index, 1, 0);
    rafti_wal_spare_init(wal);

    wal->dir = strdup(opts->dir);
    /* Block-aligned, so that the same buffer can serve an O_DIRECT descriptor. */
    wal->batch = aligned_alloc(RAFTI_WAL_BLOCK, wal->batch_bytes);
    return wal->dir == NULL || wal->batch == NULL ? RAFT_WAL_NO_MEMORY : RAFT_WAL_OK;
}

/* A new directory is only durable with its entry in the parent. */
static int sync_parent(struct raft_wal *wal)
{
    int fd = openat(wal->dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 ? -errno : wal->io.fsync(wal->io.arg, fd);

    if (fd >= 0) {
        close(fd);
    }
    return err < 0 ? RAFT_WAL_IO : RAFT_WAL_OK;
}

static int open_dir(struct raft_wal *wal)
{
    bool made = mkdir(wal->dir, 0700) == 0;

    if (!made && errno != EEXIST) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal mkdir failed dir=%s errno=%d", wal->dir, errno);
        return errno == ENOSPC ? RAFT_WAL_FULL : RAFT_WAL_IO;
    }
    wal->dirfd = open(wal->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (wal->dirfd >= 0) {
        wal->lockfd = openat(wal->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    if (wal->lockfd < 0) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal open failed dir=%s errno=%d", wal->dir, errno);
        return errno == ENOSPC ? RAFT_WAL_FULL : RAFT_WAL_IO;
    }
    if (flock(wal->lockfd, LOCK_EX | LOCK_NB) < 0) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal directory is in use dir=%s", wal->dir);
        return RAFT_WAL_LOCKED;
    }
    return made ? sync_parent(wal) : RAFT_WAL_OK;
}

/*
 * Segments without an incarnation: the directory's making was cut short. Nothing can have been
 * acknowledged, unless somebody removed the file; the first batch tells the two apart.
 */
static int drop_unfinished(struct raft_wal *wal, const struct rafti_wal_replay *replay)
{
    uint8_t block[RAFTI_WAL_RECORD_HEADER];
    const struct rafti_wal_file *file = &replay->files[0];
    static const uint8_t zeros[RAFTI_WAL_RECORD_HEADER];

    if (replay->n_files > 1 ||
        wal->io.pread(wal->io.arg, file->fd, block, sizeof block, RAFTI_WAL_BLOCK) !=
            (ssize_t)sizeof block ||
        memcmp(block, zeros, sizeof block) != 0) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR,
                      "wal has segments but no incarnation file dir=%s: it was removed", wal->dir);
        return RAFT_WAL_CORRUPT;
    }
    if (wal->io.unlinkat(wal->io.arg, wal->dirfd, file->name) < 0) {
        return RAFT_WAL_IO;
    }
    return RAFT_WAL_OK;
}

static int create(struct raft_wal *wal)
{
    int err = rafti_wal_random(wal->incarnation, sizeof wal->incarnation);

    wal->next_batch = 1;
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_segment_roll(wal);
    }
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_ident_write(wal);
    }
    return err;
}

/* Takes over what was replayed. */
static int adopt(struct raft_wal *wal, struct rafti_wal_replay *replay)
{
    const struct rafti_wal_head *head = &replay->files[replay->n_files - 1].head;

    for (size_t i = 0; i < replay->n_files; i++) {
        struct rafti_wal_file *file = &replay->files[i];
        if (memcmp(file->head.incarnation, wal->incarnation, 16) != 0) {
            return RAFT_WAL_MISMATCH;
        }
        int err = rafti_wal_segment_add(wal, (uint32_t)file->number, file->fd);
        if (err != RAFT_WAL_OK) {
            return err;
        }
        file->fd = -1;
    }
    rafti_wal_index_fini(&wal->index);
    wal->index = replay->index;
    replay->index = (struct rafti_wal_index){0};
    wal->number = head->number;
    wal->salt = head->salt;
    wal->capacity = head->bytes;
    wal->end = replay->last.end;
    wal->pos = rafti_align_block(replay->last.end);
    wal->chain = replay->last.chain;
    wal->next_batch = replay->last.next_batch;
    wal->stats.segments = wal->n_segments;

    if (replay->salvaged) {
        wal->next_batch++;
        return rafti_wal_segment_roll(wal);
    }
    if (replay->last.verdict == RAFTI_WAL_TORN) {
        /* Never write behind leftovers: they could be taken for records of a later batch. */
        rafti_wal_log(wal, RAFT_WAL_LOG_WARN, "wal dropped an unfinished batch dir=%s: %s",
                      wal->dir, replay->text);
        wal->next_batch++;
        return rafti_wal_segment_roll(wal);
    }
    return rafti_wal_spare_want(wal);
}

static int recover_existing(struct raft_wal *wal, struct rafti_wal_replay *replay,
                            struct raft_wal_state *state)
{
    struct rafti_wal_evidence *evidence = &replay->evidence;

    int err = rafti_wal_recovering_read(wal, evidence);
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_replay_run(replay);
    }
    if (err != RAFT_WAL_OK) {
        return err;
    }
    state->torn = replay->last.verdict == RAFTI_WAL_TORN;
    state->lost_until = evidence->last;
    if (evidence->term > replay->index.term ||
        (evidence->term == replay->index.term && replay->salvaged)) {
        replay->index.term = evidence->term;
        replay->index.vote = evidence->vote;
    }
    if (replay->salvaged) {
        err = rafti_wal_salvage(wal, replay);
    }
    return err != RAFT_WAL_OK ? err : adopt(wal, replay);
}

static int recover(struct raft_wal *wal, struct raft_wal_state *state)
{
    struct rafti_wal_replay replay = {
        .io = &wal->io, .dirfd = wal->dirfd, .writable = true, .salvage = wal->salvage};

    int ident = rafti_wal_ident_read(wal);
    int err = ident < 0 ? ident : rafti_wal_replay_list(&replay);
    if (err == RAFT_WAL_OK && ident == RAFTI_WAL_IDENT_ABSENT) {
        state->created = true;
        err = replay.n_files > 0 ? drop_unfinished(wal, &replay) : RAFT_WAL_OK;
        if (err == RAFT_WAL_OK) {
            err = create(wal);
        }
    } else if (err == RAFT_WAL_OK && replay.n_files == 0) {
        snprintf(replay.text, sizeof replay.text, "all segments are gone");
        err = RAFT_WAL_CORRUPT;
    } else if (err == RAFT_WAL_OK) {
        err = recover_existing(wal, &replay, state);
    }
    if (err != RAFT_WAL_OK) {
        rafti_wal_log(wal, RAFT_WAL_LOG_ERROR, "wal cannot be opened dir=%s reason=\"%s\" %s",
                      wal->dir, raft_wal_strerror(err), replay.text);
    }
    rafti_wal_replay_fini(&replay);
    return err;
}

int raft_wal_open(const struct raft_wal_opts *opts, struct raft_wal **out,
                  struct raft_wal_state *out_state)
{
    struct raft_wal_state state = {0};

    int err = check_opts(opts);
    if (err != RAFT_WAL_OK) {
        return err;
    }
    struct raft_wal *wal = calloc(1, sizeof *wal);
    if (wal == NULL) {
        return RAFT_WAL_NO_MEMORY;
    }
    err = init(wal, opts);
    if (err == RAFT_WAL_OK) {
        err = open_dir(wal);
    }
    if (err == RAFT_WAL_OK) {
        err = recover(wal, &state);
    }
    if (err != RAFT_WAL_OK) {
        raft_wal_close(wal);
        return err;
    }

    wal->batch_len = 0;
    rafti_wal_stage_reset(wal);
    memcpy(state.incarnation, wal->incarnation, sizeof state.incarnation);
    state.term = wal->index.term;
    state.vote = wal->index.vote;
    state.first_index = wal->index.first;
    state.last_index = wal->index.last;
    state.prev_term = wal->index.prev_term;
    *out = wal;
    *out_state = state;
    return RAFT_WAL_OK;
}

void raft_wal_close(struct raft_wal *wal)
{
    if (wal == NULL) {
        return;
    }
    rafti_wal_spare_fini(wal);
    for (size_t i = 0; i < wal->n_segments; i++) {
        rafti_wal_segment_put(wal, wal->segments[i]);
    }
    free(wal->segments);
    rafti_wal_index_fini(&wal->index);
    if (wal->lockfd >= 0) {
        close(wal->lockfd);
    }
    if (wal->dirfd >= 0) {
        close(wal->dirfd);
    }
    pthread_mutex_destroy(&wal->lock);
    free(wal->batch);
    free(wal->dir);
    free(wal);
}
