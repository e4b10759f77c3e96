#include <gfs/base/cfg.h>

#include <gfs/base/assert.h>
#include <gfs/base/auto.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/version.h>

#define OPTIONS_MAX  128
#define OPERANDS_MAX 4096

union value {
    int64_t i;
    uint64_t u;
    double d;
    bool b;
};

struct slot {
    const char *text; /* NULL: unset; borrowed from props, argv copies or the table */
    bool set;         /* by anything but the default */
    union value value;
};

struct gfs_cfg {
    const struct gfs_cfg_program *program;
    struct gfs_props *props; /* file, then -D */
    struct gfs_props *flags; /* "--flag" -> value */
    struct slot slots[OPTIONS_MAX];
    char **operands;
    size_t n_operands;
};

static const struct gfs_cfg_option common_options[] = {
    {"properties", NULL, GFS_CFG_STR, NULL, 0, 0, "FILE", "read properties from FILE"},
    {"log-level", "goosefs.log.level", GFS_CFG_STR, "info", 0, 0, "SPEC",
     "debug, info, warn or error; also per component: info,raft=debug"},
};
#define N_COMMON (sizeof common_options / sizeof common_options[0])

static size_t n_all(const struct gfs_cfg_program *program)
{
    return program->n_options + N_COMMON;
}

static const struct gfs_cfg_option *option_at(const struct gfs_cfg_program *program, size_t i)
{
    return i < program->n_options ? &program->options[i] : &common_options[i - program->n_options];
}

static int find_flag(const struct gfs_cfg_program *program, const char *flag, size_t len)
{
    for (size_t i = 0; i < n_all(program); i++) {
        const char *f = option_at(program, i)->flag;
        if (f != NULL && strlen(f) == len && memcmp(f, flag, len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void print_help(const struct gfs_cfg_program *program)
{
    (void)printf("Usage: %s [OPTION...]%s%s\n%s.\n\nOptions:\n", program->name,
                 program->operands != NULL ? " " : "",
                 program->operands != NULL ? program->operands : "", program->summary);
    for (size_t i = 0; i < n_all(program); i++) {
        const struct gfs_cfg_option *o = option_at(program, i);
        char left[96];
        if (o->flag != NULL) {
            (void)snprintf(left, sizeof left, "--%s%s%s", o->flag,
                           o->type == GFS_CFG_BOOL ? "" : "=",
                           o->type == GFS_CFG_BOOL ? "" : (o->metavar != NULL ? o->metavar : "X"));
        } else {
            (void)snprintf(left, sizeof left, "-D%s=%s", o->property,
                           o->metavar != NULL ? o->metavar : "X");
        }
        (void)printf("  %-34s %s", left, o->help);
        if (o->default_value != NULL && o->default_value[0] != '\0') {
            (void)printf(" [%s]", o->default_value);
        }
        if (o->flag != NULL && o->property != NULL) {
            (void)printf("\n  %-34s   property %s", "", o->property);
        }
        (void)putchar('\n');
    }
    (void)printf("  %-34s %s\n  %-34s %s\n  %-34s %s\n", "-DPROPERTY=VALUE", "set any property",
                 "--help", "show this and exit", "--version", "show the version and exit");
    (void)printf("\nA property can also be set in the environment: goosefs.master.rpc.port is "
                 "GOOSEFS_MASTER_RPC_PORT.\n");
    if (program->epilog != NULL) {
        (void)printf("\n%s\n", program->epilog);
    }
}

/* -Dk=v */
static int take_define(struct gfs_props *defines, const char *arg, struct gfs_err *err)
{
    const char *eq = strchr(arg, '=');
    if (eq == NULL || eq == arg) {
        return gfs_err_set(err, GFS_EINVAL, "option '-D%s': expected -DPROPERTY=VALUE", arg);
    }
    char *key gfs_auto_free = strndup(arg, (size_t)(eq - arg));
    if (key == NULL || gfs_props_set(defines, key, eq + 1) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "option '-D%s': too long", arg);
    }
    return GFS_OK;
}

/* --flag=value, --flag value, --bool, --no-bool. Returns arguments used, or an error. */
static int take_flag(struct gfs_cfg *cfg, int argc, char *const *argv, int i, struct gfs_err *err)
{
    const char *name = argv[i] + 2;
    const char *eq = strchr(name, '=');
    size_t len = eq != NULL ? (size_t)(eq - name) : strlen(name);
    int at = find_flag(cfg->program, name, len);
    bool negated = false;

    if (at < 0 && eq == NULL && gfs_str_has_prefix(name, "no-")) {
        at = find_flag(cfg->program, name + 3, len - 3);
        negated = at >= 0 && option_at(cfg->program, (size_t)at)->type == GFS_CFG_BOOL;
        at = negated ? at : -1;
    }
    if (at < 0) {
        return gfs_err_set(err, GFS_EINVAL, "unknown option '--%.*s' (see %s --help)", (int)len,
                           name, cfg->program->name);
    }

    const struct gfs_cfg_option *o = option_at(cfg->program, (size_t)at);
    const char *value = eq != NULL ? eq + 1 : NULL;
    int used = 1;
    if (value == NULL && o->type == GFS_CFG_BOOL) {
        value = negated ? "false" : "true";
    } else if (value == NULL) {
        if (i + 1 >= argc) {
            return gfs_err_set(err, GFS_EINVAL, "option '--%s' needs a value", o->flag);
        }
        value = argv[i + 1];
        used = 2;
    }
    if (gfs_props_set(cfg->flags, o->flag, value) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "option '--%s': value too long", o->flag);
    }
    return used;
}

static int take_operand(struct gfs_cfg *cfg, const char *arg, struct gfs_err *err)
{
    if (cfg->program->operands == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "unexpected argument '%s' (see %s --help)", arg,
                           cfg->program->name);
    }
    if (cfg->n_operands == OPERANDS_MAX) {
        return gfs_err_set(err, GFS_ERANGE, "more than %d arguments", OPERANDS_MAX);
    }
    char **operands = reallocarray(cfg->operands, cfg->n_operands + 1, sizeof *operands);
    if (operands == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    cfg->operands = operands;
    cfg->operands[cfg->n_operands] = strdup(arg);
    if (cfg->operands[cfg->n_operands] == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    cfg->n_operands++;
    return GFS_OK;
}

/* Returns 1 when --help or --version was answered. */
static int parse_arguments(struct gfs_cfg *cfg, int argc, char *const *argv,
                           struct gfs_props *defines, struct gfs_err *err)
{
    bool only_operands = false;
    for (int i = 1; i < argc;) {
        const char *arg = argv[i];
        int rc = GFS_OK;
        int used = 1;
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            rc = take_operand(cfg, arg, err);
        } else if (strcmp(arg, "--") == 0) {
            only_operands = true;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            print_help(cfg->program);
            return 1;
        } else if (strcmp(arg, "--version") == 0) {
            (void)printf("%s %s\n", cfg->program->name, gfs_version());
            return 1;
        } else if (gfs_str_has_prefix(arg, "-D")) {
            rc = take_define(defines, arg + 2, err);
        } else if (gfs_str_has_prefix(arg, "--")) {
            used = take_flag(cfg, argc, argv, i, err);
            rc = used;
        } else {
            rc = gfs_err_set(err, GFS_EINVAL, "unknown option '%s' (see %s --help)", arg,
                             cfg->program->name);
        }
        if (rc < 0) {
            return rc;
        }
        i += used;
    }
    return GFS_OK;
}

static const char *from_environment(const char *property)
{
    char name[256];
    size_t len = strlen(property);
    if (len >= sizeof name) {
        return NULL;
    }
    for (size_t i = 0; i <= len; i++) {
        unsigned char c = (unsigned char)property[i];
        name[i] = (char)(c == '.' || c == '-' ? '_' : toupper(c));
    }
    return getenv(name);
}

static int check_range(const struct gfs_cfg_option *o, int64_t v)
{
    return o->max > o->min && (v < o->min || v > o->max) ? GFS_ERANGE : GFS_OK;
}

static int parse_value(const struct gfs_cfg_option *o, const char *text, union value *out)
{
    switch (o->type) {
    case GFS_CFG_STR: return GFS_OK;
    case GFS_CFG_INT: {
        int rc = gfs_parse_i64(text, INT64_MIN, INT64_MAX, &out->i);
        return rc < 0 ? rc : check_range(o, out->i);
    }
    case GFS_CFG_SIZE: return gfs_parse_size(text, &out->u);
    case GFS_CFG_DURATION: return gfs_parse_duration(text, &out->i);
    case GFS_CFG_BOOL: return gfs_parse_bool(text, &out->b);
    case GFS_CFG_RATIO: return gfs_parse_ratio(text, &out->d);
    }
    return GFS_EINTERNAL;
}

static const char *expected(enum gfs_cfg_type type)
{
    static const char *const texts[] = {
        [GFS_CFG_STR] = "a text",
        [GFS_CFG_INT] = "a whole number",
        [GFS_CFG_SIZE] = "a size such as 512MB or 2G",
        [GFS_CFG_DURATION] = "a duration such as 300ms, 20s or 2min",
        [GFS_CFG_BOOL] = "true or false",
        [GFS_CFG_RATIO] = "a number between 0 and 1",
    };
    return texts[type];
}

static int resolve(struct gfs_cfg *cfg, size_t i, struct gfs_err *err)
{
    const struct gfs_cfg_option *o = option_at(cfg->program, i);
    struct slot *slot = &cfg->slots[i];

    slot->text = o->flag != NULL ? gfs_props_get(cfg->flags, o->flag) : NULL;
    if (slot->text == NULL && o->property != NULL) {
        slot->text = from_environment(o->property);
    }
    if (slot->text == NULL && o->property != NULL) {
        slot->text = gfs_props_get(cfg->props, o->property);
    }
    slot->set = slot->text != NULL;
    if (slot->text == NULL) {
        slot->text = o->default_value;
    }
    if (slot->text == NULL) {
        return GFS_OK;
    }

    int rc = parse_value(o, slot->text, &slot->value);
    if (rc == GFS_ERANGE && o->type == GFS_CFG_INT && o->max > o->min) {
        return gfs_err_set(err, rc, "%s%s: '%s' is not between %" PRId64 " and %" PRId64,
                           o->flag != NULL ? "--" : "", o->flag != NULL ? o->flag : o->property,
                           slot->text, o->min, o->max);
    }
    if (rc < 0) {
        return gfs_err_set(err, rc, "%s%s: '%s' is not %s", o->flag != NULL ? "--" : "",
                           o->flag != NULL ? o->flag : o->property, slot->text, expected(o->type));
    }
    return GFS_OK;
}

static int load_properties(struct gfs_cfg *cfg, const struct gfs_props *defines,
                           struct gfs_err *err)
{
    const char *file = gfs_props_get(cfg->flags, "properties");
    if (file != NULL) {
        int rc = gfs_props_load(cfg->props, file, err);
        if (rc < 0) {
            return rc;
        }
    }
    for (size_t i = 0; i < gfs_props_count(defines); i++) {
        const char *key = NULL;
        const char *value = NULL;
        gfs_props_at(defines, i, &key, &value);
        if (gfs_props_set(cfg->props, key, value) < 0) {
            return gfs_err_set(err, GFS_ERANGE, "too many properties");
        }
    }
    return GFS_OK;
}

static int configure_log(const struct gfs_cfg *cfg, struct gfs_err *err)
{
    const char *spec = gfs_cfg_str(cfg, "log-level");
    if (gfs_log_configure(spec) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "--log-level: '%s' is not debug, info, warn, error or component=level",
                           spec);
    }
    return GFS_OK;
}

int gfs_cfg_parse(const struct gfs_cfg_program *program, int argc, char *const *argv,
                  struct gfs_cfg **out_cfg, struct gfs_err *err)
{
    GFS_ASSERT_LE(n_all(program), OPTIONS_MAX);
    struct gfs_cfg *cfg = calloc(1, sizeof *cfg);
    struct gfs_props *defines = gfs_props_new();
    int rc = gfs_err_set(err, GFS_ENOMEM, "out of memory");
    if (cfg == NULL || defines == NULL) {
        goto out;
    }
    cfg->program = program;
    cfg->props = gfs_props_new();
    cfg->flags = gfs_props_new();
    if (cfg->props == NULL || cfg->flags == NULL) {
        goto out;
    }

    rc = parse_arguments(cfg, argc, argv, defines, err);
    if (rc == GFS_OK) {
        rc = load_properties(cfg, defines, err);
    }
    for (size_t i = 0; rc == GFS_OK && i < n_all(program); i++) {
        rc = resolve(cfg, i, err);
    }
    if (rc == GFS_OK) {
        rc = configure_log(cfg, err);
    }
    if (rc == GFS_OK) {
        *out_cfg = GFS_TAKE_PTR(cfg);
    }
out:
    (void)gfs_props_free(defines);
    (void)gfs_cfg_free(cfg);
    return rc;
}

struct gfs_cfg *gfs_cfg_free(struct gfs_cfg *cfg)
{
    if (cfg != NULL) {
        (void)gfs_props_free(cfg->props);
        (void)gfs_props_free(cfg->flags);
        for (size_t i = 0; i < cfg->n_operands; i++) {
            free(cfg->operands[i]);
        }
        free(cfg->operands);
        free(cfg);
    }
    return NULL;
}

static const struct slot *slot_of(const struct gfs_cfg *cfg, const char *name,
                                  enum gfs_cfg_type type)
{
    for (size_t i = 0; i < n_all(cfg->program); i++) {
        const struct gfs_cfg_option *o = option_at(cfg->program, i);
        if ((o->flag != NULL && strcmp(o->flag, name) == 0) ||
            (o->property != NULL && strcmp(o->property, name) == 0)) {
            GFS_ASSERT_EQ(o->type, type);
            return &cfg->slots[i];
        }
    }
    gfs_assert_fail(__FILE__, __LINE__, name, 0, 0);
}

const char *gfs_cfg_str(const struct gfs_cfg *cfg, const char *name)
{
    const struct slot *slot = slot_of(cfg, name, GFS_CFG_STR);
    return slot->text != NULL ? slot->text : "";
}

int64_t gfs_cfg_int(const struct gfs_cfg *cfg, const char *name)
{
    return slot_of(cfg, name, GFS_CFG_INT)->value.i;
}

uint64_t gfs_cfg_size(const struct gfs_cfg *cfg, const char *name)
{
    return slot_of(cfg, name, GFS_CFG_SIZE)->value.u;
}

int64_t gfs_cfg_duration(const struct gfs_cfg *cfg, const char *name)
{
    return slot_of(cfg, name, GFS_CFG_DURATION)->value.i;
}

bool gfs_cfg_bool(const struct gfs_cfg *cfg, const char *name)
{
    return slot_of(cfg, name, GFS_CFG_BOOL)->value.b;
}

double gfs_cfg_ratio(const struct gfs_cfg *cfg, const char *name)
{
    return slot_of(cfg, name, GFS_CFG_RATIO)->value.d;
}

bool gfs_cfg_is_set(const struct gfs_cfg *cfg, const char *name)
{
    for (size_t i = 0; i < n_all(cfg->program); i++) {
        const struct gfs_cfg_option *o = option_at(cfg->program, i);
        if ((o->flag != NULL && strcmp(o->flag, name) == 0) ||
            (o->property != NULL && strcmp(o->property, name) == 0)) {
            return cfg->slots[i].set;
        }
    }
    return false;
}

const char *gfs_cfg_property(const struct gfs_cfg *cfg, const char *property)
{
    for (size_t i = 0; i < n_all(cfg->program); i++) {
        const struct gfs_cfg_option *o = option_at(cfg->program, i);
        if (o->property != NULL && strcmp(o->property, property) == 0) {
            return cfg->slots[i].text;
        }
    }
    const char *env = from_environment(property);
    return env != NULL ? env : gfs_props_get(cfg->props, property);
}

size_t gfs_cfg_n_operands(const struct gfs_cfg *cfg)
{
    return cfg->n_operands;
}

const char *gfs_cfg_operand(const struct gfs_cfg *cfg, size_t i)
{
    GFS_ASSERT_LT(i, cfg->n_operands);
    return cfg->operands[i];
}
