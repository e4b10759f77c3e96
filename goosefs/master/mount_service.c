/* Mount and Unmount: checked against the origin on the UFS pool, then proposed. */
#include "fs_service_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

struct task {
    struct gfs_master *m;
    struct gfs_rpc_call *call;
    const ProtobufCMessage *message;
    int (*run)(struct task *task, struct gfs_err *err);
};

static void run_task(void *arg)
{
    struct task *task = arg;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = raft_node_is_leader(task->m->node) ? task->run(task, &err) : GFS_ENOTLEADER;

    if (rc != 0) {
        gfsi_fail(task->m, task->call, rc, &err);
    }

    free(task);
}

static void start(struct gfs_master *m, struct gfs_rpc_call *call, const ProtobufCMessage *message,
                  int (*run)(struct task *task, struct gfs_err *err))
{
    struct task *task;
    int rc;

    if (atomic_load(&m->stopping) || !raft_node_is_leader(m->node)) {
        gfsi_fail(m, call, GFS_ENOTLEADER, NULL);
        return;
    }

    task = malloc(sizeof(*task));
    if (task == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return;
    }

    *task = (struct task){m, call, message, run};
    rc = gfsi_pool_submit(m->ufs_pool, run_task, task);
    if (rc != 0) {
        gfs_rpc_fail(call, rc, "too much metadata is being loaded, retry");
        free(task);
    }
}

/* Takes an operation id over: none, or exactly 16 bytes. */
static int set_id(struct gfsi_op *op, const ProtobufCBinaryData *id, struct gfs_err *err)
{
    if (id->len != 0 && id->len != GFSI_OP_ID_SIZE) {
        return gfs_err_set(err, GFS_EINVAL, "operation_id has %zu bytes instead of %d", id->len,
                           GFSI_OP_ID_SIZE);
    }

    op->has_id = id->len != 0;
    if (op->has_id) {
        memcpy(op->id, id->data, GFSI_OP_ID_SIZE);
    }

    return 0;
}

/* The result of an earlier try: 1 and *out, 0 when there was none here. */
static int earlier(struct gfs_master *m, const struct gfsi_op *op, int64_t *out)
{
    struct gfsi_view *view gfsi_auto_view = NULL;

    return op->has_id && gfsi_view_open(m->ns, &view, NULL) == 0 &&
                   gfsi_view_op(view, op->id, out) == 0
               ? 1
               : 0;
}

/* ---- Mount ---------------------------------------------------------------------------------- */

static int check_mount(const Goosefs__V1__MountRequest *q, char *path, struct gfs_err *err)
{
    size_t bytes = 0;

    if (gfs_path_normalize(q->path, path, GFSI_PATH_MAX) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "mount point '%s' is not an absolute path", q->path);
    }

    for (const char *p = path; *p == '/' && p[1] != '\0'; p += 1 + strcspn(p + 1, "/")) {
        if (!gfs_name_valid(p + 1, strcspn(p + 1, "/"))) {
            return gfs_err_set(err, GFS_EINVAL, "mount point '%s': a name is not valid", path);
        }
    }

    if (*q->ufs_uri == '\0' || strlen(q->ufs_uri) >= GFSI_URI_MAX) {
        return gfs_err_set(err, GFS_EINVAL,
                           "mount %s: the UFS URI is empty or longer than %d bytes", path,
                           GFSI_URI_MAX - 1);
    }

    for (size_t i = 0; i < q->n_properties; i++) {
        bytes += strlen(q->properties[i]->key) + strlen(q->properties[i]->value);
    }

    if (q->n_properties > GFSI_PROPS_MAX || bytes > GFSI_PROPS_BYTES_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "mount %s: more than %d properties or %d bytes of them",
                           path, GFSI_PROPS_MAX, GFSI_PROPS_BYTES_MAX);
    }

    return 0;
}

/* Something is there already: said before the origin is bothered. */
static int check_free(struct gfs_master *m, const char *path, struct gfs_err *err)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_inode inode;
    const char *rest;
    int rc = gfsi_view_open(m->ns, &view, err);

    if (rc != 0) {
        return rc;
    }

    rc = gfsi_view_resolve(view, path, &inode, &rest);
    if (rc == 0 && (inode.flags & GFSI_MOUNT_POINT) != 0) {
        return gfs_err_set(err, GFS_EEXIST, "%s is a mount point already", path);
    }

    return rc == 0 && inode.id != GFSI_ROOT_ID
               ? gfs_err_set(err, GFS_EEXIST, "%s exists already", path)
               : 0;
}

static int mount_failed(const char *path, int code, struct gfs_err *err)
{
    switch (code) {
    case GFS_EEXIST: return gfs_err_set(err, code, "%s exists already", path);
    case GFS_ENOENT:
        return gfs_err_set(err, code, "mount %s: the parent directory does not exist", path);
    case GFS_ENOTDIR: return gfs_err_set(err, code, "mount %s: a parent is a file", path);
    case GFS_ERANGE:
        return gfs_err_set(err, code, "mount %s: there are %d mounts already", path,
                           GFSI_MOUNTS_MAX);
    default: return gfs_err_wrap(err, code, "mount %s", path);
    }
}

static int reply_mount(struct task *task, const struct gfsi_op *op, int64_t mount_id,
                       struct gfs_err *err)
{
    Goosefs__V1__MountResponse response = GOOSEFS__V1__MOUNT_RESPONSE__INIT;
    Goosefs__V1__MountInfo info;
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_arena arena gfsi_auto_arena = {NULL, 0};
    struct gfsi_mount *mount = gfsi_arena_alloc(&arena, sizeof(*mount));
    int rc = mount == NULL ? GFS_ENOMEM : gfsi_view_open(task->m->ns, &view, err);

    rc = rc != 0 ? rc : gfsi_view_mount(view, (uint32_t)mount_id, mount);
    if (rc == GFS_ENOENT) {
        /* The answer to a retry whose mount has been taken away meanwhile: it did happen. */
        *mount = (struct gfsi_mount){
            .id = (uint32_t)mount_id,
            .path = op->path,
            .uri = op->uri,
            .read_only = op->read_only,
            .shared = op->shared,
            .n_props = op->n_props,
        };
        memcpy(mount->props, op->props, op->n_props * sizeof(op->props[0]));
        rc = 0;
    }

    rc = rc != 0 ? rc : gfsi_info_mount(&arena, mount, &info);
    if (rc != 0) {
        return rc;
    }

    response.mount = &info;
    gfs_rpc_reply(task->call, &response.base);
    return 0;
}

static int inode_of_mount(struct gfs_master *m, int64_t mount_id, uint64_t *out)
{
    struct gfsi_view *view gfsi_auto_view = NULL;
    struct gfsi_mount *mount gfs_auto_free = malloc(sizeof(*mount));
    int rc = mount == NULL ? GFS_ENOMEM : gfsi_view_open(m->ns, &view, NULL);

    rc = rc != 0 ? rc : gfsi_view_mount(view, (uint32_t)mount_id, mount);
    if (rc == 0) {
        *out = mount->inode_id;
    }

    return rc;
}

/* The origin has answered; what it listed becomes the first content. */
static int apply_mount(struct task *task, const struct gfsi_op *op,
                       const struct gfs_ufs_listing *listing, struct gfs_err *err)
{
    uint64_t inode;
    int64_t mount_id;
    int rc = gfsi_propose_wait(task->m, op, &mount_id, err);

    if (rc != 0) {
        return mount_failed(op->path, rc, err);
    }

    gfs_info(GFSI_LOG, "mounted", "path=%s entries=%zu", GFS_Q(op->path),
             gfs_ufs_listing_count(listing));
    if (inode_of_mount(task->m, mount_id, &inode) == 0) {
        /* When it fails the first access lists again. */
        (void)gfsi_loader_apply(task->m->loader, inode, op->time_ms, listing, NULL);
    }

    return reply_mount(task, op, mount_id, err);
}

/* Before the origin is bothered: 1 and the result when an earlier try came through, or why it
 * cannot be mounted. What is refused without the journal must be refused by the newest state: ours
 * may be that of a leader who was deposed, or whose earlier try of this very call is being applied.
 */
static int look_before(struct task *task, const struct gfsi_op *op, int64_t *out_result,
                       struct gfs_err *err)
{
    int rc;

    if (earlier(task->m, op, out_result)) {
        return 1;
    }

    if (check_free(task->m, op->path, NULL) == 0) {
        return 0;
    }

    rc = gfsi_barrier_wait(task->m, err);
    if (rc != 0) {
        return rc;
    }

    return earlier(task->m, op, out_result) ? 1 : check_free(task->m, op->path, err);
}

static int list_origin(struct task *task, const struct gfsi_op *op, struct gfs_ufs_listing **out,
                       struct gfs_err *err)
{
    struct gfsi_origin *origin = NULL;
    int rc = gfsi_origins_open(task->m->origins, op->uri, op->props, op->n_props, &origin, err);

    rc = rc != 0 ? rc : gfs_ufs_list(gfsi_origin_ufs(origin), "", out, err);
    gfsi_origin_put(task->m->origins, origin);
    return rc == 0 ? 0 : gfs_err_wrap(err, rc, "mount %s", op->path);
}

static int run_mount(struct task *task, struct gfs_err *err)
{
    const Goosefs__V1__MountRequest *q = (const Goosefs__V1__MountRequest *)task->message;
    struct gfsi_prop *props gfs_auto_free = calloc(q->n_properties + 1, sizeof(*props));
    char path[GFSI_PATH_MAX];
    struct gfsi_op op = {
        .type = GFSI_OP_MOUNT,
        .path = path,
        .uri = q->ufs_uri,
        .read_only = q->read_only,
        .shared = q->shared,
        .begins_numbers = true,
        .time_ms = gfs_clock_wall_ms(),
        .props = props,
        .n_props = q->n_properties,
    };
    struct gfs_ufs_listing *listing = NULL;
    int64_t result;
    int rc = props == NULL ? GFS_ENOMEM : check_mount(q, path, err);

    rc = rc != 0 ? rc : set_id(&op, &q->operation_id, err);
    if (rc != 0) {
        return rc;
    }

    for (size_t i = 0; i < q->n_properties; i++) {
        props[i] = (struct gfsi_prop){q->properties[i]->key, q->properties[i]->value};
    }

    rc = look_before(task, &op, &result, err);
    if (rc > 0) {
        return result < 0 ? mount_failed(path, (int)result, err)
                          : reply_mount(task, &op, result, err);
    }

    rc = rc != 0 ? rc : list_origin(task, &op, &listing, err);
    rc = rc != 0 ? rc : apply_mount(task, &op, listing, err);
    (void)gfs_ufs_listing_free(listing);
    return rc;
}

void gfsi_on_mount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    start(user, call, request, run_mount);
}

/* ---- Unmount -------------------------------------------------------------------------------- */

static int unmount_failed(const char *path, int code, struct gfs_err *err)
{
    switch (code) {
    case GFS_EINVAL:
    case GFS_ENOENT: return gfs_err_set(err, code, "%s is not a mount point", path);
    case GFS_EPRECONDITION:
        return gfs_err_set(err, code, "%s has another mount below it: unmount that first", path);
    default: return gfs_err_wrap(err, code, "unmount %s", path);
    }
}

static int run_unmount(struct task *task, struct gfs_err *err)
{
    const Goosefs__V1__UnmountRequest *q = (const Goosefs__V1__UnmountRequest *)task->message;
    Goosefs__V1__UnmountResponse response = GOOSEFS__V1__UNMOUNT_RESPONSE__INIT;
    char path[GFSI_PATH_MAX];
    struct gfsi_op op = {.type = GFSI_OP_UNMOUNT, .path = path};
    int64_t mount_id;
    int rc;

    if (gfs_path_normalize(q->path, path, sizeof(path)) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "mount point '%s' is not an absolute path", q->path);
    }

    rc = set_id(&op, &q->operation_id, err);
    rc = rc != 0 ? rc : gfsi_propose_wait(task->m, &op, &mount_id, err);
    if (rc != 0) {
        return unmount_failed(path, rc, err);
    }

    gfsi_origins_drop(task->m->origins, (uint32_t)mount_id);
    gfs_info(GFSI_LOG, "unmounted", "path=%s", GFS_Q(path));
    gfs_rpc_reply(task->call, &response.base);
    return 0;
}

void gfsi_on_unmount(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    start(user, call, request, run_unmount);
}
