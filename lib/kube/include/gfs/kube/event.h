/* Events on objects, as `kubectl describe` shows them. The same event again within ten minutes
 * raises its count instead of adding one (as client-go's correlator does), so that a retry loop
 * does not fill etcd.
 *
 * Thread: any; blocks for one request. */
#ifndef GFS_KUBE_EVENT_H
#define GFS_KUBE_EVENT_H

#include <gfs/kube/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The least recent is forgotten: its next occurrence is a new event. */
#define GFS_KUBE_EVENTS_REMEMBERED 512

struct gfs_kube_recorder;

/* `component` as the event's source ("GooseFSRuntime"); copied. */
struct gfs_kube_recorder *gfs_kube_recorder_new(struct gfs_kube_client *client,
                                                const char *component);
struct gfs_kube_recorder *gfs_kube_recorder_free(struct gfs_kube_recorder *recorder);

/* type: "Normal" or "Warning". `object` needs kind, apiVersion and metadata. */
int gfs_kube_recorder_event(struct gfs_kube_recorder *recorder, const json_t *object,
                            const char *type, const char *reason, const char *message,
                            struct gfs_err *err);

#ifdef __cplusplus
}
#endif
#endif
