/* Inside platform/local: the instance, its pairs (a Dataset and the runtime of its name) and pods.
 * Everything here belongs to the loop's thread. */
#ifndef GFSI_CONTROLLER_LOCAL_PRIV_H
#define GFSI_CONTROLLER_LOCAL_PRIV_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <gfs/controller/desired.h>
#include <gfs/controller/local.h>
#include <gfs/controller/object.h>
#include <gfs/controller/reconcile.h>
#include <gfs/rpc/client.h>
#include <gfs/rpc/server.h>

#include "platform/local/address.h"
#include "platform/local/child.h"
#include "platform/local/events.h"
#include "platform/local/jobs.h"
#include "platform/local/loop.h"
#include "platform/local/masters.h"

struct gfsi_local;
struct gfsi_pair;
struct gfsi_pod;
struct gfsi_waiter;

/* ---- pods ---- */

/* Of a client the keeper holds, which is no child of ours. */
struct gfsi_held {
    bool known; /* the keeper has it */
    bool busy;  /* a call about it is under way */
    bool serving;
    bool replace; /* its configuration changed: restart it */
    uint32_t pid;
    uint64_t restarts;
    int64_t since_ms;
    int64_t pause_ns; /* back-off of mounting */
    struct gfsi_timer retry;
    char state[24];
    char error[GFS_ERR_TEXT_MAX];
};

struct gfsi_container {
    char name[64];
    char log_path[PATH_MAX];
    struct gfsi_child *child; /* NULL: held by the keeper, or this process */
    struct gfsi_pod *pod;
    bool ready;                 /* system pods: its socket answers */
    enum gfsi_child_state seen; /* for events */
    unsigned restarts_seen;
};

struct gfsi_pod {
    struct gfsi_pod *next;
    struct gfsi_local *local;
    struct gfsi_pair *pair; /* NULL: a system pod */
    char ns[64];
    char name[64];
    enum gfs_role role;
    int index;
    char address[GFSI_ADDRESS_SIZE];
    uint64_t hash;
    int64_t created_ms;
    char dir[PATH_MAX];
    char **dirs; /* to be removed with it */
    size_t n_dirs;
    struct gfsi_container containers[GFS_POD_MAX_CONTAINERS];
    size_t n_containers;
    struct gfsi_held held; /* clients */
    bool deleting;
    bool keep_data; /* deleting only to be created anew, or to stop */
    bool removing;  /* its directories are being removed */
};

/* Creates directories, configuration and processes, and starts them. */
int gfsi_pod_create(struct gfsi_pair *pair, const struct gfs_pod *wanted, struct gfs_err *err);

/* A pod of fluid-system; its containers are added by the caller. */
struct gfsi_pod *gfsi_pod_create_system(struct gfsi_local *local, const char *owner);
int gfsi_pod_add_process(struct gfsi_pod *pod, const char *name, const char *program,
                         const char *const *argv, const struct gfs_kvs *env, uint64_t hash,
                         struct gfs_err *err);

/* Stops it; when it is gone its owner is told (gfsi_pair_poke, gfsi_local_poke_stop). */
void gfsi_pod_delete(struct gfsi_pod *pod, bool keep_data);
void gfsi_pod_finish(struct gfsi_pod *pod); /* it is stopped: clear up what it had */
void gfsi_pod_start(struct gfsi_pod *pod);
bool gfsi_pod_stopped(const struct gfsi_pod *pod);
void gfsi_pod_free(struct gfsi_pod *pod); /* stopped; unlinked by the caller */

bool gfsi_pod_container_ready(const struct gfsi_pod *pod, size_t i);
bool gfsi_pod_ready(const struct gfsi_pod *pod);
const char *gfsi_pod_status(const struct gfsi_pod *pod);
unsigned gfsi_pod_restarts(const struct gfsi_pod *pod);
pid_t gfsi_pod_pid(const struct gfsi_pod *pod, size_t i); /* 0: none */
struct gfsi_pod *gfsi_pod_find(struct gfsi_local *local, const char *ns, const char *name);

/* Free environment list as posix_spawn wants it: this process's own, plus `extra`. */
char **gfsi_environment(const struct gfs_kvs *extra, const char *conf_dir);
void gfsi_environment_free(char **env);

/* ---- clients held by the keeper (client.c) ---- */

void gfsi_client_mount(struct gfsi_pod *pod);
void gfsi_client_unmount(struct gfsi_pod *pod);
void gfsi_clients_poll(struct gfsi_local *local);    /* ask the keeper what it holds */
void gfsi_clients_release(struct gfsi_local *local); /* unmount all, for the end */
int gfsi_client_write_conf(const struct gfs_plan *plan, struct gfs_err *err);
void gfsi_client_remove_conf(const char *conf_path);

/* ---- pairs ---- */

struct gfsi_pair {
    struct gfsi_pair *next;
    struct gfsi_local *local;
    char ns[64];
    char name[64];
    struct gfs_object *dataset;
    struct gfs_object *runtime;
    int64_t dataset_created_ms;
    int64_t runtime_created_ms;
    bool dataset_deleting; /* go once nothing needs them */
    bool runtime_deleting;
    bool replan;
    bool retry; /* something could not be made: try again soon */
    struct gfs_plan *plan;
    struct gfs_dataset_status ds;
    struct gfs_runtime_status rs;
    struct gfsi_pod *pods;
    struct gfsi_masters *masters;
    bool volume;
    int64_t volume_created_ms;
    bool missing_dataset_said;
    char fuse_path[PATH_MAX]; /* of the last plan */
    char conf_path[PATH_MAX];
    struct gfsi_timer timer;
};

void gfsi_pair_replan(struct gfsi_pair *pair); /* plan is NULL as before when it cannot be made */
struct gfsi_pair *gfsi_pair_find(struct gfsi_local *local, const char *ns, const char *name);

/* Takes the object. `stored_ms`: it was read back from the state directory, where it has been since
 * then; 0: it is new. Returns "created", "configured" or "unchanged", or NULL with `err` when the
 * change cannot be made; then the object is the caller's still. */
const char *gfsi_pair_apply(struct gfsi_local *local, struct gfs_object *object, int64_t stored_ms,
                            struct gfs_err *err);

/* Starts the deletion; it goes on by itself. GFS_ENOENT. */
int gfsi_pair_delete(struct gfsi_local *local, enum gfs_object_kind kind, const char *ns,
                     const char *name, struct gfs_err *err);

/* pair_pods.c */
void gfsi_pair_sync_pods(struct gfsi_pair *pair); /* acts on the difference to the plan */
void gfsi_pair_free_gone(struct gfsi_pair *pair); /* those whose deletion has ended */
struct gfsi_pod *gfsi_pair_pod(struct gfsi_pair *pair, const char *name);

/* Reconciles soon. */
void gfsi_pair_poke(struct gfsi_pair *pair);
void gfsi_pair_free(struct gfsi_pair *pair);
void gfsi_pair_event(struct gfsi_pair *pair, enum gfs_object_kind about, bool warning,
                     const char *reason, const char *message);

/* ---- the instance ---- */

enum gfsi_stage {
    GFSI_STAGE_RUNNING,
    GFSI_STAGE_CLIENTS, /* stopping: clients are being unmounted */
    GFSI_STAGE_SYSTEM,  /* node plugin and keeper */
    GFSI_STAGE_WORKERS,
    GFSI_STAGE_MASTERS,
};

struct gfsi_local {
    struct gfs_local_opts opts;
    struct gfsi_loop *loop;
    struct gfsi_jobs *jobs;
    struct gfsi_addresses *addresses;
    struct gfsi_events events;
    struct gfsi_pair *pairs;
    struct gfsi_pod *system_pods;
    struct gfsi_pod *node_pod; /* csi-nodeplugin-fluid */
    struct gfs_rpc_server *server;
    struct gfs_rpc_channel *csi_channel;
    struct gfsi_waiter *waiters;
    struct gfsi_timer tick;
    struct gfsi_timer waiters_timer;
    enum gfsi_stage stage;
    bool polling;  /* the keeper is being asked */
    bool probing;  /* the CSI plugin is being asked */
    bool sweeping; /* an orphan of the keeper is being unmounted */
    int lock_fd;
    int signal_fd;
    struct gfsi_watch *signal_watch;
    int64_t started_ms;
    char node[65];
    char keeper_socket[PATH_MAX];
    char csi_socket[PATH_MAX];
    char pods_dir[PATH_MAX];
    char disks_dir[PATH_MAX];
};

void gfsi_local_event(struct gfsi_local *local, const char *ns, const char *kind, const char *name,
                      bool warning, const char *reason, const char *message);

/* Something changed that a waiter or a stage of the stop may have been waiting for. */
void gfsi_local_changed(struct gfsi_local *local);
void gfsi_local_advance_stop(struct gfsi_local *local);

/* logs.c: keeps the logs of all pods below their maximum. */
void gfsi_logs_trim(struct gfsi_local *local);

/* strays.c: stops processes of an earlier instance that it did not write down. May block; before
 * the loop runs. */
void gfsi_strays_stop(struct gfsi_local *local);

/* leftovers.c: stops processes and removes directories of pods that nothing wants any more: a
 * deletion was cut short by the end of the instance before this one. May block; before the loop
 * runs. */
void gfsi_leftovers_clear(struct gfsi_local *local);

/* node.c: the pods of fluid-system */
/* "csi-nodeplugin-fluid-xxxxx". */
void gfsi_system_pod_name(const struct gfsi_local *local, const char *owner, char out[64]);
int gfsi_node_start(struct gfsi_local *local, struct gfs_err *err);
void gfsi_node_probe(struct gfsi_local *local);
bool gfsi_node_ready(const struct gfsi_local *local);

/* control.c */
int gfsi_control_start(struct gfsi_local *local, struct gfs_err *err);
void gfsi_control_stop(struct gfsi_local *local);
void gfsi_control_check_waiters(struct gfsi_local *local);

#endif
