#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "generation_priv.h"

#define START_TIMEOUT_MS 60000
#define HANG_TIMEOUT_MS  20000
#define STAGE_WAIT_NS    GFS_NS_PER_S /* of a stage for a pod; publishing waits for longer */

/* The runtime's directory on this machine. */
static int runtime_dir(const char *fluid_path, char *out, size_t size)
{
    const char *slash = strrchr(fluid_path, '/');

    return snprintf(out, size, "%.*s", (int)(slash - fluid_path), fluid_path) < (int)size
               ? 0
               : GFS_ENAMETOOLONG;
}

void gfsi_fuse_keeper_id(const char *mount_root, const char *fluid_path,
                         char out[GFS_KEEPER_ID_MAX + 1])
{
    static const char suffix[] = "/goosefs-fuse";
    char middle[GFS_KEEPER_ID_MAX + 2];
    const char *below = gfsi_path_below(fluid_path, mount_root);
    struct gfsi_digest d;
    size_t len;

    /* {mount root}/goosefs/NS/NAME/goosefs-fuse; neither part can hold the '.' that joins them. */
    if (below != NULL && gfs_str_has_prefix(below, "goosefs/") &&
        gfs_str_has_suffix(below, suffix)) {
        below += strlen("goosefs/");
        len = strlen(below) - (sizeof(suffix) - 1);
        if (len > 2 && len <= GFS_KEEPER_ID_MAX) {
            memcpy(middle, below, len);
            middle[len] = '\0';
            if (strspn(middle, "abcdefghijklmnopqrstuvwxyz0123456789-/") == len &&
                strchr(middle, '/') != NULL && strchr(middle, '/') == strrchr(middle, '/') &&
                middle[0] != '/' && middle[len - 1] != '/') {
                *strchr(middle, '/') = '.';
                (void)gfs_str_copy(out, GFS_KEEPER_ID_MAX + 1, middle);
                return;
            }
        }
    }

    gfsi_digest_init(&d);
    gfsi_digest_text(&d, fluid_path);
    gfsi_digest_hex(&d, out);
}

/* ---- what is there ---- */

enum presence { ABSENT, ALIVE, DEAD, HUNG, FOREIGN };

/* Looks at fluid_path. `ask`: a mount that is there must also answer. */
static int look(struct gfsi_node *node, const struct gfsi_volume *volume, bool ask,
                enum presence *out, struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    struct gfsi_place place = GFSI_PLACE_INIT;
    const struct gfs_mount_entry *entry;
    int fd gfs_auto_fd = -1;
    struct gfs_err why = GFS_ERR_INIT;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc == 0) {
        rc = gfsi_path_check_way(table, node->rules.mount_root, volume->fluid_path, err);
    }
    if (rc < 0) {
        return rc;
    }

    entry = gfs_mounttable_find(table, volume->fluid_path);
    if (entry == NULL || strcmp(entry->fstype, volume->mount_type) != 0) {
        *out = entry == NULL ? ABSENT : FOREIGN;
        return 0;
    }
    if (!ask || gfsi_hung_is(&node->holds, volume->fluid_path)) {
        *out = ask ? HUNG : ALIVE;
        return 0;
    }

    rc = gfsi_place_open(node->rules.mount_root, volume->fluid_path, &place, err);
    if (rc == 0) {
        rc = gfsi_place_open_leaf(&place, &fd, err);
        gfsi_place_close(&place);
    }
    if (rc < 0) {
        return rc;
    }
    rc = gfsi_prober_check(node->prober, fd, node->probe_ns, &why);
    if (rc == GFS_EBUSY) {
        return gfs_err_set(err, rc, "%s", why.text);
    }
    *out = rc == 0 ? ALIVE : rc == GFS_ETIMEOUT ? HUNG : DEAD;
    if (*out == HUNG) {
        gfsi_hung_mark(&node->holds, volume->fluid_path);
    }
    if (rc < 0) {
        gfs_warn("csi", "mount does not answer", "path=%s error=%s", GFS_Q(volume->fluid_path),
                 GFS_Q(why.text));
    }
    return 0;
}

/* Applications have it open and its client may recover: it is left alone. */
static int hangs(const struct gfsi_volume *volume, struct gfs_err *err)
{
    return gfs_err_set(err, GFS_EUNAVAIL, "the mount at %s does not answer", volume->fluid_path);
}

/* A mount whose client is gone for good: nothing can be done with it but to put it away. */
static int remove_dead(struct gfsi_node *node, const struct gfsi_volume *volume,
                       struct gfs_err *err)
{
    struct gfsi_place place = GFSI_PLACE_INIT;
    int rc = gfsi_place_open(node->rules.mount_root, volume->fluid_path, &place, err);

    if (rc == 0) {
        rc = gfsi_node_unmount_all(node, &place, volume->fluid_path, err);
        gfsi_place_close(&place);
    }
    return rc;
}

/* ---- this machine's keeper mounts ---- */

/* Callers get answers, now or when the client's successor is there. */
static bool is_served(uint32_t state)
{
    return state == GFS_KEEPER_SERVING || state == GFS_KEEPER_RESTARTING ||
           state == GFS_KEEPER_WAITING;
}

/* The client's files are of its pod, which may come later; the keeper waits for it. */
static int aim_at_pod(const struct gfsi_volume *volume, char *dir, size_t size,
                      struct gfs_keeper_spec *spec, struct gfs_err *err)
{
    int rc = runtime_dir(volume->fluid_path, dir, size);

    if (rc < 0) {
        return gfs_err_set(err, rc, "fluid_path is too long");
    }
    spec->launch = dir;
    return 0;
}

static int check_config(const char *config, struct gfs_err *err)
{
    if (access(config, R_OK) < 0) {
        return gfs_err_set(err, GFS_EUNAVAIL,
                           "the runtime has not written %s yet: is it set up on this node?",
                           config);
    }
    return 0;
}

static int keeper_mount(struct gfsi_node *node, const struct gfsi_volume *volume, const char *id,
                        int64_t deadline, struct gfs_err *err)
{
    char config[GFSI_PATH_MAX + 64];
    char log[GFSI_PATH_MAX + GFS_KEEPER_ID_MAX + 8];
    char dir[GFSI_PATH_MAX];
    const char *argv[] = {node->fuse_program, "--properties", config, volume->fluid_path, NULL};
    const char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct gfs_keeper_spec spec = {
        .id = id,
        .mountpoint = volume->fluid_path,
        .fstype = volume->mount_type,
        .source = GFSI_GOOSEFS_SOURCE,
        .options = GFS_KEEPER_ALLOW_OTHER | GFS_KEEPER_READ_ONLY | GFS_KEEPER_DEFAULT_PERMISSIONS,
        .start_timeout_ms = START_TIMEOUT_MS,
        .hang_timeout_ms = HANG_TIMEOUT_MS,
        .log_path = "",
        .argv = argv,
        .env = env,
    };
    int rc = gfsi_generation_config(volume->fluid_path, config, sizeof(config));

    if (rc < 0) {
        return gfs_err_set(err, rc, "fluid_path is too long");
    }
    rc = node->launch_mode == GFS_CSI_LAUNCH_POD ? aim_at_pod(volume, dir, sizeof(dir), &spec, err)
                                                 : check_config(config, err);
    if (rc < 0) {
        return rc;
    }
    if (node->fuse_log_dir[0] != '\0') {
        (void)snprintf(log, sizeof(log), "%s/%s.log", node->fuse_log_dir, id);
        spec.log_path = log;
    }

    rc = node->keeper.mount(node->keeper.self, &spec, deadline, err);
    if (rc == GFS_EEXIST) {
        uint32_t state;

        /* Mounted by an earlier version of this plugin, with other arguments: it serves, so be it.
         */
        rc = node->keeper.state(node->keeper.self, id, deadline, &state, err);
        if (rc == 0 && !is_served(state)) {
            rc = gfs_err_set(err, GFS_EUNAVAIL, "the mount is %s", gfs_keeper_state_name(state));
        }
    }
    return rc;
}

/* Brings the keeper's idea of the mount and the table together. *out_mount: it is to be mounted. */
static int settle_with_keeper(struct gfsi_node *node, const struct gfsi_volume *volume,
                              const char *id, int64_t deadline, bool *out_mount,
                              struct gfs_err *err)
{
    enum presence present;
    uint32_t state = 0;
    struct gfs_err why = GFS_ERR_INIT;
    int known = node->keeper.state(node->keeper.self, id, deadline, &state, &why);
    int rc;

    if (known < 0 && known != GFS_ENOENT && known != GFS_EUNAVAIL) {
        return gfs_err_set(err, known, "keeper: %s", gfs_err_text(&why, known));
    }
    rc = look(node, volume, known < 0, &present, err);
    if (rc < 0) {
        return rc;
    }
    if (present == FOREIGN) {
        return gfs_err_set(err, GFS_EPRECONDITION, "%s: something that is no %s is mounted there",
                           volume->fluid_path, volume->mount_type);
    }

    if (present == HUNG) {
        return hangs(volume, err);
    }

    *out_mount = false;
    if (known == 0) {
        if (present == ALIVE && is_served(state)) {
            return 0;
        }
        *out_mount = true;
        if (state == GFS_KEEPER_STARTING) {
            return 0; /* mounting again joins */
        }
        rc = node->keeper.unmount(node->keeper.self, id, GFS_KEEPER_LAZY, deadline, err);
        return rc == GFS_ENOENT ? 0 : rc;
    }
    if (present == ALIVE) {
        return 0; /* somebody else's, or the keeper is away while its mount goes on */
    }
    if (known == GFS_EUNAVAIL) {
        return gfs_err_set(err, known, "keeper: %s", gfs_err_text(&why, known));
    }
    *out_mount = true;
    return present == DEAD ? remove_dead(node, volume, err) : 0;
}

/* ---- somebody else mounts ---- */

/* Waits for a change of the mount table. false: `deadline` passed. */
static bool wait_for_change(int mountinfo, int64_t deadline)
{
    int64_t left = deadline - gfs_clock_mono();
    struct pollfd fd = {.fd = mountinfo, .events = POLLPRI};

    if (left <= 0) {
        return false;
    }
    /* A mount may also come alive without a change of the table: look again every second. */
    left = left > GFS_NS_PER_S ? GFS_NS_PER_S : left;
    (void)poll(&fd, 1, (int)(left / GFS_NS_PER_MS) + 1);
    return true;
}

/* One look, and a dead mount is put away; alone, so that nobody takes a new mount for the dead one.
 */
static int look_and_remove(struct gfsi_node *node, const struct gfsi_volume *volume,
                           int64_t deadline, enum presence *out, struct gfs_err *err)
{
    struct gfsi_hold hold;
    int rc = gfsi_hold_take(&node->holds, &hold, volume->fluid_path, deadline, err);

    if (rc < 0) {
        return rc;
    }
    rc = look(node, volume, true, out, err);
    if (rc == 0 && *out == DEAD) {
        rc = remove_dead(node, volume, err);
        *out = ABSENT;
    }
    gfsi_hold_drop(&node->holds, &hold);
    if (rc == GFS_ENOENT) {
        *out = ABSENT; /* the directory is not there yet */
        return 0;
    }
    return rc == 0 && *out == HUNG ? hangs(volume, err) : rc;
}

static int await_mount(struct gfsi_node *node, const struct gfsi_volume *volume, bool wait,
                       int64_t deadline, struct gfs_err *err)
{
    int mountinfo gfs_auto_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    int64_t until = gfs_clock_mono() + node->wait_ns;
    enum presence present = ABSENT;
    int rc = look_and_remove(node, volume, deadline, &present, err);

    if (rc < 0 || present == ALIVE || !wait) {
        return rc;
    }
    if (mountinfo < 0) {
        return gfs_err_set_errno(err, errno, "/proc/self/mountinfo");
    }
    if (!gfsi_wait_enter(&node->holds, node->wait_max)) {
        return gfs_err_set(err, GFS_EUNAVAIL, "no %s is mounted at %s, and %u calls wait already",
                           volume->mount_type, volume->fluid_path, node->wait_max);
    }

    until = deadline < until ? deadline : until;
    while (rc == 0 && present != ALIVE) {
        rc = wait_for_change(mountinfo, until)
                 ? look_and_remove(node, volume, deadline, &present, err)
                 : gfs_err_set(err, GFS_EUNAVAIL, "no %s is mounted at %s yet", volume->mount_type,
                               volume->fluid_path);
    }
    gfsi_wait_leave(&node->holds);
    return rc;
}

static bool is_keepers(const struct gfsi_node *node, const struct gfsi_volume *volume)
{
    return node->keeper.mount != NULL && strcmp(volume->mount_type, GFSI_GOOSEFS_TYPE) == 0;
}

static int keeper_ensure(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline,
                         bool *out_made, struct gfs_err *err)
{
    char id[GFS_KEEPER_ID_MAX + 1];
    char generation[GFSI_DIGEST_SIZE];
    bool mount = false;
    int rc;

    gfsi_fuse_keeper_id(node->rules.mount_root, volume->fluid_path, id);
    rc = settle_with_keeper(node, volume, id, deadline, &mount, err);
    if (rc < 0 || !mount) {
        return rc;
    }
    gfsi_generation_now(volume->fluid_path, generation);
    rc = keeper_mount(node, volume, id, deadline, err);
    if (rc == 0 || rc == GFS_ETIMEOUT) { /* mounted at once, served once a pod is there */
        gfsi_generation_note(node, volume, generation);
    }
    if (rc < 0) {
        return gfs_err_wrap(err, rc, "mounting %s", volume->fluid_path);
    }
    gfs_info("csi", "mounted by the keeper", "volume=%s mount=%s path=%s", GFS_Q(volume->id), id,
             GFS_Q(volume->fluid_path));
    if (out_made != NULL) {
        *out_made = true;
    }
    return 0;
}

/* A pod may have to be started first: a publish waits for it, at most in part of the workers, a
 * stage does not; the keeper goes on with what was asked for, and asking again joins. */
static int keeper_ensure_pod(struct gfsi_node *node, const struct gfsi_volume *volume, bool wait,
                             int64_t deadline, bool *out_made, struct gfs_err *err)
{
    int64_t until = gfs_clock_mono() + (wait ? node->wait_ns : STAGE_WAIT_NS);
    int rc;

    if (!gfsi_wait_enter(&node->holds, node->wait_max)) {
        return gfs_err_set(err, GFS_EUNAVAIL, "%u calls wait for pods already", node->wait_max);
    }
    rc = keeper_ensure(node, volume, until < deadline ? until : deadline, out_made, err);
    gfsi_wait_leave(&node->holds);
    if (rc != GFS_ETIMEOUT) {
        return rc;
    }
    return wait ? gfs_err_set(err, GFS_EUNAVAIL, "no fuse pod serves %s yet", volume->fluid_path)
                : 0;
}

int gfsi_fuse_ensure(struct gfsi_node *node, const struct gfsi_volume *volume, bool wait,
                     int64_t deadline, bool *out_made, struct gfs_err *err)
{
    struct gfsi_hold hold;
    int rc;

    if (!is_keepers(node, volume)) {
        rc = await_mount(node, volume, wait, deadline, err);
        if (rc < 0) {
            return rc;
        }
    }
    rc = gfsi_hold_take(&node->holds, &hold, volume->fluid_path, deadline, err);
    if (rc < 0) {
        return rc;
    }
    if (is_keepers(node, volume)) {
        rc = node->launch_mode == GFS_CSI_LAUNCH_POD
                 ? keeper_ensure_pod(node, volume, wait, deadline, out_made, err)
                 : keeper_ensure(node, volume, deadline, out_made, err);
    }
    if (rc == 0) {
        gfsi_generation_note(node, volume, NULL);
    }
    gfsi_hold_drop(&node->holds, &hold);
    return rc;
}

/* ---- away with it ---- */

/* Is the file system of fluid_path mounted anywhere else (a target somebody still has)? */
static int check_unused(struct gfsi_node *node, const struct gfsi_volume *volume, bool *out_there,
                        struct gfs_err *err)
{
    struct gfs_mounttable *table gfs_auto_mounttable = NULL;
    const struct gfs_mount_entry *mine;
    int rc = node->mounts.read(node->mounts.self, &table, err);

    if (rc < 0) {
        return rc;
    }
    mine = gfs_mounttable_find(table, volume->fluid_path);
    *out_there = mine != NULL && strcmp(mine->fstype, volume->mount_type) == 0;
    for (size_t i = 0; *out_there && i < gfs_mounttable_count(table); i++) {
        const struct gfs_mount_entry *e = gfs_mounttable_at(table, i);

        if (e->dev_major == mine->dev_major && e->dev_minor == mine->dev_minor &&
            strcmp(e->target, volume->fluid_path) != 0) {
            return gfs_err_set(err, GFS_EPRECONDITION, "%s is still mounted at %s",
                               volume->fluid_path, e->target);
        }
    }
    return 0;
}

static int clean(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline,
                 struct gfs_err *err)
{
    char id[GFS_KEEPER_ID_MAX + 1];
    bool there = false;
    int rc;

    if (gfsi_journal_shares_mount(node->journal, volume->id, volume->fluid_path)) {
        return 0;
    }
    rc = check_unused(node, volume, &there, err);
    if (rc < 0) {
        return rc;
    }

    if (is_keepers(node, volume)) {
        gfsi_fuse_keeper_id(node->rules.mount_root, volume->fluid_path, id);
        rc = node->keeper.unmount(node->keeper.self, id, 0, deadline, err);
        if (rc == GFS_EPRECONDITION) {
            gfs_warn("csi", "busy mount detached", "volume=%s path=%s", GFS_Q(volume->id),
                     GFS_Q(volume->fluid_path));
            rc = node->keeper.unmount(node->keeper.self, id, GFS_KEEPER_LAZY, deadline, err);
        }
        if (rc < 0 && rc != GFS_ENOENT) {
            return gfs_err_wrap(err, rc, "unmounting %s", volume->fluid_path);
        }
    }
    if (node->labeler != NULL && volume->label_key[0] != '\0') {
        return node->labeler->remove(node->labeler->self, volume->label_key, deadline, err);
    }
    return 0;
}

int gfsi_fuse_clean(struct gfsi_node *node, const struct gfsi_volume *volume, int64_t deadline,
                    struct gfs_err *err)
{
    struct gfsi_hold hold;
    int rc = gfsi_hold_take(&node->holds, &hold, volume->fluid_path, deadline, err);

    if (rc < 0) {
        return rc;
    }
    rc = clean(node, volume, deadline, err);
    gfsi_hold_drop(&node->holds, &hold);
    return rc;
}
