#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>

#include "platform/kubernetes/kube_priv.h"

static void pair_free(struct gfsi_kube_pair *pair)
{
    if (pair == NULL) {
        return;
    }

    pair->masters = gfs_client_free(pair->masters);
    pair->dataset = gfs_object_free(pair->dataset);
    pair->runtime = gfs_object_free(pair->runtime);
    pair->plan = gfs_plan_free(pair->plan);
    json_decref(pair->applied);
    free(pair->addresses);
    free(pair->uid);
    free(pair->key);
    free(pair);
}

/* Takes the pair of that key out of the list. */
static struct gfsi_kube_pair *take(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    for (struct gfsi_kube_pair **at = &k->pairs; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->key, key) == 0) {
            struct gfsi_kube_pair *found = *at;

            *at = found->next;
            return found;
        }
    }

    return NULL;
}

void gfsi_kube_pair_drop(struct gfsi_kube *k, const char *key)
{
    pair_free(take(k, key));
}

static struct gfsi_kube_pair *find(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    for (struct gfsi_kube_pair *pair = k->pairs; pair != NULL; pair = pair->next) {
        if (strcmp(pair->key, key) == 0) {
            return pair;
        }
    }

    return NULL;
}

struct gfsi_kube_pair *gfsi_kube_pair_get(struct gfsi_kube *k, const char *key, const char *uid)
{
    struct gfsi_kube_pair *pair = find(k, key);

    if (pair != NULL && strcmp(pair->uid, uid) == 0) {
        return pair;
    }

    gfsi_kube_pair_drop(k, key);
    pair = calloc(1, sizeof(*pair));
    if (pair == NULL) {
        return NULL;
    }

    pair->key = strdup(key);
    pair->uid = strdup(uid);
    pair->applied = json_object();
    if (pair->key == NULL || pair->uid == NULL || pair->applied == NULL) {
        pair_free(pair);
        return NULL;
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    pair->next = k->pairs;
    k->pairs = pair;
    return pair;
}

/* Labels and annotations that mean something to us. kubectl keeps whole manifests in others. */
static json_t *of_fluid(const json_t *map)
{
    json_t *out = json_object();
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        if (strstr(key, "fluid.io/") != NULL) {
            (void)json_object_set(out, key, value);
        }
    }

    return out;
}

static int parse(const json_t *json, struct gfs_object **out, struct gfs_err *err)
{
    const json_t *metadata = json_object_get(json, "metadata");
    json_t *spec = json_object_get(json, "spec");
    json_t *copy =
        json_pack("{s:O, s:O, s:{s:O, s:O, s:o, s:o}, s:o}", "apiVersion",
                  json_object_get(json, "apiVersion"), "kind", json_object_get(json, "kind"),
                  "metadata", "name", json_object_get(metadata, "name"), "namespace",
                  json_object_get(metadata, "namespace"), "labels",
                  of_fluid(json_object_get(metadata, "labels")), "annotations",
                  of_fluid(json_object_get(metadata, "annotations")), "spec",
                  spec != NULL ? json_incref(spec) : json_object());
    char *text = copy != NULL ? json_dumps(copy, JSON_COMPACT) : NULL;
    struct gfs_manifest *manifest = NULL;
    struct gfs_diags diags;
    int rc = GFS_ENOMEM;

    json_decref(copy);
    if (text != NULL && gfs_diags_init(&diags, gfs_kube_name(json)) == 0) {
        rc = gfs_manifest_parse(text, strlen(text), "default", &diags, &manifest);
        for (size_t i = 0; rc < 0 && i < diags.n; i++) {
            if (!diags.items[i].warning) {
                (void)gfs_err_set(err, rc, "%s", diags.items[i].text);
                break;
            }
        }
        gfs_diags_fini(&diags);
    }

    free(text);
    if (rc < 0) {
        return rc;
    }

    (void)gfs_object_free(*out);
    *out = gfs_manifest_take(manifest, 0);
    (void)gfs_manifest_free(manifest);
    return 0;
}

int gfsi_kube_pair_parse(struct gfsi_kube_pair *pair, const json_t *runtime, struct gfs_err *err)
{
    return parse(runtime, &pair->runtime, err);
}

struct gfsi_kube_place gfsi_kube_place_of(const struct gfsi_kube *k)
{
    return (struct gfsi_kube_place){
        .image = k->opts.image,
        .mount_root = k->opts.mount_root,
        .journal_root = "/var/lib/goosefs",
        .pull_secrets = k->opts.pull_secrets,
        .launch_pod = k->opts.launch_pod,
    };
}

/* Of what runs, the number of masters stays. */
static void keep_masters(struct gfsi_kube_pair *pair)
{
    size_t running = pair->rs.roles[GFS_ROLE_MASTER].desired;
    int *wanted = &pair->runtime->runtime->master.replicas;

    pair->refused = running > 0 && running != (size_t)*wanted ? *wanted : 0;
    if (pair->refused != 0) {
        *wanted = (int)running;
    }
}

/* The number of nodes is the scheduler's business: one node stands for all in the plan. */
int gfsi_kube_pair_plan(struct gfsi_kube *k, struct gfsi_kube_pair *pair, const json_t *dataset,
                        const json_t *runtime, struct gfs_err *err)
{
    static const char *const nodes[] = {""};
    const struct gfs_facts facts = {
        .seed = "",
        .nodes = nodes,
        .n_nodes = 1,
        .mount_root = k->opts.mount_root,
        .hosts_file = "",
        .pods_dir = "",
        .stand_in_dir = "",
    };
    struct gfs_plan *plan = NULL;
    int rc = parse(dataset, &pair->dataset, err);

    if (rc == 0) {
        rc = parse(runtime, &pair->runtime, err);
    }
    if (rc == 0) {
        keep_masters(pair);
        rc = gfs_desired(pair->dataset, pair->runtime, &facts, &plan, err);
    }
    if (rc < 0) {
        return rc;
    }

    (void)gfs_plan_free(pair->plan);
    pair->plan = plan;

    char *addresses = gfsi_kube_master_addresses(plan);

    if (addresses == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (pair->masters != NULL && strcmp(addresses, pair->addresses) == 0) {
        free(addresses);
        return 0;
    }

    pair->masters = gfs_client_free(pair->masters);

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    free(pair->addresses);
    pair->addresses = addresses;
    return gfs_client_new(&(struct gfs_client_opts){.masters = addresses}, &pair->masters, err);
}
