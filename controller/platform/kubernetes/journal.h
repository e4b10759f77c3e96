/* Where the masters' journals live: on a volume of their node (the default), on claims of the
 * user's storage class, or nowhere (emptyDir).
 *
 * A journal on a node must keep its master there: a master that finds its log gone is filled by the
 * others, and when all find theirs gone the metadata is lost. So each master has a claim of the
 * class GFSI_KUBE_JOURNAL_CLASS, which waits until the scheduler has chosen a node; this controller
 * is its provisioner (journals.c) and answers with a PersistentVolume bound to that node.
 *
 *   ROOT/NS/NAME/UID/NAME-master-i-HASH/{journal,metastore}
 *
 * UID is the runtime's: a namesake must not find its log. HASH is the claim's: a master whose claim
 * was deleted comes back as a learner, and must not find what it knew before it had another place.
 * Pure. */
#ifndef GFSI_CONTROLLER_KUBE_JOURNAL_H
#define GFSI_CONTROLLER_KUBE_JOURNAL_H

#include <stdbool.h>

#include "platform/kubernetes/objects.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GFSI_KUBE_JOURNAL_SIZE        "30Gi" /* of a claim that names none; Fluid's emptyDir had it */
#define GFSI_KUBE_JOURNAL_CLASS       "goosefs-journal" /* StorageClass */
#define GFSI_KUBE_JOURNAL_PROVISIONER "goosefs.fluid.io/journal"
#define GFSI_KUBE_JOURNAL_NODE        "goosefs.data.fluid.io/node" /* annotation of the volume */

/* Kubernetes' own annotations. */
#define GFSI_KUBE_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define GFSI_KUBE_SELECTED_NODE  "volume.kubernetes.io/selected-node"

/* spec.master.journal of `spec`, the runtime's: "hostPath", "pvc" or "emptyDir". */
const char *gfsi_kube_journal_kind(const json_t *spec);
/* The directory of the nodes below which journals are. */
const char *gfsi_kube_journal_root(const json_t *spec, const struct gfsi_kube_place *place);

/* The claim waits for a volume of ours on a node that has been chosen: its name, else NULL. */
const char *gfsi_kube_journal_wanted(const json_t *claim);

/* The volume that answers `claim` on `node`, whose label kubernetes.io/hostname is `hostname`; a
 * new reference, NULL when out of memory. The same claim always gets the same name. */
json_t *gfsi_kube_journal_volume(const json_t *claim, const json_t *runtime, const char *node,
                                 const char *hostname, const struct gfsi_kube_place *place);

/* One of ours that no claim has any more: `claim` is what has its claim's name, may be NULL. */
bool gfsi_kube_journal_left(const json_t *volume, const json_t *claim);

#ifdef __cplusplus
}
#endif
#endif
