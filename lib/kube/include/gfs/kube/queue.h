/* The work queue of a controller: keys, each once, with delays and per-key back-off.
 *
 * A key that is being worked on and is added again is handed out once more afterwards, never to two
 * workers at the same time (the rule of client-go's workqueue). Keys are at most
 * GFS_KUBE_KEY_MAX bytes ("namespace/name").
 *
 * Thread: any. */
#ifndef GFS_KUBE_QUEUE_H
#define GFS_KUBE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gfs/base/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GFS_KUBE_KEY_MAX 512 /* with NUL */

struct gfs_kube_queue;

/* `max_keys` bounds everything waiting; back-off from base to max per key, both ns. NULL when out
 * of memory. */
struct gfs_kube_queue *gfs_kube_queue_new(size_t max_keys, int64_t base_ns, int64_t max_ns);
struct gfs_kube_queue *gfs_kube_queue_free(struct gfs_kube_queue *queue);

/* Adds unless it waits already; an earlier due time wins. GFS_ERANGE when the queue is full or the
 * key too long: the caller's next list brings it again. */
int gfs_kube_queue_add(struct gfs_kube_queue *queue, const char *key);
int gfs_kube_queue_add_after(struct gfs_kube_queue *queue, const char *key, int64_t delay_ns);
/* After its back-off; one that failed before it was over does not make it longer. */
int gfs_kube_queue_retry(struct gfs_kube_queue *queue, const char *key);
void gfs_kube_queue_forget(struct gfs_kube_queue *queue, const char *key); /* resets its back-off */

/* The next due key, waiting for one. false after gfs_kube_queue_stop. Every key taken needs one
 * gfs_kube_queue_done. */
bool gfs_kube_queue_take(struct gfs_kube_queue *queue, char *out_key, size_t size);
void gfs_kube_queue_done(struct gfs_kube_queue *queue, const char *key);

void gfs_kube_queue_stop(struct gfs_kube_queue *queue);
size_t gfs_kube_queue_length(struct gfs_kube_queue *queue); /* waiting, due or not */

#ifdef __cplusplus
}
#endif
#endif
