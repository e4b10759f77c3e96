/* What the pod templates of all roles are made of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/kubernetes/objects_priv.h"

#define STOP_SECONDS 30
#define HOST_DIR     "DirectoryOrCreate"

/* spec.COMPONENT.FIELD of the runtime, a new reference; NULL when it is not there. */
json_t *gfsi_kube_component(const struct gfsi_kube_build *b, const char *name, const char *field)
{
    return json_incref(json_object_get(json_object_get(b->runtime, name), field));
}

/* Takes `value`; nothing when it is NULL. */
void gfsi_kube_set(json_t *object, const char *key, json_t *value)
{
    if (value != NULL) {
        (void)json_object_set_new(object, key, value);
    }
}

/* spec.goosefsVersion, for the client spec.fuse. */
static json_t *image(const struct gfsi_kube_build *b, const char *where)
{
    const json_t *version = json_object_get(b->runtime, where);
    const char *name = json_string_value(json_object_get(version, "image"));
    const char *tag = json_string_value(json_object_get(version, "imageTag"));

    if (name == NULL || name[0] == '\0') {
        return json_string(b->place->image);
    }

    return tag != NULL && tag[0] != '\0' ? json_sprintf("%s:%s", name, tag) : json_string(name);
}

static json_t *field_env(const char *name, const char *path)
{
    return json_pack("{s:s, s:{s:{s:s}}}", "name", name, "valueFrom", "fieldRef", "fieldPath",
                     path);
}

static json_t *env(const struct gfsi_kube_build *b, enum gfs_role role)
{
    const struct gfs_pod *pod = gfsi_kube_pod(b->plan, role);
    json_t *list = json_pack("[{s:s, s:s}, o]", "name", "GOOSEFS_CONF_DIR", "value",
                             GFSI_KUBE_CONF_DIR, field_env("POD_NAME", "metadata.name"));

    if (role == GFS_ROLE_MASTER) {
        (void)json_array_append_new(list, field_env("GOOSEFS_MASTER_HOSTNAME", "metadata.name"));
    }
    if (role == GFS_ROLE_WORKER) {
        (void)json_array_append_new(list, field_env("GOOSEFS_WORKER_HOSTNAME", "metadata.name"));
        (void)json_array_append_new(list,
                                    field_env("GOOSEFS_WORKER_CONTAINER_HOSTNAME", "status.podIP"));
    }
    for (size_t i = 0; pod != NULL && i < pod->env.n; i++) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "name", pod->env.items[i].key,
                                                    "value", pod->env.items[i].value));
    }

    return list;
}

/* Without a capability and without a way to get one. Root only where directories of the node are
 * written: those belong to root. */
json_t *gfsi_kube_security(int user, int group)
{
    return json_pack("{s:i, s:i, s:b, s:b, s:{s:[s]}, s:{s:s}}", "runAsUser", user, "runAsGroup",
                     group, "runAsNonRoot", user != 0, "allowPrivilegeEscalation", 0,
                     "capabilities", "drop", "ALL", "seccompProfile", "type", "RuntimeDefault");
}

json_t *gfsi_kube_http_probe(const char *path, int port, int period, int failures)
{
    return json_pack("{s:{s:s, s:i}, s:i, s:i, s:i}", "httpGet", "path", path, "port", port,
                     "periodSeconds", period, "timeoutSeconds", 5, "failureThreshold", failures);
}

json_t *gfsi_kube_mount(const char *volume, const char *path)
{
    return json_pack("{s:s, s:s}", "name", volume, "mountPath", path);
}

json_t *gfsi_kube_host_volume(const char *name, const char *path)
{
    return json_pack("{s:s, s:{s:s, s:s}}", "name", name, "hostPath", "path", path, "type",
                     HOST_DIR);
}

json_t *gfsi_kube_conf_volume(const struct gfsi_kube_build *b, enum gfs_role role)
{
    return json_pack("{s:s, s:{s:o, s:[{s:s, s:s}]}}", "name", "conf", "configMap", "name",
                     json_sprintf("%s-config", b->plan->name), "items", "key",
                     gfsi_kube_conf_keys[role], "path", "goosefs-site.properties");
}

/* The container every role has; probes and mounts beyond the configuration come later. */
json_t *gfsi_kube_container(const struct gfsi_kube_build *b, enum gfs_role role, const char *part)
{
    const json_t *named =
        json_object_get(b->runtime, role == GFS_ROLE_FUSE ? "fuse" : "goosefsVersion");
    const char *policy = json_string_value(json_object_get(named, "imagePullPolicy"));
    json_t *c =
        json_pack("{s:s, s:o, s:s, s:o, s:o, s:[o], s:s}", "name", part, "image",
                  image(b, role == GFS_ROLE_FUSE ? "fuse" : "goosefsVersion"), "imagePullPolicy",
                  policy != NULL && policy[0] != '\0' ? policy : "IfNotPresent", "env",
                  env(b, role), "securityContext", gfsi_kube_security(0, GFSI_KUBE_CLIENT_ID),
                  "volumeMounts", gfsi_kube_mount("conf", GFSI_KUBE_CONF_DIR),
                  "terminationMessagePolicy", "FallbackToLogsOnError");

    gfsi_kube_set(c, "resources", gfsi_kube_component(b, part, "resources"));
    return c;
}

json_t *gfsi_kube_command(const char *program)
{
    return json_pack("[s, s]", program, "--properties=" GFSI_KUBE_CONF_FILE);
}

/* {app, release, role} on another node than its equals. */
json_t *gfsi_kube_apart(const struct gfsi_kube_build *b, const char *role)
{
    return json_pack("{s:{s:o}, s:s}", "labelSelector", "matchLabels", gfsi_kube_selector(b, role),
                     "topologyKey", GFSI_KUBE_HOSTNAME);
}

/* What the pods of a template have in common and others have not: another text is another
 * revision. A ReplicaSet does not tell its pods' revisions, so workers say theirs. */
static void revision(const struct gfsi_kube_build *b, enum gfs_role role, const json_t *spec,
                     char out[17])
{
    char *conf = gfsi_kube_properties(b->plan, role);
    char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    json_t *both = json_pack("[s*, s*]", conf, text);
    char *all = json_dumps(both, JSON_COMPACT);

    gfsi_kube_hash(all != NULL ? all : "", out);
    json_decref(both);
    free(all);
    free(text);
    free(conf);
}

json_t *gfsi_kube_template(const struct gfsi_kube_build *b, enum gfs_role role,
                           const char *role_label, json_t *spec)
{
    json_t *labels = gfsi_kube_labels(b, role_label);
    json_t *own = gfsi_kube_component(b, gfs_role_name(role), "annotations");
    json_t *notes = json_is_object(own) ? json_copy(own) : json_object();
    char hash[17] = "";

    revision(b, role, spec, hash);
    json_decref(own);
    gfsi_kube_set(notes, GFSI_KUBE_REVISION, json_string(hash));
    gfsi_kube_set(notes, "sidecar.istio.io/inject", json_string("false"));
    gfsi_kube_set(labels, "sidecar.istio.io/inject", json_string("false"));
    return json_pack("{s:{s:o, s:o}, s:o}", "metadata", "labels", labels, "annotations", notes,
                     "spec", spec);
}

/* "a,b" as [{"name": "a"}, {"name": "b"}]. */
static json_t *names(const char *list)
{
    json_t *out = json_array();

    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ", ");

        if (len > 0) {
            (void)json_array_append_new(out, json_pack("{s:o}", "name", json_stringn(list, len)));
        }
        list += len + (list[len] != '\0');
    }

    return out;
}

/* `c` and `volumes` are taken. */
json_t *gfsi_kube_pod_spec(const struct gfsi_kube_place *place, json_t *c, json_t *volumes)
{
    json_t *spec = json_pack("{s:[o], s:o, s:b, s:b, s:i}", "containers", c, "volumes", volumes,
                             "automountServiceAccountToken", 0, "enableServiceLinks", 0,
                             "terminationGracePeriodSeconds", STOP_SECONDS);
    json_t *secrets = names(place->pull_secrets);

    if (json_array_size(secrets) > 0) {
        gfsi_kube_set(spec, "imagePullSecrets", json_incref(secrets));
    }

    json_decref(secrets);
    return spec;
}

json_t *gfsi_kube_runtime_dir(const struct gfsi_kube_build *b)
{
    return json_sprintf("%s/goosefs/%s/%s", b->place->mount_root, b->plan->ns, b->plan->name);
}

/* ---- secrets ---- */

/* The volume of a Secret, made on its first option. */
static json_t *secret_volume(const char *secret, json_t *mounts, json_t *volumes)
{
    json_t *volume = NULL;
    size_t i = 0;
    char name[32];

    json_array_foreach(volumes, i, volume)
    {
        const char *known = json_string_value(gfs_kube_at(volume, "secret", "secretName", NULL));

        if (known != NULL && strcmp(known, secret) == 0) {
            return volume;
        }
    }

    (void)snprintf(name, sizeof(name), "secret-%zu", json_array_size(volumes));
    volume = json_pack("{s:s, s:{s:s, s:i, s:[]}}", "name", name, "secret", "secretName", secret,
                       "defaultMode", 0400, "items");
    (void)json_array_append_new(volumes, volume);
    (void)json_array_append_new(mounts, json_pack("{s:s, s:o, s:b}", "name", name, "mountPath",
                                                  json_sprintf(GFS_SECRETS_DIR "/%s", secret),
                                                  "readOnly", 1));
    return volume;
}

static void add_key(json_t *volume, const char *key)
{
    json_t *items = gfs_kube_at(volume, "secret", "items", NULL);
    json_t *item = NULL;
    size_t i = 0;

    json_array_foreach(items, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "key")), key) == 0) {
            return;
        }
    }

    (void)json_array_append_new(items, json_pack("{s:s, s:s}", "key", key, "path", key));
}

static void add_secrets(const json_t *options, json_t *mounts, json_t *volumes)
{
    json_t *option = NULL;
    size_t i = 0;

    json_array_foreach(options, i, option)
    {
        const json_t *ref = gfs_kube_at(option, "valueFrom", "secretKeyRef", NULL);
        const char *secret = json_string_value(json_object_get(ref, "name"));
        const char *key = json_string_value(json_object_get(ref, "key"));

        if (secret != NULL && key != NULL) {
            add_key(secret_volume(secret, mounts, volumes), key);
        }
    }
}

void gfsi_kube_secrets(const struct gfsi_kube_build *b, json_t *mounts, json_t *volumes)
{
    json_t *mount = NULL;
    size_t i = 0;

    json_array_foreach(json_object_get(b->dataset, "mounts"), i, mount)
    {
        add_secrets(json_object_get(mount, "encryptOptions"), mounts, volumes);
    }
    add_secrets(json_object_get(b->dataset, "sharedEncryptOptions"), mounts, volumes);
}
