// Nodes in one process over a loopback transport.
#ifndef TEST_UNIT_RAFT_NODE_CLUSTER_H
#define TEST_UNIT_RAFT_NODE_CLUSTER_H

#include <gtest/gtest.h>

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "node_fsm.h"

namespace raft_test
{

// Far beyond anything that should happen; a test that hangs ends here.
constexpr std::chrono::seconds kPatience{90};

struct Result {
    int status = 0;
    uint64_t index = 0;
    int64_t value = 0;
};

class Cluster
{
  public:
    explicit Cluster(int n, std::function<void(raft_node_opts *)> tune = nullptr)
        : n_(n), tune_(std::move(tune))
    {
        std::string pattern = ::testing::TempDir() + "raft_node_XXXXXX";
        dir_ = mkdtemp(pattern.data());
    }

    ~Cluster()
    {
        std::vector<uint64_t> ids;
        for (auto &it : nodes_) {
            ids.push_back(it.first);
        }
        for (uint64_t id : ids) {
            Kill(id);
        }
        std::filesystem::remove_all(dir_);
    }

    std::string DirOf(uint64_t id) const
    {
        return dir_ + "/" + std::to_string(id);
    }

    int Start(uint64_t id, bool joins = false)
    {
        std::vector<raft_node_peer> voters;
        std::vector<std::string> addresses;
        for (int i = 1; i <= n_; i++) {
            addresses.push_back("node-" + std::to_string(i) + ":1");
        }
        for (int i = 1; i <= n_; i++) {
            voters.push_back({static_cast<uint64_t>(i), addresses[i - 1].c_str()});
        }
        auto member = std::make_unique<Member>();
        member->cluster = this;
        member->id = id;
        member->fsm = std::make_unique<Fsm>([this] { Notify(); });
        std::string dir = DirOf(id);

        raft_node_opts opts = {};
        opts.dir = dir.c_str();
        opts.id = id;
        opts.cluster_id = 0xc1;
        opts.voters = joins ? nullptr : voters.data();
        opts.n_voters = joins ? 0 : voters.size();
        opts.fsm = member->fsm->vtable();
        opts.transport.arg = member.get();
        opts.transport.send = Send;
        opts.on_change = OnChange;
        opts.on_change_arg = this;
        opts.on_fatal = OnFatal;
        opts.on_fatal_arg = this;
        if (getenv("RAFT_TEST_LOG") != nullptr) {
            opts.log = Log;
        }
        opts.segment_bytes = 256 << 10;
        opts.max_entry_bytes = 64 << 10;
        // Generous: these tests run beside others on two cores under sanitizers.
        opts.heartbeat_ms = 50;
        opts.election_ms = 400;
        opts.caller_turns = id % 2 == 1; // both ways, beside each other
        if (tune_) {
            tune_(&opts);
        }
        int err = raft_node_open(&opts, &member->node);
        if (err != 0) {
            return err;
        }
        raft_node *node = member->node;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            nodes_[id] = std::move(member);
        }
        return raft_node_start(node);
    }

    void StartAll()
    {
        for (int i = 1; i <= n_; i++) {
            ASSERT_EQ(0, Start(static_cast<uint64_t>(i)));
        }
    }

    // Away without notice: no hand-over; what was not durable is not waited for.
    void Kill(uint64_t id)
    {
        Stop(id, 0);
    }

    void Stop(uint64_t id, uint32_t timeout_ms)
    {
        raft_node *node = Node(id);
        if (node == nullptr) {
            return;
        }
        raft_node_stop(node, timeout_ms);
        std::unique_ptr<Member> member;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            member = std::move(nodes_[id]);
            nodes_.erase(id);
            cv_.wait(lock, [&] { return member->users == 0; });
        }
        raft_node_free(member->node);
        ForEach([&](raft_node *other) { raft_node_link_down(other, id); });
    }

    // Calls @use with each node that runs; none is freed meanwhile.
    void ForEach(const std::function<void(raft_node *)> &use)
    {
        std::vector<uint64_t> ids;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (auto &it : nodes_) {
                ids.push_back(it.first);
            }
        }
        for (uint64_t id : ids) {
            With(id, use);
        }
    }

    // False if @id does not run.
    bool With(uint64_t id, const std::function<void(raft_node *)> &use)
    {
        Member *member;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            auto it = nodes_.find(id);
            if (it == nodes_.end()) {
                return false;
            }
            member = it->second.get();
            member->users++;
        }
        use(member->node);
        std::lock_guard<std::mutex> lock(mutex_);
        if (--member->users == 0) {
            cv_.notify_all();
        }
        return true;
    }

    raft_node *Node(uint64_t id)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        auto it = nodes_.find(id);
        return it == nodes_.end() ? nullptr : it->second->node;
    }

    Fsm *FsmOf(uint64_t id)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return nodes_.at(id)->fsm.get();
    }

    // Frames from or to @id are lost while cut.
    void Cut(uint64_t id, bool cut)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (cut) {
            cut_.insert(id);
        } else {
            cut_.erase(id);
        }
    }

    // What @id sends from now on is held, and its raft thread with it, until it may go on.
    void Stall(uint64_t id, bool stalled)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (stalled) {
            stalled_.insert(id);
        } else {
            stalled_.erase(id);
        }
        cv_.notify_all();
    }

    // Frames handed over to @id so far.
    uint64_t FramesTo(uint64_t id)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return frames_to_[id];
    }

    // How often a node began to campaign.
    int Campaigns()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return campaigns_;
    }

    void Notify()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        changes_++;
        cv_.notify_all();
    }

    // Re-evaluated whenever a role, an applied entry or an answer changes.
    bool WaitFor(const std::function<bool()> &done)
    {
        auto until = std::chrono::steady_clock::now() + kPatience;
        for (;;) {
            uint64_t seen;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                seen = changes_;
            }
            if (done()) {
                return true;
            }
            std::unique_lock<std::mutex> lock(mutex_);
            if (!cv_.wait_until(lock, until, [&] { return changes_ != seen; })) {
                return false;
            }
        }
    }

    // The leader of the highest term.
    uint64_t Leader()
    {
        uint64_t leader = 0;
        bool ok = WaitFor([&] {
            uint64_t term = 0;
            leader = 0;
            ForEach([&](raft_node *node) {
                raft_node_info info;
                raft_node_status(node, &info);
                if (info.role == RAFT_NODE_LEADER && info.term > term) {
                    leader = info.id;
                    term = info.term;
                }
            });
            return leader != 0;
        });
        EXPECT_TRUE(ok) << "no leader";
        return leader;
    }

    Result ProposeAt(uint64_t id, const std::string &value)
    {
        auto *call = new Call<Result>{this};
        auto future = call->box;
        bool ran = With(id, [&](raft_node *node) {
            raft_node_propose(
                node, value.data(), value.size(),
                [](void *arg, int status, uint64_t index, int64_t result) {
                    static_cast<Call<Result> *>(arg)->Set({status, index, result});
                },
                call);
        });
        if (!ran) {
            call->Set({RAFT_NODE_STOPPED, 0, 0});
        }
        return Await(future);
    }

    // Repeats until some leader has it. Only what was refused is repeated, so it applies once,
    // unless the leader was lost in between; *out_unknown then tells.
    Result Propose(const std::string &value, bool *out_unknown = nullptr)
    {
        for (;;) {
            Result result = ProposeAt(Leader(), value);
            if (result.status == RAFT_NODE_OK) {
                return result;
            }
            if (result.status == RAFT_NODE_UNKNOWN && out_unknown != nullptr) {
                *out_unknown = true;
            } else if (result.status != RAFT_NODE_NOT_LEADER && result.status != RAFT_NODE_BUSY &&
                       result.status != RAFT_NODE_STOPPED) {
                return result;
            }
        }
    }

    Result ReadAt(uint64_t id)
    {
        auto *call = new Call<Result>{this};
        auto future = call->box;
        bool ran = With(id, [&](raft_node *node) {
            raft_node_read(
                node,
                [](void *arg, int status, uint64_t index) {
                    static_cast<Call<Result> *>(arg)->Set({status, index, 0});
                },
                call);
        });
        if (!ran) {
            call->Set({RAFT_NODE_STOPPED, 0, 0});
        }
        return Await(future);
    }

    int Admin(const std::function<void(raft_node_done_cb, void *)> &start)
    {
        auto *call = new Call<Result>{this};
        auto future = call->box;
        start(
            [](void *arg, int status) {
                auto *c = static_cast<Call<Result> *>(arg);
                c->Set({status, 0, 0});
            },
            call);
        return Await(future).status;
    }

    // The same for a change, which may have to wait for another one, such as the binding of ids.
    int Change(const std::function<void(raft_node_done_cb, void *)> &start)
    {
        for (;;) {
            int status = Admin(start);
            if (status != RAFT_NODE_PENDING && status != RAFT_NODE_NOT_READY) {
                return status;
            }
        }
    }

    // Frames handed over so far; each one wakes WaitFor().
    uint64_t frames()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return frames_;
    }

    int fatals()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return fatals_;
    }

    struct Box {
        bool set = false;
        Result result;
    };

    template <typename T> struct Call {
        explicit Call(Cluster *c) : cluster(c), box(std::make_shared<Box>())
        {
        }
        void Set(const Result &result)
        {
            {
                std::lock_guard<std::mutex> lock(cluster->mutex_);
                EXPECT_FALSE(box->set) << "called twice";
                box->result = result;
                box->set = true;
            }
            cluster->Notify();
            delete this;
        }
        Cluster *cluster;
        std::shared_ptr<Box> box;
    };

    Result Await(const std::shared_ptr<Box> &box)
    {
        bool ok = WaitFor([&] {
            std::lock_guard<std::mutex> lock(mutex_);
            return box->set;
        });
        EXPECT_TRUE(ok) << "no answer";
        std::lock_guard<std::mutex> lock(mutex_);
        return box->result;
    }

  private:
    struct Member {
        Cluster *cluster = nullptr;
        uint64_t id = 0;
        std::unique_ptr<Fsm> fsm;
        raft_node *node = nullptr;
        int users = 0; // frames being handed over; under Cluster::mutex_
    };

    static int Send(void *arg, uint64_t peer_id, const iovec *iov, int iovcnt)
    {
        auto *from = static_cast<Member *>(arg);
        Cluster *self = from->cluster;
        std::string frame;
        for (int i = 0; i < iovcnt; i++) {
            frame.append(static_cast<const char *>(iov[i].iov_base), iov[i].iov_len);
        }
        Member *to;
        {
            std::unique_lock<std::mutex> lock(self->mutex_);
            self->cv_.wait(lock, [&] { return self->stalled_.count(from->id) == 0; });
            auto it = self->nodes_.find(peer_id);
            if (it == self->nodes_.end() || self->cut_.count(peer_id) != 0 ||
                self->cut_.count(from->id) != 0) {
                return -1;
            }
            to = it->second.get();
            to->users++;
            self->frames_++;
            self->frames_to_[peer_id]++;
            self->changes_++;
            self->cv_.notify_all();
        }
        int err = raft_node_receive(to->node, frame.data(), frame.size());
        std::lock_guard<std::mutex> lock(self->mutex_);
        if (--to->users == 0) {
            self->cv_.notify_all();
        }
        return err;
    }

    static void OnChange(void *arg, raft_node_role role, uint64_t, uint64_t)
    {
        auto *self = static_cast<Cluster *>(arg);
        {
            std::lock_guard<std::mutex> lock(self->mutex_);
            self->campaigns_ += role == RAFT_NODE_CANDIDATE;
        }
        self->Notify();
    }

    static void OnFatal(void *arg, int status, const char *why)
    {
        auto *self = static_cast<Cluster *>(arg);
        fprintf(stderr, "fatal %d: %s\n", status, why);
        {
            std::lock_guard<std::mutex> lock(self->mutex_);
            self->fatals_++;
        }
        self->Notify();
    }

    static void Log(void *, raft_node_log_level level, const char *line)
    {
        fprintf(stderr, "[%d] %s\n", level, line);
    }

    int n_;
    std::function<void(raft_node_opts *)> tune_;
    std::string dir_;
    std::mutex mutex_;
    std::condition_variable cv_;
    uint64_t changes_ = 0;
    int fatals_ = 0;
    uint64_t frames_ = 0;
    std::map<uint64_t, std::unique_ptr<Member>> nodes_;
    std::set<uint64_t> cut_;
    std::set<uint64_t> stalled_;
    std::map<uint64_t, uint64_t> frames_to_;
    int campaigns_ = 0;
};

inline void FlipByte(const std::string &path, size_t at)
{
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    char byte = static_cast<char>(file.get() ^ 8);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
}

// Damages the oldest segment of node @id, which does not run.
inline void DamageLog(Cluster *c, uint64_t id, size_t at)
{
    std::string found;
    for (auto &it : std::filesystem::directory_iterator(c->DirOf(id))) {
        if (it.path().extension() == ".wal" && (found.empty() || it.path().string() < found)) {
            found = it.path().string();
        }
    }
    FlipByte(found, at);
}

inline bool IsRecovering(Cluster *c, uint64_t id)
{
    return std::filesystem::exists(c->DirOf(id) + "/recovering");
}

inline std::string Value(int i)
{
    return "value-" + std::to_string(i);
}

// Every value at least once, in the order in which each first appears.
inline void ExpectAll(const std::vector<std::string> &have, int n)
{
    std::set<std::string> set(have.begin(), have.end());
    for (int i = 0; i < n; i++) {
        EXPECT_EQ(1u, set.count(Value(i))) << Value(i);
    }
}

inline bool AllEqual(Cluster *c, const std::vector<uint64_t> &ids, size_t at_least)
{
    return c->WaitFor([&] {
        auto first = c->FsmOf(ids[0])->values();
        return first.size() >= at_least && std::all_of(ids.begin(), ids.end(), [&](uint64_t id) {
                   return c->FsmOf(id)->values() == first;
               });
    });
}

} // namespace raft_test

#endif
