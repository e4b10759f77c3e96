/* Changes at the leader: mounting, unmounting, loading metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "goosefs_master.pb-c.h"
#include "platform/local/masters_priv.h"

#define CHANGE_LIMIT_NS (60 * GFS_NS_PER_S)   /* the origin may be slow to answer */
#define LOAD_LIMIT_NS   (3600 * GFS_NS_PER_S) /* a large origin takes its time */

/* One mount on its way: MOUNT, then if the path is taken LIST MOUNTS and perhaps UNMOUNT and MOUNT
 * again, then LIST STATUS, which makes the masters ask the origin. */
struct attempt {
    char *path;
    char *uri;
    bool read_only, shared;
    struct gfs_kvs options; /* copies */
    size_t index;
    bool replaced; /* an other mount was taken away: only once */
    gfsi_masters_mounted_fn done;
    void *arg;
};

static void attempt_free(struct attempt *a)
{
    if (a == NULL) {
        return;
    }

    for (size_t i = 0; i < a->options.n; i++) {
        free((char *)(uintptr_t)a->options.items[i].key);
        free((char *)(uintptr_t)a->options.items[i].value);
    }

    free(a->options.items);
    free(a->path);
    free(a->uri);
    free(a);
}

static struct attempt *attempt_new(const struct gfs_dataset_mount *mount)
{
    struct attempt *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return NULL;
    }

    a->path = strdup(mount->path);
    a->uri = strdup(mount->mount_point);
    a->read_only = mount->read_only;
    a->shared = mount->shared;
    a->options.items = calloc(mount->options.n + 1, sizeof(*a->options.items));

    bool ok = a->path != NULL && a->uri != NULL && a->options.items != NULL;

    for (size_t i = 0; ok && i < mount->options.n; i++) {
        struct gfs_kv *kv = &a->options.items[a->options.n++];

        kv->key = strdup(mount->options.items[i].key);
        kv->value = strdup(mount->options.items[i].value);
        ok = kv->key != NULL && kv->value != NULL;
    }
    if (!ok) {
        attempt_free(a);
        return NULL;
    }

    return a;
}

static void release(void *arg)
{
    attempt_free(arg);
}

static void finish(struct attempt *a, int code, const char *text)
{
    a->done(a->arg, a->index, code, text);
}

/* The attempt goes on with the next call, or ends here. */
static void next(struct gfsi_masters *m, struct gfsi_call *from, const char *method,
                 const ProtobufCMessage *request, gfsi_call_fn fn)
{
    struct attempt *a = from->arg;
    struct gfsi_call *call = gfsi_call_new(fn);
    ssize_t to = gfsi_masters_leader(m);

    if (call == NULL || to < 0) {
        free(call);
        finish(a, GFS_ENOTLEADER, "no leader master");
        return; /* `from` still owns the attempt */
    }

    call->arg = a;
    call->release = release;
    from->release = NULL;
    gfsi_masters_call(m, (size_t)to, &goosefs__v1__file_system_master__descriptor, method, request,
                      CHANGE_LIMIT_NS, call);
}

/* True when it failed and was finished. */
static bool failed(struct gfsi_call *call)
{
    struct attempt *a = call->arg;

    if (call->result.code == 0) {
        return false;
    }

    /* Not the origin's fault when the master stepped down or went away. */
    bool masters = call->result.code == GFS_ENOTLEADER || call->result.leader[0] != '\0';

    finish(a, masters ? GFS_ENOTLEADER : call->result.code, call->result.text);
    return true;
}

static void on_listed(struct gfsi_masters *m, struct gfsi_call *call)
{
    (void)m;
    if (!failed(call)) {
        finish(call->arg, 0, "");
    }
}

static void send_list(struct gfsi_masters *m, struct gfsi_call *from)
{
    struct attempt *a = from->arg;
    Goosefs__V1__ListStatusRequest request = GOOSEFS__V1__LIST_STATUS_REQUEST__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;

    target.path = a->path;
    request.target = &target;
    request.limit = 1;
    next(m, from, "ListStatus", &request.base, on_listed);
}

static void on_mounted(struct gfsi_masters *m, struct gfsi_call *call);

static void send_mount(struct gfsi_masters *m, struct gfsi_call *from)
{
    struct attempt *a = from->arg;
    Goosefs__V1__MountRequest request = GOOSEFS__V1__MOUNT_REQUEST__INIT;
    Goosefs__V1__KeyValue *list = calloc(a->options.n + 1, sizeof(*list));
    Goosefs__V1__KeyValue **pointers = calloc(a->options.n + 1, sizeof(Goosefs__V1__KeyValue *));
    unsigned char id[16];

    if (list == NULL || pointers == NULL || getrandom(id, sizeof(id), 0) != sizeof(id)) {
        finish(a, GFS_ENOTLEADER, "out of memory");
    } else {
        for (size_t i = 0; i < a->options.n; i++) {
            goosefs__v1__key_value__init(&list[i]);
            list[i].key = (char *)(uintptr_t)a->options.items[i].key;
            list[i].value = (char *)(uintptr_t)a->options.items[i].value;
            pointers[i] = &list[i];
        }
        request.path = a->path;
        request.ufs_uri = a->uri;
        request.read_only = a->read_only;
        request.shared = a->shared;
        request.n_properties = a->options.n;
        request.properties = pointers;
        request.operation_id.data = id;
        request.operation_id.len = sizeof(id);
        next(m, from, "Mount", &request.base, on_mounted);
    }

    free(pointers);
    free(list);
}

static void on_unmounted(struct gfsi_masters *m, struct gfsi_call *call)
{
    if (!failed(call)) {
        send_mount(m, call);
    }
}

static void send_unmount(struct gfsi_masters *m, struct gfsi_call *from)
{
    struct attempt *a = from->arg;
    Goosefs__V1__UnmountRequest request = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
    unsigned char id[16];

    if (getrandom(id, sizeof(id), 0) != sizeof(id)) {
        finish(a, GFS_ENOTLEADER, "no random bytes");
        return;
    }

    request.path = a->path;
    request.operation_id.data = id;
    request.operation_id.len = sizeof(id);
    a->replaced = true;
    next(m, from, "Unmount", &request.base, on_unmounted);
}

static bool same_uri(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);

    la -= la > 0 && a[la - 1] == '/';
    lb -= lb > 0 && b[lb - 1] == '/';
    return la == lb && memcmp(a, b, la) == 0;
}

static void on_mounts(struct gfsi_masters *m, struct gfsi_call *call)
{
    struct attempt *a = call->arg;
    const Goosefs__V1__ListMountsResponse *list =
        (const Goosefs__V1__ListMountsResponse *)call->response;

    if (failed(call)) {
        return;
    }

    for (size_t i = 0; i < list->n_mounts; i++) {
        if (strcmp(list->mounts[i]->path, a->path) != 0) {
            continue;
        }
        if (same_uri(list->mounts[i]->ufs_uri, a->uri)) {
            send_list(m, call);
            return;
        }
        if (!a->replaced) {
            gfs_info("local", "mounting another origin at a path", "path=%s", GFS_Q(a->path));
            send_unmount(m, call);
            return;
        }
    }

    finish(a, GFS_EEXIST, "there is something at this path that is no mount");
}

static void on_mounted(struct gfsi_masters *m, struct gfsi_call *call)
{
    Goosefs__V1__ListMountsRequest request = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;

    if (call->result.code == GFS_EEXIST) {
        next(m, call, "ListMounts", &request.base, on_mounts);
    } else if (!failed(call)) {
        send_list(m, call);
    }
}

void gfsi_masters_mount(struct gfsi_masters *m, const struct gfs_dataset_mount *mount, size_t index,
                        gfsi_masters_mounted_fn done, void *arg)
{
    struct attempt *a = attempt_new(mount);

    if (a == NULL) {
        done(arg, index, GFS_ENOTLEADER, "out of memory");
        return;
    }

    struct gfsi_call first = {.arg = a, .release = release};

    a->index = index;
    a->done = done;
    a->arg = arg;
    send_mount(m, &first);
    if (first.release != NULL) {
        first.release(a);
    }
}

static void on_unmount_answer(struct gfsi_masters *m, struct gfsi_call *call)
{
    (void)m;
    if (call->result.code < 0 && call->result.code != GFS_ENOENT) {
        gfs_warn("local", "cannot unmount", "error=%s", GFS_Q(call->result.text));
    }
}

void gfsi_masters_unmount(struct gfsi_masters *m, const char *path)
{
    Goosefs__V1__UnmountRequest request = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
    unsigned char id[16];
    ssize_t to = gfsi_masters_leader(m);
    struct gfsi_call *call = to >= 0 ? gfsi_call_new(on_unmount_answer) : NULL;

    if (call == NULL || getrandom(id, sizeof(id), 0) != sizeof(id)) {
        free(call);
        gfs_warn("local", "cannot unmount without a leader", "path=%s", GFS_Q(path));
        return;
    }

    request.path = (char *)(uintptr_t)path;
    request.operation_id.data = id;
    request.operation_id.len = sizeof(id);
    gfsi_masters_call(m, (size_t)to, &goosefs__v1__file_system_master__descriptor, "Unmount",
                      &request.base, CHANGE_LIMIT_NS, call);
}

static void on_loaded(struct gfsi_masters *m, struct gfsi_call *call)
{
    m->loading = false;
    if (call->result.code < 0 && gfs_err_retryable(call->result.code)) {
        m->want_load = true; /* the next word of a leader starts it again */
        return;
    }
    if (call->result.code < 0) {
        /* What could be loaded is there; the rest is loaded on first access. */
        gfs_warn("local", "walking the origin ended early", "error=%s", GFS_Q(call->result.text));
    }

    gfsi_masters_loaded(m);
}

void gfsi_masters_load(struct gfsi_masters *m)
{
    Goosefs__V1__LoadMetadataRequest request = GOOSEFS__V1__LOAD_METADATA_REQUEST__INIT;
    char path[] = "/";
    ssize_t to = gfsi_masters_leader(m);
    struct gfsi_call *call = to >= 0 && !m->loading ? gfsi_call_new(on_loaded) : NULL;

    if (call == NULL) {
        m->want_load = !m->loading;
        return;
    }

    m->want_load = false;
    request.path = path;
    request.recursive = true;
    m->loading = true;
    gfsi_masters_call(m, (size_t)to, &goosefs__v1__file_system_master__descriptor, "LoadMetadata",
                      &request.base, LOAD_LIMIT_NS, call);
}
