#include "client_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gfs/base/clock.h>

#define ARGS_MAX 20
#define TEXT_MAX 512
#define LIMIT_NS (60 * GFS_NS_PER_S)

extern char **environ;

struct args {
    char text[ARGS_MAX][TEXT_MAX];
    char *v[ARGS_MAX + 1];
    unsigned n;
};

static void add(struct args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct args *a, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(a->text[a->n], TEXT_MAX, format, list);
    va_end(list);
    a->v[a->n] = a->text[a->n];
    a->n++;
}

static void etcd_args(const struct cluster *c, unsigned i, struct args *a)
{
    unsigned client = c->base + 2 * i;

    add(a, "--name=n%u", i);
    add(a, "--data-dir=%s/etcd-%u", c->dir, i);
    add(a, "--listen-client-urls=http://127.0.0.1:%u", client);
    add(a, "--advertise-client-urls=http://127.0.0.1:%u", client);
    add(a, "--listen-peer-urls=http://127.0.0.1:%u", client + 1);
    add(a, "--initial-advertise-peer-urls=http://127.0.0.1:%u", client + 1);
    add(a, "--initial-cluster=n0=http://127.0.0.1:%u,n1=http://127.0.0.1:%u,n2=http://127.0.0.1:%u",
        c->base + 1U, c->base + 3U, c->base + 5U);
    add(a, "--initial-cluster-state=new");
    add(a, "--logger=zap");
    add(a, "--log-level=error");
}

void cluster_spawn(struct cluster *c, unsigned i)
{
    struct args args = {.n = 0};
    posix_spawn_file_actions_t actions;
    char log[TEXT_MAX];
    int rc;

    add(&args, "%s", c->binary);
    if (c->etcd) {
        etcd_args(c, i, &args);
    } else {
        add(&args, "--id=%u", i + 1);
        add(&args, "--base-port=%u", c->base);
        add(&args, "--dir=%s/node-%u", c->dir, i);
    }

    (void)snprintf(log, sizeof(log), "%s/log-%u", c->dir, i);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)posix_spawn_file_actions_adddup2(&actions, 1, 2);
    rc = posix_spawnp(&c->pids[i], c->binary, &actions, NULL, args.v, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        (void)fprintf(stderr, "raft_bench_client: %s: %s\n", c->binary, strerror(rc));
        exit(1);
    }
}

void cluster_signal(const struct cluster *c, unsigned i, int signal)
{
    if (c->pids[i] > 0) {
        (void)kill(c->pids[i], signal);
    }
}

void cluster_reap(struct cluster *c, unsigned i)
{
    if (c->pids[i] > 0) {
        (void)waitpid(c->pids[i], NULL, 0);
        c->pids[i] = 0;
    }
}

struct gfs_rpc_channel *cluster_channel(const struct cluster *c, unsigned i)
{
    const struct gfs_rpc_channel_opts opts = {.multiplex = !c->unary};
    struct gfs_rpc_channel *channel;
    struct gfs_err err = GFS_ERR_INIT;
    char target[32];

    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", c->base + 2 * i);
    if (gfs_rpc_channel_new(target, &opts, &channel, &err) != 0) {
        (void)fprintf(stderr, "raft_bench_client: %s\n", err.text);
        exit(1);
    }

    return channel;
}

void cluster_start(struct cluster *c)
{
    for (unsigned i = 0; i < NODES; i++) {
        cluster_spawn(c, i);
        c->channels[i] = cluster_channel(c, i);
    }
}

void cluster_stop(struct cluster *c)
{
    for (unsigned i = 0; i < NODES; i++) {
        c->channels[i] = gfs_rpc_channel_free(c->channels[i]);
    }

    for (unsigned i = 0; i < NODES; i++) {
        cluster_signal(c, i, SIGKILL);
        cluster_reap(c, i);
    }
}

static Etcdserverpb__StatusResponse *status(struct cluster *c, unsigned i)
{
    const Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    if (gfs_rpc_call_sync(c->channels[i], &etcdserverpb__maintenance__descriptor, "Status",
                          &request.base, &response, gfs_clock_mono() + GFS_NS_PER_S, NULL) != 0) {
        return NULL;
    }

    return (Etcdserverpb__StatusResponse *)(void *)response;
}

/* Whether all agree now. */
static bool settled(struct cluster *c, unsigned *out_leader, uint64_t *out_term)
{
    Etcdserverpb__StatusResponse *s[NODES];
    unsigned leader = NODES;
    bool agreed = true;

    for (unsigned i = 0; i < NODES; i++) {
        s[i] = status(c, i);
        agreed = agreed && s[i] != NULL && s[i]->leader != 0 && s[i]->header != NULL;
        if (agreed && s[i]->header->member_id == s[i]->leader) {
            leader = i;
        }
    }

    for (unsigned i = 0; agreed && i < NODES; i++) {
        agreed = leader < NODES && s[i]->leader == s[leader]->leader &&
                 s[i]->raft_term == s[leader]->raft_term &&
                 s[i]->raft_applied_index >= s[leader]->raft_applied_index;
    }

    if (agreed) {
        *out_leader = leader;
        *out_term = s[leader]->raft_term;
    }

    for (unsigned i = 0; i < NODES; i++) {
        if (s[i] != NULL) {
            protobuf_c_message_free_unpacked(&s[i]->base, NULL);
        }
    }

    return agreed;
}

unsigned cluster_settled(struct cluster *c, uint64_t *out_term)
{
    int64_t limit = gfs_clock_mono() + LIMIT_NS;
    unsigned leader = 0;
    uint64_t term = 0;

    while (!settled(c, &leader, &term)) {
        if (gfs_clock_mono() > limit) {
            (void)fprintf(stderr, "raft_bench_client: no agreement, see %s/log-*\n", c->dir);
            cluster_stop(c);
            exit(1);
        }

        gfs_clock_sleep_until(gfs_clock_mono() + 10 * GFS_NS_PER_MS);
    }

    if (out_term != NULL) {
        *out_term = term;
    }

    return leader;
}

int64_t cluster_round_trip(struct cluster *c, unsigned i)
{
    int64_t begin = gfs_clock_mono();
    Etcdserverpb__StatusResponse *s = status(c, i);
    int64_t took = gfs_clock_mono() - begin;

    if (s != NULL) {
        protobuf_c_message_free_unpacked(&s->base, NULL);
    }

    return took;
}
