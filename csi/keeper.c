#include "keeper_priv.h"

#include <gfs/mounter/keeper_client.h>

static void drop(struct gfs_keeper_client **client)
{
    (void)gfs_keeper_client_free(*client);
}

#define auto_client __attribute__((cleanup(drop)))

static int keeper_mount(void *self, const struct gfs_keeper_spec *spec, int64_t deadline,
                        struct gfs_err *err)
{
    struct gfs_keeper_client *client auto_client = NULL;
    int rc = gfs_keeper_client_connect(self, deadline, &client, err);

    return rc < 0 ? rc : gfs_keeper_client_mount(client, spec, -1, deadline, NULL, err);
}

static int keeper_state(void *self, const char *id, int64_t deadline, uint32_t *out_state,
                        struct gfs_err *err)
{
    struct gfs_keeper_client *client auto_client = NULL;
    struct gfs_keeper_info info;
    int rc = gfs_keeper_client_connect(self, deadline, &client, err);

    if (rc == 0) {
        rc = gfs_keeper_client_stat(client, id, deadline, &info, err);
    }
    if (rc < 0) {
        return rc;
    }
    *out_state = info.state;
    return 0;
}

static int keeper_unmount(void *self, const char *id, uint32_t flags, int64_t deadline,
                          struct gfs_err *err)
{
    struct gfs_keeper_client *client auto_client = NULL;
    int rc = gfs_keeper_client_connect(self, deadline, &client, err);

    return rc < 0 ? rc : gfs_keeper_client_unmount(client, id, flags, deadline, err);
}

void gfsi_keeper_init(struct gfsi_keeper *keeper, const char *socket_path)
{
    *keeper = (struct gfsi_keeper){
        .self = (void *)(uintptr_t)socket_path,
        .mount = keeper_mount,
        .state = keeper_state,
        .unmount = keeper_unmount,
    };
}
