#include <string.h>

#include <gfs/base/clock.h>

#include "csi.pb-c.h"
#include "csictl_priv.h"
#include "pluginregistration.pb-c.h"

int ctl_call(struct ctl *ctl, const ProtobufCServiceDescriptor *service, const char *method,
             const ProtobufCMessage *request, json_t **out, struct gfs_err *err)
{
    ProtobufCMessage *response = NULL;
    int rc = gfs_rpc_call_sync_result(ctl->channel, service, method, request, &response,
                                      gfs_clock_mono() + ctl->args->timeout_ns, &ctl->result, err);

    if (rc < 0) {
        return rc;
    }
    *out = ctl_json(response);
    protobuf_c_message_free_unpacked(response, NULL);
    return *out != NULL ? 0 : gfs_err_set(err, GFS_ENOMEM, "out of memory");
}

/* ---- calls without arguments ---- */

#define PLAIN(function, service, method, request_descriptor)                                       \
    static int function(struct ctl *ctl, json_t **out, struct gfs_err *err)                        \
    {                                                                                              \
        ProtobufCMessage request;                                                                  \
                                                                                                   \
        protobuf_c_message_init(&(request_descriptor), &request);                                  \
        return ctl_call(ctl, &(service), method, &request, out, err);                              \
    }

PLAIN(identity_info, csi__v1__identity__descriptor, "GetPluginInfo",
      csi__v1__get_plugin_info_request__descriptor)
PLAIN(identity_probe, csi__v1__identity__descriptor, "Probe", csi__v1__probe_request__descriptor)
PLAIN(identity_capabilities, csi__v1__identity__descriptor, "GetPluginCapabilities",
      csi__v1__get_plugin_capabilities_request__descriptor)
PLAIN(node_info, csi__v1__node__descriptor, "NodeGetInfo",
      csi__v1__node_get_info_request__descriptor)
PLAIN(node_capabilities, csi__v1__node__descriptor, "NodeGetCapabilities",
      csi__v1__node_get_capabilities_request__descriptor)
PLAIN(registration_info, pluginregistration__registration__descriptor, "GetInfo",
      pluginregistration__info_request__descriptor)

static int registration_notify(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    Pluginregistration__RegistrationStatus request;

    pluginregistration__registration_status__init(&request);
    request.plugin_registered = ctl->args->error == NULL;
    if (ctl->args->error != NULL) {
        request.error = ctl->args->error;
    }
    return ctl_call(ctl, &pluginregistration__registration__descriptor, "NotifyRegistrationStatus",
                    &request.base, out, err);
}

/* ---- volumes ---- */

/* A volume capability on the caller's stack. */
struct capability {
    Csi__V1__VolumeCapability message;
    Csi__V1__VolumeCapability__MountVolume mount;
    Csi__V1__VolumeCapability__AccessMode mode;
};

static void fill_capability(struct ctl_args *args, struct capability *c)
{
    csi__v1__volume_capability__init(&c->message);
    csi__v1__volume_capability__mount_volume__init(&c->mount);
    csi__v1__volume_capability__access_mode__init(&c->mode);
    c->mode.mode = (Csi__V1__VolumeCapability__AccessMode__Mode)args->access_mode;
    c->mount.n_mount_flags = args->n_mount_flags;
    c->mount.mount_flags = args->mount_flags;
    if (args->fs_type != NULL) {
        c->mount.fs_type = args->fs_type;
    }
    if (args->mount_group != NULL) {
        c->mount.volume_mount_group = args->mount_group;
    }
    c->message.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
    c->message.mount = &c->mount;
    c->message.access_mode = &c->mode;
}

/* Texts that were not given stay the empty default: what the plugin says to that is of interest. */
static void set(char **field, char *value)
{
    if (value != NULL) {
        *field = value;
    }
}

int ctl_node_stage(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    struct ctl_args *args = ctl->args;
    Csi__V1__NodeStageVolumeRequest request;
    struct capability capability;

    csi__v1__node_stage_volume_request__init(&request);
    fill_capability(args, &capability);
    set(&request.volume_id, args->volume_id);
    set(&request.staging_target_path, args->staging_path);
    request.volume_capability = &capability.message;
    request.n_volume_context = args->attrs.n;
    request.volume_context = ctl_map_as(
        &args->attrs, &csi__v1__node_stage_volume_request__volume_context_entry__descriptor);
    request.n_publish_context = args->publish_context.n;
    request.publish_context =
        ctl_map_as(&args->publish_context,
                   &csi__v1__node_stage_volume_request__publish_context_entry__descriptor);
    request.n_secrets = args->secrets.n;
    request.secrets =
        ctl_map_as(&args->secrets, &csi__v1__node_stage_volume_request__secrets_entry__descriptor);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodeStageVolume", &request.base, out, err);
}

int ctl_node_unstage(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    Csi__V1__NodeUnstageVolumeRequest request;

    csi__v1__node_unstage_volume_request__init(&request);
    set(&request.volume_id, ctl->args->volume_id);
    set(&request.staging_target_path, ctl->args->staging_path);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodeUnstageVolume", &request.base, out, err);
}

int ctl_node_publish(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    struct ctl_args *args = ctl->args;
    Csi__V1__NodePublishVolumeRequest request;
    struct capability capability;

    csi__v1__node_publish_volume_request__init(&request);
    fill_capability(args, &capability);
    set(&request.volume_id, args->volume_id);
    set(&request.staging_target_path, args->staging_path);
    set(&request.target_path, args->target_path);
    request.readonly = args->read_only;
    request.volume_capability = &capability.message;
    request.n_volume_context = args->attrs.n;
    request.volume_context = ctl_map_as(
        &args->attrs, &csi__v1__node_publish_volume_request__volume_context_entry__descriptor);
    request.n_publish_context = args->publish_context.n;
    request.publish_context =
        ctl_map_as(&args->publish_context,
                   &csi__v1__node_publish_volume_request__publish_context_entry__descriptor);
    request.n_secrets = args->secrets.n;
    request.secrets = ctl_map_as(&args->secrets,
                                 &csi__v1__node_publish_volume_request__secrets_entry__descriptor);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodePublishVolume", &request.base, out, err);
}

int ctl_node_unpublish(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    Csi__V1__NodeUnpublishVolumeRequest request;

    csi__v1__node_unpublish_volume_request__init(&request);
    set(&request.volume_id, ctl->args->volume_id);
    set(&request.target_path, ctl->args->target_path);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodeUnpublishVolume", &request.base, out,
                    err);
}

static int node_stats(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    Csi__V1__NodeGetVolumeStatsRequest request;

    csi__v1__node_get_volume_stats_request__init(&request);
    set(&request.volume_id, ctl->args->volume_id);
    set(&request.volume_path, ctl->args->volume_path);
    set(&request.staging_target_path, ctl->args->staging_path);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodeGetVolumeStats", &request.base, out, err);
}

/* The plugin does not serve it, and says so. */
static int node_expand(struct ctl *ctl, json_t **out, struct gfs_err *err)
{
    Csi__V1__NodeExpandVolumeRequest request;

    csi__v1__node_expand_volume_request__init(&request);
    set(&request.volume_id, ctl->args->volume_id);
    set(&request.volume_path, ctl->args->volume_path);
    set(&request.staging_target_path, ctl->args->staging_path);
    return ctl_call(ctl, &csi__v1__node__descriptor, "NodeExpandVolume", &request.base, out, err);
}

ctl_verb ctl_find_verb(const char *group, const char *verb)
{
    static const struct {
        const char *group, *verb;
        ctl_verb run;
    } table[] = {
        {"identity", "info", identity_info},
        {"identity", "probe", identity_probe},
        {"identity", "capabilities", identity_capabilities},
        {"node", "info", node_info},
        {"node", "capabilities", node_capabilities},
        {"node", "stage", ctl_node_stage},
        {"node", "unstage", ctl_node_unstage},
        {"node", "publish", ctl_node_publish},
        {"node", "unpublish", ctl_node_unpublish},
        {"node", "stats", node_stats},
        {"node", "expand", node_expand},
        {"registration", "info", registration_info},
        {"registration", "notify", registration_notify},
        {"mount", "", ctl_mount},
        {"umount", "", ctl_umount},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].group, group) == 0 && strcmp(table[i].verb, verb) == 0) {
            return table[i].run;
        }
    }
    return NULL;
}
