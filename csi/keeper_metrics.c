/* The keeper's figures, asked for when somebody asks us: it has no port of its own. */
#include "keeper_metrics_priv.h"

#include <inttypes.h>
#include <stdlib.h>

#include <gfs/base/str.h>
#include <gfs/mounter/keeper_client.h>

struct figure {
    char id[GFS_KEEPER_ID_MAX + 1];
    uint32_t state;
    uint64_t values[5];
};

struct figures {
    struct figure *items;
    size_t n;
};

static const struct {
    const char *name;
    const char *type;
    const char *help;
} columns[] = {
    {"goosefs_keeper_client_restarts_total", "counter", "Clients started after the first."},
    {"goosefs_keeper_requests_resent_total", "counter",
     "Requests of a client that died, answered by a later one."},
    {"goosefs_keeper_client_hangs_total", "counter",
     "Clients replaced because they did not answer, or worked at one request for too long."},
    {"goosefs_keeper_remounts_total", "counter",
     "Mounts made anew because keeper and client had died together."},
    {"goosefs_keeper_requests_waiting", "gauge", "Requests the kernel waits for an answer to."},
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static bool add(void *arg, const struct gfs_keeper_info *info)
{
    struct figures *all = arg;
    struct figure *f = &all->items[all->n];

    if (gfs_str_copy(f->id, sizeof(f->id), info->id) != 0) {
        return true;
    }
    f->state = info->state;
    f->values[0] = info->restarts;
    f->values[1] = info->resends;
    f->values[2] = info->hangs;
    f->values[3] = info->remounts;
    f->values[4] = info->waiting;
    return ++all->n < GFS_KEEPER_MOUNTS_MAX;
}

static int ask(const char *socket_path, int64_t deadline, struct figures *all)
{
    struct gfs_keeper_client *client = NULL;
    int rc = gfs_keeper_client_connect(socket_path, deadline, &client, NULL);

    if (rc == 0) {
        rc = gfs_keeper_client_list(client, deadline, add, all, NULL);
    }
    (void)gfs_keeper_client_free(client);
    return rc;
}

static void print(const struct figures *all, struct gfs_buf *out)
{
    size_t c;
    size_t i;

    for (c = 0; c < N_COLUMNS; c++) {
        (void)gfs_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", columns[c].name, columns[c].help,
                             columns[c].name, columns[c].type);
        for (i = 0; i < all->n; i++) {
            (void)gfs_buf_printf(out, "%s{mount=\"%s\"} %" PRIu64 "\n", columns[c].name,
                                 all->items[i].id, all->items[i].values[c]);
        }
    }
    (void)gfs_buf_puts(out, "# HELP goosefs_keeper_mount_state What is true of the mount now.\n"
                            "# TYPE goosefs_keeper_mount_state gauge\n");
    for (i = 0; i < all->n; i++) {
        (void)gfs_buf_printf(out, "goosefs_keeper_mount_state{mount=\"%s\",state=\"%s\"} 1\n",
                             all->items[i].id, gfs_keeper_state_name(all->items[i].state));
    }
}

void gfsi_keeper_metrics_print(const char *socket_path, int64_t deadline, struct gfs_buf *out)
{
    struct figures all = {.items = calloc(GFS_KEEPER_MOUNTS_MAX, sizeof(*all.items))};
    bool up = all.items != NULL && ask(socket_path, deadline, &all) == 0;

    (void)gfs_buf_printf(out,
                         "# HELP goosefs_keeper_up Does fuse-keeper answer?\n"
                         "# TYPE goosefs_keeper_up gauge\ngoosefs_keeper_up %d\n",
                         up ? 1 : 0);
    if (up) {
        print(&all, out);
    }
    free(all.items);
}
