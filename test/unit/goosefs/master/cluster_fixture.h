// Masters in this process, called over real connections.
#ifndef GFS_TEST_MASTER_CLUSTER_FIXTURE_H
#define GFS_TEST_MASTER_CLUSTER_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>
#include <gfs/master/master.h>
#include <gfs/rpc/client.h>

#include "goosefs_master.pb-c.h"

namespace gfs_test
{

class Scratch
{
  public:
    Scratch()
    {
        std::string name = (std::filesystem::temp_directory_path() / "gfs-cluster-XXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~Scratch()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::string Sub(const std::string &name) const
    {
        return path + "/" + name;
    }
    void Write(const std::string &name, const std::string &content) const
    {
        std::filesystem::create_directories(std::filesystem::path(Sub(name)).parent_path());
        std::ofstream(Sub(name), std::ios::binary) << content;
    }
    std::string path;
};

// Loopback addresses of this process, so that tests may run beside each other.
inline std::string Host(int i)
{
    int pid = getpid();
    return "127." + std::to_string(1 + pid % 250) + "." + std::to_string(1 + pid / 250 % 250) +
           "." + std::to_string(i);
}

constexpr int kRpc = 26000;
constexpr int kWeb = 26001;
constexpr int kJournal = 26002;

// Generous: an upper bound that only a broken test reaches.
constexpr int64_t kLong = 60 * GFS_NS_PER_S;

// Polls, because what is waited for has no event of its own.
inline bool Eventually(const std::function<bool()> &is_true)
{
    int64_t deadline = gfs_clock_mono() + kLong;
    while (!is_true()) {
        if (gfs_clock_mono() > deadline) {
            return false;
        }
        gfs_clock_sleep_until(gfs_clock_mono() + 5 * GFS_NS_PER_MS);
    }
    return true;
}

struct Reply {
    int code = 0;
    std::string text;
    std::string leader;
    std::shared_ptr<ProtobufCMessage> message;

    template <typename T> const T *As() const
    {
        return reinterpret_cast<const T *>(message.get());
    }
};

class Caller
{
  public:
    explicit Caller(const std::string &target)
    {
        gfs_rpc_channel_opts opts = {};
        opts.multiplex = true; // as gfs_client has it
        EXPECT_EQ(gfs_rpc_channel_new(target.c_str(), &opts, &channel_, nullptr), 0);
    }
    ~Caller()
    {
        gfs_rpc_channel_free(channel_);
    }
    Reply Call(const ProtobufCServiceDescriptor &service, const char *method,
               const ProtobufCMessage *request)
    {
        ProtobufCMessage *response = nullptr;
        gfs_rpc_result result{};
        gfs_rpc_call_sync_result(channel_, &service, method, request, &response,
                                 gfs_clock_mono() + kLong, &result, nullptr);
        Reply reply;
        reply.code = result.code;
        reply.text = result.text;
        reply.leader = result.leader;
        if (response != nullptr) {
            reply.message.reset(response, [](ProtobufCMessage *m) {
                protobuf_c_message_free_unpacked(m, nullptr);
            });
        }
        return reply;
    }
    Reply Fs(const char *method, const ProtobufCMessage *request)
    {
        return Call(goosefs__v1__file_system_master__descriptor, method, request);
    }
    Reply Mount(const std::string &path, const std::string &uri, const std::string &id = "")
    {
        Goosefs__V1__MountRequest q = GOOSEFS__V1__MOUNT_REQUEST__INIT;
        q.path = const_cast<char *>(path.c_str());
        q.ufs_uri = const_cast<char *>(uri.c_str());
        q.read_only = true;
        q.operation_id.data = reinterpret_cast<uint8_t *>(const_cast<char *>(id.data()));
        q.operation_id.len = id.size();
        return Fs("Mount", &q.base);
    }
    Reply Unmount(const std::string &path)
    {
        Goosefs__V1__UnmountRequest q = GOOSEFS__V1__UNMOUNT_REQUEST__INIT;
        q.path = const_cast<char *>(path.c_str());
        return Fs("Unmount", &q.base);
    }
    Reply Stat(const std::string &path, int64_t interval_ms = -2)
    {
        Goosefs__V1__GetStatusRequest q = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
        Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
        target.path = const_cast<char *>(path.c_str());
        q.target = &target;
        q.has_sync_interval = interval_ms != -2;
        q.sync_interval_ms = interval_ms;
        return Fs("GetStatus", &q.base);
    }
    Reply StatId(uint64_t id)
    {
        Goosefs__V1__GetStatusRequest q = GOOSEFS__V1__GET_STATUS_REQUEST__INIT;
        Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
        target.id = id;
        q.target = &target;
        return Fs("GetStatus", &q.base);
    }
    Reply Lookup(uint64_t parent, const std::string &name)
    {
        Goosefs__V1__LookupRequest q = GOOSEFS__V1__LOOKUP_REQUEST__INIT;
        q.parent_id = parent;
        q.name = const_cast<char *>(name.c_str());
        return Fs("Lookup", &q.base);
    }
    Reply List(const std::string &path, bool recursive = false, const std::string &after = "",
               uint32_t limit = 0, int64_t interval_ms = -2)
    {
        Goosefs__V1__ListStatusRequest q = GOOSEFS__V1__LIST_STATUS_REQUEST__INIT;
        Goosefs__V1__PathOrId target = GOOSEFS__V1__PATH_OR_ID__INIT;
        target.path = const_cast<char *>(path.c_str());
        q.target = &target;
        q.after = const_cast<char *>(after.c_str());
        q.limit = limit;
        q.recursive = recursive;
        q.has_sync_interval = interval_ms != -2;
        q.sync_interval_ms = interval_ms;
        return Fs("ListStatus", &q.base);
    }
    // Names (paths, when recursive) of one whole listing, or "!code".
    std::vector<std::string> Names(const std::string &path, bool recursive = false,
                                   uint32_t limit = 0, int64_t interval_ms = -2)
    {
        std::vector<std::string> names;
        std::string after;
        for (;;) {
            Reply reply = List(path, recursive, after, limit, interval_ms);
            if (reply.code != 0) {
                return {"!" + std::string(gfs_err_name(reply.code)) + " " + reply.text};
            }
            auto *r = reply.As<Goosefs__V1__ListStatusResponse>();
            for (size_t i = 0; i < r->n_entries; i++) {
                names.emplace_back(recursive ? r->entries[i]->path : r->entries[i]->name);
            }
            if (!r->more) {
                return names;
            }
            after = names.back();
        }
    }
    Reply Count(const std::string &path)
    {
        Goosefs__V1__CountRequest q = GOOSEFS__V1__COUNT_REQUEST__INIT;
        q.path = const_cast<char *>(path.c_str());
        return Fs("Count", &q.base);
    }
    Reply Meta(const char *method, const ProtobufCMessage *request)
    {
        return Call(goosefs__v1__meta_master__descriptor, method, request);
    }
    Reply Info()
    {
        Goosefs__V1__GetMasterInfoRequest q = GOOSEFS__V1__GET_MASTER_INFO_REQUEST__INIT;
        return Call(goosefs__v1__meta_master__descriptor, "GetMasterInfo", &q.base);
    }

  private:
    gfs_rpc_channel *channel_ = nullptr;
};

class Cluster
{
  public:
    explicit Cluster(int n, const std::string &dir) : n_(n), dir_(dir), masters_(n + 1, nullptr)
    {
        for (int i = 1; i <= n; i++) {
            addresses_ += (i > 1 ? "," : "") + Host(i) + ":" + std::to_string(kJournal);
            callers_[i] = std::make_unique<Caller>(Rpc(i));
        }
    }
    ~Cluster()
    {
        for (gfs_master *m : masters_) {
            gfs_master_free(m);
        }
    }
    static std::string Rpc(int i)
    {
        return Host(i) + ":" + std::to_string(kRpc);
    }
    int Start(int i, const std::function<void(gfs_master_opts &)> &tweak = nullptr)
    {
        std::string host = Host(i);
        std::string journal = dir_ + "/journal-" + std::to_string(i);
        gfs_master_opts opts{};
        opts.hostname = host.c_str();
        opts.rpc_bind_host = opts.journal_bind_host = opts.web_bind_host = host.c_str();
        opts.journal_addresses = addresses_.c_str();
        opts.rpc_port = kRpc;
        opts.web_port = kWeb;
        opts.journal_port = kJournal;
        opts.journal_dir = journal.c_str();
        opts.metastore_map_bytes = size_t{1} << 30;
        if (tweak) {
            tweak(opts);
        }
        gfs_err err = GFS_ERR_INIT;
        int rc = gfs_master_new(&opts, &masters_[i], &err);
        if (rc == 0) {
            rc = gfs_master_start(masters_[i], &err);
        }
        error = err.text;
        return rc;
    }
    void StartAll(const std::function<void(gfs_master_opts &)> &tweak = nullptr)
    {
        for (int i = 1; i <= n_; i++) {
            ASSERT_EQ(Start(i, tweak), 0) << error;
        }
        ASSERT_NE(Leader(), 0);
    }
    // timeout 0: as if killed.
    void Stop(int i, uint32_t timeout_ms)
    {
        gfs_master_stop(masters_[i], timeout_ms);
        masters_[i] = gfs_master_free(masters_[i]);
    }
    // Waits for a leader that serves.
    int Leader()
    {
        int leader = 0;
        bool found = Eventually([&] {
            for (int i = 1; i <= n_; i++) {
                if (masters_[i] != nullptr && gfs_master_is_leader(masters_[i])) {
                    leader = i;
                    return true;
                }
            }
            return false;
        });
        EXPECT_TRUE(found) << "no leader";
        return leader;
    }
    Caller &At(int i)
    {
        return *callers_[i];
    }
    // Until the leader answers: elections may pass in between.
    Reply OnLeader(const std::function<Reply(Caller &)> &call)
    {
        Reply reply;
        Eventually([&] {
            int leader = Leader();
            reply = leader == 0 ? Reply{} : call(At(leader));
            return leader != 0 && !(gfs_err_retryable(reply.code) && reply.code != GFS_EBUSY);
        });
        return reply;
    }
    std::string error;

  private:
    int n_;
    std::string dir_;
    std::string addresses_;
    std::vector<gfs_master *> masters_;
    std::map<int, std::unique_ptr<Caller>> callers_;
};

// Body of GET path from the web port of master i, with its status line in front.
inline std::string HttpGet(int i, const std::string &path)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in addr{};
    addr.sin_family = AF_INET;
    addr.sin_port = htons(kWeb);
    inet_pton(AF_INET, Host(i).c_str(), &addr.sin_addr);
    std::string out;
    if (connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) == 0) {
        std::string q = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        char buf[4096];
        ssize_t n = send(fd, q.data(), q.size(), MSG_NOSIGNAL);
        while (n > 0 && (n = recv(fd, buf, sizeof(buf), 0)) > 0) {
            out.append(buf, static_cast<size_t>(n));
        }
    }
    close(fd);
    return out;
}

} // namespace gfs_test

#endif
