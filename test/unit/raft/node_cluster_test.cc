#include "node_cluster.h"

#include <atomic>
#include <thread>

namespace raft_test
{
namespace
{

TEST(RaftNode, SingleNodeCommitsAndRemembers)
{
    Cluster c(1);
    c.StartAll();
    for (int i = 0; i < 20; i++) {
        Result r = c.Propose(Value(i));
        ASSERT_EQ(RAFT_NODE_OK, r.status);
        EXPECT_EQ(i + 1, r.value);
    }
    EXPECT_EQ(RAFT_NODE_OK, c.ReadAt(1).status);
    c.Kill(1);
    ASSERT_EQ(0, c.Start(1));
    EXPECT_TRUE(AllEqual(&c, {1}, 20));
    ExpectAll(c.FsmOf(1)->values(), 20);
}

TEST(RaftNode, ThreeNodesReplicateAThousandProposals)
{
    Cluster c(3);
    c.StartAll();
    uint64_t leader = c.Leader();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(0)).status);

    // Concurrently, so that they share flushes.
    std::vector<std::shared_ptr<Cluster::Box>> boxes;
    leader = c.Leader();
    for (int i = 1; i < 1000; i++) {
        auto *call = new Cluster::Call<Result>{&c};
        boxes.push_back(call->box);
        std::string value = Value(i);
        raft_node_propose(
            c.Node(leader), value.data(), value.size(),
            [](void *arg, int status, uint64_t index, int64_t result) {
                static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
            },
            call);
    }
    uint64_t last = 0;
    for (auto &box : boxes) {
        Result r = c.Await(box);
        ASSERT_EQ(RAFT_NODE_OK, r.status) << raft_node_strerror(r.status);
        EXPECT_GT(r.index, last);
        last = r.index;
    }
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 1000));
    EXPECT_EQ(1000u, c.FsmOf(1)->values().size());
    ExpectAll(c.FsmOf(leader)->values(), 1000);
}

TEST(RaftNode, FollowerRefusesProposalsAndNamesTheLeader)
{
    Cluster c(3);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t leader = c.Leader();
    uint64_t follower = leader % 3 + 1;
    EXPECT_EQ(RAFT_NODE_NOT_LEADER, c.ProposeAt(follower, "y").status);
    EXPECT_TRUE(c.WaitFor([&] { return raft_node_leader(c.Node(follower)) == leader; }));
}

TEST(RaftNode, LeaderDiesAndReturnsWithAllEntries)
{
    Cluster c(3);
    c.StartAll();
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t old = c.Leader();
    c.Kill(old);
    for (int i = 50; i < 100; i++) {
        bool unknown = false;
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i), &unknown).status);
    }
    EXPECT_NE(old, c.Leader());
    ASSERT_EQ(0, c.Start(old));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 100));
    ExpectAll(c.FsmOf(old)->values(), 100);
    EXPECT_EQ(0, c.fatals());
}

TEST(RaftNode, AllRestartAndNothingIsLost)
{
    Cluster c(3);
    c.StartAll();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 30; i++) {
            bool unknown = false;
            ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(round * 30 + i), &unknown).status);
        }
        for (uint64_t id = 1; id <= 3; id++) {
            c.Kill(id);
        }
        c.StartAll();
    }
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("end").status);
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 91));
    ExpectAll(c.FsmOf(1)->values(), 90);
}

TEST(RaftNode, LaggingFollowerGetsASnapshotThenTheTail)
{
    Cluster c(3, [](raft_node_opts *o) {
        o->snapshot_entries = UINT64_MAX;
        o->trailing_entries = 10;
        o->snapshot_chunk_bytes = 4096; // several chunks
    });
    c.StartAll();
    std::string big(1500, 'b');
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("first").status);
    uint64_t lagging = c.Leader() % 3 + 1;
    c.Kill(lagging);
    for (int i = 0; i < 100; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(big + std::to_string(i)).status);
    }
    uint64_t leader = c.Leader();
    ASSERT_EQ(RAFT_NODE_OK, c.Admin([&](raft_node_done_cb cb, void *arg) {
        raft_node_snapshot(c.Node(leader), cb, arg);
    }));
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose("tail" + std::to_string(i)).status);
    }
    raft_node_info info;
    raft_node_status(c.Node(leader), &info);
    EXPECT_GT(info.snapshot_index, 50u);
    EXPECT_GT(info.first_index, 50u);

    ASSERT_EQ(0, c.Start(lagging));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 106));
    EXPECT_EQ(106u, c.FsmOf(lagging)->values().size());
    EXPECT_EQ(1, c.FsmOf(lagging)->restores());

    // And it starts from what it was sent.
    c.Kill(lagging);
    ASSERT_EQ(0, c.Start(lagging));
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("last").status);
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 107));
    EXPECT_EQ(0, c.fatals());
}

TEST(RaftNode, SnapshotsByItselfAndRestartsFromThem)
{
    Cluster c(3, [](raft_node_opts *o) {
        o->snapshot_entries = 50;
        o->trailing_entries = 20;
        o->segment_bytes = 64 << 10;
        o->max_entry_bytes = 4096;
    });
    c.StartAll();
    for (int i = 0; i < 300; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t leader = c.Leader();
    raft_node_info info;
    EXPECT_TRUE(c.WaitFor([&] {
        raft_node_status(c.Node(leader), &info);
        if (info.snapshot_index < 50) {
            c.Propose("more"); // moves the clock of the wait
            return false;
        }
        return true;
    }));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 300));
    auto before = c.FsmOf(1)->values();
    for (uint64_t id = 1; id <= 3; id++) {
        c.Kill(id);
    }
    c.StartAll();
    EXPECT_EQ(1, c.FsmOf(leader)->restores());
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, before.size()));
    ExpectAll(c.FsmOf(2)->values(), 300);
    EXPECT_EQ(before, c.FsmOf(1)->values());
}

TEST(RaftNode, ReadsSeeEveryAcknowledgedWriteOnEveryNode)
{
    Cluster c(3);
    c.StartAll();
    for (int i = 0; i < 30; i++) {
        Result w = c.Propose(Value(i));
        ASSERT_EQ(RAFT_NODE_OK, w.status);
        for (uint64_t id = 1; id <= 3; id++) {
            Result r = c.ReadAt(id);
            while (r.status == RAFT_NODE_NOT_LEADER || r.status == RAFT_NODE_UNKNOWN) {
                r = c.ReadAt(id); // the follower has not heard of the leader yet
            }
            ASSERT_EQ(RAFT_NODE_OK, r.status) << raft_node_strerror(r.status);
            EXPECT_GE(r.index, w.index);
            EXPECT_GE(c.FsmOf(id)->applied(), w.index);
        }
    }
}

TEST(RaftNode, CutOffLeaderServesNoRead)
{
    Cluster c(3);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t old = c.Leader();
    c.Cut(old, true);
    Result r = c.ReadAt(old);
    EXPECT_NE(RAFT_NODE_OK, r.status);
    Result w = c.ProposeAt(old, "lost?");
    EXPECT_NE(RAFT_NODE_OK, w.status);
    c.Cut(old, false);
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("y").status);
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 2));
}

TEST(RaftNode, TransferMovesLeadership)
{
    Cluster c(3);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t old = c.Leader();
    uint64_t target = old % 3 + 1;
    ASSERT_TRUE(AllEqual(&c, {1, 2, 3}, 1));
    EXPECT_EQ(RAFT_NODE_OK, c.Admin([&](raft_node_done_cb cb, void *arg) {
        raft_node_transfer(c.Node(old), target, cb, arg);
    }));
    EXPECT_TRUE(c.WaitFor([&] { return raft_node_leader(c.Node(old)) == target; }));
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("y").status);
}

// Who calls while leadership moves gets an answer or the new leader's name; nothing is left open.
TEST(RaftNode, TransfersUnderLoadFailNoCall)
{
    Cluster c(3);
    c.StartAll();
    uint64_t leader = c.Leader();
    ASSERT_EQ(0, c.Propose("first").status);
    raft_node_info before;
    raft_node_status(c.Node(leader), &before);

    std::atomic<bool> done{false};
    std::atomic<int> unknown{0};
    std::atomic<int> refused_without_leader{0};
    std::atomic<int> reads_failed{0};
    std::atomic<int> written{1};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; i++) {
        clients.emplace_back([&, i] {
            uint64_t at = leader;
            for (int seq = 0; !done.load(); seq++) {
                std::string value = std::to_string(i) + "/" + std::to_string(seq);
                Result result = c.ProposeAt(at, value);
                while (result.status == RAFT_NODE_NOT_LEADER) {
                    uint64_t next = raft_node_leader(c.Node(at));
                    refused_without_leader += next == 0;
                    at = next != 0 ? next : c.Leader();
                    result = c.ProposeAt(at, value);
                }
                written += result.status == RAFT_NODE_OK;
                unknown += result.status != RAFT_NODE_OK;
            }
        });
    }
    for (uint64_t id = 1; id <= 3; id++) {
        clients.emplace_back([&, id] {
            while (!done.load()) {
                /* The third node may know of no leader between its vote and the first heartbeat. */
                int status = c.ReadAt(id).status;
                reads_failed += status != RAFT_NODE_OK && status != RAFT_NODE_NOT_LEADER;
            }
        });
    }

    uint64_t moved = 0;
    for (int i = 0; i < 6; i++) {
        uint64_t from = c.Leader();
        moved += raft_node_hand_over(c.Node(from), 20000) == RAFT_NODE_OK;
        bool unknown_too = false;
        EXPECT_EQ(0, c.Propose("after", &unknown_too).status);
        written++;
    }
    done = true;
    for (auto &t : clients) {
        t.join();
    }
    raft_node_info after;
    raft_node_status(c.Node(c.Leader()), &after);
    if (after.term == before.term + moved) { /* no other election, for want of CPU */
        EXPECT_EQ(0, unknown.load());
        EXPECT_EQ(0, refused_without_leader.load());
        EXPECT_EQ(0, reads_failed.load());
    }
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, static_cast<size_t>(written.load())));
}

TEST(RaftNode, StoppingTheLeaderHandsOver)
{
    Cluster c(3);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    ASSERT_TRUE(AllEqual(&c, {1, 2, 3}, 1));
    uint64_t old = c.Leader();
    raft_node_info before;
    raft_node_status(c.Node(old), &before);
    c.Stop(old, 5000);
    uint64_t now = c.Leader();
    EXPECT_NE(old, now);
    raft_node_info after;
    raft_node_status(c.Node(now), &after);
    EXPECT_EQ(before.term + 1, after.term) << "exactly one election";
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("y").status);
}

TEST(RaftNode, LearnerJoinsCatchesUpIsPromotedAndRemoved)
{
    Cluster c(3);
    c.StartAll();
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t leader = c.Leader();
    ASSERT_EQ(0, c.Start(4, /*joins=*/true));
    ASSERT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_add_learner(c.Node(leader), 4, "node-4:1", cb, arg);
    }));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3, 4}, 20));
    ASSERT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_promote(c.Node(leader), 4, cb, arg);
    }));
    raft_node_info info;
    EXPECT_TRUE(c.WaitFor([&] {
        raft_node_status(c.Node(leader), &info);
        return info.n_peers == 4 && info.peers[3].voter;
    }));
    EXPECT_STREQ("node-4:1", info.peers[3].address);
    ASSERT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_remove(c.Node(leader), 4, cb, arg);
    }));
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("z").status);
    EXPECT_EQ(RAFT_NODE_NOT_FOUND, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_remove(c.Node(c.Leader()), 9, cb, arg);
    }));
}

TEST(RaftNode, FullQueueAnswersBusyAndEveryCallbackComesOnce)
{
    Cluster c(3, [](raft_node_opts *o) { o->max_pending_proposals = 8; });
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t leader = c.Leader();
    for (uint64_t id = 1; id <= 3; id++) {
        if (id != leader) {
            c.Cut(id, true); // nothing commits any more
        }
    }
    std::vector<std::shared_ptr<Cluster::Box>> boxes;
    for (int i = 0; i < 20; i++) {
        auto *call = new Cluster::Call<Result>{&c};
        boxes.push_back(call->box);
        raft_node_propose(
            c.Node(leader), "v", 1,
            [](void *arg, int status, uint64_t index, int64_t result) {
                static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
            },
            call);
    }
    int busy = 0;
    for (int i = 8; i < 20; i++) {
        busy += c.Await(boxes[i]).status == RAFT_NODE_BUSY;
    }
    EXPECT_GE(busy, 1);
    EXPECT_EQ(RAFT_NODE_TOO_BIG, c.ProposeAt(leader, std::string(65 << 10, 'x')).status);
    c.Kill(leader); // the rest is answered by the stop
    for (auto &box : boxes) {
        EXPECT_NE(RAFT_NODE_OK, c.Await(box).status);
    }
}

TEST(RaftNode, RefusesADirectoryOfAnotherNodeOrInUse)
{
    Cluster c(1);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    EXPECT_EQ(RAFT_NODE_LOCKED, c.Start(1));
    c.Kill(1);
    std::filesystem::rename(c.DirOf(1), c.DirOf(2));
    EXPECT_EQ(RAFT_NODE_MISMATCH, c.Start(2));
}

TEST(RaftNode, GarbageFramesAreCountedAndDropped)
{
    Cluster c(3);
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    raft_node *node = c.Node(c.Leader());
    for (size_t len = 1; len < 200; len++) {
        std::string junk(len, static_cast<char>(len * 37));
        EXPECT_EQ(0, raft_node_receive(node, junk.data(), junk.size()));
    }
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("y").status);
    raft_node_info info;
    raft_node_status(node, &info);
    EXPECT_GE(info.frames_dropped, 199u);
}

} // namespace
} // namespace raft_test
