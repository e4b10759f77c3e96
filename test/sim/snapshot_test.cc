// Checklist 35 to 44: snapshots and compaction (43, damage on disk, belongs to the log's own
// tests).
#include "sim/scenario.h"

using namespace sim;

class Snapshot : public Scenario
{
  protected:
    Snapshot()
    {
        opt.trailing = 3;
    }

    // A leader with a compacted log and a follower that has missed it.
    void leave_behind(raft_id *leader, raft_id *behind)
    {
        start();
        elect(1);
        write(2);
        *leader = 1;
        *behind = 3;
        w().isolate(3);
        write(20);
        ASSERT_EQ(w().take_snapshot(1), 0);
        w().run_for(100 * kMs);
        ASSERT_GT(status(1).first_index, w().node(3).last() + 1);
    }
};

TEST_F(Snapshot, S35_AFollowerBehindTheLogGetsSnapshotAndTail)
{
    raft_id l, f;
    leave_behind(&l, &f);
    write(4);
    w().heal();
    ASSERT_TRUE(w().run_until([&] { return w().node(f).applied == w().node(l).applied; }, kSec));
    EXPECT_EQ(status(f).snapshot_index, status(l).snapshot_index);
    EXPECT_EQ(w().node(f).sm.chain, w().node(l).sm.chain);
    finish();
}

TEST_F(Snapshot, S36_ChunksMayBeLostRepeatedAndReorderedAndTheLeaderMayChange)
{
    opt.chunk_bytes = 8; // many chunks
    for (opt.seed = 1; opt.seed <= 20; opt.seed++) {
        raft_id l, f;
        leave_behind(&l, &f);
        ASSERT_EQ(w().take_snapshot(2), 0);
        w().run_for(50 * kMs);
        w().opt.loss_permille = 100;
        w().opt.duplicate_permille = 200;
        w().opt.delay_max = 5 * kMs;
        w().heal();
        w().run_until([&] { return w().node(f).incoming.size() > 20; }, 20 * kSec);
        if (opt.seed % 2) {
            w().crash(1); // in the middle of its stream
            ASSERT_TRUE(w().run_until([&] { return w().leader() != 0; }, 20 * kSec));
        } else {
            w().crash(f); // or the receiver is
            w().start(f);
        }
        w().run_for(kSec);
        w().opt.loss_permille = 0;
        finish();
    }
}

// Several chunks are on their way; without losses, none twice.
TEST_F(Snapshot, S36_ChunksAreSentAheadOfTheirAnswers)
{
    opt.chunk_bytes = 8;
    raft_id l, f;
    leave_behind(&l, &f);
    World &w = this->w();
    std::map<uint64_t, int> sent;
    size_t out = 0, most = 0;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_SNAPSHOT) {
            sent[m.m.u.snapshot.offset]++;
            most = std::max(most, ++out);
        } else if (m.m.type == RAFT_MSG_SNAPSHOT_REPLY && out > 0) {
            out--;
        }
        return true;
    };
    w.heal();
    ASSERT_TRUE(w.run_until([&] { return w.node(f).applied == w.node(l).applied; }, kSec));
    EXPECT_GE(sent.size(), 5u);
    EXPECT_EQ(most, 4u);
    for (auto &it : sent) {
        EXPECT_EQ(it.second, 1) << "offset " << it.first;
    }
    finish();
}

TEST_F(Snapshot, S37_OneThatIsOlderThanTheCommitIndexIsNotInstalled)
{
    raft_id l, f;
    leave_behind(&l, &f);
    std::vector<Message> chunks;
    w().filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_SNAPSHOT) {
            chunks.push_back(m);
        }
        return true;
    };
    w().heal();
    ASSERT_TRUE(w().run_until([&] { return w().node(f).applied == w().node(l).applied; }, kSec));
    write(5);
    w().run_for(100 * kMs);
    raft_index applied = w().node(f).applied;
    ASSERT_FALSE(chunks.empty());
    bool told = false;
    w().filter = [&](const Message &m) {
        told |= m.m.type == RAFT_MSG_SNAPSHOT_REPLY && m.m.u.snapshot_reply.installed;
        return true;
    };
    for (const Message &m : chunks) {
        w().deliver(m);
    }
    w().run_for(50 * kMs);
    EXPECT_EQ(w().node(f).applied, applied);
    EXPECT_EQ(w().node(f).last(), w().node(l).last());
    EXPECT_TRUE(told) << "the leader hears that nothing is missing";
    finish();
}

TEST_F(Snapshot, S38_ACrashAtAnyMomentOfInstallingLeavesAStateThatStarts)
{
    for (Time when = 0; when < 30; when++) {
        raft_id l, f;
        leave_behind(&l, &f);
        w().heal();
        w().run_for(when * 500 * kUs);
        w().crash(f);
        w().start(f);
        w().run_for(kSec);
        EXPECT_EQ(w().node(f).applied, w().node(l).applied) << when;
        finish();
    }
}

TEST_F(Snapshot, S39_EntriesArriveWhileASnapshotIsBeingInstalled)
{
    raft_id l, f;
    opt.disk_min = opt.disk_max = 3 * kMs;
    leave_behind(&l, &f);
    w().heal();
    w().run_until([&] { return w().node(f).incoming.size() > 0; }, kSec);
    for (int i = 0; i < 20; i++) {
        propose(l);
        w().run_for(kMs);
    }
    ASSERT_TRUE(w().run_until([&] { return w().node(f).applied == w().node(l).last(); }, kSec));
    finish();
}

TEST_F(Snapshot, S40_CompactionDuringCatchUpSwitchesToASnapshotOnce)
{
    start();
    elect(1);
    w().isolate(3);
    write(30);
    // 3 is given one entry at a time and slowly; then its place in the log disappears.
    w().opt.delay_min = w().opt.delay_max = 5 * kMs;
    int begins = 0;
    w().filter = [&](const Message &m) {
        begins += m.m.type == RAFT_MSG_SNAPSHOT && m.m.u.snapshot.offset == 0;
        return true;
    };
    w().heal();
    w().run_for(5 * kMs);
    ASSERT_EQ(w().take_snapshot(1), 0);
    ASSERT_TRUE(
        w().run_until([&] { return w().node(3).applied == w().node(1).applied; }, 5 * kSec));
    w().run_for(kSec);
    EXPECT_LE(begins, 1);
    finish();
}

TEST_F(Snapshot, S41_MembershipOutlivesTwoCompactionsAndARestartFromTheSnapshotAlone)
{
    opt.spares = 1;
    opt.trailing = 0;
    start();
    elect(1);
    write(2);
    ASSERT_EQ(w().change(1, RAFT_ADD_LEARNER, 4, 1), 0);
    ASSERT_TRUE(w().run_until([&] { return !w().changes.empty(); }, 5 * kSec));
    for (int i = 0; i < 2; i++) {
        write(5);
        w().run_for(50 * kMs);
        for (raft_id id : {1, 2, 3}) {
            ASSERT_EQ(w().take_snapshot(id), 0);
        }
        w().run_for(100 * kMs);
    }
    for (raft_id id : {1, 2, 3}) {
        w().crash(id);
        EXPECT_TRUE(w().node(id).disk.log.empty());
    }
    for (raft_id id : {1, 2, 3}) {
        w().start(id);
        const raft_config *c = raft_config_in_force(w().node(id).core);
        EXPECT_EQ(c->n_servers, 4u);
        EXPECT_FALSE(raft_config_is_voter(c, 4));
    }
    finish();
}

TEST_F(Snapshot, S42_AfterAFullReplacementTheNextAppendMeetsTheSnapshotsEnd)
{
    raft_id l, f;
    opt.trailing = 0;
    leave_behind(&l, &f);
    // The log of 3 holds an uncommitted tail of its own, shorter than the snapshot.
    w().crash(f);
    Disk &d = w().node(f).disk;
    d.term += 1;
    for (int i = 0; i < 3; i++) {
        d.log.push_back({d.term, RAFT_ENTRY_COMMAND, encode_op(Op(), 0)});
    }
    std::vector<raft_index> prev;
    w().filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_APPEND && m.m.to == f && !m.entries.empty()) {
            prev.push_back(m.m.u.append.prev_index);
        }
        return true;
    };
    w().heal();
    w().start(f);
    w().run_for(2 * kSec);
    write(1);
    w().run_for(100 * kMs);
    EXPECT_EQ(w().node(f).applied, w().node(w().leader()).applied);
    finish();
}

TEST_F(Snapshot, S44_ASnapshotIsExactlyTheStateAtItsIndex)
{
    opt.disk_min = opt.disk_max = 2 * kMs;
    start();
    elect(1);
    write(3);
    ASSERT_EQ(w().take_snapshot(1), 0);
    write(5); // while it is written
    w().run_for(100 * kMs);
    raft_index at = status(1).snapshot_index;
    ASSERT_GT(at, 0u);
    ASSERT_LT(at, w().node(1).applied);
    StateMachine sm;
    ASSERT_TRUE(StateMachine::parse(w().node(1).disk.files[at].data, &sm));
    EXPECT_EQ(sm.chain, w().oracle.log[at].chain);
    finish();
}
