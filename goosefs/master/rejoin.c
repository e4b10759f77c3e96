/*
 * The way back of a master whose journal is gone, and the question that keeps an empty journal from
 * founding a second group beside the one there is.
 *
 *   journal there ────────────────────────────────────────────────▶ Raft knows
 *   empty, nobody knows another journal of ours ──▶ founder ──────▶ Raft knows
 *   empty, they know another one ──▶ learner, by RejoinQuorum ──▶ caught up ──▶ voter again
 *   empty, they do not know us ──▶ waits for fsadmin journal quorum add-learner
 */
#include "quorum_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/clock.h>
#include <gfs/base/file.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/rpc/client.h>

#define ASK_NS      (300 * GFS_NS_PER_MS) /* for one master to say whom it knows */
#define STEP_NS     (2 * GFS_NS_PER_S) /* for one step of the way; the leader finishes it anyway */
#define PAUSE_NS    (200 * GFS_NS_PER_MS)
#define REST_NS     (5 * GFS_NS_PER_S) /* between questions when only an operator can help */
#define INCARNATION 16

/* ---- asking --------------------------------------------------------------------------------- */

static enum gfsi_standing judge(const struct gfs_master *m,
                                const Goosefs__V1__GetMasterInfoResponse *info,
                                const uint8_t *incarnation)
{
    const char *self = m->members.v[m->members.self - 1].raft;
    bool group = false;

    for (size_t i = 0; i < info->n_masters; i++) {
        const Goosefs__V1__MasterAddress *master = info->masters[i];

        group = group || master->incarnation.len == INCARNATION;
        if (strcmp(master->raft_address, self) != 0) {
            continue;
        }

        if (master->incarnation.len != INCARNATION) {
            return GFSI_STANDING_FOUNDER;
        }

        return incarnation != NULL &&
                       memcmp(master->incarnation.data, incarnation, INCARNATION) == 0
                   ? GFSI_STANDING_MEMBER
                   : GFSI_STANDING_LOST;
    }

    return group ? GFSI_STANDING_STRANGER : GFSI_STANDING_FOUNDER;
}

static int call_master(struct gfs_master *m, const char *target, const char *method,
                       const ProtobufCMessage *request, int64_t patience, ProtobufCMessage **out)
{
    const struct gfs_rpc_channel_opts opts = {.hosts = m->opts.hosts};
    struct gfs_rpc_channel *channel;
    int rc = gfs_rpc_channel_new(target, &opts, &channel, NULL);

    if (rc != 0) {
        return rc;
    }

    rc = gfs_rpc_call_sync(channel, &goosefs__v1__meta_master__descriptor, method, request, out,
                           gfs_clock_mono() + patience, NULL);
    channel = gfs_rpc_channel_free(channel);
    return rc;
}

enum gfsi_standing gfsi_standing_ask(struct gfs_master *m, const uint8_t *incarnation)
{
    const Goosefs__V1__GetMasterInfoRequest request = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
    enum gfsi_standing standing = GFSI_STANDING_FOUNDER;

    for (size_t i = 0; i < m->members.n && standing == GFSI_STANDING_FOUNDER; i++) {
        ProtobufCMessage *message = NULL;

        if (i + 1 == m->members.self || call_master(m, m->members.v[i].rpc, "GetMasterInfo",
                                                    &request.base, ASK_NS, &message) != 0) {
            continue;
        }

        standing = judge(m, (const Goosefs__V1__GetMasterInfoResponse *)(const void *)message,
                         incarnation);
        protobuf_c_message_free_unpacked(message, NULL);
    }

    return standing;
}

/* ---- coming back ---------------------------------------------------------------------------- */

/* Kept until this master votes again: whoever restarts on the way is a learner by then, and must
 * know that it is not one for good. */
static int marker(const struct gfs_master *m, char *path, size_t size)
{
    return gfs_path_join(path, size, m->opts.journal_dir, "REJOINING");
}

static bool is_marked(const struct gfs_master *m)
{
    char path[GFSI_PATH_MAX];

    return marker(m, path, sizeof(path)) == 0 && access(path, F_OK) == 0;
}

static int mark(const struct gfs_master *m)
{
    char path[GFSI_PATH_MAX];
    int rc = marker(m, path, sizeof(path));

    return rc != 0 ? rc : gfs_file_write_atomic(path, "", 0, 0600, NULL);
}

static void unmark(const struct gfs_master *m)
{
    char path[GFSI_PATH_MAX];

    if (marker(m, path, sizeof(path)) == 0) {
        (void)unlink(path);
    }
}

static const struct raft_node_peer_status *own_entry(const struct raft_node_info *info)
{
    for (size_t i = 0; i < info->n_peers; i++) {
        if (info->peers[i].id == info->id &&
            memcmp(info->peers[i].incarnation, info->incarnation, INCARNATION) == 0) {
            return &info->peers[i];
        }
    }

    return NULL;
}

/* One step; the leader says no more than whether it was the last. */
static void ask_back(struct gfs_master *m, struct raft_node_info *info)
{
    Goosefs__V1__RejoinQuorumRequest request = GOOSEFS__V1__REJOIN_QUORUM_REQUEST__INIT;
    const char *leader = gfsi_leader_address(m);
    ProtobufCMessage *message = NULL;
    int rc;

    if (*leader == '\0' || info->leader_id == info->id) {
        return;
    }

    request.id = m->members.self;
    request.raft_address = m->members.v[m->members.self - 1].raft;
    request.incarnation.data = info->incarnation;
    request.incarnation.len = INCARNATION;
    rc = call_master(m, leader, "RejoinQuorum", &request.base, STEP_NS, &message);
    gfs_debug(GFSI_LOG, "asked to come back", "leader=%s answer=%s", leader, gfs_err_name(rc));
    if (message != NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
    }
}

/* What is to be done now; 0 when this master is one of the voters and done with it. */
static int64_t step(struct gfs_master *m, bool *told)
{
    const struct raft_node_peer_status *own;
    enum gfsi_standing standing;
    struct raft_node_info info;

    raft_node_status(m->node, &info);
    own = own_entry(&info);
    if (own != NULL && own->voter) {
        if (is_marked(m)) {
            gfs_info(GFSI_LOG, "back among the voters", "id=%" PRIu64, info.id);
            unmark(m);
        }
        return 0;
    }

    standing = gfsi_standing_ask(m, info.incarnation);
    if (standing == GFSI_STANDING_LOST && !is_marked(m) && mark(m) != 0) {
        return PAUSE_NS;
    }

    if (standing == GFSI_STANDING_LOST || (standing == GFSI_STANDING_MEMBER && is_marked(m))) {
        ask_back(m, &info);
        return PAUSE_NS;
    }

    if (standing == GFSI_STANDING_STRANGER && !*told) {
        *told = true;
        gfs_warn(GFSI_LOG, "not one of the masters: add it with fsadmin journal quorum add-learner",
                 "address=%s", m->members.v[m->members.self - 1].raft);
    }

    return standing == GFSI_STANDING_FOUNDER ? PAUSE_NS : REST_NS;
}

static void *rejoin_main(void *arg)
{
    struct gfs_master *m = arg;
    bool told = false;

    (void)pthread_mutex_lock(&m->mutex);
    while (!m->stopped) {
        struct timespec until;
        int64_t pause;
        int64_t at;

        (void)pthread_mutex_unlock(&m->mutex);
        pause = step(m, &told);
        (void)pthread_mutex_lock(&m->mutex);
        if (pause == 0) {
            break;
        }

        at = gfs_clock_mono() + pause;
        until = (struct timespec){.tv_sec = at / GFS_NS_PER_S, .tv_nsec = at % GFS_NS_PER_S};
        while (!m->stopped && gfs_clock_mono() < at) {
            (void)pthread_cond_clockwait(&m->changed, &m->mutex, CLOCK_MONOTONIC, &until);
        }
    }

    (void)pthread_mutex_unlock(&m->mutex);
    return NULL;
}

int gfsi_rejoin_start(struct gfs_master *m, struct gfs_err *err)
{
    if (m->members.n == 1) {
        return 0;
    }

    if (pthread_create(&m->rejoiner, NULL, rejoin_main, m) != 0) {
        return gfs_err_set(err, GFS_ENOMEM, "cannot start a thread");
    }

    (void)pthread_setname_np(m->rejoiner, "rejoin");
    m->rejoiner_runs = true;
    return 0;
}

void gfsi_rejoin_join(struct gfs_master *m)
{
    if (m->rejoiner_runs) {
        (void)pthread_join(m->rejoiner, NULL);
        m->rejoiner_runs = false;
    }
}
