#include "attrs_priv.h"

#include <stdio.h>
#include <string.h>

#include <gfs/base/str.h>

#define K8S_PREFIX "csi.storage.k8s.io/"

/* A label key for `ns` and `name`, as Fluid computes it for short names. */
static void default_label(struct gfsi_attrs *attrs)
{
    if (attrs->namespace_[0] == '\0' || attrs->name[0] == '\0') {
        return;
    }

    (void)snprintf(attrs->label_key, sizeof(attrs->label_key), "fluid.io/f-%s-%s",
                   attrs->namespace_, attrs->name);
}

const char *gfsi_path_below(const char *path, const char *root)
{
    size_t len = strlen(root);

    if (len == 1 && root[0] == '/') {
        return path[0] == '/' && path[1] != '\0' ? path + 1 : NULL;
    }
    if (strncmp(path, root, len) != 0 || path[len] != '/' || path[len + 1] == '\0') {
        return NULL;
    }
    return path + len + 1;
}

int gfsi_path_resolve(const char *path, const char *text, const char *real, char *out, size_t size)
{
    const char *below = text != NULL ? gfsi_path_below(path, text) : NULL;
    int n = below != NULL ? snprintf(out, size, "%s/%s", strcmp(real, "/") == 0 ? "" : real, below)
                          : snprintf(out, size, "%s", path);

    return n < (int)size ? 0 : GFS_ENAMETOOLONG;
}

int gfsi_path_check(const char *path, const char *root, const char *what, struct gfs_err *err)
{
    size_t len = strlen(path);
    char normal[GFSI_PATH_MAX + 1];

    if (len > GFSI_PATH_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "%s is longer than %d bytes", what, GFSI_PATH_MAX);
    }
    if (path[0] != '/' || !gfs_utf8_valid(path, len)) {
        return gfs_err_set(err, GFS_EINVAL, "%s is not a plain absolute path", what);
    }
    if (gfs_path_normalize(path, normal, sizeof(normal)) < 0 || strcmp(normal, path) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "%s holds '.', '..', '//' or a final '/'", what);
    }
    if (gfsi_path_below(path, root) == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "%s does not lie below %s", what, root);
    }
    return 0;
}

bool gfsi_attr_is_volatile(const char *key)
{
    return gfs_str_has_prefix(key, K8S_PREFIX);
}

int gfsi_clean_policy_parse(const char *text, enum gfs_csi_clean_policy *out)
{
    static const struct {
        const char *text;
        enum gfs_csi_clean_policy policy;
    } table[] = {
        {"", GFS_CSI_CLEAN_ON_RUNTIME_DELETED},
        {"OnRuntimeDeleted", GFS_CSI_CLEAN_ON_RUNTIME_DELETED},
        {"OnDemand", GFS_CSI_CLEAN_ON_DEMAND},
        {"OnFuseChanged", GFS_CSI_CLEAN_ON_FUSE_CHANGED},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(text, table[i].text) == 0) {
            *out = table[i].policy;
            return 0;
        }
    }
    return GFS_EINVAL;
}

const char *gfsi_clean_policy_name(enum gfs_csi_clean_policy policy)
{
    switch (policy) {
    case GFS_CSI_CLEAN_ON_RUNTIME_DELETED: return "OnRuntimeDeleted";
    case GFS_CSI_CLEAN_ON_DEMAND: return "OnDemand";
    case GFS_CSI_CLEAN_ON_FUSE_CHANGED: return "OnFuseChanged";
    }
    return "?";
}

/* ---- one function per attribute ---- */

struct parse {
    struct gfsi_attrs *attrs;
    const char *mount_root;
};

static int parse_fluid_path(struct parse *p, const char *value, struct gfs_err *err)
{
    int rc = gfsi_path_check(value, p->mount_root, "fluid_path", err);

    if (rc < 0) {
        return rc;
    }
    return gfs_str_copy(p->attrs->fluid_path, sizeof(p->attrs->fluid_path), value);
}

static int parse_sub_path(struct parse *p, const char *value, struct gfs_err *err)
{
    char absolute[GFSI_PATH_MAX + 2];
    char normal[GFSI_PATH_MAX + 2];
    size_t len = strlen(value);

    if (len >= GFSI_PATH_MAX || !gfs_utf8_valid(value, len)) {
        return gfs_err_set(err, GFS_EINVAL, "fluid_sub_path is too long or not plain text");
    }

    for (const char *part = value; *part != '\0';) {
        size_t n = strcspn(part, "/");

        if (n > 255 || (n == 2 && part[0] == '.' && part[1] == '.')) {
            return gfs_err_set(err, GFS_EINVAL,
                               "fluid_sub_path holds '..' or a name over 255 bytes");
        }
        part += n;
        part += strspn(part, "/");
    }

    (void)snprintf(absolute, sizeof(absolute), "/%s", value);
    if (gfs_path_normalize(absolute, normal, sizeof(normal)) < 0) {
        return gfs_err_set(err, GFS_EINVAL, "fluid_sub_path is not a path");
    }
    return gfs_str_copy(p->attrs->sub_path, sizeof(p->attrs->sub_path), normal + 1);
}

static int parse_mount_type(struct parse *p, const char *value, struct gfs_err *err)
{
    size_t len = strlen(value);

    if (len == 0 || len > GFSI_MOUNT_TYPE_MAX ||
        strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len) {
        return gfs_err_set(err, GFS_EINVAL, "mount_type is not the name of a file system type");
    }
    return gfs_str_copy(p->attrs->mount_type, sizeof(p->attrs->mount_type), value);
}

/* Namespaces and runtime names: DNS-1123 labels (a namespace may begin with a digit). */
static bool dns_label(const char *s)
{
    size_t len = strlen(s);

    return len >= 1 && len <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len &&
           s[0] != '-' && s[len - 1] != '-';
}

static int parse_namespace(struct parse *p, const char *value, struct gfs_err *err)
{
    if (!dns_label(value)) {
        return gfs_err_set(err, GFS_EINVAL, "runtime_namespace is not a DNS label");
    }
    return gfs_str_copy(p->attrs->namespace_, sizeof(p->attrs->namespace_), value);
}

static int parse_name(struct parse *p, const char *value, struct gfs_err *err)
{
    if (!dns_label(value)) {
        return gfs_err_set(err, GFS_EINVAL, "runtime_name is not a DNS label");
    }
    return gfs_str_copy(p->attrs->name, sizeof(p->attrs->name), value);
}

/* Only Fluid's own labels: with the node's identity the plugin could set others, and a volume's
 * author must not make it (CVE-2023-30840 is about labels set by a stolen token). */
static int parse_label_key(struct parse *p, const char *value, struct gfs_err *err)
{
    static const char prefix[] = "fluid.io/f-";
    size_t len = strlen(value);

    if (len > GFSI_LABEL_MAX || !gfs_str_has_prefix(value, prefix) || len == sizeof(prefix) - 1 ||
        strspn(value + sizeof("fluid.io/") - 1,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
            len - (sizeof("fluid.io/") - 1)) {
        return gfs_err_set(err, GFS_EINVAL,
                           "mount_pod_node_selector_key is not a label fluid.io/f-...");
    }
    return gfs_str_copy(p->attrs->label_key, sizeof(p->attrs->label_key), value);
}

static int parse_method(struct parse *p, const char *value, struct gfs_err *err)
{
    if (strcmp(value, "") == 0) {
        return 0;
    }
    if (strcmp(value, "symlink") == 0) {
        p->attrs->method = GFSI_METHOD_SYMLINK;
        return 0;
    }
    if (strcmp(value, "bindMount") == 0) {
        p->attrs->method = GFSI_METHOD_BIND;
        return 0;
    }
    return gfs_err_set(err, GFS_EINVAL, "node_publish_method is neither bindMount nor symlink");
}

/* "", or a comma list of None, All, MountPod, Sidecar. */
static int parse_skip_check(struct parse *p, const char *value, struct gfs_err *err)
{
    static const struct {
        const char *word;
        bool skip;
    } words[] = {{"None", false}, {"All", true}, {"MountPod", true}, {"Sidecar", false}};

    for (const char *word = value; *word != '\0';) {
        size_t n = strcspn(word, ",");
        bool known = false;

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strlen(words[i].word) == n && strncmp(words[i].word, word, n) == 0) {
                known = true;
                p->attrs->skip_ready_check = p->attrs->skip_ready_check || words[i].skip;
            }
        }
        if (!known) {
            return gfs_err_set(err, GFS_EINVAL,
                               "fluid.io/skip-check-mount-ready-target: not None, All, MountPod or "
                               "Sidecar");
        }
        word += n;
        word += *word == ',' ? 1 : 0;
    }
    return 0;
}

static int parse_clean_policy(struct parse *p, const char *value, struct gfs_err *err)
{
    if (gfsi_clean_policy_parse(value, &p->attrs->clean_policy) < 0) {
        return gfs_err_set(err, GFS_EINVAL,
                           "fuse_clean_policy is not OnDemand, OnRuntimeDeleted or OnFuseChanged");
    }
    return 0;
}

static int parse_efc(struct parse *p, const char *value, struct gfs_err *err)
{
    (void)p;
    (void)value;
    return gfs_err_set(err, GFS_EINVAL, "efc_sessmgr_workdir: EFC runtimes are not served");
}

static int parse_ephemeral(struct parse *p, const char *value, struct gfs_err *err)
{
    if (gfs_parse_bool(value, &p->attrs->ephemeral) < 0) {
        return gfs_err_set(err, GFS_EINVAL, K8S_PREFIX "ephemeral is neither true nor false");
    }
    return 0;
}

static const struct {
    const char *key;
    int (*parse)(struct parse *p, const char *value, struct gfs_err *err);
    bool in_ephemeral; /* may come from a pod's author */
} attributes[] = {
    {"fluid_path", parse_fluid_path, true},
    {"fluid_sub_path", parse_sub_path, true},
    {"mount_type", parse_mount_type, true},
    {"runtime_namespace", parse_namespace, true},
    {"runtime_name", parse_name, true},
    {"mount_pod_node_selector_key", parse_label_key, false},
    {"node_publish_method", parse_method, false},
    {"fluid.io/skip-check-mount-ready-target", parse_skip_check, false},
    {"fuse_clean_policy", parse_clean_policy, false},
    {"efc_sessmgr_workdir", parse_efc, false},
    {K8S_PREFIX "ephemeral", parse_ephemeral, true},
};

#define N_ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

static const char *value_of(const struct gfsi_pair *pairs, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(pairs[i].key, key) == 0) {
            return pairs[i].value;
        }
    }
    return NULL;
}

/* An inline volume's attributes are a pod author's words: known harmless keys only, and a dataset
 * of the pod's own namespace. Kubelet vouches for csi.storage.k8s.io/pod.namespace. */
static int check_ephemeral(const struct gfsi_pair *pairs, size_t n, const char *mount_root,
                           const struct gfsi_attrs *attrs, struct gfs_err *err)
{
    const char *pod_namespace = value_of(pairs, n, K8S_PREFIX "pod.namespace");
    char prefix[GFSI_PATH_MAX + 1];

    for (size_t i = 0; i < n; i++) {
        bool allowed = gfsi_attr_is_volatile(pairs[i].key);

        for (size_t a = 0; a < N_ATTRIBUTES; a++) {
            allowed = allowed ||
                      (attributes[a].in_ephemeral && strcmp(attributes[a].key, pairs[i].key) == 0);
        }
        if (!allowed) {
            return gfs_err_set(err, GFS_EINVAL, "an inline volume may not set this attribute");
        }
    }

    if (pod_namespace == NULL || !dns_label(pod_namespace)) {
        return gfs_err_set(err, GFS_EINVAL, "an inline volume needs the pod's namespace");
    }
    if ((attrs->namespace_[0] != '\0' && strcmp(attrs->namespace_, pod_namespace) != 0) ||
        snprintf(prefix, sizeof(prefix), "%s/goosefs/%s", mount_root, pod_namespace) >=
            (int)sizeof(prefix) ||
        gfsi_path_below(attrs->fluid_path, prefix) == NULL) {
        return gfs_err_set(err, GFS_EINVAL, "an inline volume's dataset lies in another namespace");
    }
    return 0;
}

int gfsi_attrs_parse(const struct gfsi_pair *pairs, size_t n, const char *mount_root,
                     enum gfs_csi_clean_policy default_policy, struct gfsi_attrs *out,
                     struct gfs_err *err)
{
    struct parse p = {.attrs = out, .mount_root = mount_root};

    memset(out, 0, sizeof(*out));
    out->clean_policy = default_policy;
    (void)gfs_str_copy(out->mount_type, sizeof(out->mount_type), GFSI_GOOSEFS_TYPE);

    for (size_t a = 0; a < N_ATTRIBUTES; a++) {
        const char *value = value_of(pairs, n, attributes[a].key);

        if (value != NULL) {
            int rc = attributes[a].parse(&p, value, err);

            if (rc < 0) {
                return rc;
            }
        }
    }

    if (out->fluid_path[0] == '\0') {
        return gfs_err_set(err, GFS_EINVAL, "volume attribute fluid_path is missing");
    }
    if (out->label_key[0] == '\0') {
        default_label(out);
    }
    return out->ephemeral ? check_ephemeral(pairs, n, mount_root, out, err) : 0;
}

int gfsi_mount_flags_parse(char *const *flags, size_t n, struct gfsi_mount_flags *out,
                           struct gfs_err *err)
{
    static const struct {
        const char *word;
        size_t offset; /* of the bool in struct gfsi_mount_flags; NOTHING: accepted, no effect */
        bool value;
    } table[] = {
#define NOTHING ((size_t)-1)
        {"ro", offsetof(struct gfsi_mount_flags, read_only), true},
        {"rw", NOTHING, false},
        {"noexec", offsetof(struct gfsi_mount_flags, noexec), true},
        {"exec", offsetof(struct gfsi_mount_flags, noexec), false},
        {"noatime", offsetof(struct gfsi_mount_flags, noatime), true},
        {"relatime", offsetof(struct gfsi_mount_flags, noatime), false},
        {"nodiratime", offsetof(struct gfsi_mount_flags, nodiratime), true},
        {"nosuid", NOTHING, true},
        {"nodev", NOTHING, true},
        {"allow_other", NOTHING, true}, /* the FUSE mount has it already */
        {"bind", NOTHING, true},
    };
    struct gfsi_mount_flags result = {0};

    if (n > GFSI_FLAGS_MAX) {
        return gfs_err_set(err, GFS_EINVAL, "more than %d mount flags", GFSI_FLAGS_MAX);
    }

    for (size_t i = 0; i < n; i++) {
        bool known = false;

        for (size_t t = 0; t < sizeof(table) / sizeof(table[0]) && !known; t++) {
            known = strcmp(flags[i], table[t].word) == 0;
            if (known && table[t].offset != NOTHING) {
                *(bool *)((char *)&result + table[t].offset) = table[t].value;
            }
        }
        if (!known) {
            return gfs_err_set(err, GFS_EINVAL, "mount flag number %zu is not allowed", i + 1);
        }
#undef NOTHING
    }

    *out = result;
    return 0;
}
