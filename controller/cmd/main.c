/* fluid-controller: runs the controllers, and speaks to those that run. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/buf.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/base/version.h>
#include <gfs/controller/object.h>

#include "cmd/cmd.h"

const struct gfsi_command gfsi_commands[] = {
    {"run", "", "run the controllers until SIGTERM", "SpMKBLfCENkIRm", 0, 0, gfsi_cmd_run},
    {"apply", "", "create or change the objects of manifests", "Ssfn", 0, 0, gfsi_cmd_apply},
    {"create", "", "create the objects of manifests, which must not exist", "Ssfn", 0, 0,
     gfsi_cmd_create},
    {"get", "TYPE[/NAME] [NAME]", "show nodes, pods, datasets, goosefsruntimes, pv, pvc or events",
     "SsnAo", 1, 2, gfsi_cmd_get},
    {"delete", "TYPE[/NAME] [NAME]", "delete a dataset or goosefsruntime, and wait for its end",
     "SsfnT", 0, 2, gfsi_cmd_delete},
    {"wait", "TYPE[/NAME] [NAME]", "wait until an object is as said with --for", "SsnFT", 1, 2,
     gfsi_cmd_wait},
    {"exec", "POD -- COMMAND [ARGUMENT...]", "run a command with a pod's configuration", "Ssncti",
     2, GFSI_OPERANDS_MAX, gfsi_cmd_exec},
    {"logs", "POD", "show what a pod's process printed", "SsncW", 1, 1, gfsi_cmd_logs},
    {"validate", "", "check manifests without an instance", "fn", 0, 0, gfsi_cmd_validate},
    {0},
};

/* An absolute path without a final slash; the directory need not exist. */
static int absolute(const char *path, char out[PATH_MAX])
{
    char joined[PATH_MAX * 2];
    char cwd[PATH_MAX];

    if (path[0] == '/') {
        (void)snprintf(joined, sizeof(joined), "%s", path);
    } else if (getcwd(cwd, sizeof(cwd)) == NULL ||
               gfs_path_join(joined, sizeof(joined), cwd, path) < 0) {
        return GFS_EINVAL;
    }

    return gfs_path_normalize(joined, out, PATH_MAX);
}

static int own_directory(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);

    if (n <= 0) {
        return GFS_EIO;
    }

    out[n] = '\0';
    *strrchr(out, '/') = '\0';
    return 0;
}

int gfsi_cmd_run(const struct gfsi_options *options)
{
    char state[PATH_MAX], mounts[PATH_MAX], kubelet[PATH_MAX], bin[PATH_MAX];
    struct gfs_err err = GFS_ERR_INIT;

    if (gfs_log_configure(options->log_level) < 0) {
        fprintf(stderr, "fluid-controller: --log-level '%s' is not a level\n", options->log_level);
        return 2;
    }
    if (strcmp(options->platform, "kubernetes") == 0) {
        return gfsi_run_kubernetes(options);
    }
    if (strcmp(options->platform, "local") != 0) {
        fprintf(stderr, "fluid-controller: unknown --platform '%s' (known: local, kubernetes)\n",
                options->platform);
        return 2;
    }
    if (absolute(options->state_dir, state) < 0 || absolute(options->mount_root, mounts) < 0 ||
        absolute(options->kubelet_root, kubelet) < 0 ||
        (options->bin_dir != NULL && absolute(options->bin_dir, bin) < 0)) {
        fprintf(stderr, "fluid-controller: a directory is not a usable path\n");
        return 2;
    }
    if (options->bin_dir == NULL && own_directory(bin) < 0) {
        fprintf(stderr, "fluid-controller: can't find its own directory: is /proc mounted? "
                        "--bin-dir says where the programs are\n");
        return 2;
    }

    const struct gfs_local_opts opts = {
        .state_dir = state,
        .mount_root = mounts,
        .kubelet_root = kubelet,
        .bin_dir = bin,
        .files = options->files,
        .n_files = options->n_files,
    };

    if (gfs_local_run(&opts, &err) < 0) {
        fprintf(stderr, "fluid-controller: %s\n", err.text);
        return 1;
    }

    return 0;
}

int gfsi_parse_file(const char *file, const char *ns, struct gfs_manifest **out)
{
    char *text = gfsi_read_file(file);
    struct gfs_buf messages;
    struct gfs_diags diags;

    if (text == NULL || gfs_diags_init(&diags, file) < 0) {
        free(text);
        return GFS_EINVAL;
    }

    int rc = gfs_manifest_parse(text, strlen(text), ns, &diags, out);

    gfs_buf_init(&messages, 65536);
    gfs_diags_print(&diags, &messages);
    (void)fputs(gfs_buf_str(&messages), stderr);
    gfs_buf_fini(&messages);
    gfs_diags_fini(&diags);
    free(text);
    return rc;
}

int gfsi_cmd_validate(const struct gfsi_options *options)
{
    int status = 0;

    if (options->n_files == 0) {
        fprintf(stderr, "fluid-controller: give a manifest with -f FILE\n");
        return 2;
    }

    for (size_t i = 0; i < options->n_files; i++) {
        struct gfs_manifest *manifest = NULL;

        if (gfsi_parse_file(options->files[i], options->ns[0] != '\0' ? options->ns : "default",
                            &manifest) < 0) {
            status = 1;
            continue;
        }
        for (size_t k = 0; k < manifest->n; k++) {
            printf("%s.data.fluid.io/%s valid\n",
                   gfs_object_kind_names(manifest->objects[k]->kind)->singular,
                   manifest->objects[k]->name);
        }
        (void)gfs_manifest_free(manifest);
    }

    return status;
}

int main(int argc, char **argv)
{
    struct gfsi_options options;
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        gfsi_usage();
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("fluid-controller %s\n", gfs_version());
        return 0;
    }

    for (const struct gfsi_command *c = gfsi_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) != 0) {
            continue;
        }

        int rc = gfsi_options_parse(c, argc - 1, argv + 1, &options);

        return rc > 0 ? 0 : rc < 0 ? 2 : c->run(&options);
    }

    if (name[0] != '\0') {
        fprintf(stderr, "fluid-controller: unknown command '%s'\n", name);
    }
    fprintf(stderr, "fluid-controller --help shows the commands\n");
    return 2;
}
