/* Namespace look-ups that several verbs share. */
#include "cli_priv.h"

#include <string.h>

#include <gfs/base/str.h>

#define PAGE 1000

int gfsi_stat(struct gfsi_cli *cli, const char *path, bool fresh,
              Goosefs__V1__GetStatusResponse **out)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    target.path = (char *)(uintptr_t)path;
    Goosefs__V1__GetStatusRequest request = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
    request.target = &target;
    request.has_sync_interval = fresh;
    Goosefs__V1__GetStatusResponse *response = NULL;
    rc = gfs_client_get_status(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return gfsi_cli_path_error(cli, rc, path);
    }
    if (response->info == NULL) {
        goosefs__v1__get_status_response__free_unpacked(response, NULL);
        return gfs_err_set(&cli->error, GFS_EPROTO, "the master's answer is empty");
    }
    *out = response;
    return 0;
}

/* "goosefs.user.file.metadata.sync.interval=0", as Fluid gives it, asks for a fresh listing too. */
static bool wants_fresh(struct gfsi_cli *cli)
{
    const char *value = gfsi_config_get(cli, "goosefs.user.file.metadata.sync.interval");
    int64_t ns;
    return value != NULL && gfs_parse_duration(value, &ns) == 0 && ns == 0;
}

/* Hands out one page; the last entry's name or path in `after`. */
static int page_out(const Goosefs__V1__ListStatusResponse *page, const char *path, bool recursive,
                    gfsi_entry_fn each, void *arg, char after[GFSI_CLI_PATH_MAX])
{
    for (size_t i = 0; i < page->n_entries; i++) {
        const Goosefs__V1__FileInfo *info = page->entries[i];
        char joined[GFSI_CLI_PATH_MAX];
        const char *full = info->path;
        if (full[0] == '\0') {
            /* A file that lists itself has the path that was asked for. */
            const bool itself = page->directory == NULL || !page->directory->directory;
            int rc = itself ? gfs_str_copy(joined, sizeof(joined), path)
                            : gfs_path_join(joined, sizeof(joined), path, info->name);
            if (rc < 0) {
                return rc;
            }
            full = joined;
        }
        const int rc = each(arg, info, full);
        if (rc < 0) {
            return rc;
        }
        const int fits = gfs_str_copy(after, GFSI_CLI_PATH_MAX, recursive ? full : info->name);
        if (fits < 0) {
            return fits;
        }
    }
    return 0;
}

int gfsi_walk(struct gfsi_cli *cli, const char *path, bool recursive, bool fresh,
              gfsi_entry_fn each, void *arg)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    target.path = (char *)(uintptr_t)path;
    char after[GFSI_CLI_PATH_MAX] = "";
    Goosefs__V1__ListStatusRequest request = GOOSEFS__V1__LIST_STATUS_REQUEST__INIT;
    request.target = &target;
    request.limit = PAGE;
    request.recursive = recursive;
    request.has_sync_interval = fresh || wants_fresh(cli);

    for (bool more = true; more;) {
        request.after = after;
        Goosefs__V1__ListStatusResponse *page = NULL;
        rc = gfs_client_list_status(client, &request, &page, 0, &cli->error);
        if (rc < 0) {
            return gfsi_cli_path_error(cli, rc, path);
        }
        rc = page_out(page, path, recursive, each, arg, after);
        more = page->more && page->n_entries > 0;
        goosefs__v1__list_status_response__free_unpacked(page, NULL);
        if (rc < 0) {
            return cli->error.code != 0 ? rc
                                        : gfs_err_set(&cli->error, rc, "%s", gfs_err_string(rc));
        }
        /* One listing is of one time: the later pages need not be looked at again. */
        request.has_sync_interval = false;
    }
    return 0;
}

unsigned gfsi_percent(uint64_t part, uint64_t of)
{
    if (of == 0) {
        return 100;
    }
    return part >= of ? 100 : (unsigned)((double)part * 100.0 / (double)of);
}

const char *gfsi_size(bool human, uint64_t bytes, char *buf, size_t size)
{
    if (human) {
        return gfs_format_size(bytes, buf, size);
    }
    (void)snprintf(buf, size, "%llu", (unsigned long long)bytes);
    return buf;
}
