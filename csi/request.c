#include "request_priv.h"

#include <string.h>

#include <gfs/base/str.h>

/* protobuf-c gives every map its own entry type, all of one shape. */
#define COPY_MAP(pairs, entries, n)                                                                \
    do {                                                                                           \
        for (size_t map_i = 0; map_i < (n); map_i++) {                                             \
            (pairs)[map_i].key = (entries)[map_i]->key;                                            \
            (pairs)[map_i].value = (entries)[map_i]->value;                                        \
        }                                                                                          \
    } while (0)

#define WIPE_MAP(entries, n)                                                                       \
    do {                                                                                           \
        for (size_t map_i = 0; map_i < (n); map_i++) {                                             \
            explicit_bzero((entries)[map_i]->value, strlen((entries)[map_i]->value));              \
        }                                                                                          \
    } while (0)

#define MODE(name) CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name

bool gfsi_mode_is_multi_target(int access_mode)
{
    return access_mode != MODE(SINGLE_NODE_WRITER) &&
           access_mode != MODE(SINGLE_NODE_READER_ONLY) &&
           access_mode != MODE(SINGLE_NODE_SINGLE_WRITER);
}

static int check_id(const char *id, char *out, struct gfs_err *err)
{
    size_t len = strlen(id);

    if (len == 0) {
        return gfs_err_set(err, GFS_EINVAL, "volume_id is missing");
    }
    if (len > GFSI_ID_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "volume_id is longer than %d bytes", GFSI_ID_MAX);
    }
    if (!gfs_utf8_valid(id, len)) {
        return gfs_err_set(err, GFS_EINVAL, "volume_id is not plain UTF-8 text");
    }
    return gfs_str_copy(out, GFSI_ID_MAX + 1, id);
}

static int check_path(const char *path, const struct gfsi_request_rules *rules, const char *what,
                      char *out, struct gfs_err *err)
{
    if (path[0] == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "%s is missing", what);
    }
    if (gfsi_path_resolve(path, rules->kubelet_text, rules->kubelet_root, out, GFSI_PATH_MAX + 1) <
        0) {
        return gfs_err_set(err, GFS_EINVAL, "%s is too long", what);
    }
    return gfsi_path_check(out, rules->kubelet_root, what, err);
}

static int check_map(const struct gfsi_pair *pairs, size_t n, const char *what, struct gfs_err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        size_t key = strlen(pairs[i].key);
        size_t value = strlen(pairs[i].value);

        if (key == 0 || !gfs_utf8_valid(pairs[i].key, key)) {
            return gfs_err_set(err, GFS_EINVAL, "%s has a key that is empty or not text", what);
        }
        /* Kubelet's own entries (pod info, tokens) have no limit of ours but the message's. */
        if (!gfsi_attr_is_volatile(pairs[i].key)) {
            bytes += key + value;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(pairs[i].key, pairs[j].key) == 0) {
                return gfs_err_set(err, GFS_EINVAL, "%s has a key twice", what);
            }
        }
    }
    if (bytes > GFSI_MAP_BYTES_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "%s is larger than %d bytes", what, GFSI_MAP_BYTES_MAX);
    }
    return 0;
}

static int check_count(size_t n, const char *what, struct gfs_err *err)
{
    return n <= GFSI_MAP_ITEMS_MAX ? 0
                                   : gfs_err_set(err, GFS_EINVAL, "%s has more than %d entries",
                                                 what, GFSI_MAP_ITEMS_MAX);
}

static int check_access(const Csi__V1__VolumeCapability *capability, struct gfs_err *err)
{
    int mode;

    if (capability == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "volume_capability is missing");
    }
    if (capability->access_mode == NULL || capability->access_mode->mode == MODE(UNKNOWN)) {
        return gfs_err_set(err, GFS_EINVAL, "volume_capability has no access mode");
    }
    if (capability->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE__NOT_SET) {
        return gfs_err_set(err, GFS_EINVAL, "volume_capability has no access type");
    }
    if (capability->access_type_case != CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT) {
        return gfs_err_set(err, GFS_EPRECONDITION, "block volumes are not supported");
    }

    mode = (int)capability->access_mode->mode;
    if (mode < 0 || mode > MODE(SINGLE_NODE_MULTI_WRITER)) {
        return gfs_err_set(err, GFS_EPRECONDITION, "access mode %d is not known here", mode);
    }
    return 0;
}

static int compare_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Checks the capability, fills flags, mode, read_only and the capability's digest, and adds the
 * whole to `all`. */
static int take_capability(const Csi__V1__VolumeCapability *capability, struct gfsi_request *out,
                           struct gfsi_digest *all, struct gfs_err *err)
{
    const Csi__V1__VolumeCapability__MountVolume *mount = capability->mount;
    char *sorted[GFSI_FLAGS_MAX];
    struct gfsi_digest d;
    size_t group = strlen(mount->volume_mount_group);
    int rc = gfsi_mount_flags_parse(mount->mount_flags, mount->n_mount_flags, &out->flags, err);

    if (rc < 0) {
        return rc;
    }
    if (mount->fs_type[0] != '\0' && strcmp(mount->fs_type, "fuse") != 0 &&
        strcmp(mount->fs_type, out->attrs.mount_type) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "fs_type is not the volume's mount_type");
    }
    if (group > 10 || strspn(mount->volume_mount_group, "0123456789") != group) {
        return gfs_err_set(err, GFS_EINVAL, "volume_mount_group is not a number");
    }

    out->for_group = group > 0;
    out->access_mode = (int)capability->access_mode->mode;
    out->read_only = out->flags.read_only || out->access_mode == MODE(SINGLE_NODE_READER_ONLY) ||
                     out->access_mode == MODE(MULTI_NODE_READER_ONLY);

    gfsi_digest_init(&d);
    gfsi_digest_number(&d, (uint64_t)out->access_mode);
    gfsi_digest_text(&d, mount->fs_type);
    for (size_t i = 0; i < mount->n_mount_flags; i++) {
        sorted[i] = mount->mount_flags[i];
    }
    if (mount->n_mount_flags > 1) {
        qsort(sorted, mount->n_mount_flags, sizeof(sorted[0]), compare_text);
    }
    for (size_t i = 0; i < mount->n_mount_flags; i++) {
        gfsi_digest_text(&d, sorted[i]);
    }
    gfsi_digest_hex(&d, out->capability);

    gfsi_digest_text(all, out->capability);
    gfsi_digest_text(all, mount->volume_mount_group);
    return 0;
}

static int take_maps(struct gfsi_pair *context, size_t n_context, struct gfsi_pair *publish,
                     size_t n_publish, const struct gfsi_request_rules *rules,
                     struct gfsi_request *out, struct gfsi_digest *all, struct gfs_err *err)
{
    char fluid_path[GFSI_PATH_MAX + 1];
    int rc = check_map(context, n_context, "volume_context", err);

    for (size_t i = 0; rc == 0 && i < n_context; i++) {
        if (strcmp(context[i].key, "fluid_path") == 0) {
            if (gfsi_path_resolve(context[i].value, rules->mount_text, rules->mount_root,
                                  fluid_path, sizeof(fluid_path)) < 0) {
                return gfs_err_set(err, GFS_EINVAL, "fluid_path is too long");
            }
            context[i].value = fluid_path;
        }
    }
    if (rc == 0) {
        rc = check_map(publish, n_publish, "publish_context", err);
    }
    if (rc == 0) {
        rc = gfsi_attrs_parse(context, n_context, rules->mount_root, rules->clean_policy,
                              &out->attrs, err);
    }
    if (rc < 0) {
        return rc;
    }

    gfsi_digest_map(all, context, n_context);
    gfsi_digest_map(all, publish, n_publish);
    return 0;
}

int gfsi_request_stage(const Csi__V1__NodeStageVolumeRequest *message,
                       const struct gfsi_request_rules *rules, struct gfsi_request *out,
                       struct gfs_err *err)
{
    struct gfsi_pair context[GFSI_MAP_ITEMS_MAX];
    struct gfsi_pair publish[GFSI_MAP_ITEMS_MAX];
    struct gfsi_digest all;
    int rc;

    memset(out, 0, sizeof(*out));
    out->kind = GFSI_STAGE;
    if ((rc = check_id(message->volume_id, out->volume_id, err)) < 0 ||
        (rc = check_path(message->staging_target_path, rules, "staging_target_path", out->path,
                         err)) < 0 ||
        (rc = check_access(message->volume_capability, err)) < 0 ||
        (rc = check_count(message->n_volume_context, "volume_context", err)) < 0 ||
        (rc = check_count(message->n_publish_context, "publish_context", err)) < 0 ||
        (rc = check_count(message->n_secrets, "secrets", err)) < 0) {
        return rc;
    }

    COPY_MAP(context, message->volume_context, message->n_volume_context);
    COPY_MAP(publish, message->publish_context, message->n_publish_context);
    gfsi_digest_init(&all);
    if ((rc = take_maps(context, message->n_volume_context, publish, message->n_publish_context,
                        rules, out, &all, err)) < 0 ||
        (rc = take_capability(message->volume_capability, out, &all, err)) < 0) {
        return rc;
    }
    if (out->attrs.ephemeral) {
        return gfs_err_set(err, GFS_EINVAL, "an inline volume is not staged");
    }

    gfsi_digest_hex(&all, out->digest);
    return 0;
}

int gfsi_request_publish(const Csi__V1__NodePublishVolumeRequest *message,
                         const struct gfsi_request_rules *rules, struct gfsi_request *out,
                         struct gfs_err *err)
{
    struct gfsi_pair context[GFSI_MAP_ITEMS_MAX];
    struct gfsi_pair publish[GFSI_MAP_ITEMS_MAX];
    struct gfsi_digest all;
    int rc;

    memset(out, 0, sizeof(*out));
    out->kind = GFSI_PUBLISH;
    if ((rc = check_id(message->volume_id, out->volume_id, err)) < 0 ||
        (rc = check_path(message->target_path, rules, "target_path", out->path, err)) < 0 ||
        (rc = check_access(message->volume_capability, err)) < 0 ||
        (rc = check_count(message->n_volume_context, "volume_context", err)) < 0 ||
        (rc = check_count(message->n_publish_context, "publish_context", err)) < 0 ||
        (rc = check_count(message->n_secrets, "secrets", err)) < 0) {
        return rc;
    }

    COPY_MAP(context, message->volume_context, message->n_volume_context);
    COPY_MAP(publish, message->publish_context, message->n_publish_context);
    gfsi_digest_init(&all);
    if ((rc = take_maps(context, message->n_volume_context, publish, message->n_publish_context,
                        rules, out, &all, err)) < 0 ||
        (rc = take_capability(message->volume_capability, out, &all, err)) < 0) {
        return rc;
    }

    if (message->staging_target_path[0] == '\0') {
        if (!out->attrs.ephemeral) {
            return gfs_err_set(err, GFS_EPRECONDITION, "staging_target_path is missing");
        }
    } else if ((rc = check_path(message->staging_target_path, rules, "staging_target_path",
                                out->staging, err)) < 0) {
        return rc;
    }

    out->read_only = out->read_only || message->readonly;
    gfsi_digest_number(&all, message->readonly ? 1 : 0);
    gfsi_digest_text(&all, out->staging);
    gfsi_digest_hex(&all, out->digest);
    return 0;
}

int gfsi_request_unstage(const Csi__V1__NodeUnstageVolumeRequest *message,
                         const struct gfsi_request_rules *rules, struct gfsi_request *out,
                         struct gfs_err *err)
{
    int rc;

    memset(out, 0, sizeof(*out));
    out->kind = GFSI_UNSTAGE;
    if ((rc = check_id(message->volume_id, out->volume_id, err)) < 0) {
        return rc;
    }
    return check_path(message->staging_target_path, rules, "staging_target_path", out->path, err);
}

int gfsi_request_unpublish(const Csi__V1__NodeUnpublishVolumeRequest *message,
                           const struct gfsi_request_rules *rules, struct gfsi_request *out,
                           struct gfs_err *err)
{
    int rc;

    memset(out, 0, sizeof(*out));
    out->kind = GFSI_UNPUBLISH;
    if ((rc = check_id(message->volume_id, out->volume_id, err)) < 0) {
        return rc;
    }
    return check_path(message->target_path, rules, "target_path", out->path, err);
}

int gfsi_request_stats(const Csi__V1__NodeGetVolumeStatsRequest *message, struct gfs_err *err)
{
    char id[GFSI_ID_MAX + 1];
    int rc = check_id(message->volume_id, id, err);

    if (rc < 0) {
        return rc;
    }
    if (message->volume_path[0] == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "volume_path is missing");
    }
    if (strlen(message->volume_path) > GFSI_PATH_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "volume_path is longer than %d bytes", GFSI_PATH_MAX);
    }
    return 0;
}

void gfsi_request_wipe_stage(Csi__V1__NodeStageVolumeRequest *message)
{
    WIPE_MAP(message->secrets, message->n_secrets);
}

void gfsi_request_wipe_publish(Csi__V1__NodePublishVolumeRequest *message)
{
    WIPE_MAP(message->secrets, message->n_secrets);
}
