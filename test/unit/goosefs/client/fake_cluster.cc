#include "unit/goosefs/client/fake_cluster.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

// ---- masters ----

FakeMaster::FakeMaster(FakeCluster *cluster, int index) : cluster_(cluster), index_(index)
{
    Start();
    std::lock_guard<std::mutex> guard(cluster_->mutex);
    cluster_->addresses.push_back("127.0.0.1:" + std::to_string(port_));
}

void FakeMaster::Start()
{
    gfs_err err = GFS_ERR_INIT;
    gfs_rpc_server_opts opts = {};
    opts.n_threads = 2;
    ASSERT_EQ(gfs_rpc_server_new(&opts, &server_, &err), 0) << err.text;
    const std::string address = "127.0.0.1:" + std::to_string(port_);
    ASSERT_EQ(gfs_rpc_server_listen(server_, address.c_str(), nullptr, 0, &port_, &err), 0)
        << err.text;
    const gfs_rpc_method meta[] = {{"GetMasterInfo", GetMasterInfo}, {nullptr, nullptr}};
    const gfs_rpc_method fs[] = {{"GetStatus", GetStatus}, {"Mount", Mount}, {nullptr, nullptr}};
    const gfs_rpc_method workers[] = {{"ListWorkers", ListWorkers}, {nullptr, nullptr}};
    ASSERT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__meta_master__descriptor, meta, this,
                                         &err),
              0);
    ASSERT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__file_system_master__descriptor, fs,
                                         this, &err),
              0);
    ASSERT_EQ(gfs_rpc_server_add_service(server_, &goosefs__v1__worker_master__descriptor, workers,
                                         this, &err),
              0);
    ASSERT_EQ(gfs_rpc_server_start(server_, &err), 0) << err.text;
}

void FakeMaster::Kill()
{
    Hang(false);
    server_ = gfs_rpc_server_free(server_);
}

void FakeMaster::Hang(bool on)
{
    std::vector<gfs_rpc_call *> waiting;
    {
        std::lock_guard<std::mutex> guard(mutex_);
        hang_ = on;
        if (!on) {
            waiting.swap(hung_);
        }
    }
    for (gfs_rpc_call *call : waiting) {
        gfs_rpc_fail(call, GFS_EUNAVAIL, "was hung");
    }
}

bool FakeMaster::Refuse(gfs_rpc_call *call, bool leader_only)
{
    {
        std::lock_guard<std::mutex> guard(mutex_);
        if (hang_) {
            hung_.push_back(call);
            return true;
        }
    }
    std::string hint;
    int fail = 0;
    bool leads;
    {
        std::lock_guard<std::mutex> guard(cluster_->mutex);
        leads = cluster_->leader == index_;
        if (cluster_->leader >= 0) {
            hint = cluster_->addresses[static_cast<size_t>(cluster_->leader)];
        }
        leader_only = leader_only || !cluster_->follower_reads;
        fail = cluster_->fail_with;
    }
    if (leader_only && !leads) {
        if (!hint.empty()) {
            gfs_rpc_call_set_trailer(call, GFS_RPC_KEY_LEADER, hint.c_str());
        }
        gfs_rpc_fail(call, GFS_ENOTLEADER, nullptr);
        return true;
    }
    if (fail < 0) {
        gfs_rpc_fail(call, fail, "told to fail");
        return true;
    }
    return false;
}

void FakeMaster::GetMasterInfo(gfs_rpc_call *call, const ProtobufCMessage *, void *user)
{
    auto *self = static_cast<FakeMaster *>(user);
    self->info_calls++;
    {
        std::lock_guard<std::mutex> guard(self->mutex_);
        if (self->hang_) {
            self->hung_.push_back(call);
            return;
        }
    }
    Goosefs__V1__GetMasterInfoResponse response = GOOSEFS__V1__GET_MASTER_INFO_RESPONSE__INIT;
    std::string leader;
    {
        std::lock_guard<std::mutex> guard(self->cluster_->mutex);
        response.this_is_leader = self->cluster_->leader == self->index_;
        response.term = self->cluster_->term;
        if (self->cluster_->leader >= 0) {
            leader = self->cluster_->addresses[static_cast<size_t>(self->cluster_->leader)];
        }
    }
    response.leader_rpc_address = leader.data();
    gfs_rpc_reply(call, &response.base);
}

void FakeMaster::GetStatus(gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    auto *self = static_cast<FakeMaster *>(user);
    self->calls++;
    if (self->Refuse(call, false)) {
        return;
    }
    const auto *r = reinterpret_cast<const Goosefs__V1__GetStatusRequest *>(request);
    Goosefs__V1__FileInfo info = GOOSEFS__V1__FILE_INFO__INIT;
    info.path = r->target->path;
    Goosefs__V1__GetStatusResponse response = GOOSEFS__V1__GET_STATUS_RESPONSE__INIT;
    response.info = &info;
    gfs_rpc_reply(call, &response.base);
}

void FakeMaster::Mount(gfs_rpc_call *call, const ProtobufCMessage *request, void *user)
{
    auto *self = static_cast<FakeMaster *>(user);
    self->calls++;
    if (self->Refuse(call, true)) {
        return;
    }
    const auto *r = reinterpret_cast<const Goosefs__V1__MountRequest *>(request);
    {
        std::lock_guard<std::mutex> guard(self->cluster_->mutex);
        const std::string id(reinterpret_cast<char *>(r->operation_id.data), r->operation_id.len);
        EXPECT_EQ(id.size(), 16u);
        self->cluster_->mounts_applied += self->cluster_->operations.insert(id).second ? 1 : 0;
    }
    Goosefs__V1__MountResponse response = GOOSEFS__V1__MOUNT_RESPONSE__INIT;
    gfs_rpc_reply(call, &response.base);
}

void FakeMaster::ListWorkers(gfs_rpc_call *call, const ProtobufCMessage *, void *user)
{
    auto *self = static_cast<FakeMaster *>(user);
    std::vector<Goosefs__V1__WorkerInfo> infos;
    std::vector<Goosefs__V1__WorkerInfo *> pointers;
    std::vector<std::string> addresses;
    {
        std::lock_guard<std::mutex> guard(self->cluster_->mutex);
        for (FakeWorker *worker : self->cluster_->workers) {
            Goosefs__V1__WorkerInfo info = GOOSEFS__V1__WORKER_INFO__INIT;
            info.id = worker->id();
            info.live = worker->live;
            info.local_socket = worker->local_socket.data();
            infos.push_back(info);
            addresses.push_back(worker->address());
        }
    }
    for (size_t i = 0; i < infos.size(); i++) {
        infos[i].data_address = addresses[i].data();
        pointers.push_back(&infos[i]);
    }
    Goosefs__V1__ListWorkersResponse response = GOOSEFS__V1__LIST_WORKERS_RESPONSE__INIT;
    response.n_workers = pointers.size();
    response.workers = pointers.data();
    gfs_rpc_reply(call, &response.base);
}

void MasterTest::SetUp()
{
    for (int i = 0; i < 3; i++) {
        masters_.push_back(std::make_unique<FakeMaster>(&cluster_, i));
    }
    gfs_client_opts opts = {};
    const std::string masters = Masters();
    opts.masters = masters.c_str();
    opts.retry_ns = kLong;
    opts.try_ns = kSecond;
    ASSERT_EQ(gfs_client_new(&opts, &client_, &err_), 0) << err_.text;
}

void MasterTest::TearDown()
{
    client_ = gfs_client_free(client_);
    masters_.clear();
}

std::string MasterTest::Masters()
{
    std::string text;
    for (const auto &address : cluster_.addresses) {
        text += (text.empty() ? "" : ",") + address;
    }
    return text;
}

void MasterTest::Elect(int index)
{
    std::lock_guard<std::mutex> guard(cluster_.mutex);
    cluster_.leader = index;
    cluster_.term++;
}

int MasterTest::GetStatus(const std::string &path, int64_t deadline)
{
    Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
    target.path = const_cast<char *>(path.c_str());
    Goosefs__V1__GetStatusRequest request = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
    request.target = &target;
    Goosefs__V1__GetStatusResponse *response = nullptr;
    err_ = GFS_ERR_INIT;
    const int rc = gfs_client_get_status(client_, &request, &response, deadline, &err_);
    if (rc == 0) {
        EXPECT_EQ(response->info->path, path);
        goosefs__v1__get_status_response__free_unpacked(response, nullptr);
    }
    return rc;
}

// ---- workers ----

namespace
{

bool ReadAll(int fd, void *data, size_t len)
{
    auto *p = static_cast<char *>(data);
    while (len > 0) {
        const ssize_t n = recv(fd, p, len, 0);
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= static_cast<size_t>(n);
    }
    return true;
}

bool WriteAll(int fd, const void *data, size_t len)
{
    const auto *p = static_cast<const char *>(data);
    while (len > 0) {
        const ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        p += n;
        len -= static_cast<size_t>(n);
    }
    return true;
}

} // namespace

FakeWorker::FakeWorker(uint64_t id) : id_(id)
{
    Start();
}

FakeWorker::~FakeWorker()
{
    Stop();
}

void FakeWorker::Start()
{
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in addr = {};
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port_);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(bind(listener_, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), 0);
    ASSERT_EQ(listen(listener_, 64), 0);
    socklen_t len = sizeof(addr);
    getsockname(listener_, reinterpret_cast<sockaddr *>(&addr), &len);
    port_ = ntohs(addr.sin_port);
    acceptor_ = std::thread([this] {
        for (;;) {
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) {
                return;
            }
            connections++;
            std::lock_guard<std::mutex> guard(mutex_);
            fds_.insert(fd);
            threads_.emplace_back([this, fd] { Serve(fd); });
        }
    });
}

void FakeWorker::Stop()
{
    if (listener_ < 0) {
        return;
    }
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    listener_ = -1;
    std::vector<std::thread> threads;
    {
        std::lock_guard<std::mutex> guard(mutex_);
        for (int fd : fds_) {
            shutdown(fd, SHUT_RDWR);
        }
        threads.swap(threads_);
    }
    for (auto &thread : threads) {
        thread.join();
    }
    for (int fd : fds_) {
        close(fd);
    }
    fds_.clear();
}

bool FakeWorker::Answer(int fd, const gfs_data_header &request, const gfs_data_target &target)
{
    gfs_data_header header = {};
    header.magic = GFS_DATA_MAGIC;
    header.type = request.type;
    header.id = request.id;
    std::string body;
    if (garbage) {
        header.magic = 0x12345678;
    } else if (status < 0) {
        header.status = static_cast<int16_t>(status.load());
        body = "worker told to fail";
    } else if (request.type == GFS_DATA_READ) {
        body.resize(target.length);
        for (uint32_t i = 0; i < target.length; i++) {
            body[i] = ByteAt(target.offset + i);
        }
    } else {
        loaded += target.length;
    }
    header.body_len = static_cast<uint32_t>(body.size());
    if (cut) {
        WriteAll(fd, &header, sizeof(header));
        WriteAll(fd, body.data(), body.size() / 2);
        shutdown(fd, SHUT_RDWR);
        return false;
    }
    return WriteAll(fd, &header, sizeof(header)) && WriteAll(fd, body.data(), body.size());
}

void FakeWorker::Serve(int fd)
{
    std::vector<std::pair<gfs_data_header, gfs_data_target>> waiting;
    for (;;) {
        if (!waiting.empty()) {
            // Collects what is there already, then answers it backwards.
            pollfd pfd = {fd, POLLIN, 0};
            if (poll(&pfd, 1, 20) == 0) {
                std::reverse(waiting.begin(), waiting.end());
                for (auto &[header, target] : waiting) {
                    Answer(fd, header, target);
                }
                waiting.clear();
            }
        }
        gfs_data_header header;
        gfs_data_target target = {};
        if (!ReadAll(fd, &header, sizeof(header))) {
            return;
        }
        if (header.type == GFS_DATA_PING) {
            pings++;
            if (!hang && !WriteAll(fd, &header, sizeof(header))) {
                return;
            }
            continue;
        }
        if (!ReadAll(fd, &target, sizeof(target))) {
            return;
        }
        EXPECT_EQ(header.magic, GFS_DATA_MAGIC);
        EXPECT_EQ(header.status, 0);
        EXPECT_EQ(header.body_len, sizeof(target) + target.path_len + target.version_len);
        std::string path(target.path_len, 0), version(target.version_len, 0);
        if (!ReadAll(fd, path.data(), path.size()) ||
            !ReadAll(fd, version.data(), version.size())) {
            return;
        }
        requests++;
        if (check) {
            check(target, path, version);
        }
        if (hang) {
            continue;
        }
        while (slow && pings < 2) {
            std::this_thread::yield();
        }
        if (reverse) {
            waiting.emplace_back(header, target);
            continue;
        }
        if (!Answer(fd, header, target)) {
            return;
        }
    }
}
