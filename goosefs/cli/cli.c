/* Command line to verb, error to exit code. */
#include "cli_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/str.h>
#include <gfs/cli/cli.h>

bool gfsi_cli_has(const struct gfsi_cli *cli, const char *flag)
{
    for (size_t i = 0; i < cli->n_flags; i++) {
        if (strcmp(cli->flags[i].flag->name, flag) == 0) {
            return true;
        }
    }
    return false;
}

const char *gfsi_cli_value(const struct gfsi_cli *cli, const char *flag)
{
    for (size_t i = cli->n_flags; i > 0; i--) {
        if (strcmp(cli->flags[i - 1].flag->name, flag) == 0) {
            return cli->flags[i - 1].value;
        }
    }
    return NULL;
}

int gfsi_cli_client(struct gfsi_cli *cli, struct gfs_client **out)
{
    if (cli->client == NULL) {
        const int rc =
            gfs_client_new_from_props(gfsi_config_get, cli, NULL, &cli->client, &cli->error);
        if (rc < 0) {
            return rc;
        }
    }
    *out = cli->client;
    return 0;
}

int gfsi_cli_path(struct gfsi_cli *cli, const char *operand, char out[GFSI_CLI_PATH_MAX])
{
    const char *path = operand;
    if (gfs_str_has_prefix(operand, "gfs://")) {
        path = strchr(operand + strlen("gfs://"), '/');
        path = path != NULL ? path : "/";
    }
    char absolute[GFSI_CLI_PATH_MAX];
    const int n = snprintf(absolute, sizeof(absolute), "%s%s", path[0] == '/' ? "" : "/", path);
    const int rc = n < 0 || (size_t)n >= sizeof(absolute)
                       ? GFS_ENAMETOOLONG
                       : gfs_path_normalize(absolute, out, GFSI_CLI_PATH_MAX);
    return rc < 0 ? gfs_err_set(&cli->error, rc, "'%.200s' is not a path", operand) : 0;
}

int gfsi_cli_path_error(struct gfsi_cli *cli, int rc, const char *path)
{
    if (rc == GFS_ENOENT) {
        return gfs_err_set(&cli->error, rc, "Path %s does not exist", path);
    }
    return rc;
}

/* ---- parsing ---- */

static int usage_error(struct gfsi_cli *cli, const char *what, const char *arg)
{
    (void)fprintf(cli->err, "goosefs: %s%s%s\n", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "");
    if (cli->verb != NULL) {
        gfsi_usage_verb(cli->err, cli->verb);
    } else {
        (void)fprintf(cli->err, "See goosefs --help.\n");
    }
    return GFS_CLI_USAGE;
}

/* -Dk=v; false when it is malformed. */
static bool take_property(struct gfsi_cli *cli, const char *arg)
{
    const char *equals = strchr(arg + 2, '=');
    if (equals == NULL || equals == arg + 2) {
        return false;
    }
    char *key gfs_auto_free = strndup(arg + 2, (size_t)(equals - arg - 2));
    return key != NULL && gfs_props_set(cli->given, key, equals + 1) == 0;
}

static const struct gfsi_flag *find_flag(const struct gfsi_verb *verb, const char *name, size_t len)
{
    for (const struct gfsi_flag *f = verb->flags; f != NULL && f->name != NULL; f++) {
        if (strlen(f->name) == len && strncmp(f->name, name, len) == 0) {
            return f;
        }
    }
    return NULL;
}

static bool add_flag(struct gfsi_cli *cli, const struct gfsi_flag *flag, const char *value)
{
    if (cli->n_flags >= GFSI_CLI_FLAGS_MAX) {
        return false;
    }
    cli->flags[cli->n_flags++] = (struct gfsi_given){.flag = flag, .value = value};
    return true;
}

/* "-Rh" for "-R -h": every letter a flag without value. */
static bool add_letters(struct gfsi_cli *cli, const char *arg)
{
    for (const char *p = arg + 1; *p != '\0'; p++) {
        const char name[2] = {'-', *p};
        const struct gfsi_flag *flag = find_flag(cli->verb, name, 2);
        if (flag == NULL || flag->value != NULL || !add_flag(cli, flag, NULL)) {
            return false;
        }
    }
    return true;
}

/* Takes argv[*i] as a flag, with its value from "=..." or the next argument. */
static bool take_flag(struct gfsi_cli *cli, int argc, char *const *argv, int *i)
{
    const char *arg = argv[*i];
    const size_t len = strcspn(arg, "=");
    const struct gfsi_flag *flag = find_flag(cli->verb, arg, len);
    if (flag == NULL) {
        return arg[1] != '-' && arg[len] == '\0' && add_letters(cli, arg);
    }
    if (flag->value == NULL) {
        return arg[len] == '\0' && add_flag(cli, flag, NULL);
    }
    if (arg[len] == '=') {
        return add_flag(cli, flag, arg + len + 1);
    }
    return *i + 1 < argc && add_flag(cli, flag, argv[++*i]);
}

/* What follows the verb. Returns an exit code, or -1 to go on. */
static int parse_rest(struct gfsi_cli *cli, int argc, char *const *argv, int i)
{
    bool only_operands = false;
    for (; i < argc; i++) {
        const char *arg = argv[i];
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            cli->operands[cli->n_operands++] = arg;
        } else if (strcmp(arg, "--") == 0) {
            only_operands = true;
        } else if (strcmp(arg, "--help") == 0) {
            gfsi_usage_verb(cli->out, cli->verb);
            return GFS_CLI_OK;
        } else if (gfs_str_has_prefix(arg, "-D")) {
            if (!take_property(cli, arg)) {
                return usage_error(cli, "expected -DPROPERTY=VALUE", arg);
            }
        } else if (!take_flag(cli, argc, argv, &i)) {
            return usage_error(cli, "unknown or incomplete option", arg);
        }
    }
    if (cli->n_operands < cli->verb->min_operands) {
        return usage_error(cli, "an argument is missing", NULL);
    }
    if (cli->n_operands > cli->verb->max_operands) {
        return usage_error(cli, "unexpected argument", cli->operands[cli->verb->max_operands]);
    }
    return -1;
}

/* Finds the verb. Returns an exit code, or -1 with *out_i behind the verb. */
static int parse_verb(struct gfsi_cli *cli, int argc, char *const *argv, int *out_i)
{
    const char *group = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (gfs_str_has_prefix(arg, "-D")) {
            if (!take_property(cli, arg)) {
                return usage_error(cli, "expected -DPROPERTY=VALUE", arg);
            }
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 ||
                   (group == NULL && strcmp(arg, "help") == 0)) {
            (group != NULL) ? gfsi_usage_group(cli->out, group) : gfsi_usage_all(cli->out);
            return GFS_CLI_OK;
        } else if (group == NULL && strcmp(arg, "--version") == 0) {
            (void)gfsi_run_version(cli);
            return GFS_CLI_OK;
        } else if (group == NULL && (strcmp(arg, "fs") == 0 || strcmp(arg, "fsadmin") == 0 ||
                                     strcmp(arg, "fuse") == 0)) {
            group = arg;
        } else {
            cli->verb = gfsi_verb_find(group != NULL ? group : "", arg);
            *out_i = i + 1;
            return cli->verb != NULL ? -1 : usage_error(cli, "unknown command", arg);
        }
    }
    (group != NULL) ? gfsi_usage_group(cli->err, group) : gfsi_usage_all(cli->err);
    return GFS_CLI_USAGE;
}

/* ---- running ---- */

/* The addresses belong to every message about masters that do not answer. */
static void print_error(struct gfsi_cli *cli, int rc)
{
    (void)fprintf(cli->err, "goosefs: %s%s%s: %s", cli->verb->group,
                  cli->verb->group[0] != '\0' ? " " : "", cli->verb->name,
                  gfs_err_text(&cli->error, rc));
    if (cli->client != NULL && gfs_err_retryable(rc)) {
        (void)fprintf(cli->err, " (masters:");
        for (size_t i = 0; i < gfs_client_n_masters(cli->client); i++) {
            (void)fprintf(cli->err, " %s", gfs_client_master(cli->client, i));
        }
        (void)fprintf(cli->err, "%s%s)", cli->file_name[0] != '\0' ? ", from " : "",
                      cli->file_name);
    }
    (void)fputc('\n', cli->err);
}

static int run_verb(struct gfsi_cli *cli)
{
    int rc = gfsi_config_load(cli);
    if (rc == 0) {
        rc = cli->verb->run(cli);
    }
    /* Output that did not reach its file is a failure too. */
    if (rc == 0 && fflush(cli->out) != 0) {
        rc = gfs_err_set(&cli->error, GFS_EIO, "cannot write the output");
    }
    if (rc < 0) {
        (void)fflush(cli->out);
        print_error(cli, rc);
    }
    cli->client = gfs_client_free(cli->client);
    if (rc >= GFSI_CLI_SILENT) {
        return rc - GFSI_CLI_SILENT;
    }
    return rc < 0 ? GFS_CLI_FAILED : GFS_CLI_OK;
}

int gfs_cli_run(int argc, char *const *argv, const char *(*getenv_fn)(const char *name), FILE *out,
                FILE *err)
{
    struct gfsi_cli cli = {.out = out, .err = err, .getenv_fn = getenv_fn};
    cli.given = gfs_props_new();
    cli.file = gfs_props_new();
    cli.operands = calloc((size_t)argc + 1, sizeof(*cli.operands));
    int code = GFS_CLI_FAILED;
    if (cli.given == NULL || cli.file == NULL || cli.operands == NULL) {
        (void)fprintf(err, "goosefs: out of memory\n");
    } else {
        int i = 1;
        code = parse_verb(&cli, argc, argv, &i);
        code = code == -1 ? parse_rest(&cli, argc, argv, i) : code;
        code = code == -1 ? run_verb(&cli) : code;
    }
    free(cli.operands);
    gfs_props_free(cli.given);
    gfs_props_free(cli.file);
    return code;
}
