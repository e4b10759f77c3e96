/* stat, test, location. */
#include "cli_priv.h"

#include <inttypes.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/client/data_proto.h>
#include <gfs/client/placement.h>

static uint64_t n_extents(const Goosefs__V1__FileInfo *info)
{
    return info->directory ? 0 : (info->length + GFS_EXTENT_SIZE - 1) / GFS_EXTENT_SIZE;
}

static int workers(struct gfsi_cli *cli, Goosefs__V1__ListWorkersResponse **out)
{
    struct gfs_client *client;
    const int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    return gfs_client_list_workers(client, &request, out, 0, &cli->error);
}

/* The live worker an extent is placed on, NULL without any. */
static const Goosefs__V1__WorkerInfo *worker_of(const Goosefs__V1__ListWorkersResponse *list,
                                                uint64_t inode_id, uint64_t extent)
{
    const Goosefs__V1__WorkerInfo *best = NULL;
    uint64_t best_weight = 0;
    for (size_t i = 0; i < list->n_workers; i++) {
        const Goosefs__V1__WorkerInfo *worker = list->workers[i];
        const uint64_t weight = gfs_placement_weight(worker->id, inode_id, extent);
        if (worker->live && (best == NULL || weight > best_weight)) {
            best = worker;
            best_weight = weight;
        }
    }
    return best;
}

/* "%N %z" and the like. */
static void print_format(FILE *out, const char *format, const Goosefs__V1__FileInfo *info,
                         const char *path)
{
    char date[32];
    for (const char *p = format; *p != '\0'; p++) {
        if (p[0] != '%' || p[1] == '\0') {
            (void)fputc(*p, out);
            continue;
        }
        const char *slash = strrchr(path, '/');
        switch (*++p) {
        case 'N': (void)fputs(slash != NULL ? slash + 1 : path, out); break;
        case 'z': (void)fprintf(out, "%" PRIu64, info->length); break;
        case 'u': (void)fputs(info->owner, out); break;
        case 'g': (void)fputs(info->group, out); break;
        case 'y':
            (void)fputs(gfs_clock_format_goosefs(info->mtime_ms, date, sizeof(date)), out);
            break;
        case 'Y': (void)fprintf(out, "%" PRId64, info->mtime_ms); break;
        case 'b': (void)fprintf(out, "%" PRIu64, n_extents(info)); break;
        case 'i': (void)fprintf(out, "%" PRIu64, info->id); break;
        default: (void)fputc(*p, out); break;
        }
    }
    (void)fputc('\n', out);
}

static void print_info(FILE *out, const Goosefs__V1__FileInfo *info, const char *path)
{
    const char *slash = strrchr(path, '/');
    (void)fprintf(
        out,
        "FileInfo{fileId=%" PRIu64 ", name=%s, path=%s, ufsPath=%s, length=%" PRIu64
        ", blockSizeBytes=%" PRIu64 ", creationTimeMs=%" PRId64 ", lastModificationTimeMs=%" PRId64
        ", completed=true, folder=%s, "
        "pinned=false, cacheable=true, persisted=true, "
        "inMemoryPercentage=%u, inGooseFSPercentage=%u, owner=%s, group=%s, mode=%u, "
        "persistenceState=PERSISTED, mountPoint=%s, mountId=%" PRIu32 ", ufsFingerprint=%s}\n",
        info->id, slash != NULL ? slash + 1 : path, path,
        info->ufs_uri[0] != '\0' ? info->ufs_uri : info->ufs_path, info->length,
        (uint64_t)GFS_EXTENT_SIZE, info->ctime_ms, info->mtime_ms,
        info->directory ? "true" : "false", gfsi_percent(info->cached_bytes, info->length),
        gfsi_percent(info->cached_bytes, info->length), info->owner, info->group, info->mode,
        info->mount_point ? "true" : "false", info->mount_id, info->version);
}

static int print_blocks(struct gfsi_cli *cli, const Goosefs__V1__FileInfo *info)
{
    const uint64_t n = n_extents(info);
    if (n == 0) {
        (void)fprintf(cli->out, "This file does not contain any blocks.\n");
        return 0;
    }
    Goosefs__V1__ListWorkersResponse *list = NULL;
    const int rc = workers(cli, &list);
    if (rc < 0) {
        return rc;
    }
    (void)fprintf(cli->out, "Containing the following blocks:\n");
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t left = info->length - i * GFS_EXTENT_SIZE;
        const Goosefs__V1__WorkerInfo *worker = worker_of(list, info->id, i);
        const bool cached = info->cached_bytes > 0 && worker != NULL;
        (void)fprintf(cli->out,
                      "BlockInfo{id=%" PRIu64 ".%" PRIu64 ", length=%" PRIu64 ", locations=[%s]}\n",
                      info->id, i, left < GFS_EXTENT_SIZE ? left : GFS_EXTENT_SIZE,
                      cached ? worker->host : "");
    }
    goosefs__v1__list_workers_response__free_unpacked(list, NULL);
    return 0;
}

int gfsi_run_stat(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__GetStatusResponse *status = NULL;
    rc = gfsi_stat(cli, path, false, &status);
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__FileInfo *info = status->info;
    const char *format = gfsi_cli_value(cli, "-f");
    if (format != NULL) {
        print_format(cli->out, format, info, path);
    } else {
        (void)fprintf(cli->out, "%s is a %s path.\n", path, info->directory ? "directory" : "file");
        print_info(cli->out, info, path);
        rc = info->directory ? 0 : print_blocks(cli, info);
    }
    goosefs__v1__get_status_response__free_unpacked(status, NULL);
    return rc;
}

int gfsi_run_test(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__GetStatusResponse *status = NULL;
    rc = gfsi_stat(cli, path, false, &status);
    if (rc == GFS_ENOENT) {
        return GFSI_CLI_SILENT + 1;
    }
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__FileInfo *info = status->info;
    bool yes = true;
    for (size_t i = 0; i < cli->n_flags; i++) {
        switch (cli->flags[i].flag->name[1]) {
        case 'd': yes = yes && info->directory; break;
        case 'f': yes = yes && !info->directory; break;
        case 's': yes = yes && (info->directory ? info->child_count > 0 : info->length > 0); break;
        case 'z': yes = yes && !info->directory && info->length == 0; break;
        default: break;
        }
    }
    goosefs__v1__get_status_response__free_unpacked(status, NULL);
    return yes ? 0 : GFSI_CLI_SILENT + 1;
}

int gfsi_run_location(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__GetStatusResponse *status = NULL;
    rc = gfsi_stat(cli, path, false, &status);
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__FileInfo *info = status->info;
    Goosefs__V1__ListWorkersResponse *list = NULL;
    rc = info->directory ? gfs_err_set(&cli->error, GFS_EISDIR, "%s is a directory", path)
                         : workers(cli, &list);
    if (rc == 0) {
        (void)fprintf(cli->out, "%s with file id %" PRIu64 " is on nodes: \n", path, info->id);
        for (size_t w = 0; info->cached_bytes > 0 && w < list->n_workers; w++) {
            bool has = false;
            for (uint64_t i = 0; i < n_extents(info) && !has; i++) {
                has = worker_of(list, info->id, i) == list->workers[w];
            }
            if (has) {
                (void)fprintf(cli->out, "%s\n", list->workers[w]->host);
            }
        }
        goosefs__v1__list_workers_response__free_unpacked(list, NULL);
    }
    goosefs__v1__get_status_response__free_unpacked(status, NULL);
    return rc;
}
