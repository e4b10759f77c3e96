#include <gfs/base/log.h>
#include <gfs/base/version.h>

#include "csi.pb-c.h"
#include "pluginregistration.pb-c.h"
#include "plugin_priv.h"

/* ---- csi.v1.Identity ---- */

static void get_plugin_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    Csi__V1__GetPluginInfoResponse response;
    char name[] = GFS_CSI_DRIVER_NAME;

    csi__v1__get_plugin_info_response__init(&response);
    (void)request;
    (void)user;
    response.name = name;
    response.vendor_version = (char *)(uintptr_t)gfs_version();
    gfs_rpc_reply(call, &response.base);
}

/* A node plugin has none: there is no controller service to look for. */
static void get_capabilities(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    Csi__V1__GetPluginCapabilitiesResponse response;

    csi__v1__get_plugin_capabilities_response__init(&response);
    (void)request;
    (void)user;
    gfs_rpc_reply(call, &response.base);
}

static void probe(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    Csi__V1__ProbeResponse response;
    Csi__V1__BoolValue ready;
    struct gfs_err err = GFS_ERR_INIT;
    int rc = gfs_csi_plugin_health(user, &err);

    csi__v1__probe_response__init(&response);
    csi__v1__bool_value__init(&ready);
    (void)request;
    if (rc < 0) {
        gfs_rpc_fail_err(call, rc, &err);
        return;
    }
    ready.value = true;
    response.ready = &ready;
    gfs_rpc_reply(call, &response.base);
}

int gfsi_identity_add(struct gfs_csi_plugin *plugin, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"GetPluginInfo", get_plugin_info},
        {"GetPluginCapabilities", get_capabilities},
        {"Probe", probe},
        {NULL, NULL},
    };

    return gfs_rpc_server_add_service(plugin->server, &csi__v1__identity__descriptor, methods,
                                      plugin, err);
}

/* ---- pluginregistration.Registration ---- */

static void get_info(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    const struct gfs_csi_plugin *plugin = user;
    Pluginregistration__PluginInfo response;
    char type[] = "CSIPlugin";
    char name[] = GFS_CSI_DRIVER_NAME;
    char version[] = "1.0.0";
    char *versions[] = {version};

    pluginregistration__plugin_info__init(&response);
    (void)request;
    response.type = type;
    response.name = name;
    response.endpoint = plugin->endpoint + sizeof("unix://") - 1;
    response.n_supported_versions = 1;
    response.supported_versions = versions;
    gfs_rpc_reply(call, &response.base);
}

static void notify_status(struct gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    const Pluginregistration__RegistrationStatus *status =
        (const Pluginregistration__RegistrationStatus *)request;
    Pluginregistration__RegistrationStatusResponse response;

    pluginregistration__registration_status_response__init(&response);
    (void)user;
    if (status->plugin_registered) {
        gfs_info("csi", "registered with kubelet", "driver=" GFS_CSI_DRIVER_NAME);
    } else {
        gfs_error("csi", "kubelet refused the registration", "error=%s", GFS_Q(status->error));
    }
    gfs_rpc_reply(call, &response.base);
}

int gfsi_registration_add(struct gfs_csi_plugin *plugin, struct gfs_err *err)
{
    static const struct gfs_rpc_method methods[] = {
        {"GetInfo", get_info},
        {"NotifyRegistrationStatus", notify_status},
        {NULL, NULL},
    };

    return gfs_rpc_server_add_service(
        plugin->registration, &pluginregistration__registration__descriptor, methods, plugin, err);
}
