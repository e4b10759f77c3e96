// One master that plays three, with a small tree, and a way to run the command against it.
#pragma once

#include <sys/wait.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "unit/goosefs/client/fake_cluster.h"

using Env = std::map<std::string, std::string>;

struct Result {
    int code;
    std::string out, err;
};

// `out` replaces the captured standard output.
Result Goosefs(const std::vector<std::string> &args, const Env &env = {}, FILE *out = nullptr);

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

// A value that the test and the server's threads share.
template <typename T> class Shared
{
  public:
    Shared(T value) : value_(std::move(value))
    {
    }
    void operator=(T value)
    {
        std::lock_guard<std::mutex> guard(mutex_);
        value_ = std::move(value);
    }
    T get() const
    {
        std::lock_guard<std::mutex> guard(mutex_);
        return value_;
    }

  private:
    mutable std::mutex mutex_;
    T value_;
};

// /hbase: "a file" (10000 bytes, half cached), dir/small (123 bytes), z (20,000,000 bytes).
class FakeFs
{
  public:
    explicit FakeFs(FakeWorker *worker);
    ~FakeFs();
    uint16_t port() const
    {
        return port_;
    }

    Shared<std::string> leader{"hbase-master-0:26000"};
    Shared<uint32_t> page{1000};
    std::atomic<int> fresh_listings{0};
    Shared<std::string> mounted{""};
    Shared<std::string> evil{""}; // a path added to listings
    Shared<uint64_t> cached_by_count{5000};
    FakeWorker *worker;

  private:
    uint16_t port_ = 0;
    gfs_rpc_server *server_ = nullptr;
};

class CliTest : public ::testing::Test
{
  protected:
    Result Run(const std::vector<std::string> &args, FILE *out = nullptr)
    {
        return Goosefs(args,
                       {{"GOOSEFS_MASTER_RPC_ADDRESSES", "127.0.0.1:" + std::to_string(fs_.port())},
                        {"GOOSEFS_USER_RPC_RETRY_MAX_DURATION", "60s"}},
                       out);
    }

    FakeWorker worker_{11};
    FakeFs fs_{&worker_};
};
