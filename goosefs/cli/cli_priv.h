/* Inside the command: the table of verbs, and what a verb gets to work with. */
#ifndef GFSI_CLI_PRIV_H
#define GFSI_CLI_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <gfs/base/cfg.h>
#include <gfs/base/err.h>
#include <gfs/client/client.h>

#define GFSI_CLI_PATH_MAX  4096
#define GFSI_CLI_FLAGS_MAX 64 /* on one command line */

struct gfsi_cli;

struct gfsi_flag {
    const char *name;  /* "-R", "--readonly" */
    const char *value; /* metavar when it takes one, else NULL */
    const char *help;
};

struct gfsi_verb {
    const char *group; /* "fs", "fsadmin", "" for top-level commands */
    const char *name;
    const char *operands; /* as in the usage line, "" for none */
    int min_operands, max_operands;
    const char *help;                 /* one line */
    const struct gfsi_flag *flags;    /* ends with {NULL} ; NULL: none */
    int (*run)(struct gfsi_cli *cli); /* 0, or a negative error with cli->error set; or
                                         GFSI_CLI_SILENT + exit code */
};

/* A verb's own exit code without a message: `fs test`. */
#define GFSI_CLI_SILENT 1000

struct gfsi_given {
    const struct gfsi_flag *flag;
    const char *value;
};

struct gfsi_cli {
    FILE *out, *err;
    const char *(*getenv_fn)(const char *name);
    struct gfs_props *given; /* -D */
    struct gfs_props *file;  /* goosefs-site.properties */
    char file_name[GFSI_CLI_PATH_MAX];
    struct gfs_client *client; /* by gfsi_cli_client */

    const struct gfsi_verb *verb;
    struct gfsi_given flags[GFSI_CLI_FLAGS_MAX];
    size_t n_flags;
    const char **operands;
    int n_operands;
    struct gfs_err error;
};

/* verbs.c */
extern const struct gfsi_verb gfsi_verbs[];
extern const size_t gfsi_n_verbs;
const struct gfsi_verb *gfsi_verb_find(const char *group, const char *name);

/* cli.c */
bool gfsi_cli_has(const struct gfsi_cli *cli, const char *flag);
const char *gfsi_cli_value(const struct gfsi_cli *cli, const char *flag); /* the last, or NULL */
/* The client, made at first use. */
int gfsi_cli_client(struct gfsi_cli *cli, struct gfs_client **out);
/* An operand as an absolute, normalised path; "gfs://host:port" in front is cut off. */
int gfsi_cli_path(struct gfsi_cli *cli, const char *operand, char out[GFSI_CLI_PATH_MAX]);
/* GFS_ENOENT becomes "Path P does not exist", the text Fluid looks for. */
int gfsi_cli_path_error(struct gfsi_cli *cli, int rc, const char *path);

/* usage.c */
void gfsi_usage_all(FILE *out);
void gfsi_usage_group(FILE *out, const char *group);
void gfsi_usage_verb(FILE *out, const struct gfsi_verb *verb);
int gfsi_run_help(struct gfsi_cli *cli);
int gfsi_run_completion(struct gfsi_cli *cli);

/* config.c */
int gfsi_config_load(struct gfsi_cli *cli);
const char *gfsi_config_get(void *arg, const char *key); /* NULL when unset */
int gfsi_run_get_conf(struct gfsi_cli *cli);
int gfsi_run_version(struct gfsi_cli *cli);

/* walk.c: all entries of a directory, page after page */
typedef int (*gfsi_entry_fn)(void *arg, const Goosefs__V1__FileInfo *info, const char *path);
int gfsi_walk(struct gfsi_cli *cli, const char *path, bool recursive, bool fresh,
              gfsi_entry_fn each, void *arg);
/* One entry. Free *out with goosefs__v1__get_status_response__free_unpacked. */
int gfsi_stat(struct gfsi_cli *cli, const char *path, bool fresh,
              Goosefs__V1__GetStatusResponse **out);
/* "12%": how much of `of` is `part`, rounded down. */
unsigned gfsi_percent(uint64_t part, uint64_t of);
/* Bytes as a number, or as people read it. Returns buf. */
const char *gfsi_size(bool human, uint64_t bytes, char *buf, size_t size);

/* fs_list.c */
int gfsi_run_ls(struct gfsi_cli *cli);
int gfsi_run_count(struct gfsi_cli *cli);
int gfsi_run_du(struct gfsi_cli *cli);
/* fs_stat.c */
int gfsi_run_stat(struct gfsi_cli *cli);
int gfsi_run_test(struct gfsi_cli *cli);
int gfsi_run_location(struct gfsi_cli *cli);
/* fs_read.c */
int gfsi_run_cat(struct gfsi_cli *cli);
int gfsi_run_head(struct gfsi_cli *cli);
int gfsi_run_tail(struct gfsi_cli *cli);
/* fs_copy.c */
int gfsi_run_copy_to_local(struct gfsi_cli *cli);
/* fs_mount.c */
int gfsi_run_mount(struct gfsi_cli *cli);
int gfsi_run_unmount(struct gfsi_cli *cli);
int gfsi_print_mounts(struct gfsi_cli *cli);
/* fs_load.c */
int gfsi_run_load_metadata(struct gfsi_cli *cli);
int gfsi_run_load(struct gfsi_cli *cli);
int gfsi_run_free(struct gfsi_cli *cli);
/* masters.c */
int gfsi_run_master_info(struct gfsi_cli *cli);
int gfsi_run_leader(struct gfsi_cli *cli);
/* Asks until a leader is known or the deadline passes; *out may then have leader "". */
int gfsi_find_leader(struct gfsi_cli *cli, Goosefs__V1__GetMasterInfoResponse **out);
/* quorum.c: fsadmin journal */
int gfsi_run_master_journal(struct gfsi_cli *cli);
/* journal.c: dump and verify */
int gfsi_run_journal(struct gfsi_cli *cli);
/* report.c, capacity.c */
int gfsi_run_report(struct gfsi_cli *cli);
int gfsi_report_capacity(struct gfsi_cli *cli);
/* The tiers of all live workers together, by alias. */
#define GFSI_TIERS_MAX 8
struct gfsi_tiers {
    struct {
        char alias[16];
        uint64_t capacity, used;
    } tier[GFSI_TIERS_MAX];
    size_t n;
    uint64_t capacity, used;
};
void gfsi_tiers_sum(struct gfsi_tiers *tiers, const Goosefs__V1__ListWorkersResponse *workers);
void gfsi_tiers_print(struct gfsi_cli *cli, const char *label, const struct gfsi_tiers *tiers,
                      bool used);

/* fuse_stat.c */
int gfsi_run_fuse_stat(struct gfsi_cli *cli);

/* progress.c: a line on a terminal for what takes long; silent elsewhere */
struct gfsi_progress {
    FILE *err;
    bool on;
    const char *what;
    uint64_t total, done;
    int64_t started, shown;
};
void gfsi_progress_start(struct gfsi_progress *p, struct gfsi_cli *cli, const char *what,
                         uint64_t total);
void gfsi_progress_add(struct gfsi_progress *p, uint64_t bytes);
void gfsi_progress_end(struct gfsi_progress *p);

#endif
