/* Configuration of a daemon or command: one table drives flags, environment, properties file,
 * --help and defaults.
 *
 * Precedence, highest first: flag (--rpc-port 26000), environment (GOOSEFS_MASTER_RPC_PORT, from
 * the property name), "-Dgoosefs.master.rpc.port=26000", the file given with --properties, the
 * default. A properties file has Java's simple form: "key=value" or "key: value" lines, '#' or '!'
 * comments. Keys in the file that the table does not have are kept (gfs_cfg_property) and are no
 * error: one goosefs-site.properties serves all processes.
 *
 * Secrets never come from flags or the environment: an option with GFS_CFG_SECRET is read from a
 * file whose path the flag names.
 *
 * Thread: parse before threads start, then read from any. */
#ifndef GFS_BASE_CFG_H
#define GFS_BASE_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

enum gfs_cfg_type {
    GFS_CFG_STR,
    GFS_CFG_INT,      /* int64_t within [min, max] */
    GFS_CFG_SIZE,     /* bytes, gfs_parse_size */
    GFS_CFG_DURATION, /* ns, gfs_parse_duration */
    GFS_CFG_BOOL,
    GFS_CFG_RATIO, /* 0..1 */
};

struct gfs_cfg_option {
    const char *flag;     /* "rpc-port", NULL when there is only the property */
    const char *property; /* "goosefs.master.rpc.port", NULL when there is only the flag */
    enum gfs_cfg_type type;
    const char
        *default_value;  /* text, parsed like any other; NULL: empty / required by the caller */
    int64_t min, max;    /* for GFS_CFG_INT, when max > min */
    const char *metavar; /* "PORT" */
    const char *help;    /* one line, starts lower case, no final stop */
};

struct gfs_cfg_program {
    const char *name;     /* "goosefs-master" */
    const char *summary;  /* one line */
    const char *operands; /* "[PATH...]"; NULL: none are accepted */
    const struct gfs_cfg_option *options;
    size_t n_options;
    const char *epilog; /* shown at the end of --help, NULL: nothing */
};

struct gfs_cfg;

/* Parses. Every program also gets --help, --version, --properties FILE, --log-level SPEC and -Dk=v.
 * Returns 0 and *out_cfg; 1 when --help or --version was printed and the program should exit 0;
 * negative with `err` telling what is wrong with which option (the program exits 2).
 * Free *out_cfg with gfs_cfg_free. argv strings are copied. */
int gfs_cfg_parse(const struct gfs_cfg_program *program, int argc, char *const *argv,
                  struct gfs_cfg **out_cfg, struct gfs_err *err);
struct gfs_cfg *gfs_cfg_free(struct gfs_cfg *cfg);

/* Values by property name or flag. The option must be in the table (a bug otherwise). */
const char *gfs_cfg_str(const struct gfs_cfg *cfg, const char *name); /* "" when unset; borrowed */
int64_t gfs_cfg_int(const struct gfs_cfg *cfg, const char *name);
uint64_t gfs_cfg_size(const struct gfs_cfg *cfg, const char *name);
int64_t gfs_cfg_duration(const struct gfs_cfg *cfg, const char *name);
bool gfs_cfg_bool(const struct gfs_cfg *cfg, const char *name);
double gfs_cfg_ratio(const struct gfs_cfg *cfg, const char *name);
bool gfs_cfg_is_set(const struct gfs_cfg *cfg, const char *name); /* by anything but the default */

/* Any property by its full name, also one outside the table
 * ("goosefs.worker.tieredstore.level0.alias"); NULL when unset. Borrowed. */
const char *gfs_cfg_property(const struct gfs_cfg *cfg, const char *property);

/* Operands (what is not an option), in order. Borrowed. */
size_t gfs_cfg_n_operands(const struct gfs_cfg *cfg);
const char *gfs_cfg_operand(const struct gfs_cfg *cfg, size_t i);

/* A property set on its own, for what reads goosefs-site.properties without a command line. */
struct gfs_props;
struct gfs_props *gfs_props_new(void);
struct gfs_props *gfs_props_free(struct gfs_props *props);
int gfs_props_load(struct gfs_props *props, const char *file, struct gfs_err *err);
int gfs_props_parse(struct gfs_props *props, const char *text, size_t len, const char *name,
                    struct gfs_err *err);
int gfs_props_set(struct gfs_props *props, const char *key, const char *value);
const char *gfs_props_get(const struct gfs_props *props, const char *key); /* NULL when unset */
size_t gfs_props_count(const struct gfs_props *props);
void gfs_props_at(const struct gfs_props *props, size_t i, const char **out_key,
                  const char **out_value);

#ifdef __cplusplus
}
#endif
#endif
