/* The binding of the data set's volume to its claim, when one of them was made anew.
 *
 * Kubernetes notes the uid of the claim it has bound in the volume. A claim of the same name that
 * comes later is another one to it: Pending for ever. A volume made anew knows no uid: the claim
 * that was bound to the former one is Lost for ever. Either way who made the volume has to say that
 * it is for the claim there is; that is us. */
#include <stdio.h>
#include <string.h>

#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"

#define BOUND_ONCE "pv.kubernetes.io/bind-completed"

bool gfsi_kube_misbound(const json_t *volume, const json_t *claim)
{
    const char *uid = json_string_value(gfs_kube_at(volume, "spec", "claimRef", "uid", NULL));

    if (volume == NULL || claim == NULL || gfsi_kube_deleting(volume) ||
        gfsi_kube_deleting(claim)) {
        return false;
    }
    if (uid == NULL || uid[0] == '\0') {
        return gfsi_kube_meta(claim, "annotations", BOUND_ONCE)[0] != '\0';
    }

    return strcmp(uid, gfs_kube_uid(claim)) != 0;
}

/* With the volume's version: what Kubernetes binds meanwhile stays. */
static int claim_it(struct gfsi_kube_round *r, const json_t *volume, const json_t *claim)
{
    json_t *patch = json_pack("{s:{s:s}, s:{s:{s:s, s:n}}}", "metadata", "resourceVersion",
                              gfs_kube_version(volume), "spec", "claimRef", "uid",
                              gfs_kube_uid(claim), "resourceVersion");
    int rc = 0;

    gfs_info("kubernetes", "volume is given to the claim there is now", "pair=%s volume=%s", r->key,
             gfs_kube_name(volume));
    rc = gfs_kube_merge_patch(r->k->client, &gfs_kube_persistentvolumes, NULL,
                              gfs_kube_name(volume), NULL, patch, NULL, r->err);
    json_decref(patch);
    return rc;
}

int gfsi_kube_rebind(struct gfsi_kube_round *r)
{
    json_t *volume = gfsi_kube_get(r->k, GFSI_KUBE_VOLUMES, "", r->pair->plan->volume.pv);
    json_t *claim = gfsi_kube_get(r->k, GFSI_KUBE_CLAIMS, r->ns, r->name);
    bool suspect = gfsi_kube_misbound(volume, claim);
    json_t *now = NULL;
    int rc = 0;

    json_decref(claim);
    if (suspect) {
        /* Our copy may be behind. The claim as it is decides: uids never come back. */
        rc = gfs_kube_get(r->k->client, &gfs_kube_persistentvolumeclaims, r->ns, r->name, &now,
                          r->err);
        if (rc == 0 && gfsi_kube_misbound(volume, now)) {
            rc = claim_it(r, volume, now);
        }
        json_decref(now);
    }

    json_decref(volume);
    return rc == GFS_ENOENT ? 0 : rc;
}
