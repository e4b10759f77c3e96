/* The environment of a pod: this process's own (proxies, time zone), plus the object's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/local/local_priv.h"

static bool same_name(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static int set(char **env, size_t *n, const char *name, const char *value)
{
    char *entry = NULL;

    if (asprintf(&entry, "%s=%s", name, value) < 0) {
        return GFS_ENOMEM;
    }

    for (size_t i = 0; i < *n; i++) {
        if (same_name(env[i], name)) {
            free(env[i]);
            env[i] = entry;
            return 0;
        }
    }

    env[(*n)++] = entry;
    return 0;
}

char **gfsi_environment(const struct gfs_kvs *extra, const char *conf_dir)
{
    size_t n = 0;
    size_t own = 0;
    size_t more = (extra != NULL ? extra->n : 0) + 2;
    int rc = 0;

    while (environ[own] != NULL) {
        own++;
    }

    char **env = calloc(own + more, sizeof(*env));

    if (env == NULL) {
        return NULL;
    }

    for (size_t i = 0; rc == 0 && i < own; i++) {
        env[n] = strdup(environ[i]);
        rc = env[n] != NULL ? 0 : GFS_ENOMEM;
        n += rc == 0;
    }
    if (rc == 0 && conf_dir != NULL) {
        rc = set(env, &n, "GOOSEFS_CONF_DIR", conf_dir);
    }
    for (size_t i = 0; rc == 0 && extra != NULL && i < extra->n; i++) {
        rc = set(env, &n, extra->items[i].key, extra->items[i].value);
    }
    if (rc < 0) {
        gfsi_environment_free(env);
        return NULL;
    }

    return env;
}

void gfsi_environment_free(char **env)
{
    for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
        free(env[i]);
    }

    free(env);
}
