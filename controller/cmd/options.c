#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>
#include <gfs/controller/object.h>

#include "cmd/cmd.h"

enum { OPT_HELP = 256 };

/* `letter` is the short form when it is printable, and in any case what a command's list names. */
static const struct {
    int letter;
    bool is_short;
    const char *name;
    const char *metavar; /* NULL: takes no value */
    const char *help;
} OPTIONS[] = {
    {'S', false, "state-dir", "DIR", "state of the instance [" GFSI_DEFAULT_STATE_DIR "]"},
    {'s', false, "socket", "PATH", "its control socket [FLUID_CONTROLLER_SOCKET, or below DIR]"},
    {'p', false, "platform", "NAME", "where pods run: local or kubernetes [local]"},
    {'C', false, "controllers", "NAME", "kubernetes: dataset, goosefsruntime or all [all]"},
    {'E', false, "leader-elect", NULL, "kubernetes: work only while holding a Lease"},
    {'N', false, "leader-elect-namespace", "NS", "kubernetes: where the Lease is [fluid-system]"},
    {'k', false, "kubeconfig", "FILE", "kubernetes: credentials [the pod's service account]"},
    {'I', false, "image", "IMAGE", "kubernetes: of runtimes that name none"},
    {'R', false, "launch-mode", "MODE",
     "kubernetes: who runs FUSE clients, process or pod [process]"},
    {'m', false, "metrics-addr", "HOST:PORT", "kubernetes: serve /metrics and /healthz [off]"},
    {'M', false, "mount-root", "DIR", "where data sets are mounted [/runtime-mnt]"},
    {'K', false, "kubelet-root", "DIR", "kubelet's directory [/var/lib/kubelet]"},
    {'B', false, "bin-dir", "DIR", "where the programs are [that of this one]"},
    {'L', false, "log-level", "SPEC", "debug, info, warn, error, or info,local=debug [info]"},
    {'f', true, "filename", "FILE", "manifest, - for standard input; may be repeated"},
    {'n', true, "namespace", "NS", "[default]"},
    {'A', true, "all-namespaces", NULL, "objects of every namespace"},
    {'o', true, "output", "FORMAT", "wide or json"},
    {'F', false, "for", "CONDITION", "condition=Ready, phase=Bound, phase=NotBound or delete"},
    {'T', false, "timeout", "TIME", "give up after so long, e.g. 60s [30s]"},
    {'c', true, "container", "NAME", "container of the pod [its first]"},
    {'W', false, "follow", NULL, "go on as the log grows"},
    {'t', true, "tty", NULL, "accepted, without effect"},
    {'i', true, "stdin", NULL, "accepted, without effect"},
};

#define N_OPTIONS (sizeof(OPTIONS) / sizeof(OPTIONS[0]))

void gfsi_usage(void)
{
    printf("Usage: fluid-controller COMMAND [OPTION...]\n"
           "The dataset and GooseFSRuntime controllers, and the local platform: objects become\n"
           "supervised processes on this machine.\n\n");
    for (const struct gfsi_command *c = gfsi_commands; c->name != NULL; c++) {
        printf("  %-9s %s\n", c->name, c->summary);
    }
    printf("\nfluid-controller COMMAND --help shows the options of a command.\n");
}

static void command_usage(const struct gfsi_command *c)
{
    printf("Usage: fluid-controller %s [OPTION...]%s%s\n%s\n\n", c->name,
           c->operands[0] != '\0' ? " " : "", c->operands, c->summary);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char left[64];

        if (strchr(c->options, OPTIONS[i].letter) == NULL) {
            continue;
        }
        (void)snprintf(left, sizeof(left), "%c%c%s --%s%s%s", OPTIONS[i].is_short ? '-' : ' ',
                       OPTIONS[i].is_short ? OPTIONS[i].letter : ' ',
                       OPTIONS[i].is_short ? "," : " ", OPTIONS[i].name,
                       OPTIONS[i].metavar != NULL ? " " : "",
                       OPTIONS[i].metavar != NULL ? OPTIONS[i].metavar : "");
        printf("  %-28s %s\n", left, OPTIONS[i].help);
    }
    printf("      --help                   show this\n");
}

static int set_timeout(struct gfsi_options *out, const char *value)
{
    if (gfs_parse_duration(value, &out->timeout_ns) < 0 || out->timeout_ns < 0) {
        fprintf(stderr, "fluid-controller: --timeout '%s' is not a time such as 60s\n", value);
        return GFS_EINVAL;
    }

    return 0;
}

static int set_output(struct gfsi_options *out, const char *value)
{
    if (strcmp(value, "wide") != 0 && strcmp(value, "json") != 0) {
        fprintf(stderr, "fluid-controller: --output must be wide or json, not '%s'\n", value);
        return GFS_EINVAL;
    }

    out->output = value;
    return 0;
}

static int set_file(struct gfsi_options *out, const char *value)
{
    if (out->n_files == GFS_LOCAL_FILES_MAX) {
        fprintf(stderr, "fluid-controller: more than %d files\n", GFS_LOCAL_FILES_MAX);
        return GFS_EINVAL;
    }

    out->files[out->n_files++] = value;
    return 0;
}

static int set_controllers(struct gfsi_options *out, const char *value)
{
    static const struct {
        const char *name;
        unsigned controllers;
    } names[] = {
        {"dataset", GFS_CONTROLLER_DATASET},
        {"goosefsruntime", GFS_CONTROLLER_RUNTIME},
        {"all", GFS_CONTROLLER_DATASET | GFS_CONTROLLER_RUNTIME},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i].name) == 0) {
            out->controllers = names[i].controllers;
            return 0;
        }
    }

    fprintf(stderr,
            "fluid-controller: --controllers must be dataset, goosefsruntime or all, not '%s'\n",
            value);
    return GFS_EINVAL;
}

static int set_launch_mode(struct gfsi_options *out, const char *value)
{
    if (strcmp(value, "process") != 0 && strcmp(value, "pod") != 0) {
        fprintf(stderr, "fluid-controller: --launch-mode must be process or pod, not '%s'\n",
                value);
        return GFS_EINVAL;
    }

    out->launch_pod = strcmp(value, "pod") == 0;
    return 0;
}

static int set_option(struct gfsi_options *out, int letter, const char *value)
{
    switch (letter) {
    case 'S': out->state_dir = value; return 0;
    case 's': out->socket = value; return 0;
    case 'p': out->platform = value; return 0;
    case 'C': return set_controllers(out, value);
    case 'E': out->leader_elect = true; return 0;
    case 'N': out->lease_ns = value; return 0;
    case 'k': out->kubeconfig = value; return 0;
    case 'I': out->image = value; return 0;
    case 'R': return set_launch_mode(out, value);
    case 'm': out->metrics_addr = value; return 0;
    case 'M': out->mount_root = value; return 0;
    case 'K': out->kubelet_root = value; return 0;
    case 'B': out->bin_dir = value; return 0;
    case 'L': out->log_level = value; return 0;
    case 'f': return set_file(out, value);
    case 'n': out->ns = value; return 0;
    case 'A': out->all_namespaces = true; return 0;
    case 'o': return set_output(out, value);
    case 'F': out->condition = value; return 0;
    case 'T': return set_timeout(out, value);
    case 'c': out->container = value; return 0;
    case 'W': out->follow = true; return 0;
    default: return 0;
    }
}

static void build_tables(const struct gfsi_command *command, struct option *longs, char *shorts)
{
    size_t n = 0;

    for (size_t i = 0; i < N_OPTIONS; i++) {
        bool takes = OPTIONS[i].metavar != NULL;

        if (strchr(command->options, OPTIONS[i].letter) == NULL) {
            continue;
        }
        longs[n++] = (struct option){.name = OPTIONS[i].name,
                                     .has_arg = takes ? required_argument : no_argument,
                                     .val = OPTIONS[i].letter};
        if (OPTIONS[i].is_short) {
            *shorts++ = (char)OPTIONS[i].letter;
            if (takes) {
                *shorts++ = ':';
            }
        }
    }

    longs[n++] = (struct option){.name = "help", .has_arg = no_argument, .val = OPT_HELP};
    longs[n] = (struct option){0};
    *shorts++ = 'h';
    *shorts = '\0';
}

int gfsi_options_parse(const struct gfsi_command *command, int argc, char **argv,
                       struct gfsi_options *out)
{
    struct option longs[N_OPTIONS + 2];
    char shorts[2 * N_OPTIONS + 2];

    *out = (struct gfsi_options){
        .state_dir = GFSI_DEFAULT_STATE_DIR,
        .socket = getenv("FLUID_CONTROLLER_SOCKET"),
        .platform = "local",
        .controllers = GFS_CONTROLLER_DATASET | GFS_CONTROLLER_RUNTIME,
        .lease_ns = "fluid-system",
        .kubeconfig = "",
        .image = "",
        .metrics_addr = "",
        .mount_root = "/runtime-mnt",
        .kubelet_root = "/var/lib/kubelet",
        .log_level = "info",
        .ns = "",
        .output = "",
        .condition = "",
        .container = "",
        .timeout_ns = 30 * GFS_NS_PER_S,
    };
    build_tables(command, longs, shorts);
    optind = 1;
    for (int c = 0; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == OPT_HELP || c == 'h') {
            command_usage(command);
            return 1;
        }
        if (c == '?' || set_option(out, c, optarg) < 0) {
            fprintf(stderr, "fluid-controller %s --help shows its options\n", command->name);
            return GFS_EINVAL;
        }
    }

    out->operands = (const char **)(uintptr_t)(argv + optind);
    out->n_operands = (size_t)(argc - optind);
    if (out->n_operands < command->min_operands || out->n_operands > command->max_operands) {
        fprintf(stderr, "Usage: fluid-controller %s [OPTION...] %s\n", command->name,
                command->operands);
        return GFS_EINVAL;
    }

    return 0;
}

int gfsi_target_parse(const struct gfsi_options *options, char type[64], char name[64])
{
    const char *slash = strchr(options->operands[0], '/');
    const char *wanted = options->n_operands > 1 ? options->operands[1]
                         : slash != NULL         ? slash + 1
                                                 : "";
    size_t len =
        slash != NULL ? (size_t)(slash - options->operands[0]) : strlen(options->operands[0]);

    if (len >= 64 || strlen(wanted) >= 64 || (slash != NULL && options->n_operands > 1)) {
        fprintf(stderr, "fluid-controller: '%s' is not TYPE or TYPE/NAME\n", options->operands[0]);
        return GFS_EINVAL;
    }

    memcpy(type, options->operands[0], len);
    type[len] = '\0';
    memcpy(name, wanted, strlen(wanted) + 1);
    return 0;
}

char *gfsi_read_file(const char *file)
{
    struct gfs_buf text;
    struct gfs_err err = GFS_ERR_INIT;
    bool is_stdin = strcmp(file, "-") == 0;

    gfs_buf_init(&text, GFS_MANIFEST_MAX_BYTES + 1);

    int rc = gfs_file_read(is_stdin ? "/dev/stdin" : file, &text, &err);

    if (rc == 0 && text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
        rc = gfs_err_set(&err, GFS_EINVAL, "%s: not YAML text: contains a NUL byte", file);
    }
    if (rc < 0) {
        fprintf(stderr, "fluid-controller: %s\n", gfs_err_text(&err, rc));
        gfs_buf_fini(&text);
        return NULL;
    }

    char *taken = text.len > 0 ? gfs_buf_take(&text) : strdup("");

    gfs_buf_fini(&text);
    return taken;
}
