/* Mounts the keeper still holds for runtimes that are gone. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/mounter/keeper_client.h>

#include "platform/local/client_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"

struct orphan {
    struct gfsi_local *local;
    char socket[PATH_MAX];
    char id[GFS_KEEPER_ID_MAX + 1];
    char fuse_path[PATH_MAX];
    char conf_path[PATH_MAX];
    int rc;
    struct gfs_err err;
};

static void unmount_work(void *arg)
{
    struct orphan *o = arg;
    struct gfs_keeper_client *client gfsi_auto_client = NULL;
    int64_t deadline = gfs_clock_mono() + GFSI_UNMOUNT_LIMIT_NS;

    o->rc = gfsi_client_check_unused(o->fuse_path, &o->err);
    if (o->rc == 0) {
        o->rc = gfs_keeper_client_connect(o->socket, deadline, &client, &o->err);
    }
    if (o->rc == 0) {
        o->rc = gfs_keeper_client_unmount(client, o->id, 0, deadline, &o->err);
    }
}

static void unmount_done(void *arg)
{
    struct orphan *o = arg;

    o->local->sweeping = false;
    if (o->rc == 0) {
        gfs_info("local", "unmounted what a deleted runtime left", "id=%s", o->id);
        (void)rmdir(o->fuse_path);
        gfsi_client_remove_conf(o->conf_path);
    }

    gfsi_local_changed(o->local);
    free(o);
}

static void start(struct gfsi_local *local, const char *id, const char *ns, const char *name)
{
    struct orphan *o = calloc(1, sizeof(*o));

    if (o == NULL) {
        return; /* the next answer of the keeper names it again */
    }

    o->local = local;
    gfsi_pathf(o->socket, sizeof(o->socket), "%s", local->keeper_socket);
    gfsi_pathf(o->id, sizeof(o->id), "%s", id);
    gfsi_pathf(o->fuse_path, sizeof(o->fuse_path), "%s/goosefs/%s/%s/goosefs-fuse",
               local->opts.mount_root, ns, name);
    gfsi_pathf(o->conf_path, sizeof(o->conf_path), "%s/goosefs/%s/%s/conf/goosefs-site.properties",
               local->opts.mount_root, ns, name);
    local->sweeping = true;
    if (gfsi_jobs_run(local->jobs, unmount_work, unmount_done, o) < 0) {
        local->sweeping = false;
        free(o);
    }
}

void gfsi_client_check_orphan(struct gfsi_local *local, const char *id)
{
    char ns[GFS_KEEPER_ID_MAX + 1];
    const char *dot = strchr(id, '.');

    /* Others name their mounts otherwise: the node plugin those of foreign paths. */
    if (local->sweeping || local->stage != GFSI_STAGE_RUNNING || dot == NULL ||
        gfs_str_copy(ns, sizeof(ns), id) < 0) {
        return;
    }

    ns[dot - id] = '\0';

    const char *name = ns + (dot - id) + 1;

    if (gfs_dns1035_valid(ns) && gfs_dns1035_valid(name) &&
        gfsi_pair_find(local, ns, name) == NULL) {
        start(local, id, ns, name);
    }
}
