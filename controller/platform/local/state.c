#include "platform/local/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include "platform/local/pathf.h"

static int lock(const char *dir, int *out, struct gfs_err *err)
{
    char path[PATH_MAX];
    char pid[32] = "";

    gfsi_pathf(path, sizeof(path), "%s/lock", dir);

    int fd gfs_auto_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "cannot open %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        (void)!pread(fd, pid, sizeof(pid) - 1, 0);
        pid[strcspn(pid, "\n")] = '\0';
        return gfs_err_set(err, GFS_EBUSY,
                           "another fluid-controller (pid %s) uses %s: stop it, or give this one "
                           "another --state-dir",
                           pid[0] != '\0' ? pid : "unknown", dir);
    }

    int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        return gfs_err_set_errno(err, errno, "cannot write %s", path);
    }

    *out = GFS_TAKE_FD(fd);
    return 0;
}

/* Nothing but what a start that was cut short leaves behind. */
static bool is_fresh(const char *dir)
{
    DIR *d gfs_auto_dir = opendir(dir);
    bool fresh = d != NULL;

    for (struct dirent *e = NULL; fresh && (e = readdir(d)) != NULL;) {
        fresh = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                strcmp(e->d_name, "lock") == 0 || gfs_str_has_prefix(e->d_name, "version");
    }

    return fresh;
}

static int check_version(const char *dir, struct gfs_err *err)
{
    char path[PATH_MAX];
    struct gfs_buf text gfs_auto_buf;

    gfs_buf_init(&text, 256);
    gfsi_pathf(path, sizeof(path), "%s/version", dir);

    int rc = gfs_file_read(path, &text, err);

    if (rc == GFS_ENOENT && is_fresh(dir)) {
        return gfs_file_write_atomic(path, GFSI_STATE_VERSION, strlen(GFSI_STATE_VERSION), 0644,
                                     err);
    }
    if (rc == GFS_ENOENT) {
        return gfs_err_set(err, GFS_EEXIST,
                           "%s is not empty and not a state directory of fluid-controller: give "
                           "another --state-dir",
                           dir);
    }
    if (rc < 0) {
        return rc;
    }
    if (strcmp(gfs_buf_str(&text), GFSI_STATE_VERSION) == 0) {
        return 0;
    }

    text.data[strcspn(text.data, "\n")] = '\0';
    return gfs_err_set(err, GFS_EUNSUPPORTED,
                       "%s was written by another version ('%.60s', this one writes '%.*s'): use "
                       "that version, or another --state-dir",
                       dir, text.data, (int)strlen(GFSI_STATE_VERSION) - 1, GFSI_STATE_VERSION);
}

int gfsi_state_open(const char *dir, int *out_lock, struct gfs_err *err)
{
    char path[PATH_MAX];
    int fd gfs_auto_fd = -1;
    int rc = gfs_mkdirs(dir, 0755, err);

    rc = rc < 0 ? rc : lock(dir, &fd, err);
    rc = rc < 0 ? rc : check_version(dir, err);
    for (const char *const *sub = (const char *const[]){"objects", "pods", "csi", NULL};
         rc == 0 && *sub != NULL; sub++) {
        gfsi_pathf(path, sizeof(path), "%s/%s", dir, *sub);
        rc = gfs_mkdirs(path, 0755, err);
    }
    if (rc < 0) {
        return rc;
    }

    *out_lock = GFS_TAKE_FD(fd);
    return 0;
}

static void object_path(const char *dir, const struct gfs_object *object, char *out, size_t size)
{
    gfsi_pathf(out, size, "%s/objects/%s.%s.%s.json", dir,
               gfs_object_kind_names(object->kind)->singular, object->ns, object->name);
}

int gfsi_state_save(const char *dir, const struct gfs_object *object, int64_t created_ms,
                    struct gfs_err *err)
{
    char path[PATH_MAX];

    object_path(dir, object, path, sizeof(path));

    /* Options of a mount may be credentials. */
    int rc = gfs_file_write_atomic(path, object->json, strlen(object->json), 0600, err);
    const struct timespec created = {.tv_sec = created_ms / 1000,
                                     .tv_nsec = created_ms % 1000 * GFS_NS_PER_MS};
    const struct timespec times[2] = {created, created};

    if (rc == 0) {
        (void)utimensat(AT_FDCWD, path, times, 0); /* an age is not worth failing for */
    }

    return rc;
}

int gfsi_state_remove(const char *dir, const struct gfs_object *object, struct gfs_err *err)
{
    char path[PATH_MAX];

    object_path(dir, object, path, sizeof(path));
    if (unlink(path) < 0 && errno != ENOENT) {
        return gfs_err_set_errno(err, errno, "cannot remove %s", path);
    }

    return 0;
}

static int64_t file_time_ms(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0
               ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / GFS_NS_PER_MS
               : gfs_clock_wall_ms();
}

static void load_file(const char *path, gfsi_state_each_fn each, void *arg)
{
    struct gfs_buf text gfs_auto_buf;
    struct gfs_buf why gfs_auto_buf;
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_manifest *manifest = NULL;
    struct gfs_diags diags;

    gfs_buf_init(&text, GFS_MANIFEST_MAX_BYTES * 2);
    gfs_buf_init(&why, 65536);
    if (gfs_file_read(path, &text, &err) < 0 || gfs_diags_init(&diags, path) < 0) {
        gfs_error("local", "cannot read a stored object", "file=%s error=%s", GFS_Q(path),
                  GFS_Q(err.text));
        return;
    }

    if (gfs_manifest_parse(gfs_buf_str(&text), text.len, "default", &diags, &manifest) == 0) {
        each(arg, gfs_manifest_take(manifest, 0), file_time_ms(path));
    } else {
        gfs_diags_print(&diags, &why);
        gfs_error("local", "cannot use a stored object", "error=%s", GFS_Q(gfs_buf_str(&why)));
    }

    (void)gfs_manifest_free(manifest);
    gfs_diags_fini(&diags);
}

int gfsi_state_load(const char *dir, gfsi_state_each_fn each, void *arg, struct gfs_err *err)
{
    char path[PATH_MAX];

    gfsi_pathf(path, sizeof(path), "%s/objects", dir);

    DIR *d gfs_auto_dir = opendir(path);

    if (d == NULL) {
        return gfs_err_set_errno(err, errno, "cannot read %s", path);
    }

    for (struct dirent *e = NULL; (e = readdir(d)) != NULL;) {
        if (gfs_str_has_suffix(e->d_name, ".json") && e->d_name[0] != '.') {
            gfsi_pathf(path, sizeof(path), "%s/objects/%.255s", dir, e->d_name);
            load_file(path, each, arg);
        }
    }

    return 0;
}
