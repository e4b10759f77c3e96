#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"

#define ASK_NS       (2 * GFS_NS_PER_S)
#define COUNT_NS     (10 * GFS_NS_PER_S)
#define MOUNT_NS     (60 * GFS_NS_PER_S)
#define HAND_OVER_NS (10 * GFS_NS_PER_S)
#define LOAD_NS      (3600 * GFS_NS_PER_S)

static int64_t in(int64_t ns)
{
    return gfs_clock_mono() + ns;
}

static void see_workers(struct gfsi_kube_pair *pair, struct gfs_observation *seen)
{
    Goosefs__V1__ListWorkersRequest request = GOOSEFS__V1__LIST_WORKERS_REQUEST__INIT;
    Goosefs__V1__ListWorkersResponse *list = NULL;

    if (gfs_client_list_workers(pair->masters, &request, &list, in(ASK_NS), NULL) < 0) {
        return;
    }

    seen->cache_known = true;
    for (size_t i = 0; i < list->n_workers; i++) {
        for (size_t t = 0; list->workers[i]->live && t < list->workers[i]->n_tiers; t++) {
            seen->capacity += list->workers[i]->tiers[t]->capacity;
        }
    }
    goosefs__v1__list_workers_response__free_unpacked(list, NULL);
}

static void see_size(struct gfsi_kube_pair *pair, struct gfs_observation *seen)
{
    Goosefs__V1__CountRequest request = GOOSEFS__V1__COUNT_REQUEST__INIT;
    Goosefs__V1__CountResponse *count = NULL;
    char path[] = "/";

    request.path = path;
    if (gfs_client_count(pair->masters, &request, &count, in(COUNT_NS), NULL) < 0) {
        seen->cache_known = false; /* the capacity alone would say that nothing is cached */
        return;
    }

    seen->sized = true;
    seen->ufs_total = count->length;
    seen->files = count->files;
    seen->cached = count->cached_bytes;
    goosefs__v1__count_response__free_unpacked(count, NULL);
}

static bool same_uri(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);

    la -= la > 0 && a[la - 1] == '/';
    lb -= lb > 0 && b[lb - 1] == '/';
    return la == lb && memcmp(a, b, la) == 0;
}

static bool has_mount(const Goosefs__V1__ListMountsResponse *list,
                      const struct gfs_dataset_mount *mount)
{
    for (size_t i = 0; i < list->n_mounts; i++) {
        if (strcmp(list->mounts[i]->path, mount->path) == 0) {
            return same_uri(list->mounts[i]->ufs_uri, mount->mount_point);
        }
    }

    return false;
}

/* Masters whose journals are lost (emptyDir, D-24 of fluid.md), or somebody's `fs unmount`: what
 * was mounted once is mounted again. */
static void see_mounts(struct gfsi_kube_pair *pair)
{
    Goosefs__V1__ListMountsRequest request = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;
    Goosefs__V1__ListMountsResponse *list = NULL;

    if (gfs_client_list_mounts(pair->masters, &request, &list, in(ASK_NS), NULL) < 0) {
        return;
    }

    for (size_t i = 0; i < pair->dataset->dataset->n_mounts; i++) {
        const struct gfs_dataset_mount *mount = &pair->dataset->dataset->mounts[i];

        if (pair->ds.mounts[i].state == GFS_MOUNT_MOUNTED && !has_mount(list, mount)) {
            gfs_warn("kubernetes", "a mount is gone from the masters", "pair=%s path=%s", pair->key,
                     GFS_Q(mount->path));
            pair->ds.mounts[i].state = GFS_MOUNT_ABSENT;
        }
    }
    goosefs__v1__list_mounts_response__free_unpacked(list, NULL);
}

void gfsi_kube_masters_observe(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                               struct gfs_observation *seen)
{
    Goosefs__V1__GetMasterInfoRequest request = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    Goosefs__V1__GetMasterInfoResponse *info = NULL;
    bool loaded = false;

    pair->leader[0] = '\0';
    if (gfs_client_get_master_info(pair->masters, &request, &info, in(ASK_NS), NULL) < 0) {
        return;
    }

    seen->has_leader = info->leader_rpc_address[0] != '\0';
    (void)snprintf(pair->leader, sizeof(pair->leader), "%.*s",
                   (int)strcspn(info->leader_rpc_address, ".:"), info->leader_rpc_address);
    goosefs__v1__get_master_info_response__free_unpacked(info, NULL);

    loaded = gfsi_kube_pair_loaded(k, pair->key);
    if (seen->has_leader) {
        see_mounts(pair);
    }
    if (seen->has_leader && pair->ds.phase == GFS_DATASET_BOUND) {
        see_workers(pair, seen);
        if (loaded) {
            see_size(pair, seen);
        } else {
            seen->cache_known = false;
        }
    }
}

/* ---- mounts ---- */

static int list_root(struct gfsi_kube_pair *pair, char *path, struct gfs_err *err)
{
    Goosefs__V1__ListStatusRequest request = GOOSEFS__V1__LIST_STATUS_REQUEST__INIT;
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    Goosefs__V1__ListStatusResponse *list = NULL;

    target.path = path;
    request.target = &target;
    request.limit = 1;

    int rc = gfs_client_list_status(pair->masters, &request, &list, in(MOUNT_NS), err);

    if (rc == 0) {
        goosefs__v1__list_status_response__free_unpacked(list, NULL);
    }

    return rc;
}

/* What is mounted at `path`: 0 the same origin, GFS_EABORTED another, GFS_EEXIST no mount. */
static int compare(struct gfsi_kube_pair *pair, const char *path, const char *uri,
                   struct gfs_err *err)
{
    Goosefs__V1__ListMountsRequest request = GOOSEFS__V1__LIST_MOUNTS_REQUEST__INIT;
    Goosefs__V1__ListMountsResponse *list = NULL;
    int rc = gfs_client_list_mounts(pair->masters, &request, &list, in(MOUNT_NS), err);

    if (rc < 0) {
        return rc;
    }

    rc = GFS_EEXIST;
    for (size_t i = 0; i < list->n_mounts; i++) {
        if (strcmp(list->mounts[i]->path, path) == 0) {
            rc = same_uri(list->mounts[i]->ufs_uri, uri) ? 0 : GFS_EABORTED;
        }
    }
    goosefs__v1__list_mounts_response__free_unpacked(list, NULL);
    return rc == GFS_EEXIST
               ? gfs_err_set(err, rc, "there is something at this path that is no mount")
               : rc;
}

static int unmount(struct gfsi_kube_pair *pair, char *path, struct gfs_err *err)
{
    Goosefs__V1__UnmountRequest request = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
    Goosefs__V1__UnmountResponse *response = NULL;
    uint8_t id[GFS_CLIENT_OPERATION_ID];

    gfs_client_operation_id(id);
    request.path = path;
    request.operation_id.data = id;
    request.operation_id.len = sizeof(id);

    int rc = gfs_client_unmount(pair->masters, &request, &response, in(MOUNT_NS), err);

    if (rc == 0) {
        goosefs__v1__unmount_response__free_unpacked(response, NULL);
    }

    return rc;
}

/* The options, and of Secrets where masters and workers find them: what is secret stays in files of
 * their pods. The texts of the references are the caller's to free. */
static size_t fill_options(const struct gfs_dataset_mount *mount, Goosefs__V1__KeyValue *list,
                           Goosefs__V1__KeyValue **pointers, char **texts)
{
    size_t n = 0;

    for (size_t i = 0; i < mount->options.n + mount->secrets.n; i++) {
        bool secret = i >= mount->options.n;
        const struct gfs_kv *kv =
            secret ? &mount->secrets.items[i - mount->options.n] : &mount->options.items[i];
        char *text = NULL;

        if (!secret && gfs_kvs_get(&mount->secrets, kv->key) != NULL) {
            continue;
        }
        if (secret && asprintf(&text, "${file:" GFS_SECRETS_DIR "/%s}", kv->value) < 0) {
            text = NULL;
        }
        goosefs__v1__key_value__init(&list[n]);
        list[n].key = (char *)(uintptr_t)kv->key;
        list[n].value = secret ? text : (char *)(uintptr_t)kv->value;
        texts[n] = text;
        pointers[n] = &list[n];
        n++;
    }

    return n;
}

static bool is_wanted(const struct gfsi_kube_pair *pair, const char *path)
{
    for (size_t i = 0; i < pair->dataset->dataset->n_mounts; i++) {
        if (strcmp(pair->dataset->dataset->mounts[i].path, path) == 0) {
            return true;
        }
    }

    return false;
}

int gfsi_kube_masters_unmount_former(struct gfsi_kube_pair *pair, const json_t *dataset,
                                     struct gfs_err *err)
{
    json_t *former = NULL;
    size_t i = 0;

    json_array_foreach(gfs_kube_at(dataset, "status", "mounts", NULL), i, former)
    {
        const char *path = json_string_value(json_object_get(former, "path"));

        if (path == NULL || is_wanted(pair, path)) {
            continue;
        }

        int rc = unmount(pair, (char *)(uintptr_t)path, err);

        if (rc < 0 && rc != GFS_ENOENT && rc != GFS_EINVAL) {
            return rc;
        }
        gfs_info("kubernetes", "unmounted what the data set has no more", "pair=%s path=%s",
                 pair->key, GFS_Q(path));
    }

    return 0;
}

static int mount_once(struct gfsi_kube_pair *pair, const struct gfs_dataset_mount *mount,
                      struct gfs_err *err)
{
    Goosefs__V1__MountRequest request = GOOSEFS__V1__MOUNT_REQUEST__INIT;
    Goosefs__V1__MountResponse *response = NULL;
    size_t most = mount->options.n + mount->secrets.n + 1;
    Goosefs__V1__KeyValue *list gfs_auto_free = calloc(most, sizeof(*list));
    Goosefs__V1__KeyValue **pointers gfs_auto_free = calloc(most, sizeof(*pointers));
    char **texts gfs_auto_free = calloc(most, sizeof(*texts));
    uint8_t id[GFS_CLIENT_OPERATION_ID];

    if (list == NULL || pointers == NULL || texts == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    gfs_client_operation_id(id);
    request.path = (char *)(uintptr_t)mount->path;
    request.ufs_uri = (char *)(uintptr_t)mount->mount_point;
    request.read_only = mount->read_only;
    request.shared = mount->shared;
    request.n_properties = fill_options(mount, list, pointers, texts);
    request.properties = pointers;
    request.operation_id.data = id;
    request.operation_id.len = sizeof(id);

    int rc = gfs_client_mount(pair->masters, &request, &response, in(MOUNT_NS), err);

    if (rc == 0) {
        goosefs__v1__mount_response__free_unpacked(response, NULL);
    }
    for (size_t i = 0; i < most; i++) {
        free(texts[i]);
    }

    return rc;
}

int gfsi_kube_masters_mount(struct gfsi_kube_pair *pair, const struct gfs_dataset_mount *mount,
                            struct gfs_err *err)
{
    char *path = (char *)(uintptr_t)mount->path;
    int rc = mount_once(pair, mount, err);

    if (rc == GFS_EEXIST) {
        rc = compare(pair, path, mount->mount_point, err);
    }
    if (rc == GFS_EABORTED) {
        gfs_info("kubernetes", "mounting another origin at a path", "pair=%s path=%s", pair->key,
                 GFS_Q(path));
        rc = unmount(pair, path, err);
        if (rc == 0) {
            rc = mount_once(pair, mount, err);
        }
    }

    /* Mounted is one thing, an origin that can be listed another. */
    return rc == 0 ? list_root(pair, path, err) : rc;
}

int gfsi_kube_masters_hand_over(struct gfsi_kube_pair *pair, struct gfs_err *err)
{
    Goosefs__V1__TransferLeadershipRequest request = GOOSEFS__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
    Goosefs__V1__TransferLeadershipResponse *response = NULL;

    gfs_info("kubernetes", "asking for another leader", "pair=%s leader=%s", pair->key,
             pair->leader);

    int rc =
        gfs_client_transfer_leadership(pair->masters, &request, &response, in(HAND_OVER_NS), err);

    if (rc == 0) {
        goosefs__v1__transfer_leadership_response__free_unpacked(response, NULL);
    }

    return rc;
}

/* ---- the walk over a new origin ---- */

static struct gfs_client *begin_load(struct gfsi_kube *k, const char *key)
{
    struct gfs_client *client = gfsi_kube_pair_client(k, key);
    bool stopping = false;

    {
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

        stopping = k->stopping;
        k->loading = stopping ? NULL : client;
    }

    return stopping ? gfs_client_free(client) : client;
}

void gfsi_kube_load(struct gfsi_kube *k, const char *key)
{
    Goosefs__V1__LoadMetadataRequest request = GOOSEFS__V1__LOAD_METADATA_REQUEST__INIT;
    Goosefs__V1__LoadMetadataResponse *response = NULL;
    struct gfs_client *client = begin_load(k, key);
    struct gfs_err err = GFS_ERR_INIT;
    char path[] = "/";

    if (client == NULL) {
        return;
    }

    request.path = path;
    request.recursive = true;

    int rc = gfs_client_load_metadata(client, &request, &response, in(LOAD_NS), &err);

    if (rc == 0) {
        goosefs__v1__load_metadata_response__free_unpacked(response, NULL);
    } else {
        /* What could be loaded is there; the rest is loaded on first access. */
        gfs_warn("kubernetes", "walking the origin ended early", "pair=%s error=%s", key,
                 GFS_Q(gfs_err_text(&err, rc)));
    }

    {
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

        k->loading = NULL;
    }
    (void)gfs_client_free(client);
    gfsi_kube_pair_set_loaded(k, key);
    (void)gfs_kube_queue_add(k->runtimes, key);
}
