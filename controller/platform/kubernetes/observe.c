/* What there is of a runtime, and the replacing of pods whose template has changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/kube_priv.h"
#include "platform/kubernetes/objects_priv.h"
#include "platform/kubernetes/rollout.h"

/* The pods of a role that a rollout looks at. */
struct group {
    struct gfsi_rollout_pod pods[GFS_WORKERS_MAX];
    char names[GFS_WORKERS_MAX][GFS_KUBE_NAME_MAX + 1];
    size_t n;
};

struct count {
    const struct gfsi_kube_round *round;
    struct gfs_observation *seen;
    const char *masters; /* present revision of the StatefulSet; "": its controller is behind */
    struct group group[GFS_ROLE_FUSE];
    char idle[GFS_KUBE_NAME_MAX + 1]; /* a stale worker that no node has taken */
};

const char *gfsi_kube_meta(const json_t *object, const char *map, const char *key)
{
    const char *text =
        json_string_value(json_object_get(gfs_kube_at(object, "metadata", map, NULL), key));

    return text != NULL ? text : "";
}

void gfsi_kube_each_pod(struct gfsi_kube_round *r, bool (*each)(void *arg, json_t *pod), void *arg)
{
    char with[GFS_KUBE_NAME_MAX + 16];

    (void)snprintf(with, sizeof(with), "\"release\":\"%s\"", r->name);
    gfs_kube_informer_each_with(r->k->informers[GFSI_KUBE_PODS], with, each, arg);
}

static bool pod_ready(const json_t *pod)
{
    json_t *item = NULL;
    size_t i = 0;

    json_array_foreach(gfs_kube_at(pod, "status", "conditions", NULL), i, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        const char *status = json_string_value(json_object_get(item, "status"));

        if (type != NULL && status != NULL && strcmp(type, "Ready") == 0) {
            return strcmp(status, "True") == 0;
        }
    }

    return false;
}

static int role_of(const char *label)
{
    for (int role = 0; role < GFS_ROLES; role++) {
        if (strncmp(label, "goosefs-", 8) == 0 &&
            strcmp(label + 8, gfs_role_name((enum gfs_role)role)) == 0) {
            return role;
        }
    }

    return -1;
}

static bool is_stale(const struct count *c, int role, const json_t *pod)
{
    if (role == GFS_ROLE_WORKER) {
        return strcmp(gfsi_kube_meta(pod, "annotations", GFSI_KUBE_REVISION), c->round->workers) !=
               0;
    }

    return c->masters[0] != '\0' &&
           strcmp(gfsi_kube_meta(pod, "labels", "controller-revision-hash"), c->masters) != 0;
}

static void note_pod(struct count *c, int role, const json_t *pod, bool ready)
{
    struct group *g = &c->group[role];
    bool placed = gfs_kube_at(pod, "spec", "nodeName", NULL) != NULL;
    bool stale = is_stale(c, role, pod);

    /* One that finds no node, now or ever, is no reason to wait with the others. */
    if (role == GFS_ROLE_WORKER && !placed) {
        if (stale && !gfsi_kube_deleting(pod)) {
            (void)snprintf(c->idle, sizeof(c->idle), "%s", gfs_kube_name(pod));
        }
        return;
    }
    if (g->n == GFS_WORKERS_MAX) {
        return;
    }

    (void)snprintf(g->names[g->n], sizeof(g->names[0]), "%s", gfs_kube_name(pod));
    g->pods[g->n] = (struct gfsi_rollout_pod){
        .name = g->names[g->n],
        .ready = ready,
        .stale = stale && !gfsi_kube_deleting(pod),
    };
    g->n++;
}

static bool count_pod(void *arg, json_t *pod)
{
    struct count *c = arg;
    int role = role_of(gfsi_kube_meta(pod, "labels", "role"));

    if (role < 0 || strcmp(gfs_kube_namespace(pod), c->round->ns) != 0 ||
        strcmp(gfsi_kube_meta(pod, "labels", "release"), c->round->name) != 0) {
        return true;
    }

    bool ready = pod_ready(pod) && !gfsi_kube_deleting(pod);

    c->seen->current[role]++;
    c->seen->ready[role] += ready;
    if (role != GFS_ROLE_FUSE) {
        note_pod(c, role, pod, ready);
    }

    return true;
}

static json_t *own_set(struct gfsi_kube_round *r, enum gfsi_kube_kind kind, const char *role)
{
    char name[GFS_KUBE_NAME_MAX + 1];

    (void)snprintf(name, sizeof(name), "%.200s-%s", r->name, role);
    return gfsi_kube_get(r->k, kind, r->ns, name);
}

static size_t fuses_desired(struct gfsi_kube_round *r)
{
    json_t *set = own_set(r, GFSI_KUBE_DAEMONSETS, "fuse");
    json_int_t n = json_integer_value(gfs_kube_at(set, "status", "desiredNumberScheduled", NULL));

    json_decref(set);
    return n > 0 ? (size_t)n : 1; /* nobody has counted the nodes yet */
}

/* What pods of the present template are labelled with, once the set's controller has seen it. */
static void masters_revision(const json_t *set, char *out, size_t size)
{
    const char *text = json_string_value(gfs_kube_at(set, "status", "updateRevision", NULL));
    const json_t *seen = gfs_kube_at(set, "status", "observedGeneration", NULL);
    const json_t *now = gfs_kube_at(set, "metadata", "generation", NULL);

    if (text != NULL && json_integer_value(seen) == json_integer_value(now)) {
        (void)snprintf(out, size, "%s", text);
    }
}

static int replace(struct gfsi_kube_round *r, const char *pod)
{
    gfs_info("kubernetes", "replacing a pod of a former template", "pod=%s/%s", r->ns, pod);
    return gfsi_kube_delete(r->k, &gfs_kube_pods, r->ns, pod, r->err);
}

static int roll(struct gfsi_kube_round *r, struct group *g, size_t wanted)
{
    size_t i = 0;

    switch (gfsi_rollout_next(g->pods, g->n, wanted, &i)) {
    case GFSI_ROLLOUT_REPLACE: return replace(r, g->pods[i].name);
    case GFSI_ROLLOUT_HAND_OVER: return gfsi_kube_masters_hand_over(r->pair, r->err);
    default: return 0;
    }
}

static int roll_all(struct gfsi_kube_round *r, struct count *c)
{
    struct group *masters = &c->group[GFS_ROLE_MASTER];

    if (c->idle[0] != '\0') {
        return replace(r, c->idle);
    }
    for (size_t i = 0; i < masters->n; i++) {
        masters->pods[i].leader = strcmp(masters->pods[i].name, r->pair->leader) == 0;
    }

    int rc = roll(r, masters, r->pair->plan->desired[GFS_ROLE_MASTER]);

    return rc < 0 ? rc : roll(r, &c->group[GFS_ROLE_WORKER], 0);
}

int gfsi_kube_observe(struct gfsi_kube_round *r, struct gfs_observation *seen)
{
    struct count *c gfs_auto_free = calloc(1, sizeof(*c));
    char revision[128] = "";

    if (c == NULL) {
        return gfs_err_set(r->err, GFS_ENOMEM, "out of memory");
    }

    json_t *set = own_set(r, GFSI_KUBE_STATEFULSETS, "master");

    masters_revision(set, revision, sizeof(revision));
    json_decref(set);
    c->round = r;
    c->seen = seen;
    c->masters = revision;
    seen->now_ms = gfs_clock_wall_ms();
    gfsi_kube_each_pod(r, count_pod, c);
    r->pair->plan->desired[GFS_ROLE_FUSE] = fuses_desired(r);

    json_t *pv = gfsi_kube_get(r->k, GFSI_KUBE_VOLUMES, "", r->pair->plan->volume.pv);
    json_t *pvc = gfsi_kube_get(r->k, GFSI_KUBE_CLAIMS, r->ns, r->name);

    seen->volume_ready = pv != NULL && pvc != NULL;
    json_decref(pv);
    json_decref(pvc);
    if (seen->current[GFS_ROLE_MASTER] > 0) {
        gfsi_kube_masters_observe(r->k, r->pair, seen);
    }

    return roll_all(r, c);
}
