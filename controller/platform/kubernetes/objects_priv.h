/* Shared by objects.c, volume.c and pods*.c. */
#ifndef GFSI_CONTROLLER_KUBE_OBJECTS_PRIV_H
#define GFSI_CONTROLLER_KUBE_OBJECTS_PRIV_H

#include "platform/kubernetes/objects.h"

#define GFSI_KUBE_LABEL_MAX 63 /* characters of a label's value */

struct gfsi_kube_build {
    const struct gfs_plan *plan;
    const json_t *dataset; /* its spec; may be NULL */
    const json_t *runtime; /* its spec */
    const char *uid;       /* of the runtime */
    const struct gfsi_kube_place *place;
    struct gfsi_kube_objects *out;
};

/* Labels of everything of a runtime; `role` may be NULL. New reference. */
json_t *gfsi_kube_labels(const struct gfsi_kube_build *b, const char *role);
/* What selects the pods of a role. */
json_t *gfsi_kube_selector(const struct gfsi_kube_build *b, const char *role);

/* goosefs-site.properties of the role's pods, as they are mounted. NULL when out of memory. */
char *gfsi_kube_properties(const struct gfs_plan *plan, enum gfs_role role);

/* The first pod of a role. NULL when there is none. */
const struct gfs_pod *gfsi_kube_pod(const struct gfs_plan *plan, enum gfs_role role);

/* Names of the ConfigMap's keys, by role. */
extern const char *const gfsi_kube_conf_keys[GFS_ROLES];

uint64_t gfsi_kube_hash64(const char *text);
void gfsi_kube_hash(const char *text, char out[17]); /* the same in hexadecimal */

/* Pod templates; new references, NULL when out of memory. pods_ROLE.c */
json_t *gfsi_kube_master_set(const struct gfsi_kube_build *b);
json_t *gfsi_kube_worker_set(const struct gfsi_kube_build *b);
json_t *gfsi_kube_fuse_set(const struct gfsi_kube_build *b);

/* ---- pods.c: what templates are made of; new references ---- */

#define GFSI_KUBE_CONF_DIR  "/etc/goosefs"
#define GFSI_KUBE_CONF_FILE GFSI_KUBE_CONF_DIR "/goosefs-site.properties"
#define GFSI_KUBE_HOSTNAME  "kubernetes.io/hostname"
#define GFSI_KUBE_REVISION  "goosefs.data.fluid.io/revision" /* annotation of pods */
/* User and group of clients. The worker's group too: its socket is for them. */
#define GFSI_KUBE_CLIENT_ID 64532

/* spec.COMPONENT.FIELD of the runtime; NULL when it is not there. */
json_t *gfsi_kube_component(const struct gfsi_kube_build *b, const char *name, const char *field);
/* Takes `value`; nothing when it is NULL. */
void gfsi_kube_set(json_t *object, const char *key, json_t *value);
/* The container every role has; probes and mounts beyond the configuration come later. */
json_t *gfsi_kube_container(const struct gfsi_kube_build *b, enum gfs_role role, const char *part);
json_t *gfsi_kube_security(int user, int group);
json_t *gfsi_kube_command(const char *program);
json_t *gfsi_kube_http_probe(const char *path, int port, int period, int failures);
json_t *gfsi_kube_mount(const char *volume, const char *path);
json_t *gfsi_kube_host_volume(const char *name, const char *path);
json_t *gfsi_kube_conf_volume(const struct gfsi_kube_build *b, enum gfs_role role);
/* A term of pod anti-affinity: {app, release, role} on another node than its equals. */
json_t *gfsi_kube_apart(const struct gfsi_kube_build *b, const char *role);
json_t *gfsi_kube_template(const struct gfsi_kube_build *b, enum gfs_role role,
                           const char *role_label, json_t *spec);
json_t *gfsi_kube_pod_spec(const struct gfsi_kube_place *place, json_t *container, json_t *volumes);
/* The directory of the runtime on every node: MOUNT_ROOT/goosefs/NS/NAME. */
json_t *gfsi_kube_runtime_dir(const struct gfsi_kube_build *b);
/* The data set's encryptOptions as files GFS_SECRETS_DIR/SECRET/KEY, for who reads origins. */
void gfsi_kube_secrets(const struct gfsi_kube_build *b, json_t *mounts, json_t *volumes);

#endif
