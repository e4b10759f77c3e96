/* How long nobody acknowledges a write after something happened to the leader. */
#include "client_priv.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>

#define TICK_NS      (1 * GFS_NS_PER_MS)
#define REPEAT_NS    (10 * GFS_NS_PER_MS) /* another put while earlier ones are unanswered */
#define INFLIGHT_MAX 256
#define ROUND_NS     (30 * GFS_NS_PER_S)
#define SETTLE_NS    (300 * GFS_NS_PER_MS)

/* Lives as long as the channels: puts of a round may be answered in a later one. */
struct prober {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned round;
    int64_t acknowledged; /* first time in this round by another node than the old leader; 0 */
    unsigned old_leader;
    unsigned failed; /* puts that neither succeeded nor may be repeated elsewhere */
    unsigned inflight[NODES];
    int64_t last[NODES];
};

struct probe {
    struct prober *prober;
    unsigned round;
    unsigned node;
};

/* Never taken up, or the node is gone or stops: a client asks the next one. */
static bool is_refusal(int code)
{
    return code == GFS_ENOTLEADER || code == GFS_EBUSY || code == GFS_EUNAVAIL ||
           code == GFS_ECANCELLED;
}

static void answered(void *arg, const struct gfs_rpc_result *result, ProtobufCMessage *response)
{
    struct probe *probe = arg;
    struct prober *p = probe->prober;
    int64_t now = gfs_clock_mono();

    if (response != NULL) {
        protobuf_c_message_free_unpacked(response, NULL);
    }

    (void)pthread_mutex_lock(&p->mutex);
    if (probe->round == p->round) {
        p->inflight[probe->node]--;
        if (result->code == 0 && probe->node != p->old_leader && p->acknowledged == 0) {
            p->acknowledged = now;
            (void)pthread_cond_signal(&p->changed);
        } else if (result->code != 0 && !is_refusal(result->code)) {
            p->failed++;
        }
    }

    (void)pthread_mutex_unlock(&p->mutex);
    free(probe);
}

static void send_put(struct cluster *c, struct prober *p, unsigned node, int64_t now)
{
    struct bench_put put;
    struct probe *probe = malloc(sizeof(*probe));

    if (probe == NULL) {
        abort();
    }

    bench_put_init(&put, (uint64_t)now);
    (void)pthread_mutex_lock(&p->mutex);
    *probe = (struct probe){p, p->round, node};
    p->inflight[node]++;
    p->last[node] = now;
    (void)pthread_mutex_unlock(&p->mutex);
    if (gfs_rpc_call_async(c->channels[node], &etcdserverpb__kv__descriptor, "Put",
                           &put.message.base, now + 5 * GFS_NS_PER_S, answered, probe, NULL) != 0) {
        (void)pthread_mutex_lock(&p->mutex);
        p->inflight[node]--;
        (void)pthread_mutex_unlock(&p->mutex);
        free(probe);
    }
}

/* One put to each node asked that has none running, or none young. */
static void send_due(struct cluster *c, struct prober *p, bool old_leader_too)
{
    int64_t now = gfs_clock_mono();

    for (unsigned i = 0; i < NODES; i++) {
        bool due;

        (void)pthread_mutex_lock(&p->mutex);
        due = (i != p->old_leader || old_leader_too) &&
              (p->inflight[i] == 0 ||
               (now - p->last[i] >= REPEAT_NS && p->inflight[i] < INFLIGHT_MAX));
        (void)pthread_mutex_unlock(&p->mutex);
        if (due) {
            send_put(c, p, i, now);
        }
    }
}

static void begin_round(struct prober *p, unsigned leader)
{
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&p->mutex);

    p->round++;
    p->old_leader = leader;
    p->acknowledged = 0;
    p->failed = 0;
    for (unsigned i = 0; i < NODES; i++) {
        p->inflight[i] = 0;
        p->last[i] = 0;
    }
}

static bool wait_tick(struct prober *p)
{
    int64_t at = gfs_clock_mono() + TICK_NS;
    struct timespec until = {.tv_sec = at / GFS_NS_PER_S, .tv_nsec = at % GFS_NS_PER_S};
    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&p->mutex);

    if (p->acknowledged == 0) {
        (void)pthread_cond_clockwait(&p->changed, &p->mutex, CLOCK_MONOTONIC, &until);
    }

    return p->acknowledged != 0;
}

/* From the signal to the acknowledgement; negative when none came. */
static int64_t one_round(struct cluster *c, struct prober *p, int signal)
{
    unsigned leader = cluster_settled(c, NULL);
    int64_t begin;
    bool done = false;

    /* Elections and flushes of the last round are over, and rounds do not fall into step. */
    gfs_clock_sleep_until(gfs_clock_mono() + SETTLE_NS + gfs_clock_mono() % (50 * GFS_NS_PER_MS));
    begin_round(p, leader);
    if (signal == SIGTERM) {
        send_due(c, p, true); /* a call is running while leadership moves */
    }

    begin = gfs_clock_mono();
    cluster_signal(c, leader, signal);
    while (!done && gfs_clock_mono() - begin < ROUND_NS) {
        send_due(c, p, signal == SIGTERM);
        done = wait_tick(p);
    }

    if (signal == SIGSTOP) {
        cluster_signal(c, leader, SIGCONT);
    } else {
        cluster_reap(c, leader);
        cluster_spawn(c, leader);
    }

    pthread_mutex_t *guard gfs_auto_mutex = gfs_lock(&p->mutex);
    return done ? p->acknowledged - begin : -1;
}

void measure_failover(struct cluster *c, int signal, unsigned rounds)
{
    struct prober p = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct samples took;
    unsigned lost = 0;
    unsigned failed = 0;

    samples_init(&took, rounds);
    for (unsigned i = 0; i < rounds; i++) {
        int64_t ns = one_round(c, &p, signal);

        failed += p.failed;
        if (ns < 0) {
            lost++;
            ns = ROUND_NS;
        }

        samples_add(&took, ns);
    }

    (void)printf("p50 %.2f\nmax %.2f\nfailed %u\nlost %u\n",
                 samples_quantile(&took, 0.5) / (double)GFS_NS_PER_MS,
                 samples_quantile(&took, 1) / (double)GFS_NS_PER_MS, failed, lost);
    samples_free(&took);
    cluster_stop(c); /* callbacks use the prober until here */
    (void)pthread_cond_destroy(&p.changed);
    (void)pthread_mutex_destroy(&p.mutex);
}
