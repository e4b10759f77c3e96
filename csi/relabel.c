#include "relabel_priv.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define HOLD_NS     (200 * GFS_NS_PER_MS) /* for an unstage that takes the label away */
#define BACKOFF_MAX 16                    /* periods, while the API server is away */

struct gfsi_relabel {
    struct gfsi_node *node;
    int64_t period_ns;
    pthread_t thread;
    int stop_fd; /* eventfd */

    /* Of one look. */
    char keys[GFS_CSI_LABELS_MAX][GFSI_LABEL_MAX + 1];
    const char *wanted[GFS_CSI_LABELS_MAX];
    struct gfsi_hold holds[GFS_CSI_LABELS_MAX];
};

/* Labels are held while they are looked at: what an unstage removes must not come back. Who is held
 * already is left to the next look. */
static size_t hold_all(struct gfsi_relabel *r)
{
    struct gfsi_node *node = r->node;
    size_t n = gfsi_journal_labels(node->journal, r->keys, GFS_CSI_LABELS_MAX);
    size_t held = 0;

    for (size_t i = 0; i < n; i++) {
        if (gfsi_hold_take(&node->holds, &r->holds[held], r->keys[i], gfs_clock_mono() + HOLD_NS,
                           NULL) < 0) {
            continue;
        }
        if (!gfsi_journal_has_label(node->journal, r->keys[i])) {
            gfsi_hold_drop(&node->holds, &r->holds[held]);
            continue;
        }
        r->wanted[held++] = r->keys[i];
    }
    return held;
}

static int look(struct gfsi_relabel *r)
{
    const struct gfs_csi_node_labeler *labeler = r->node->labeler;
    struct gfs_err err = GFS_ERR_INIT;
    size_t n = hold_all(r);
    int rc = 0;

    if (n > 0) {
        rc = labeler->check(labeler->self, r->wanted, n, gfs_clock_mono() + GFSI_RELABEL_NS, &err);
    }
    for (size_t i = 0; i < n; i++) {
        gfsi_hold_drop(&r->node->holds, &r->holds[i]);
    }
    if (rc < 0) {
        gfs_warn("csi", "labels of the node not checked", "labels=%zu error=%s", n,
                 GFS_Q(gfs_err_text(&err, rc)));
    }
    return rc;
}

static void *run(void *arg)
{
    struct gfsi_relabel *r = arg;
    int64_t periods = 1;

    for (;;) {
        struct pollfd fd = {.fd = r->stop_fd, .events = POLLIN};
        int64_t ms = periods * r->period_ns / GFS_NS_PER_MS;

        if (poll(&fd, 1, ms < INT32_MAX ? (int)ms : INT32_MAX) > 0) {
            return NULL;
        }
        periods = look(r) == 0 ? 1 : periods * 2;
        periods = periods < BACKOFF_MAX ? periods : BACKOFF_MAX;
    }
}

int gfsi_relabel_start(struct gfsi_node *node, int64_t period_ns, struct gfsi_relabel **out,
                       struct gfs_err *err)
{
    struct gfsi_relabel *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    r->node = node;
    r->period_ns = period_ns;
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = r->stop_fd < 0 ? errno : pthread_create(&r->thread, NULL, run, r);
    if (rc != 0) {
        if (r->stop_fd >= 0) {
            (void)close(r->stop_fd);
        }
        free(r);
        return gfs_err_set_errno(err, rc, "starting the check of labels");
    }
    *out = r;
    return 0;
}

struct gfsi_relabel *gfsi_relabel_stop(struct gfsi_relabel *r)
{
    uint64_t one = 1;

    if (r == NULL) {
        return NULL;
    }
    (void)!write(r->stop_fd, &one, sizeof(one));
    (void)pthread_join(r->thread, NULL);
    (void)close(r->stop_fd);
    free(r);
    return NULL;
}
