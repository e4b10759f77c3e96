/* Directories of the web UFS: one GET of the index page, then HEADs, some at a time, for the files
 * whose row did not tell the exact size. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>

#include "web_priv.h"

#define HEAD_STACK_SIZE (512 * 1024)
#define HEADS_MAX       64 /* threads of one listing, whatever the limits say */

struct fetch {
    struct gfsi_web *web;
    const char *url;
    struct gfs_ufs_listing *out;
    struct gfsi_web_index *index;
    uint64_t bytes;
};

static int index_headers(void *arg, const struct gfsi_web_answer *answer, struct gfs_err *err)
{
    struct fetch *f = arg;

    if (!answer->html) {
        return gfs_err_set(err, GFS_ENOTDIR, "%s is not a directory index: its type is '%s'",
                           f->url,
                           answer->content_type[0] != '\0' ? answer->content_type : "unknown");
    }

    struct gfsi_web_index_options options = {
        .titles = f->web->titles,
        .parent_names = f->web->parent_names,
        .max_entries = f->web->limits.entries,
    };
    int rc = gfsi_web_index_new(answer->url, &options, f->out, &f->index);

    if (rc < 0) {
        return gfs_err_set(err, rc, "%s: cannot parse the index page: %s", f->url,
                           gfs_err_string(rc));
    }
    return 0;
}

static int index_error(const struct fetch *f, int rc, struct gfs_err *err)
{
    switch (rc) {
    case GFS_ERANGE:
        return gfs_err_set(err, rc, "%s has more than %" PRIu32 " entries", f->url,
                           f->web->limits.entries);
    case GFS_ENOTDIR: return gfs_err_set(err, rc, "%s is not a directory index", f->url);
    default:
        return gfs_err_set(err, rc, "%s: cannot parse the index page: %s", f->url,
                           gfs_err_string(rc));
    }
}

static int index_body(void *arg, const char *data, size_t len, struct gfs_err *err)
{
    struct fetch *f = arg;

    f->bytes += len;
    if (f->bytes > f->web->limits.index_bytes) {
        return gfs_err_set(err, GFS_ERANGE, "%s: the index page is larger than %" PRIu64 " bytes",
                           f->url, f->web->limits.index_bytes);
    }

    int rc = gfsi_web_index_feed(f->index, data, len);

    return rc < 0 ? index_error(f, rc, err) : 0;
}

int gfsi_web_fetch_index(struct gfsi_web *web, const char *path, struct gfs_ufs_listing *out,
                         struct gfs_err *err)
{
    char *url gfs_auto_free = NULL;
    int rc = gfsi_web_url(web, path, true, &url, err);

    if (rc < 0) {
        return rc;
    }

    struct fetch f = {.web = web, .url = url, .out = out};
    struct gfsi_web_request request = {
        .url = url,
        .display = url,
        .timeout_ns = web->limits.metadata_timeout_ns,
        .on_headers = index_headers,
        .on_body = index_body,
        .arg = &f,
    };

    rc = gfsi_web_client_perform(web->client, &request, NULL, err);
    if (rc == 0) {
        rc = gfsi_web_index_finish(f.index);
        if (rc < 0) {
            (void)index_error(&f, rc, err);
        }
    }
    gfsi_web_index_free(f.index);
    return rc;
}

/* ---- HEADs ---------------------------------------------------------------------------------- */

struct heads {
    struct gfsi_web *web;
    const char *path;
    struct gfs_ufs_listing *listing;
    const size_t *wanted;
    size_t n_wanted;
    atomic_size_t next;
    atomic_int error; /* the first one that makes the listing useless */
    pthread_mutex_t mutex;
    struct gfs_err *err;
};

/* An error of one file leaves it with size_known = false, or drops it when it is gone; one of the
 * server ends the listing. */
static int head_entry(struct heads *h, size_t i, struct gfs_err *err)
{
    struct gfs_ufs_entry *entry = gfsi_listing_mutable(h->listing, i);
    struct gfs_ufs_stat st;
    char path[GFS_UFS_PATH_MAX];
    int n = h->path[0] == '\0' ? snprintf(path, sizeof(path), "%s", entry->name)
                               : snprintf(path, sizeof(path), "%s/%s", h->path, entry->name);

    if (n < 0 || (size_t)n >= sizeof(path)) {
        return 0;
    }

    int rc = gfsi_web_stat(h->web, path, &st, err);

    switch (rc) {
    case 0: entry->stat = st; return 0;
    case GFS_ENOENT: entry->stat.type = (enum gfs_ufs_type)0; return 0;
    case GFS_EPERM:
    case GFS_EUNAUTH:
    case GFS_EUNSUPPORTED:
    case GFS_EPROTO: return 0;
    default: return rc;
    }
}

static void *head_thread(void *arg)
{
    struct heads *h = arg;

    while (atomic_load(&h->error) == 0) {
        size_t next = atomic_fetch_add(&h->next, 1);
        struct gfs_err err = GFS_ERR_INIT;

        if (next >= h->n_wanted) {
            break;
        }

        int rc = head_entry(h, h->wanted[next], &err);

        if (rc < 0) {
            pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&h->mutex);

            (void)guard;
            if (atomic_load(&h->error) == 0) {
                atomic_store(&h->error, rc);
                if (h->err != NULL) {
                    *h->err = err;
                }
            }
        }
    }
    return NULL;
}

/* The calling thread works too, so that a thread that cannot be made costs time only. */
static int run_heads(struct heads *h)
{
    pthread_t threads[HEADS_MAX];
    pthread_attr_t attr;
    uint32_t wanted = h->web->limits.parallel_heads;
    size_t n = 0;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, HEAD_STACK_SIZE);
    while (n + 1 < wanted && n + 1 < h->n_wanted && n < HEADS_MAX &&
           pthread_create(&threads[n], &attr, head_thread, h) == 0) {
        n++;
    }
    (void)pthread_attr_destroy(&attr);
    (void)head_thread(h);
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return atomic_load(&h->error);
}

int gfsi_web_list(void *impl, const char *path, struct gfs_ufs_listing *out, struct gfs_err *err)
{
    struct gfsi_web *web = impl;
    int rc = gfsi_web_fetch_index(web, path, out, err);

    if (rc < 0) {
        return rc;
    }
    gfsi_listing_finish(out); /* duplicates must not cost a HEAD each */

    size_t count = gfs_ufs_listing_count(out);
    size_t *wanted gfs_auto_free = calloc(count + 1, sizeof(*wanted));
    struct heads h = {.web = web, .path = path, .listing = out, .wanted = wanted, .err = err};

    if (wanted == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct gfs_ufs_entry *entry = gfsi_listing_mutable(out, i);

        if (entry->stat.type != GFS_UFS_FILE) {
            continue;
        }
        if (!entry->stat.size_known) {
            wanted[h.n_wanted++] = i;
            continue;
        }
        gfsi_web_version_row(&entry->stat);
    }
    if (h.n_wanted > 0) {
        (void)pthread_mutex_init(&h.mutex, NULL);
        rc = run_heads(&h);
        (void)pthread_mutex_destroy(&h.mutex);
        gfsi_listing_compact(out);
    }
    return rc;
}
