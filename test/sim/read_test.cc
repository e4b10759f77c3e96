// Checklist 56 to 60: linearizable reads.
#include "sim/scenario.h"

using namespace sim;

class Reads : public Scenario
{
};

TEST_F(Reads, S56_ANewLeaderServesNoneBeforeItsOwnCommit)
{
    World &w = start();
    elect(1);
    write(5);
    w.run_for(100 * kMs);
    raft_index committed = w.oracle.last();
    w.crash(1);
    w.filter = [](const Message &m) {
        bool noop = m.m.type == RAFT_MSG_APPEND && m.m.from == 2 && !m.entries.empty();
        return !noop && (m.m.type != RAFT_MSG_VOTE || m.m.from == 2);
    };
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 2; }, 10 * kSec));
    EXPECT_EQ(w.read(2, 1000), 0);
    w.run_for(100 * kMs);
    EXPECT_EQ(w.read_values.count(1000), 0u);
    w.filter = nullptr;
    ASSERT_TRUE(w.run_until([&] { return w.read_values.count(1000) > 0; }, 5 * kSec));
    EXPECT_GT(w.read_values[1000], committed);
    finish();
}

TEST_F(Reads, S57_LateAnswersOfAnEarlierRoundConfirmNothing)
{
    World &w = start();
    elect(1);
    write(2);
    // Answers to the first round are held back.
    std::vector<Message> late;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_APPEND_REPLY && m.m.to == 1) {
            late.push_back(m);
            return false;
        }
        return true;
    };
    EXPECT_EQ(w.read(1, 1000), 0);
    w.run_for(5 * kMs);
    ASSERT_FALSE(late.empty());
    w.isolate(1);
    w.filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.from == 2; };
    w.link_down(2, 1);
    w.link_down(3, 1);
    ASSERT_TRUE(w.run_until([&] { return w.node(2).out.role == RAFT_LEADER && committed_own(2); },
                            290 * kMs));
    ASSERT_EQ(w.node(1).out.role, RAFT_LEADER) << "the old one does not know";
    raft_index last = propose(2, 2);
    w.run_for(5 * kMs);
    ASSERT_GE(w.oracle.last(), last);

    EXPECT_EQ(w.read(1, 1001), 0); // began after those writes
    for (const Message &m : late) {
        w.deliver(m);
        w.deliver(m);
    }
    w.run_for(10 * kMs);
    EXPECT_EQ(w.read_values.count(1000), 1u) << "the earlier one may be served by them";
    EXPECT_EQ(w.read_values.count(1001), 0u) << "stale";
    w.run_for(kSec);
    EXPECT_NE(w.read_results[1001].result, 0);
    finish();
}

TEST_F(Reads, S58_AReadWaitsUntilItsIndexIsApplied)
{
    World &w = start();
    elect(1);
    write(2);
    w.run_for(100 * kMs);
    w.disk_freeze(3, true); // cannot make anything durable, so applies nothing
    raft_index last = propose(1, 3);
    w.run_for(20 * kMs);
    ASSERT_GE(w.oracle.last(), last);
    EXPECT_EQ(w.read(3, 1000), 0);
    w.run_for(50 * kMs);
    EXPECT_EQ(w.read_results[1000].result, 0);
    EXPECT_GE(w.read_results[1000].index, last);
    EXPECT_EQ(w.read_values.count(1000), 0u);
    EXPECT_TRUE(read_at(1, 1001)) << "the leader has it";
    w.disk_freeze(3, false);
    ASSERT_TRUE(w.run_until([&] { return w.read_values.count(1000) > 0; }, kSec));
    EXPECT_GE(w.read_values[1000], last);
    finish();
}

TEST_F(Reads, ManyInOneRoundAndOnEveryServer)
{
    World &w = start();
    elect(1);
    write(1);
    w.run_for(100 * kMs);
    size_t heartbeats = 0;
    w.filter = [&](const Message &m) {
        heartbeats += m.m.type == RAFT_MSG_APPEND;
        return true;
    };
    for (uint64_t i = 0; i < 40; i++) {
        EXPECT_EQ(w.read(1 + i % 3, 2000 + i), 0);
    }
    w.run_for(10 * kMs);
    for (uint64_t i = 0; i < 40; i++) {
        EXPECT_EQ(w.read_values.count(2000 + i), 1u) << i;
    }
    EXPECT_LE(heartbeats, 12u) << "rounds are shared";
    finish();
}

TEST_F(Reads, BeyondTheLimitAreBusy)
{
    World &w = start();
    elect(1);
    w.run_for(100 * kMs);
    w.isolate(1);
    int busy = 0;
    for (uint64_t i = 0; i < 100; i++) {
        busy += w.read(1, 3000 + i) == RAFT_ERR_BUSY;
    }
    EXPECT_EQ(busy, 100 - 64);
    w.run_for(kSec);
    for (uint64_t i = 0; i < 64; i++) {
        EXPECT_EQ(w.read_results[3000 + i].result, RAFT_ERR_NOT_LEADER);
    }
    finish();
}

TEST_F(Reads, OnAFollowerAreAskedAgainWhenTheAnswerIsLost)
{
    World &w = start();
    elect(1);
    write(1);
    w.run_for(100 * kMs);
    int lost = 0;
    w.filter = [&](const Message &m) { return m.m.type != RAFT_MSG_READ_REPLY || ++lost > 2; };
    EXPECT_TRUE(read_at(2, 1000));
    EXPECT_EQ(lost, 3);
    finish();
}

TEST_F(Reads, S60_ClockJumpsNeitherServeStaleReadsNorStartElections)
{
    World &w = start();
    elect(1);
    write(2);
    raft_term term = status(1).term;
    for (int i = 0; i < 20; i++) {
        Node &n = w.node(1 + static_cast<raft_id>(i) % 3);
        n.clock_offset += (i % 2 ? -1 : 1) * static_cast<int64_t>(500 * kSec);
        w.run_for(100 * kMs);
        EXPECT_TRUE(read_at(1, 5000 + static_cast<uint64_t>(i)));
    }
    EXPECT_EQ(status(1).term, term);
    EXPECT_EQ(w.leader(), 1u);
    finish();
}
