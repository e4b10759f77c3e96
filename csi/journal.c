#include "journal_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "journal_record_priv.h"

#define FILE_NAME_SIZE (GFSI_DIGEST_SIZE + sizeof(".json"))

struct gfsi_journal {
    char *directory;
    char boot_id[GFSI_BOOT_ID_SIZE];

    pthread_mutex_t mutex; /* guards all below; never held while writing a file */
    struct gfsi_record *records;
    unsigned n_records, loaded, discarded;
};

static void file_name(const char *id, char out[FILE_NAME_SIZE])
{
    struct gfsi_digest d;
    char hex[GFSI_DIGEST_SIZE];

    gfsi_digest_init(&d);
    gfsi_digest_text(&d, id);
    gfsi_digest_hex(&d, hex);
    (void)snprintf(out, FILE_NAME_SIZE, "%s.json", hex);
}

static char *file_path(const struct gfsi_journal *j, const char *id)
{
    char name[FILE_NAME_SIZE];
    char *path;

    file_name(id, name);
    return asprintf(&path, "%s/%s", j->directory, name) < 0 ? NULL : path;
}

/* ---- look-ups; the lock is held ---- */

static struct gfsi_record *find(struct gfsi_journal *j, const char *id)
{
    struct gfsi_record *r = j->records;

    while (r != NULL && strcmp(r->id, id) != 0) {
        r = r->next;
    }
    return r;
}

int gfsi_journal_find(struct gfsi_journal *j, const char *id, struct gfsi_volume *out)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);
    struct gfsi_record *r = find(j, id);

    if (r == NULL) {
        return GFS_ENOENT;
    }
    if (out != NULL) {
        gfsi_record_copy_volume(r, out);
    }
    return 0;
}

int gfsi_journal_find_use(struct gfsi_journal *j, const char *id, enum gfsi_use_kind kind,
                          const char *path, struct gfsi_use *out)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);
    struct gfsi_record *r = find(j, id);
    struct gfsi_record_use *use = r != NULL ? gfsi_record_find_use(r, kind, path) : NULL;

    if (use == NULL) {
        return GFS_ENOENT;
    }
    if (out != NULL) {
        gfsi_record_copy_use(use, out);
    }
    return 0;
}

size_t gfsi_journal_count_uses(struct gfsi_journal *j, const char *id, enum gfsi_use_kind kind)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);
    struct gfsi_record *r = find(j, id);

    return r != NULL ? r->n_uses[kind] : 0;
}

int gfsi_journal_find_other_use(struct gfsi_journal *j, const char *id, enum gfsi_use_kind kind,
                                const char *path, struct gfsi_use *out)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);
    struct gfsi_record *r = find(j, id);
    struct gfsi_record_use *use = r != NULL ? r->uses[kind] : NULL;

    while (use != NULL && strcmp(use->path, path) == 0) {
        use = use->next;
    }
    if (use == NULL) {
        return GFS_ENOENT;
    }
    gfsi_record_copy_use(use, out);
    return 0;
}

bool gfsi_journal_target_taken(struct gfsi_journal *j, const char *id, const char *path)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);

    for (struct gfsi_record *r = j->records; r != NULL; r = r->next) {
        if (strcmp(r->id, id) != 0 && gfsi_record_find_use(r, GFSI_PUBLISHED, path) != NULL) {
            return true;
        }
    }
    return false;
}

int gfsi_journal_find_target(struct gfsi_journal *j, const char *path, struct gfsi_volume *out,
                             struct gfsi_use *out_use)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);

    for (struct gfsi_record *r = j->records; r != NULL; r = r->next) {
        const struct gfsi_record_use *use = gfsi_record_find_use(r, GFSI_PUBLISHED, path);

        if (use != NULL && out != NULL) {
            gfsi_record_copy_volume(r, out);
            gfsi_record_copy_use(use, out_use);
        }
        if (use != NULL) {
            return 0;
        }
    }
    return GFS_ENOENT;
}

static bool is_labelled(const struct gfsi_record *r)
{
    return r->n_uses[GFSI_STAGED] > 0 && r->label_key[0] != '\0';
}

size_t gfsi_journal_labels(struct gfsi_journal *j, char (*out)[GFSI_LABEL_MAX + 1], size_t max)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);
    size_t n = 0;

    for (struct gfsi_record *r = j->records; r != NULL && n < max; r = r->next) {
        bool known = !is_labelled(r);

        for (size_t i = 0; i < n && !known; i++) {
            known = strcmp(out[i], r->label_key) == 0;
        }
        if (!known) {
            (void)gfs_str_copy(out[n++], GFSI_LABEL_MAX + 1, r->label_key);
        }
    }
    return n;
}

bool gfsi_journal_has_label(struct gfsi_journal *j, const char *key)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);

    for (struct gfsi_record *r = j->records; r != NULL; r = r->next) {
        if (is_labelled(r) && strcmp(r->label_key, key) == 0) {
            return true;
        }
    }
    return false;
}

bool gfsi_journal_shares_mount(struct gfsi_journal *j, const char *id, const char *fluid_path)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);

    for (struct gfsi_record *r = j->records; r != NULL; r = r->next) {
        if (strcmp(r->id, id) != 0 && strcmp(r->fluid_path, fluid_path) == 0) {
            return true;
        }
    }
    return false;
}

void gfsi_journal_counts(struct gfsi_journal *j, struct gfsi_journal_totals *out)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&j->mutex);

    *out = (struct gfsi_journal_totals){
        .volumes = j->n_records, .loaded = j->loaded, .discarded = j->discarded};
    for (struct gfsi_record *r = j->records; r != NULL; r = r->next) {
        out->staged += (unsigned)r->n_uses[GFSI_STAGED];
        out->published += (unsigned)r->n_uses[GFSI_PUBLISHED];
    }
}

/* ---- changes ---- */

/* Written whole and renamed, so that it is the old or the new record whenever this process dies.
 * Not flushed to the disk: what an fsync protects from ends this boot, and with it the record's
 * meaning. */
static int write_file(const char *path, const char *text, struct gfs_err *err)
{
    char *fresh gfs_auto_free = NULL;
    int fd gfs_auto_fd = -1;
    int rc;

    if (asprintf(&fresh, "%s.tmp", path) < 0) {
        fresh = NULL;
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "journal: %s", fresh);
    }
    rc = gfs_write_all(fd, text, strlen(text));
    if (rc < 0) {
        (void)gfs_err_set(err, rc, "journal: %s: %s", fresh, gfs_err_string(rc));
    } else if (rename(fresh, path) < 0) {
        rc = gfs_err_set_errno(err, errno, "journal: %s", path);
    }
    if (rc < 0) {
        (void)unlink(fresh);
    }
    return rc;
}

static int save(struct gfsi_journal *j, const struct gfsi_record *r, struct gfs_err *err)
{
    char *text gfs_auto_free = gfsi_record_encode(r, j->boot_id);
    char *path gfs_auto_free = file_path(j, r->id);

    if (text == NULL || path == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    return write_file(path, text, err);
}

static void unlink_record(struct gfsi_journal *j, struct gfsi_record *r)
{
    struct gfsi_record **link = &j->records;

    while (*link != r) {
        link = &(*link)->next;
    }
    *link = r->next;
    j->n_records--;
    (void)gfsi_record_free(r);
}

static int check_room(struct gfsi_journal *j, const struct gfsi_record *r, enum gfsi_use_kind kind,
                      struct gfs_err *err)
{
    if (r == NULL && j->n_records >= GFSI_JOURNAL_VOLUMES_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "%d volumes are in use on this node",
                           GFSI_JOURNAL_VOLUMES_MAX);
    }
    if (r != NULL && r->n_uses[kind] >= GFSI_JOURNAL_USES_MAX) {
        return gfs_err_set(err, GFS_EBUSY, "the volume is in use at %d paths",
                           GFSI_JOURNAL_USES_MAX);
    }
    return 0;
}

int gfsi_journal_put(struct gfsi_journal *j, const struct gfsi_volume *volume,
                     enum gfsi_use_kind kind, const struct gfsi_use *use, struct gfs_err *err)
{
    struct gfsi_record_use *made = gfsi_record_use_new(use);
    struct gfsi_record *next = gfsi_record_new(volume);
    struct gfsi_record *r;
    struct gfsi_record_use *old;
    int rc;

    if (made == NULL || next == NULL) {
        (void)gfsi_record_use_free(made);
        (void)gfsi_record_free(next);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    (void)pthread_mutex_lock(&j->mutex);
    r = find(j, volume->id);
    rc = r != NULL && gfsi_record_is_known(r, next, kind, made) ? 1 : check_room(j, r, kind, err);
    if (rc != 0) {
        (void)pthread_mutex_unlock(&j->mutex);
        (void)gfsi_record_use_free(made);
        (void)gfsi_record_free(next);
        return rc < 0 ? rc : 0;
    }
    /* The new record takes the uses over, and the old one's place when the file is written. */
    if (r != NULL) {
        memcpy(next->uses, r->uses, sizeof(next->uses));
        memcpy(next->n_uses, r->n_uses, sizeof(next->n_uses));
        memset(r->uses, 0, sizeof(r->uses));
        memset(r->n_uses, 0, sizeof(r->n_uses));
        unlink_record(j, r);
    }
    old = gfsi_record_link_use(next, kind, made);
    next->next = j->records;
    j->records = next;
    j->n_records++;
    (void)pthread_mutex_unlock(&j->mutex);

    rc = save(j, next, err);
    if (rc < 0) {
        (void)pthread_mutex_lock(&j->mutex);
        (void)gfsi_record_use_free(gfsi_record_unlink_use(next, kind, use->path));
        if (old != NULL) {
            (void)gfsi_record_link_use(next, kind, GFS_TAKE_PTR(old));
        }
        if (next->uses[GFSI_STAGED] == NULL && next->uses[GFSI_PUBLISHED] == NULL) {
            unlink_record(j, next);
        }
        (void)pthread_mutex_unlock(&j->mutex);
    }
    (void)gfsi_record_use_free(old);
    return rc;
}

int gfsi_journal_drop(struct gfsi_journal *j, const char *id, enum gfsi_use_kind kind,
                      const char *path, struct gfs_err *err)
{
    char *file gfs_auto_free = file_path(j, id);
    struct gfsi_record *r;
    struct gfsi_record_use *use;
    bool last;

    if (file == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    (void)pthread_mutex_lock(&j->mutex);
    r = find(j, id);
    use = r != NULL ? gfsi_record_unlink_use(r, kind, path) : NULL;
    last = use != NULL && r->uses[GFSI_STAGED] == NULL && r->uses[GFSI_PUBLISHED] == NULL;
    if (last) {
        unlink_record(j, r);
    }
    (void)pthread_mutex_unlock(&j->mutex);

    if (use == NULL) {
        return 0;
    }
    (void)gfsi_record_use_free(use);
    if (!last) {
        return save(j, r, err);
    }
    if (unlink(file) < 0 && errno != ENOENT) {
        return gfs_err_set_errno(err, errno, "journal: %s", file);
    }
    return 0;
}

/* ---- loading ---- */

static void load_file(struct gfsi_journal *j, const char *name)
{
    gfs_auto_buf struct gfs_buf text;
    char *path gfs_auto_free = NULL;
    char *aside gfs_auto_free = NULL;
    char expected[FILE_NAME_SIZE];
    struct gfs_err err = GFS_ERR_INIT;
    struct gfsi_record *record = NULL;
    int rc;

    gfs_buf_init(&text, GFSI_JOURNAL_FILE_MAX);
    if (asprintf(&path, "%s/%s", j->directory, name) < 0 ||
        asprintf(&aside, "%s/%s.corrupt", j->directory, name) < 0) {
        return;
    }
    rc = gfs_file_read(path, &text, &err);
    if (rc == 0) {
        rc = gfsi_record_decode(gfs_buf_str(&text), text.len, j->boot_id, &record, &err);
    }
    if (rc == 0) {
        file_name(record->id, expected);
        if (strcmp(expected, name) == 0 && j->n_records < GFSI_JOURNAL_VOLUMES_MAX) {
            record->next = j->records;
            j->records = record;
            j->n_records++;
            j->loaded++;
            return;
        }
        (void)gfsi_record_free(record);
        rc = gfs_err_set(&err, GFS_ECORRUPT, "not the file of the volume it names");
    }

    j->discarded++;
    if (rc == GFS_ECHANGED || (rc == GFS_ECORRUPT && text.len == 0)) { /* empty: the machine died */
        (void)unlink(path);
        return;
    }
    gfs_warn("csi", "journal file set aside", "file=%s error=%s", GFS_Q(path),
             GFS_Q(gfs_err_text(&err, rc)));
    (void)rename(path, aside);
}

static int read_boot_id(char *out, size_t size)
{
    gfs_auto_buf struct gfs_buf text;

    gfs_buf_init(&text, 4096);
    if (gfs_file_read("/proc/sys/kernel/random/boot_id", &text, NULL) < 0) {
        return gfs_str_copy(out, size, "unknown");
    }
    (void)snprintf(out, size, "%.*s", (int)strcspn(gfs_buf_str(&text), "\n"), gfs_buf_str(&text));
    return 0;
}

int gfsi_journal_open(const char *state_dir, struct gfsi_journal **out, struct gfs_err *err)
{
    struct gfsi_journal *j = calloc(1, sizeof(*j));
    DIR *dir gfs_auto_dir = NULL;
    const struct dirent *entry;
    int rc;

    if (j == NULL || asprintf(&j->directory, "%s/volumes", state_dir) < 0) {
        free(j);
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    (void)pthread_mutex_init(&j->mutex, NULL);
    (void)read_boot_id(j->boot_id, sizeof(j->boot_id));
    rc = gfs_mkdirs(j->directory, 0700, err);
    if (rc == 0 && (dir = opendir(j->directory)) == NULL) {
        rc = gfs_err_set_errno(err, errno, "%s", j->directory);
    }
    if (rc < 0) {
        (void)gfsi_journal_free(j);
        return gfs_err_wrap(err, rc, "journal");
    }

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && gfs_str_has_suffix(entry->d_name, ".json")) {
            load_file(j, entry->d_name);
        }
    }
    *out = j;
    return 0;
}

const char *gfsi_journal_boot_id(const struct gfsi_journal *j)
{
    return j->boot_id;
}

void gfsi_journal_sweep(struct gfsi_journal *j,
                        bool (*keep)(void *arg, const struct gfsi_volume *volume,
                                     const struct gfsi_use *use),
                        void *arg)
{
    struct gfsi_volume *volume gfs_auto_free = malloc(sizeof(*volume));
    struct gfsi_use *use gfs_auto_free = malloc(sizeof(*use));
    bool dropped = volume != NULL && use != NULL;

    /* Nobody else is there yet: the list changes under this loop only through drop. */
    while (dropped) {
        dropped = false;
        for (struct gfsi_record *r = j->records; r != NULL && !dropped; r = r->next) {
            gfsi_record_copy_volume(r, volume);
            for (struct gfsi_record_use *u = r->uses[GFSI_PUBLISHED]; u != NULL; u = u->next) {
                gfsi_record_copy_use(u, use);
                if (!keep(arg, volume, use)) {
                    (void)gfsi_journal_drop(j, volume->id, GFSI_PUBLISHED, use->path, NULL);
                    dropped = true;
                    break;
                }
            }
        }
    }
}

struct gfsi_journal *gfsi_journal_free(struct gfsi_journal *j)
{
    if (j == NULL) {
        return NULL;
    }
    while (j->records != NULL) {
        struct gfsi_record *r = j->records;

        j->records = r->next;
        (void)gfsi_record_free(r);
    }
    free(j->directory);
    (void)pthread_mutex_destroy(&j->mutex);
    free(j);
    return NULL;
}
