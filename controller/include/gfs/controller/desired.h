/* What should exist for a Dataset and its GooseFSRuntime: pods with their configuration, services,
 * volume and claim. A pure function of the objects and a few facts about the place; no clock, no
 * randomness, no I/O, so that the same input gives the same plan on every run and machine.
 *
 * Names, labels and attributes are Fluid's (reference: fluid.md §1.4, §2.7); ports are the
 * document's. One master has pod NAME-master-0, workers and clients have the names the document
 * prints: NAME-worker-xxxxx, with a suffix that is stable for (seed, namespace, name, index).
 *
 * Thread: a plan is read-only once made. */
#ifndef GFS_CONTROLLER_DESIRED_H
#define GFS_CONTROLLER_DESIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/buf.h>
#include <gfs/controller/object.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_PORT_MASTER_RPC     26000 /* the document: hbase-master-0:26000 */
#define GFS_PORT_MASTER_WEB     26001
#define GFS_PORT_MASTER_JOURNAL 26002
#define GFS_PORT_WORKER_RPC     26003
#define GFS_PORT_WORKER_WEB     26004

#define GFS_FLUID_NAMESPACE "fluid-system"
#define GFS_CSI_DRIVER      "fuse.csi.fluid.io"
#define GFS_FUSE_TYPE       "fuse.goosefs-fuse"
#define GFS_STORAGE_CLASS   "fluid"

#define GFS_POD_SUFFIX_LEN 5

struct gfs_facts {
    const char *seed; /* makes suffixes differ between installations; "" is fine */
    const char *const *nodes;
    size_t n_nodes;
    const char *mount_root; /* "/runtime-mnt" */
    const char *hosts_file; /* goosefs.network.hosts.file; "": names are resolved otherwise */
    /* Where pods keep what outlives them: {pods_dir}/{ns}/{pod}. "": containers, with the
     * journal at /journal. */
    const char *pods_dir;
    /* All pods share one file system: every worker gets a directory of its own in each tier. */
    bool one_machine;
    /* Tier paths that this machine does not have, and the directory that stands in for them. */
    const char *const *missing_paths;
    size_t n_missing;
    const char *stand_in_dir;
};

enum gfs_role { GFS_ROLE_MASTER, GFS_ROLE_WORKER, GFS_ROLE_FUSE, GFS_ROLE_SYSTEM };
#define GFS_ROLES 3 /* the first three: those of a runtime */

const char *gfs_role_name(enum gfs_role role); /* "master", "worker", "fuse", "system" */

struct gfs_container {
    const char *name;    /* "goosefs-master" */
    const char *program; /* "goosefs-master"; "": this process itself */
    const char **args;
    size_t n_args;
};

#define GFS_POD_MAX_CONTAINERS 2

struct gfs_pod {
    const char *ns;
    const char *name;
    const char *owner; /* "hbase-master": the StatefulSet or DaemonSet it belongs to */
    enum gfs_role role;
    int index; /* within its owner */
    const char *node;
    struct gfs_container containers[GFS_POD_MAX_CONTAINERS];
    size_t n_containers;
    struct gfs_kvs properties; /* its goosefs-site.properties, in order */
    struct gfs_kvs env;
    const char **dirs; /* to exist before it starts */
    size_t n_dirs;
    uint16_t rpc_port; /* 0: none */
    uint64_t hash;     /* of everything above: another hash is another pod */
};

struct gfs_port {
    const char *name;
    uint16_t port;
};

struct gfs_service {
    const char *ns;
    const char *name; /* = the pod it selects */
    struct gfs_port ports[3];
    size_t n_ports;
};

/* PersistentVolume NS-NAME and PersistentVolumeClaim NAME. */
struct gfs_volume {
    const char *ns;
    const char *pv;
    const char *pvc;
    const char *capacity;
    const char *const *access_modes;
    size_t n_access_modes;
    struct gfs_kvs labels;
    struct gfs_kvs attributes;
};

struct gfs_plan {
    struct gfs_arena *arena;
    const char *ns;
    const char *name;
    struct gfs_pod *pods; /* masters, workers, clients; each by index */
    size_t n_pods;
    size_t desired[GFS_ROLES]; /* pods of each role; clients count also when started on demand */
    struct gfs_service *services;
    size_t n_services;
    struct gfs_volume volume;
    bool fuse_global;
    const char *fuse_path; /* {mount_root}/goosefs/{ns}/{name}/goosefs-fuse */
    const char *conf_path; /* {mount_root}/goosefs/{ns}/{name}/conf/goosefs-site.properties */
    struct gfs_kvs conf;   /* its content: what every client of this runtime reads */
    const char *hcfs;      /* "goosefs://NAME-master-0.NS:26000" */
    const char **notes;    /* what the user should know ("... stands in for /mnt/disk1") */
    size_t n_notes;
};

/* The namespaces and names of both objects are equal. GFS_EINVAL with a text when a property of the
 * user makes no sense; GFS_ENOMEM. *out is freed with gfs_plan_free. */
int gfs_desired(const struct gfs_object *dataset, const struct gfs_object *runtime,
                const struct gfs_facts *facts, struct gfs_plan **out, struct gfs_err *err);
struct gfs_plan *gfs_plan_free(struct gfs_plan *plan);

/* The objects as Kubernetes would show them: a JSON list, indented, keys in a fixed order. */
int gfs_plan_print(const struct gfs_plan *plan, struct gfs_buf *out);

/* "key=value" lines of a goosefs-site.properties. */
void gfs_properties_print(const struct gfs_kvs *kvs, struct gfs_buf *out);

/* The key of a node label of a runtime: `prefix` ("fluid.io/s-") and NS-NAME. What comes after the
 * slash has at most 63 characters; a longer name is cut and told apart by its hash, so that plugin
 * and controllers compute the same key from namespace and name alone; by UID, as the predecessor
 * did it, they did not. */
#define GFS_LABEL_KEY_MAX 320 /* with NUL */
void gfs_label_key(const char *prefix, const char *ns, const char *name,
                   char out[GFS_LABEL_KEY_MAX]);

/* The suffix of pod `index` of `owner` in `ns`: five characters of Kubernetes' alphabet, which has
 * no vowels and no look-alikes. `salt` > 0 gives others, when two collide. */
void gfs_pod_suffix(const char *seed, const char *ns, const char *owner, int index, unsigned salt,
                    char out[GFS_POD_SUFFIX_LEN + 1]);

/* ---- what to do about the difference ---- */

struct gfs_observed_pod {
    const char *ns;
    const char *name;
    enum gfs_role role;
    uint64_t hash;
};

enum gfs_action_kind { GFS_ACTION_DELETE, GFS_ACTION_CREATE, GFS_ACTION_REPLACE };

struct gfs_action {
    enum gfs_action_kind kind;
    const struct gfs_pod *pod;               /* create, replace */
    const struct gfs_observed_pod *observed; /* delete, replace */
};

/* Compares the pods of one runtime. Deletions first: clients, workers, masters; then creations and
 * replacements: masters, workers, clients. Writes at most max actions and returns their number;
 * max = n_observed + plan->n_pods always suffices. `plan` may be NULL: nothing should exist. */
size_t gfs_diff(const struct gfs_observed_pod *observed, size_t n_observed,
                const struct gfs_plan *plan, struct gfs_action *actions, size_t max);

#ifdef __cplusplus
}
#endif
#endif
