/* mount, unmount and the list of mounts. */
#include "cli_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/str.h>

#define OPTIONS_MAX 32

/* "https://..." is of type web; "/dir" and "file:" are local; others have their scheme's name. */
static void ufs_type(const char *uri, char *out, size_t size)
{
    const char *colon = strstr(uri, "://");
    if (gfs_str_has_prefix(uri, "http://") || gfs_str_has_prefix(uri, "https://")) {
        (void)snprintf(out, size, "web");
    } else if (colon == NULL || gfs_str_has_prefix(uri, "file://")) {
        (void)snprintf(out, size, "local");
    } else {
        (void)snprintf(out, size, "%.*s", (int)(colon - uri), uri);
    }
}

static void print_mount(FILE *out, const Goosefs__V1__MountInfo *mount, int uri_width,
                        int path_width)
{
    char type[32];
    ufs_type(mount->ufs_uri, type, sizeof(type));
    (void)fprintf(out,
                  "%-*s  on  %-*s  (%s, capacity=-1B, used=-1B, %sread-only, %sshared, "
                  "properties={",
                  uri_width, mount->ufs_uri, path_width, mount->path, type,
                  mount->read_only ? "" : "not ", mount->shared ? "" : "not ");
    /* Values may be credentials: names only. */
    for (size_t i = 0; i < mount->n_properties; i++) {
        (void)fprintf(out, "%s%s=******", i > 0 ? ", " : "", mount->properties[i]->key);
    }
    (void)fprintf(out, "})\n");
}

int gfsi_print_mounts(struct gfsi_cli *cli)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    const Goosefs__V1__ListMountsRequest request = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;
    Goosefs__V1__ListMountsResponse *list = NULL;
    rc = gfs_client_list_mounts(client, &request, &list, 0, &cli->error);
    if (rc < 0) {
        return rc;
    }
    int uri_width = 0, path_width = 0;
    for (size_t i = 0; i < list->n_mounts; i++) {
        const int uri = (int)strlen(list->mounts[i]->ufs_uri);
        const int path = (int)strlen(list->mounts[i]->path);
        uri_width = uri > uri_width ? uri : uri_width;
        path_width = path > path_width ? path : path_width;
    }
    for (size_t i = 0; i < list->n_mounts; i++) {
        print_mount(cli->out, list->mounts[i], uri_width, path_width);
    }
    goosefs__v1__list_mounts_response__free_unpacked(list, NULL);
    return 0;
}

/* --option K=V, as often as given. The pairs point into `copies`, to be freed. */
static int take_options(struct gfsi_cli *cli, Goosefs__V1__KeyValue *pairs,
                        Goosefs__V1__KeyValue **pointers, char **copies, size_t *out_n)
{
    size_t n = 0;
    for (size_t i = 0; i < cli->n_flags; i++) {
        if (strcmp(cli->flags[i].flag->name, "--option") != 0) {
            continue;
        }
        const char *equals = strchr(cli->flags[i].value, '=');
        if (equals == NULL || equals == cli->flags[i].value || n >= OPTIONS_MAX) {
            /* The text may be a secret that was misspelt: not repeated. */
            return gfs_err_set(&cli->error, GFS_EINVAL,
                               "--option: expected KEY=VALUE, at most %d times", OPTIONS_MAX);
        }
        copies[n] = strdup(cli->flags[i].value);
        if (copies[n] == NULL) {
            return gfs_err_set(&cli->error, GFS_ENOMEM, "out of memory");
        }
        char *value = copies[n] + (equals - cli->flags[i].value);
        *value = '\0';
        goosefs__v1__key_value__init(&pairs[n]);
        pairs[n].key = copies[n];
        pairs[n].value = value + 1;
        pointers[n] = &pairs[n];
        n++;
        *out_n = n;
    }
    return 0;
}

static int mount(struct gfsi_cli *cli, const char *path, const char *uri)
{
    struct gfs_client *client;
    int rc = gfsi_cli_client(cli, &client);
    if (rc < 0) {
        return rc;
    }
    Goosefs__V1__KeyValue pairs[OPTIONS_MAX];
    Goosefs__V1__KeyValue *pointers[OPTIONS_MAX];
    char *copies[OPTIONS_MAX] = {0};
    size_t n = 0;
    uint8_t id[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(id);

    rc = take_options(cli, pairs, pointers, copies, &n);
    if (rc == 0) {
        Goosefs__V1__MountRequest request = GOOSEFS__V1__MOUNT_REQUEST__INIT;
        request.path = (char *)(uintptr_t)path;
        request.ufs_uri = (char *)(uintptr_t)uri;
        request.read_only = gfsi_cli_has(cli, "--readonly");
        request.shared = gfsi_cli_has(cli, "--shared");
        request.n_properties = n;
        request.properties = pointers;
        request.operation_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
        Goosefs__V1__MountResponse *response = NULL;
        rc = gfs_client_mount(client, &request, &response, 0, &cli->error);
        if (rc == 0) {
            goosefs__v1__mount_response__free_unpacked(response, NULL);
        }
    }
    for (size_t i = 0; i < OPTIONS_MAX; i++) {
        free(copies[i]);
    }
    return rc;
}

int gfsi_run_mount(struct gfsi_cli *cli)
{
    if (cli->n_operands == 0) {
        return gfsi_print_mounts(cli);
    }
    if (cli->n_operands == 1) {
        return gfs_err_set(&cli->error, GFS_EINVAL, "the origin to mount is missing");
    }
    char path[GFSI_CLI_PATH_MAX];
    int rc = gfsi_cli_path(cli, cli->operands[0], path);
    if (rc == 0) {
        rc = mount(cli, path, cli->operands[1]);
    }
    if (rc == 0) {
        (void)fprintf(cli->out, "Mounted %s at %s\n", cli->operands[1], path);
    }
    return rc;
}

int gfsi_run_unmount(struct gfsi_cli *cli)
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
    uint8_t id[GFS_CLIENT_OPERATION_ID];
    gfs_client_operation_id(id);
    Goosefs__V1__UnmountRequest request = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
    request.path = path;
    request.operation_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    Goosefs__V1__UnmountResponse *response = NULL;
    rc = gfs_client_unmount(client, &request, &response, 0, &cli->error);
    if (rc < 0) {
        return gfsi_cli_path_error(cli, rc, path);
    }
    goosefs__v1__unmount_response__free_unpacked(response, NULL);
    (void)fprintf(cli->out, "Unmounted %s\n", path);
    return 0;
}
