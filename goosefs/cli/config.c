/* Where properties come from: -D, the environment, one file. */
#include "cli_priv.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/str.h>
#include <gfs/base/version.h>

/* A person waits in front of the command: two minutes are for programs. */
#define RETRY_DEFAULT "30s"

static const struct {
    const char *key, *value;
} defaults[] = {
    {"goosefs.master.hostname", "localhost"},
    {"goosefs.master.rpc.port", "9200"},
    {"goosefs.user.rpc.retry.max.duration", RETRY_DEFAULT},
};

/* "goosefs.master.rpc.port" -> "GOOSEFS_MASTER_RPC_PORT"; false when it does not fit. */
static bool env_name(const char *key, char *out, size_t size)
{
    size_t i = 0;
    for (; key[i] != '\0' && i + 1 < size; i++) {
        out[i] = isalnum((unsigned char)key[i]) ? (char)toupper((unsigned char)key[i]) : '_';
    }
    out[i] = '\0';
    return key[i] == '\0';
}

static const char *lookup(struct gfsi_cli *cli, const char *key)
{
    const char *value = gfs_props_get(cli->given, key);
    char name[256];
    if (value == NULL && gfs_str_has_prefix(key, "goosefs.") && env_name(key, name, sizeof(name))) {
        value = cli->getenv_fn(name);
    }
    return value != NULL ? value : gfs_props_get(cli->file, key);
}

const char *gfsi_config_get(void *arg, const char *key)
{
    const char *value = lookup(arg, key);
    if (value != NULL) {
        return value;
    }
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (strcmp(defaults[i].key, key) == 0) {
            return defaults[i].value;
        }
    }
    return NULL;
}

/* Reads $variable + suffix (or the fixed path when variable is NULL) if it is there. 1: it was. */
static int try_file(struct gfsi_cli *cli, const char *variable, const char *suffix)
{
    const char *base = variable != NULL ? cli->getenv_fn(variable) : "";
    if (base == NULL || (variable != NULL && base[0] == '\0')) {
        return 0;
    }
    char path[GFSI_CLI_PATH_MAX];
    const int n = snprintf(path, sizeof(path), "%s%s", base, suffix);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return gfs_err_set(&cli->error, GFS_ENAMETOOLONG, "%s is too long", variable);
    }
    if (access(path, F_OK) < 0) {
        return 0;
    }
    const int rc = gfs_props_load(cli->file, path, &cli->error);
    if (rc < 0) {
        return rc;
    }
    (void)gfs_str_copy(cli->file_name, sizeof(cli->file_name), path);
    return 1;
}

int gfsi_config_load(struct gfsi_cli *cli)
{
    static const struct {
        const char *variable, *suffix;
    } places[] = {
        {"GOOSEFS_CONFIG_FILE", ""},
        {"GOOSEFS_CONF_DIR", "/goosefs-site.properties"},
        {"GOOSEFS_HOME", "/conf/goosefs-site.properties"},
        {"HOME", "/.goosefs/goosefs-site.properties"},
        {NULL, "/etc/goosefs/goosefs-site.properties"},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const int rc = try_file(cli, places[i].variable, places[i].suffix);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
    }
    return 0;
}

int gfsi_run_get_conf(struct gfsi_cli *cli)
{
    if (cli->n_operands > 0) {
        const char *value = gfsi_config_get(cli, cli->operands[0]);
        (void)fprintf(cli->out, "%s\n", value != NULL ? value : "");
        return 0;
    }
    for (size_t i = 0; i < gfs_props_count(cli->file); i++) {
        const char *key, *value;
        gfs_props_at(cli->file, i, &key, &value);
        (void)fprintf(cli->out, "%s=%s\n", key, gfsi_config_get(cli, key));
    }
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (gfs_props_get(cli->file, defaults[i].key) == NULL) {
            (void)fprintf(cli->out, "%s=%s\n", defaults[i].key,
                          gfsi_config_get(cli, defaults[i].key));
        }
    }
    return 0;
}

int gfsi_run_version(struct gfsi_cli *cli)
{
    (void)fprintf(cli->out, "%s\n", gfs_version());
    return 0;
}
