/* What a mount request may ask for. */
#include <gfs/mounter/keeper_proto.h>

#include <string.h>

#include <gfs/base/str.h>

#define TIMEOUT_MAX_MS UINT32_C(3600000)
#define MAX_READ_MIN   UINT32_C(4096)
#define MAX_READ_MAX   (UINT32_C(16) << 20)

static const char id_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool gfs_keeper_id_valid(const char *id)
{
    size_t len = strlen(id);

    return len >= 1 && len <= GFS_KEEPER_ID_MAX && strspn(id, id_chars) == len && id[0] != '.';
}

/* Absolute and already normalised: the mount table is compared as text. */
static bool path_ok(const char *path)
{
    char normal[GFS_KEEPER_PATH_MAX + 1];

    return path[0] == '/' && gfs_path_normalize(path, normal, sizeof(normal)) == 0 &&
           strcmp(path, normal) == 0;
}

bool gfs_keeper_env_valid(const char *const *env)
{
    size_t i;

    for (i = 0; env != NULL && env[i] != NULL; i++) {
        const char *eq = strchr(env[i], '=');

        if (eq == NULL || eq == env[i] || gfs_str_has_prefix(env[i], "GFS_KEEPER_") ||
            gfs_str_has_prefix(env[i], "LD_")) {
            return false;
        }
    }
    return true;
}

int gfs_keeper_spec_check(const struct gfs_keeper_spec *spec, struct gfs_err *err)
{
    static const char fuse_prefix[] = "fuse.";

    if (!gfs_keeper_id_valid(spec->id)) {
        return gfs_err_set(err, GFS_EINVAL, "mount id must be 1 to %d of [A-Za-z0-9._-]",
                           GFS_KEEPER_ID_MAX);
    }
    if (!path_ok(spec->mountpoint) || strcmp(spec->mountpoint, "/") == 0) {
        return gfs_err_set(err, GFS_EINVAL, "mountpoint of '%s' is not an absolute, plain path",
                           spec->id);
    }
    if (!gfs_str_has_prefix(spec->fstype, fuse_prefix) ||
        strspn(spec->fstype + sizeof(fuse_prefix) - 1, id_chars) !=
            strlen(spec->fstype) - (sizeof(fuse_prefix) - 1) ||
        strlen(spec->fstype) == sizeof(fuse_prefix) - 1) {
        return gfs_err_set(err, GFS_EINVAL, "file system type of '%s' is not fuse.NAME", spec->id);
    }
    if ((spec->options & ~GFS_KEEPER_OPTIONS_ALL) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "mount '%s' has unknown options 0x%x", spec->id,
                           spec->options);
    }
    if (spec->max_read != 0 && (spec->max_read < MAX_READ_MIN || spec->max_read > MAX_READ_MAX)) {
        return gfs_err_set(err, GFS_EINVAL, "max_read of '%s' is not within %u..%u", spec->id,
                           MAX_READ_MIN, MAX_READ_MAX);
    }
    if (spec->start_timeout_ms > TIMEOUT_MAX_MS || spec->hang_timeout_ms > TIMEOUT_MAX_MS ||
        spec->stall_timeout_ms > TIMEOUT_MAX_MS) {
        return gfs_err_set(err, GFS_EINVAL, "a timeout of '%s' is more than an hour", spec->id);
    }
    if (spec->log_path != NULL && spec->log_path[0] != '\0' && !path_ok(spec->log_path)) {
        return gfs_err_set(err, GFS_EINVAL, "log path of '%s' is not an absolute, plain path",
                           spec->id);
    }
    if (spec->launch != NULL && spec->launch[0] != '\0' && !path_ok(spec->launch)) {
        return gfs_err_set(err, GFS_EINVAL,
                           "launch directory of '%s' is not an absolute, plain path", spec->id);
    }
    if (spec->argv == NULL || spec->argv[0] == NULL || spec->argv[0][0] != '/') {
        return gfs_err_set(err, GFS_EINVAL, "client program of '%s' is not an absolute path",
                           spec->id);
    }
    if (!gfs_keeper_env_valid(spec->env)) {
        return gfs_err_set(err, GFS_EINVAL,
                           "environment of '%s' has an item that is not NAME=value, or is reserved",
                           spec->id);
    }
    return 0;
}

const char *gfs_keeper_state_name(uint32_t state)
{
    static const char *const names[] = {
        [GFS_KEEPER_STARTING] = "starting",     [GFS_KEEPER_SERVING] = "serving",
        [GFS_KEEPER_RESTARTING] = "restarting", [GFS_KEEPER_STOPPING] = "stopping",
        [GFS_KEEPER_BROKEN] = "broken",         [GFS_KEEPER_WAITING] = "waiting",
    };

    if (state >= sizeof(names) / sizeof(names[0]) || names[state] == NULL) {
        return "unknown";
    }
    return names[state];
}
