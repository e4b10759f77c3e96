/* Commands that ask the running instance over its control socket. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>

#include "cmd/cmd.h"

#define CALL_NS     (30 * GFS_NS_PER_S)
#define MESSAGE_MAX (16u << 20)

static void print_failure(const struct gfsi_options *options, const struct gfs_rpc_result *result,
                          const char *target)
{
    if (result->code == GFS_ETIMEOUT) {
        fprintf(stderr, "fluid-controller: timed out%s%s\n",
                options->condition[0] != '\0' ? " waiting for " : "", options->condition);
    } else if (result->code == GFS_EUNAVAIL && result->grpc_status != 0 &&
               strstr(result->text, "stopping") == NULL) {
        fprintf(stderr,
                "fluid-controller: cannot reach the instance at %s: is `fluid-controller run` "
                "running? (%s)\n",
                target, result->text);
    } else {
        size_t len = strlen(result->text);

        fprintf(stderr, "%s%s", result->text, len > 0 && result->text[len - 1] == '\n' ? "" : "\n");
    }
}

ProtobufCMessage *gfsi_call(const struct gfsi_options *options, const char *method,
                            const ProtobufCMessage *request, bool wait, int64_t timeout_ns)
{
    struct gfs_rpc_channel_opts opts = {.wait_for_ready = wait, .max_message = MESSAGE_MAX};
    struct gfs_rpc_channel *channel = NULL;
    struct gfs_rpc_result result = {0};
    struct gfs_err err = GFS_ERR_INIT;
    ProtobufCMessage *response = NULL;
    char target[PATH_MAX + 32];

    if (options->socket != NULL && options->socket[0] != '\0') {
        (void)snprintf(target, sizeof(target), "unix://%s", options->socket);
    } else {
        (void)snprintf(target, sizeof(target), "unix://%s/control.sock", options->state_dir);
    }

    if (gfs_rpc_channel_new(target, &opts, &channel, &err) < 0) {
        fprintf(stderr, "fluid-controller: %s\n", err.text);
        return NULL;
    }
    if (gfs_rpc_call_sync_result(channel, &fluid__local__v1__local__descriptor, method, request,
                                 &response, gfs_clock_mono() + timeout_ns, &result, &err) < 0) {
        print_failure(options, &result, target + strlen("unix://"));
        response = NULL;
    }

    (void)gfs_rpc_channel_free(channel);
    return response;
}

/* ---- apply, create ---- */

static int apply(const struct gfsi_options *options, bool create_only)
{
    Fluid__Local__V1__ApplyRequest request = FLUID__LOCAL__V1__APPLY_REQUEST__INIT;
    Fluid__Local__V1__File files[GFS_LOCAL_FILES_MAX];
    Fluid__Local__V1__File *pointers[GFS_LOCAL_FILES_MAX];
    bool ok = options->n_files > 0;

    if (!ok) {
        fprintf(stderr, "fluid-controller: give a manifest with -f FILE\n");
    }
    for (size_t i = 0; ok && i < options->n_files; i++) {
        fluid__local__v1__file__init(&files[i]);
        pointers[i] = &files[i];
        files[i].name = (char *)(uintptr_t)options->files[i];
        files[i].text = gfsi_read_file(options->files[i]);
        ok = files[i].text != NULL;
        request.n_files += ok;
    }

    request.files = pointers;
    request.namespace_ = (char *)(uintptr_t)options->ns;
    request.create_only = create_only;

    Fluid__Local__V1__ApplyResponse *response =
        ok ? (Fluid__Local__V1__ApplyResponse *)gfsi_call(options, "Apply", &request.base, false,
                                                          CALL_NS)
           : NULL;

    for (size_t i = 0; i < request.n_files; i++) {
        free(files[i].text);
    }
    if (response == NULL) {
        return 1;
    }

    int status = response->refused ? 1 : 0;

    (void)fputs(response->findings, stderr);
    for (size_t i = 0; i < response->n_applied; i++) {
        printf("%s %s\n", response->applied[i]->resource, response->applied[i]->verb);
    }

    fluid__local__v1__apply_response__free_unpacked(response, NULL);
    return status;
}

int gfsi_cmd_apply(const struct gfsi_options *options)
{
    return apply(options, false);
}

int gfsi_cmd_create(const struct gfsi_options *options)
{
    return apply(options, true);
}

/* ---- get ---- */

static void print_row(char *const *cells, size_t n, const size_t *widths)
{
    for (size_t c = 0; c < n; c++) {
        if (c + 1 == n) {
            printf("%s\n", cells[c]);
        } else {
            printf("%-*s   ", (int)widths[c], cells[c]);
        }
    }
}

static void print_table(const Fluid__Local__V1__GetResponse *table)
{
    size_t *widths = calloc(table->n_columns + 1, sizeof(*widths));

    if (widths == NULL) {
        return;
    }

    for (size_t c = 0; c < table->n_columns; c++) {
        widths[c] = strlen(table->columns[c]);
        for (size_t r = 0; r < table->n_rows; r++) {
            size_t len = c < table->rows[r]->n_cells ? strlen(table->rows[r]->cells[c]) : 0;

            widths[c] = len > widths[c] ? len : widths[c];
        }
    }

    print_row(table->columns, table->n_columns, widths);
    for (size_t r = 0; r < table->n_rows; r++) {
        print_row(table->rows[r]->cells, table->rows[r]->n_cells, widths);
    }

    free(widths);
}

int gfsi_cmd_get(const struct gfsi_options *options)
{
    Fluid__Local__V1__GetRequest request = FLUID__LOCAL__V1__GET_REQUEST__INIT;
    char type[64];
    char name[64];

    if (gfsi_target_parse(options, type, name) < 0) {
        return 2;
    }

    request.resource = type;
    request.name = name;
    request.namespace_ = (char *)(uintptr_t)options->ns;
    request.all_namespaces = options->all_namespaces;
    request.wide = strcmp(options->output, "wide") == 0;
    request.json = strcmp(options->output, "json") == 0;

    Fluid__Local__V1__GetResponse *response =
        (Fluid__Local__V1__GetResponse *)gfsi_call(options, "Get", &request.base, false, CALL_NS);

    if (response == NULL) {
        return 1;
    }

    if (request.json) {
        (void)fputs(response->json, stdout);
    } else if (response->n_rows > 0) {
        print_table(response);
    } else if (options->all_namespaces) {
        fprintf(stderr, "No resources found\n");
    } else {
        fprintf(stderr, "No resources found in %s namespace.\n",
                options->ns[0] != '\0' ? options->ns : "default");
    }

    fluid__local__v1__get_response__free_unpacked(response, NULL);
    return 0;
}

/* ---- delete, wait ---- */

static int delete_one(const struct gfsi_options *options, const char *type, const char *name,
                      const char *ns)
{
    Fluid__Local__V1__DeleteRequest request = FLUID__LOCAL__V1__DELETE_REQUEST__INIT;

    request.resource = (char *)(uintptr_t)type;
    request.name = (char *)(uintptr_t)name;
    request.namespace_ = (char *)(uintptr_t)ns;

    Fluid__Local__V1__DeleteResponse *response = (Fluid__Local__V1__DeleteResponse *)gfsi_call(
        options, "Delete", &request.base, false, options->timeout_ns);

    if (response == NULL) {
        return 1;
    }

    printf("%s deleted\n", response->resource);
    fluid__local__v1__delete_response__free_unpacked(response, NULL);
    return 0;
}

static int delete_file(const struct gfsi_options *options, const char *file)
{
    const char *ns = options->ns[0] != '\0' ? options->ns : "default";
    struct gfs_manifest *manifest = NULL;
    int status = gfsi_parse_file(file, ns, &manifest) < 0;

    /* Runtimes first: a Dataset takes its runtime along, which then could not be found. */
    for (int kind = GFS_KIND_RUNTIME; status == 0 && kind >= GFS_KIND_DATASET; kind--) {
        for (size_t i = 0; i < manifest->n; i++) {
            const struct gfs_object *object = manifest->objects[i];

            if ((int)object->kind == kind &&
                delete_one(options, gfs_object_kind_names(object->kind)->singular, object->name,
                           object->ns) != 0) {
                status = 1;
            }
        }
    }

    (void)gfs_manifest_free(manifest);
    return status;
}

int gfsi_cmd_delete(const struct gfsi_options *options)
{
    char type[64];
    char name[64];
    int status = 0;

    for (size_t i = options->n_files; i > 0; i--) {
        status |= delete_file(options, options->files[i - 1]);
    }
    if (options->n_files > 0) {
        return status;
    }
    if (options->n_operands == 0) {
        fprintf(stderr, "fluid-controller: say what to delete: TYPE NAME, or -f FILE\n");
        return 2;
    }
    if (gfsi_target_parse(options, type, name) < 0) {
        return 2;
    }
    if (name[0] == '\0') {
        fprintf(stderr, "fluid-controller: which %s?\n", type);
        return 2;
    }

    return delete_one(options, type, name, options->ns);
}

int gfsi_cmd_wait(const struct gfsi_options *options)
{
    Fluid__Local__V1__WaitRequest request = FLUID__LOCAL__V1__WAIT_REQUEST__INIT;
    char type[64];
    char name[64];

    if (options->condition[0] == '\0') {
        fprintf(stderr, "fluid-controller: say what to wait for: --for=condition=Ready\n");
        return 2;
    }
    if (gfsi_target_parse(options, type, name) < 0) {
        return 2;
    }

    request.resource = type;
    request.name = name;
    request.namespace_ = (char *)(uintptr_t)options->ns;
    request.condition = (char *)(uintptr_t)options->condition;

    Fluid__Local__V1__WaitResponse *response = (Fluid__Local__V1__WaitResponse *)gfsi_call(
        options, "Wait", &request.base, true, options->timeout_ns);

    if (response == NULL) {
        return 1;
    }

    printf("%s condition met\n", response->resource);
    fluid__local__v1__wait_response__free_unpacked(response, NULL);
    return 0;
}
