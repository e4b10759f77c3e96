#include "repair_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "sweep_priv.h"

#define LOOK_PAUSE_NS   (100 * GFS_NS_PER_MS) /* between looks, at least */
#define LOOK_SHARE      10                    /* ... and so many times what the last one took */
#define RETRY_NS        (500 * GFS_NS_PER_MS) /* something stayed dead; doubled up to the maximum */
#define RETRY_MAX_NS    (30 * GFS_NS_PER_S)
#define HOLD_NS         (200 * GFS_NS_PER_MS) /* for an operation on the target; then next time */
#define REPAIR_NS       (10 * GFS_NS_PER_S)
#define SWEEP_NS        (300 * GFS_NS_PER_S) /* between sweeps of the mount root */
#define SWEEP_RETRY_NS  (5 * GFS_NS_PER_S)   /* the keeper did not answer */
#define CONNECTIONS_MAX 1024 /* of one look: as many as a keeper holds mounts; then next time */

/* What is known of a connection during one look. */
struct connection {
    unsigned minor;
    int state; /* 0: answers; GFS_EUNAVAIL: has ended; another error: not to be known now */
};

struct gfsi_repair {
    struct gfsi_node *node;
    pthread_t thread;
    int stop_fd; /* eventfd */
    int mountinfo;
    struct gfs_metric *repaired, *dead, *swept;
    int64_t sweep_at; /* the next sweep of the mount root */

    /* Of one look. */
    struct connection known[CONNECTIONS_MAX];
    size_t n_known;
    size_t n_repaired, n_left;
    struct gfsi_volume volume;
    struct gfsi_use use;
};

static bool is_stopping(const struct gfsi_repair *r)
{
    struct pollfd fd = {.fd = r->stop_fd, .events = POLLIN};

    return poll(&fd, 1, 0) > 0;
}

/* ---- what is dead ---- */

static struct connection *find_connection(struct gfsi_repair *r, unsigned minor)
{
    for (size_t i = 0; i < r->n_known; i++) {
        if (r->known[i].minor == minor) {
            return &r->known[i];
        }
    }
    return NULL;
}

/* Asks once per connection and look. */
static int ask_connection(struct gfsi_repair *r, unsigned minor, int fd)
{
    struct connection *c = find_connection(r, minor);

    if (c == NULL && r->n_known == CONNECTIONS_MAX) {
        return GFS_EBUSY;
    }
    if (c == NULL) {
        c = &r->known[r->n_known++];
        c->minor = minor;
        c->state = gfsi_prober_check(r->node->prober, fd, r->node->probe_ns, NULL);
    }
    return c->state;
}

/* The file system behind an O_PATH descriptor, without asking it. */
static int minor_of(int fd, unsigned *out)
{
    struct statx st;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) != 0) {
        return gfs_err_from_errno(errno);
    }
    *out = st.stx_dev_minor;
    return 0;
}

static bool is_covered(const struct gfs_mounttable *table, const struct gfs_mount_entry *entry)
{
    for (size_t i = 0; i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);

        if (e->parent == entry->id && strcmp(e->target, entry->target) == 0) {
            return true;
        }
    }
    return false;
}

/* Is the entry's file system mounted at the place where datasets are mounted on this node? */
static bool has_origin(const struct gfsi_node *node, const struct gfs_mounttable *table,
                       const struct gfs_mount_entry *entry)
{
    for (size_t i = 0; i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);

        if (e->dev_minor == entry->dev_minor && e->dev_major == entry->dev_major &&
            gfsi_path_below(e->target, node->rules.mount_root) != NULL) {
            return true;
        }
    }
    return false;
}

/* A bind for a pod, on top, of a FUSE mount that is not there any more. */
static bool is_suspect(const struct gfsi_node *node, const struct gfs_mounttable *table,
                       const struct gfs_mount_entry *entry)
{
    return gfs_str_has_prefix(entry->fstype, "fuse") &&
           gfsi_path_below(entry->target, node->rules.kubelet_root) != NULL &&
           !has_origin(node, table, entry) && !is_covered(table, entry);
}

/* ---- one target ---- */

static bool has_option(const char *options, const char *option)
{
    size_t len = strlen(option);
    const char *at = options;

    while (at != NULL) {
        if (strncmp(at, option, len) == 0 && (at[len] == '\0' || at[len] == ',')) {
            return true;
        }
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    return false;
}

/* As the dead one was mounted. */
static struct gfsi_mount_flags flags_of(const struct gfs_mount_entry *entry)
{
    return (struct gfsi_mount_flags){
        .read_only = has_option(entry->options, "ro"),
        .noexec = has_option(entry->options, "noexec"),
        .noatime = has_option(entry->options, "noatime"),
        .nodiratime = has_option(entry->options, "nodiratime"),
    };
}

/* What is on top of `place` must still be the dead file system: an operation may have been faster.
 * GFS_ECHANGED otherwise. */
static int check_dead(struct gfsi_repair *r, const struct gfsi_place *place, unsigned minor,
                      struct gfs_err *err)
{
    int fd gfs_auto_fd = -1;
    unsigned now = 0;
    int rc = gfsi_place_open_leaf(place, &fd, err);

    if (rc == 0) {
        rc = minor_of(fd, &now);
    }
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "target");
    }
    if (now != minor) {
        return GFS_ECHANGED;
    }
    rc = ask_connection(r, minor, fd);
    if (rc == 0) {
        return GFS_ECHANGED; /* its client still serves who has it: nothing to repair */
    }
    return rc == GFS_EUNAVAIL ? 0 : gfs_err_set(err, rc, "the old mount neither answers nor ends");
}

/* The directory nothing is mounted at would answer too. */
static int check_alive(struct gfsi_repair *r, const struct gfs_mounttable *table, int source,
                       struct gfs_err *err)
{
    const struct gfs_mount_entry *origin = gfs_mounttable_find(table, r->volume.fluid_path);
    unsigned minor = 0;
    int rc = minor_of(source, &minor);

    if (rc == 0 && (origin == NULL || origin->dev_minor != minor ||
                    strcmp(origin->fstype, r->volume.mount_type) != 0)) {
        rc = GFS_ENOENT;
    }
    if (rc == 0) {
        rc = ask_connection(r, minor, source);
    }
    return rc == 0 ? 0 : gfs_err_set(err, rc, "no living mount at %s", r->volume.fluid_path);
}

/* The layers of earlier repairs; the first one stays, containers have a copy of it. */
static int strip(struct gfsi_repair *r, const struct gfs_mounttable *table,
                 const struct gfsi_place *place, struct gfs_err *err)
{
    struct gfsi_node *node = r->node;
    int rc = 0;

    for (size_t n = gfs_mounttable_depth(table, r->use.path); n > 1 && rc == 0; n--) {
        rc = node->mounts.unmount(node->mounts.self, place, r->use.path, true, err);
    }
    return rc;
}

static int bind_over(struct gfsi_repair *r, const struct gfs_mounttable *table,
                     const struct gfs_mount_entry *entry, const struct gfsi_place *place,
                     struct gfs_err *err)
{
    struct gfsi_node *node = r->node;
    int source gfs_auto_fd = -1;
    int target gfs_auto_fd = -1;
    struct gfsi_bind bind = {
        .source_path = r->volume.fluid_path, .target_path = r->use.path, .flags = flags_of(entry)};
    int rc = gfsi_node_open_source(node, &r->volume, gfs_clock_mono() + REPAIR_NS, &source, err);

    if (rc == 0) {
        rc = check_alive(r, table, source, err);
    }
    if (rc == 0) {
        rc = strip(r, table, place, err);
    }
    if (rc == 0) {
        rc = gfsi_place_open_leaf(place, &target, err);
    }
    if (rc < 0) {
        return rc;
    }
    bind.source = source;
    bind.target = target;
    return node->mounts.bind(node->mounts.self, &bind, err);
}

/* With the target held. */
static int repair_held(struct gfsi_repair *r, const struct gfs_mounttable *table,
                       const struct gfs_mount_entry *entry, struct gfs_err *err)
{
    struct gfsi_node *node = r->node;
    struct gfsi_place place = GFSI_PLACE_INIT;
    int rc;

    if (gfsi_journal_find_use(node->journal, r->volume.id, GFSI_PUBLISHED, r->use.path, NULL) < 0) {
        return GFS_ECHANGED;
    }
    rc = gfsi_path_check_way(table, node->rules.kubelet_root, r->use.path, err);
    if (rc == 0) {
        rc = gfsi_place_open(node->rules.kubelet_root, r->use.path, &place, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = check_dead(r, &place, entry->dev_minor, err);
    if (rc == 0) {
        rc = bind_over(r, table, entry, &place, err);
    }
    gfsi_place_close(&place);
    return rc;
}

static int ask_for_sweep(void *arg, unsigned minor, int fd)
{
    return ask_connection(arg, minor, fd);
}

static struct gfsi_sweep sweep_of(struct gfsi_repair *r, const struct gfs_mounttable *table)
{
    return (struct gfsi_sweep){.node = r->node, .table = table, .ask = ask_for_sweep, .arg = r};
}

static void repair_target(struct gfsi_repair *r, const struct gfs_mounttable *table,
                          const struct gfs_mount_entry *entry)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_hold hold;
    int rc;

    if (gfsi_journal_find_target(r->node->journal, entry->target, &r->volume, &r->use) < 0) {
        struct gfsi_sweep sweep = sweep_of(r, table);

        gfs_metric_add(r->swept, gfsi_sweep_target(&sweep, entry) ? 1 : 0);
        return;
    }
    if (r->use.symlink || strcmp(entry->fstype, r->volume.mount_type) != 0) {
        return; /* not ours */
    }
    rc = gfsi_hold_take(&r->node->holds, &hold, r->use.path, gfs_clock_mono() + HOLD_NS, &err);
    if (rc == 0) {
        rc = repair_held(r, table, entry, &err);
        gfsi_hold_drop(&r->node->holds, &hold);
    }
    if (rc == GFS_ECHANGED) {
        return;
    }
    if (rc < 0) {
        r->n_left++;
        gfs_debug("csi", "dead bind not repaired", "volume=%s path=%s error=%s",
                  GFS_Q(r->volume.id), GFS_Q(r->use.path), GFS_Q(gfs_err_text(&err, rc)));
        return;
    }
    r->n_repaired++;
    gfs_metric_add(r->repaired, 1);
    gfs_warn("csi", "dead bind repaired, open files of before are lost", "volume=%s path=%s",
             GFS_Q(r->volume.id), GFS_Q(r->use.path));
}

static void sweep_mount_root(struct gfsi_repair *r, const struct gfs_mounttable *table)
{
    struct gfsi_sweep sweep = sweep_of(r, table);
    int rc;

    if (gfs_clock_mono() < r->sweep_at) {
        return;
    }
    rc = gfsi_sweep_origins(&sweep);
    gfs_metric_add(r->swept, rc > 0 ? rc : 0);
    r->sweep_at = gfs_clock_mono() + (rc < 0 ? SWEEP_RETRY_NS : SWEEP_NS);
}

static void look(struct gfsi_repair *r)
{
    struct gfsi_node *node = r->node;
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    struct gfs_err err = GFS_ERR_INIT;

    r->n_known = 0;
    r->n_repaired = 0;
    r->n_left = 0;
    if (node->mounts.read(node->mounts.self, &table, &err) < 0) {
        r->n_left = 1;
        r->sweep_at = gfs_clock_mono() + SWEEP_RETRY_NS;
        gfs_warn("csi", "mount table not read", "error=%s", GFS_Q(err.text));
        return;
    }
    for (size_t i = 0; i < gfs_mounttable_count(table) && !is_stopping(r); i++) {
        const struct gfs_mount_entry *entry = gfs_mounttable_at(table, i);

        if (is_suspect(node, table, entry)) {
            repair_target(r, table, entry);
        }
    }
    if (!is_stopping(r)) {
        sweep_mount_root(r, table);
    }
    gfs_metric_set(r->dead, (int64_t)r->n_left);
}

/* ---- the thread ---- */

/* False: to be stopped. */
static bool wait_ns(const struct gfsi_repair *r, int64_t ns, bool for_change)
{
    struct pollfd fds[2] = {
        {.fd = r->stop_fd, .events = POLLIN},
        {.fd = for_change ? r->mountinfo : -1, .events = POLLPRI},
    };
    int timeout = ns < 0 ? -1 : (int)(ns / GFS_NS_PER_MS) + 1;

    return poll(fds, 2, timeout) < 0 || (fds[0].revents & POLLIN) == 0;
}

static void *run(void *arg)
{
    struct gfsi_repair *r = arg;
    int64_t retry = RETRY_NS;
    bool again = true;

    while (again) {
        int64_t started = gfs_clock_mono();
        int64_t pause, next;

        look(r);
        pause = (gfs_clock_mono() - started) * LOOK_SHARE;
        pause = pause < LOOK_PAUSE_NS ? LOOK_PAUSE_NS : pause;
        retry = r->n_left == 0 || r->n_repaired > 0 ? RETRY_NS : retry * 2;
        retry = retry < RETRY_MAX_NS ? retry : RETRY_MAX_NS;
        next = r->sweep_at > gfs_clock_mono() ? r->sweep_at - gfs_clock_mono() : 0;
        /* The pause is not cut short: what changed meanwhile is seen behind it. */
        again = wait_ns(r, pause < RETRY_MAX_NS ? pause : RETRY_MAX_NS, false) &&
                wait_ns(r, r->n_left > 0 && retry < next ? retry : next, true);
    }
    return NULL;
}

static struct gfsi_repair *repair_free(struct gfsi_repair *r)
{
    if (r->stop_fd >= 0) {
        (void)close(r->stop_fd);
    }
    if (r->mountinfo >= 0) {
        (void)close(r->mountinfo);
    }
    free(r);
    return NULL;
}

int gfsi_repair_start(struct gfsi_node *node, struct gfs_metrics *metrics, struct gfsi_repair **out,
                      struct gfs_err *err)
{
    struct gfsi_repair *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    r->node = node;
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (metrics != NULL) {
        r->repaired =
            gfs_metrics_get(metrics, GFS_METRIC_COUNTER, "fluid_csi_binds_repaired_total", "",
                            "Targets bound anew because the mount they showed had ended.");
        r->dead = gfs_metrics_get(metrics, GFS_METRIC_GAUGE, "fluid_csi_binds_dead", "",
                                  "Targets whose mount has ended and that could not be repaired.");
        r->swept = gfs_metrics_get(metrics, GFS_METRIC_COUNTER, "fluid_csi_orphans_swept_total", "",
                                   "Dead mounts that nobody knew, taken down.");
    }
    rc = r->stop_fd < 0 || r->mountinfo < 0 ? errno : pthread_create(&r->thread, NULL, run, r);
    if (rc != 0) {
        (void)repair_free(r);
        return gfs_err_set_errno(err, rc, "starting the repair of binds");
    }
    *out = r;
    return 0;
}

struct gfsi_repair *gfsi_repair_stop(struct gfsi_repair *r)
{
    uint64_t one = 1;

    if (r == NULL) {
        return NULL;
    }
    (void)!write(r->stop_fd, &one, sizeof(one));
    (void)pthread_join(r->thread, NULL);
    return repair_free(r);
}
