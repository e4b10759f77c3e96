/* What kubelet does around the calls: its paths, its directories. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "csictl_priv.h"

#define DRIVER "fuse.csi.fluid.io"

/* {root}/plugins/kubernetes.io/csi/DRIVER/{sha256 of the volume id}/globalmount */
static int staging_path(const struct ctl_args *args, char **out, struct gfs_err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len = 0;

    if (EVP_Digest(args->volume_id, strlen(args->volume_id), digest, &len, EVP_sha256(), NULL) !=
        1) {
        return gfs_err_set(err, GFS_EINTERNAL, "sha256");
    }
    for (unsigned i = 0; i < len; i++) {
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", digest[i]);
    }
    if (asprintf(out, "%s/plugins/kubernetes.io/csi/" DRIVER "/%s/globalmount", args->kubelet_root,
                 hex) < 0) {
        *out = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    return 0;
}

/* {root}/pods/{uid}/volumes/kubernetes.io~csi/{pv}/mount */
static int target_path(const struct ctl_args *args, const char *pod, char **out,
                       struct gfs_err *err)
{
    const char *name = args->name != NULL ? args->name : args->volume_id;

    if (!gfs_name_valid(pod, strlen(pod)) || !gfs_name_valid(name, strlen(name))) {
        return gfs_err_set(err, GFS_EINVAL, "--pod and --name must be plain names");
    }
    if (asprintf(out, "%s/pods/%s/volumes/kubernetes.io~csi/%s/mount", args->kubelet_root, pod,
                 name) < 0) {
        *out = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    return 0;
}

static int make_parent(const char *path, struct gfs_err *err)
{
    char *parent gfs_auto_free = strdup(path);

    if (parent == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *strrchr(parent, '/') = '\0';
    return gfs_mkdirs(parent, 0750, err);
}

/* Removes `path` and up to `levels` directories above it as long as they are empty. */
static void remove_empty(const char *path, int levels)
{
    char *at gfs_auto_free = strdup(path);

    while (at != NULL && levels-- >= 0 && (rmdir(at) == 0 || errno == ENOENT)) {
        char *slash = strrchr(at, '/');

        if (slash == NULL || slash == at) {
            return;
        }
        *slash = '\0';
    }
}

/* Fills staging_path and target_path of the arguments; the texts are the caller's to free. */
static int fill_paths(struct ctl *ctl, char **staging, char **target, struct gfs_err *err)
{
    struct ctl_args *args = ctl->args;
    int rc;

    if (args->volume_id == NULL || args->pod == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "--volume-id and --pod are needed");
    }
    rc = staging_path(args, staging, err);
    if (rc == 0) {
        rc = target_path(args, args->pod, target, err);
    }
    if (rc == 0) {
        args->staging_path = *staging;
        args->target_path = *target;
    }
    return rc;
}

static int pack_paths(const struct ctl_args *args, json_t **out, struct gfs_err *err)
{
    *out = json_pack("{s:s, s:s, s:s}", "volume_id", args->volume_id, "staging_path",
                     args->staging_path, "target_path", args->target_path);
    return *out != NULL ? 0 : gfs_err_set(err, GFS_EINVAL, "a path is not UTF-8");
}

int ctl_mount(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    char *staging gfs_auto_free = NULL;
    char *target gfs_auto_free = NULL;
    json_t *answer = NULL;
    bool staged = false;
    int rc = fill_paths(ctl, &staging, &target, err);

    if (rc < 0) {
        return rc;
    }
    rc = gfs_mkdirs(staging, 0750, err);
    if (rc == 0) {
        rc = make_parent(target, err);
    }
    if (rc == 0) {
        rc = ctl_node_stage(ctl, &answer, err);
        json_decref(answer);
        answer = NULL;
        staged = rc == 0;
    }
    if (rc == 0) {
        rc = ctl_node_publish(ctl, &answer, err);
        json_decref(answer);
    }
    if (rc < 0) {
        remove_empty(target, 4);
        if (!staged) {
            remove_empty(staging, 1);
        }
        return rc;
    }
    return pack_paths(ctl->args, out, err);
}

/* Does a pod other than this one have a target of the volume? */
static int is_used_elsewhere(const struct ctl_args *args, bool *out, struct gfs_err *err)
{
    char *pods gfs_auto_free = NULL;
    DIR *dir gfs_auto_dir = NULL;
    const struct dirent *entry;

    if (asprintf(&pods, "%s/pods", args->kubelet_root) < 0) {
        pods = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *out = false;
    dir = opendir(pods);
    while (dir != NULL && !*out && (entry = readdir(dir)) != NULL) {
        char *target gfs_auto_free = NULL;
        struct stat st;

        if (entry->d_name[0] == '.' || strcmp(entry->d_name, args->pod) == 0) {
            continue;
        }
        if (target_path(args, entry->d_name, &target, NULL) == 0) {
            /* Not of the mount itself, which could hang: of the directory it is in. */
            *strrchr(target, '/') = '\0';
            *out = lstat(target, &st) == 0;
        }
    }
    return 0;
}

int ctl_umount(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    char *staging gfs_auto_free = NULL;
    char *target gfs_auto_free = NULL;
    json_t *answer = NULL;
    bool used = false;
    int rc = fill_paths(ctl, &staging, &target, err);

    if (rc == 0) {
        rc = ctl_node_unpublish(ctl, &answer, err);
        json_decref(answer);
        answer = NULL;
    }
    if (rc < 0) {
        return rc;
    }
    /* The plugin removed the target; kubelet removes what is above it, down to its "pods". */
    remove_empty(target, 4);
    rc = is_used_elsewhere(ctl->args, &used, err);
    if (rc == 0 && !used && !ctl->args->keep_staged) {
        rc = ctl_node_unstage(ctl, &answer, err);
        json_decref(answer);
        if (rc == 0) {
            remove_empty(staging, 1);
        }
    }
    if (rc == 0) {
        rc = pack_paths(ctl->args, out, err);
    }
    if (rc == 0) {
        (void)json_object_set_new(*out, "unstaged", json_boolean(!used && !ctl->args->keep_staged));
    }
    return rc;
}
