#include <gfs/kube/informer.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_MAX     512
#define VERSION_MAX 64
#define RETRY_BASE  (100 * GFS_NS_PER_MS)
#define RETRY_MAX   (10 * GFS_NS_PER_S)

struct gfs_kube_informer {
    struct gfs_kube_client *client;
    const struct gfs_kube_resource *resource;
    struct gfs_kube_selector selector; /* texts owned */
    gfs_kube_change_fn change;
    void *arg;
    gfs_kube_trim_fn trim; /* may be NULL */

    pthread_mutex_t mutex; /* everything below */
    pthread_cond_t cond;
    json_t *objects; /* "ns/name" -> its JSON as a text: a tenth of what a tree of values takes */
    bool synced;
    bool stopping;
    size_t lists;

    pthread_t thread;
    bool running;
    char version[VERSION_MAX]; /* the thread's own: where the next watch begins */
};

static void key_of(const json_t *object, char *out)
{
    (void)snprintf(out, KEY_MAX, "%s/%s", gfs_kube_namespace(object), gfs_kube_name(object));
}

static char *dup_or_null(const char *s)
{
    return s == NULL ? NULL : strdup(s);
}

int gfs_kube_informer_new(struct gfs_kube_client *client, const struct gfs_kube_resource *resource,
                          const struct gfs_kube_selector *selector, gfs_kube_change_fn change,
                          void *arg, struct gfs_kube_informer **out, struct gfs_err *err)
{
    struct gfs_kube_informer *inf = calloc(1, sizeof *inf);
    if (inf == NULL || (inf->objects = json_object()) == NULL) {
        free(inf);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    inf->client = client;
    inf->resource = resource;
    inf->change = change;
    inf->arg = arg;
    if (selector != NULL) {
        inf->selector.ns = dup_or_null(selector->ns);
        inf->selector.labels = dup_or_null(selector->labels);
        inf->selector.fields = dup_or_null(selector->fields);
    }
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&inf->cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&inf->mutex, NULL);
    *out = inf;
    return GFS_OK;
}

struct gfs_kube_informer *gfs_kube_informer_free(struct gfs_kube_informer *inf)
{
    if (inf == NULL) {
        return NULL;
    }
    gfs_kube_informer_stop(inf);
    json_decref(inf->objects);
    free((char *)(uintptr_t)inf->selector.ns);
    free((char *)(uintptr_t)inf->selector.labels);
    free((char *)(uintptr_t)inf->selector.fields);
    (void)pthread_cond_destroy(&inf->cond);
    (void)pthread_mutex_destroy(&inf->mutex);
    free(inf);
    return NULL;
}

static json_t *packed(const json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    json_t *out = text != NULL ? json_string_nocheck(text) : NULL;
    free(text);
    return out;
}

static json_t *unpacked(const json_t *text)
{
    return text == NULL ? NULL
                        : json_loadb(json_string_value(text), json_string_length(text), 0, NULL);
}

/* Pages of a list are ten times what is kept of them. Not below a sanitizer's allocator: glibc's
 * own is not set up then, and threads that do so at the same time crash. */
static void give_pages_back(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    (void)malloc_trim(0);
#endif
}

/* Puts `now` (taken; NULL: removes) under its key and returns what was there. */
static json_t *swap(struct gfs_kube_informer *inf, const char *key, json_t *now)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    json_t *before = json_incref(json_object_get(inf->objects, key));
    if (now == NULL) {
        (void)json_object_del(inf->objects, key);
    } else {
        (void)json_object_set_new(inf->objects, key, now);
    }
    return before;
}

static void tell(struct gfs_kube_informer *inf, json_t *before, json_t *now)
{
    bool same = before != NULL && now != NULL && gfs_kube_version(now)[0] != '\0' &&
                strcmp(gfs_kube_version(before), gfs_kube_version(now)) == 0;
    if (!same && (before != NULL || now != NULL)) {
        inf->change(inf->arg, before, now);
    }
}

void gfs_kube_informer_set_trim(struct gfs_kube_informer *inf, gfs_kube_trim_fn trim)
{
    inf->trim = trim;
}

static json_t *trimmed(const struct gfs_kube_informer *inf, json_t *object)
{
    json_t *kept = inf->trim != NULL ? inf->trim(object) : NULL;
    return kept != NULL ? kept : json_incref(object);
}

/* ---- list ---- */

struct listing {
    const struct gfs_kube_informer *inf;
    json_t *fresh;
};

static int collect(void *arg, json_t *object)
{
    const struct listing *l = arg;
    char key[KEY_MAX];
    if (json_object_size(l->fresh) == GFS_KUBE_OBJECTS_MAX) {
        return GFS_ERANGE;
    }
    key_of(object, key);
    json_t *kept = trimmed(l->inf, object);
    int rc = json_object_set_new(l->fresh, key, packed(kept)) == 0 ? GFS_OK : GFS_ENOMEM;
    json_decref(kept);
    return rc;
}

static void tell_change(struct gfs_kube_informer *inf, const json_t *old, const json_t *new)
{
    if (old != NULL && new != NULL && json_equal(old, new)) {
        return;
    }
    json_t *before = unpacked(old);
    json_t *now = unpacked(new);
    tell(inf, before, now);
    json_decref(before);
    json_decref(now);
}

/* Replaces the copy and reports the differences: what a watch would have shown meanwhile. Only this
 * thread changes the copy, so walking it without the lock is safe. */
static void replace(struct gfs_kube_informer *inf, json_t *fresh)
{
    (void)pthread_mutex_lock(&inf->mutex);
    json_t *old = inf->objects;
    inf->objects = json_incref(fresh);
    (void)pthread_mutex_unlock(&inf->mutex);

    const char *key = NULL;
    json_t *text = NULL;
    json_object_foreach(fresh, key, text)
    {
        tell_change(inf, json_object_get(old, key), text);
    }
    json_object_foreach(old, key, text)
    {
        if (json_object_get(fresh, key) == NULL) {
            tell_change(inf, text, NULL);
        }
    }
    json_decref(old);
}

static int list(struct gfs_kube_informer *inf, struct gfs_err *err)
{
    json_t *fresh = json_object();
    if (fresh == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    struct listing listing = {.inf = inf, .fresh = fresh};
    int rc = gfs_kube_list(inf->client, inf->resource, &inf->selector, collect, &listing,
                           inf->version, sizeof inf->version, err);
    if (rc == GFS_ERANGE && err->text[0] == '\0') {
        rc = gfs_err_set(err, rc, "more than %d %s", GFS_KUBE_OBJECTS_MAX, inf->resource->plural);
    }
    if (rc == GFS_OK) {
        (void)pthread_mutex_lock(&inf->mutex);
        inf->lists++; /* before its differences are told: who was told may ask */
        (void)pthread_mutex_unlock(&inf->mutex);
        replace(inf, fresh);
        pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
        (void)guard;
        inf->synced = true;
        (void)pthread_cond_broadcast(&inf->cond);
    }
    json_decref(fresh);
    give_pages_back();
    return rc;
}

/* ---- watch ---- */

static bool stopping(struct gfs_kube_informer *inf)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    return inf->stopping;
}

/* No room for an object that is not known yet. */
static bool full(struct gfs_kube_informer *inf, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    return json_object_size(inf->objects) >= GFS_KUBE_OBJECTS_MAX &&
           json_object_get(inf->objects, key) == NULL;
}

static int on_event(void *arg, const char *type, json_t *object)
{
    struct gfs_kube_informer *inf = arg;
    (void)gfs_str_copy(inf->version, sizeof inf->version, gfs_kube_version(object));
    if (stopping(inf)) {
        return GFS_ECANCELLED;
    }
    if (strcmp(type, "BOOKMARK") == 0) {
        return 0;
    }

    char key[KEY_MAX];
    key_of(object, key);
    bool gone = strcmp(type, "DELETED") == 0;
    if (!gone && full(inf, key)) {
        return GFS_ERANGE;
    }
    json_t *now = gone ? NULL : trimmed(inf, object);
    json_t *text = gone ? NULL : packed(now);
    if (!gone && text == NULL) {
        json_decref(now);
        return GFS_ENOMEM;
    }
    json_t *old = swap(inf, key, text);
    json_t *before = unpacked(old);
    tell(inf, before, now);
    json_decref(before);
    json_decref(old);
    json_decref(now);
    return 0;
}

/* List, then watch from there again and again; back to the list when the server says so. */
static int follow(struct gfs_kube_informer *inf, struct gfs_backoff *backoff, struct gfs_err *err)
{
    int rc = list(inf, err);
    while (rc == GFS_OK && !stopping(inf)) {
        gfs_backoff_reset(backoff);
        rc = gfs_kube_watch(inf->client, inf->resource, &inf->selector, inf->version, on_event, inf,
                            err);
        if (rc == GFS_EUNAVAIL || rc == GFS_ETIMEOUT) {
            /* The connection broke; what we have is still good, so resume, do not list. */
            rc = GFS_OK;
            gfs_clock_sleep_until(gfs_clock_mono() + gfs_backoff_next(backoff));
        }
    }
    return rc;
}

static void pause_for(struct gfs_kube_informer *inf, int64_t ns)
{
    int64_t due = gfs_clock_mono() + ns;
    struct timespec ts = {.tv_sec = due / GFS_NS_PER_S, .tv_nsec = due % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    while (!inf->stopping && pthread_cond_timedwait(&inf->cond, &inf->mutex, &ts) != ETIMEDOUT) {
    }
}

static void *run(void *arg)
{
    struct gfs_kube_informer *inf = arg;
    struct gfs_backoff backoff;
    gfs_backoff_init(&backoff, RETRY_BASE, RETRY_MAX, (uint64_t)(uintptr_t)inf);
    while (!stopping(inf)) {
        struct gfs_err err = GFS_ERR_INIT;
        int rc = follow(inf, &backoff, &err);
        if (rc < 0 && !stopping(inf)) {
            gfs_debug("kube", "list or watch ended", "kind=%s error=%s", inf->resource->kind,
                      GFS_Q(gfs_err_text(&err, rc)));
            pause_for(inf, rc == GFS_ECHANGED ? 0 : gfs_backoff_next(&backoff));
        }
    }
    return NULL;
}

int gfs_kube_informer_start(struct gfs_kube_informer *inf, struct gfs_err *err)
{
    int errnum = pthread_create(&inf->thread, NULL, run, inf);
    if (errnum != 0) {
        return gfs_err_set_errno(err, errnum, "can't start a thread");
    }
    inf->running = true;
    return GFS_OK;
}

void gfs_kube_informer_stop(struct gfs_kube_informer *inf)
{
    (void)pthread_mutex_lock(&inf->mutex);
    inf->stopping = true;
    (void)pthread_cond_broadcast(&inf->cond);
    (void)pthread_mutex_unlock(&inf->mutex);
    if (inf->running) {
        (void)pthread_join(inf->thread, NULL);
        inf->running = false;
    }
}

bool gfs_kube_informer_wait_synced(struct gfs_kube_informer *inf, int64_t deadline)
{
    struct timespec ts = {.tv_sec = deadline / GFS_NS_PER_S, .tv_nsec = deadline % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    while (!inf->synced && !inf->stopping) {
        if (pthread_cond_timedwait(&inf->cond, &inf->mutex, &ts) == ETIMEDOUT) {
            break;
        }
    }
    return inf->synced;
}

json_t *gfs_kube_informer_get(struct gfs_kube_informer *inf, const char *ns, const char *name)
{
    char key[KEY_MAX];
    int k = snprintf(key, sizeof key, "%s/%s", ns, name);
    if (k < 0 || (size_t)k >= sizeof key) {
        return NULL;
    }
    (void)pthread_mutex_lock(&inf->mutex);
    json_t *text = json_incref(json_object_get(inf->objects, key));
    (void)pthread_mutex_unlock(&inf->mutex);
    json_t *object = unpacked(text);
    json_decref(text);
    return object;
}

size_t gfs_kube_informer_count(struct gfs_kube_informer *inf)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    return json_object_size(inf->objects);
}

void gfs_kube_informer_each(struct gfs_kube_informer *inf, bool (*each)(void *arg, json_t *object),
                            void *arg)
{
    gfs_kube_informer_each_with(inf, "", each, arg);
}

void gfs_kube_informer_each_with(struct gfs_kube_informer *inf, const char *with,
                                 bool (*each)(void *arg, json_t *object), void *arg)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    const char *key = NULL;
    json_t *text = NULL;
    bool more = true;
    json_object_foreach(inf->objects, key, text)
    {
        if (memmem(json_string_value(text), json_string_length(text), with, strlen(with)) == NULL) {
            continue;
        }
        json_t *object = unpacked(text);
        more = object == NULL || each(arg, object);
        json_decref(object);
        if (!more) {
            break;
        }
    }
}

size_t gfs_kube_informer_lists(struct gfs_kube_informer *inf)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&inf->mutex);
    (void)guard;
    return inf->lists;
}
