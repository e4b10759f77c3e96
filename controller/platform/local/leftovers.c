#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "platform/local/local_priv.h"
#include "platform/local/remove.h"
#include "platform/local/pathf.h"

#define GRACE_NS (10 * GFS_NS_PER_S)

static bool planned(const struct gfsi_local *local, const char *ns, const char *name)
{
    for (const struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        for (size_t i = 0; pair->plan != NULL && i < pair->plan->n_pods; i++) {
            if (strcmp(pair->plan->pods[i].name, name) == 0 &&
                strcmp(pair->plan->pods[i].ns, ns) == 0) {
                return true;
            }
        }
    }

    return false;
}

static void reap(const char *dir)
{
    DIR *d gfs_auto_dir = opendir(dir);

    for (struct dirent *e = NULL; d != NULL && (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];

        if (gfs_str_has_suffix(e->d_name, ".pid")) {
            gfsi_pathf(path, sizeof(path), "%s/%.200s", dir, e->d_name);
            if (gfsi_child_reap_leftover(path, GRACE_NS)) {
                gfs_info("local", "stopped a process nobody wants any more", "pid_file=%s",
                         GFS_Q(path));
            }
        }
    }
}

/* The cache of a worker, wherever its tiers are: {tier}/{ns}/{name}/{pod}. */
static void clear_tier(char *dirs, const char *pod)
{
    char *dir = NULL;

    while (dirs != NULL && (dir = strsep(&dirs, ",")) != NULL) {
        const char *slash = strrchr(dir, '/');
        struct gfs_err err = GFS_ERR_INIT;

        if (slash != NULL && strcmp(slash + 1, pod) == 0 && gfsi_remove_tree(dir, 2, &err) < 0) {
            gfs_warn("local", "cannot remove a directory", "error=%s", GFS_Q(err.text));
        }
    }
}

static void clear_tiers(const char *pod_dir, const char *pod)
{
    struct gfs_props *props = gfs_props_new();
    char path[PATH_MAX];

    gfsi_pathf(path, sizeof(path), "%s/goosefs-site.properties", pod_dir);
    for (int level = 0;
         props != NULL && gfs_props_load(props, path, NULL) == 0 && level < GFS_TIER_MAX_LEVELS;
         level++) {
        char key[64];

        (void)snprintf(key, sizeof(key), "goosefs.worker.tieredstore.level%d.dirs.path", level);

        const char *value = gfs_props_get(props, key);
        char *dirs = value != NULL ? strdup(value) : NULL;

        clear_tier(dirs, pod);
        free(dirs);
    }

    (void)gfs_props_free(props);
}

static void clear_namespace(struct gfsi_local *local, const char *ns)
{
    char path[PATH_MAX];

    gfsi_pathf(path, sizeof(path), "%s/%s", local->pods_dir, ns);

    DIR *d gfs_auto_dir = opendir(path);

    for (struct dirent *e = NULL; d != NULL && (e = readdir(d)) != NULL;) {
        struct gfs_err err = GFS_ERR_INIT;

        if (e->d_name[0] == '.' || planned(local, ns, e->d_name)) {
            continue;
        }

        gfsi_pathf(path, sizeof(path), "%s/%s/%.200s", local->pods_dir, ns, e->d_name);
        reap(path);
        clear_tiers(path, e->d_name);
        gfsi_addresses_drop(local->addresses, ns, e->d_name);
        if (gfsi_remove_tree(path, 0, &err) < 0) {
            gfs_warn("local", "cannot remove a directory", "error=%s", GFS_Q(err.text));
        }
    }
}

void gfsi_leftovers_clear(struct gfsi_local *local)
{
    DIR *d gfs_auto_dir = opendir(local->pods_dir);

    for (struct gfsi_pair *pair = local->pairs; pair != NULL; pair = pair->next) {
        if (pair->dataset != NULL && pair->runtime != NULL) {
            gfsi_pair_replan(pair);
        }
    }

    for (struct dirent *e = NULL; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.' && strcmp(e->d_name, GFS_FLUID_NAMESPACE) != 0) {
            clear_namespace(local, e->d_name);
        }
    }
}
