#include "unit/goosefs/cli/fake_fs.h"

#include <cstdlib>
#include <cstring>

#include <gfs/cli/cli.h>

namespace
{

const Env *g_env; // for the plain function that gfs_cli_run takes; runs do not overlap

const char *GetEnv(const char *name)
{
    const auto it = g_env->find(name);
    return it == g_env->end() ? nullptr : it->second.c_str();
}

struct Node {
    const char *path;
    uint64_t id;
    bool directory;
    uint64_t length, cached, children;
};
const Node kNodes[] = {
    {"/", 1, true, 0, 0, 1},
    {"/hbase", 2, true, 0, 0, 3},
    {"/hbase/a file", 3, false, 10000, 5000, 0},
    {"/hbase/dir", 4, true, 0, 0, 1},
    {"/hbase/dir/small", 6, false, 123, 0, 0},
    {"/hbase/z", 5, false, 20000000, 0, 0},
};

const Node *Find(const std::string &path)
{
    for (const Node &node : kNodes) {
        if (path == node.path) {
            return &node;
        }
    }
    return nullptr;
}

char *Text(const char *text)
{
    return const_cast<char *>(text);
}

Goosefs__V1__FileInfo InfoOf(const Node &node)
{
    Goosefs__V1__FileInfo info = GOOSEFS__V1__FILE_INFO__INIT;
    info.id = node.id;
    info.path = Text(node.path);
    info.name = Text(strrchr(node.path, '/') + 1);
    info.directory = node.directory;
    info.length = node.length;
    info.cached_bytes = node.cached;
    info.child_count = node.children;
    info.mode = node.directory ? 0555 : 0444;
    info.owner = Text("goosefs");
    info.group = Text("staff");
    info.ufs_path = Text("x");
    return info;
}

template <typename Request> const Request *As(const ProtobufCMessage *message)
{
    return reinterpret_cast<const Request *>(message);
}

FakeFs *Fs(void *user)
{
    return static_cast<FakeFs *>(user);
}

void GetStatus(gfs_rpc_call *call, const ProtobufCMessage *message, void *)
{
    const auto *request = As<Goosefs__V1__GetStatusRequest>(message);
    const Node *node = Find(request->target->path);
    if (node == nullptr) {
        gfs_rpc_fail(call, GFS_ENOENT, nullptr);
        return;
    }
    Goosefs__V1__FileInfo info = InfoOf(*node);
    Goosefs__V1__GetStatusResponse response = GOOSEFS__V1__GET_STATUS_RESPONSE__INIT;
    response.info = &info;
    gfs_rpc_reply(call, &response.base);
}

// The entries a listing holds, in its order.
std::vector<Goosefs__V1__FileInfo> Listed(const Node &of, bool recursive)
{
    std::vector<Goosefs__V1__FileInfo> infos;
    const std::string prefix = std::string(of.path) == "/" ? "/" : std::string(of.path) + "/";
    for (const Node &node : kNodes) {
        const std::string path = node.path;
        const bool below = path.rfind(prefix, 0) == 0 && path != prefix;
        if (!of.directory
                ? path == of.path
                : below && (recursive || path.find('/', prefix.size()) == std::string::npos)) {
            infos.push_back(InfoOf(node));
        }
    }
    return infos;
}

void ListStatus(gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    FakeFs *fs = Fs(user);
    const auto *request = As<Goosefs__V1__ListStatusRequest>(message);
    const Node *node = Find(request->target->path);
    if (node == nullptr) {
        gfs_rpc_fail(call, GFS_ENOENT, nullptr);
        return;
    }
    fs->fresh_listings += request->has_sync_interval && request->sync_interval_ms == 0 ? 1 : 0;
    auto infos = Listed(*node, request->recursive);
    std::string evil = fs->evil.get();
    if (!evil.empty()) {
        infos.push_back(InfoOf(kNodes[4]));
        infos.back().path = evil.data();
    }
    size_t from = 0;
    while (from < infos.size() && request->after[0] != '\0' &&
           strcmp(request->recursive ? infos[from].path : infos[from].name, request->after) <= 0) {
        from++;
    }
    std::vector<Goosefs__V1__FileInfo *> pointers;
    while (from < infos.size() && pointers.size() < fs->page.get()) {
        pointers.push_back(&infos[from++]);
    }
    Goosefs__V1__FileInfo directory = InfoOf(*node);
    Goosefs__V1__ListStatusResponse response = GOOSEFS__V1__LIST_STATUS_RESPONSE__INIT;
    response.directory = &directory;
    response.n_entries = pointers.size();
    response.entries = pointers.data();
    response.more = from < infos.size();
    gfs_rpc_reply(call, &response.base);
}

void Count(gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    if (Find(As<Goosefs__V1__CountRequest>(message)->path) == nullptr) {
        gfs_rpc_fail(call, GFS_ENOENT, nullptr);
        return;
    }
    Goosefs__V1__CountResponse response = GOOSEFS__V1__COUNT_RESPONSE__INIT;
    response.files = 3;
    response.directories = 2;
    response.length = 20000123;
    response.cached_bytes = Fs(user)->cached_by_count.get();
    gfs_rpc_reply(call, &response.base);
}

void LoadMetadata(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__LoadMetadataResponse response = GOOSEFS__V1__LOAD_METADATA_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void Mount(gfs_rpc_call *call, const ProtobufCMessage *message, void *user)
{
    const auto *request = As<Goosefs__V1__MountRequest>(message);
    std::string text = std::string(request->path) + " " + request->ufs_uri;
    text += request->read_only ? " ro" : "";
    for (size_t i = 0; i < request->n_properties; i++) {
        text +=
            std::string(" ") + request->properties[i]->key + "=" + request->properties[i]->value;
    }
    Fs(user)->mounted = text;
    EXPECT_EQ(request->operation_id.len, 16u);
    Goosefs__V1__MountResponse response = GOOSEFS__V1__MOUNT_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void Unmount(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__UnmountResponse response = GOOSEFS__V1__UNMOUNT_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void ListMounts(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__KeyValue pair = GOOSEFS__V1__KEY_VALUE__INIT;
    pair.key = Text("secret");
    pair.value = Text("hunter2");
    Goosefs__V1__KeyValue *pairs[] = {&pair};
    Goosefs__V1__MountInfo mount = GOOSEFS__V1__MOUNT_INFO__INIT;
    mount.path = Text("/hbase");
    mount.ufs_uri = Text("https://mirror/hbase/");
    mount.read_only = true;
    mount.n_properties = 1;
    mount.properties = pairs;
    Goosefs__V1__MountInfo *mounts[] = {&mount};
    Goosefs__V1__ListMountsResponse response = GOOSEFS__V1__LIST_MOUNTS_RESPONSE__INIT;
    response.n_mounts = 1;
    response.mounts = mounts;
    gfs_rpc_reply(call, &response.base);
}

void GetMasterInfo(gfs_rpc_call *call, const ProtobufCMessage *, void *user)
{
    Goosefs__V1__MasterAddress masters[3];
    Goosefs__V1__MasterAddress *pointers[3];
    std::string rpc[3], raft[3];
    for (size_t i = 0; i < 3; i++) {
        rpc[i] = "hbase-master-" + std::to_string(i) + ":26000";
        raft[i] = "hbase-master-" + std::to_string(i) + ":26002";
        masters[i] = GOOSEFS__V1__MASTER_ADDRESS__INIT;
        masters[i].rpc_address = rpc[i].data();
        masters[i].raft_address = raft[i].data();
        pointers[i] = &masters[i];
    }
    Goosefs__V1__GetMasterInfoResponse response = GOOSEFS__V1__GET_MASTER_INFO_RESPONSE__INIT;
    std::string leader = Fs(user)->leader.get();
    response.leader_rpc_address = leader.data();
    response.n_masters = 3;
    response.masters = pointers;
    response.version = Text("0.1.0");
    gfs_rpc_reply(call, &response.base);
}

void GetQuorumInfo(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__MasterAddress address = GOOSEFS__V1__MASTER_ADDRESS__INIT;
    address.raft_address = Text("hbase-master-0:26002");
    Goosefs__V1__QuorumServer server = GOOSEFS__V1__QUORUM_SERVER__INIT;
    server.address = &address;
    server.available = true;
    server.priority = 1;
    Goosefs__V1__QuorumServer *servers[] = {&server};
    Goosefs__V1__GetQuorumInfoResponse response = GOOSEFS__V1__GET_QUORUM_INFO_RESPONSE__INIT;
    response.leader_raft_address = address.raft_address;
    response.n_servers = 1;
    response.servers = servers;
    gfs_rpc_reply(call, &response.base);
}

void TransferLeadership(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__TransferLeadershipResponse response =
        GOOSEFS__V1__TRANSFER_LEADERSHIP_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void AddQuorumServer(gfs_rpc_call *call, const ProtobufCMessage *request, void *)
{
    auto *q = reinterpret_cast<const Goosefs__V1__AddQuorumServerRequest *>(request);
    Goosefs__V1__AddQuorumServerResponse response = GOOSEFS__V1__ADD_QUORUM_SERVER_RESPONSE__INIT;
    response.id = q->id != 0 ? q->id : 4;
    gfs_rpc_reply(call, &response.base);
}

void PromoteQuorumServer(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__PromoteQuorumServerResponse response =
        GOOSEFS__V1__PROMOTE_QUORUM_SERVER_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void RemoveQuorumServer(gfs_rpc_call *call, const ProtobufCMessage *request, void *)
{
    auto *q = reinterpret_cast<const Goosefs__V1__RemoveQuorumServerRequest *>(request);
    Goosefs__V1__RemoveQuorumServerResponse response =
        GOOSEFS__V1__REMOVE_QUORUM_SERVER_RESPONSE__INIT;
    if (strcmp(q->raft_address, "nobody:1") == 0) {
        gfs_rpc_fail(call, GFS_ENOENT, "no master has the journal address 'nobody:1'");
        return;
    }
    gfs_rpc_reply(call, &response.base);
}

void Checkpoint(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__CheckpointResponse response = GOOSEFS__V1__CHECKPOINT_RESPONSE__INIT;
    char host[] = "hbase-master-0";
    response.host = host;
    gfs_rpc_reply(call, &response.base);
}

void ListWorkers(gfs_rpc_call *call, const ProtobufCMessage *, void *user)
{
    FakeWorker *worker = Fs(user)->worker;
    const std::string data_address = worker->address();
    Goosefs__V1__TierInfo tier = GOOSEFS__V1__TIER_INFO__INIT;
    tier.alias = Text("HDD");
    tier.capacity = UINT64_C(6) << 30;
    tier.used = 20000000;
    Goosefs__V1__TierInfo *tiers[] = {&tier};
    Goosefs__V1__WorkerInfo live = GOOSEFS__V1__WORKER_INFO__INIT;
    live.id = worker->id();
    live.host = Text("hbase-worker-a");
    live.data_address = const_cast<char *>(data_address.c_str());
    live.live = true;
    live.n_tiers = 1;
    live.tiers = tiers;
    Goosefs__V1__WorkerInfo lost = GOOSEFS__V1__WORKER_INFO__INIT;
    lost.id = 99;
    lost.host = Text("hbase-worker-b");
    lost.last_heartbeat_ms = 301000;
    Goosefs__V1__WorkerInfo *workers[] = {&live, &lost};
    Goosefs__V1__ListWorkersResponse response = GOOSEFS__V1__LIST_WORKERS_RESPONSE__INIT;
    response.n_workers = 2;
    response.workers = workers;
    gfs_rpc_reply(call, &response.base);
}

void Free(gfs_rpc_call *call, const ProtobufCMessage *, void *)
{
    Goosefs__V1__FreeResponse response = GOOSEFS__V1__FREE_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

} // namespace

FakeFs::FakeFs(FakeWorker *the_worker) : worker(the_worker)
{
    gfs_err err = GFS_ERR_INIT;
    EXPECT_EQ(gfs_rpc_server_new(nullptr, &server_, &err), 0);
    EXPECT_EQ(gfs_rpc_server_listen(server_, "127.0.0.1:0", nullptr, 0, &port_, &err), 0);
    const gfs_rpc_method fs[] = {{"GetStatus", GetStatus},   {"ListStatus", ListStatus},
                                 {"Count", Count},           {"LoadMetadata", LoadMetadata},
                                 {"Mount", Mount},           {"Unmount", Unmount},
                                 {"ListMounts", ListMounts}, {nullptr, nullptr}};
    const gfs_rpc_method meta[] = {{"GetMasterInfo", GetMasterInfo},
                                   {"GetQuorumInfo", GetQuorumInfo},
                                   {"TransferLeadership", TransferLeadership},
                                   {"AddQuorumServer", AddQuorumServer},
                                   {"PromoteQuorumServer", PromoteQuorumServer},
                                   {"RemoveQuorumServer", RemoveQuorumServer},
                                   {"Checkpoint", Checkpoint},
                                   {nullptr, nullptr}};
    const gfs_rpc_method workers[] = {
        {"ListWorkers", ListWorkers}, {"Free", Free}, {nullptr, nullptr}};
    EXPECT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__file_system_master__descriptor, fs,
                                         this, &err),
              0);
    EXPECT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__meta_master__descriptor, meta, this,
                                         &err),
              0);
    EXPECT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__worker_master__descriptor, workers,
                                         this, &err),
              0);
    EXPECT_EQ(gfs_rpc_server_start(server_, &err), 0) << err.text;
}

FakeFs::~FakeFs()
{
    gfs_rpc_server_free(server_);
}

Result Goosefs(const std::vector<std::string> &args, const Env &env, FILE *out)
{
    std::vector<std::string> copies = args;
    std::vector<char *> argv = {Text("goosefs")};
    for (auto &arg : copies) {
        argv.push_back(arg.data());
    }
    argv.push_back(nullptr);
    char *out_text = nullptr, *err_text = nullptr;
    size_t out_size = 0, err_size = 0;
    FILE *out_stream = open_memstream(&out_text, &out_size);
    FILE *err_stream = open_memstream(&err_text, &err_size);
    g_env = &env;
    const int code = gfs_cli_run(static_cast<int>(argv.size()) - 1, argv.data(), GetEnv,
                                 out != nullptr ? out : out_stream, err_stream);
    fclose(out_stream);
    fclose(err_stream);
    Result result = {code, std::string(out_text, out_size), std::string(err_text, err_size)};
    free(out_text);
    free(err_text);
    return result;
}

TempDir::TempDir()
{
    char name[] = "/tmp/gfs-cli-test-XXXXXX";
    path_ = mkdtemp(name);
}

TempDir::~TempDir()
{
    std::filesystem::remove_all(path_);
}
