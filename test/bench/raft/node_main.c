/* raft_bench_node: one node of a Raft group with a key-value store, behind etcd's own gRPC API.
 * The parts are the masters': raft_node, their transport, lib/rpc. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gfs/base/auto.h>
#include <gfs/base/cfg.h>
#include <gfs/base/clock.h>
#include <gfs/base/log.h>
#include <gfs/base/str.h>
#include <gfs/rpc/rpc.h>
#include <gfs/rpc/server.h>
#include <raft/node.h>

#include "etcd_kv.pb-c.h"
#include "kv_store.h"
#include "transport_priv.h"

#define LOG         "bench"
#define NODES       3
#define STOP_MS     2000
#define ENTRIES_MAX (64 * 1024)

struct server {
    uint64_t id;
    uint16_t base; /* node i serves clients on base + 2i - 2 and peers on base + 2i - 1 */
    struct bench_kv *kv;
    struct raft_node *node;
    struct gfsi_transport *transport;
    struct gfs_rpc_server *rpc;
};

struct request {
    struct server *s;
    struct gfs_rpc_call *call;
    size_t key_len; /* of a read */
    uint8_t key[BENCH_KV_KEY_MAX];
};

/* ---- service -------------------------------------------------------------------------------- */

static struct request *request_new(struct server *s, struct gfs_rpc_call *call)
{
    struct request *r = malloc(sizeof(*r));

    if (r == NULL) {
        gfs_rpc_fail(call, GFS_ENOMEM, NULL);
        return NULL;
    }

    r->s = s;
    r->call = call;
    r->key_len = 0;
    return r;
}

static void fail(struct request *r, int status)
{
    uint64_t leader = raft_node_leader(r->s->node);
    int code = status == RAFT_NODE_NOT_LEADER ? GFS_ENOTLEADER
               : status == RAFT_NODE_BUSY     ? GFS_EBUSY
               : status == RAFT_NODE_UNKNOWN  ? GFS_EUNKNOWN
                                              : GFS_EUNAVAIL;

    if (code == GFS_ENOTLEADER && leader != 0) {
        char address[32];

        (void)snprintf(address, sizeof(address), "127.0.0.1:%u",
                       r->s->base + 2 * (unsigned)leader - 2);
        (void)gfs_rpc_call_set_trailer(r->call, GFS_RPC_KEY_LEADER, address);
    }

    gfs_rpc_fail(r->call, code, raft_node_strerror(status));
}

static void put_done(void *arg, int status, uint64_t index, int64_t result)
{
    struct request *r = arg;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;

    if (status == RAFT_NODE_OK && result == 0) {
        header.member_id = r->s->id;
        header.revision = (int64_t)index;
        response.header = &header;
        gfs_rpc_reply(r->call, &response.base);
    } else if (status == RAFT_NODE_OK) {
        gfs_rpc_fail(r->call, GFS_ENOSPC, "the store is full");
    } else {
        fail(r, status);
    }

    free(r);
}

static void handle_put(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    const Etcdserverpb__PutRequest *put = (const Etcdserverpb__PutRequest *)(const void *)message;
    struct request *r = request_new(user, call);
    uint8_t entry[BENCH_KV_ENTRY_MAX];
    size_t len;

    if (r == NULL) {
        return;
    }

    len = bench_kv_entry(entry, put->key.data, put->key.len, put->value.data, put->value.len);
    if (len == 0) {
        gfs_rpc_fail(call, GFS_EINVAL, "key or value is too long");
        free(r);
        return;
    }

    raft_node_propose(r->s->node, entry, len, put_done, r);
}

static void range_done(void *arg, int status, uint64_t read_index)
{
    struct request *r = arg;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__KeyValue item = ETCDSERVERPB__KEY_VALUE__INIT;
    Etcdserverpb__KeyValue *items[] = {&item};
    uint8_t value[BENCH_KV_VALUE_MAX];
    int len;

    if (status != RAFT_NODE_OK) {
        fail(r, status);
        free(r);
        return;
    }

    header.member_id = r->s->id;
    header.revision = (int64_t)read_index;
    response.header = &header;
    len = bench_kv_get(r->s->kv, r->key, r->key_len, value);
    if (len >= 0) {
        item.key = (ProtobufCBinaryData){.len = r->key_len, .data = r->key};
        item.value = (ProtobufCBinaryData){.len = (size_t)len, .data = value};
        response.kvs = items;
        response.n_kvs = 1;
        response.count = 1;
    }

    gfs_rpc_reply(r->call, &response.base);
    free(r);
}

static void handle_range(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    const Etcdserverpb__RangeRequest *range =
        (const Etcdserverpb__RangeRequest *)(const void *)message;
    struct request *r = request_new(user, call);

    if (r == NULL) {
        return;
    }

    if (range->key.len == 0 || range->key.len > sizeof(r->key)) {
        gfs_rpc_fail(call, GFS_EINVAL, "the key is empty or too long");
        free(r);
        return;
    }

    r->key_len = range->key.len;
    memcpy(r->key, range->key.data, range->key.len);
    if (range->serializable) {
        range_done(r, RAFT_NODE_OK, 0);
        return;
    }

    raft_node_read(r->s->node, range_done, r);
}

static void handle_status(struct gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    struct server *s = user;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    struct raft_node_info info;

    (void)message;
    raft_node_status(s->node, &info);
    header.member_id = s->id;
    header.raft_term = info.term;
    response.header = &header;
    response.leader = info.leader_id;
    response.raft_index = info.last_index;
    response.raft_term = info.term;
    response.raft_applied_index = info.applied_index;
    gfs_rpc_reply(call, &response.base);
}

/* ---- between Raft and transport ------------------------------------------------------------- */

static int send_frame(void *arg, uint64_t peer, const struct iovec *iov, int iovcnt)
{
    struct server *s = arg;

    return gfsi_transport_send(s->transport, peer, iov, iovcnt);
}

static void peers_changed(void *arg, const uint64_t *ids, const char *const *addresses, size_t n)
{
    struct server *s = arg;

    gfsi_transport_peers(s->transport, ids, addresses, n);
}

static void on_frame(void *arg, uint64_t peer, const void *data, size_t len)
{
    struct server *s = arg;

    (void)peer;
    (void)raft_node_receive(s->node, data, len);
}

static void on_link(void *arg, uint64_t peer, bool up)
{
    struct server *s = arg;

    if (up) {
        raft_node_link_up(s->node, peer);
    } else {
        raft_node_link_down(s->node, peer);
    }
}

static void on_change(void *arg, enum raft_node_role role, uint64_t term, uint64_t leader_id)
{
    static const char *const names[] = {"follower", "candidate", "leader", "learner"};

    (void)arg;
    gfs_info(LOG, "role", "role=%s term=%" PRIu64 " leader=%" PRIu64, names[role], term, leader_id);
}

static void on_log(void *arg, enum raft_node_log_level level, const char *line)
{
    (void)arg;
    if (level >= RAFT_NODE_LOG_INFO) {
        gfs_log_write(GFS_LOG_INFO, "raft", line, "%s", "");
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static int open_node(struct server *s, const char *dir, struct gfs_err *err)
{
    char addresses[NODES][32];
    struct raft_node_peer voters[NODES];
    const struct raft_node_opts opts = {
        .dir = dir,
        .id = s->id,
        .cluster_id = 1,
        .voters = voters,
        .n_voters = NODES,
        .fsm = bench_kv_fsm(s->kv),
        .transport = {s, send_frame, peers_changed},
        .on_change = on_change,
        .log = on_log,
        .max_entry_bytes = ENTRIES_MAX,
        .caller_turns = true,
    };
    int rc;

    for (unsigned i = 0; i < NODES; i++) {
        (void)snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", s->base + 2 * i + 1);
        voters[i] = (struct raft_node_peer){.id = i + 1, .address = addresses[i]};
    }

    rc = raft_node_open(&opts, &s->node);
    return rc == 0 ? 0 : gfs_err_set(err, GFS_EIO, "%s: %s", dir, raft_node_strerror(rc));
}

static int add_services(struct server *s, struct gfs_err *err)
{
    static const struct gfs_rpc_method kv[] = {
        {"Put", handle_put}, {"Range", handle_range}, {NULL, NULL}};
    static const struct gfs_rpc_method maintenance[] = {{"Status", handle_status}, {NULL, NULL}};
    int rc = gfs_rpc_server_add_service(s->rpc, &etcdserverpb__kv__descriptor, kv, s, err);

    return rc != 0 ? rc
                   : gfs_rpc_server_add_service(s->rpc, &etcdserverpb__maintenance__descriptor,
                                                maintenance, s, err);
}

static int start(struct server *s, const char *dir, struct gfs_err *err)
{
    char client[32];
    char peer[32];
    const struct gfs_rpc_server_opts rpc = {.name = "rpc", .n_threads = 2, .multiplex = true};
    struct gfsi_transport_opts transport = {
        .cluster = "raft-bench",
        .self = s->id,
        .listen = peer,
        .on_frame = on_frame,
        .on_link = on_link,
        .arg = s,
    };
    int rc;

    (void)snprintf(client, sizeof(client), "127.0.0.1:%u", s->base + 2 * (unsigned)s->id - 2);
    (void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", s->base + 2 * (unsigned)s->id - 1);
    s->kv = bench_kv_new();
    rc = s->kv == NULL ? gfs_err_set(err, GFS_ENOMEM, "out of memory") : open_node(s, dir, err);
    if (rc != 0) {
        return rc;
    }

    transport.max_frame = raft_node_max_frame(s->node);
    rc = gfsi_transport_new(&transport, &s->transport, err);
    rc = rc != 0 ? rc : gfs_rpc_server_new(&rpc, &s->rpc, err);
    rc = rc != 0 ? rc : gfs_rpc_server_listen(s->rpc, client, NULL, 0, NULL, err);
    rc = rc != 0 ? rc : add_services(s, err);
    if (rc == 0 && raft_node_start(s->node) != 0) {
        rc = gfs_err_set(err, GFS_EIO, "the node does not start");
    }

    rc = rc != 0 ? rc : gfsi_transport_start(s->transport, err);
    return rc != 0 ? rc : gfs_rpc_server_start(s->rpc, err);
}

/* Raft first: leadership moves on while this node still answers who leads. */
static void stop(struct server *s)
{
    if (s->node != NULL) {
        raft_node_stop(s->node, STOP_MS);
    }

    if (s->rpc != NULL) {
        gfs_rpc_server_stop(s->rpc, gfs_clock_mono() + 100 * GFS_NS_PER_MS);
    }

    s->rpc = gfs_rpc_server_free(s->rpc);
    gfsi_transport_free(s->transport);
    raft_node_free(s->node);
    bench_kv_free(s->kv);
}

static const struct gfs_cfg_option OPTIONS[] = {
    {"id", NULL, GFS_CFG_INT, "1", 1, NODES, "N", "which of the three nodes this is"},
    {"base-port", NULL, GFS_CFG_INT, "24000", 1024, 65000, "PORT", "first of six ports"},
    {"dir", NULL, GFS_CFG_STR, NULL, 0, 0, "DIR", "data directory"},
};

int main(int argc, char **argv)
{
    static const struct gfs_cfg_program program = {
        .name = "raft_bench_node",
        .summary = "One of three Raft nodes with a key-value store, for script/bench raft.",
        .options = OPTIONS,
        .n_options = sizeof(OPTIONS) / sizeof(OPTIONS[0]),
    };
    struct gfs_err err = GFS_ERR_INIT;
    struct gfs_cfg *cfg = NULL;
    struct server s = {0};
    sigset_t wait;
    int signal_number;
    int rc = gfs_cfg_parse(&program, argc, argv, &cfg, &err);

    if (rc != 0) {
        (void)fprintf(stderr, "%s", rc < 0 ? err.text : "");
        return rc < 0 ? 2 : 0;
    }

    (void)sigemptyset(&wait);
    (void)sigaddset(&wait, SIGTERM);
    (void)sigaddset(&wait, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &wait, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    gfs_rpc_init();
    s.id = (uint64_t)gfs_cfg_int(cfg, "id");
    s.base = (uint16_t)gfs_cfg_int(cfg, "base-port");
    rc = start(&s, gfs_cfg_str(cfg, "dir"), &err);
    if (rc == 0) {
        (void)sigwait(&wait, &signal_number);
    } else {
        (void)fprintf(stderr, "raft_bench_node: %s\n", err.text);
    }

    stop(&s);
    (void)gfs_cfg_free(cfg);
    gfs_rpc_shutdown();
    return rc == 0 ? 0 : 1;
}
