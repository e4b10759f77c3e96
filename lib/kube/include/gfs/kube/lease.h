/* Leader election by a Lease (coordination.k8s.io/v1), so that of several replicas of a controller
 * one works.
 *
 * The rules are client-go's: a lease is held while its holder renews it within
 * leaseDurationSeconds, measured by the observer's own clock from the moment it saw the record
 * change, so that clocks of machines need not agree. The holder stops working when it could not
 * renew for renew_deadline, which is shorter than the lease.
 *
 * gfs_kube_lease_decide is pure; the elector runs it on a thread. */
#ifndef GFS_KUBE_LEASE_H
#define GFS_KUBE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include <gfs/kube/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gfs_kube_lease_opts {
    const char *ns;
    const char *name;     /* "goosefs.data.fluid.io" */
    const char *identity; /* pod name */
    int64_t lease_ns;     /* 0: 15 s */
    int64_t renew_ns;     /* 0: 10 s: give up leading when not renewed for so long */
    int64_t retry_ns;     /* 0: 2 s */
};

struct gfs_kube_elector;

/* leading true: work may begin; false: must have ended when this returns. On the elector's
 * thread. */
typedef void (*gfs_kube_leading_fn)(void *arg, bool leading);

/* Texts of `opts` are copied; `client` outlives the elector. Starts a thread. */
int gfs_kube_elector_start(struct gfs_kube_client *client, const struct gfs_kube_lease_opts *opts,
                           gfs_kube_leading_fn leading, void *arg, struct gfs_kube_elector **out,
                           struct gfs_err *err);

/* Gives the lease back when held (others need not wait for it to run out), ends the thread, frees.
 * Accepts NULL, returns NULL. */
struct gfs_kube_elector *gfs_kube_elector_stop(struct gfs_kube_elector *elector);

/* What an elector remembers between two looks at the lease. */
struct gfs_kube_lease_view {
    char record[512];   /* holder and renew time as last seen: a change restarts the clock */
    int64_t changed_at; /* monotonic ns when `record` changed */
};

enum gfs_kube_lease_action {
    GFS_KUBE_LEASE_WAIT,  /* somebody else holds it */
    GFS_KUBE_LEASE_TAKE,  /* nobody does, or the holder let it run out */
    GFS_KUBE_LEASE_RENEW, /* it is ours */
};

/* What to do about `lease` (NULL: there is none) at `now`; updates the view. */
enum gfs_kube_lease_action gfs_kube_lease_decide(struct gfs_kube_lease_view *view,
                                                 const json_t *lease, const char *identity,
                                                 int64_t now);

#ifdef __cplusplus
}
#endif
#endif
