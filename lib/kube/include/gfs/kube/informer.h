/* A local copy of the objects of one kind, kept up to date by list and watch.
 *
 * Life: new -> start -> (handlers run) -> stop -> free. The informer's own thread lists, then
 * watches with bookmarks, resumes from the last resource version after a broken connection, lists
 * again after 410 Gone, and calls the handler for every difference. The copy holds texts, which
 * take a tenth of the room; what is handed out is parsed anew each time.
 *
 * Thread: any for get, each and count; the handler runs on the informer's thread and must only
 * queue work. */
#ifndef GFS_KUBE_INFORMER_H
#define GFS_KUBE_INFORMER_H

#include <stdbool.h>
#include <stddef.h>

#include <gfs/kube/client.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_KUBE_OBJECTS_MAX                                                                       \
    10000 /* per informer; a list that is longer is refused with GFS_ERANGE */

struct gfs_kube_informer;

/* `before` is NULL for a new object, `now` for one that went away. Both borrowed. */
typedef void (*gfs_kube_change_fn)(void *arg, json_t *before, json_t *now);

/* `resource` and `client` outlive the informer; `selector` is copied. */
int gfs_kube_informer_new(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                          const struct gfs_kube_selector *selector, gfs_kube_change_fn change,
                          void *arg, struct gfs_kube_informer **out, struct gfs_err *err);

/* What to keep of an object: a new reference, NULL: the object as it is. Before start. */
typedef json_t *(*gfs_kube_trim_fn)(json_t *object);
void gfs_kube_informer_set_trim(struct gfs_kube_informer *informer, gfs_kube_trim_fn trim);
int gfs_kube_informer_start(struct gfs_kube_informer *informer, struct gfs_err *err);

/* Whether the first list has been delivered; waits for it until `deadline` (monotonic ns). */
bool gfs_kube_informer_wait_synced(struct gfs_kube_informer *informer, int64_t deadline);

/* Ends the thread. Needs gfs_kube_client_cancel first when a watch may be waiting. */
void gfs_kube_informer_stop(struct gfs_kube_informer *informer);
struct gfs_kube_informer *gfs_kube_informer_free(struct gfs_kube_informer *informer);

/* An object of the caller's own, NULL when there is none. `ns` is "" for kinds without namespaces.
 */
json_t *gfs_kube_informer_get(struct gfs_kube_informer *informer, const char *ns, const char *name);
size_t gfs_kube_informer_count(struct gfs_kube_informer *informer);

/* Calls `each` for every object (borrowed), under the informer's lock: `each` must be quick and
 * must not call the informer. Stops when it returns false. */
void gfs_kube_informer_each(struct gfs_kube_informer *informer,
                            bool (*each)(void *arg, json_t *object), void *arg);

/* The same, for objects alone whose compact JSON has the text `with` in it, such as
 * "\"release\":\"hbase\"": of ten thousand only those are parsed. Others may have it somewhere
 * else: `each` looks for itself. */
void gfs_kube_informer_each_with(struct gfs_kube_informer *informer, const char *with,
                                 bool (*each)(void *arg, json_t *object), void *arg);

/* Lists and watches begun so far: tests and metrics look at them. */
size_t gfs_kube_informer_lists(struct gfs_kube_informer *informer);

#ifdef __cplusplus
}
#endif
#endif
