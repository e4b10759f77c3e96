/* csictl: CSI from a shell, as kubelet would speak it. */
#ifndef GFSI_CSICTL_PRIV_H
#define GFSI_CSICTL_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include <protobuf-c/protobuf-c.h>

#include <gfs/base/err.h>
#include <gfs/rpc/client.h>

#define CTL_PAIRS_MAX 128
#define CTL_FLAGS_MAX 64

/* A map entry of protobuf-c: all generated entry types have this shape. */
struct ctl_entry {
    ProtobufCMessage base;
    char *key;
    char *value;
};

struct ctl_map {
    size_t n;
    struct ctl_entry entries[CTL_PAIRS_MAX];
    ProtobufCMessage *list[CTL_PAIRS_MAX];
};

/* The whole command line. Texts are borrowed from argv or static, but the maps': those are owned.
 */
struct ctl_args {
    const char *words[2]; /* "node" "publish"; "mount" */
    const char *endpoint;
    const char *kubelet_root;
    int64_t timeout_ns;

    char *volume_id;
    char *staging_path;
    char *target_path;
    char *volume_path;
    char *pod;  /* uid, of mount and umount */
    char *name; /* of the PersistentVolume; NULL: the volume id */
    char *fs_type;
    char *mount_group;
    char *error; /* of registration notify */
    int access_mode;
    bool read_only;
    bool keep_staged;
    size_t n_mount_flags;
    char *mount_flags[CTL_FLAGS_MAX];
    struct ctl_map attrs;
    struct ctl_map publish_context;
    struct ctl_map secrets;
};

/* 0; 1: --help or --version was printed; GFS_EINVAL with what is wrong. Free with ctl_args_fini in
 * any case. */
int ctl_args_parse(struct ctl_args *args, int argc, char **argv, struct gfs_err *err);
void ctl_args_fini(struct ctl_args *args);

/* Makes the map's entries messages of `descriptor`, and returns the list protobuf-c wants. */
void *ctl_map_as(struct ctl_map *map, const ProtobufCMessageDescriptor *descriptor);

/* Any message as JSON: enums by name, maps as objects, fields that are not set left out. NULL when
 * out of memory. */
json_t *ctl_json(const ProtobufCMessage *message);

/* One open connection and what went wrong last. */
struct ctl {
    struct ctl_args *args;
    struct gfs_rpc_channel *channel;
    struct gfs_rpc_result result;
};

/* Calls, and gives the response as JSON. The error of the call, with result filled. */
int ctl_call(struct ctl *ctl, const ProtobufCServiceDescriptor *service, const char *method,
             const ProtobufCMessage *request, json_t **out, struct gfs_err *err);

/* The verbs; each fills *out with what is printed. */
typedef int (*ctl_verb)(struct ctl *ctl, json_t **out, struct gfs_err *err);
ctl_verb ctl_find_verb(const char *group, const char *verb);

int ctl_node_stage(struct ctl *ctl, json_t **out, struct gfs_err *err);
int ctl_node_unstage(struct ctl *ctl, json_t **out, struct gfs_err *err);
int ctl_node_publish(struct ctl *ctl, json_t **out, struct gfs_err *err);
int ctl_node_unpublish(struct ctl *ctl, json_t **out, struct gfs_err *err);

/* Stage and publish at kubelet's paths, making the directories kubelet makes; and back. */
int ctl_mount(struct ctl *ctl, json_t **out, struct gfs_err *err);
int ctl_umount(struct ctl *ctl, json_t **out, struct gfs_err *err);

#endif
