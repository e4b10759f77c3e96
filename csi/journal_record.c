#include "journal_record_priv.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/str.h>

static const char *const kind_names[] = {
    [GFSI_STAGED] = "staged",
    [GFSI_PUBLISHED] = "published",
};

static void drop_json(json_t **json)
{
    json_decref(*json);
}

#define auto_json __attribute__((cleanup(drop_json)))

struct gfsi_record_use *gfsi_record_use_free(struct gfsi_record_use *use)
{
    if (use != NULL) {
        free(use->path);
        free(use);
    }
    return NULL;
}

struct gfsi_record *gfsi_record_free(struct gfsi_record *record)
{
    if (record == NULL) {
        return NULL;
    }
    for (int kind = GFSI_STAGED; kind <= GFSI_PUBLISHED; kind++) {
        while (record->uses[kind] != NULL) {
            struct gfsi_record_use *use = record->uses[kind];

            record->uses[kind] = use->next;
            (void)gfsi_record_use_free(use);
        }
    }
    free(record->id);
    free(record->fluid_path);
    free(record->sub_path);
    free(record->mount_type);
    free(record->label_key);
    free(record);
    return NULL;
}

struct gfsi_record_use *gfsi_record_use_new(const struct gfsi_use *use)
{
    struct gfsi_record_use *made = calloc(1, sizeof(*made));

    if (made == NULL || (made->path = strdup(use->path)) == NULL) {
        return gfsi_record_use_free(made);
    }
    memcpy(made->digest, use->digest, sizeof(made->digest));
    memcpy(made->capability, use->capability, sizeof(made->capability));
    made->access_mode = use->access_mode;
    made->read_only = use->read_only;
    made->symlink = use->symlink;
    return made;
}

struct gfsi_record *gfsi_record_new(const struct gfsi_volume *volume)
{
    struct gfsi_record *made = calloc(1, sizeof(*made));

    if (made == NULL || (made->id = strdup(volume->id)) == NULL ||
        (made->fluid_path = strdup(volume->fluid_path)) == NULL ||
        (made->sub_path = strdup(volume->sub_path)) == NULL ||
        (made->mount_type = strdup(volume->mount_type)) == NULL ||
        (made->label_key = strdup(volume->label_key)) == NULL) {
        return gfsi_record_free(made);
    }
    made->clean_policy = volume->clean_policy;
    return made;
}

/* ---- uses ---- */

struct gfsi_record_use *gfsi_record_find_use(struct gfsi_record *r, enum gfsi_use_kind kind,
                                             const char *path)
{
    struct gfsi_record_use *use = r->uses[kind];

    while (use != NULL && strcmp(use->path, path) != 0) {
        use = use->next;
    }
    return use;
}

struct gfsi_record_use *gfsi_record_link_use(struct gfsi_record *r, enum gfsi_use_kind kind,
                                             struct gfsi_record_use *use)
{
    struct gfsi_record_use **link;

    use->next = r->uses[kind];
    r->uses[kind] = use;
    r->n_uses[kind]++;
    for (link = &use->next; *link != NULL; link = &(*link)->next) {
        if (strcmp((*link)->path, use->path) == 0) {
            struct gfsi_record_use *old = *link;

            *link = old->next;
            old->next = NULL;
            r->n_uses[kind]--;
            return old;
        }
    }
    return NULL;
}

struct gfsi_record_use *gfsi_record_unlink_use(struct gfsi_record *r, enum gfsi_use_kind kind,
                                               const char *path)
{
    for (struct gfsi_record_use **link = &r->uses[kind]; *link != NULL; link = &(*link)->next) {
        if (strcmp((*link)->path, path) == 0) {
            struct gfsi_record_use *use = *link;

            *link = use->next;
            use->next = NULL;
            r->n_uses[kind]--;
            return use;
        }
    }
    return NULL;
}

bool gfsi_record_is_known(struct gfsi_record *r, const struct gfsi_record *volume,
                          enum gfsi_use_kind kind, const struct gfsi_record_use *use)
{
    const struct gfsi_record_use *old = gfsi_record_find_use(r, kind, use->path);

    return old != NULL && strcmp(old->digest, use->digest) == 0 &&
           strcmp(old->capability, use->capability) == 0 && old->read_only == use->read_only &&
           old->symlink == use->symlink && old->access_mode == use->access_mode &&
           strcmp(r->fluid_path, volume->fluid_path) == 0 &&
           strcmp(r->sub_path, volume->sub_path) == 0 &&
           strcmp(r->mount_type, volume->mount_type) == 0 &&
           strcmp(r->label_key, volume->label_key) == 0 && r->clean_policy == volume->clean_policy;
}

void gfsi_record_copy_use(const struct gfsi_record_use *from, struct gfsi_use *to)
{
    (void)gfs_str_copy(to->path, sizeof(to->path), from->path);
    memcpy(to->digest, from->digest, sizeof(to->digest));
    memcpy(to->capability, from->capability, sizeof(to->capability));
    to->access_mode = from->access_mode;
    to->read_only = from->read_only;
    to->symlink = from->symlink;
}

void gfsi_record_copy_volume(const struct gfsi_record *from, struct gfsi_volume *to)
{
    (void)gfs_str_copy(to->id, sizeof(to->id), from->id);
    (void)gfs_str_copy(to->fluid_path, sizeof(to->fluid_path), from->fluid_path);
    (void)gfs_str_copy(to->sub_path, sizeof(to->sub_path), from->sub_path);
    (void)gfs_str_copy(to->mount_type, sizeof(to->mount_type), from->mount_type);
    (void)gfs_str_copy(to->label_key, sizeof(to->label_key), from->label_key);
    to->clean_policy = from->clean_policy;
}

/* ---- encode ---- */

static json_t *encode_uses(const struct gfsi_record_use *use)
{
    json_t *array = json_array();

    for (; use != NULL; use = use->next) {
        json_t *item =
            json_pack("{s:s, s:s, s:s, s:i, s:b, s:b}", "path", use->path, "digest", use->digest,
                      "capability", use->capability, "access_mode", use->access_mode, "read_only",
                      (int)use->read_only, "symlink", (int)use->symlink);

        if (array == NULL || item == NULL || json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

char *gfsi_record_encode(const struct gfsi_record *r, const char *boot_id)
{
    json_t *root auto_json =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", GFSI_JOURNAL_VERSION,
                  "boot_id", boot_id, "volume_id", r->id, "fluid_path", r->fluid_path, "sub_path",
                  r->sub_path, "mount_type", r->mount_type, "label", r->label_key, "clean_policy",
                  gfsi_clean_policy_name(r->clean_policy));

    for (int kind = GFSI_STAGED; kind <= GFSI_PUBLISHED && root != NULL; kind++) {
        json_t *uses = encode_uses(r->uses[kind]);

        if (uses == NULL || json_object_set_new(root, kind_names[kind], uses) < 0) {
            return NULL;
        }
    }
    return root != NULL ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
}

/* ---- decode ---- */

/* Copies member `key` of `object` when it is a text that fits. */
static bool get_text(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL && gfs_str_copy(out, size, text) == 0;
}

static bool decode_use(const json_t *item, struct gfsi_use *use)
{
    const json_t *mode = json_object_get(item, "access_mode");

    memset(use, 0, sizeof(*use));
    if (!get_text(item, "path", use->path, sizeof(use->path)) ||
        !get_text(item, "digest", use->digest, sizeof(use->digest)) ||
        !get_text(item, "capability", use->capability, sizeof(use->capability)) ||
        !json_is_integer(mode) || use->path[0] != '/') {
        return false;
    }
    use->access_mode = (int)json_integer_value(mode);
    use->read_only = json_is_true(json_object_get(item, "read_only"));
    use->symlink = json_is_true(json_object_get(item, "symlink"));
    return true;
}

static bool decode_uses(const json_t *root, int kind, struct gfsi_record *record)
{
    const json_t *array = json_object_get(root, kind_names[kind]);
    struct gfsi_use *use gfs_auto_free = malloc(sizeof(*use));

    if (use == NULL || !json_is_array(array) || json_array_size(array) > GFSI_JOURNAL_USES_MAX) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct gfsi_record_use *made;

        if (!decode_use(json_array_get(array, i), use) ||
            (made = gfsi_record_use_new(use)) == NULL) {
            return false;
        }
        made->next = record->uses[kind];
        record->uses[kind] = made;
        record->n_uses[kind]++;
    }
    return true;
}

static bool decode_volume(const json_t *root, struct gfsi_volume *v)
{
    char policy[32];

    memset(v, 0, sizeof(*v));
    if (!get_text(root, "volume_id", v->id, sizeof(v->id)) || v->id[0] == '\0' ||
        !get_text(root, "fluid_path", v->fluid_path, sizeof(v->fluid_path)) ||
        !get_text(root, "sub_path", v->sub_path, sizeof(v->sub_path)) ||
        !get_text(root, "mount_type", v->mount_type, sizeof(v->mount_type)) ||
        !get_text(root, "label", v->label_key, sizeof(v->label_key)) ||
        !get_text(root, "clean_policy", policy, sizeof(policy)) ||
        gfsi_clean_policy_parse(policy, &v->clean_policy) < 0) {
        return false;
    }
    return true;
}

int gfsi_record_decode(const char *text, size_t len, const char *boot_id, struct gfsi_record **out,
                       struct gfs_err *err)
{
    json_error_t where;
    json_t *root auto_json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    struct gfsi_volume *volume gfs_auto_free = malloc(sizeof(*volume));
    const char *boot;
    struct gfsi_record *record;

    if (volume == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    if (root == NULL) {
        return gfs_err_set(err, GFS_ECORRUPT, "line %d: not JSON", where.line);
    }
    boot = json_string_value(json_object_get(root, "boot_id"));
    if (boot == NULL) {
        return gfs_err_set(err, GFS_ECORRUPT, "no boot_id");
    }
    if (strcmp(boot, boot_id) != 0 ||
        json_integer_value(json_object_get(root, "version")) != GFSI_JOURNAL_VERSION) {
        return gfs_err_set(err, GFS_ECHANGED, "of another boot or version");
    }
    if (!decode_volume(root, volume)) {
        return gfs_err_set(err, GFS_ECORRUPT, "a member is missing or of the wrong form");
    }

    record = gfsi_record_new(volume);
    if (record == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    for (int kind = GFSI_STAGED; kind <= GFSI_PUBLISHED; kind++) {
        if (!decode_uses(root, kind, record)) {
            (void)gfsi_record_free(record);
            return gfs_err_set(err, GFS_ECORRUPT, "\"%s\" is not a list of uses", kind_names[kind]);
        }
    }
    *out = record;
    return 0;
}
