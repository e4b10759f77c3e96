// What a node does when its disk, its state machine or its directory fails it.
#include "node_cluster.h"

#include <errno.h>
#include <fcntl.h>

#include <atomic>

#include <raft/wal.h>

namespace raft_test
{
namespace
{

TEST(RaftNode, StateMachineFailureStopsTheNode)
{
    Cluster c(1, [](raft_node_opts *o) {
        o->fsm.apply = [](void *, const raft_node_entry *, size_t, int64_t *) { return -7; };
    });
    c.StartAll();
    c.Leader();
    auto *call = new Cluster::Call<Result>{&c};
    auto box = call->box;
    raft_node_propose(
        c.Node(1), "v", 1,
        [](void *arg, int status, uint64_t index, int64_t result) {
            static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
        },
        call);
    EXPECT_TRUE(c.WaitFor([&] { return c.fatals() == 1; }));
    raft_node_info info;
    raft_node_status(c.Node(1), &info);
    EXPECT_EQ(RAFT_NODE_FSM, info.fatal);
    c.Kill(1);
    EXPECT_NE(RAFT_NODE_OK, c.Await(box).status);
}

// The real disk but for what the test takes away from node @broken.
struct FaultyDisk {
    FaultyDisk()
    {
        io = *raft_wal_io_posix();
        io.arg = this;
        io.openat = [](void *arg, int dirfd, const char *name, int flags, mode_t mode) {
            if (static_cast<FaultyDisk *>(arg)->full && (flags & O_CREAT) != 0) {
                return -ENOSPC;
            }
            return raft_wal_io_posix()->openat(nullptr, dirfd, name, flags, mode);
        };
        io.fdatasync = [](void *arg, int fd) {
            return static_cast<FaultyDisk *>(arg)->broken
                       ? -EIO
                       : raft_wal_io_posix()->fdatasync(nullptr, fd);
        };
    }
    raft_wal_io io;
    std::atomic<bool> full{false};
    std::atomic<bool> broken{false};
};

TEST(RaftNode, FailedFlushEndsTheLeaderAndLosesNothingAcknowledged)
{
    FaultyDisk disks[3];
    Cluster c(3, [&](raft_node_opts *o) { o->wal_io = &disks[o->id - 1].io; });
    c.StartAll();
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t old = c.Leader();
    disks[old - 1].broken = true;
    auto *call = new Cluster::Call<Result>{&c};
    auto box = call->box;
    raft_node_propose(
        c.Node(old), "maybe", 5,
        [](void *arg, int status, uint64_t index, int64_t result) {
            static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
        },
        call);
    EXPECT_TRUE(c.WaitFor([&] { return c.fatals() == 1; }));
    raft_node_info info;
    raft_node_status(c.Node(old), &info);
    EXPECT_EQ(RAFT_NODE_IO, info.fatal);
    c.Kill(old); // as its host does
    c.Await(box);
    disks[old - 1].broken = false;
    for (int i = 20; i < 30; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    ASSERT_EQ(0, c.Start(old));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 30));
    ExpectAll(c.FsmOf(old)->values(), 30);
}

TEST(RaftNode, FullDiskRefusesProposalsUntilASnapshotFreesIt)
{
    FaultyDisk disk;
    Cluster c(1, [&](raft_node_opts *o) {
        o->wal_io = &disk.io;
        o->segment_bytes = 64 << 10;
        o->max_entry_bytes = 8192;
        o->trailing_entries = 1;
    });
    c.StartAll();
    std::string value(4000, 'v');
    ASSERT_EQ(RAFT_NODE_OK, c.Propose(value).status);
    disk.full = true;
    Result r;
    int taken = 0;
    do {
        r = c.ProposeAt(1, value);
        taken += r.status == RAFT_NODE_OK;
    } while (r.status == RAFT_NODE_OK);
    EXPECT_EQ(RAFT_NODE_FULL, r.status);
    raft_node_info info;
    raft_node_status(c.Node(1), &info);
    EXPECT_TRUE(info.log_full);
    EXPECT_EQ(RAFT_NODE_LEADER, info.role);
    EXPECT_EQ(RAFT_NODE_OK, c.ReadAt(1).status);
    disk.full = false;
    EXPECT_EQ(RAFT_NODE_OK, c.Admin([&](raft_node_done_cb cb, void *arg) {
        raft_node_snapshot(c.Node(1), cb, arg);
    }));
    do {
        r = c.ProposeAt(1, value);
    } while (r.status == RAFT_NODE_FULL);
    EXPECT_EQ(RAFT_NODE_OK, r.status);
    EXPECT_EQ(static_cast<size_t>(taken) + 2, c.FsmOf(1)->values().size());
    EXPECT_EQ(0, c.fatals());
}

TEST(RaftNode, DamagedLogComesBackFromTheOtherNodes)
{
    Cluster c(3);
    c.StartAll();
    for (int i = 0; i < 30; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    ASSERT_TRUE(AllEqual(&c, {1, 2, 3}, 30));
    uint64_t leader = c.Leader();
    uint64_t damaged = leader % 3 + 1;
    c.Kill(damaged);
    DamageLog(&c, damaged, 5 * 4096 + 100);
    ASSERT_EQ(0, c.Start(damaged));
    EXPECT_TRUE(IsRecovering(&c, damaged));
    for (int i = 30; i < 40; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 40));
    ExpectAll(c.FsmOf(damaged)->values(), 40);
    EXPECT_TRUE(c.WaitFor([&] {
        if (!IsRecovering(&c, damaged)) {
            return true;
        }
        c.Propose("more"); // moves the clock of the wait
        return false;
    }));

    // Whole again: it can be in the majority that elects, and lead.
    c.Kill(c.Leader());
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("end").status);
    EXPECT_EQ(0, c.fatals());
}

TEST(RaftNode, DamagedSnapshotIsNotSentButMadeAnew)
{
    Cluster c(3, [](raft_node_opts *o) {
        o->snapshot_entries = UINT64_MAX;
        o->trailing_entries = 1;
    });
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(0)).status);
    uint64_t leader = c.Leader();
    uint64_t lagging = leader % 3 + 1;
    c.Kill(lagging);
    for (int i = 1; i < 30; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        if (id == lagging) {
            continue;
        }
        ASSERT_EQ(RAFT_NODE_OK, c.Admin([&](raft_node_done_cb cb, void *arg) {
            raft_node_snapshot(c.Node(id), cb, arg);
        }));
        for (auto &it : std::filesystem::directory_iterator(c.DirOf(id))) {
            if (it.path().extension() == ".img") {
                FlipByte(it.path().string(), 20);
            }
        }
    }
    ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(30)).status);
    ASSERT_EQ(0, c.Start(lagging));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 31));
    ExpectAll(c.FsmOf(lagging)->values(), 31);
    EXPECT_EQ(0, c.fatals());
}

// A state machine that is behind needs its snapshot. When the newest is damaged, the one before it
// serves: with the log, if that reaches back so far, else as after damage to the log itself.
TEST(RaftNode, DamagedNewestSnapshotCostsNoMoreThanTheVote)
{
    struct {
        uint64_t trailing;
        int snapshots;
        const char *file;
        bool vote;
    } cases[] = {{1000, 2, ".meta", true},
                 {1000, 2, ".img", true},
                 {1, 2, ".meta", false},
                 {1, 2, ".img", false},
                 {1, 1, ".meta", false}};

    for (auto &k : cases) {
        SCOPED_TRACE(std::to_string(k.trailing) + k.file + std::to_string(k.snapshots));
        Cluster c(3, [&](raft_node_opts *o) {
            o->snapshot_entries = UINT64_MAX;
            o->trailing_entries = k.trailing;
        });
        c.StartAll();
        std::string big(40000, 'x'); /* six of them fill a segment */
        uint64_t damaged = c.Leader() % 3 + 1;
        size_t n = 0;
        for (int s = 0; s < k.snapshots; s++) {
            for (int i = 0; i < 12; i++, n++) {
                ASSERT_EQ(RAFT_NODE_OK, c.Propose(big + std::to_string(n)).status);
            }
            ASSERT_TRUE(AllEqual(&c, {1, 2, 3}, n));
            ASSERT_EQ(RAFT_NODE_OK, c.Admin([&](raft_node_done_cb cb, void *arg) {
                raft_node_snapshot(c.Node(damaged), cb, arg);
            }));
        }
        ASSERT_EQ(RAFT_NODE_OK, c.Propose("tail").status);
        ASSERT_TRUE(AllEqual(&c, {1, 2, 3}, n + 1));
        c.Kill(damaged);
        std::string newest;
        for (auto &it : std::filesystem::directory_iterator(c.DirOf(damaged))) {
            if (it.path().extension() == k.file && it.path().string() > newest) {
                newest = it.path().string();
            }
        }
        FlipByte(newest, 20);

        ASSERT_EQ(0, c.Start(damaged));
        EXPECT_EQ(k.vote, !IsRecovering(&c, damaged));
        EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, n + 1));
        EXPECT_TRUE(c.WaitFor([&] {
            if (!IsRecovering(&c, damaged)) {
                return true;
            }
            c.Propose("more"); // moves the clock of the wait
            return false;
        }));
        EXPECT_EQ(0, c.fatals());
    }
}

TEST(RaftNode, DamagedLogOfTheOnlyVoterIsRefused)
{
    Cluster c(1);
    c.StartAll();
    for (int i = 0; i < 10; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    c.Kill(1);
    DamageLog(&c, 1, 4 * 4096 + 100);
    EXPECT_EQ(RAFT_NODE_CORRUPT, c.Start(1));
    EXPECT_EQ(RAFT_NODE_CORRUPT, c.Start(1)) << "and stays refused";
}

// A door that threads wait at while it is shut.
class Door
{
  public:
    void Shut(bool shut)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        shut_ = shut;
        cv_.notify_all();
    }
    void Pass()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        cv_.wait(lock, [&] { return !shut_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable cv_;
    bool shut_ = false;
};

uint64_t TermOf(Cluster *c, uint64_t id)
{
    raft_node_info info = {};
    c->With(id, [&](raft_node *node) { raft_node_status(node, &info); });
    return info.term;
}

// Enough heartbeats for several election timeouts to have passed.
void AwaitHeartbeats(Cluster *c)
{
    uint64_t target = c->frames() + 200;
    EXPECT_TRUE(c->WaitFor([&] { return c->frames() >= target; }));
}

TEST(RaftNode, StuckStateMachineDelaysNoHeartbeat)
{
    static Door door;
    static int (*apply)(void *, const raft_node_entry *, size_t, int64_t *);
    door.Shut(false);
    Cluster c(3, [](raft_node_opts *o) {
        apply = o->fsm.apply;
        o->fsm.apply = [](void *arg, const raft_node_entry *e, size_t n, int64_t *results) {
            door.Pass();
            return apply(arg, e, n, results);
        };
    });
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t leader = c.Leader();
    uint64_t term = TermOf(&c, leader);
    door.Shut(true);
    auto *call = new Cluster::Call<Result>{&c};
    auto box = call->box;
    raft_node_propose(
        c.Node(leader), "v", 1,
        [](void *arg, int status, uint64_t index, int64_t result) {
            static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
        },
        call);
    AwaitHeartbeats(&c);
    EXPECT_EQ(term, TermOf(&c, leader)) << "no election";
    EXPECT_FALSE(box->set);
    door.Shut(false);
    EXPECT_EQ(RAFT_NODE_OK, c.Await(box).status);
}

// A thread that got no time for long has the leader's heartbeats in its inbox: they come first.
TEST(RaftNode, StalledFollowerDoesNotCampaign)
{
    Cluster c(3, [](raft_node_opts *o) { o->caller_turns = false; }); // the raft thread is stalled
    c.StartAll();
    ASSERT_EQ(0, c.Propose(Value(0)).status);
    uint64_t leader = c.Leader();
    uint64_t stalled = leader % 3 + 1;
    raft_node_info before;
    raft_node_status(c.Node(leader), &before);
    int campaigns = c.Campaigns();

    c.Stall(stalled, true);
    /* At 50 ms each from the leader alone: longer than the longest election timeout, 800 ms. */
    uint64_t frames = c.FramesTo(stalled) + 20;
    ASSERT_TRUE(c.WaitFor([&] { return c.FramesTo(stalled) >= frames; }));
    c.Stall(stalled, false);
    ASSERT_EQ(0, c.Propose(Value(1)).status);
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 2));

    raft_node_info after;
    raft_node_status(c.Node(c.Leader()), &after);
    if (after.term == before.term) { /* else another one was short of CPU */
        EXPECT_EQ(campaigns, c.Campaigns());
    }
}

TEST(RaftNode, StuckDiskOfTheLeaderDelaysNeitherHeartbeatsNorCommits)
{
    struct SlowDisk {
        raft_wal_io io = *raft_wal_io_posix();
        Door door;
    } disks[3];
    for (auto &disk : disks) {
        disk.io.arg = &disk;
        disk.io.fdatasync = [](void *arg, int fd) {
            static_cast<SlowDisk *>(arg)->door.Pass();
            return raft_wal_io_posix()->fdatasync(nullptr, fd);
        };
    }
    Cluster c(3, [&](raft_node_opts *o) { o->wal_io = &disks[o->id - 1].io; });
    c.StartAll();
    ASSERT_EQ(RAFT_NODE_OK, c.Propose("x").status);
    uint64_t leader = c.Leader();
    uint64_t term = TermOf(&c, leader);
    disks[leader - 1].door.Shut(true);
    auto *call = new Cluster::Call<Result>{&c};
    auto box = call->box;
    raft_node_propose(
        c.Node(leader), "v", 1,
        [](void *arg, int status, uint64_t index, int64_t result) {
            static_cast<Cluster::Call<Result> *>(arg)->Set({status, index, result});
        },
        call);
    // The followers' disks are a majority: they apply it.
    for (uint64_t id = 1; id <= 3; id++) {
        if (id != leader) {
            EXPECT_TRUE(c.WaitFor([&] { return c.FsmOf(id)->values().size() == 2; }));
        }
    }
    AwaitHeartbeats(&c);
    EXPECT_EQ(term, TermOf(&c, leader)) << "no election";
    disks[leader - 1].door.Shut(false);
    EXPECT_EQ(RAFT_NODE_OK, c.Await(box).status);
}

TEST(RaftNode, WipedNodeComesBackAsALearner)
{
    Cluster c(3, [](raft_node_opts *o) {
        o->snapshot_entries = UINT64_MAX;
        o->trailing_entries = 1;
    });
    c.StartAll();
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t leader = c.Leader();
    uint64_t wiped = leader % 3 + 1;
    c.Kill(wiped);
    std::filesystem::remove_all(c.DirOf(wiped));
    EXPECT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_remove(c.Node(leader), wiped, cb, arg);
    }));
    EXPECT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_snapshot(c.Node(leader), cb, arg);
    }));
    ASSERT_EQ(0, c.Start(wiped, /*joins=*/true));
    EXPECT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_add_learner(c.Node(leader), wiped, "again:1", cb, arg);
    }));
    EXPECT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_promote(c.Node(leader), wiped, cb, arg);
    }));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 20));

    // Membership came with the snapshot and the log; it outlives a restart.
    c.Kill(wiped);
    ASSERT_EQ(0, c.Start(wiped, /*joins=*/true));
    c.Kill(wiped % 3 + 1 == leader ? (wiped + 1) % 3 + 1 : wiped % 3 + 1);
    EXPECT_EQ(RAFT_NODE_OK, c.Propose("with the returned one").status);
    EXPECT_EQ(0, c.fatals());
}

// The same in one step, by the incarnation of the new directory; nobody had to remove anything.
TEST(RaftNode, WipedNodeIsReadmitted)
{
    Cluster c(3);
    c.StartAll();
    for (int i = 0; i < 20; i++) {
        ASSERT_EQ(RAFT_NODE_OK, c.Propose(Value(i)).status);
    }
    uint64_t leader = c.Leader();
    uint64_t wiped = leader % 3 + 1;
    auto entry = [&](raft_node_info *info) {
        raft_node_status(c.Node(leader), info);
        return &info->peers[wiped - 1];
    };
    static const uint8_t unknown[16] = {};
    raft_node_info info;
    ASSERT_TRUE(c.WaitFor([&] { return memcmp(entry(&info)->incarnation, unknown, 16) != 0; }));
    EXPECT_EQ(RAFT_NODE_INVALID, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_readmit(c.Node(leader), wiped, entry(&info)->incarnation, cb, arg);
    })) << "it has its disk";

    c.Kill(wiped);
    std::filesystem::remove_all(c.DirOf(wiped));
    ASSERT_EQ(0, c.Start(wiped, /*joins=*/true));
    raft_node_info joiner;
    raft_node_status(c.Node(wiped), &joiner);
    ASSERT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_readmit(c.Node(leader), wiped, joiner.incarnation, cb, arg);
    }));
    EXPECT_FALSE(entry(&info)->voter);
    ASSERT_EQ(RAFT_NODE_OK, c.Change([&](raft_node_done_cb cb, void *arg) {
        raft_node_promote(c.Node(leader), wiped, cb, arg);
    }));
    EXPECT_TRUE(AllEqual(&c, {1, 2, 3}, 20));
    EXPECT_EQ(0, c.fatals());
}

} // namespace
} // namespace raft_test
