/* The four operations on mounts. Each is called by the engine's workers, one at a time per volume,
 * and leaves nothing behind when it fails: for kubelet almost every error is final, and it undoes
 * nothing after a final error. */
#ifndef GFSI_CSI_NODE_PRIV_H
#define GFSI_CSI_NODE_PRIV_H

#include <pthread.h>
#include <stdint.h>

#include <gfs/base/clock.h>
#include <gfs/csi/labeler.h>

#include "journal_priv.h"
#include "keeper_priv.h"
#include "mounts_priv.h"
#include "prober_priv.h"
#include "request_priv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Paths that operations of different volumes may share: a FUSE mount, a target. */
struct gfsi_hold {
    struct gfsi_hold *next;
    const char *key;
};

#define GFSI_HUNG_MAX 16                 /* mounts remembered; the oldest is forgotten */
#define GFSI_HUNG_NS  (5 * GFS_NS_PER_S) /* a mount that did not answer is not asked for so long */

struct gfsi_holds {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    struct gfsi_hold *first;
    unsigned waiting; /* operations that wait for somebody else's mount */
    struct {
        struct gfsi_digest path;
        int64_t until;
    } hung[GFSI_HUNG_MAX];
};

/* A mount that hangs costs one operation the time of a question, the others nothing. */
void gfsi_hung_mark(struct gfsi_holds *holds, const char *path);
bool gfsi_hung_is(struct gfsi_holds *holds, const char *path);

/* Waiting for a pod to mount takes a worker: only some may, so that the others serve. false: there
 * are `max` already. */
bool gfsi_wait_enter(struct gfsi_holds *holds, unsigned max);
void gfsi_wait_leave(struct gfsi_holds *holds);

void gfsi_holds_init(struct gfsi_holds *holds);
void gfsi_holds_fini(struct gfsi_holds *holds);

/* Waits until nobody holds `key` (borrowed until drop). GFS_ETIMEOUT at `deadline`. */
int gfsi_hold_take(struct gfsi_holds *holds, struct gfsi_hold *hold, const char *key,
                   int64_t deadline, struct gfs_err *err);
void gfsi_hold_drop(struct gfsi_holds *holds, struct gfsi_hold *hold);

/* Everything an operation needs; all borrowed but `holds`. Tests fill it with stand-ins. */
struct gfsi_node {
    struct gfsi_request_rules rules;
    const char *state_dir;
    const char *fuse_program;
    const char *fuse_log_dir; /* "" */
    enum gfs_csi_launch_mode launch_mode;
    bool symlink_method;
    int64_t probe_ns;  /* time a mount has to answer a health question */
    int64_t wait_ns;   /* time a publish waits for a mount somebody else makes */
    unsigned wait_max; /* how many may wait so */
    struct gfsi_mounts mounts;
    struct gfsi_keeper keeper;
    const struct gfs_csi_node_labeler *labeler; /* NULL: none */
    struct gfs_csi_prober *prober;
    struct gfsi_journal *journal;
    struct gfsi_holds holds;
};

/* gfsi_engine_run. `user` is the struct gfsi_node. */
int gfsi_node_run(void *user, const struct gfsi_request *request, int64_t deadline,
                  struct gfs_err *err);

int gfsi_node_stage(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                    struct gfs_err *err);
int gfsi_node_unstage(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                      struct gfs_err *err);
int gfsi_node_publish(struct gfsi_node *node, const struct gfsi_request *request, int64_t deadline,
                      struct gfs_err *err);
int gfsi_node_unpublish(struct gfsi_node *node, const struct gfsi_request *request,
                        int64_t deadline, struct gfs_err *err);

/* The journal's view of the request's volume, without uses. */
void gfsi_node_volume(const struct gfsi_request *request, struct gfsi_volume *out);
void gfsi_node_use(const struct gfsi_request *request, struct gfsi_use *out);

/* At start: targets that are not mounted any more are forgotten. */
int gfsi_node_reconcile(struct gfsi_node *node, struct gfs_err *err);

/* ---- the FUSE mount at fluid_path (fuse_mount.c); these hold its path as they need to ---- */

/* Makes sure there is a living mount of the right type; where this machine's keeper is in charge,
 * mounts. Elsewhere waits for it until `deadline` when `wait`, else is content without.
 * *out_made (may be NULL): this call mounted. */
int gfsi_fuse_ensure(struct gfsi_node *node, const struct gfsi_volume *volume, bool wait,
                     int64_t deadline, bool *out_made, struct gfs_err *err);

/* Unmounts (process mode) or withdraws the node's label (pod mode). Not when another volume or
 * another mount uses it: GFS_EPRECONDITION for the latter. */
int gfsi_fuse_clean(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline,
                    struct gfs_err *err);

/* The key of a mount at the keeper: "NS.NAME" from Fluid's layout of fluid_path, or a digest of it.
 */
void gfsi_fuse_keeper_id(const char *mount_root, const char *fluid_path,
                         char out[GFS_KEEPER_ID_MAX + 1]);

/* What a bind of the volume shows: the root of the mount at fluid_path, or its sub path. O_PATH. */
int gfsi_node_open_source(struct gfsi_node *node, const struct gfsi_volume *volume,
                          int64_t deadline, int *out_fd, struct gfs_err *err);

/* Unmounts the whole stack at `place`, lazily when it stays busy, and verifies. */
int gfsi_node_unmount_all(struct gfsi_node *node, const struct gfsi_place *place, const char *path,
                          struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
