/* Mounts held: made, looked up, unmounted, described, freed. */
#include "keeper_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "launch.h"
#include "spec_dup.h"

void gfsi_held_link(struct gfsi_held *h)
{
    struct gfsi_held **at = &h->keeper->helds;

    while (*at != NULL && strcmp((*at)->spec->id, h->spec->id) <= 0) {
        at = &(*at)->next;
    }
    h->next = *at;
    *at = h;
    h->keeper->n_helds++;
}

static int open_log(const struct gfs_keeper_spec *spec, int *out, struct gfs_err *err)
{
    int fd;

    if (spec->log_path[0] == '\0') {
        *out = -1;
        return 0;
    }
    fd = openat(AT_FDCWD, spec->log_path,
                O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "client log %s", spec->log_path);
    }
    *out = fd;
    return 0;
}

void gfsi_held_free(struct gfsi_held *h)
{
    if (h == NULL) {
        return;
    }
    gfsi_backing_fini(&h->backings);
    gfsi_session_free(h->session_fd, h->session);
    if (h->log_fd >= 0) {
        (void)close(h->log_fd);
    }
    if (h->dev.fd >= 0) {
        (void)close(h->dev.fd);
    }
    if (h->client.control_fd >= 0) {
        (void)close(h->client.control_fd);
    }
    if (h->client.pidfd >= 0) {
        (void)close(h->client.pidfd);
    }
    gfsi_launch_put(h->launch);
    free(h->argv);
    free(h->old_argv);
    free(h->spec);
    free(h);
}

struct gfsi_held *gfsi_held_alloc(struct gfsi_keeper *k, const struct gfs_keeper_spec *spec)
{
    struct gfsi_held *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->keeper = k;
    h->session_fd = -1;
    h->log_fd = -1;
    h->dev.fd = -1;
    h->client = (struct gfsi_client){.pidfd = -1, .control_fd = -1};
    h->spec = gfsi_spec_dup(spec);
    if (h->spec == NULL) {
        gfsi_held_free(h);
        return NULL;
    }
    gfsi_life_init(&h->life, h->spec, (uint64_t)gfs_clock_mono());
    h->life.max_failures = k->max_failures;
    if (h->spec->stall_timeout_ms == 0) {
        h->life.stall_timeout = k->stall_timeout;
    }
    h->known = h->life.state;
    h->since = gfs_clock_mono();
    return h;
}

uint32_t gfsi_held_uid(const struct gfsi_held *h)
{
    return h->spec->uid == 0 && h->spec->gid == 0 ? h->keeper->client_uid : h->spec->uid;
}

uint32_t gfsi_held_gid(const struct gfsi_held *h)
{
    return h->spec->uid == 0 && h->spec->gid == 0 ? h->keeper->client_gid : h->spec->gid;
}

/* Who starts its clients? Another one than the keeper may not be there yet. */
static int find_launcher(struct gfsi_held *h, struct gfs_err *err)
{
    int rc;

    if (h->spec->launch[0] == '\0') {
        return 0;
    }
    rc = gfsi_launch_get(h->keeper, h->spec->launch, gfsi_held_uid(h), gfsi_held_gid(h), &h->launch,
                         err);
    if (rc == 0) {
        (void)gfsi_life_launcher(&h->life, gfs_clock_mono(), h->launch->ready);
        (void)gfs_err_set(&h->fail, GFS_EUNAVAIL,
                          "no launcher came to %s/" GFS_LAUNCH_SUBDIR
                          ": does the pod with the client run?",
                          h->spec->launch);
    }
    return rc;
}

static int mount_it(struct gfsi_held *h, struct gfs_err *err)
{
    int rc = gfsi_session_new(h->spec, &h->session_fd, &h->session, err);

    if (rc == 0) {
        rc = gfsi_fusedev_mount(h->spec, h->session, &h->dev, err);
    }
    if (rc == 0) {
        gfs_info("keeper", "mounted", "id=%s mountpoint=%s minor=%u", h->spec->id,
                 GFS_Q(h->spec->mountpoint), h->dev.minor);
    }
    return rc;
}

int gfsi_held_new(struct gfsi_keeper *k, const struct gfs_keeper_spec *spec, int log_fd,
                  struct gfsi_held **out, struct gfs_err *err)
{
    struct gfsi_held *h = gfsi_held_alloc(k, spec);
    int rc = h == NULL ? gfs_err_set(err, GFS_ENOMEM, "mount '%s'", spec->id) : 0;

    if (rc == 0) {
        rc = find_launcher(h, err);
    }
    if (rc == 0 && log_fd < 0 && h->launch == NULL) {
        rc = open_log(h->spec, &h->log_fd, err);
    }
    if (rc == 0) {
        rc = mount_it(h, err);
    }
    if (rc != 0) {
        gfsi_held_free(h);
        return rc;
    }
    if (log_fd >= 0) {
        h->log_fd = log_fd;
    }
    gfsi_held_link(h);
    if (h->launch != NULL) {
        gfsi_recover_save(h);
    }
    *out = h;
    return 0;
}

int gfsi_held_remember(struct gfsi_keeper *k, const struct gfsi_held_memory *memory,
                       struct gfs_err *err)
{
    struct gfsi_held *h = gfsi_held_alloc(k, memory->spec);
    int rc = h == NULL ? gfs_err_set(err, GFS_ENOMEM, "mount '%s'", memory->spec->id) : 0;

    if (rc == 0 && memory->argv != NULL) {
        h->argv = gfsi_args_dup(memory->argv);
        rc = h->argv == NULL ? gfs_err_set(err, GFS_ENOMEM, "mount") : 0;
    }
    if (rc == 0) {
        rc = find_launcher(h, err);
    }
    if (rc != 0) {
        gfsi_held_free(h);
        return rc;
    }
    h->remembered = true;
    h->remembered_cookie = memory->cookie;
    h->dev.minor = memory->minor;
    h->dev.made_dir = memory->made_dir;
    gfsi_held_link(h);
    return 0;
}

void gfsi_held_mount_anew(struct gfsi_held *h)
{
    struct gfs_err err = GFS_ERR_INIT;
    bool made_dir = h->dev.made_dir;
    int rc = mount_it(h, &err);

    if (rc != 0) {
        gfs_error("keeper", "mount not recovered", "id=%s error=%s", h->spec->id, GFS_Q(err.text));
        gfsi_recover_forget(h->keeper, h->spec->id);
        gfsi_held_remove(h, rc, err.text);
        return;
    }
    gfs_warn("keeper", "mounted anew, open files of before are lost", "id=%s reason=%s",
             h->spec->id, "keeper and launcher were both gone");
    h->remembered = false;
    h->dev.made_dir = h->dev.made_dir || made_dir;
    h->remounts++;
    gfsi_recover_save(h);
    gfsi_held_start(h);
}

void gfsi_held_start(struct gfsi_held *h)
{
    gfsi_held_act(h, gfsi_life_start(&h->life, gfs_clock_mono()));
}

int gfsi_held_adopted(struct gfsi_held *h, struct gfs_err *err)
{
    uint32_t init_state = __atomic_load_n(&h->session->init_state, __ATOMIC_ACQUIRE);
    uint32_t generation = h->session->generation;
    int rc = gfsi_held_watch_client(h, err);

    if (rc != 0) {
        return rc;
    }
    gfsi_backing_adopt(&h->backings, h->session);
    h->life.restarts = generation > 0 ? generation - 1 : 0;
    gfsi_life_adopt(&h->life, gfs_clock_mono(), init_state == GFS_SESSION_INIT_REPLIED);
    gfsi_held_link(h);
    return 0;
}

struct gfsi_held *gfsi_held_find(struct gfsi_keeper *k, const char *id)
{
    struct gfsi_held *h;

    for (h = k->helds; h != NULL; h = h->next) {
        if (h->life.state != GFS_KEEPER_STOPPING && !h->removed && strcmp(h->spec->id, id) == 0) {
            return h;
        }
    }
    return NULL;
}

struct gfsi_held *gfsi_held_find_mountpoint(struct gfsi_keeper *k, const char *mountpoint)
{
    struct gfsi_held *h;

    for (h = k->helds; h != NULL; h = h->next) {
        if (h->life.state != GFS_KEEPER_STOPPING && !h->removed &&
            strcmp(h->spec->mountpoint, mountpoint) == 0) {
            return h;
        }
    }
    return NULL;
}

void gfsi_held_tick(struct gfsi_held *h, int64_t now)
{
    if (h->spawning && now - h->spawned_at >= GFSI_STARTED_NS) {
        gfsi_launch_lost(h->launch, "it starts nothing");
    }
    gfsi_held_act(h, gfsi_life_tick(&h->life, now, gfsi_fusedev_alive(&h->dev)));
}

int gfsi_held_unmount(struct gfsi_held *h, bool lazy, bool *out_detached, struct gfs_err *err)
{
    int rc = gfsi_fusedev_unmount(&h->dev, h->spec->mountpoint, lazy, out_detached, err);

    if (rc != 0) {
        return rc;
    }
    *out_detached = *out_detached && !h->remembered;
    gfs_info("keeper", "unmounted", "id=%s mountpoint=%s detached=%d", h->spec->id,
             GFS_Q(h->spec->mountpoint), *out_detached);
    gfsi_recover_forget(h->keeper, h->spec->id);
    gfsi_held_act(h, gfsi_life_unmounted(&h->life));
    return 0;
}

void gfsi_held_kill(struct gfsi_held *h)
{
    if (h->life.running && h->launch != NULL) {
        gfsi_launch_kill(h);
    }
    /* Also to a launcher's client: it may be in another pid namespace, then this fails. */
    if (h->life.running && h->client.pidfd >= 0) {
        (void)syscall(SYS_pidfd_send_signal, h->client.pidfd, SIGKILL, NULL, 0U);
    }
}

int gfsi_held_restart(struct gfsi_held *h, const char *const *argv, struct gfs_err *err)
{
    const char **copy = NULL;

    if (!gfsi_life_can_restart(&h->life)) {
        return gfs_err_set(err, GFS_EABORTED, "mount '%s' is %s", h->spec->id,
                           gfs_keeper_state_name(h->life.state));
    }
    if (argv != NULL) {
        copy = gfsi_args_dup(argv);
        if (copy == NULL) {
            return gfs_err_set(err, GFS_ENOMEM, "restart of '%s'", h->spec->id);
        }
        free(h->old_argv);
        h->old_argv = h->argv;
        h->argv = copy;
    }
    gfsi_held_act(h, gfsi_life_restart(&h->life, gfs_clock_mono(), argv != NULL));
    return 0;
}

/* As this process sees it: /proc translates where it can. */
static uint32_t pid_of(const struct gfsi_held *h)
{
    struct gfs_buf text gfs_auto_buf;
    char path[64];
    const char *at;
    int64_t pid = 0;
    int n = 0;

    gfs_buf_init(&text, 4096);
    if (!h->life.running) {
        return 0;
    }
    if (h->launch == NULL || h->client.pidfd < 0) {
        return (uint32_t)h->client.pid;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", h->client.pidfd);
    if (gfs_file_read(path, &text, NULL) == 0) {
        at = strstr(gfs_buf_str(&text), "Pid:\t");
        n = at != NULL ? (int)strcspn(at + 5, "\n") : 0;
        if (n > 0 && n < (int)sizeof(path)) {
            memcpy(path, at + 5, (size_t)n);
            path[n] = '\0';
            (void)gfs_parse_i64(path, 1, INT32_MAX, &pid);
        }
    }
    return pid > 0 ? (uint32_t)pid : (uint32_t)h->client.pid;
}

void gfsi_held_info(const struct gfsi_held *h, struct gfs_keeper_info *out)
{
    int64_t waiting = gfsi_fusedev_waiting(&h->dev);
    int64_t since_ms = (gfs_clock_mono() - h->since) / GFS_NS_PER_MS;

    *out = (struct gfs_keeper_info){
        .id = h->spec->id,
        .mountpoint = h->spec->mountpoint,
        .launch = h->spec->launch,
        .state = h->life.state,
        .pid = pid_of(h),
        .minor = h->dev.minor,
        .restarts = h->life.restarts,
        .resends = h->session != NULL ? __atomic_load_n(&h->session->resent, __ATOMIC_RELAXED) : 0,
        .hangs = h->life.hangs,
        .remounts = h->remounts,
        .waiting = waiting > 0 ? (uint32_t)waiting : 0,
        .since_ms = since_ms < UINT32_MAX ? (uint32_t)since_ms : UINT32_MAX,
    };
}
