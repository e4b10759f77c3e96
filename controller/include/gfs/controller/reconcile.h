/* What the statuses say and what is to be done next, from what was observed: the core of
 * dataset-controller and goosefsruntime-controller. Pure: (status, observation, now) -> (status,
 * effects); the platforms carry the effects out and come back with what they saw.
 *
 * Phases, conditions and reasons are Fluid's (reference: fluid.md §2.4, §3.1, §3.2, §3.5).
 *
 *   Dataset:  NotBound --(masters lead, every mount mounted, a worker ready, volume there)--> Bound
 *             Bound --(runtime deleted)--> NotBound
 *
 * A mount that the masters refuse (404, time-out, refused connection, not an index) leaves the
 * Dataset NotBound, with the origin's words in its Ready condition and in an event, and is tried
 * again with growing pauses for ever. */
#ifndef GFS_CONTROLLER_RECONCILE_H
#define GFS_CONTROLLER_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>
#include <gfs/controller/desired.h>
#include <gfs/controller/object.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_CONDITIONS_MAX 16
#define GFS_EFFECTS_MAX    (GFS_DATASET_MAX_MOUNTS + 32)

#define GFS_MOUNT_RETRY_FIRST_MS 500   /* pause after the first failure; doubles */
#define GFS_MOUNT_RETRY_MAX_MS   30000 /* longest pause */
#define GFS_LEADER_GRACE_MS      10000 /* without a leader for so long the Dataset is not Ready */

struct gfs_condition {
    char type[32];
    bool status;
    char reason[48];
    char message[GFS_ERR_TEXT_MAX];
    int64_t last_transition_ms;
};

struct gfs_conditions {
    struct gfs_condition items[GFS_CONDITIONS_MAX];
    size_t n;
};

const struct gfs_condition *gfs_conditions_get(const struct gfs_conditions *conditions,
                                               const char *type);

enum gfs_dataset_phase { GFS_DATASET_NOT_BOUND, GFS_DATASET_BOUND };

/* What is known of one mount of the Dataset at the masters. */
enum gfs_mount_state {
    GFS_MOUNT_UNKNOWN, /* the masters were not asked yet */
    GFS_MOUNT_ABSENT,
    GFS_MOUNT_TRYING, /* an attempt is on its way */
    GFS_MOUNT_FAILED, /* will be tried again at next_try_ms */
    GFS_MOUNT_MOUNTED,
};

struct gfs_mount_status {
    enum gfs_mount_state state;
    unsigned failures;
    int64_t next_try_ms;
    char error[GFS_ERR_TEXT_MAX];
};

struct gfs_dataset_status {
    enum gfs_dataset_phase phase;
    bool sized; /* ufs_total and files are known; "[Calculating]" before */
    uint64_t ufs_total;
    uint64_t files;
    bool cache_known;
    uint64_t cached;
    uint64_t capacity;
    struct gfs_mount_status mounts[GFS_DATASET_MAX_MOUNTS];
    struct gfs_conditions conditions;
    int64_t leader_lost_ms; /* since when no leader answers; 0: one does */
};

enum gfs_phase { GFS_PHASE_NONE, GFS_PHASE_NOT_READY, GFS_PHASE_PARTIAL, GFS_PHASE_READY };
const char *gfs_phase_name(enum gfs_phase phase); /* "", "NotReady", "PartialReady", "Ready" */
const char *gfs_dataset_phase_name(enum gfs_dataset_phase phase);

struct gfs_role_status {
    enum gfs_phase phase;
    size_t desired;
    size_t current; /* pods that exist */
    size_t ready;
};

struct gfs_runtime_status {
    struct gfs_role_status roles[GFS_ROLES];
    struct gfs_conditions conditions;
    int64_t setup_started_ms;
    int64_t setup_ms; /* how long it took until Bound; 0: not there yet */
};

/* What a platform saw. */
struct gfs_observation {
    int64_t now_ms;
    size_t current[GFS_ROLES];
    size_t ready[GFS_ROLES];
    bool has_leader;   /* a leader master answers */
    bool volume_ready; /* PV and PVC exist */
    bool sized;
    uint64_t ufs_total, files;
    bool cache_known;
    uint64_t cached, capacity;
};

enum gfs_effect_kind {
    GFS_EFFECT_EVENT,
    GFS_EFFECT_MOUNT,         /* mount dataset->mounts[index] at the leader */
    GFS_EFFECT_CREATE_VOLUME, /* PV and PVC */
    GFS_EFFECT_LOAD_METADATA, /* walk the origin once, for ufsTotal and fileNum */
    GFS_EFFECT_WAKE,          /* reconcile again at at_ms */
};

struct gfs_effect {
    enum gfs_effect_kind kind;
    size_t index;
    int64_t at_ms;
    bool warning;               /* event */
    enum gfs_object_kind about; /* event */
    const char *reason;         /* event; static */
    char message[GFS_ERR_TEXT_MAX];
};

struct gfs_effects {
    struct gfs_effect items[GFS_EFFECTS_MAX];
    size_t n;
};

/* One round. `plan` is the desired state of the pair. Statuses start zeroed. */
void gfs_reconcile(const struct gfs_object *dataset, const struct gfs_plan *plan,
                   const struct gfs_observation *seen, struct gfs_dataset_status *dataset_status,
                   struct gfs_runtime_status *runtime_status, struct gfs_effects *effects);

/* The outcome of an effect MOUNT: code 0, or negative with the origin's words. */
void gfs_reconcile_mounted(struct gfs_dataset_status *status, size_t index, int code,
                           const char *text, int64_t now_ms);

/* The runtime is gone: as a Dataset without one. */
void gfs_reconcile_unbind(struct gfs_dataset_status *status, int64_t now_ms);

/* ---- status texts (fluid.md §2.9) ---- */

/* "511.00MiB": two decimals and B, KiB, MiB, GiB, TiB. buf >= 32 bytes. */
const char *gfs_status_size(uint64_t bytes, char *buf, size_t size);
/* "97.7%"; "0.0%" of nothing. buf >= 16 bytes. */
const char *gfs_status_percent(uint64_t part, uint64_t whole, char *buf, size_t size);

#ifdef __cplusplus
}
#endif
#endif
