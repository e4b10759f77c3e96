#include "stats_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>

struct waiter {
    struct waiter *next;
    gfsi_stats_done done;
    void *arg;
};

/* The figures of one file system. */
struct figures {
    struct figures *next;
    struct gfsi_stats *stats;
    unsigned major, minor;
    bool asking; /* a probe is under way; it holds a pointer to this */
    bool known;
    int64_t taken_at;   /* of `last` */
    int64_t shun_until; /* not to be asked before */
    struct gfsi_stats_result last;
    struct waiter *waiters;
    unsigned n_waiters;
};

struct gfsi_stats {
    struct gfsi_node *node;
    pthread_mutex_t mutex;
    pthread_cond_t idle;     /* n_asking fell to 0 */
    struct figures *figures; /* last used first */
    unsigned n_figures;
    unsigned n_asking;
};

struct gfsi_stats *gfsi_stats_new(struct gfsi_node *node)
{
    struct gfsi_stats *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->node = node;
        (void)pthread_mutex_init(&s->mutex, NULL);
        (void)pthread_cond_init(&s->idle, NULL);
    }
    return s;
}

struct gfsi_stats *gfsi_stats_free(struct gfsi_stats *s)
{
    if (s == NULL) {
        return NULL;
    }
    (void)pthread_mutex_lock(&s->mutex);
    while (s->n_asking > 0) {
        (void)pthread_cond_wait(&s->idle, &s->mutex);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    while (s->figures != NULL) {
        struct figures *f = s->figures;

        s->figures = f->next;
        free(f);
    }
    (void)pthread_cond_destroy(&s->idle);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
    return NULL;
}

/* ---- where the volume's mount is ---- */

struct location {
    const char *root; /* trusted part of `path` */
    char path[GFSI_PATH_MAX + 1];
    unsigned major, minor;
};

/* Only what the journal knows is looked at: `path` itself is never followed before. */
static int locate(struct gfsi_stats *s, const char *id, const char *path, struct location *out,
                  struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *entry;
    struct gfsi_node *node = s->node;
    struct gfsi_volume volume;
    struct gfsi_use use;
    bool direct;
    int rc;

    if (gfsi_journal_find(node->journal, id, &volume) < 0) {
        return gfs_err_set(err, GFS_ENOENT, "the volume is not known on this node");
    }
    direct = gfsi_journal_find_use(node->journal, id, GFSI_PUBLISHED, path, &use) == 0;
    if (!direct && gfsi_journal_find_use(node->journal, id, GFSI_STAGED, path, NULL) < 0) {
        return gfs_err_set(err, GFS_ENOENT, "the volume is not at this path");
    }

    direct = direct && !use.symlink;
    out->root = direct ? node->rules.kubelet_root : node->rules.mount_root;
    (void)gfs_str_copy(out->path, sizeof(out->path), direct ? use.path : volume.fluid_path);
    rc = node->mounts.read(node->mounts.self, &table, err);
    if (rc == 0) {
        rc = gfsi_path_check_way(table, out->root, out->path, err);
    }
    if (rc < 0) {
        return rc;
    }
    entry = gfs_mounttable_find(table, out->path);
    if (entry == NULL) {
        return gfs_err_set(err, GFS_ENOENT, "nothing is mounted at %s", out->path);
    }
    out->major = entry->dev_major;
    out->minor = entry->dev_minor;
    return 0;
}

/* ---- the cache; the lock is held ---- */

static void make_room(struct gfsi_stats *s)
{
    struct figures **oldest = NULL;

    if (s->n_figures < GFSI_STATS_MOUNTS_MAX) {
        return;
    }
    for (struct figures **link = &s->figures; *link != NULL; link = &(*link)->next) {
        oldest = (*link)->asking ? oldest : link;
    }
    if (oldest != NULL) {
        struct figures *f = *oldest;

        *oldest = f->next;
        s->n_figures--;
        free(f);
    }
}

static struct figures *find_or_add(struct gfsi_stats *s, const struct location *where)
{
    struct figures *f = NULL;

    for (struct figures **link = &s->figures; *link != NULL; link = &(*link)->next) {
        if ((*link)->major == where->major && (*link)->minor == where->minor) {
            f = *link;
            *link = f->next;
            f->next = s->figures;
            s->figures = f;
            return f;
        }
    }

    make_room(s);
    if (s->n_figures >= GFSI_STATS_MOUNTS_MAX || (f = calloc(1, sizeof(*f))) == NULL) {
        return NULL;
    }
    f->stats = s;
    f->major = where->major;
    f->minor = where->minor;
    f->next = s->figures;
    s->figures = f;
    s->n_figures++;
    return f;
}

/* ---- asking ---- */

static int64_t to_i64(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static void fill(struct gfsi_stats_result *out, const struct gfsi_probe_result *r)
{
    *out = (struct gfsi_stats_result){
        .total = to_i64(r->total),
        .available = to_i64(r->available),
        .used = to_i64(r->total > r->free ? r->total - r->free : 0),
        .inodes = to_i64(r->inodes),
        .inodes_free = to_i64(r->inodes_free),
        .inodes_used = to_i64(r->inodes > r->inodes_free ? r->inodes - r->inodes_free : 0),
    };
}

static void answer(struct waiter *list, int code, const struct gfsi_stats_result *result,
                   const struct gfs_err *err)
{
    while (list != NULL) {
        struct waiter *w = list;

        list = w->next;
        w->done(w->arg, code, result, err);
        free(w);
    }
}

/* The prober's answer, or that there is none. */
static void probed(void *arg, const struct gfsi_probe_result *result)
{
    struct figures *f = arg;
    struct gfsi_stats *s = f->stats;
    struct gfsi_stats_result copy;
    struct gfs_err err = GFS_ERR_INIT;
    struct waiter *waiters;
    bool known;

    (void)pthread_mutex_lock(&s->mutex);
    f->asking = false;
    if (result->error == 0) {
        fill(&f->last, result);
        f->known = true;
        f->taken_at = gfs_clock_mono();
        f->shun_until = 0;
    } else {
        f->last.stale = true;
        f->shun_until = gfs_clock_mono() + GFSI_STATS_SHUN_NS;
    }
    waiters = GFS_TAKE_PTR(f->waiters);
    f->n_waiters = 0;
    known = f->known;
    copy = f->last;
    (void)pthread_mutex_unlock(&s->mutex);

    if (!known) {
        (void)gfs_err_set(&err, GFS_EUNAVAIL, "the mount does not answer: %s",
                          strerrordesc_np(result->error));
    }
    answer(waiters, known ? 0 : GFS_EUNAVAIL, &copy, &err);

    (void)pthread_mutex_lock(&s->mutex);
    s->n_asking--;
    if (s->n_asking == 0) {
        (void)pthread_cond_broadcast(&s->idle);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

static int start_probe(struct gfsi_stats *s, const struct location *where, struct figures *f,
                       struct gfs_err *err)
{
    struct gfsi_place place = GFSI_PLACE_INIT;
    int fd gfs_auto_fd = -1;
    int rc = gfsi_place_open(where->root, where->path, &place, err);

    if (rc == 0) {
        rc = gfsi_place_open_leaf(&place, &fd, err);
        gfsi_place_close(&place);
    }
    if (rc < 0) {
        return rc;
    }
    return gfsi_prober_statfs(s->node->prober, fd, GFSI_STATS_PROBE_NS, probed, f, err);
}

/* Decides under the lock. 1: *out has the answer; 0: the caller waits, and with *out_ask asks. */
static int join(struct gfsi_stats *s, const struct location *where, struct waiter **w,
                struct figures **out_figures, bool *out_ask, struct gfsi_stats_result *out,
                struct gfs_err *err)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&s->mutex);
    struct figures *f = find_or_add(s, where);
    int64_t now = gfs_clock_mono();

    if (f == NULL) {
        return gfs_err_set(err, GFS_EBUSY, "too many mounts are being asked");
    }
    if (f->known && !f->last.stale && now - f->taken_at < GFSI_STATS_FRESH_NS) {
        *out = f->last;
        return 1;
    }
    if (now < f->shun_until) {
        *out = f->last;
        return f->known ? 1 : gfs_err_set(err, GFS_EUNAVAIL, "the mount does not answer");
    }
    if (f->n_waiters >= GFSI_STATS_WAITERS_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "too many calls wait for this mount");
    }

    (*w)->next = f->waiters;
    f->waiters = GFS_TAKE_PTR(*w);
    f->n_waiters++;
    *out_ask = !f->asking;
    s->n_asking += f->asking ? 0 : 1;
    f->asking = true;
    *out_figures = f;
    return 0;
}

void gfsi_stats_get(struct gfsi_stats *s, const char *id, const char *path, gfsi_stats_done done,
                    void *arg)
{
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_stats_result result;
    struct location where;
    struct figures *f = NULL;
    struct waiter *w gfs_auto_free = NULL;
    bool ask = false;
    int rc = locate(s, id, path, &where, &err);

    if (rc == 0 && (w = calloc(1, sizeof(*w))) == NULL) {
        rc = gfs_err_set(&err, GFS_ENOMEM, "out of memory");
    }
    if (rc == 0) {
        *w = (struct waiter){.done = done, .arg = arg};
        rc = join(s, &where, &w, &f, &ask, &result, &err);
    }
    if (rc != 0) {
        done(arg, rc < 0 ? rc : 0, &result, &err);
        return;
    }

    /* From here on this caller is one of the waiters and is answered with them. */
    if (ask) {
        rc = start_probe(s, &where, f, &err);
        if (rc < 0) {
            struct gfsi_probe_result none = {.error = gfs_err_to_errno(rc), .fd = -1};

            probed(f, &none);
        }
    }
}
