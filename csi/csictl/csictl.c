#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "csictl_priv.h"

#define EXIT_USAGE 2
#define EXIT_GRPC  10 /* and the status on top */

static void print_error(int status, const char *text)
{
    json_t *json = json_pack("{s:{s:s, s:i, s:s}}", "error", "code", gfs_rpc_status_name(status),
                             "status", status, "message", text);

    if (json == NULL || json_dumpf(json, stderr, JSON_COMPACT) < 0) {
        (void)fprintf(stderr, "%s", text);
    }
    (void)fputc('\n', stderr);
    json_decref(json);
}

/* The address: as given, or the plugin's socket below the kubelet root. */
static char *find_endpoint(const struct ctl_args *args)
{
    char *endpoint;

    if (args->endpoint != NULL) {
        return strdup(args->endpoint);
    }
    return asprintf(&endpoint, "unix://%s/csi-plugins/fuse.csi.fluid.io/csi.sock",
                    args->kubelet_root) >= 0
               ? endpoint
               : NULL;
}

static int run(struct ctl_args *args, ctl_verb verb)
{
    char *endpoint gfs_auto_free = find_endpoint(args);
    /* What grpc-go sends on unix sockets, and so kubelet. */
    struct gfs_rpc_channel_opts opts = {.authority = "localhost"};
    struct ctl ctl = {.args = args};
    struct gfs_err err = GFS_ERR_INIT;
    json_t *answer = NULL;
    int rc;

    if (endpoint == NULL) {
        (void)fprintf(stderr, "csictl: out of memory\n");
        return 1;
    }
    rc = gfs_rpc_channel_new(endpoint, &opts, &ctl.channel, &err);
    if (rc == 0) {
        rc = verb(&ctl, &answer, &err);
    }
    (void)gfs_rpc_channel_free(ctl.channel);

    if (rc < 0) {
        int status = ctl.result.grpc_status != 0 ? ctl.result.grpc_status : gfs_err_to_grpc(rc);

        print_error(status, gfs_err_text(&err, rc));
        return ctl.result.grpc_status == 0 && rc == GFS_EINVAL ? EXIT_USAGE : EXIT_GRPC + status;
    }
    (void)json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    (void)fputc('\n', stdout);
    json_decref(answer);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct ctl_args *args = calloc(1, sizeof(*args));
    struct gfs_err err = GFS_ERR_INIT;
    ctl_verb verb;
    int rc;
    int code;

    if (args == NULL) {
        return 1;
    }
    (void)gfs_log_configure("warn");
    rc = ctl_args_parse(args, argc, argv, &err);
    if (rc == 0) {
        verb = ctl_find_verb(args->words[0], args->words[1] != NULL ? args->words[1] : "");
        if (verb == NULL) {
            rc = gfs_err_set(&err, GFS_EINVAL, "unknown command '%s%s%s' (see csictl --help)",
                             args->words[0], args->words[1] != NULL ? " " : "",
                             args->words[1] != NULL ? args->words[1] : "");
        }
    }
    if (rc < 0) {
        (void)fprintf(stderr, "csictl: %s\n", gfs_err_text(&err, rc));
        code = EXIT_USAGE;
    } else {
        code = rc == 1 ? 0 : run(args, verb);
    }
    ctl_args_fini(args);
    free(args);
    return code;
}
