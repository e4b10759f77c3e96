/* loadMetadata, load, free. */
#include "cli_priv.h"

#include <inttypes.h>

#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/client/file.h>

#define POLL_NS (500 * GFS_NS_PER_MS) /* workers report once a second */

int gfsi_run_load_metadata(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    struct gfs_client *client;
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc == 0) {
        rc = gfsi_cli_client(cli, &client);
    }
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__LoadMetadataRequest request = GOOSEFS__V1__LOAD_METADATA_REQUEST__INIT;
    request.path = path;
    request.recursive = gfsi_cli_has(cli, "-R");
    request.force = gfsi_cli_has(cli, "-F");
    Goosefs__V1__LoadMetadataResponse *response = NULL;
    rc = gfs_client_load_metadata(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return gfsi_cli_path_error(cli, rc, path);
    }
    (void)fprintf(cli->out, "Loaded metadata of %s: %" PRIu64 " files, %" PRIu64 " directories\n",
                  path, response->files, response->directories);
    goosefs__v1__load_metadata_response__free_unpacked(response, NULL);
    return 0;
}

struct load {
    struct gfsi_cli *cli;
    struct gfs_client *client;
    uint64_t files, bytes;
};

static int load_entry(void *arg, const Goosefs__V1__FileInfo *info, const char *path)
{
    struct load *load = arg;
    if (info->directory) {
        return 0;
    }
    struct gfs_client_file *file = NULL;
    int rc = gfs_client_file_open(load->client, info, &file, &load->cli->error);
    if (rc == 0) {
        rc = gfs_client_file_load(file, 0, 0, 0, &load->cli->error);
    }
    gfs_client_file_close(file);
    if (rc == 0) {
        load->files++;
        load->bytes += info->length;
        (void)fprintf(load->cli->out, "%s %s\n", path,
                      gfsi_cli_has(load->cli, "--submit") ? "submitted" : "loading");
    }
    return rc;
}

static int cached_bytes(struct load *load, char *path, uint64_t *out_cached)
{
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    request.path = path;
    Goosefs__V1__CountResponse *counted = NULL;
    const int rc = gfs_client_count(load->client, &request, &counted, 0, &load->cli->error);
    if (rc == 0) {
        *out_cached = counted->cached_bytes;
        goosefs__v1__count_response__free_unpacked(counted, NULL);
    }
    return rc;
}

/* Until everything is cached, or nothing more arrives for as long as a call may take. */
static int wait_cached(struct load *load, char *path)
{
    struct gfsi_cli *cli = load->cli;
    int64_t patience = 0;
    (void)gfs_parse_duration(gfsi_config_get(cli, "goosefs.user.rpc.retry.max.duration"),
                             &patience);
    struct gfsi_progress progress;
    gfsi_progress_start(&progress, cli, path, load->bytes);

    uint64_t cached = 0;
    int64_t changed = gfs_clock_mono();
    int rc = 0;
    while (rc == 0 && cached < load->bytes) {
        const uint64_t before = cached;
        rc = cached_bytes(load, path, &cached);
        if (rc == 0 && cached > before) {
            changed = gfs_clock_mono();
            gfsi_progress_add(&progress, cached - before);
        } else if (rc == 0 && gfs_clock_mono() - changed > patience) {
            rc = gfs_err_set(&cli->error, GFS_ENOSPC,
                             "only %" PRIu64 " of %" PRIu64
                             " bytes are cached and no more arrive (is the cache large enough?)",
                             cached, load->bytes);
        }
        if (rc == 0 && cached < load->bytes) {
            gfs_clock_sleep_until(gfs_clock_mono() + POLL_NS);
        }
    }
    gfsi_progress_end(&progress);
    return rc;
}

int gfsi_run_load(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    struct load load = {.cli = cli};
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc == 0) {
        rc = gfsi_cli_client(cli, &load.client);
    }
    if (rc == 0) {
        rc = gfsi_walk(cli, path, true, false, load_entry, &load);
    }
    if (rc == 0 && !gfsi_cli_has(cli, "--submit")) {
        rc = wait_cached(&load, path);
    }
    if (rc == 0) {
        char size[32];
        (void)fprintf(cli->out, "%s %s: %" PRIu64 " files, %s\n", path,
                      gfsi_cli_has(cli, "--submit") ? "submitted" : "loaded", load.files,
                      gfs_format_size(load.bytes, size, sizeof(size)));
    }
    return rc;
}

int gfsi_run_free(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX];
    struct gfs_client *client;
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc == 0) {
        rc = gfsi_cli_client(cli, &client);
    }
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__FreeRequest request = GOOSEFS__V1__FREE_REQUEST__INIT;
    request.path = path;
    request.recursive = true;
    Goosefs__V1__FreeResponse *response = NULL;
    rc = gfs_client_free_data(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return gfsi_cli_path_error(cli, rc, path);
    }
    goosefs__v1__free_response__free_unpacked(response, NULL);
    (void)fprintf(cli->out, "%s was successfully freed from GooseFS space.\n", path);
    return 0;
}
