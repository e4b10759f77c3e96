/* copyToLocal: a file appears under its name only when it is whole. */
#include "cli_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>
#include <gfs/client/file.h>

#define CHUNK (16u << 20)

struct copy {
    struct gfsi_cli *cli;
    struct gfs_client *client;
    const char *from; /* the tree's root */
    const char *to;
    char *buf;
    struct gfsi_progress progress;
};

static int copy_bytes(struct copy *c, struct gfs_client_file *file, int fd)
{
    const uint64_t length = gfs_client_file_length(file);
    for (uint64_t at = 0; at < length;) {
        const ssize_t n = gfs_client_file_pread(file, c->buf, CHUNK, at, 0, &c->cli->error);
        if (n < 0) {
            return (int)n;
        }
        const int rc = gfs_write_all(fd, c->buf, (size_t)n);
        if (rc < 0) {
            return gfs_err_set(&c->cli->error, rc, "cannot write: %s", gfs_err_string(rc));
        }
        at += (uint64_t)n;
        gfsi_progress_add(&c->progress, (uint64_t)n);
    }
    return 0;
}

static int copy_file(struct copy *c, const Goosefs__V1__FileInfo *info, const char *to)
{
    char temporary[GFSI_CLI_PATH_MAX];
    const int len = snprintf(temporary, sizeof(temporary), "%s.goosefs-%d", to, (int)getpid());
    if (len < 0 || (size_t)len >= sizeof(temporary)) {
        return gfs_err_set(&c->cli->error, GFS_ENAMETOOLONG, "%s is too long", to);
    }
    int fd gfs_auto_fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return gfs_err_set_errno(&c->cli->error, errno, "cannot create %s", temporary);
    }
    struct gfs_client_file *file = NULL;
    int rc = gfs_client_file_open(c->client, info, &file, &c->cli->error);
    if (rc == 0) {
        rc = copy_bytes(c, file, fd);
    }
    gfs_client_file_close(file);
    if (rc == 0 && rename(temporary, to) < 0) {
        rc = gfs_err_set_errno(&c->cli->error, errno, "cannot name it %s", to);
    }
    if (rc < 0) {
        (void)unlink(temporary);
    }
    return rc;
}

static int copy_entry(void *arg, const Goosefs__V1__FileInfo *info, const char *path)
{
    struct copy *c = arg;
    char to[GFSI_CLI_PATH_MAX], normal[GFSI_CLI_PATH_MAX];
    /* The names come from elsewhere: none may lead out of the destination. */
    const size_t root = strcmp(c->from, "/") == 0 ? 0 : strlen(c->from);
    if (gfs_path_normalize(path, normal, sizeof(normal)) < 0 || strcmp(normal, path) != 0 ||
        strncmp(path, c->from, root) != 0 || path[root] != '/') {
        return gfs_err_set(&c->cli->error, GFS_EPROTO, "the master listed '%.200s' below %s", path,
                           c->from);
    }
    const char *below = path + root;
    const int rc = gfs_path_join(to, sizeof(to), c->to, below + 1);
    if (rc < 0) {
        return gfs_err_set(&c->cli->error, rc, "%s is too long", path);
    }
    if (info->directory) {
        return gfs_mkdirs(to, 0777, &c->cli->error);
    }
    return copy_file(c, info, to);
}

/* Where a copy of `path` goes: into `to` when that is a directory; it must not exist yet. */
static int destination(struct gfsi_cli *cli, const char *path, const char *to,
                       char out[GFSI_CLI_PATH_MAX])
{
    if (gfs_str_has_prefix(to, "file://")) {
        to += strlen("file://");
    }
    struct stat st;
    int rc;
    if (stat(to, &st) == 0 && S_ISDIR(st.st_mode)) {
        const char *slash = strrchr(path, '/');
        rc = gfs_path_join(out, GFSI_CLI_PATH_MAX, to, slash[1] != '\0' ? slash + 1 : "root");
    } else {
        rc = gfs_str_copy(out, GFSI_CLI_PATH_MAX, to);
    }
    if (rc < 0) {
        return gfs_err_set(&cli->error, rc, "%s is too long", to);
    }
    if (lstat(out, &st) == 0) {
        return gfs_err_set(&cli->error, GFS_EEXIST, "%s already exists", out);
    }
    return 0;
}

static int copy_tree(struct copy *c, const Goosefs__V1__FileInfo *info)
{
    struct gfsi_cli *cli = c->cli;
    if (!info->directory) {
        gfsi_progress_start(&c->progress, cli, c->from, info->length);
        return copy_file(c, info, c->to);
    }
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    request.path = (char *)(uintptr_t)c->from;
    Goosefs__V1__CountResponse *counted = NULL;
    int rc = gfs_client_count(c->client, &request, &counted, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    gfsi_progress_start(&c->progress, cli, c->from, counted->length);
    goosefs__v1__count_response__free_unpacked(counted, NULL);
    rc = gfs_mkdirs(c->to, 0777, &cli->error);
    return rc < 0 ? rc : gfsi_walk(cli, c->from, true, false, copy_entry, c);
}

int gfsi_run_copy_to_local(struct gfsi_cli *cli)
{
    char path[GFSI_CLI_PATH_MAX], to[GFSI_CLI_PATH_MAX];
    struct copy c = {.cli = cli, .from = path, .to = to};
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc == 0) {
        rc = gfsi_cli_client(cli, &c.client);
    }
    if (rc == 0) {
        rc = destination(cli, path, cli->operands[1], to);
    }
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__GetStatusResponse *status = NULL;
    rc = gfsi_stat(cli, path, false, &status);
    if (rc < 0) {
        return rc;
    }
    c.buf = malloc(CHUNK);
    rc = c.buf == NULL ? gfs_err_set(&cli->error, GFS_ENOMEM, "out of memory")
                       : copy_tree(&c, status->info);
    gfsi_progress_end(&c.progress);
    free(c.buf);
    goosefs__v1__get_status_response__free_unpacked(status, NULL);
    if (rc == 0) {
        (void)fprintf(cli->out, "Copied %s to file://%s\n", path, to);
    }
    return rc;
}
