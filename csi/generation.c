#include "generation_priv.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#define CONFIG_FILE_MAX (1u << 20)
#define FILE_TEXT_MAX   (GFSI_PATH_MAX + 256)

int gfsi_generation_config(const char *fluid_path, char *out, size_t size)
{
    const char *slash = strrchr(fluid_path, '/');

    return snprintf(out, size, "%.*s/conf/goosefs-site.properties", (int)(slash - fluid_path),
                    fluid_path) < (int)size
               ? 0
               : GFS_ENAMETOOLONG;
}

void gfsi_generation_now(const char *fluid_path, char out[GFSI_DIGEST_SIZE])
{
    gfs_auto_buf struct gfs_buf text;
    char path[GFSI_PATH_MAX + 64];
    struct gfsi_digest d;

    gfs_buf_init(&text, CONFIG_FILE_MAX);
    out[0] = '\0';
    if (gfsi_generation_config(fluid_path, path, sizeof(path)) < 0 ||
        gfs_file_read(path, &text, NULL) < 0) {
        return;
    }
    gfsi_digest_init(&d);
    gfsi_digest_bytes(&d, gfs_buf_str(&text), text.len);
    gfsi_digest_hex(&d, out);
}

/* ---- the files: boot, connection, generation and path, one a line ---- */

static char *file_of(const struct gfsi_node *node, const char *fluid_path)
{
    char hex[GFSI_DIGEST_SIZE];
    struct gfsi_digest d;
    char *path;

    gfsi_digest_init(&d);
    gfsi_digest_text(&d, fluid_path);
    gfsi_digest_hex(&d, hex);
    return asprintf(&path, "%s/mounts/%s", node->state_dir, hex) < 0 ? NULL : path;
}

static const struct gfs_mount_entry *find_mount(const struct gfs_mounttable *table,
                                                const struct gfsi_volume *volume)
{
    const struct gfs_mount_entry *entry = gfs_mounttable_find(table, volume->fluid_path);

    return entry != NULL && strcmp(entry->fstype, volume->mount_type) == 0 ? entry : NULL;
}

/* Fills `text` with what a file for this mount begins with. */
static void write_mount(const struct gfsi_node *node, const struct gfs_mount_entry *entry,
                        struct gfs_buf *text)
{
    (void)gfs_buf_printf(text, "%s\n%u:%u\n%s\n", gfsi_journal_boot_id(node->journal),
                         entry->dev_major, entry->dev_minor, entry->target);
}

/* The generation of this very mount; "" when it is not known. */
static void read_known(const struct gfsi_node *node, const struct gfs_mount_entry *entry,
                       char out[GFSI_DIGEST_SIZE])
{
    gfs_auto_buf struct gfs_buf text;
    gfs_auto_buf struct gfs_buf mount;
    char *path gfs_auto_free = file_of(node, entry->target);

    gfs_buf_init(&text, FILE_TEXT_MAX);
    gfs_buf_init(&mount, FILE_TEXT_MAX);
    out[0] = '\0';
    write_mount(node, entry, &mount);
    if (path == NULL || mount.error != 0 || gfs_file_read(path, &text, NULL) < 0 ||
        !gfs_str_has_prefix(gfs_buf_str(&text), gfs_buf_str(&mount))) {
        return;
    }
    (void)gfs_str_copy(out, GFSI_DIGEST_SIZE, gfs_buf_str(&text) + mount.len);
}

static int remember(const struct gfsi_node *node, const struct gfs_mount_entry *entry,
                    const char *generation, struct gfs_err *err)
{
    gfs_auto_buf struct gfs_buf text;
    char *path gfs_auto_free = file_of(node, entry->target);
    int rc;

    gfs_buf_init(&text, FILE_TEXT_MAX);
    write_mount(node, entry, &text);
    (void)gfs_buf_puts(&text, generation);
    if (path == NULL || text.error != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }
    *strrchr(path, '/') = '\0';
    rc = gfs_mkdirs(path, 0700, err);
    path[strlen(path)] = '/';
    return rc < 0 ? rc : gfs_file_write_atomic(path, gfs_buf_str(&text), text.len, 0600, err);
}

/* ---- what others ask ---- */

void gfsi_generation_note(struct gfsi_node *node, const struct gfsi_volume *volume,
                          const char *made)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *entry;
    char generation[GFSI_DIGEST_SIZE];
    struct gfs_err err = GFS_ERR_INIT;
    int rc;

    if (volume->clean_policy != GFS_CSI_CLEAN_ON_FUSE_CHANGED) {
        return;
    }
    rc = node->mounts.read(node->mounts.self, &table, &err);
    entry = rc == 0 ? find_mount(table, volume) : NULL;
    if (entry != NULL && made != NULL) {
        rc = remember(node, entry, made, &err);
    } else if (entry != NULL) {
        read_known(node, entry, generation);
        if (generation[0] == '\0') {
            gfsi_generation_now(volume->fluid_path, generation);
            rc = generation[0] != '\0' ? remember(node, entry, generation, &err) : 0;
        }
    }
    if (rc < 0) {
        gfs_warn("csi", "configuration of a mount not remembered", "path=%s error=%s",
                 GFS_Q(volume->fluid_path), GFS_Q(gfs_err_text(&err, rc)));
    }
}

bool gfsi_generation_changed(struct gfsi_node *node, const struct gfsi_volume *volume)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *entry;
    char known[GFSI_DIGEST_SIZE] = "";
    char now[GFSI_DIGEST_SIZE];

    if (node->mounts.read(node->mounts.self, &table, NULL) < 0) {
        return false;
    }
    entry = find_mount(table, volume);
    if (entry != NULL) {
        read_known(node, entry, known);
    }
    gfsi_generation_now(volume->fluid_path, now);
    return known[0] != '\0' && strcmp(known, now) != 0;
}

/* Is the mount this file speaks of there? */
static bool is_current(const struct gfsi_node *node, const struct gfs_mounttable *table,
                       const char *text)
{
    for (size_t i = 0; i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *entry = gfs_mounttable_at(table, i);
        gfs_auto_buf struct gfs_buf mount;

        gfs_buf_init(&mount, FILE_TEXT_MAX);
        write_mount(node, entry, &mount);
        if (gfsi_path_below(entry->target, node->rules.mount_root) != NULL && mount.error == 0 &&
            gfs_str_has_prefix(text, gfs_buf_str(&mount))) {
            return true;
        }
    }
    return false;
}

void gfsi_generation_sweep(struct gfsi_node *node, const struct gfs_mounttable *table)
{
    char *path gfs_auto_free = NULL;
    DIR *dir gfs_auto_dir = NULL;
    const struct dirent *entry;

    if (asprintf(&path, "%s/mounts", node->state_dir) < 0) {
        path = NULL;
        return;
    }
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        gfs_auto_buf struct gfs_buf text;
        char *file gfs_auto_free = NULL;

        gfs_buf_init(&text, FILE_TEXT_MAX);
        if (asprintf(&file, "%s/%s", path, entry->d_name) < 0) {
            file = NULL;
            return;
        }
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (gfs_file_read(file, &text, NULL) < 0 || !is_current(node, table, gfs_buf_str(&text))) {
            (void)unlink(file);
        }
    }
}
