#include <gfs/kube/config.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/file.h>
#include <gfs/base/str.h>

#include <libfyaml.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (1024 * 1024)
#define ACCOUNT        "/var/run/secrets/kubernetes.io/serviceaccount/"

static void wipe(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

void gfs_kube_config_fini(struct gfs_kube_config *config)
{
    wipe(&config->client_key_pem);
    wipe(&config->token);
    free(config->server);
    free(config->ca_pem);
    free(config->client_cert_pem);
    free(config->token_file);
    free(config->ns);
    *config = (struct gfs_kube_config){0};
}

static int read_text(const char *path, char **out, struct gfs_err *err)
{
    struct gfs_buf text gfs_auto_buf;
    gfs_buf_init(&text, FILE_MAX_BYTES);
    int rc = gfs_file_read(path, &text, err);
    if (rc < 0) {
        return rc;
    }
    char *taken = gfs_buf_take(&text);
    if (taken == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *out = taken;
    return GFS_OK;
}

int gfs_kube_config_in_cluster(struct gfs_kube_config *out, struct gfs_err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (host == NULL || port == NULL || host[0] == '\0' || port[0] == '\0') {
        return gfs_err_set(err, GFS_ENOENT,
                           "not in a pod: KUBERNETES_SERVICE_HOST and _PORT are not set");
    }

    struct gfs_kube_config config = {0};
    int rc = read_text(ACCOUNT "ca.crt", &config.ca_pem, err);
    if (rc == GFS_OK) {
        rc = read_text(ACCOUNT "namespace", &config.ns, err);
    }
    if (rc == GFS_OK) {
        config.ns[strcspn(config.ns, "\r\n ")] = '\0';
        config.token_file = strdup(ACCOUNT "token");
        bool v6 = strchr(host, ':') != NULL;
        if (config.token_file == NULL || asprintf(&config.server, "https://%s%s%s:%s",
                                                  v6 ? "[" : "", host, v6 ? "]" : "", port) < 0) {
            config.server = NULL;
            rc = gfs_err_set(err, GFS_ENOMEM, "out of memory");
        }
    }
    if (rc < 0) {
        gfs_kube_config_fini(&config);
        return rc;
    }
    *out = config;
    return GFS_OK;
}

/* ---- kubeconfig ---- */

struct loader {
    const char *path;
    char dir[PATH_MAX]; /* what relative file names are relative to */
    struct gfs_err *err;
};

static char *scalar(struct fy_node *node, const char *key)
{
    struct fy_node *value =
        node == NULL ? NULL : fy_node_mapping_lookup_by_string(node, key, FY_NT);
    size_t len = 0;
    const char *text = value == NULL ? NULL : fy_node_get_scalar(value, &len);
    return text == NULL || memchr(text, '\0', len) != NULL ? NULL : strndup(text, len);
}

/* The member `member` of the item called `name` in the list `list` ("clusters", "cluster"). */
static struct fy_node *named(struct fy_node *root, const char *list, const char *name,
                             const char *member)
{
    struct fy_node *items = fy_node_mapping_lookup_by_string(root, list, FY_NT);
    void *iter = NULL;
    for (struct fy_node *item = items == NULL ? NULL : fy_node_sequence_iterate(items, &iter);
         item != NULL; item = fy_node_sequence_iterate(items, &iter)) {
        char *item_name gfs_auto_free = scalar(item, "name");
        if (item_name != NULL && strcmp(item_name, name) == 0) {
            return fy_node_mapping_lookup_by_string(item, member, FY_NT);
        }
    }
    return NULL;
}

static int decode_base64(struct loader *l, const char *key, const char *text, char **out)
{
    size_t len = strlen(text);
    unsigned char *raw = calloc(1, len / 4 * 3 + 4);
    if (raw == NULL || len > INT_MAX) {
        free(raw);
        return gfs_err_set(l->err, GFS_ENOMEM, "out of memory");
    }
    int n = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len);
    if (n < 0) {
        free(raw);
        return gfs_err_set(l->err, GFS_EINVAL, "%s: %s is not base64", l->path, key);
    }
    raw[n] = '\0'; /* padding decodes to NUL bytes: PEM ends before them */
    *out = (char *)raw;
    return GFS_OK;
}

/* KEY-data inline (base64), or KEY naming a file. Leaves *out NULL when there is neither. */
static int pem(struct loader *l, struct fy_node *node, const char *key, char **out)
{
    char data_key[64];
    (void)snprintf(data_key, sizeof data_key, "%s-data", key);
    char *data gfs_auto_free = scalar(node, data_key);
    if (data != NULL && data[0] != '\0') {
        return decode_base64(l, data_key, data, out);
    }

    char *file gfs_auto_free = scalar(node, key);
    if (file == NULL || file[0] == '\0') {
        return GFS_OK;
    }
    char path[PATH_MAX];
    int rc = file[0] == '/' ? gfs_str_copy(path, sizeof path, file)
                            : gfs_path_join(path, sizeof path, l->dir, file);
    if (rc < 0) {
        return gfs_err_set(l->err, rc, "%s: %s is too long", l->path, key);
    }
    return read_text(path, out, l->err);
}

static int load_cluster(struct loader *l, struct fy_node *cluster, struct gfs_kube_config *config)
{
    config->server = scalar(cluster, "server");
    if (config->server == NULL || !(gfs_str_has_prefix(config->server, "https://") ||
                                    gfs_str_has_prefix(config->server, "http://"))) {
        return gfs_err_set(l->err, GFS_EINVAL, "%s: the cluster has no http(s) server", l->path);
    }
    size_t len = strlen(config->server);
    while (len > 0 && config->server[len - 1] == '/') {
        config->server[--len] = '\0';
    }

    char *insecure gfs_auto_free = scalar(cluster, "insecure-skip-tls-verify");
    if (insecure != NULL && gfs_parse_bool(insecure, &config->insecure) < 0) {
        return gfs_err_set(l->err, GFS_EINVAL, "%s: insecure-skip-tls-verify is no boolean",
                           l->path);
    }
    return pem(l, cluster, "certificate-authority", &config->ca_pem);
}

static int load_user(struct loader *l, struct fy_node *user, struct gfs_kube_config *config)
{
    static const char *const unsupported[] = {"exec", "auth-provider", "username"};
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        if (fy_node_mapping_lookup_by_string(user, unsupported[i], FY_NT) != NULL) {
            return gfs_err_set(l->err, GFS_EUNSUPPORTED,
                               "%s: credentials by '%s' are not supported: use a token, a token "
                               "file or a client certificate",
                               l->path, unsupported[i]);
        }
    }
    config->token = scalar(user, "token");
    config->token_file = scalar(user, "tokenFile");
    int rc = pem(l, user, "client-certificate", &config->client_cert_pem);
    return rc < 0 ? rc : pem(l, user, "client-key", &config->client_key_pem);
}

static int load_context(struct loader *l, struct fy_node *root, const char *context,
                        struct gfs_kube_config *config)
{
    char *current gfs_auto_free =
        context != NULL ? strdup(context) : scalar(root, "current-context");
    struct fy_node *node = current == NULL ? NULL : named(root, "contexts", current, "context");
    char *cluster_name gfs_auto_free = scalar(node, "cluster");
    char *user_name gfs_auto_free = scalar(node, "user");
    struct fy_node *cluster =
        cluster_name == NULL ? NULL : named(root, "clusters", cluster_name, "cluster");
    if (cluster == NULL) {
        return gfs_err_set(l->err, GFS_EINVAL, "%s: context '%s' or its cluster is missing",
                           l->path, current == NULL ? "" : current);
    }

    config->ns = scalar(node, "namespace");
    if (config->ns == NULL && (config->ns = strdup("default")) == NULL) {
        return gfs_err_set(l->err, GFS_ENOMEM, "out of memory");
    }
    int rc = load_cluster(l, cluster, config);
    struct fy_node *user = user_name == NULL ? NULL : named(root, "users", user_name, "user");
    return rc < 0 || user == NULL ? rc : load_user(l, user, config);
}

/* The parser quotes what it does not understand, and a kubeconfig holds keys: its words are
 * collected and dropped instead of printed. */
static struct fy_document *parse_yaml(const char *text)
{
    struct fy_diag_cfg quiet;
    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&quiet);
    if (diag == NULL) {
        return NULL;
    }
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg parse = {.flags = FYPCF_QUIET, .diag = diag};
    struct fy_document *doc = fy_document_build_from_string(&parse, text, FY_NT);
    fy_diag_destroy(diag);
    return doc;
}

int gfs_kube_config_load(const char *path, const char *context, struct gfs_kube_config *out,
                         struct gfs_err *err)
{
    struct loader l = {.path = path, .err = err};
    const char *slash = strrchr(path, '/');
    int k = snprintf(l.dir, sizeof l.dir, "%.*s", slash == NULL ? 1 : (int)(slash - path),
                     slash == NULL ? "." : path);
    if (k < 0 || (size_t)k >= sizeof l.dir) {
        return gfs_err_set(err, GFS_ENAMETOOLONG, "path '%s' is too long", path);
    }

    char *text = NULL;
    int rc = read_text(path, &text, err);
    if (rc < 0) {
        return rc;
    }
    struct fy_document *doc = parse_yaml(text);
    struct fy_node *root = doc == NULL ? NULL : fy_document_root(doc);
    struct gfs_kube_config config = {0};
    if (root == NULL || !fy_node_is_mapping(root)) {
        rc = gfs_err_set(err, GFS_EINVAL, "%s is not a kubeconfig file", path);
    } else {
        rc = load_context(&l, root, context, &config);
    }
    fy_document_destroy(doc);
    wipe(&text);
    if (rc < 0) {
        gfs_kube_config_fini(&config);
        return rc;
    }
    *out = config;
    return GFS_OK;
}

int gfs_kube_config_default(const char *kubeconfig, struct gfs_kube_config *out,
                            struct gfs_err *err)
{
    if (kubeconfig != NULL && kubeconfig[0] != '\0') {
        return gfs_kube_config_load(kubeconfig, NULL, out, err);
    }
    int rc = gfs_kube_config_in_cluster(out, err);
    const char *home = getenv("HOME");
    if (rc != GFS_ENOENT || home == NULL) {
        return rc;
    }
    char path[PATH_MAX];
    rc = gfs_path_join(path, sizeof path, home, ".kube/config");
    return rc < 0 ? rc : gfs_kube_config_load(path, NULL, out, err);
}
