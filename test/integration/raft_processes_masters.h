// Three goosefs-master processes in namespaces of their own, started as the quickstart does it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include <gfs/client/client.h>

#include "raft_processes_net.h"

namespace raft_processes
{

constexpr int kMasters = 3; // ends 1, 2, 3; the clients are at end 0

// Generous: an upper bound that only a broken cluster reaches.
constexpr int64_t kLong = INT64_C(90) * 1000000000;

// Polls, because what is waited for has no event of its own.
bool Eventually(const std::function<bool()> &is_true, int64_t within = kLong);

struct ClientDeleter {
    void operator()(gfs_client *client) const
    {
        gfs_client_close(client);
        gfs_client_free(client);
    }
};
using Client = std::unique_ptr<gfs_client, ClientDeleter>;

// What a master says of itself.
struct Info {
    bool answered = false;
    bool leads = false;
    uint64_t term = 0, commit = 0, applied = 0;
    std::string leader;
    int64_t started_ms = 0;
};

class Masters
{
  public:
    // Directories dir/1 .. dir/3; `options` go to each of them.
    Masters(const Network &network, const std::string &dir, std::vector<std::string> options);
    ~Masters();
    Masters(const Masters &) = delete;
    Masters &operator=(const Masters &) = delete;

    void Start(int i);
    void StartAll();
    bool Runs(int i) const
    {
        return pid_[i] > 0;
    }
    void Signal(int i, int number);
    void Kill(int i); // SIGKILL, and gone when it returns
    // Waits for the end of a master that ends by itself or was told to; its exit code, 128 +
    // signal.
    int Wait(int i);
    // SIGTERM; false and a failure when it does not end well.
    void Stop(int i);
    pid_t pid(int i) const
    {
        return pid_[i];
    }

    std::string Directory(int i) const;
    std::string Journal(int i) const; // the log's directory
    static std::string Rpc(int i);
    static std::string Raft(int i); // address of its journal port
    static std::string All();       // of gfs_client_opts.masters
    static Client Connect(const std::string &masters);

    Info Ask(int i);
    // The one that leads and that a majority follows, or 0 when that is not so within `within`.
    int Leader(int64_t within = kLong);
    int Follower();  // one of the others
    uint64_t Term(); // highest of those that answer
    // All three answer, follow the same leader, and have applied the same entries. The reason
    // otherwise, "" when they do.
    std::string Agree();

    // What a master has said since its last start, or at all.
    std::string Said(int i) const;
    bool SaidSince(int i, const std::string &text) const;

    std::vector<std::string> extra[kMasters + 1]; // options of one of them
    std::string binary;

  private:
    const Network &network_;
    std::string dir_;
    std::vector<std::string> options_;
    pid_t pid_[kMasters + 1] = {0, 0, 0, 0};
    size_t said_before_[kMasters + 1] = {0, 0, 0, 0};
    Client admin_;
};

} // namespace raft_processes
