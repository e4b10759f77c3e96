/* ls, count, du. Column widths are those of GooseFS 1.x: scripts and Fluid cut by them. */
#include "cli_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>

#define SORT_MAX 1000000 /* entries held for sorting */

struct entry {
    Goosefs__V1__FileInfo *info;
    char *path;
};

struct listing {
    struct gfsi_cli *cli;
    bool human;
    bool keep; /* for sorting */
    struct entry *entries;
    size_t n, cap;
};

static void mode_text(const Goosefs__V1__FileInfo *info, char out[11])
{
    static const char letters[] = "rwxrwxrwx";
    out[0] = info->directory ? 'd' : '-';
    for (int i = 0; i < 9; i++) {
        out[1 + i] = info->mode & (0400u >> i) ? letters[i] : '-';
    }
    out[10] = '\0';
}

/* Origins without owners: a mark, so that the columns can still be counted. */
static const char *known(const char *name)
{
    return name[0] != '\0' ? name : "-";
}

static void print_entry(const struct listing *list, const Goosefs__V1__FileInfo *info,
                        const char *path)
{
    char mode[11], size[32], date[32], cached[8];
    mode_text(info, mode);
    if (info->directory) {
        (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)info->child_count);
        (void)snprintf(cached, sizeof(cached), "DIR");
    } else {
        (void)gfsi_size(list->human, info->length, size, sizeof(size));
        (void)snprintf(cached, sizeof(cached), "%u%%",
                       gfsi_percent(info->cached_bytes, info->length));
    }
    (void)fprintf(list->cli->out, "%-12s%-15s%-15s%15s%16s%24s%5s %-5s\n", mode, known(info->owner),
                  known(info->group), size, "PERSISTED",
                  gfs_clock_format_goosefs(info->mtime_ms, date, sizeof(date)), cached, path);
}

static Goosefs__V1__FileInfo *info_dup(const Goosefs__V1__FileInfo *info)
{
    const size_t size = goosefs__v1__file_info__get_packed_size(info);
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) {
        return NULL;
    }
    (void)goosefs__v1__file_info__pack(info, bytes);
    Goosefs__V1__FileInfo *copy = goosefs__v1__file_info__unpack(NULL, size, bytes);
    free(bytes);
    return copy;
}

static int keep_entry(struct listing *list, const Goosefs__V1__FileInfo *info, const char *path)
{
    if (list->n >= SORT_MAX) {
        return gfs_err_set(&list->cli->error, GFS_ERANGE, "more than %d entries to sort", SORT_MAX);
    }
    if (list->n == list->cap) {
        const size_t cap = list->cap == 0 ? 256 : list->cap * 2;
        struct entry *grown = realloc(list->entries, cap * sizeof(*grown));
        if (grown == NULL) {
            return GFS_ENOMEM;
        }
        list->entries = grown;
        list->cap = cap;
    }
    struct entry entry = {.info = info_dup(info), .path = strdup(path)};
    if (entry.info == NULL || entry.path == NULL) {
        if (entry.info != NULL) {
            goosefs__v1__file_info__free_unpacked(entry.info, NULL);
        }
        free(entry.path);
        return GFS_ENOMEM;
    }
    list->entries[list->n++] = entry;
    return 0;
}

static int on_entry(void *arg, const Goosefs__V1__FileInfo *info, const char *path)
{
    struct listing *list = arg;
    if (list->keep) {
        return keep_entry(list, info, path);
    }
    print_entry(list, info, path);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

static int order(uint64_t a, uint64_t b, const void *ea, const void *eb)
{
    return a != b ? (a < b ? -1 : 1) : by_name(ea, eb);
}

static int by_size(const void *a, const void *b)
{
    return order(((const struct entry *)a)->info->length, ((const struct entry *)b)->info->length,
                 a, b);
}

static int by_time(const void *a, const void *b)
{
    return order((uint64_t)((const struct entry *)a)->info->mtime_ms,
                 (uint64_t)((const struct entry *)b)->info->mtime_ms, a, b);
}

static int by_cached(const void *a, const void *b)
{
    const Goosefs__V1__FileInfo *x = ((const struct entry *)a)->info;
    const Goosefs__V1__FileInfo *y = ((const struct entry *)b)->info;
    return order(gfsi_percent(x->cached_bytes, x->length), gfsi_percent(y->cached_bytes, y->length),
                 a, b);
}

typedef int (*compare_fn)(const void *, const void *);

static compare_fn sort_key(const char *key)
{
    static const struct {
        const char *name;
        compare_fn compare;
    } keys[] = {{"name", by_name},
                {"path", by_name},
                {"size", by_size},
                {"time", by_time},
                {"inMemoryPercentage", by_cached}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(key, keys[i].name) == 0) {
            return keys[i].compare;
        }
    }
    return NULL;
}

static void print_sorted(const struct listing *list, compare_fn compare, bool reverse)
{
    if (list->n > 0) {
        qsort(list->entries, list->n, sizeof(*list->entries), compare);
    }
    for (size_t i = 0; i < list->n; i++) {
        const struct entry *e = &list->entries[reverse ? list->n - 1 - i : i];
        print_entry(list, e->info, e->path);
    }
}

static void listing_fini(struct listing *list)
{
    for (size_t i = 0; i < list->n; i++) {
        goosefs__v1__file_info__free_unpacked(list->entries[i].info, NULL);
        free(list->entries[i].path);
    }
    free(list->entries);
}

int gfsi_run_ls(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc < 0) {
        return rc;
    }
    const char *key = gfsi_cli_value(cli, "--sort");
    const bool reverse = gfsi_cli_has(cli, "-r");
    const compare_fn compare = sort_key(key != NULL ? key : "name");
    if (compare == NULL) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "cannot sort by '%.32s'", key);
    }
    struct listing list = {
        .cli = cli, .human = gfsi_cli_has(cli, "-h"), .keep = key != NULL || reverse};

    if (gfsi_cli_has(cli, "-d")) {
        Goosefs__V1__GetStatusResponse *status = NULL;
        rc = gfsi_stat(cli, path, gfsi_cli_has(cli, "-f"), &status);
        if (rc == 0) {
            print_entry(&list, status->info, path);
            goosefs__v1__get_status_response__free_unpacked(status, NULL);
        }
        return rc;
    }
    rc = gfsi_walk(cli, path, gfsi_cli_has(cli, "-R"), gfsi_cli_has(cli, "-f"), on_entry, &list);
    if (rc == 0) {
        print_sorted(&list, compare, reverse);
    }
    listing_fini(&list);
    return rc;
}

static int count(struct gfsi_cli *cli, const char *operand, Goosefs__V1__CountResponse **out)
{
    char path[GFSI_CLI_PATH_MAX];
    struct gfs_client *client;
    int rc = gfsi_cli_path(cli, operand, path);
    if (rc == 0) {
        rc = gfsi_cli_client(cli, &client);
    }
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    request.path = path;
    rc = gfs_client_count(client, &request, out, 0, &cli->error);
    return gfsi_cli_path_error(cli, rc, path);
}

int gfsi_run_count(struct gfsi_cli *cli)
{
    Goosefs__V1__CountResponse *counted = NULL;
    const int rc = count(cli, cli->operands[0], &counted);
    if (rc < 0) {
        return rc;
    }
    char files[24], directories[24], size[32];
    (void)snprintf(files, sizeof(files), "%llu", (unsigned long long)counted->files);
    (void)snprintf(directories, sizeof(directories), "%llu",
                   (unsigned long long)counted->directories);
    (void)gfsi_size(gfsi_cli_has(cli, "-h"), counted->length, size, sizeof(size));
    (void)fprintf(cli->out, "%-25s%-25s%-15s\n", "File Count", "Folder Count", "Folder Size");
    (void)fprintf(cli->out, "%-25s%-25s%-15s\n", files, directories, size);
    goosefs__v1__count_response__free_unpacked(counted, NULL);
    return 0;
}

static void print_du(struct gfsi_cli *cli, uint64_t length, uint64_t cached, const char *path)
{
    const bool human = gfsi_cli_has(cli, "-h");
    char size[32], part[32], both[48];
    (void)gfsi_size(human, length, size, sizeof(size));
    (void)snprintf(both, sizeof(both), "%s (%u%%)", gfsi_size(human, cached, part, sizeof(part)),
                   gfsi_percent(cached, length));
    (void)fprintf(cli->out, "%-13s %-16s %s\n", size, both, path);
}

static int du_entry(void *arg, const Goosefs__V1__FileInfo *info, const char *path)
{
    if (!info->directory) {
        print_du(arg, info->length, info->cached_bytes, path);
    }
    return 0;
}

int gfsi_run_du(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc < 0) {
        return rc;
    }
    if (!gfsi_cli_has(cli, "-s")) {
        /* The header only before output that follows: an error has none. */
        Goosefs__V1__GetStatusResponse *status = NULL;
        rc = gfsi_stat(cli, path, false, &status);
        if (rc < 0) {
            return rc;
        }
        goosefs__v1__get_status_response__free_unpacked(status, NULL);
        (void)fprintf(cli->out, "%-13s %-16s %s\n", "File Size", "In GooseFS", "Path");
        return gfsi_walk(cli, path, true, false, du_entry, cli);
    }
    Goosefs__V1__CountResponse *counted = NULL;
    rc = count(cli, path, &counted);
    if (rc < 0) {
        return rc;
    }
    (void)fprintf(cli->out, "%-13s %-16s %s\n", "File Size", "In GooseFS", "Path");
    print_du(cli, counted->length, counted->cached_bytes, path);
    goosefs__v1__count_response__free_unpacked(counted, NULL);
    return 0;
}
