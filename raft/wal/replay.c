#include "wal/replay_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rafti_wal_file_name(char *out, uint64_t number, uint64_t next_index)
{
    snprintf(out, RAFTI_WAL_NAME_MAX, "%016" PRIx64 "-%016" PRIx64 ".wal", number, next_index);
}

static bool parse_name(const char *name, uint64_t *out_number)
{
    char again[RAFTI_WAL_NAME_MAX];
    uint64_t number = 0;
    uint64_t next_index = 0;

    if (sscanf(name, "%16" SCNx64 "-%16" SCNx64, &number, &next_index) != 2) {
        return false;
    }
    rafti_wal_file_name(again, number, next_index);
    if (strcmp(again, name) != 0) {
        return false;
    }
    *out_number = number;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const struct rafti_wal_file *x = a;
    const struct rafti_wal_file *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

static int add_file(struct rafti_wal_replay *replay, const char *name, uint64_t number)
{
    struct rafti_wal_file *files =
        realloc(replay->files, (replay->n_files + 1) * sizeof *replay->files);

    if (files == NULL) {
        return RAFT_WAL_NO_MEMORY;
    }
    replay->files = files;
    struct rafti_wal_file *file = &files[replay->n_files++];
    *file = (struct rafti_wal_file){.number = number, .fd = -1};
    /* Only names of our own fixed form come here: the length is checked where they are parsed. */
    snprintf(file->name, sizeof file->name, "%.*s", (int)sizeof file->name - 1, name);
    return RAFT_WAL_OK;
}

static int list_names(struct rafti_wal_replay *replay)
{
    /* A second descriptor: closedir() closes the one it was given. */
    int fd = openat(replay->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int err = RAFT_WAL_OK;

    if (dir == NULL) {
        snprintf(replay->text, sizeof replay->text, "cannot list the directory: errno %d", errno);
        if (fd >= 0) {
            close(fd);
        }
        return RAFT_WAL_IO;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        uint64_t number;

        if (entry == NULL) {
            err = errno == 0 ? RAFT_WAL_OK : RAFT_WAL_IO;
            break;
        }
        if (parse_name(entry->d_name, &number)) {
            err = add_file(replay, entry->d_name, number);
            if (err != RAFT_WAL_OK) {
                break;
            }
        }
    }
    closedir(dir);
    return err;
}

static int read_fully(const struct raft_wal_io *io, int fd, uint8_t *buf, size_t len, off_t offset)
{
    while (len > 0) {
        ssize_t n = io->pread(io->arg, fd, buf, len, offset);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return RAFT_WAL_IO;
        }
        if (n == 0) {
            return RAFT_WAL_CORRUPT; /* shorter than its head says */
        }
        buf += n;
        len -= (size_t)n;
        offset += n;
    }
    return RAFT_WAL_OK;
}

static int open_file(struct rafti_wal_replay *replay, struct rafti_wal_file *file)
{
    const struct raft_wal_io *io = replay->io;
    uint8_t block[RAFTI_WAL_BLOCK];

    file->fd =
        io->openat(io->arg, replay->dirfd, file->name, replay->writable ? O_RDWR : O_RDONLY, 0);
    if (file->fd < 0) {
        snprintf(replay->text, sizeof replay->text, "%s: open: errno %d", file->name, -file->fd);
        file->fd = -1;
        return RAFT_WAL_IO;
    }

    int err = read_fully(io, file->fd, block, sizeof block, 0);
    if (err == RAFT_WAL_OK) {
        err = rafti_wal_head_decode(block, &file->head);
    }
    if (err == RAFT_WAL_OK && file->head.number != file->number) {
        err = RAFT_WAL_CORRUPT;
    }
    if (err != RAFT_WAL_OK) {
        snprintf(replay->text, sizeof replay->text, "%s: segment head: %s", file->name,
                 raft_wal_strerror(err));
    }
    return err;
}

int rafti_wal_replay_list(struct rafti_wal_replay *replay)
{
    int err = list_names(replay);

    if (err != RAFT_WAL_OK) {
        return err;
    }
    if (replay->n_files > 0) {
        qsort(replay->files, replay->n_files, sizeof *replay->files, by_number);
    }
    for (size_t i = 0; i < replay->n_files; i++) {
        err = open_file(replay, &replay->files[i]);
        if (err != RAFT_WAL_OK) {
            return err;
        }
        if (i > 0 && replay->files[i].number != replay->files[i - 1].number + 1) {
            snprintf(replay->text, sizeof replay->text, "segment %" PRIu64 " is missing",
                     replay->files[i - 1].number + 1);
            return RAFT_WAL_CORRUPT;
        }
    }
    return RAFT_WAL_OK;
}

struct replay_one {
    struct rafti_wal_replay *replay;
    struct rafti_wal_file *file;
};

static int on_record(void *arg, const struct rafti_wal_header *header, uint64_t offset,
                     const uint8_t *body)
{
    struct replay_one *one = arg;
    struct rafti_wal_replay *replay = one->replay;
    const struct raft_wal_visitor *visitor = replay->visitor;

    if (header->type != RAFT_WAL_RECORD_BATCH) {
        int err = rafti_wal_index_replay(&replay->index, header, (uint32_t)one->file->number,
                                         (uint32_t)offset);
        if (err != RAFT_WAL_OK) {
            snprintf(replay->text, sizeof replay->text,
                     "%s offset %" PRIu64 ": record type %u index %" PRIu64 " term %" PRIu64
                     " cannot follow what is before it",
                     one->file->name, offset, header->type, header->index, header->term);
            return err;
        }
    }
    if (visitor == NULL || visitor->record == NULL) {
        return 0;
    }
    struct raft_wal_record record = {
        .type = (enum raft_wal_record_type)header->type,
        .entry_type = header->entry_type,
        .index = header->index,
        .term = header->term,
        .offset = offset,
        .data = body,
        .len = header->len,
    };
    return visitor->record(visitor->arg, &record);
}

static int visit_segment(const struct rafti_wal_replay *replay, const struct rafti_wal_file *file)
{
    const struct rafti_wal_head *head = &file->head;

    if (replay->visitor == NULL || replay->visitor->segment == NULL) {
        return 0;
    }
    struct raft_wal_segment_info info = {
        .name = file->name,
        .number = head->number,
        .salt = head->salt,
        .cluster_id = head->cluster_id,
        .node_id = head->node_id,
        .next_index = head->next_index,
        .prev_term = head->prev_term,
        .term = head->term,
        .vote = head->vote,
        .prev_chain = head->prev_chain,
        .bytes = head->bytes,
    };
    memcpy(info.incarnation, head->incarnation, sizeof info.incarnation);
    return replay->visitor->segment(replay->visitor->arg, &info);
}

/* The head repeats what the segments before it amount to. */
static int check_head(struct rafti_wal_replay *replay, size_t i)
{
    const struct rafti_wal_head *head = &replay->files[i].head;
    struct rafti_wal_index *index = &replay->index;

    if (i == 0) {
        rafti_wal_index_init(index, head->next_index, head->prev_term);
        index->term = head->term;
        index->vote = head->vote;
        return RAFT_WAL_OK;
    }
    if (head->prev_chain != replay->last.chain || head->next_index != index->last + 1 ||
        head->term < index->term ||
        memcmp(head->incarnation, replay->files[0].head.incarnation, 16) != 0) {
        snprintf(replay->text, sizeof replay->text, "%s does not continue the segment before it",
                 replay->files[i].name);
        return RAFT_WAL_CORRUPT;
    }
    index->term = head->term;
    index->vote = head->vote;
    return RAFT_WAL_OK;
}

static int load(struct rafti_wal_replay *replay, struct rafti_wal_file *file, bool last,
                uint8_t **out)
{
    const struct raft_wal_io *io = replay->io;

    if (replay->writable && last) {
        /* A process that died between write and flush leaves records that are readable but not
         * durable; and after a failed flush the cache may show what the disk never got (ATC'20). */
        if (io->fdatasync(io->arg, file->fd) < 0) {
            snprintf(replay->text, sizeof replay->text, "%s: flush failed", file->name);
            return RAFT_WAL_IO;
        }
        (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
    }

    uint8_t *bytes = malloc(file->head.bytes);
    if (bytes == NULL) {
        return RAFT_WAL_NO_MEMORY;
    }
    int err = read_fully(io, file->fd, bytes, file->head.bytes, 0);
    if (err != RAFT_WAL_OK) {
        snprintf(replay->text, sizeof replay->text, "%s: %s", file->name,
                 err == RAFT_WAL_IO ? "read failed" : "shorter than its head says");
        free(bytes);
        return err;
    }
    *out = bytes;
    return RAFT_WAL_OK;
}

static int run_one(struct rafti_wal_replay *replay, size_t i)
{
    struct rafti_wal_file *file = &replay->files[i];
    struct replay_one one = {.replay = replay, .file = file};
    bool last = i + 1 == replay->n_files;
    uint8_t *bytes = NULL;

    int err = check_head(replay, i);
    if (err == RAFT_WAL_OK) {
        err = visit_segment(replay, file);
    }
    if (err == RAFT_WAL_OK) {
        err = load(replay, file, last, &bytes);
    }
    if (err != RAFT_WAL_OK) {
        return err;
    }

    replay->last = (struct rafti_wal_segment_scan){
        .bytes = bytes,
        .head = file->head,
        .until = last ? 0 : replay->files[i + 1].head.prev_end,
        .record = on_record,
        .arg = &one,
    };
    err = rafti_wal_segment_run(&replay->last);
    if (err == RAFT_WAL_OK && replay->last.verdict == RAFTI_WAL_DAMAGED && replay->salvage &&
        !replay->last.broken) {
        rafti_wal_evidence_hard(&replay->evidence, replay->index.term, replay->index.vote);
        rafti_wal_evidence_gather(&replay->last, replay->last.bad, &replay->evidence);
        replay->salvaged = true;
    }
    free(bytes);
    replay->last.bytes = NULL;
    replay->batches += replay->last.batches;
    replay->records += replay->last.records;

    if (err == RAFT_WAL_OK && replay->last.verdict == RAFTI_WAL_DAMAGED) {
        snprintf(replay->text, sizeof replay->text,
                 "%s offset %" PRIu64 ": damaged behind entry %" PRIu64
                 "; what follows shows it was durable once",
                 file->name, replay->last.bad, replay->index.last);
        return replay->salvaged ? RAFT_WAL_OK : RAFT_WAL_CORRUPT;
    }
    return err;
}

/* The segments behind the damage: only what they say about the past counts. */
static int gather_rest(struct rafti_wal_replay *replay)
{
    struct rafti_wal_evidence *evidence = &replay->evidence;

    for (size_t i = replay->n_good; i < replay->n_files; i++) {
        const struct rafti_wal_head *head = &replay->files[i].head;
        uint8_t *bytes = NULL;

        rafti_wal_evidence_last(evidence, head->next_index - 1);
        rafti_wal_evidence_hard(evidence, head->term, head->vote);
        int err = load(replay, &replay->files[i], false, &bytes);
        if (err != RAFT_WAL_OK) {
            return err;
        }
        struct rafti_wal_segment_scan scan = {.bytes = bytes, .head = *head};
        rafti_wal_evidence_gather(&scan, RAFTI_WAL_BLOCK, evidence);
        free(bytes);
    }
    rafti_wal_evidence_last(evidence, replay->index.last);
    return RAFT_WAL_OK;
}

int rafti_wal_replay_run(struct rafti_wal_replay *replay)
{
    for (size_t i = 0; i < replay->n_files; i++) {
        int err = run_one(replay, i);
        if (err != RAFT_WAL_OK) {
            return err;
        }
        replay->n_good = i + 1;
        if (replay->salvaged) {
            return gather_rest(replay);
        }
    }
    if (replay->n_files > 0 && replay->last.verdict == RAFTI_WAL_TORN) {
        snprintf(replay->text, sizeof replay->text,
                 "%s offset %" PRIu64 ": unfinished last batch; log ends with entry %" PRIu64,
                 replay->files[replay->n_files - 1].name, replay->last.bad, replay->index.last);
    }
    return RAFT_WAL_OK;
}

void rafti_wal_replay_fini(struct rafti_wal_replay *replay)
{
    for (size_t i = 0; i < replay->n_files; i++) {
        if (replay->files[i].fd >= 0) {
            replay->io->close(replay->io->arg, replay->files[i].fd);
        }
    }
    free(replay->files);
    replay->files = NULL;
    replay->n_files = 0;
    rafti_wal_index_fini(&replay->index);
}
