/* Requests to a Kubernetes API server: libcurl and jansson behind typed verbs.
 *
 * A request is an object of JSON in and one out. The server's Status of a failure becomes a gfs
 * error: 404 NOENT, 409 EXIST (AlreadyExists) or ABORTED (Conflict), 410 CHANGED (resource version
 * too old), 422 and 400 INVAL, 401 UNAUTH, 403 PERM, 429 BUSY, 5xx and a broken connection UNAVAIL.
 *
 * Threads: any number may use one client; requests beyond its connection limit wait. All calls
 * block and must not be made on an event loop. The rate limit (qps, burst) is the client's, as
 * controllers have it: a caller waits for its turn.
 *
 * Source: kubernetes.io API concepts (verbs, server-side apply, chunking, watch). */
#ifndef GFS_KUBE_CLIENT_H
#define GFS_KUBE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <gfs/base/err.h>
#include <gfs/base/metrics.h>
#include <gfs/kube/config.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_KUBE_BODY_MAX (32u << 20) /* of one answer; beyond: GFS_ERANGE */
#define GFS_KUBE_NAME_MAX 253         /* bytes of an object's name */
#define GFS_KUBE_PATH_MAX 1024

/* A kind as the API server serves it. Static tables; all texts borrowed. */
struct gfs_kube_resource {
    const char *group;   /* "" for core */
    const char *version; /* "v1" */
    const char *plural;  /* "pods" */
    const char *kind;    /* "Pod" */
    bool namespaced;
};

struct gfs_kube_client;

struct gfs_kube_client_opts {
    const char *user_agent;      /* NULL: "goosefs" */
    double qps;                  /* requests per second; 0: 20 */
    unsigned burst;              /* 0: 30 */
    unsigned connections;        /* at the same time; 0: 16 */
    int64_t timeout_ns;          /* of one request, not of a watch; 0: 30 s */
    struct gfs_metrics *metrics; /* borrowed; NULL: none */
};

/* `config` is copied. `opts` may be NULL. Touches no network. */
int gfs_kube_client_new(const struct gfs_kube_config *config,
                        const struct gfs_kube_client_opts *opts, struct gfs_kube_client **out,
                        struct gfs_err *err);

/* Requests in progress and later ones fail with GFS_ECANCELLED. Any thread, any number of times. */
void gfs_kube_client_cancel(struct gfs_kube_client *client);

/* No request may be in progress. Accepts NULL, returns NULL. */
struct gfs_kube_client *gfs_kube_client_free(struct gfs_kube_client *client);

const char *gfs_kube_client_namespace(const struct gfs_kube_client *client); /* borrowed */

/* ---- verbs; `*out` is a new reference (json_decref), NULL allowed where it is not wanted ---- */

int gfs_kube_get(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                 const char *ns, const char *name, json_t **out, struct gfs_err *err);

int gfs_kube_create(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, json_t *object, json_t **out, struct gfs_err *err);

/* Replaces; GFS_ECONFLICT-like GFS_EABORTED when metadata.resourceVersion is no longer current. */
int gfs_kube_update(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, const char *name, json_t *object, json_t **out,
                    struct gfs_err *err);

/* Server-side apply as field manager `manager`; `force` takes over fields others own.
 * `subresource` is NULL or "status". */
int gfs_kube_apply(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                   const char *ns, const char *name, const char *subresource, const char *manager,
                   bool force, json_t *object, json_t **out, struct gfs_err *err);

/* JSON merge patch (RFC 7396). */
int gfs_kube_merge_patch(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                         const char *ns, const char *name, const char *subresource, json_t *patch,
                         json_t **out, struct gfs_err *err);

struct gfs_kube_delete_opts {
    const char *uid;         /* only this incarnation; NULL: any */
    int64_t grace_seconds;   /* -1: the object's own */
    const char *propagation; /* "Background", "Foreground", "Orphan"; NULL: default */
};
int gfs_kube_delete(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                    const char *ns, const char *name, const struct gfs_kube_delete_opts *opts,
                    struct gfs_err *err);

struct gfs_kube_selector {
    const char *ns;     /* NULL: all namespaces */
    const char *labels; /* "app=goosefs,role in (a,b)"; NULL: all */
    const char *fields; /* "metadata.name=x"; NULL: all */
};

/* All pages of a list. Calls `each` with every item (borrowed) until it returns negative, which
 * ends the list with that code. out_version (may be NULL, else 64 bytes) gets the list's resource
 * version. */
typedef int (*gfs_kube_each_fn)(void *arg, json_t *object);
int gfs_kube_list(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                  const struct gfs_kube_selector *selector, gfs_kube_each_fn each, void *arg,
                  char *out_version, size_t out_version_size, struct gfs_err *err);

/* One watch connection from `version` on. Calls `each` with the type ("ADDED", "MODIFIED",
 * "DELETED", "BOOKMARK") and the object (borrowed) until the server ends it (0), `each` returns
 * non-zero (that value), or an error: GFS_ECHANGED means "list again". */
typedef int (*gfs_kube_event_fn)(void *arg, const char *type, json_t *object);
int gfs_kube_watch(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                   const struct gfs_kube_selector *selector, const char *version,
                   gfs_kube_event_fn each, void *arg, struct gfs_err *err);

/* ---- objects ---- */

/* "" when missing. Borrowed. */
const char *gfs_kube_name(const json_t *object);
const char *gfs_kube_namespace(const json_t *object);
const char *gfs_kube_uid(const json_t *object);
const char *gfs_kube_version(const json_t *object);

/* A member by path ("spec", "replicas", NULL); NULL when missing. Borrowed. */
json_t *gfs_kube_at(const json_t *object, ...) __attribute__((sentinel));

/* "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB", "/api/v1/..." for core. `ns`, `name`, `sub`
 * may be NULL. Refuses names that are no DNS subdomain (RFC 1123), so none can leave its place. */
int gfs_kube_path(const struct gfs_kube_resource *resource, const char *ns, const char *name,
                  const char *sub, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
