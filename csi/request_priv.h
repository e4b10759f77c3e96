/* From a CSI message to what the plugin is asked to do: every check that needs no state. Pure. */
#ifndef GFSI_CSI_REQUEST_PRIV_H
#define GFSI_CSI_REQUEST_PRIV_H

#include <stdbool.h>

#include "attrs_priv.h"
#include "csi.pb-c.h"
#include "digest_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gfsi_kind {
    GFSI_STAGE,
    GFSI_UNSTAGE,
    GFSI_PUBLISH,
    GFSI_UNPUBLISH,
};

/* About 20 KiB: on the heap, one per operation queued. */
struct gfsi_request {
    enum gfsi_kind kind;
    char volume_id[GFSI_ID_MAX + 1];
    char path[GFSI_PATH_MAX + 1];    /* staging path of stage and unstage, target of the others */
    char staging[GFSI_PATH_MAX + 1]; /* publish; "" for an inline volume */

    /* stage and publish */
    struct gfsi_attrs attrs;
    struct gfsi_mount_flags flags;
    int access_mode; /* CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__... */
    bool read_only;  /* asked for in any of the ways there are */
    bool for_group;  /* volume_mount_group is given: a pod's fsGroup has to be able to read */

    /* All arguments that make two calls the same: no secrets, nothing volatile. */
    char digest[GFSI_DIGEST_SIZE];
    /* Of the volume capability without its mount group: what two targets must agree in. */
    char capability[GFSI_DIGEST_SIZE];
};

/* What requests are checked against. */
struct gfsi_request_rules {
    const char *kubelet_root; /* without symbolic links, as in the mount table */
    const char *mount_root;
    enum gfs_csi_clean_policy clean_policy;
    const char *kubelet_text; /* as configured, when that is another name; NULL. Requests are */
    const char *mount_text;   /* rewritten to the real one */
};

/* Each fills *out, which means something on success only. Errors are those of the specification:
 * GFS_EINVAL, GFS_EPRECONDITION; their text never holds a value of a map or a flag. */
int gfsi_request_stage(const Csi__V1__NodeStageVolumeRequest *message,
                       const struct gfsi_request_rules *rules, struct gfsi_request *out,
                       struct gfs_err *err);
int gfsi_request_unstage(const Csi__V1__NodeUnstageVolumeRequest *message,
                         const struct gfsi_request_rules *rules, struct gfsi_request *out,
                         struct gfs_err *err);
int gfsi_request_publish(const Csi__V1__NodePublishVolumeRequest *message,
                         const struct gfsi_request_rules *rules, struct gfsi_request *out,
                         struct gfs_err *err);
int gfsi_request_unpublish(const Csi__V1__NodeUnpublishVolumeRequest *message,
                           const struct gfsi_request_rules *rules, struct gfsi_request *out,
                           struct gfs_err *err);

/* Stats carry a path that is looked up before its form is judged (an unknown volume is NOT_FOUND
 * whatever the path): only presence and length. */
int gfsi_request_stats(const Csi__V1__NodeGetVolumeStatsRequest *message, struct gfs_err *err);

/* Overwrites the values of the secrets of a message that was received. */
void gfsi_request_wipe_stage(Csi__V1__NodeStageVolumeRequest *message);
void gfsi_request_wipe_publish(Csi__V1__NodePublishVolumeRequest *message);

/* Whether the access mode lets one node publish at several targets (specification, "Second
 * publish"). */
bool gfsi_mode_is_multi_target(int access_mode);

#ifdef __cplusplus
}
#endif
#endif
