/* The parts of the Kubernetes platform.
 *
 * Threads: informers only queue keys. DATASET_WORKERS and RUNTIME_WORKERS threads take them; the
 * queue never gives one key to two of them, so a pair belongs to the thread that took its key. The
 * list of pairs and what the loader leaves in a pair are under `mutex`. */
#ifndef GFSI_CONTROLLER_KUBE_PRIV_H
#define GFSI_CONTROLLER_KUBE_PRIV_H

#include <pthread.h>
#include <stdbool.h>

#include <gfs/client/client.h>
#include <gfs/controller/kubernetes.h>
#include <gfs/controller/reconcile.h>
#include <gfs/kube/event.h>
#include <gfs/kube/informer.h>
#include <gfs/kube/queue.h>

#include "platform/kubernetes/objects.h"
#include "platform/kubernetes/pack.h"

#define GFSI_KUBE_MANAGER   "goosefsruntime-controller"
#define GFSI_KUBE_MANAGER_D "dataset-controller"

enum gfsi_kube_kind {
    GFSI_KUBE_DATASETS,
    GFSI_KUBE_RUNTIMES,
    GFSI_KUBE_PODS,
    GFSI_KUBE_SERVICES,
    GFSI_KUBE_CONFIGMAPS,
    GFSI_KUBE_STATEFULSETS,
    GFSI_KUBE_REPLICASETS,
    GFSI_KUBE_DAEMONSETS,
    GFSI_KUBE_BUDGETS,
    GFSI_KUBE_VOLUMES,
    GFSI_KUBE_CLAIMS,
    GFSI_KUBE_NODES, /* may stay unknown: an older role has no right to see them */
    GFSI_KUBE_KINDS
};

/* What was written of one object last. */
struct gfsi_kube_applied {
    uint64_t name;    /* hash of "plural/name" */
    uint64_t content; /* hash of what was planned */
    uint64_t version; /* hash of the version it got (apply.c) */
};

/* What stays of a runtime and its data set between rounds, as long as the runtime exists. Small:
 * there may be hundreds, and most rest. */
struct gfsi_kube_rest {
    struct gfsi_kube_rest *next; /* mutex */
    char *key;
    char *uid;                      /* of the runtime: another one is another pair */
    struct gfsi_kube_packed ds, rs; /* empty: no round has ended yet */
    struct gfsi_kube_applied *applied;
    size_t n_applied;
    struct gfs_client *masters; /* NULL: opened when it is needed */
    int refused, told;
    int64_t cleaning_since;
    char *addresses; /* mutex */
    bool loaded;     /* mutex */
};

/* The same during a round. */
struct gfsi_kube_pair {
    struct gfsi_kube_rest *rest; /* borrowed; gone when the pair is dropped */
    const char *key;             /* of rest */
    struct gfs_object *dataset, *runtime;
    struct gfs_plan *plan;
    struct gfs_client *masters;
    struct gfs_dataset_status ds;
    struct gfs_runtime_status rs;
    bool fresh;                         /* its first round in this process */
    int refused, told;                  /* number of masters asked for in vain; 0: none */
    int64_t cleaning_since;             /* monotonic ns; 0: not yet */
    char leader[GFS_KUBE_NAME_MAX + 1]; /* pod of the leading master; "": none answered */
};

struct gfsi_kube {
    struct gfs_kubernetes_opts opts;
    struct gfs_kube_client *client;
    struct gfs_kube_recorder *recorder;
    struct gfs_kube_informer *informers[GFSI_KUBE_KINDS];
    struct gfs_kube_queue *datasets, *runtimes, *loads, *nodes;
    pthread_mutex_t mutex;
    struct gfsi_kube_rest *pairs;
    size_t n_open;              /* connections to masters kept between rounds; mutex */
    struct gfs_client *loading; /* of the loader's call under way; mutex */
    bool stopping;              /* mutex */
};

/* One round for one runtime. `dataset` may be NULL. */
struct gfsi_kube_round {
    struct gfsi_kube *k;
    const char *key;
    char ns[GFS_KUBE_NAME_MAX + 1];
    char name[GFS_KUBE_NAME_MAX + 1];
    json_t *runtime, *dataset;
    struct gfsi_kube_pair *pair;
    char workers[17]; /* revision of the workers' template */
    struct gfs_err *err;
};

/* One round for a key ("ns/name"). Negative: again after the key's back-off; else again after so
 * many ns, 0: when something changes. */
int64_t gfsi_kube_reconcile_runtime(struct gfsi_kube *k, const char *key, struct gfs_err *err);
int64_t gfsi_kube_reconcile_dataset(struct gfsi_kube *k, const char *key, struct gfs_err *err);
/* The key is a node's name. nodes.c */
int64_t gfsi_kube_reconcile_node(struct gfsi_kube *k, const char *key, struct gfs_err *err);
/* Takes the label that lets clients start off every node. */
int gfsi_kube_unmark_nodes(struct gfsi_kube *k, const char *ns, const char *name,
                           struct gfs_err *err);

/* ---- watch.c ---- */
/* Starts the informers and waits for their first lists. GFS_ECANCELLED: stopped meanwhile. */
int gfsi_kube_watch(struct gfsi_kube *k, struct gfs_err *err);

/* ---- cleanup.c ---- */
/* Remembers the nodes its pods are on. */
int gfsi_kube_note_nodes(struct gfsi_kube_round *r);
/* Ends the runtime's pods and removes what they left: 0 when that is done (or was given up), else
 * when to come back, ns. */
int64_t gfsi_kube_clean(struct gfsi_kube_round *r);

/* Deletes claims of journals whose runtime is gone: made while it went, before our copy had them.
 */
int gfsi_kube_end_orphans(struct gfsi_kube_round *r);

/* ---- bind.c ---- */
/* Whether the volume is for another claim than this one, or the claim was bound to another volume
 * of that name. Pure; NULL: there is none. */
bool gfsi_kube_misbound(const json_t *volume, const json_t *claim);
/* Gives the data set's volume to the claim there is. */
int gfsi_kube_rebind(struct gfsi_kube_round *r);

/* ---- journals.c ---- */
/* The claim of that master's journal, a new reference; NULL when there is none. */
json_t *gfsi_kube_journal_claim(struct gfsi_kube_round *r, int master);
/* Makes the volumes that claims of ours wait for. */
int gfsi_kube_journals_provide(struct gfsi_kube_round *r);
/* The volumes of ours of that runtime, a new array. */
json_t *gfsi_kube_journals(struct gfsi_kube *k, const char *ns, const char *name);
/* Deletes those whose claim is gone; the runtime may be gone too. */
int gfsi_kube_journals_end(struct gfsi_kube *k, const char *ns, const char *name,
                           struct gfs_err *err);

/* ---- trim.c: new references ---- */
json_t *gfsi_kube_trim_users(json_t *object); /* what users write: all but field managers */
json_t *gfsi_kube_trim_part(json_t *object);  /* metadata */
json_t *gfsi_kube_trim_set(json_t *object);   /* and status */
json_t *gfsi_kube_trim_pod(json_t *object);
json_t *gfsi_kube_trim_volume(json_t *object);
json_t *gfsi_kube_trim_claim(json_t *object);
json_t *gfsi_kube_trim_node(json_t *object);

/* ---- observe.c ---- */
/* What there is; and where a template has changed, one pod is replaced (rollout.h). */
int gfsi_kube_observe(struct gfsi_kube_round *r, struct gfs_observation *seen);
/* The pods of that name, of other namespaces too: `each` looks. Under the informer's lock. */
void gfsi_kube_each_pod(struct gfsi_kube_round *r, bool (*each)(void *arg, json_t *pod), void *arg);
/* metadata.MAP.KEY; "" when it is not there. */
const char *gfsi_kube_meta(const json_t *object, const char *map, const char *key);

/* ---- pairs.c ---- */
/* Begins a round; gfsi_kube_pair_end ends it. NULL: no memory. */
struct gfsi_kube_pair *gfsi_kube_pair_get(struct gfsi_kube *k, const char *key, const char *uid);
/* Keeps what the next round needs, unless the pair was dropped, and frees the rest. Accepts NULL.
 */
void gfsi_kube_pair_end(struct gfsi_kube *k, const char *key, struct gfsi_kube_pair *pair);
void gfsi_kube_pair_drop(struct gfsi_kube *k, const char *key);
/* Whether the origin was walked in this process' life; that it was. */
bool gfsi_kube_pair_loaded(struct gfsi_kube *k, const char *key);
void gfsi_kube_pair_set_loaded(struct gfsi_kube *k, const char *key);
/* A client of the masters of that pair for a call beside its rounds; NULL: none is known. */
struct gfs_client *gfsi_kube_pair_client(struct gfsi_kube *k, const char *key);
/* Objects and plan from what the API server has. GFS_EINVAL: the user's fault, said in err. */
int gfsi_kube_pair_plan(struct gfsi_kube *k, struct gfsi_kube_pair *pair, const json_t *dataset,
                        const json_t *runtime, struct gfs_err *err);

/* The runtime alone, into pair->runtime. GFS_EINVAL as above. */
int gfsi_kube_pair_parse(struct gfsi_kube_pair *pair, const json_t *runtime, struct gfs_err *err);
struct gfsi_kube_place gfsi_kube_place_of(const struct gfsi_kube *k);

/* ---- apply.c ---- */
/* A new reference from the copy, NULL when it is not there. */
json_t *gfsi_kube_get(struct gfsi_kube *k, enum gfsi_kube_kind kind, const char *ns,
                      const char *name);
/* Writes what is missing, differs from the plan or was changed by others. */
int gfsi_kube_apply_all(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                        struct gfsi_kube_objects *objects, struct gfs_err *err);
/* Adds or removes a finalizer; nothing to do is success. */
int gfsi_kube_finalizer(struct gfsi_kube *k, const struct gfs_kube_resource *resource,
                        const json_t *object, const char *finalizer, bool present,
                        struct gfs_err *err);
bool gfsi_kube_deleting(const json_t *object);
int gfsi_kube_delete(struct gfsi_kube *k, const struct gfs_kube_resource *resource, const char *ns,
                     const char *name, struct gfs_err *err);
void gfsi_kube_event(struct gfsi_kube *k, const json_t *object, bool warning, const char *reason,
                     const char *message);

/* ---- status.c: pure ---- */
json_t *gfsi_kube_dataset_status(const struct gfsi_kube_pair *pair, const json_t *dataset);
json_t *gfsi_kube_runtime_status(const struct gfsi_kube_pair *pair);
/* What a former instance of the controller wrote. */
void gfsi_kube_status_restore(const json_t *dataset, const json_t *runtime,
                              struct gfsi_kube_pair *pair);
/* Writes `status` (taken) as the subresource unless the object has it already. */
int gfsi_kube_status_write(struct gfsi_kube *k, const struct gfs_kube_resource *resource,
                           const json_t *object, json_t *status, struct gfs_err *err);

/* ---- masters.c: calls to the masters of a pair; they block for a bounded time ---- */
void gfsi_kube_masters_observe(struct gfsi_kube *k, struct gfsi_kube_pair *pair,
                               struct gfs_observation *seen);
int gfsi_kube_masters_mount(struct gfsi_kube_pair *pair, const struct gfs_dataset_mount *mount,
                            struct gfs_err *err);
/* Takes away what the data set had and has no more: its status tells. */
int gfsi_kube_masters_unmount_former(struct gfsi_kube_pair *pair, const json_t *dataset,
                                     struct gfs_err *err);
/* Leadership to the best follower. */
int gfsi_kube_masters_hand_over(struct gfsi_kube_pair *pair, struct gfs_err *err);
void gfsi_kube_load(struct gfsi_kube *k, const char *key); /* on the loader's thread */

#endif
