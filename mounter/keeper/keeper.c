/* The loop: sources, time, and the end. */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/buf.h>
#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>

#include "keeper_priv.h"
#include "launch.h"

#define EVENTS_PER_ROUND 64
#define LISTEN_BACKLOG   64
#define STOP_KILL_NS     (3 * GFS_NS_PER_S) /* from SIGTERM to SIGKILL of clients still there */

int gfsi_keeper_watch(struct gfsi_keeper *k, int fd, uint32_t events, struct gfsi_source *source,
                      struct gfs_err *err)
{
    struct epoll_event ev = {.events = events, .data.ptr = source};

    if (epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        return gfs_err_set_errno(err, errno, "epoll_ctl");
    }
    return 0;
}

void gfsi_keeper_rewatch(struct gfsi_keeper *k, int fd, uint32_t events, struct gfsi_source *source)
{
    struct epoll_event ev = {.events = events, .data.ptr = source};

    (void)epoll_ctl(k->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
}

void gfsi_keeper_unwatch(struct gfsi_keeper *k, int fd)
{
    (void)epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static bool somebody_answers(const struct sockaddr_un *address)
{
    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                       errno == EAGAIN);
}

static int listen_at(const char *path, int *out, struct gfs_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd gfs_auto_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old;
    int rc;

    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "socket");
    }
    if (gfs_str_copy(address.sun_path, sizeof(address.sun_path), path) != 0) {
        return gfs_err_set(err, GFS_EINVAL, "socket path %s is longer than %zu bytes", path,
                           sizeof(address.sun_path) - 1);
    }
    if (somebody_answers(&address)) {
        return gfs_err_set(err, GFS_EEXIST, "another keeper serves %s", path);
    }
    (void)unlink(path);
    old = umask(0177);
    rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    (void)umask(old);
    if (rc != 0) {
        return gfs_err_set_errno(err, errno, "socket %s", path);
    }
    if (listen(fd, LISTEN_BACKLOG) != 0) {
        return gfs_err_set_errno(err, errno, "listening at %s", path);
    }
    *out = GFS_TAKE_FD(fd);
    return 0;
}

static int open_signals(int *out, struct gfs_err *err)
{
    sigset_t set;
    int fd;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return gfs_err_set_errno(err, errno, "sigprocmask");
    }
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return gfs_err_set_errno(err, errno, "signalfd");
    }
    *out = fd;
    return 0;
}

/* The kernel should take anything but the keeper: without it no client comes back. Best effort:
 * less than the inherited value needs CAP_SYS_RESOURCE. Returns what clients get back. */
static int protect_from_oom(void)
{
    struct gfs_buf text gfs_auto_buf;
    int64_t before = 0;
    int fd gfs_auto_fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);

    gfs_buf_init(&text, 64);
    if (fd < 0 || gfs_file_read("/proc/self/oom_score_adj", &text, NULL) != 0) {
        return 0;
    }
    if (text.len > 0 && text.data[text.len - 1] == '\n') {
        text.data[text.len - 1] = '\0';
    }
    if (gfs_parse_i64(gfs_buf_str(&text), -1000, 1000, &before) != 0) {
        return 0;
    }
    if (write(fd, "-1000", 5) < 0) {
        gfs_debug("keeper", "no OOM protection", "errno=%d", errno);
    }
    return (int)before;
}

static void signal_ready(struct gfsi_source *source, uint32_t events);

static int set_up(struct gfsi_keeper *k, struct gfs_err *err)
{
    int rc;

    k->in = malloc(GFS_KEEPER_MSG_MAX);
    k->msg = calloc(1, sizeof(*k->msg));
    if (k->in == NULL || k->msg == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "keeper");
    }
    k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (k->epoll_fd < 0) {
        return gfs_err_set_errno(err, errno, "epoll_create1");
    }
    rc = open_signals(&k->signal_fd, err);
    if (rc == 0) {
        rc = listen_at(k->socket_path, &k->listen_fd, err);
    }
    if (rc != 0) {
        return rc;
    }
    k->signal_source = (struct gfsi_source){.ready = signal_ready, .owner = k};
    k->listen_source = (struct gfsi_source){.ready = gfsi_conn_accept, .owner = k};
    rc = gfsi_keeper_watch(k, k->signal_fd, EPOLLIN, &k->signal_source, err);
    if (rc == 0) {
        rc = gfsi_keeper_watch(k, k->listen_fd, EPOLLIN, &k->listen_source, err);
    }
    if (rc != 0) {
        return rc;
    }
    k->oom_score_adj = protect_from_oom();
    rc = gfsi_recover_read_boot_id(k->boot_id, sizeof(k->boot_id));
    if (rc != 0) {
        return gfs_err_set(err, rc, "the machine's boot id");
    }
    rc = gfs_mkdirs(k->state_dir, 0700, err);
    if (rc == 0) {
        gfsi_recover_all(k);
    }
    return rc;
}

static char *make_state_dir(const struct gfsi_keeper_config *config)
{
    char *path = NULL;

    if (config->state_dir != NULL && config->state_dir[0] != '\0') {
        return strdup(config->state_dir);
    }
    return asprintf(&path, "%s.d", config->socket_path) < 0 ? NULL : path;
}

int gfsi_keeper_new(const struct gfsi_keeper_config *config, struct gfsi_keeper **out,
                    struct gfs_err *err)
{
    struct gfsi_keeper *k = calloc(1, sizeof(*k));
    int rc;

    if (k == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "keeper");
    }
    *k = (struct gfsi_keeper){
        .epoll_fd = -1,
        .listen_fd = -1,
        .signal_fd = -1,
        .socket_path = config->socket_path,
        .leave = config->leave,
        .client_uid = config->client_uid,
        .client_gid = config->client_gid,
        .stall_timeout = config->stall_timeout_ns,
        .max_failures = config->max_failures,
    };
    gfs_buf_init(&k->out, GFS_KEEPER_MSG_MAX);
    k->state_dir = make_state_dir(config);
    rc = k->state_dir == NULL ? gfs_err_set(err, GFS_ENOMEM, "keeper") : set_up(k, err);
    if (rc != 0) {
        (void)gfsi_keeper_free(k);
        return rc;
    }
    *out = k;
    return 0;
}

static void close_listener(struct gfsi_keeper *k)
{
    if (k->listen_fd >= 0) {
        (void)unlink(k->socket_path);
        (void)close(k->listen_fd);
        k->listen_fd = -1;
    }
}

struct gfsi_keeper *gfsi_keeper_free(struct gfsi_keeper *k)
{
    if (k == NULL) {
        return NULL;
    }
    while (k->conns != NULL) {
        struct gfsi_conn *c = k->conns;

        k->conns = c->next;
        gfsi_conn_free(c);
    }
    while (k->helds != NULL) {
        struct gfsi_held *h = k->helds;

        k->helds = h->next;
        gfsi_held_free(h);
    }
    while (k->launches != NULL) {
        struct gfsi_launch *l = k->launches;

        k->launches = l->next;
        gfsi_launch_free(l);
    }
    close_listener(k);
    if (k->signal_fd >= 0) {
        (void)close(k->signal_fd);
    }
    if (k->epoll_fd >= 0) {
        (void)close(k->epoll_fd);
    }
    gfs_buf_fini(&k->out);
    free(k->state_dir);
    free(k->msg);
    free(k->in);
    free(k);
    return NULL;
}

/* ---- running --------------------------------------------------------------------------------- */

/* What a round removed is freed after it: events of the round may still point there. */
static void collect_garbage(struct gfsi_keeper *k)
{
    struct gfsi_conn **c = &k->conns;
    struct gfsi_held **h = &k->helds;
    struct gfsi_launch **l = &k->launches;

    while (*c != NULL) {
        struct gfsi_conn *dead = *c;

        if (!dead->removed) {
            c = &dead->next;
            continue;
        }
        *c = dead->next;
        k->n_conns--;
        gfsi_conn_free(dead);
    }
    while (*h != NULL) {
        struct gfsi_held *dead = *h;

        if (!dead->removed || dead->life.running) {
            h = &dead->next;
            continue;
        }
        *h = dead->next;
        k->n_helds--;
        gfsi_held_free(dead);
    }
    while (*l != NULL) {
        struct gfsi_launch *unused = *l;

        if (unused->n_held > 0) {
            l = &unused->next;
            continue;
        }
        *l = unused->next;
        gfsi_launch_free(unused);
    }
}

static void begin_stop(struct gfsi_keeper *k)
{
    struct gfsi_held *h;

    if (k->stopping) {
        return;
    }
    gfs_info("keeper", "stopping", "mounts=%zu leave=%d", k->n_helds, k->leave);
    k->stopping = true;
    k->stop_deadline = gfs_clock_mono() + STOP_KILL_NS;
    gfsi_keeper_unwatch(k, k->listen_fd);
    close_listener(k);
    for (h = k->helds; h != NULL && !k->leave; h = h->next) {
        struct gfs_err err = GFS_ERR_INIT;
        bool detached = false;

        if (h->removed) {
            continue;
        }
        if (h->life.state != GFS_KEEPER_STOPPING &&
            gfsi_held_unmount(h, true, &detached, &err) != 0) {
            gfs_error("keeper", "unmounting at the end", "id=%s error=%s", h->spec->id,
                      GFS_Q(err.text));
            gfsi_held_act(h, gfsi_life_unmounted(&h->life));
        }
        gfsi_conn_answer(k, h, ~0U, GFS_EABORTED, "the keeper is stopping");
        /* Whoever still has files open there loses them: nobody will serve them. */
        if (gfsi_fusedev_alive(&h->dev)) {
            gfsi_held_kill(h);
        }
    }
}

static void signal_ready(struct gfsi_source *source, uint32_t events)
{
    struct gfsi_keeper *k = source->owner;
    struct signalfd_siginfo info;

    (void)events;
    if (read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        begin_stop(k);
    }
}

static void tick_all(struct gfsi_keeper *k, int64_t now)
{
    struct gfsi_held *h;

    for (h = k->helds; h != NULL; h = h->next) {
        if (!h->removed) {
            gfsi_held_tick(h, now);
        }
    }
    if (k->stopping && now >= k->stop_deadline) {
        for (h = k->helds; h != NULL; h = h->next) {
            gfsi_held_kill(h);
        }
    }
}

/* While stopping, a client that ends is not followed by another. */
static void drop_stopped(struct gfsi_keeper *k)
{
    struct gfsi_held *h;

    for (h = k->helds; h != NULL; h = h->next) {
        h->removed = h->removed || !h->life.running;
    }
}

static int wait_ms(const struct gfsi_keeper *k, int64_t now)
{
    const struct gfsi_held *h;
    int64_t next = INT64_MAX;

    for (h = k->helds; h != NULL; h = h->next) {
        int64_t at = gfsi_life_next(&h->life, now);

        next = at < next ? at : next;
    }
    if (k->stopping && k->stop_deadline > now && k->stop_deadline < next) {
        next = k->stop_deadline;
    }
    if (next == INT64_MAX) {
        return -1;
    }
    return next <= now ? 0 : (int)((next - now + GFS_NS_PER_MS - 1) / GFS_NS_PER_MS);
}

static bool finished(struct gfsi_keeper *k)
{
    if (!k->stopping) {
        return false;
    }
    if (k->leave) {
        return true;
    }
    drop_stopped(k);
    collect_garbage(k);
    return k->helds == NULL || gfs_clock_mono() > k->stop_deadline + GFSI_STOP_NS;
}

int gfsi_keeper_run(struct gfsi_keeper *k, struct gfs_err *err)
{
    struct epoll_event events[EVENTS_PER_ROUND];

    while (!finished(k)) {
        int n = epoll_wait(k->epoll_fd, events, EVENTS_PER_ROUND, wait_ms(k, gfs_clock_mono()));
        int i;

        if (n < 0 && errno != EINTR) {
            return gfs_err_set_errno(err, errno, "epoll_wait");
        }
        for (i = 0; i < n; i++) {
            struct gfsi_source *source = events[i].data.ptr;

            source->ready(source, events[i].events);
        }
        /* Time only when all that came has been heard: a keeper that was itself stopped for a while
         * must not take its clients' answers, waiting in the sockets, for silence. */
        if (n < EVENTS_PER_ROUND) {
            tick_all(k, gfs_clock_mono());
        }
        collect_garbage(k);
    }
    if (!k->leave) {
        (void)rmdir(k->state_dir);
    }
    return 0;
}
