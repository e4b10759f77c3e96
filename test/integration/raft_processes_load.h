// Client sessions that change and read the mount table, and the history they leave for the judge.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "linear/linear.h"
#include "raft_processes_masters.h"

namespace raft_processes
{

// A round: sessions start, faults happen, sessions stop, the history is judged. The next round
// starts with the table that the last one left.
class Load
{
  public:
    // Origins of the mounts are made below `dir`.
    Load(const std::string &dir, uint64_t seed);
    ~Load();

    void Start();
    // Ends the sessions and judges. "" or what is wrong, with the file the history was written to.
    std::string Finish();

    // Until `n` more changes were acknowledged. False when that takes too long.
    bool MoreWrites(int n, int64_t within = kLong);
    bool MoreReads(int n, int64_t within = kLong);
    int writes() const
    {
        return writes_;
    }
    int reads() const
    {
        return reads_;
    }
    // Calls of sessions that may ask all masters, and yet got no answer.
    int unanswered() const
    {
        return unanswered_;
    }
    int64_t longest_ns() const // from a change's call to its answer, in this round
    {
        return longest_ns_;
    }

  private:
    struct Session {
        int master;        // the only one it asks, once per call; -1: gfs_client finds the leader
        bool lost = false; // the last call had no answer
        Client client;
        std::mt19937_64 random;
        std::vector<linear::Op> history;
        std::vector<std::string> failures;
        std::thread thread;
    };

    void Run(Session *s);
    void Step(Session *s);
    int Call(Session *s, int master, gfs_client_method method, const ProtobufCMessage *request,
             ProtobufCMessage **out, gfs_err *err);
    void Mount(Session *s, const std::string &path);
    void Unmount(Session *s, const std::string &path);
    void Stat(Session *s, const std::string &path);
    bool List(Session *s, int master); // whether it was answered
    void Note(Session *s, linear::Op op, int rc, const std::string &answer, const gfs_err &err);
    std::string Save(const std::vector<linear::Op> &history) const;

    std::string dir_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<Session>> sessions_;
    std::vector<linear::Op> before_; // brings the empty table to where this round starts
    std::atomic<bool> stop_{false};
    std::atomic<int> writes_{0}, reads_{0}, origins_{0}, unanswered_{0};
    std::atomic<int64_t> longest_ns_{0};
};

} // namespace raft_processes
