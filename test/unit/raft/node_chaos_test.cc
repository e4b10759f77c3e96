// Clients write and read while nodes are killed, cut off, restarted and made to hand over.
#include "node_cluster.h"

#include <atomic>
#include <random>
#include <thread>

namespace raft_test
{
namespace
{

class Chaos
{
  public:
    explicit Chaos(uint32_t seed)
        : rng_(seed), cluster_(3, [](raft_node_opts *o) {
              o->snapshot_entries = 150;
              o->trailing_entries = 40;
              o->segment_bytes = 64 << 10;
              o->max_entry_bytes = 4096;
              o->cache_bytes = 8192; // most of what laggards need has to come from the log
              o->snapshot_chunk_bytes = 2048;
              o->heartbeat_ms = 20;
              o->election_ms = 150;
          })
    {
    }

    void Run(int rounds)
    {
        cluster_.StartAll();
        std::vector<std::thread> clients;
        for (int i = 0; i < 3; i++) {
            clients.emplace_back([this, i] { Client(i); });
        }
        for (int round = 0; round < rounds && !testing::Test::HasFailure(); round++) {
            int target = acks_.load() + 40;
            EXPECT_TRUE(cluster_.WaitFor([&] { return acks_.load() >= target; })) << round;
            Disturb();
        }
        stop_ = true;
        for (auto &client : clients) {
            client.join();
        }
        Judge();
    }

  private:
    void Client(int number)
    {
        std::mt19937 rng(static_cast<uint32_t>(number) + 77);
        for (int i = 0; !stop_; i++) {
            std::string value = "c" + std::to_string(number) + "-" + std::to_string(i);
            bool sent = false;
            while (!stop_ && !sent) {
                Result r = cluster_.ProposeAt(cluster_.Leader(), value);
                sent = r.status == RAFT_NODE_OK || r.status == RAFT_NODE_UNKNOWN;
                std::lock_guard<std::mutex> lock(mutex_);
                if (r.status == RAFT_NODE_OK) {
                    acked_.insert(value);
                    newest_ = std::max(newest_, r.index);
                    acks_++;
                }
                attempted_.insert(value);
            }
            if (i % 4 == 0) {
                ReadSomewhere(1 + rng() % 3);
            }
        }
    }

    // Whatever was acknowledged before the question is below the answer.
    void ReadSomewhere(uint64_t id)
    {
        uint64_t newest;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            newest = newest_;
        }
        Result r = cluster_.ReadAt(id);
        if (r.status == RAFT_NODE_OK) {
            EXPECT_GE(r.index, newest);
            reads_++;
        }
    }

    void Disturb()
    {
        uint64_t id = 1 + rng_() % 3;
        switch (rng_() % 6) {
        case 0:
            cluster_.Kill(id);
            EXPECT_EQ(0, cluster_.Start(id));
            break;
        case 1: // away for a while
            cluster_.Kill(id);
            AwaitAcks(60);
            EXPECT_EQ(0, cluster_.Start(id));
            break;
        case 2: // cut off, the leader in two of three cases
            id = rng_() % 3 != 0 ? cluster_.Leader() : id;
            cluster_.Cut(id, true);
            AwaitAcks(60);
            cluster_.Cut(id, false);
            break;
        case 3:
            id = cluster_.Leader();
            cluster_.Stop(id, 2000);
            EXPECT_EQ(0, cluster_.Start(id));
            break;
        case 4: // the disk loses something old: no vote until it is back
            cluster_.Kill(id);
            DamageLog(&cluster_, id, 4096 + 20);
            EXPECT_EQ(0, cluster_.Start(id));
            EXPECT_TRUE(cluster_.WaitFor([&] { return !IsRecovering(&cluster_, id); }));
            break;
        default: // power cut
            for (uint64_t i = 1; i <= 3; i++) {
                cluster_.Kill(i);
            }
            for (uint64_t i = 1; i <= 3; i++) {
                EXPECT_EQ(0, cluster_.Start(i));
            }
            break;
        }
    }

    void AwaitAcks(int n)
    {
        int target = acks_.load() + n;
        EXPECT_TRUE(cluster_.WaitFor([&] { return acks_.load() >= target; }));
    }

    void Judge()
    {
        bool unknown = false;
        Result r = cluster_.Propose("end", &unknown);
        ASSERT_EQ(RAFT_NODE_OK, r.status);
        for (uint64_t id = 1; id <= 3; id++) {
            EXPECT_TRUE(cluster_.WaitFor([&] { return cluster_.FsmOf(id)->applied() >= r.index; }));
        }
        auto values = cluster_.FsmOf(1)->values();
        std::set<std::string> unique(values.begin(), values.end());
        if (!unknown) {
            EXPECT_EQ(values.size(), unique.size()) << "something was applied twice";
        }
        for (const std::string &value : acked_) {
            EXPECT_EQ(1u, unique.count(value)) << "lost " << value;
        }
        for (const std::string &value : unique) {
            EXPECT_TRUE(value == "end" || attempted_.count(value) == 1) << "phantom " << value;
        }
        EXPECT_EQ(values, cluster_.FsmOf(2)->values());
        EXPECT_EQ(values, cluster_.FsmOf(3)->values());
        EXPECT_EQ(0, cluster_.fatals());
        EXPECT_GT(reads_.load(), 0);
    }

    std::mt19937 rng_;
    Cluster cluster_;
    std::atomic<bool> stop_{false};
    std::atomic<int> acks_{0};
    std::atomic<int> reads_{0};
    std::mutex mutex_;
    std::set<std::string> acked_;
    std::set<std::string> attempted_;
    uint64_t newest_ = 0;
};

class RaftNodeChaos : public testing::TestWithParam<uint32_t>
{
};

TEST_P(RaftNodeChaos, NothingAcknowledgedIsLostAndNothingAppliedTwice)
{
    Chaos chaos(GetParam());
    chaos.Run(12);
}

// RAFT_CHAOS_SEEDS=100 in the environment for a long run.
uint32_t LastSeed()
{
    const char *text = getenv("RAFT_CHAOS_SEEDS");
    return text == nullptr ? 3 : static_cast<uint32_t>(strtoul(text, nullptr, 10));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RaftNodeChaos, testing::Range(1u, LastSeed() + 1));

} // namespace
} // namespace raft_test
