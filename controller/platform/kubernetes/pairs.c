#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>

#include "platform/kubernetes/kube_priv.h"

/* More pairs than these connect anew each round: a connection costs 100 KiB and more, and a round
 * comes every 15 seconds. */
#define OPEN_MAX 8

/* ---- what stays ---- */

static void rest_free(struct gfsi_kube_rest *rest)
{
    if (rest == NULL) {
        return;
    }

    rest->masters = gfs_client_free(rest->masters);
    gfsi_kube_packed_fini(&rest->ds);
    gfsi_kube_packed_fini(&rest->rs);
    free(rest->applied);
    free(rest->addresses);
    free(rest->uid);
    free(rest->key);
    free(rest);
}

/* Under the mutex. */
static struct gfsi_kube_rest **at(struct gfsi_kube *k, const char *key)
{
    struct gfsi_kube_rest **at = &k->pairs;

    while (*at != NULL && strcmp((*at)->key, key) != 0) {
        at = &(*at)->next;
    }

    return at;
}

static struct gfsi_kube_rest *find(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    return *at(k, key);
}

void gfsi_kube_pair_drop(struct gfsi_kube *k, const char *key)
{
    struct gfsi_kube_rest *rest = NULL;

    {
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);
        struct gfsi_kube_rest **place = at(k, key);

        rest = *place;
        if (rest != NULL) {
            *place = rest->next;
            k->n_open -= rest->masters != NULL;
        }
    }
    rest_free(rest);
}

static struct gfsi_kube_rest *add(struct gfsi_kube *k, const char *key, const char *uid)
{
    struct gfsi_kube_rest *rest = calloc(1, sizeof(*rest));

    if (rest == NULL) {
        return NULL;
    }

    rest->key = strdup(key);
    rest->uid = strdup(uid);
    if (rest->key == NULL || rest->uid == NULL) {
        rest_free(rest);
        return NULL;
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    rest->next = k->pairs;
    k->pairs = rest;
    return rest;
}

bool gfsi_kube_pair_loaded(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);
    const struct gfsi_kube_rest *rest = *at(k, key);

    return rest != NULL && rest->loaded;
}

void gfsi_kube_pair_set_loaded(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);
    struct gfsi_kube_rest *rest = *at(k, key);

    if (rest != NULL) {
        rest->loaded = true;
    }
}

/* ---- a round ---- */

struct gfsi_kube_pair *gfsi_kube_pair_get(struct gfsi_kube *k, const char *key, const char *uid)
{
    struct gfsi_kube_rest *rest = find(k, key);
    struct gfsi_kube_pair *pair = calloc(1, sizeof(*pair));

    if (pair == NULL) {
        return NULL;
    }
    if (rest != NULL && strcmp(rest->uid, uid) != 0) {
        gfsi_kube_pair_drop(k, key);
        rest = NULL;
    }
    if (rest == NULL) {
        rest = add(k, key, uid);
    }
    if (rest == NULL) {
        free(pair);
        return NULL;
    }

    pair->rest = rest;
    pair->key = rest->key;
    pair->fresh = rest->ds.bytes == NULL;
    gfsi_kube_unpack(&rest->ds, &pair->ds, sizeof(pair->ds));
    gfsi_kube_unpack(&rest->rs, &pair->rs, sizeof(pair->rs));
    pair->refused = rest->refused;
    pair->told = rest->told;
    pair->cleaning_since = rest->cleaning_since;
    if (rest->masters != NULL) {
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

        pair->masters = GFS_TAKE_PTR(rest->masters);
        k->n_open--;
    }

    return pair;
}

static void put_down(struct gfsi_kube *k, struct gfsi_kube_pair *pair, struct gfsi_kube_rest *rest)
{
    rest->refused = pair->refused;
    rest->told = pair->told;
    rest->cleaning_since = pair->cleaning_since;
    /* Without memory the statuses of the round before are better than none. */
    if (!pair->fresh || pair->plan != NULL) {
        (void)gfsi_kube_pack(&pair->rs, sizeof(pair->rs), &rest->rs);
        (void)gfsi_kube_pack(&pair->ds, sizeof(pair->ds), &rest->ds);
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);

    if (pair->masters != NULL && k->n_open < OPEN_MAX) {
        rest->masters = GFS_TAKE_PTR(pair->masters);
        k->n_open++;
    }
}

void gfsi_kube_pair_end(struct gfsi_kube *k, const char *key, struct gfsi_kube_pair *pair)
{
    if (pair == NULL) {
        return;
    }

    struct gfsi_kube_rest *rest = find(k, key);

    if (rest != NULL && rest == pair->rest) {
        put_down(k, pair, rest);
    }

    (void)gfs_client_free(pair->masters);
    (void)gfs_object_free(pair->dataset);
    (void)gfs_object_free(pair->runtime);
    (void)gfs_plan_free(pair->plan);
    free(pair);
}

struct gfs_client *gfsi_kube_pair_client(struct gfsi_kube *k, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);
    const struct gfsi_kube_rest *rest = *at(k, key);
    struct gfs_client *client = NULL;

    if (rest != NULL && rest->addresses != NULL) {
        (void)gfs_client_new(&(struct gfs_client_opts){.masters = rest->addresses}, &client, NULL);
    }

    return client;
}

/* Where the masters are; a connection to others is no use. */
static int connect_masters(struct gfsi_kube *k, struct gfsi_kube_pair *pair, struct gfs_err *err)
{
    char *addresses = gfsi_kube_master_addresses(pair->plan);

    if (addresses == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (pair->rest->addresses == NULL || strcmp(addresses, pair->rest->addresses) != 0) {
        pair->masters = gfs_client_free(pair->masters);

        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&k->mutex);
        char *former = pair->rest->addresses;

        pair->rest->addresses = addresses;
        addresses = former;
    }

    free(addresses);
    if (pair->masters != NULL) {
        return 0;
    }

    return gfs_client_new(&(struct gfs_client_opts){.masters = pair->rest->addresses},
                          &pair->masters, err);
}

/* ---- what is planned ---- */

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

    return connect_masters(k, pair, err);
}
