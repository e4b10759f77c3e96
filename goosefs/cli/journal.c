/* journal dump, journal verify: a master's journal read where it lies, with no master and no lock.
 */
#include "cli_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include <gfs/base/str.h>
#include <raft/types.h>
#include <raft/wal.h>

#include "goosefs_journal.pb-c.h"

#define STOP 1 /* the visitor has seen enough */

struct dump {
    FILE *out;
    char segment[64];
    uint64_t from; /* skip until an entry or a reset of this index or behind it */
    uint64_t left; /* lines that may still be printed */
    bool started;
};

/* ---- a command in words --------------------------------------------------------------------- */

/* Bytes of a journal can be anything: what is printed stays on its line and in its field. */
static void print_text(FILE *out, const void *text, size_t len)
{
    const unsigned char *p = text;

    for (size_t i = 0; i < len; i++) {
        if (p[i] < ' ' || p[i] == 0x7f || p[i] == '\\' || p[i] == '\'') {
            (void)fprintf(out, "\\x%02x", p[i]);
        } else {
            (void)fputc(p[i], out);
        }
    }
}

static void print_quoted(FILE *out, const char *before, const void *text, size_t len)
{
    (void)fprintf(out, "%s'", before);
    print_text(out, text, len);
    (void)fputc('\'', out);
}

static void print_string(FILE *out, const char *before, const char *text)
{
    print_quoted(out, before, text, strlen(text));
}

/* Values of properties may be secrets of the origin: names only, as everywhere in this command. */
static void print_mount(FILE *out, const Goosefs__V1__MountEntry *mount)
{
    print_string(out, "mount ", mount->path);
    print_string(out, " of ", mount->ufs_uri);
    (void)fprintf(out, "%s%s", mount->read_only ? " read-only" : "",
                  mount->shared ? " shared" : "");

    for (size_t i = 0; i < mount->n_properties; i++) {
        print_string(out, i == 0 ? " properties " : ", ", mount->properties[i]->key);
    }
}

static void print_sync_child(FILE *out, const Goosefs__V1__SyncChildEntry *sync)
{
    (void)fprintf(out, "%s child", sync->removed ? "remove" : "sync");
    if (sync->child != NULL) {
        print_quoted(out, " ", sync->child->name.data, sync->child->name.len);
    }

    (void)fprintf(out, " of directory %" PRIu64, sync->directory_id);
}

static void print_sync_directory(FILE *out, const Goosefs__V1__SyncDirectoryEntry *sync)
{
    (void)fprintf(out, "sync directory %" PRIu64 ": %zu children of listing %016" PRIx64 "%s%s",
                  sync->directory_id, sync->n_children, sync->listing_id,
                  sync->first ? ", first batch" : "", sync->last ? ", last batch" : "");
}

static void print_command(FILE *out, const void *data, size_t len)
{
    Goosefs__V1__JournalEntry *entry = goosefs__v1__journal_entry__unpack(NULL, len, data);
    if (entry == NULL) {
        (void)fputs("not an entry of the namespace", out);
        return;
    }

    switch (entry->body_case) {
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_DIRECTORY:
        print_sync_directory(out, entry->sync_directory);
        break;
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SYNC_CHILD:
        print_sync_child(out, entry->sync_child);
        break;
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_MOUNT: print_mount(out, entry->mount); break;
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_UNMOUNT:
        print_string(out, "unmount ", entry->unmount->path);
        break;
    case GOOSEFS__V1__JOURNAL_ENTRY__BODY_SETTING:
        print_string(out, "setting ", entry->setting->key);
        break;
    default: (void)fputs("of a kind this version does not know", out); break;
    }

    goosefs__v1__journal_entry__free_unpacked(entry, NULL);
}

/* ---- dump ----------------------------------------------------------------------------------- */

static void print_entry(FILE *out, const struct raft_wal_record *record)
{
    (void)fprintf(out, "entry term=%" PRIu64 " index=%" PRIu64 " length=%zu ", record->term,
                  record->index, record->len);

    switch (record->entry_type) {
    case RAFT_ENTRY_COMMAND:
        (void)fputs("command: ", out);
        print_command(out, record->data, record->len);
        break;
    case RAFT_ENTRY_NOOP: (void)fputs("noop", out); break;
    case RAFT_ENTRY_CONFIG: (void)fputs("members", out); break;
    default: (void)fprintf(out, "type %u", record->entry_type); break;
    }
}

static void print_record(FILE *out, const char *segment, const struct raft_wal_record *record)
{
    (void)fprintf(out, "%s %" PRIu64 " ", segment, record->offset);

    switch (record->type) {
    case RAFT_WAL_RECORD_BATCH:
        (void)fprintf(out, "batch number=%" PRIu64 " bytes=%" PRIu64, record->index, record->term);
        break;
    case RAFT_WAL_RECORD_HARD:
        (void)fprintf(out, "hard term=%" PRIu64 " vote=%" PRIu64, record->term, record->index);
        break;
    case RAFT_WAL_RECORD_ENTRY: print_entry(out, record); break;
    case RAFT_WAL_RECORD_RESET:
        (void)fprintf(out, "reset term=%" PRIu64 " index=%" PRIu64, record->term, record->index);
        break;
    case RAFT_WAL_RECORD_MARK: (void)fputs("mark", out); break;
    }

    (void)fputc('\n', out);
}

static int dump_segment(void *arg, const struct raft_wal_segment_info *segment)
{
    struct dump *dump = arg;

    (void)snprintf(dump->segment, sizeof(dump->segment), "%s", segment->name);
    return 0;
}

static int dump_record(void *arg, const struct raft_wal_record *record)
{
    struct dump *dump = arg;
    const bool numbered =
        record->type == RAFT_WAL_RECORD_ENTRY || record->type == RAFT_WAL_RECORD_RESET;

    dump->started = dump->started || dump->from == 0 || (numbered && record->index >= dump->from);
    if (!dump->started) {
        return 0;
    }
    if (dump->left == 0) {
        return STOP;
    }

    dump->left--;
    print_record(dump->out, dump->segment, record);
    return 0;
}

/* ---- both ----------------------------------------------------------------------------------- */

/* The journal folder of a master, or the raft/ in it. */
static int find_log(struct gfsi_cli *cli, const char *dir, char out[GFSI_CLI_PATH_MAX])
{
    struct stat st;

    int n = snprintf(out, GFSI_CLI_PATH_MAX, "%s/raft", dir);
    if (n < 0 || n >= GFSI_CLI_PATH_MAX) {
        return gfs_err_set(&cli->error, GFS_ENAMETOOLONG, "'%.64s...' is too long", dir);
    }
    if (stat(out, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }

    if (stat(dir, &st) != 0) {
        return gfs_err_set(&cli->error, GFS_EIO, "%.200s: errno %d", dir, errno);
    }

    (void)snprintf(out, GFSI_CLI_PATH_MAX, "%s", dir);
    return 0;
}

static int scan(struct gfsi_cli *cli, const struct raft_wal_visitor *visitor,
                struct raft_wal_report *report)
{
    char dir[GFSI_CLI_PATH_MAX];
    int rc = find_log(cli, cli->operands[1], dir);
    if (rc < 0) {
        return rc;
    }

    *report = (struct raft_wal_report){0};
    rc = raft_wal_scan(dir, NULL, visitor, report);
    if (rc < 0) {
        return gfs_err_set(&cli->error, GFS_EIO, "%.200s: %s%s%.200s", dir, raft_wal_strerror(rc),
                           report->text[0] != '\0' ? ": " : "", report->text);
    }
    if (rc == 0 && report->segments == 0 && !report->corrupt) {
        return gfs_err_set(&cli->error, GFS_ENOENT, "there is no journal in %.200s", dir);
    }
    return rc;
}

static const char *where(const struct raft_wal_report *report)
{
    return report->text[0] != '\0' ? report->text : "at its end";
}

static int run_dump(struct gfsi_cli *cli)
{
    struct dump dump = {.out = cli->out, .left = UINT64_MAX};
    const struct raft_wal_visitor visitor = {
        .arg = &dump, .segment = dump_segment, .record = dump_record};
    const char *from = gfsi_cli_value(cli, "--from");
    const char *limit = gfsi_cli_value(cli, "--limit");
    struct raft_wal_report report;

    if ((from != NULL && gfs_parse_u64(from, UINT64_MAX, &dump.from) != 0) ||
        (limit != NULL && gfs_parse_u64(limit, UINT64_MAX, &dump.left) != 0)) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "--from and --limit take a number");
    }

    const int rc = scan(cli, &visitor, &report);
    if (rc != 0) {
        return rc == STOP ? 0 : rc;
    }
    if (report.corrupt) {
        return gfs_err_set(&cli->error, GFS_EPROTO, "corrupt: %.200s", where(&report));
    }
    if (report.torn) {
        (void)fprintf(cli->err, "goosefs: the last write is unfinished: %s\n", where(&report));
    }
    return 0;
}

static int run_verify(struct gfsi_cli *cli)
{
    struct raft_wal_report report;

    if (cli->n_flags > 0) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "%s is for dump", cli->flags[0].flag->name);
    }

    const int rc = scan(cli, NULL, &report);
    if (rc != 0) {
        return rc;
    }

    (void)fprintf(cli->out,
                  "Segments: %" PRIu64 "\nBatches: %" PRIu64 "\nRecords: %" PRIu64
                  "\nEntries: %" PRIu64 " to %" PRIu64 "\nTerm: %" PRIu64 "\nVote: %" PRIu64 "\n",
                  report.segments, report.batches, report.records, report.state.first_index,
                  report.state.last_index, report.state.term, report.state.vote);
    if (!report.corrupt && !report.torn) {
        (void)fprintf(cli->out, "State: whole\n");
        return 0;
    }

    (void)fprintf(cli->out, "State: %s: %s\n", report.corrupt ? "corrupt" : "torn", where(&report));
    return GFSI_CLI_SILENT + 1;
}

int gfsi_run_journal(struct gfsi_cli *cli)
{
    if (strcmp(cli->operands[0], "dump") == 0) {
        return run_dump(cli);
    }
    if (strcmp(cli->operands[0], "verify") == 0) {
        return run_verify(cli);
    }
    return gfs_err_set(&cli->error, GFS_EINVAL, "there is no 'journal %.32s': dump or verify",
                       cli->operands[0]);
}
