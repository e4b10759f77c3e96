#include "platform/local/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define EVENTS_AT_ONCE 64

struct gfsi_watch {
    struct gfsi_watch *next; /* among the dead */
    int fd;
    bool dead;
    gfsi_loop_fn fn;
    void *arg;
};

struct post {
    struct post *next;
    gfsi_loop_fn fn;
    void *arg;
};

struct gfsi_loop {
    int epoll_fd;
    int wake_fd;
    bool stopping;
    struct gfsi_timer timers; /* list head, unsorted: a few hundred at most */
    struct gfsi_watch *dead;  /* freed once no batch of events can name them */
    struct gfsi_watch *wake_watch;

    pthread_mutex_t lock; /* guards what follows */
    struct post *first;
    struct post **tail;
    size_t n_posts;
};

static void run_posts(void *arg);

int gfsi_loop_new(struct gfsi_loop **out, struct gfs_err *err)
{
    struct gfsi_loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return gfs_err_set(err, GFS_ENOMEM, "out of memory");
    }

    loop->timers.prev = loop->timers.next = &loop->timers;
    loop->tail = &loop->first;
    (void)pthread_mutex_init(&loop->lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        gfsi_loop_watch(loop, loop->wake_fd, run_posts, loop, &loop->wake_watch) < 0) {
        int rc = gfs_err_set_errno(err, errno, "cannot create an event loop");

        (void)gfsi_loop_free(loop);
        return rc;
    }

    *out = loop;
    return 0;
}

static void free_dead(struct gfsi_loop *loop)
{
    while (loop->dead != NULL) {
        struct gfsi_watch *watch = loop->dead;

        loop->dead = watch->next;
        free(watch);
    }
}

static struct post *take_posts(struct gfsi_loop *loop)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&loop->lock);
    struct post *first = loop->first;

    loop->first = NULL;
    loop->tail = &loop->first;
    loop->n_posts = 0;
    return first;
}

static void run_posts(void *arg)
{
    struct gfsi_loop *loop = arg;
    uint64_t count = 0;

    (void)!read(loop->wake_fd, &count, sizeof(count));
    for (struct post *post = take_posts(loop); post != NULL;) {
        struct post *next = post->next;

        post->fn(post->arg);
        free(post);
        post = next;
    }
}

struct gfsi_loop *gfsi_loop_free(struct gfsi_loop *loop)
{
    if (loop == NULL) {
        return NULL;
    }

    run_posts(loop);
    loop->wake_watch = gfsi_loop_unwatch(loop, loop->wake_watch);
    free_dead(loop);
    if (loop->epoll_fd >= 0) {
        (void)close(loop->epoll_fd);
    }
    if (loop->wake_fd >= 0) {
        (void)close(loop->wake_fd);
    }

    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
    return NULL;
}

int gfsi_loop_post(struct gfsi_loop *loop, gfsi_loop_fn fn, void *arg)
{
    struct post *post = calloc(1, sizeof(*post));
    uint64_t one = 1;

    if (post == NULL) {
        return GFS_ENOMEM;
    }

    post->fn = fn;
    post->arg = arg;

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&loop->lock);

    if (loop->n_posts == GFSI_LOOP_POSTS_MAX) {
        free(post);
        return GFS_EBUSY;
    }

    *loop->tail = post;
    loop->tail = &post->next;
    loop->n_posts++;
    (void)!write(loop->wake_fd, &one, sizeof(one));
    return 0;
}

int gfsi_loop_watch(struct gfsi_loop *loop, int fd, gfsi_loop_fn fn, void *arg,
                    struct gfsi_watch **out)
{
    struct gfsi_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        return GFS_ENOMEM;
    }

    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;

    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int rc = gfs_err_from_errno(errno);

        free(watch);
        return rc;
    }

    *out = watch;
    return 0;
}

struct gfsi_watch *gfsi_loop_unwatch(struct gfsi_loop *loop, struct gfsi_watch *watch)
{
    if (watch != NULL) {
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
        watch->dead = true;
        watch->next = loop->dead;
        loop->dead = watch;
    }

    return NULL;
}

void gfsi_timer_clear(struct gfsi_loop *loop, struct gfsi_timer *timer)
{
    (void)loop;
    if (timer->deadline != 0) {
        timer->prev->next = timer->next;
        timer->next->prev = timer->prev;
        timer->deadline = 0;
    }
}

void gfsi_timer_set(struct gfsi_loop *loop, struct gfsi_timer *timer, int64_t deadline,
                    gfsi_loop_fn fn, void *arg)
{
    gfsi_timer_clear(loop, timer);
    timer->deadline = deadline > 0 ? deadline : 1;
    timer->fn = fn;
    timer->arg = arg;
    timer->prev = loop->timers.prev;
    timer->next = &loop->timers;
    timer->prev->next = timer;
    timer->next->prev = timer;
}

static struct gfsi_timer *earliest(struct gfsi_loop *loop)
{
    struct gfsi_timer *best = NULL;

    for (struct gfsi_timer *t = loop->timers.next; t != &loop->timers; t = t->next) {
        if (best == NULL || t->deadline < best->deadline) {
            best = t;
        }
    }

    return best;
}

static int wait_ms(struct gfsi_loop *loop)
{
    const struct gfsi_timer *timer = earliest(loop);

    if (timer == NULL) {
        return -1;
    }

    int64_t left = timer->deadline - gfs_clock_mono();

    if (left <= 0) {
        return 0;
    }

    int64_t ms = (left + GFS_NS_PER_MS - 1) / GFS_NS_PER_MS;

    return ms > 60000 ? 60000 : (int)ms;
}

/* Those due now; one that a callback arms again waits for the next round. */
static void run_timers(struct gfsi_loop *loop)
{
    int64_t now = gfs_clock_mono();

    for (struct gfsi_timer *t = earliest(loop); t != NULL && t->deadline <= now && !loop->stopping;
         t = earliest(loop)) {
        gfsi_timer_clear(loop, t);
        t->fn(t->arg);
    }
}

void gfsi_loop_turn(struct gfsi_loop *loop)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, wait_ms(loop));

    for (int i = 0; i < n && !loop->stopping; i++) {
        struct gfsi_watch *watch = events[i].data.ptr;

        if (!watch->dead) {
            watch->fn(watch->arg);
        }
    }

    free_dead(loop);
    run_timers(loop);
}

void gfsi_loop_run(struct gfsi_loop *loop)
{
    while (!loop->stopping) {
        gfsi_loop_turn(loop);
    }
}

void gfsi_loop_drain(struct gfsi_loop *loop)
{
    run_posts(loop);
}

void gfsi_loop_stop(struct gfsi_loop *loop)
{
    loop->stopping = true;
}
