/* What a volume's attributes (PV spec.csi.volumeAttributes) and mount flags mean. Pure. */
#ifndef GFSI_CSI_ATTRS_PRIV_H
#define GFSI_CSI_ATTRS_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/base/err.h>
#include <gfs/csi/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of CSI (spec.md, "Size Limits") or, where it has none, ours. */
#define GFSI_ID_MAX         128
#define GFSI_PATH_MAX       4095
#define GFSI_MAP_BYTES_MAX  4096
#define GFSI_MAP_ITEMS_MAX  128
#define GFSI_FLAGS_MAX      64
#define GFSI_MOUNT_TYPE_MAX 64
#define GFSI_LABEL_MAX      317 /* prefix/name of a Kubernetes label key */

#define GFSI_GOOSEFS_TYPE   "fuse.goosefs-fuse"
#define GFSI_GOOSEFS_SOURCE "goosefs-fuse" /* of mounts made by the keeper */

/* protobuf-c's map entries all have this shape after their base. */
struct gfsi_pair {
    const char *key;
    const char *value;
};

enum gfsi_method {
    GFSI_METHOD_DEFAULT, /* the plugin's */
    GFSI_METHOD_BIND,
    GFSI_METHOD_SYMLINK,
};

struct gfsi_attrs {
    char fluid_path[GFSI_PATH_MAX + 1];
    char sub_path[GFSI_PATH_MAX + 1]; /* relative, normalised, "" when none */
    char mount_type[GFSI_MOUNT_TYPE_MAX + 1];
    char namespace_[64]; /* of the runtime, "" when not given */
    char name[64];
    char label_key[GFSI_LABEL_MAX + 1]; /* "" when it cannot be told */
    enum gfsi_method method;
    enum gfs_csi_clean_policy clean_policy;
    bool skip_ready_check; /* mount pods are not to be waited for */
    bool ephemeral;        /* inline volume: the attributes come from the pod's author */
};

/* GFS_EINVAL with the key at fault; never with a value. `mount_root` is normalised. *out is written
 * in any case and means something on success only: it is too large to build twice. */
int gfsi_attrs_parse(const struct gfsi_pair *pairs, size_t n, const char *mount_root,
                     enum gfs_csi_clean_policy default_policy, struct gfsi_attrs *out,
                     struct gfs_err *err);

/* Attributes of the mount as seen at the target. nosuid and nodev are always set. */
struct gfsi_mount_flags {
    bool read_only;
    bool noexec;
    bool noatime;
    bool nodiratime;
};

/* From capability.mount.mount_flags, by allow-list; flags may be secret, so the error tells the
 * position only. */
int gfsi_mount_flags_parse(char *const *flags, size_t n, struct gfsi_mount_flags *out,
                           struct gfs_err *err);

/* "OnDemand", "OnRuntimeDeleted" or "", "OnFuseChanged". */
int gfsi_clean_policy_parse(const char *text, enum gfs_csi_clean_policy *out);
const char *gfsi_clean_policy_name(enum gfs_csi_clean_policy policy);

/* Absolute, normalised, no control bytes, below `root` (a whole-component prefix) and not root
 * itself. `what` names the field in the error. */
int gfsi_path_check(const char *path, const char *root, const char *what, struct gfs_err *err);

/* The part of `path` behind `root`, without leading slash; NULL when it is not below. */
const char *gfsi_path_below(const char *path, const char *root);

/* `path` with its root `text` replaced by `real`, when it lies below `text`; else as it is. Roots
 * may be symbolic links (microk8s has one at /var/lib/kubelet); the mount table knows real paths
 * only. `text` NULL: there is no other name. GFS_ENAMETOOLONG. */
int gfsi_path_resolve(const char *path, const char *text, const char *real, char *out, size_t size);

/* Keys that change from call to call or hold tokens: no part of a volume's identity. */
bool gfsi_attr_is_volatile(const char *key);

#ifdef __cplusplus
}
#endif
#endif
