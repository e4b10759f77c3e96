#include "life.h"

#include <stddef.h>

#include <gfs/base/assert.h>

#define START_TIMEOUT_NS (30 * GFS_NS_PER_S)
#define BACKOFF_MIN_NS   (10 * GFS_NS_PER_MS)
#define BACKOFF_MAX_NS   (5 * GFS_NS_PER_S)
#define LEAVE_GRACE_NS   (2 * GFS_NS_PER_S) /* from the end of the connection to SIGKILL */
#define TICK_NS          GFS_NS_PER_S
#define PINGS_PER_HANG   4

#define BIT(state) (1u << (state))

/* What may follow what. */
static const unsigned allowed[] = {
    [GFS_KEEPER_STARTING] = BIT(GFS_KEEPER_SERVING) | BIT(GFS_KEEPER_STOPPING),
    [GFS_KEEPER_SERVING] =
        BIT(GFS_KEEPER_RESTARTING) | BIT(GFS_KEEPER_BROKEN) | BIT(GFS_KEEPER_STOPPING),
    [GFS_KEEPER_RESTARTING] = BIT(GFS_KEEPER_SERVING) | BIT(GFS_KEEPER_BROKEN) |
                              BIT(GFS_KEEPER_STOPPING) | BIT(GFS_KEEPER_WAITING),
    [GFS_KEEPER_WAITING] =
        BIT(GFS_KEEPER_RESTARTING) | BIT(GFS_KEEPER_BROKEN) | BIT(GFS_KEEPER_STOPPING),
    [GFS_KEEPER_BROKEN] = BIT(GFS_KEEPER_STOPPING),
    [GFS_KEEPER_STOPPING] = 0,
};

static void move(struct gfsi_life *l, enum gfs_keeper_state to)
{
    GFS_ASSERT((allowed[l->state] & BIT(to)) != 0);
    l->state = to;
}

void gfsi_life_init(struct gfsi_life *l, const struct gfs_keeper_spec *spec, uint64_t seed)
{
    *l = (struct gfsi_life){
        .state = GFS_KEEPER_STARTING,
        .start_timeout =
            spec->start_timeout_ms != 0 ? spec->start_timeout_ms * GFS_NS_PER_MS : START_TIMEOUT_NS,
        .hang_timeout = spec->hang_timeout_ms * GFS_NS_PER_MS,
        .stall_timeout = spec->stall_timeout_ms * GFS_NS_PER_MS,
    };
    gfs_backoff_init(&l->backoff, BACKOFF_MIN_NS, BACKOFF_MAX_NS, seed);
}

const char *gfsi_life_check(const struct gfsi_life *l)
{
    if (l->state < GFS_KEEPER_STARTING || l->state > GFS_KEEPER_WAITING) {
        return "no such state";
    }
    if (l->running && l->spawn_at != 0) {
        return "a client runs and another is planned";
    }
    if (l->state == GFS_KEEPER_SERVING && (!l->running || l->ready_at == 0)) {
        return "serving without a ready client";
    }
    if (l->state == GFS_KEEPER_BROKEN && l->spawn_at != 0) {
        return "a client is planned on a broken connection";
    }
    if (l->parked && (l->running || l->spawn_at != 0 || !l->no_launcher)) {
        return "waiting for a launcher, but for what?";
    }
    if ((l->state == GFS_KEEPER_WAITING) !=
        (l->parked && l->state != GFS_KEEPER_STARTING && l->state != GFS_KEEPER_STOPPING)) {
        return "WAITING and parked are not the same";
    }
    if (!l->running && (l->dying || l->ping_sent != 0)) {
        return "waiting for a client that does not run";
    }
    return NULL;
}

/* Nobody can start a client: a first one is given up after its time to start, any other waited for.
 */
static unsigned park(struct gfsi_life *l, int64_t now)
{
    l->parked = true;
    l->spawn_at = 0;
    if (l->state == GFS_KEEPER_STARTING) {
        l->deadline = now + l->start_timeout;
    }
    if (l->state == GFS_KEEPER_RESTARTING) {
        move(l, GFS_KEEPER_WAITING);
    }
    return 0;
}

static unsigned spawn(struct gfsi_life *l, int64_t now)
{
    if (l->no_launcher) {
        return park(l, now);
    }
    l->running = true;
    l->dying = false;
    l->hung = false;
    l->spawn_at = 0;
    l->ready_at = 0;
    l->ping_at = 0;
    l->ping_sent = 0;
    l->deadline = now + l->start_timeout;
    return GFSI_LIFE_SPAWN;
}

unsigned gfsi_life_launcher(struct gfsi_life *l, int64_t now, bool here)
{
    l->no_launcher = !here;
    if (!here) {
        return l->spawn_at != 0 ? park(l, now) : 0;
    }
    if (!l->parked) {
        return 0;
    }
    l->parked = false;
    if (l->state == GFS_KEEPER_WAITING) {
        move(l, GFS_KEEPER_RESTARTING);
    }
    return spawn(l, now);
}

static unsigned kill_client(struct gfsi_life *l, int64_t now)
{
    l->deadline = 0;
    l->ping_at = 0;
    if (!l->running || l->dying) {
        return 0;
    }
    l->dying = true;
    l->killed_at = now;
    return GFSI_LIFE_KILL;
}

unsigned gfsi_life_start(struct gfsi_life *l, int64_t now)
{
    return spawn(l, now);
}

unsigned gfsi_life_ready(struct gfsi_life *l, int64_t now)
{
    if (!l->running || l->dying || l->ready_at != 0) {
        return 0;
    }
    l->ready_at = now;
    l->deadline = 0;
    l->probation = false;
    if (l->hang_timeout != 0) {
        l->ping_at = now + l->hang_timeout / PINGS_PER_HANG;
    }
    if (l->state == GFS_KEEPER_STOPPING) {
        return 0;
    }
    move(l, GFS_KEEPER_SERVING);
    return GFSI_LIFE_SERVES;
}

void gfsi_life_adopt(struct gfsi_life *l, int64_t now, bool ready)
{
    l->no_launcher = false;
    l->parked = false;
    if (l->state == GFS_KEEPER_WAITING) {
        move(l, GFS_KEEPER_RESTARTING);
    }
    (void)spawn(l, now);
    if (ready) {
        (void)gfsi_life_ready(l, now);
    }
}

unsigned gfsi_life_adopt_lost(struct gfsi_life *l, int64_t now)
{
    move(l, GFS_KEEPER_SERVING);
    move(l, GFS_KEEPER_RESTARTING);
    l->restarts++;
    return spawn(l, now);
}

/* At once after a healthy life, with growing pauses for one that dies young. */
static unsigned plan_successor(struct gfsi_life *l, int64_t now, bool healthy, bool progress)
{
    int64_t pause;

    l->restarts++;
    if (healthy) {
        gfs_backoff_reset(&l->backoff);
        return spawn(l, now);
    }
    pause = gfs_backoff_next(&l->backoff);
    if (progress && pause > GFSI_LIFE_PROGRESS_PAUSE_NS) {
        pause = GFSI_LIFE_PROGRESS_PAUSE_NS;
    }
    l->spawn_at = now + pause;
    return 0;
}

/* How a client that ended had done. */
struct career {
    bool healthy;
    bool progress;
    bool probation;
    bool failed;
};

/* Callers have waited for long enough: they get an error. */
static unsigned give_up(struct gfsi_life *l)
{
    l->spawn_at = 0;
    l->parked = false;
    move(l, GFS_KEEPER_BROKEN);
    return GFSI_LIFE_ABORT | GFSI_LIFE_BROKE;
}

/* The client is gone, the mount goes on: what next? */
static unsigned succeed(struct gfsi_life *l, int64_t now, const struct career *c)
{
    if (l->swap) {
        l->swap = false;
        l->probation = l->swap_new;
        l->restarts++;
        return spawn(l, now);
    }
    if (c->probation) {
        l->restarts++;
        return GFSI_LIFE_REVERT | spawn(l, now);
    }
    l->failures = c->failed ? l->failures + 1 : 0;
    if (l->max_failures != 0 && l->failures >= l->max_failures && l->state != GFS_KEEPER_STOPPING) {
        return give_up(l);
    }
    return plan_successor(l, now, c->healthy, c->progress);
}

unsigned gfsi_life_exited(struct gfsi_life *l, int64_t now, bool alive, bool progress)
{
    struct career career = {
        .healthy = l->ready_at != 0 && now - l->ready_at >= GFSI_LIFE_HEALTHY_NS,
        .progress = progress,
        .probation = l->probation,
        .failed = !progress && (l->ready_at == 0 || l->hung),
    };

    l->running = false;
    l->dying = false;
    l->probation = false;
    l->deadline = 0;
    l->ping_at = 0;
    l->ping_sent = 0;
    switch (l->state) {
    case GFS_KEEPER_STARTING: return GFSI_LIFE_FAILED;
    case GFS_KEEPER_BROKEN: return 0;
    case GFS_KEEPER_STOPPING:
        /* Detached but in use: whoever has files open is served until they are closed. */
        return alive ? succeed(l, now, &career) : GFSI_LIFE_GONE;
    case GFS_KEEPER_SERVING:
    case GFS_KEEPER_WAITING:
    case GFS_KEEPER_RESTARTING: break;
    }
    if (!alive) {
        move(l, GFS_KEEPER_BROKEN);
        return GFSI_LIFE_BROKE;
    }
    if (l->state == GFS_KEEPER_SERVING) {
        move(l, GFS_KEEPER_RESTARTING);
    }
    return succeed(l, now, &career);
}

bool gfsi_life_can_restart(const struct gfsi_life *l)
{
    return (l->state == GFS_KEEPER_SERVING || l->state == GFS_KEEPER_RESTARTING) && !l->swap &&
           !l->probation;
}

unsigned gfsi_life_restart(struct gfsi_life *l, int64_t now, bool new_argv)
{
    GFS_ASSERT(gfsi_life_can_restart(l));
    l->swap = true;
    l->swap_new = new_argv;
    if (l->state == GFS_KEEPER_SERVING) {
        move(l, GFS_KEEPER_RESTARTING);
    }
    return l->running ? kill_client(l, now) : succeed(l, now, &(struct career){.healthy = true});
}

unsigned gfsi_life_unmounted(struct gfsi_life *l)
{
    move(l, GFS_KEEPER_STOPPING);
    l->swap = false;
    l->probation = false;
    l->deadline = 0;
    return l->running || l->spawn_at != 0 || l->parked ? 0 : GFSI_LIFE_GONE;
}

static unsigned tick_stopping(struct gfsi_life *l, int64_t now, bool alive)
{
    if (alive) {
        return 0;
    }
    if (!l->running) {
        l->spawn_at = 0;
        l->parked = false;
        return GFSI_LIFE_GONE;
    }
    /* The device says ENODEV to the client; one that does not leave then is made to. */
    if (l->deadline == 0 && !l->dying) {
        l->deadline = now + LEAVE_GRACE_NS;
    }
    return 0;
}

static unsigned kill_hung(struct gfsi_life *l, int64_t now)
{
    l->hangs++;
    l->ping_sent = 0;
    l->hung = true;
    return kill_client(l, now) | GFSI_LIFE_HUNG;
}

static unsigned tick_ping(struct gfsi_life *l, int64_t now)
{
    if (l->ping_sent != 0 && now - l->ping_sent >= l->hang_timeout) {
        return kill_hung(l, now);
    }
    if (l->ping_at == 0 || now < l->ping_at) {
        return 0;
    }
    l->ping_at = now + l->hang_timeout / PINGS_PER_HANG;
    if (l->ping_sent == 0) {
        l->ping_sent = now;
    }
    return GFSI_LIFE_PING;
}

unsigned gfsi_life_tick(struct gfsi_life *l, int64_t now, bool alive)
{
    unsigned actions = 0;

    if (l->state == GFS_KEEPER_STOPPING) {
        actions = tick_stopping(l, now, alive);
    } else if (!alive && l->state != GFS_KEEPER_STARTING && l->state != GFS_KEEPER_BROKEN) {
        actions = kill_client(l, now);
        l->spawn_at = 0;
        l->parked = false;
        move(l, GFS_KEEPER_BROKEN);
        return actions | GFSI_LIFE_BROKE;
    }
    if (l->parked && l->deadline != 0 && now >= l->deadline) {
        return GFSI_LIFE_FAILED;
    }
    if (l->dying && l->max_failures != 0 && now - l->killed_at >= GFSI_LIFE_UNKILLABLE_NS &&
        (l->state == GFS_KEEPER_SERVING || l->state == GFS_KEEPER_RESTARTING)) {
        return give_up(l);
    }
    if (l->deadline != 0 && now >= l->deadline) {
        return actions | kill_client(l, now);
    }
    if (l->spawn_at != 0 && now >= l->spawn_at) {
        return actions | spawn(l, now);
    }
    return actions | tick_ping(l, now);
}

unsigned gfsi_life_pong(struct gfsi_life *l, int64_t now, int64_t oldest)
{
    l->ping_sent = 0;
    return l->stall_timeout != 0 && oldest >= l->stall_timeout && l->ready_at != 0 && !l->dying
               ? kill_hung(l, now)
               : 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return b != 0 && b < a ? b : a;
}

int64_t gfsi_life_next(const struct gfsi_life *l, int64_t now)
{
    int64_t next = now + TICK_NS;

    next = earlier(next, l->deadline);
    next = earlier(next, l->spawn_at);
    next = earlier(next, l->ping_at);
    return earlier(next, l->ping_sent != 0 ? l->ping_sent + l->hang_timeout : 0);
}
