/* The provisioner of the masters' journals, and the end of volumes whose claim is gone. journal.h
 */
#include <stdio.h>
#include <string.h>

#include <gfs/base/log.h>

#include "platform/kubernetes/journal.h"
#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"

json_t *gfsi_kube_journal_claim(struct gfsi_kube_round *r, int master)
{
    char name[GFS_KUBE_NAME_MAX + 1];

    (void)snprintf(name, sizeof(name), "journal-%.200s-master-%d", r->name, master);

    json_t *claim = gfsi_kube_get(r->k, GFSI_KUBE_CLAIMS, r->ns, name);

    /* A data set may have that name, and its claim too. */
    if (strcmp(gfsi_kube_meta(claim, "labels", "role"), "goosefs-master") == 0 &&
        strcmp(gfsi_kube_meta(claim, "labels", "release"), r->name) == 0) {
        return claim;
    }

    json_decref(claim);
    return NULL;
}

/* ---- provisioning ---- */

/* The scheduler chooses again when its choice is taken off the claim (as external provisioners
 * do); who looks at the claim sees why. */
static int give_back(struct gfsi_kube_round *r, const json_t *claim, const char *why)
{
    json_t *about =
        json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "PersistentVolumeClaim",
                  "metadata", json_object_get(claim, "metadata"));
    json_t *patch = json_pack("{s:{s:s, s:{s:n}}}", "metadata", "resourceVersion",
                              gfs_kube_version(claim), "annotations", GFSI_KUBE_SELECTED_NODE);
    int rc = 0;

    gfs_warn("kubernetes", "no journal for a master", "pair=%s claim=%s reason=%s", r->key,
             gfs_kube_name(claim), GFS_Q(why));
    gfsi_kube_event(r->k, about, true, "ProvisioningFailed", why);
    rc = gfs_kube_merge_patch(r->k->client, &gfs_kube_persistentvolumeclaims, r->ns,
                              gfs_kube_name(claim), NULL, patch, NULL, r->err);
    json_decref(patch);
    json_decref(about);
    return rc == GFS_ENOENT ? 0 : rc;
}

/* A new reference to the node. Our copy may be behind the scheduler's, or may not be there at all:
 * the API server is asked then. */
static int look_up(struct gfsi_kube_round *r, const char *name, json_t **node)
{
    json_t *found = gfsi_kube_get(r->k, GFSI_KUBE_NODES, "", name);

    if (found == NULL) {
        int rc = gfs_kube_get(r->k->client, &gfs_kube_nodes, NULL, name, &found, r->err);

        if (rc < 0) {
            return rc;
        }
    }

    *node = found;
    return 0;
}

static int create(struct gfsi_kube_round *r, const json_t *claim, const char *node,
                  const char *hostname)
{
    const struct gfsi_kube_place place = gfsi_kube_place_of(r->k);
    json_t *volume = gfsi_kube_journal_volume(claim, r->runtime, node, hostname, &place);

    if (volume == NULL) {
        return gfs_err_set(r->err, GFS_ENOMEM, "out of memory");
    }

    const char *name = gfs_kube_name(volume);
    json_t *known = gfsi_kube_get(r->k, GFSI_KUBE_VOLUMES, "", name);
    int rc = 0;

    if (known == NULL) {
        rc = gfs_kube_create(r->k->client, &gfs_kube_persistentvolumes, NULL, volume, NULL, r->err);
        if (rc == 0) {
            gfs_info("kubernetes", "journal provided", "pair=%s claim=%s volume=%s node=%s", r->key,
                     gfs_kube_name(claim), name, node);
        }
    }

    json_decref(known);
    json_decref(volume);
    return rc == GFS_EEXIST ? 0 : rc;
}

static int provide(struct gfsi_kube_round *r, const json_t *claim, const char *name)
{
    char why[2 * GFS_KUBE_NAME_MAX];
    json_t *node = NULL;
    int rc = look_up(r, name, &node);

    if (rc == GFS_ENOENT) {
        (void)snprintf(why, sizeof(why), "node %.250s, chosen for the journal, is gone", name);
        return give_back(r, claim, why);
    }
    if (rc < 0) {
        return rc;
    }

    const char *hostname = gfsi_kube_meta(node, "labels", GFSI_KUBE_HOSTNAME);

    if (hostname[0] != '\0') {
        rc = create(r, claim, name, hostname);
    } else {
        (void)snprintf(why, sizeof(why),
                       "node %.250s has no label " GFSI_KUBE_HOSTNAME
                       ": a journal there could not keep its master",
                       name);
        rc = give_back(r, claim, why);
    }

    json_decref(node);
    return rc;
}

int gfsi_kube_journals_provide(struct gfsi_kube_round *r)
{
    const char *kind = gfsi_kube_journal_kind(json_object_get(r->runtime, "spec"));
    size_t n = strcmp(kind, "hostPath") == 0 ? r->pair->plan->desired[GFS_ROLE_MASTER] : 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n && i < GFS_MASTERS_MAX; i++) {
        json_t *claim = gfsi_kube_journal_claim(r, (int)i);
        const char *node = gfsi_kube_journal_wanted(claim);

        if (node != NULL) {
            rc = provide(r, claim, node);
        }
        json_decref(claim);
    }

    return rc;
}

/* ---- what there is ---- */

struct search {
    const char *ns, *name; /* of the runtime */
    json_t *found;
};

static bool collect(void *arg, json_t *volume)
{
    struct search *s = arg;
    const char *ns = json_string_value(gfs_kube_at(volume, "spec", "claimRef", "namespace", NULL));

    if (ns != NULL && strcmp(ns, s->ns) == 0 &&
        strcmp(gfsi_kube_meta(volume, "labels", "release"), s->name) == 0 &&
        strcmp(gfsi_kube_meta(volume, "annotations", GFSI_KUBE_PROVISIONED_BY),
               GFSI_KUBE_JOURNAL_PROVISIONER) == 0) {
        (void)json_array_append(s->found, volume);
    }

    return true;
}

json_t *gfsi_kube_journals(struct gfsi_kube *k, const char *ns, const char *name)
{
    struct search s = {.ns = ns, .name = name, .found = json_array()};

    char with[GFS_KUBE_NAME_MAX + 16];

    (void)snprintf(with, sizeof(with), "\"release\":\"%s\"", name);
    gfs_kube_informer_each_with(k->informers[GFSI_KUBE_VOLUMES], with, collect, &s);
    return s.found;
}

static int end(struct gfsi_kube *k, const json_t *volume, struct gfs_err *err)
{
    const json_t *ref = gfs_kube_at(volume, "spec", "claimRef", NULL);
    const char *ns = json_string_value(json_object_get(ref, "namespace"));
    const char *name = json_string_value(json_object_get(ref, "name"));
    json_t *claim = name != NULL ? gfsi_kube_get(k, GFSI_KUBE_CLAIMS, ns, name) : NULL;
    int rc = 0;

    if (gfsi_kube_journal_left(volume, claim)) {
        gfs_info("kubernetes", "volume of a journal without a claim goes", "volume=%s node=%s",
                 gfs_kube_name(volume),
                 gfsi_kube_meta(volume, "annotations", GFSI_KUBE_JOURNAL_NODE));
        rc = gfsi_kube_delete(k, &gfs_kube_persistentvolumes, NULL, gfs_kube_name(volume), err);
    }

    json_decref(claim);
    return rc;
}

int gfsi_kube_journals_end(struct gfsi_kube *k, const char *ns, const char *name,
                           struct gfs_err *err)
{
    json_t *volumes = gfsi_kube_journals(k, ns, name);
    json_t *volume = NULL;
    size_t i = 0;
    int rc = 0;

    json_array_foreach(volumes, i, volume)
    {
        rc = rc < 0 ? rc : end(k, volume, err);
    }
    json_decref(volumes);
    return rc;
}
