// A server with the methods of proto/test.proto, and what tests need to talk to it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <gfs/rpc/client.h>
#include <gfs/rpc/server.h>
#include <gfs/rpc/stream.h>
#include <test.pb-c.h>

constexpr int64_t kSecond = GFS_NS_PER_S;
constexpr int64_t kLong = 60 * kSecond; // upper bound of anything that should happen

inline int64_t In(int64_t ns)
{
    return gfs_clock_mono() + ns;
}

// A counter tests wait on.
class Counter
{
  public:
    void Add(int n = 1)
    {
        std::lock_guard<std::mutex> guard(mutex_);
        value_ += n;
        changed_.notify_all();
    }
    bool WaitFor(int n)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return value_ >= n; });
    }
    int value()
    {
        std::lock_guard<std::mutex> guard(mutex_);
        return value_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int value_ = 0;
};

class EchoServer
{
  public:
    explicit EchoServer(gfs_rpc_server_opts opts = {}, const std::string &address = "127.0.0.1:0",
                        std::function<void(gfs_rpc_server *)> before_start = {});
    ~EchoServer();

    const std::string &target() const
    {
        return target_;
    }
    gfs_rpc_server *get()
    {
        return server_;
    }
    void Stop(int64_t deadline)
    {
        gfs_rpc_server_stop(server_, deadline);
    }
    void Free();

    Counter said_large; // answers of Say that the request gave a size for
    Counter held;       // calls of Hold that arrived
    Counter cancelled;  // calls of Hold that were cancelled
    Counter released;   // their arguments were released
    bool reply_on_cancel = true;
    void ReleaseHeld(); // answers every held call
    size_t n_held();
    std::string last_peer();
    int64_t last_deadline();

  private:
    static void Say(gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
    static void Fail(gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
    static void Hold(gfs_rpc_call *call, const ProtobufCMessage *request, void *user);
    bool Take(gfs_rpc_call *call);

    std::mutex mutex_;
    std::vector<gfs_rpc_call *> calls_;
    std::string last_peer_;
    int64_t last_deadline_ = 0;
    gfs_rpc_server *server_ = nullptr;
    std::string target_;
};

class Channel
{
  public:
    explicit Channel(const std::string &target, gfs_rpc_channel_opts opts = {});
    ~Channel()
    {
        gfs_rpc_channel_free(channel_);
    }
    gfs_rpc_channel *get()
    {
        return channel_;
    }

    // Calls a method that takes a SayRequest; the answer's payload in *out.
    int Say(const std::string &payload, std::string *out = nullptr, int64_t deadline = In(kLong),
            const char *method = "Say", uint32_t response_bytes = 0);
    int Fail(int code, int grpc_status, const char *text, const char *leader);

    gfs_rpc_result result = {};
    gfs_err err = GFS_ERR_INIT;

  private:
    gfs_rpc_channel *channel_ = nullptr;
};

// A raw gRPC call: what the wrapper itself never sends.
struct RawResult {
    int status;
    std::string text;
};
RawResult RawCall(const std::string &target, const std::string &path, const std::string &bytes);

// A directory of the test's own, removed at its end.
class TempDir
{
  public:
    TempDir();
    ~TempDir();
    std::string operator/(const std::string &name) const
    {
        return path_ + "/" + name;
    }

  private:
    std::string path_;
};
