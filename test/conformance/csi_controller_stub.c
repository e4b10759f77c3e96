/* The three Controller calls csi-sanity makes even of a node plugin: volumes are names, their
 * context is the parameters. A test program, never installed. Usage: csi_controller_stub
 * unix:///PATH */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <gfs/base/clock.h>
#include <gfs/rpc/server.h>

#include "csi.pb-c.h"

static void create_volume(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    const Csi__V1__CreateVolumeRequest *request = (const Csi__V1__CreateVolumeRequest *)message;
    Csi__V1__CreateVolumeResponse response;
    Csi__V1__Volume volume;
    Csi__V1__Volume__VolumeContextEntry **context;
    size_t n = request->n_parameters; /* the request is gone after the reply */

    (void)user;
    if (request->name[0] == '\0' || request->n_volume_capabilities == 0) {
        gfs_rpc_fail(call, GFS_EINVAL, "name and capabilities are needed");
        return;
    }
    /* All map entries have one shape; only the descriptor in their first member differs. */
    context = calloc(n + 1, sizeof(context[0]));
    for (size_t i = 0; context != NULL && i < n; i++) {
        context[i] = malloc(sizeof(*context[i]));
        if (context[i] == NULL) {
            abort();
        }
        csi__v1__volume__volume_context_entry__init(context[i]);
        context[i]->key = request->parameters[i]->key;
        context[i]->value = request->parameters[i]->value;
    }

    csi__v1__create_volume_response__init(&response);
    csi__v1__volume__init(&volume);
    volume.volume_id = request->name;
    volume.capacity_bytes =
        request->capacity_range != NULL ? request->capacity_range->required_bytes : 0;
    volume.n_volume_context = n;
    volume.volume_context = context;
    response.volume = &volume;
    gfs_rpc_reply(call, &response.base);
    for (size_t i = 0; context != NULL && i < n; i++) {
        free(context[i]);
    }
    free(context);
}

static void delete_volume(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    Csi__V1__DeleteVolumeResponse response;

    (void)user;
    csi__v1__delete_volume_response__init(&response);
    if (((const Csi__V1__DeleteVolumeRequest *)message)->volume_id[0] == '\0') {
        gfs_rpc_fail(call, GFS_EINVAL, "volume_id is missing");
        return;
    }
    gfs_rpc_reply(call, &response.base);
}

static void get_capabilities(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    Csi__V1__ControllerGetCapabilitiesResponse response;
    Csi__V1__ControllerServiceCapability capability;
    Csi__V1__ControllerServiceCapability__RPC rpc;
    Csi__V1__ControllerServiceCapability *list[] = {&capability};

    (void)message;
    (void)user;
    csi__v1__controller_get_capabilities_response__init(&response);
    csi__v1__controller_service_capability__init(&capability);
    csi__v1__controller_service_capability__rpc__init(&rpc);
    rpc.type = CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__CREATE_DELETE_VOLUME;
    capability.type_case = CSI__V1__CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
    capability.rpc = &rpc;
    response.n_capabilities = 1;
    response.capabilities = list;
    gfs_rpc_reply(call, &response.base);
}

int main(int argc, char **argv)
{
    static const struct gfs_rpc_method methods[] = {
        {"CreateVolume", create_volume},
        {"DeleteVolume", delete_volume},
        {"ControllerGetCapabilities", get_capabilities},
        {NULL, NULL},
    };
    struct gfs_rpc_server *server = NULL;
    struct gfs_err err = GFS_ERR_INIT;
    sigset_t signals;
    int number;
    int rc;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: csi_controller_stub unix:///PATH\n");
        return 2;
    }
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);

    rc = gfs_rpc_server_new(NULL, &server, &err);
    if (rc == 0) {
        rc = gfs_rpc_server_listen(server, argv[1], NULL, 0600, NULL, &err);
    }
    if (rc == 0) {
        rc = gfs_rpc_server_add_service(server, &csi__v1__controller__descriptor, methods, NULL,
                                        &err);
    }
    if (rc == 0) {
        rc = gfs_rpc_server_start(server, &err);
    }
    if (rc == 0) {
        (void)sigwait(&signals, &number);
        gfs_rpc_server_stop(server, gfs_clock_mono() + GFS_NS_PER_S);
    } else {
        (void)fprintf(stderr, "csi_controller_stub: %s\n", gfs_err_text(&err, rc));
    }
    (void)gfs_rpc_server_free(server);
    return rc == 0 ? 0 : 1;
}
