/* The pods of fluid-system: the node plugin (fuse-keeper and csi-nodeplugin-fluid, as the
 * document's 2/2) and the two controllers, which are this process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>

#include "csi.pb-c.h"
#include "desired/desired_priv.h"
#include "platform/local/local_priv.h"
#include "platform/local/pathf.h"

enum { KEEPER, PLUGIN };

#define CLIENT_USER    "64532" /* GFS_LAUNCH_ID; workers give their sockets to this group */
#define PROBE_LIMIT_NS (5 * GFS_NS_PER_S)

static uint64_t hash_args(const char *const *argv)
{
    uint64_t hash = GFSI_HASH_INIT;

    for (; *argv != NULL; argv++) {
        hash = gfsi_hash(hash, *argv);
    }

    return hash;
}

/* May any user walk to `path`? */
static bool open_to_others(const char *path)
{
    char dir[PATH_MAX];
    struct stat st;

    gfsi_pathf(dir, sizeof(dir), "%s", path);
    for (;;) {
        char *slash = strrchr(dir, '/');

        if (stat(dir[0] != '\0' ? dir : "/", &st) != 0 || (st.st_mode & S_IXOTH) == 0) {
            return false;
        }
        if (slash == NULL) {
            return true;
        }
        *slash = '\0';
    }
}

/* Clients need no privilege, but their program, their configuration and the workers' sockets. */
static const char *client_user(const struct gfsi_local *local)
{
    const char *const needed[] = {local->opts.bin_dir, local->opts.mount_root,
                                  local->opts.state_dir};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!open_to_others(needed[i])) {
            gfs_warn("local", "FUSE clients run as root: others may not enter a directory",
                     "directory=%s", GFS_Q(needed[i]));
            return "0";
        }
    }

    return CLIENT_USER;
}

static int add_keeper(struct gfsi_pod *pod, struct gfs_err *err)
{
    const char *const argv[] = {
        "fuse-keeper",           "--socket", pod->local->keeper_socket, "--client-user",
        client_user(pod->local), NULL};

    return gfsi_pod_add_process(pod, "fuse-keeper", "fuse-keeper", argv, NULL, hash_args(argv),
                                err);
}

static int add_plugin(struct gfsi_pod *pod, struct gfs_err *err)
{
    struct gfsi_local *local = pod->local;
    char endpoint[PATH_MAX + 16];
    char journal[PATH_MAX + 16];
    char program[PATH_MAX + 16];
    char registry[PATH_MAX + 32];

    gfsi_pathf(endpoint, sizeof(endpoint), "unix://%s", local->csi_socket);
    gfsi_pathf(journal, sizeof(journal), "%s/csi/journal", local->opts.state_dir);
    gfsi_pathf(program, sizeof(program), "%s/goosefs-fuse", local->opts.bin_dir);
    gfsi_pathf(registry, sizeof(registry), "%s/plugins_registry", local->opts.kubelet_root);

    /* Without a kubelet there is nobody to register with. */
    const char *registrar = access(registry, F_OK) == 0 ? "--registrar" : "--no-registrar";
    const char *const argv[] = {
        "csi-nodeplugin-fluid",
        "--nodeid",
        local->node,
        "--endpoint",
        endpoint,
        "--kubelet-root",
        local->opts.kubelet_root,
        "--mount-root",
        local->opts.mount_root,
        "--state-dir",
        journal,
        "--keeper-socket",
        local->keeper_socket,
        "--fuse-program",
        program,
        "--fuse-log-dir",
        pod->dir,
        registrar,
        NULL,
    };

    return gfsi_pod_add_process(pod, "csi-nodeplugin-fluid", "csi-nodeplugin-fluid", argv, NULL,
                                hash_args(argv), err);
}

static int add_controller(struct gfsi_local *local, const char *name, struct gfs_err *err)
{
    struct gfsi_pod *pod = gfsi_pod_create_system(local, name);

    if (pod == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    (void)snprintf(pod->containers[0].name, sizeof(pod->containers[0].name), "manager");
    pod->containers[0].pod = pod;
    pod->n_containers = 1;
    return 0;
}

int gfsi_node_start(struct gfsi_local *local, struct gfs_err *err)
{
    char target[PATH_MAX + 16];
    int rc = add_controller(local, "goosefsruntime-controller", err);
    struct gfsi_pod *pod = rc == 0 ? gfsi_pod_create_system(local, "csi-nodeplugin-fluid") : NULL;

    if (pod == NULL) {
        return rc < 0 ? rc : gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    local->node_pod = pod;
    rc = gfs_mkdirs(pod->dir, 0755, err);
    rc = rc < 0 ? rc : add_keeper(pod, err);
    rc = rc < 0 ? rc : add_plugin(pod, err);
    rc = rc < 0 ? rc : add_controller(local, "dataset-controller", err);
    if (rc < 0) {
        return rc;
    }

    gfsi_pathf(target, sizeof(target), "unix://%s", local->csi_socket);
    rc = gfs_rpc_channel_new(target, NULL, &local->csi_channel, err);
    if (rc < 0) {
        return rc;
    }

    gfsi_pod_start(pod);
    return 0;
}

/* ---- is the plugin there ---- */

struct probe {
    struct gfsi_local *local;
    bool ready;
};

static void on_probe_loop(void *arg)
{
    struct probe *probe = arg;
    struct gfsi_local *local = probe->local;
    struct gfsi_container *c = &local->node_pod->containers[PLUGIN];

    local->probing = false;
    if (local->node_pod->n_containers > PLUGIN && c->ready != probe->ready) {
        c->ready = probe->ready;
        gfsi_local_changed(local);
    }

    free(probe);
}

static void on_probe(void *arg, const struct gfs_rpc_result *result, ProtobufCMessage *response)
{
    struct probe *probe = arg;
    const Csi__V1__ProbeResponse *answer = (const Csi__V1__ProbeResponse *)response;

    probe->ready = result->code == 0 && (answer->ready == NULL || answer->ready->value);
    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }
    if (gfsi_loop_post(probe->local->loop, on_probe_loop, probe) < 0) {
        free(probe);
    }
}

void gfsi_node_probe(struct gfsi_local *local)
{
    Csi__V1__ProbeRequest request = CSI__V1__PROBE_REQUEST__INIT;
    struct probe *probe = local->probing ? NULL : calloc(1, sizeof(*probe));

    if (probe == NULL) {
        return;
    }

    probe->local = local;
    local->probing = true;
    if (gfs_rpc_call_async(local->csi_channel, &csi__v1__identity__descriptor, "Probe",
                           &request.base, gfs_clock_mono() + PROBE_LIMIT_NS, on_probe, probe,
                           NULL) < 0) {
        local->probing = false;
        free(probe);
    }
}

bool gfsi_node_ready(const struct gfsi_local *local)
{
    return local->node_pod != NULL && gfsi_pod_ready(local->node_pod);
}
