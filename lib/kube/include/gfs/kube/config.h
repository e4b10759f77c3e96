/* How to reach an API server: in a pod, or from a kubeconfig file.
 *
 * Source: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files" and "Accessing the
 * Kubernetes API from a Pod". Not supported, with a clear error: exec and auth-provider plugins,
 * user name and password. Credentials are never logged and never part of an error's text.
 *
 * Thread: load once, then read from any. Tokens named by file are read again by the client, so that
 * a rotated token is used within a minute. */
#ifndef GFS_KUBE_CONFIG_H
#define GFS_KUBE_CONFIG_H

#include <stdbool.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Texts are owned; NULL when there is none. PEM texts are inline, not paths. */
struct gfs_kube_config {
    char *server; /* "https://10.96.0.1:443", no trailing slash */
    char *ca_pem;
    char *client_cert_pem;
    char *client_key_pem;
    char *token;
    char *token_file;
    char *ns;      /* default namespace, "default" when nothing says otherwise */
    bool insecure; /* certificate not verified: only when the kubeconfig says so */
};

/* The service account of this pod. GFS_ENOENT when this is no pod. */
int gfs_kube_config_in_cluster(struct gfs_kube_config *out, struct gfs_err *err);

/* The current context of a kubeconfig (or `context`, when not NULL). Relative file names in it are
 * relative to it. */
int gfs_kube_config_load(const char *path, const char *context, struct gfs_kube_config *out,
                         struct gfs_err *err);

/* `kubeconfig` when not empty, else in-cluster, else ~/.kube/config. */
int gfs_kube_config_default(const char *kubeconfig, struct gfs_kube_config *out,
                            struct gfs_err *err);

/* Frees the texts (keys and tokens are wiped first). Accepts a zeroed struct. */
void gfs_kube_config_fini(struct gfs_kube_config *config);

#ifdef __cplusplus
}
#endif
#endif
