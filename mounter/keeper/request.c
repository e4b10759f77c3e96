/* The requests of keeper_proto.h, one function each. */
#include "keeper_priv.h"

#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>

#include "spec_dup.h"

void gfsi_request_reply_info(struct gfsi_conn *c, const struct gfsi_held *h, const int *fds,
                             size_t n_fds)
{
    struct gfs_buf *out = &c->keeper->out;
    struct gfs_keeper_info info;

    gfsi_held_info(h, &info);
    gfs_keeper_msg_begin(out, c->type | GFS_KEEPER_REPLY, c->seq);
    gfs_keeper_msg_put_status(out, 0, NULL);
    (void)gfs_keeper_msg_put_info(out, &info);
    gfsi_conn_send(c, fds, n_fds);
}

static void serve_hello(struct gfsi_conn *c, const struct gfs_keeper_msg *msg)
{
    struct gfs_buf *out = &c->keeper->out;

    if (msg->version < GFS_KEEPER_VERSION) {
        gfsi_conn_reply(c, GFS_EUNSUPPORTED, "this keeper speaks a later protocol version");
        return;
    }
    c->greeted = true;
    gfs_keeper_msg_begin(out, c->type | GFS_KEEPER_REPLY, c->seq);
    gfs_keeper_msg_put_status(out, 0, NULL);
    gfs_keeper_msg_put_version(out, GFS_KEEPER_VERSION);
    gfsi_conn_send(c, NULL, 0);
}

/* The same mount again: it is there, it is being made, or it broke and is made anew. */
static bool join_mount(struct gfsi_conn *c, struct gfsi_held *h, const struct gfs_keeper_spec *spec,
                       struct gfs_err *err)
{
    bool detached;

    if (!gfsi_spec_equal(h->spec, spec)) {
        (void)gfs_err_set(err, GFS_EEXIST, "mount '%s' exists with another specification",
                          spec->id);
        return true;
    }
    if (h->life.state == GFS_KEEPER_SERVING || h->life.state == GFS_KEEPER_WAITING) {
        gfsi_request_reply_info(c, h, NULL, 0);
        return true;
    }
    if (h->life.state != GFS_KEEPER_BROKEN) {
        gfsi_conn_wait(c, h);
        return true;
    }
    return gfsi_held_unmount(h, true, &detached, err) != 0;
}

static int start_mount(struct gfsi_conn *c, const struct gfs_keeper_spec *spec, int *fd,
                       struct gfs_err *err)
{
    struct gfsi_keeper *k = c->keeper;
    struct gfsi_held *h;
    int rc;

    if (gfsi_held_find_mountpoint(k, spec->mountpoint) != NULL) {
        return gfs_err_set(err, GFS_EEXIST, "%s is held under another id", spec->mountpoint);
    }
    if (k->n_helds >= GFS_KEEPER_MOUNTS_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "the keeper holds %d mounts, its maximum",
                           GFS_KEEPER_MOUNTS_MAX);
    }
    rc = gfsi_held_new(k, spec, *fd, &h, err);
    if (rc != 0) {
        return rc;
    }
    *fd = -1;
    gfsi_conn_wait(c, h);
    gfsi_held_start(h);
    return 0;
}

static void serve_mount(struct gfsi_conn *c, const struct gfs_keeper_msg *msg, int *fd)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_held *h;
    int rc = gfs_keeper_spec_check(&msg->spec, &err);

    if (rc != 0) {
        gfsi_conn_reply(c, rc, err.text);
        return;
    }
    h = gfsi_held_find(c->keeper, msg->spec.id);
    if (h != NULL && join_mount(c, h, &msg->spec, &err)) {
        if (err.code != 0) {
            gfsi_conn_reply(c, err.code, err.text);
        }
        return;
    }
    rc = start_mount(c, &msg->spec, fd, &err);
    if (rc != 0) {
        gfsi_conn_reply(c, rc, err.text);
    }
}

static void serve_unmount(struct gfsi_conn *c, const struct gfs_keeper_msg *msg,
                          struct gfsi_held *h)
{
    struct gfs_err err = GFS_ERR_INIT;
    bool lazy = (msg->flags & GFS_KEEPER_LAZY) != 0;
    bool detached;
    int rc;

    if ((msg->flags & ~GFS_KEEPER_UNMOUNT_FLAGS_ALL) != 0) {
        gfsi_conn_reply(c, GFS_EINVAL, "unknown unmount flags");
        return;
    }
    /* Waiting first: if nothing is left at once the answer comes from within. */
    gfsi_conn_wait(c, h);
    rc = gfsi_held_unmount(h, lazy, &detached, &err);
    if (rc != 0) {
        gfsi_conn_answer(c->keeper, h, 1u << GFS_KEEPER_UNMOUNT, rc, err.text);
        return;
    }
    /* Others who wait for this mount to serve wait in vain. */
    gfsi_conn_answer(c->keeper, h, 1u << GFS_KEEPER_MOUNT | 1u << GFS_KEEPER_RESTART, GFS_EABORTED,
                     "unmounted meanwhile");
    if (detached) {
        gfsi_conn_answer(c->keeper, h, 1u << GFS_KEEPER_UNMOUNT, 0, NULL);
    }
}

static void serve_list(struct gfsi_conn *c, const struct gfs_keeper_msg *msg)
{
    struct gfs_buf *out = &c->keeper->out;
    const struct gfsi_held *h;
    size_t n = 0;

    gfs_keeper_msg_begin(out, c->type | GFS_KEEPER_REPLY, c->seq);
    gfs_keeper_msg_put_status(out, 0, NULL);
    for (h = c->keeper->helds; h != NULL; h = h->next) {
        struct gfs_keeper_info info;

        if (strcmp(h->spec->id, msg->spec.id) <= 0 || h->life.state == GFS_KEEPER_STOPPING) {
            continue;
        }
        gfsi_held_info(h, &info);
        if (n == GFS_KEEPER_INFOS_MAX || !gfs_keeper_msg_put_info(out, &info)) {
            gfs_keeper_msg_put_more(out);
            break;
        }
        n++;
    }
    gfsi_conn_send(c, NULL, 0);
}

static void serve_restart(struct gfsi_conn *c, const struct gfs_keeper_msg *msg,
                          struct gfsi_held *h)
{
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    if (msg->n_argv > 0 && msg->argv[0][0] != '/') {
        gfsi_conn_reply(c, GFS_EINVAL, "client program is not an absolute path");
        return;
    }
    gfsi_conn_wait(c, h);
    rc = gfsi_held_restart(h, msg->n_argv > 0 ? msg->argv : NULL, &err);
    if (rc != 0) {
        gfsi_conn_wait(c, NULL);
        gfsi_conn_reply(c, rc, err.text);
    }
}

static void serve_collect(struct gfsi_conn *c, const struct gfsi_held *h)
{
    const int fds[] = {h->dev.fd, h->session_fd};

    if (h->remembered) {
        gfsi_conn_reply(c, GFS_EUNAVAIL, "the mount's launcher has not come back yet");
        return;
    }
    gfsi_request_reply_info(c, h, fds, 2);
}

/* The requests about one mount that must exist. */
static void serve_about(struct gfsi_conn *c, const struct gfs_keeper_msg *msg)
{
    struct gfsi_held *h = gfsi_held_find(c->keeper, msg->spec.id);

    if (h == NULL) {
        gfsi_conn_reply(c, GFS_ENOENT, "the keeper holds no such mount");
        return;
    }
    switch (msg->type) {
    case GFS_KEEPER_UNMOUNT: serve_unmount(c, msg, h); break;
    case GFS_KEEPER_STAT: gfsi_request_reply_info(c, h, NULL, 0); break;
    case GFS_KEEPER_RESTART: serve_restart(c, msg, h); break;
    default: serve_collect(c, h); break;
    }
}

void gfsi_request_serve(struct gfsi_conn *c, int fd)
{
    const struct gfs_keeper_msg *msg = c->keeper->msg;
    int owned gfs_auto_fd = fd;

    if (!c->greeted && msg->type != GFS_KEEPER_HELLO) {
        gfsi_conn_reply(c, GFS_EPROTO, "HELLO comes first");
        return;
    }
    switch (msg->type) {
    case GFS_KEEPER_HELLO: serve_hello(c, msg); break;
    case GFS_KEEPER_MOUNT: serve_mount(c, msg, &owned); break;
    case GFS_KEEPER_LIST: serve_list(c, msg); break;
    case GFS_KEEPER_UNMOUNT:
    case GFS_KEEPER_STAT:
    case GFS_KEEPER_RESTART:
    case GFS_KEEPER_COLLECT: serve_about(c, msg); break;
    default: gfsi_conn_reply(c, GFS_EUNSUPPORTED, "unknown request"); break;
    }
}
