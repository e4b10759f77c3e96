/* fuse-keeperctl: asks a keeper from a shell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/mounter/keeper_client.h>

#define EXIT_USAGE 2

static const struct gfs_cfg_option options[] = {
    {.flag = "socket",
     .property = "goosefs.keeper.socket",
     .type = GFS_CFG_STR,
     .default_value = "/run/goosefs/keeper.sock",
     .metavar = "PATH",
     .help = "the keeper's unix socket"},
    {.flag = "timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "60s",
     .metavar = "TIME",
     .help = "give up waiting for the keeper after so long; it goes on"},
    {.flag = "json",
     .type = GFS_CFG_BOOL,
     .default_value = "false",
     .help = "list, stat: one JSON object per line"},
    {.flag = "lazy",
     .type = GFS_CFG_BOOL,
     .default_value = "false",
     .help = "unmount: detach when busy, open files are served until closed"},
    {.flag = "fstype",
     .type = GFS_CFG_STR,
     .default_value = "fuse.goosefs-fuse",
     .metavar = "TYPE",
     .help = "mount: file system type"},
    {.flag = "hang-timeout",
     .type = GFS_CFG_DURATION,
     .default_value = "20s",
     .metavar = "TIME",
     .help = "mount: replace a client that does not answer for so long; 0: never"},
    {.flag = "uid",
     .type = GFS_CFG_INT,
     .default_value = "0",
     .min = 0,
     .max = UINT32_MAX,
     .metavar = "UID",
     .help = "mount: user and group id the client runs as; 0: what the keeper is configured to"},
    {.flag = "launch",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "DIR",
     .help = "mount: the client is started by the launcher of this directory"},
    {.flag = "log",
     .type = GFS_CFG_STR,
     .default_value = "",
     .metavar = "FILE",
     .help = "mount: the client's log; unset: the keeper's"},
};

static const struct gfs_cfg_program program = {
    .name = "fuse-keeperctl",
    .summary = "asks fuse-keeper for its mounts, makes, replaces and ends them",
    .operands = "COMMAND",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .epilog = "Commands:\n"
              "  list                                     all mounts\n"
              "  stat ID                                  one mount\n"
              "  mount ID MOUNTPOINT -- PROGRAM [ARG...]  mount, served by PROGRAM\n"
              "  restart ID [-- PROGRAM [ARG...]]         replace the client, under load\n"
              "  unmount ID                               unmount and stop the client",
};

struct command {
    const struct gfs_cfg *cfg;
    struct gfs_keeper_client *keeper;
    int64_t deadline;
    const char *operands[3];
    const char *const *argv; /* behind "--", NULL when there was none */
};

static void print_header(void)
{
    (void)printf("%-24s %-10s %6s %8s %6s %8s %8s %6s  %s\n", "ID", "STATE", "SINCE", "PID",
                 "MINOR", "RESTARTS", "RESENDS", "HANGS", "MOUNTPOINT");
}

/* A JSON string. */
static void print_quoted(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f) {
            (void)printf("\\u%04x", c);
        } else {
            (void)printf(c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
    }
    (void)putchar('"');
}

static bool print_json(void *arg, const struct gfs_keeper_info *info)
{
    (void)arg;
    (void)printf("{\"id\":");
    print_quoted(info->id);
    (void)printf(",\"mountpoint\":");
    print_quoted(info->mountpoint);
    (void)printf(",\"launch\":");
    print_quoted(info->launch != NULL ? info->launch : "");
    (void)printf(",\"state\":\"%s\",\"stateMs\":%u,\"pid\":%u,\"minor\":%u,\"restarts\":%llu,"
                 "\"resends\":%llu,\"hangs\":%llu,\"remounts\":%llu,\"waiting\":%u}\n",
                 gfs_keeper_state_name(info->state), info->since_ms, info->pid, info->minor,
                 (unsigned long long)info->restarts, (unsigned long long)info->resends,
                 (unsigned long long)info->hangs, (unsigned long long)info->remounts,
                 info->waiting);
    return true;
}

static bool print_info(void *arg, const struct gfs_keeper_info *info)
{
    char since[32];

    (void)arg;
    (void)gfs_clock_format_age(info->since_ms / 1000, since, sizeof(since));
    (void)printf("%-24s %-10s %6s %8u %6u %8llu %8llu %6llu  %s\n", info->id,
                 gfs_keeper_state_name(info->state), since, info->pid, info->minor,
                 (unsigned long long)info->restarts, (unsigned long long)info->resends,
                 (unsigned long long)info->hangs, info->mountpoint);
    return true;
}

static int run_list(const struct command *c, struct gfs_err *err)
{
    bool json = gfs_cfg_bool(c->cfg, "json");

    if (!json) {
        print_header();
    }
    return gfs_keeper_client_list(c->keeper, c->deadline, json ? print_json : print_info, NULL,
                                  err);
}

static int run_stat(const struct command *c, struct gfs_err *err)
{
    struct gfs_keeper_info info;
    int rc = gfs_keeper_client_stat(c->keeper, c->operands[1], c->deadline, &info, err);

    if (rc == 0 && gfs_cfg_bool(c->cfg, "json")) {
        (void)print_json(NULL, &info);
    } else if (rc == 0) {
        print_header();
        (void)print_info(NULL, &info);
    }
    return rc;
}

static int run_mount(const struct command *c, struct gfs_err *err)
{
    static const char *const env[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
        "/bin",
        NULL};
    struct gfs_keeper_spec spec = {
        .id = c->operands[1],
        .mountpoint = c->operands[2],
        .fstype = gfs_cfg_str(c->cfg, "fstype"),
        .source = "goosefs-fuse",
        .options = GFS_KEEPER_ALLOW_OTHER | GFS_KEEPER_READ_ONLY | GFS_KEEPER_DEFAULT_PERMISSIONS,
        .max_read = UINT32_C(1) << 20,
        .uid = (uint32_t)gfs_cfg_int(c->cfg, "uid"),
        .gid = (uint32_t)gfs_cfg_int(c->cfg, "uid"),
        .hang_timeout_ms = (uint32_t)(gfs_cfg_duration(c->cfg, "hang-timeout") / GFS_NS_PER_MS),
        .log_path = gfs_cfg_str(c->cfg, "log"),
        .launch = gfs_cfg_str(c->cfg, "launch"),
        .argv = c->argv,
        .env = env,
    };

    return gfs_keeper_client_mount(c->keeper, &spec, -1, c->deadline, NULL, err);
}

static int run_restart(const struct command *c, struct gfs_err *err)
{
    return gfs_keeper_client_restart(c->keeper, c->operands[1], c->argv, c->deadline, NULL, err);
}

static int run_unmount(const struct command *c, struct gfs_err *err)
{
    uint32_t flags = gfs_cfg_bool(c->cfg, "lazy") ? GFS_KEEPER_LAZY : 0;

    return gfs_keeper_client_unmount(c->keeper, c->operands[1], flags, c->deadline, err);
}

enum argv_use { ARGV_NEVER, ARGV_MAY, ARGV_MUST };

static const struct verb {
    const char *name;
    size_t n_operands; /* the verb itself included */
    enum argv_use argv;
    int (*run)(const struct command *c, struct gfs_err *err);
} verbs[] = {
    {"list", 1, ARGV_NEVER, run_list},       {"stat", 2, ARGV_NEVER, run_stat},
    {"mount", 3, ARGV_MUST, run_mount},      {"restart", 2, ARGV_MAY, run_restart},
    {"unmount", 2, ARGV_NEVER, run_unmount},
};

static const struct verb *find_verb(const struct gfs_cfg *cfg, bool has_argv)
{
    size_t n = gfs_cfg_n_operands(cfg);
    size_t i;

    for (i = 0; n > 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        const struct verb *v = &verbs[i];

        if (strcmp(v->name, gfs_cfg_operand(cfg, 0)) == 0 && v->n_operands == n &&
            (has_argv ? v->argv != ARGV_NEVER : v->argv != ARGV_MUST)) {
            return v;
        }
    }
    return NULL;
}

static int run(struct gfs_cfg *cfg, const char *const *argv)
{
    const struct verb *verb = find_verb(cfg, argv != NULL);
    struct command c = {.cfg = cfg, .argv = argv};
    struct gfs_err err = GFS_ERR_INIT;
    size_t i;
    int rc;

    if (verb == NULL) {
        (void)fprintf(stderr, "fuse-keeperctl: no such command, or too few or too many words (see "
                              "--help)\n");
        return EXIT_USAGE;
    }
    for (i = 0; i < verb->n_operands; i++) {
        c.operands[i] = gfs_cfg_operand(cfg, i);
    }
    c.deadline = gfs_clock_mono() + gfs_cfg_duration(cfg, "timeout");
    rc = gfs_keeper_client_connect(gfs_cfg_str(cfg, "socket"), c.deadline, &c.keeper, &err);
    if (rc == 0) {
        rc = verb->run(&c, &err);
    }
    if (rc != 0) {
        (void)fprintf(stderr, "fuse-keeperctl: %s\n", gfs_err_text(&err, rc));
    }
    (void)gfs_keeper_client_free(c.keeper);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_cfg *cfg = NULL;
    int own = 1;
    int rc;

    /* What stands behind "--" is the client's command line, not ours. */
    while (own < argc && strcmp(argv[own], "--") != 0) {
        own++;
    }
    rc = gfs_cfg_parse(&program, own, argv, &cfg, &err);
    if (rc > 0) {
        return EXIT_SUCCESS;
    }
    if (rc < 0) {
        (void)fprintf(stderr, "fuse-keeperctl: %s\n", err.text);
        return EXIT_USAGE;
    }
    rc = run(cfg, own + 1 < argc ? (const char *const *)&argv[own + 1] : NULL);
    (void)gfs_cfg_free(cfg);
    return rc;
}
