/* Who leads? Asks all masters at once. */
#include "client_priv.h"

#include <stdlib.h>
#include <string.h>

#include <gfs/base/auto.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>

#define PROBE_NS (1 * GFS_NS_PER_S)

/* One round. Answers may come after the round is over, so it is counted. */
struct round {
    const struct gfs_client *client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned refs;
    unsigned pending;
    int leader; /* by what others say, of the highest term; -1 */
    uint64_t term;
    bool certain; /* the leader said so itself */
};

struct probe {
    struct round *round;
    unsigned master;
};

static void round_unref(struct round *round)
{
    (void)pthread_mutex_lock(&round->mutex);
    const bool last = --round->refs == 0;
    (void)pthread_mutex_unlock(&round->mutex);
    if (last) {
        pthread_mutex_destroy(&round->mutex);
        pthread_cond_destroy(&round->changed);
        free(round);
    }
}

int gfsi_client_find_master(const struct gfs_client *client, const char *address)
{
    for (unsigned i = 0; i < client->n_masters; i++) {
        if (strcmp(client->masters[i].address, address) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void answered(void *arg, const struct gfs_rpc_result *result, ProtobufCMessage *message)
{
    struct probe *probe = arg;
    struct round *round = probe->round;

    (void)pthread_mutex_lock(&round->mutex);
    round->pending--;
    if (result->code == 0) {
        const Goosefs__V1__GetMasterInfoResponse *info =
            (const Goosefs__V1__GetMasterInfoResponse *)(const void *)message;
        const int leader = info->this_is_leader
                               ? (int)probe->master
                               : gfsi_client_find_master(round->client, info->leader_rpc_address);
        const bool newer = round->leader < 0 || info->term > round->term;
        if (leader >= 0 &&
            (info->this_is_leader ? !round->certain || newer : !round->certain && newer)) {
            round->leader = leader;
            round->term = info->term;
            round->certain = info->this_is_leader;
        }
    }
    pthread_cond_broadcast(&round->changed);
    (void)pthread_mutex_unlock(&round->mutex);

    if (message != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
    }
    free(probe);
    round_unref(round);
}

static struct round *round_new(const struct gfs_client *client)
{
    struct round *round = calloc(1, sizeof(*round));
    if (round == NULL) {
        return NULL;
    }
    round->client = client;
    round->leader = -1;
    round->refs = 1;
    pthread_mutex_init(&round->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&round->changed, &attr);
    pthread_condattr_destroy(&attr);
    return round;
}

static void ask(struct round *round, unsigned master, int64_t deadline)
{
    struct probe *probe = malloc(sizeof(*probe));
    if (probe == NULL) {
        return;
    }
    *probe = (struct probe){.round = round, .master = master};
    (void)pthread_mutex_lock(&round->mutex);
    round->refs++;
    round->pending++;
    (void)pthread_mutex_unlock(&round->mutex);

    const Goosefs__V1__GetMasterInfoRequest request = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    const int rc = gfs_rpc_call_async(round->client->masters[master].channel,
                                      &goosefs__v1__meta_master__descriptor, "GetMasterInfo",
                                      &request.base, deadline, answered, probe, NULL);
    if (rc < 0) {
        (void)pthread_mutex_lock(&round->mutex);
        round->pending--;
        (void)pthread_mutex_unlock(&round->mutex);
        free(probe);
        round_unref(round);
    }
}

/* Runs one round: until a leader says so itself, or all have answered. */
static int run_round(const struct gfs_client *client, unsigned failed, int64_t deadline)
{
    struct round *round = round_new(client);
    if (round == NULL) {
        return -1;
    }
    for (unsigned i = 0; i < client->n_masters; i++) {
        ask(round, i, deadline);
    }

    (void)pthread_mutex_lock(&round->mutex);
    const struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S,
                                   .tv_nsec = deadline % GFS_NS_PER_S};
    while (round->pending > 0 && !round->certain && gfs_clock_mono() < deadline) {
        (void)pthread_cond_timedwait(&round->changed, &round->mutex, &until);
    }
    int leader = round->leader;
    if (leader == (int)failed && !round->certain) {
        leader = -1; /* its followers have not noticed yet */
    }
    (void)pthread_mutex_unlock(&round->mutex);
    round_unref(round);
    return leader;
}

int gfsi_client_discover(struct gfs_client *client, unsigned failed, int64_t deadline)
{
    (void)pthread_mutex_lock(&client->mutex);
    if (client->discovering) {
        const struct timespec until = {.tv_sec = deadline / GFS_NS_PER_S,
                                       .tv_nsec = deadline % GFS_NS_PER_S};
        const unsigned before = client->discoveries;
        while (client->discoveries == before && !client->closed && gfs_clock_mono() < deadline) {
            (void)pthread_cond_timedwait(&client->changed, &client->mutex, &until);
        }
        const int leader = client->leader == failed ? -1 : (int)client->leader;
        (void)pthread_mutex_unlock(&client->mutex);
        return leader;
    }
    client->discovering = true;
    (void)pthread_mutex_unlock(&client->mutex);

    const int64_t limit = gfs_clock_mono() + PROBE_NS;
    const int leader = run_round(client, failed, limit < deadline ? limit : deadline);

    (void)pthread_mutex_lock(&client->mutex);
    client->discovering = false;
    client->discoveries++;
    if (leader >= 0) {
        client->leader = (unsigned)leader;
    }
    pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->mutex);
    gfs_debug("client", "asked for the leader", "answer=%s",
              leader >= 0 ? client->masters[leader].address : "none");
    return leader;
}
