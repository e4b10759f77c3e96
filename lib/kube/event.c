#include <gfs/kube/event.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/str.h>
#include <gfs/kube/resources.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME_EVENT_NS (600 * GFS_NS_PER_S)
#define MESSAGE_MAX   1024 /* the API server refuses longer ones */
#define NAME_MAX_     256

struct seen {
    uint64_t hash; /* of object, type, reason and message; 0: free */
    int64_t at;
    int64_t count;
    char ns[64];
    char name[NAME_MAX_]; /* of the Event object */
};

struct gfs_kube_recorder {
    struct gfs_kube_client *client;
    char *component;
    pthread_mutex_t mutex; /* seen, sequence */
    struct seen seen[GFS_KUBE_EVENTS_REMEMBERED];
    uint64_t sequence;
};

struct gfs_kube_recorder *gfs_kube_recorder_new(struct gfs_kube_client *client,
                                                const char *component)
{
    struct gfs_kube_recorder *r = calloc(1, sizeof *r);
    if (r == NULL || (r->component = strdup(component)) == NULL) {
        free(r);
        return NULL;
    }
    (void)pthread_mutex_init(&r->mutex, NULL);
    r->client = client;
    return r;
}

struct gfs_kube_recorder *gfs_kube_recorder_free(struct gfs_kube_recorder *r)
{
    if (r != NULL) {
        (void)pthread_mutex_destroy(&r->mutex);
        free(r->component);
        free(r);
    }
    return NULL;
}

static uint64_t mix(uint64_t h, const char *s)
{
    for (; *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    }
    return (h ^ 0x1f) * UINT64_C(0x100000001b3);
}

/* The slot of this event, or the least recent one, emptied. */
static struct seen *slot_of(struct gfs_kube_recorder *r, uint64_t hash, int64_t now)
{
    struct seen *oldest = &r->seen[0];
    for (size_t i = 0; i < GFS_KUBE_EVENTS_REMEMBERED; i++) {
        struct seen *s = &r->seen[i];
        if (s->hash == hash && now - s->at < SAME_EVENT_NS) {
            return s;
        }
        if (s->at < oldest->at) {
            oldest = s;
        }
    }
    *oldest = (struct seen){0};
    return oldest;
}

static json_t *make_event(const struct gfs_kube_recorder *r, const struct seen *s,
                          const json_t *object, const char *type, const char *reason,
                          const char *message, const char *now)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *api = json_string_value(json_object_get(object, "apiVersion"));
    return json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:I, "
        "s:{s:s}}",
        "apiVersion", "v1", "kind", "Event", "metadata", "name", s->name, "namespace", s->ns,
        "involvedObject", "kind", kind != NULL ? kind : "", "apiVersion", api != NULL ? api : "",
        "name", gfs_kube_name(object), "namespace", gfs_kube_namespace(object), "uid",
        gfs_kube_uid(object), "type", type, "reason", reason, "message", message, "firstTimestamp",
        now, "lastTimestamp", now, "count", (json_int_t)1, "source", "component", r->component);
}

static int send_again(struct gfs_kube_recorder *r, const struct seen *s, const char *now,
                      struct gfs_err *err)
{
    json_t *patch = json_pack("{s:I, s:s}", "count", (json_int_t)s->count, "lastTimestamp", now);
    int rc = patch == NULL ? GFS_ENOMEM
                           : gfs_kube_merge_patch(r->client, &gfs_kube_events, s->ns, s->name, NULL,
                                                  patch, NULL, err);
    json_decref(patch);
    return rc;
}

int gfs_kube_recorder_event(struct gfs_kube_recorder *r, const json_t *object, const char *type,
                            const char *reason, const char *message, struct gfs_err *err)
{
    char text[MESSAGE_MAX];
    (void)snprintf(text, sizeof text, "%s", message);
    char now_text[32];
    (void)gfs_clock_format_rfc3339(gfs_clock_wall_ms(), now_text, sizeof now_text);
    const char *ns = gfs_kube_namespace(object)[0] != '\0' ? gfs_kube_namespace(object) : "default";

    uint64_t hash = mix(mix(UINT64_C(0xcbf29ce484222325), gfs_kube_uid(object)), ns);
    hash = mix(mix(mix(mix(hash, gfs_kube_name(object)), type), reason), text) | 1;

    (void)pthread_mutex_lock(&r->mutex);
    int64_t now = gfs_clock_mono();
    struct seen *slot = slot_of(r, hash, now);
    bool again = slot->hash == hash;
    if (!again) {
        slot->hash = hash;
        (void)gfs_str_copy(slot->ns, sizeof slot->ns, ns);
        (void)snprintf(slot->name, sizeof slot->name, "%.200s.%" PRIx64 "%" PRIx64,
                       gfs_kube_name(object), (uint64_t)gfs_clock_wall_ms(), ++r->sequence);
    }
    slot->at = now;
    slot->count++;
    struct seen copy = *slot;
    (void)pthread_mutex_unlock(&r->mutex);

    int rc = again ? send_again(r, &copy, now_text, err) : GFS_ENOENT;
    if (rc == GFS_ENOENT) { /* new, or the server has let the old one expire */
        json_t *event = make_event(r, &copy, object, type, reason, text, now_text);
        rc = event == NULL ? gfs_err_set(err, GFS_ENOMEM, "out of memory")
                           : gfs_kube_create(r->client, &gfs_kube_events, ns, event, NULL, err);
        json_decref(event);
    }
    return rc;
}
