/* cat, head, tail. */
#include "cli_priv.h"

#include <stdlib.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>
#include <gfs/client/file.h>

#define CHUNK (16u << 20) /* a whole pipeline of the data protocol */

/* Prints [from, to) of a file. */
static int print_range(struct gfsi_cli *cli, struct gfs_client_file *file, uint64_t from,
                       uint64_t to)
{
    char *buf gfs_auto_free = malloc(CHUNK);
    if (buf == NULL) {
        return gfs_err_set(&cli->error, GFS_ENOMEM, "out of memory");
    }
    while (from < to) {
        const uint64_t want = to - from < CHUNK ? to - from : CHUNK;
        const ssize_t n = gfs_client_file_pread(file, buf, want, from, 0, &cli->error);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return gfs_err_set(&cli->error, GFS_EIO, "the file ended early");
        }
        if (fwrite(buf, 1, (size_t)n, cli->out) != (size_t)n) {
            return gfs_err_set(&cli->error, GFS_EIO, "cannot write the output");
        }
        from += (uint64_t)n;
    }
    return 0;
}

/* Opens the operand and prints what `range` makes of its length. */
static int print_file(struct gfsi_cli *cli, bool from_end, uint64_t bytes)
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
    Goosefs__V1__GetStatusResponse *status = NULL;
    rc = gfsi_stat(cli, path, false, &status);
    if (rc < 0) {
        return rc;
    }

    struct gfs_client_file *file = NULL;
    rc = status->info->directory ? gfs_err_set(&cli->error, GFS_EISDIR, "%s is a directory", path)
                                 : gfs_client_file_open(client, status->info, &file, &cli->error);
    if (rc == 0) {
        const uint64_t length = gfs_client_file_length(file);
        bytes = bytes < length ? bytes : length;
        rc = from_end ? print_range(cli, file, length - bytes, length)
                      : print_range(cli, file, 0, bytes);
    }
    gfs_client_file_close(file);
    goosefs__v1__get_status_response__free_unpacked(status, NULL);
    return rc;
}

int gfsi_run_cat(struct gfsi_cli *cli)
{
    return print_file(cli, false, UINT64_MAX);
}

static int print_part(struct gfsi_cli *cli, bool from_end)
{
    uint64_t bytes = 1024;
    const char *text = gfsi_cli_value(cli, "-c");
    if (text != NULL && gfs_parse_size(text, &bytes) < 0) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "-c: '%.32s' is not a size", text);
    }
    return print_file(cli, from_end, bytes);
}

int gfsi_run_head(struct gfsi_cli *cli)
{
    return print_part(cli, false);
}

int gfsi_run_tail(struct gfsi_cli *cli)
{
    return print_part(cli, true);
}
