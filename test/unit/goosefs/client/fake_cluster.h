// Masters and workers in this process that do as a test tells them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/base/clock.h>
#include <gfs/client/client.h>
#include <gfs/client/data_proto.h>
#include <gfs/client/file.h>
#include <gfs/rpc/server.h>

constexpr int64_t kSecond = GFS_NS_PER_S;
constexpr int64_t kLong = 60 * kSecond;

inline int64_t In(int64_t ns)
{
    return gfs_clock_mono() + ns;
}

class FakeWorker;

// What the masters agree on: who leads, which workers live.
struct FakeCluster {
    std::mutex mutex;
    int leader = 0;
    uint64_t term = 1;
    bool follower_reads = true;
    std::vector<std::string> addresses;
    std::vector<FakeWorker *> workers;
    std::set<std::string> operations; // ids of mounts applied
    int mounts_applied = 0;
    int fail_with = 0; // every FileSystemMaster call answers so
};

class FakeMaster
{
  public:
    FakeMaster(FakeCluster *cluster, int index);
    ~FakeMaster()
    {
        Kill();
    }
    void Start();
    void Kill();
    void Hang(bool on); // answers nothing until switched off

    std::atomic<int> calls{0};
    std::atomic<int> info_calls{0};

  private:
    template <typename Fill> void Answer(gfs_rpc_call *call, Fill fill);
    bool Refuse(gfs_rpc_call *call, bool leader_only);
    static void GetMasterInfo(gfs_rpc_call *, const ProtobufCMessage *, void *);
    static void GetStatus(gfs_rpc_call *, const ProtobufCMessage *, void *);
    static void Mount(gfs_rpc_call *, const ProtobufCMessage *, void *);
    static void ListWorkers(gfs_rpc_call *, const ProtobufCMessage *, void *);

    FakeCluster *cluster_;
    int index_;
    uint16_t port_ = 0;
    gfs_rpc_server *server_ = nullptr;
    std::mutex mutex_;
    bool hang_ = false;
    std::vector<gfs_rpc_call *> hung_;
};

// Three masters and a client of them.
class MasterTest : public ::testing::Test
{
  protected:
    void SetUp() override;
    void TearDown() override;
    std::string Masters();
    void Elect(int index);
    void FailWith(int code)
    {
        std::lock_guard<std::mutex> guard(cluster_.mutex);
        cluster_.fail_with = code;
    }
    void NoFollowerReads()
    {
        std::lock_guard<std::mutex> guard(cluster_.mutex);
        cluster_.follower_reads = false;
    }
    int GetStatus(const std::string &path, int64_t deadline = 0);

    FakeCluster cluster_;
    std::vector<std::unique_ptr<FakeMaster>> masters_;
    gfs_client *client_ = nullptr;
    gfs_err err_ = GFS_ERR_INIT;
};

// The byte every file of a fake worker has at an offset.
inline char ByteAt(uint64_t offset)
{
    return static_cast<char>((offset * 31 + offset / 4096) & 0xff);
}

class FakeWorker
{
  public:
    explicit FakeWorker(uint64_t id);
    ~FakeWorker();
    void Start();
    void Stop();
    uint64_t id() const
    {
        return id_;
    }
    std::string address() const
    {
        return "127.0.0.1:" + std::to_string(port_);
    }

    std::string local_socket; // as the masters tell it
    std::atomic<bool> live{true};
    std::atomic<int> status{0};       // answer every request so
    std::atomic<bool> hang{false};    // read requests, answer none
    std::atomic<bool> garbage{false}; // answer something that is no frame
    std::atomic<bool> cut{false};     // close in the middle of an answer
    std::atomic<bool> reverse{false}; // answer a pipeline backwards
    std::atomic<bool> slow{false};    // answers pings at once and requests after the second ping
    std::atomic<int> pings{0};
    std::atomic<int> requests{0};
    std::atomic<int> connections{0};
    std::atomic<uint64_t> loaded{0};
    std::function<void(const gfs_data_target &, const std::string &path,
                       const std::string &version)>
        check;

  private:
    void Serve(int fd);
    bool Answer(int fd, const gfs_data_header &request, const gfs_data_target &target);

    uint64_t id_;
    std::atomic<uint16_t> port_{0};
    int listener_ = -1;
    std::thread acceptor_;
    std::mutex mutex_;
    std::vector<std::thread> threads_;
    std::set<int> fds_;
};
