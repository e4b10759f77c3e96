#include "platform/kubernetes/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#include "platform/kubernetes/journal.h"
#include "platform/kubernetes/kube_priv.h"

#define POLL_NS     GFS_NS_PER_S
#define SPARE_NS    (30 * GFS_NS_PER_S) /* for pods to go and others to start */
#define PER_NODE_NS (1 * GFS_NS_PER_S)  /* on top, for what does not go at once */
#define AT_ONCE     64                  /* nodes being cleaned at the same time */

/* ---- while the runtime lives: where its pods have been ---- */

struct places {
    const struct gfsi_kube_round *round;
    json_t *nodes; /* {"node": "letters"} */
    size_t added;
};

static bool is_ours(const struct gfsi_kube_round *r, const json_t *pod)
{
    return strcmp(gfs_kube_namespace(pod), r->ns) == 0 &&
           strcmp(gfsi_kube_meta(pod, "labels", "release"), r->name) == 0;
}

static char letter_of(const json_t *runtime, const json_t *pod)
{
    const char *role = gfsi_kube_meta(pod, "labels", "role");

    for (int i = 0; i < GFS_ROLES; i++) {
        if (strncmp(role, "goosefs-", 8) == 0 &&
            strcmp(role + 8, gfs_role_name((enum gfs_role)i)) == 0) {
            return gfsi_kube_leaves(runtime, (enum gfs_role)i);
        }
    }

    return 0;
}

static bool note_pod(void *arg, json_t *pod)
{
    struct places *p = arg;
    const char *node = json_string_value(gfs_kube_at(pod, "spec", "nodeName", NULL));
    char letter = is_ours(p->round, pod) ? letter_of(p->round->runtime, pod) : (char)0;

    if (node != NULL && letter != 0) {
        p->added += gfsi_kube_nodes_add(p->nodes, node, letter);
    }

    return true;
}

static bool node_gone(struct gfsi_kube *k, const char *node)
{
    json_t *found = gfsi_kube_get(k, GFSI_KUBE_NODES, "", node);
    bool synced = gfs_kube_informer_wait_synced(k->informers[GFSI_KUBE_NODES], gfs_clock_mono());

    json_decref(found);
    return synced && found == NULL;
}

/* A journal is where its volume is, also before and after its master's pod. */
static void note_journals(struct places *p)
{
    const struct gfsi_kube_round *r = p->round;
    json_t *volumes = gfsi_kube_journals(r->k, r->ns, r->name);
    json_t *volume = NULL;
    size_t i = 0;

    json_array_foreach(volumes, i, volume)
    {
        const char *node = gfsi_kube_meta(volume, "annotations", GFSI_KUBE_JOURNAL_NODE);

        if (node[0] != '\0' && !node_gone(r->k, node)) {
            p->added += gfsi_kube_nodes_add(p->nodes, node, 'm');
        }
    }
    json_decref(volumes);
}

static int write_nodes(struct gfsi_kube_round *r, const json_t *nodes)
{
    char *text = gfsi_kube_nodes_print(nodes);

    if (text == NULL) {
        gfs_warn("kubernetes", "too many nodes to remember", "pair=%s", r->key);
        return 0;
    }

    json_t *value = text[0] != '\0' ? json_string(text) : json_null();
    json_t *patch =
        json_pack("{s:{s:{s:o}}}", "metadata", "annotations", GFSI_KUBE_NODES_NOTE, value);
    int rc = gfs_kube_merge_patch(r->k->client, &gfs_kube_goosefsruntimes, r->ns, r->name, NULL,
                                  patch, NULL, r->err);

    json_decref(patch);
    free(text);
    return rc;
}

static json_t *known_nodes(const struct gfsi_kube_round *r)
{
    return gfsi_kube_nodes_parse(gfsi_kube_meta(r->runtime, "annotations", GFSI_KUBE_NODES_NOTE));
}

int gfsi_kube_note_nodes(struct gfsi_kube_round *r)
{
    struct places p = {.round = r, .nodes = known_nodes(r)};
    int rc = 0;

    gfsi_kube_each_pod(r, note_pod, &p);
    note_journals(&p);
    if (p.added > 0) {
        rc = write_nodes(r, p.nodes);
    }
    json_decref(p.nodes);
    return rc;
}

/* ---- when it goes ---- */

static int delete_sets(struct gfsi_kube_round *r)
{
    static const struct {
        const struct gfs_kube_resource *resource;
        enum gfsi_kube_kind kind;
        const char *role;
    } sets[] = {
        {&gfs_kube_daemonsets, GFSI_KUBE_DAEMONSETS, "fuse"},
        {&gfs_kube_replicasets, GFSI_KUBE_REPLICASETS, "worker"},
        {&gfs_kube_statefulsets, GFSI_KUBE_STATEFULSETS, "master"},
    };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(sets) / sizeof(sets[0]); i++) {
        char name[GFS_KUBE_NAME_MAX + 1];

        (void)snprintf(name, sizeof(name), "%.200s-%s", r->name, sets[i].role);

        json_t *set = gfsi_kube_get(r->k, sets[i].kind, r->ns, name);

        if (set != NULL && !gfsi_kube_deleting(set)) {
            rc = gfsi_kube_delete(r->k, sets[i].resource, r->ns, name, r->err);
        }
        json_decref(set);
    }

    return rc;
}

/* Claims of a StatefulSet outlive it. */
static int delete_journals(struct gfsi_kube_round *r)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < GFS_MASTERS_MAX; i++) {
        json_t *claim = gfsi_kube_journal_claim(r, i);

        if (claim != NULL && !gfsi_kube_deleting(claim)) {
            rc = gfsi_kube_delete(r->k, &gfs_kube_persistentvolumeclaims, r->ns,
                                  gfs_kube_name(claim), r->err);
        }
        json_decref(claim);
    }

    return rc;
}

int gfsi_kube_end_orphans(struct gfsi_kube_round *r)
{
    json_t *runtime = NULL;
    bool any = false;

    for (int i = 0; !any && i < GFS_MASTERS_MAX; i++) {
        json_t *claim = gfsi_kube_journal_claim(r, i);

        any = claim != NULL && !gfsi_kube_deleting(claim);
        json_decref(claim);
    }
    if (!any) {
        return 0;
    }

    /* Not on the word of our copy: they are the only log there is. */
    int rc =
        gfs_kube_get(r->k->client, &gfs_kube_goosefsruntimes, r->ns, r->name, &runtime, r->err);

    json_decref(runtime);
    return rc == GFS_ENOENT ? delete_journals(r) : rc;
}

/* The nodes of volumes that are left are known, and cleaned when those are gone. */
static int end_journals(struct gfsi_kube_round *r, json_t *nodes)
{
    struct places p = {.round = r, .nodes = nodes};
    int rc = 0;

    note_journals(&p);
    if (p.added > 0) {
        rc = write_nodes(r, nodes);
    }

    return rc < 0 ? rc : gfsi_kube_journals_end(r->k, r->ns, r->name, r->err);
}

/* The pods of the runtime that are left, by node: {"node": true}, and those that clean. */
struct left {
    const struct gfsi_kube_round *round;
    json_t *busy;
    json_t *cleaners; /* name: phase */
};

static bool look(void *arg, json_t *pod)
{
    struct left *l = arg;
    const char *node = json_string_value(gfs_kube_at(pod, "spec", "nodeName", NULL));
    const json_t *phase = gfs_kube_at(pod, "status", "phase", NULL);

    if (!is_ours(l->round, pod)) {
        return true;
    }
    if (strcmp(gfsi_kube_meta(pod, "labels", "role"), GFSI_KUBE_CLEAN_ROLE) == 0) {
        (void)json_object_set_new(l->cleaners, gfs_kube_name(pod),
                                  phase != NULL ? json_string(json_string_value(phase))
                                                : json_string(""));
    } else if (node != NULL) {
        (void)json_object_set_new(l->busy, node, json_true());
    }

    return true;
}

enum step { WAITING, DONE, GAVE_UP };

/* One node: its pod is made, waited for, taken away. Negative errors. */
static int clean_node(struct gfsi_kube_round *r, const struct left *l, const char *node,
                      const char *letters, size_t *running)
{
    const struct gfsi_kube_place place = gfsi_kube_place_of(r->k);
    json_t *pod = gfsi_kube_cleaner(r->runtime, r->pair->runtime, node, letters, &place);
    const char *name = gfs_kube_name(pod);
    const char *phase = json_string_value(json_object_get(l->cleaners, name));
    int rc = pod != NULL ? WAITING : gfs_err_set(r->err, GFS_ENOMEM, "out of memory");

    if (rc == WAITING && node_gone(r->k, node)) {
        rc = DONE;
    } else if (rc == WAITING && phase == NULL && json_object_get(l->busy, node) == NULL &&
               *running < AT_ONCE) {
        rc = gfs_kube_create(r->k->client, &gfs_kube_pods, r->ns, pod, NULL, r->err);
        rc = rc == GFS_EEXIST ? WAITING : rc;
        (*running)++;
    } else if (phase != NULL) {
        (*running)++;
        rc = strcmp(phase, "Succeeded") == 0 ? DONE
             : strcmp(phase, "Failed") == 0  ? GAVE_UP
                                             : WAITING;
    }
    if ((rc == DONE || rc == GAVE_UP) && phase != NULL) {
        int deleted = gfsi_kube_delete(r->k, &gfs_kube_pods, r->ns, name, r->err);

        rc = deleted < 0 ? deleted : rc;
    }

    json_decref(pod);
    return rc;
}

/* Something of the runtime stays; somebody has to know where. */
static void tell_rest(struct gfsi_kube_round *r, const char *why, const json_t *nodes)
{
    char text[1024];
    size_t len = 0;
    const char *node = NULL;
    json_t *value = NULL;

    len = (size_t)snprintf(text, sizeof(text),
                           "files of the runtime (uid %.40s) stay on %zu node(s), "
                           "%.100s:",
                           gfs_kube_uid(r->runtime), json_object_size(nodes), why);
    json_object_foreach((json_t *)(uintptr_t)nodes, node, value)
    {
        if (len + strlen(node) + 8 > sizeof(text)) {
            break;
        }
        len += (size_t)snprintf(text + len, sizeof(text) - len, " %s", node);
    }
    gfs_warn("kubernetes", "not all files removed", "pair=%s message=%s", r->key, GFS_Q(text));
    gfsi_kube_event(r->k, r->runtime, true, "ErrorProcessRuntime", text);
}

static int64_t deadline_of(struct gfsi_kube_round *r, size_t nodes)
{
    if (r->pair->cleaning_since == 0) {
        r->pair->cleaning_since = gfs_clock_mono();
    }

    return r->pair->cleaning_since + (int64_t)gfsi_kube_clean_seconds(r->runtime) * GFS_NS_PER_S +
           SPARE_NS + (int64_t)nodes * PER_NODE_NS;
}

/* A journal's directory goes after its volume. */
static void look_at_journals(struct left *l)
{
    json_t *volumes = gfsi_kube_journals(l->round->k, l->round->ns, l->round->name);
    json_t *volume = NULL;
    size_t i = 0;

    json_array_foreach(volumes, i, volume)
    {
        const char *node = gfsi_kube_meta(volume, "annotations", GFSI_KUBE_JOURNAL_NODE);

        (void)json_object_set_new(l->busy, node, json_true());
    }
    json_decref(volumes);
}

/* Takes the cleaned nodes out of `nodes`; what was given up goes to `failed`. */
static int clean_nodes(struct gfsi_kube_round *r, json_t *nodes, json_t *failed)
{
    struct left l = {.round = r, .busy = json_object(), .cleaners = json_object()};
    const char *node = NULL;
    json_t *letters = NULL;
    void *next = NULL;
    size_t running = 0;
    int rc = 0;

    gfsi_kube_each_pod(r, look, &l);
    look_at_journals(&l);
    json_object_foreach_safe(nodes, next, node, letters)
    {
        rc = clean_node(r, &l, node, json_string_value(letters), &running);
        if (rc < 0) {
            break;
        }
        if (rc == GAVE_UP) {
            (void)json_object_set(failed, node, letters);
        }
        if (rc != WAITING) {
            (void)json_object_del(nodes, node);
        }
    }
    json_decref(l.busy);
    json_decref(l.cleaners);
    return rc < 0 ? rc : 0;
}

static int64_t clean_rest(struct gfsi_kube_round *r, json_t *nodes)
{
    size_t before = json_object_size(nodes);
    int64_t deadline = deadline_of(r, before);
    json_t *failed = json_object();
    int rc = clean_nodes(r, nodes, failed);

    if (json_object_size(failed) > 0) {
        tell_rest(r, "its removal failed", failed);
    }
    json_decref(failed);

    /* GFS_EPERM: the namespace is going too, nothing can be made in it. */
    if (rc == GFS_EPERM || (json_object_size(nodes) > 0 && gfs_clock_mono() > deadline)) {
        tell_rest(r, rc == GFS_EPERM ? "no pod may be made" : "removing took too long", nodes);
        (void)json_object_clear(nodes);
        rc = 0;
    }
    if (json_object_size(nodes) != before) {
        int written = write_nodes(r, nodes);

        rc = rc < 0 ? rc : written;
    }

    return rc < 0 ? rc : json_object_size(nodes) > 0 ? POLL_NS : 0;
}

int64_t gfsi_kube_clean(struct gfsi_kube_round *r)
{
    json_t *nodes = known_nodes(r);
    int64_t rc = delete_sets(r);

    if (rc == 0) {
        rc = delete_journals(r);
    }
    if (rc == 0) {
        rc = end_journals(r, nodes);
    }
    if (rc == 0 && json_object_size(nodes) > 0) {
        r->pair = gfsi_kube_pair_get(r->k, r->key, gfs_kube_uid(r->runtime));
        rc = r->pair != NULL ? gfsi_kube_pair_parse(r->pair, r->runtime, r->err)
                             : gfs_err_set(r->err, GFS_ENOMEM, "out of memory");
        if (rc == 0) {
            rc = clean_rest(r, nodes);
        } else if (rc == GFS_EINVAL) {
            tell_rest(r, "its object is not valid", nodes);
            rc = 0;
        }
    }

    json_decref(nodes);
    return rc;
}
