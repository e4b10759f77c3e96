// Checklist 21 to 34: replication.
#include "sim/scenario.h"

using namespace sim;

class Replication : public Scenario
{
  protected:
    // A server's disk gets a log of its own making: (term, count) runs, after which it restarts.
    void forge(raft_id id, std::vector<std::pair<raft_term, int>> runs, raft_term term)
    {
        Disk d;
        d.initial = w().node(id).disk.initial;
        for (auto &run : runs) {
            for (int i = 0; i < run.second; i++) {
                Op op;
                op.value = run.first * 1000 + d.log.size(); // the same in every log that has it
                d.log.push_back({run.first, RAFT_ENTRY_COMMAND, encode_op(op, 0)});
            }
        }
        d.term = term;
        w().crash(id);
        w().node(id).disk = d;
    }
};

TEST_F(Replication, S21_ADivergentTailCostsOneProbePerTermAtMost)
{
    World &w = start();
    // Figure 7 of the paper, made longer: 3 holds entries of terms that nobody else knows.
    forge(1, {{1, 5}, {5, 4}, {6, 30}}, 6);
    forge(2, {{1, 5}, {5, 4}, {6, 30}}, 6);
    forge(3, {{1, 5}, {2, 20}, {3, 20}, {4, 20}}, 6);
    int rejects = 0;
    w.filter = [&](const Message &m) {
        rejects += m.m.type == RAFT_MSG_APPEND_REPLY && m.m.u.append_reply.rejected;
        return true;
    };
    w.start_all();
    ASSERT_NE(w.wait_leader(), 0u);
    EXPECT_NE(w.leader(), 3u);
    w.run_for(kSec);
    EXPECT_LE(rejects, 4);
    EXPECT_GE(rejects, 1);
    finish();
}

TEST_F(Replication, S22_Figure8AnOldTermsEntryIsCommittedOnlyWithANewOne)
{
    opt.voters = 5;
    opt.max_append_entries = 1;
    World &w = start();
    forge(1, {{1, 1}, {2, 1}}, 3); // led term 2 and put entry 2 on itself and 2
    forge(2, {{1, 1}, {2, 1}}, 3);
    forge(3, {{1, 1}}, 3);
    forge(4, {{1, 1}}, 3);
    forge(5, {{1, 1}, {3, 1}}, 3); // led term 3 and wrote only to itself
    // 1 leads term 4; entry 2 of term 2 reaches 3, which makes a majority; its own no-op nobody.
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_VOTE) {
            return m.m.from == 1;
        }
        if (m.m.type == RAFT_MSG_APPEND && m.m.from == 1 && !m.entries.empty() &&
            m.entries.back().term == 4) {
            Message bare = m; // the question, without the entry
            bare.entries.clear();
            bare.m.u.append.n_entries = 0;
            w.send(bare);
            return false;
        }
        return true;
    };
    w.cut[1][5] = w.cut[5][1] = true;
    for (raft_id id = 1; id <= 5; id++) {
        w.start(id);
    }
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 1; }, 10 * kSec));
    ASSERT_TRUE(w.run_until([&] { return w.node(3).disk.last() == 2; }, 5 * kSec));
    w.run_for(100 * kMs);
    ASSERT_EQ(w.node(2).term_at(2), 2u);
    ASSERT_EQ(w.node(3).term_at(2), 2u);
    EXPECT_EQ(w.oracle.last(), 0u) << "entry 2 is on a majority and yet not committed";

    // For 5 may still win, with a later last term, and replace it.
    w.crash(1);
    w.filter = nullptr;
    w.heal();
    w.filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.from == 5; };
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 5; }, 10 * kSec));
    w.run_for(kSec);
    EXPECT_EQ(w.node(3).term_at(2), 3u);
    finish();
}

TEST_F(Replication, S23_RepeatedReorderedAndLateAppendsNeverCutTheLog)
{
    for (opt.seed = 1; opt.seed <= 20; opt.seed++) {
        opt.duplicate_permille = 500;
        opt.slow_permille = 100;
        opt.delay_min = 100 * kUs;
        opt.delay_max = 20 * kMs;
        World &w = start();
        ASSERT_NE(w.wait_leader(), 0u);
        for (int i = 0; i < 30; i++) {
            raft_id l = w.wait_leader();
            w.propose(l, static_cast<uint64_t>(i));
            w.run_for(10 * kMs);
        }
        w.opt.slow_permille = w.opt.duplicate_permille = 0;
        finish();
    }
}

TEST_F(Replication, S24_AnOldShorterAppendDoesNotCutWhatCameAfter)
{
    World &w = start();
    raft_id l = w.wait_leader();
    raft_id f = others(l)[0];
    write(1);
    std::vector<Message> kept;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_APPEND && m.m.to == f && !m.entries.empty()) {
            kept.push_back(m);
        }
        return true;
    };
    propose(l, 5);
    w.run_for(100 * kMs);
    ASSERT_GE(kept.size(), 2u);
    raft_index last = w.node(f).last();
    w.deliver(kept[0]);
    EXPECT_EQ(w.node(f).last(), last);
    finish();
}

TEST_F(Replication, S25_ALossInTheMiddleOfThePipelineLeavesNoGap)
{
    World &w = start();
    raft_id l = w.wait_leader();
    raft_id f = others(l)[0];
    write(2);
    int n = 0;
    w.filter = [&](const Message &m) {
        return !(m.m.type == RAFT_MSG_APPEND && m.m.to == f && !m.entries.empty() && ++n == 3);
    };
    raft_index last = propose(l, 6);
    ASSERT_GE(n, 6) << "they went out one after another without waiting";
    ASSERT_TRUE(w.run_until([&] { return w.node(f).disk.last() == last; }, 5 * kSec));
    finish();
}

TEST_F(Replication, S26_WhatWasAcknowledgedOutlivesTheLeader)
{
    for (opt.seed = 1; opt.seed <= 30; opt.seed++) {
        World &w = start();
        raft_id l = w.wait_leader();
        write(1);
        raft_index last = propose(l);
        w.run_until([&] { return w.oracle.last() >= last; }, kSec);
        w.crash(l);
        ASSERT_NE(w.wait_leader(), 0u);
        write(1);
        EXPECT_GT(w.node(w.leader()).applied, last);
        finish();
    }
}

TEST_F(Replication, S27_EntriesCommitWithoutTheLeadersOwnFlush)
{
    World &w = start();
    raft_id l = w.wait_leader();
    write(1);
    w.disk_freeze(l, true);
    raft_index last = propose(l, 3);
    ASSERT_TRUE(w.run_until([&] { return w.node(l).out.commit_index == last; }, kSec));
    EXPECT_LT(w.node(l).applied, last) << "but it applies only what it has on disk itself";
    w.crash(l);
    ASSERT_NE(w.wait_leader(), 0u);
    w.start(l);
    ASSERT_TRUE(w.run_until([&] { return w.node(l).applied >= last; }, 5 * kSec));
    finish();
}

TEST_F(Replication, S28_ASlowDiskOfOneDelaysNobodyAndFillsNoBuffer)
{
    World &w = start();
    raft_id l = w.wait_leader();
    raft_id slow = others(l)[0];
    write(1);
    w.disk_freeze(slow, true);
    size_t most = 0;
    for (int i = 0; i < 100; i++) {
        Time before = w.now;
        raft_index last = propose(l);
        ASSERT_TRUE(w.run_until([&] { return w.node(l).applied >= last; }, kSec));
        EXPECT_LT(w.now - before, 10 * kMs);
        most = std::max(most, w.node(slow).writes.size());
    }
    EXPECT_LE(most, opt.max_inflight_messages + 4);
    EXPECT_EQ(w.leader(), l) << "a slow follower is no reason for an election";
    finish();
}

TEST_F(Replication, S29_ALateCompletionDoesNotAcknowledgeWhatReplacedItsEntries)
{
    World &w = start();
    elect(1);
    write(1);
    // 3 has an entry of term 1 in flight; the leader of the next term replaces it.
    w.disk_freeze(3, true);
    w.cut[1][2] = true;
    propose(1, 1);
    w.run_for(5 * kMs);
    ASSERT_EQ(w.node(3).last(), w.node(1).last());
    w.crash(1);
    w.filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.from == 2; };
    // 3 refuses 2 while its log is longer; give 2 something of a later term.
    w.crash(2);
    Op op;
    w.node(2).disk.term += 1;
    w.node(2).disk.vote = 2;
    w.node(2).disk.log.push_back({w.node(2).disk.term, RAFT_ENTRY_COMMAND, encode_op(op, 0)});
    w.start(2);
    w.run_for(2 * kSec);
    // Nothing is durable at 3: so nothing may have been acknowledged. The oracle looks at every
    // acknowledgement; here both completions come, the old one first.
    w.disk_freeze(3, false);
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 2; }, 10 * kSec));
    w.run_for(kSec);
    EXPECT_EQ(w.node(3).term_at(w.node(2).last()), w.node(2).term_at(w.node(2).last()));
    finish();
}

TEST_F(Replication, S30_AHeartbeatCommitsNothingUnverified)
{
    World &w = start();
    forge(1, {{1, 3}, {3, 6}}, 3);
    forge(2, {{1, 3}, {3, 6}}, 3);
    forge(3, {{1, 3}, {2, 6}}, 3); // same length, other entries
    // 3 hears heartbeats only.
    w.filter = [](const Message &m) {
        return !(m.m.type == RAFT_MSG_APPEND && m.m.to == 3 && m.m.u.append.prev_index > 0);
    };
    w.start_all();
    ASSERT_NE(w.wait_leader(), 0u);
    w.run_for(2 * kSec);
    EXPECT_GT(w.oracle.last(), 8u);
    EXPECT_EQ(w.node(3).out.commit_index, 0u);
    EXPECT_NE(status(3).leader, 0u);
    finish();
}

TEST_F(Replication, S31_EntriesOfAllSizesAreReplicated)
{
    World &w = start();
    raft_id l = w.wait_leader();
    raft_entry e[3] = {};
    std::vector<uint8_t> big(opt.max_append_bytes * 3, 7);
    e[0] = {0, nullptr, 0, RAFT_ENTRY_COMMAND};
    e[1] = {0, big.data(), static_cast<uint32_t>(big.size()), RAFT_ENTRY_COMMAND};
    e[2] = {0, big.data(), opt.max_append_bytes, RAFT_ENTRY_COMMAND};
    raft_event ev = {};
    ev.type = RAFT_EVENT_PROPOSE;
    ev.u.propose.entries = e;
    ev.u.propose.n_entries = 3;
    ASSERT_EQ(w.step(l, ev), 0);
    w.run_for(kSec);
    for (const Node &n : w.nodes) {
        EXPECT_EQ(n.applied, w.node(l).last());
        bool found = false;
        for (const Entry &entry : n.log) {
            found |= entry.size() == big.size();
        }
        EXPECT_TRUE(found);
    }
    finish();
}

TEST_F(Replication, S32_AFloodIsAnsweredWithBusyAndDrains)
{
    World &w = start();
    raft_id l = w.wait_leader();
    write(1);
    w.isolate(others(l)[0]);
    w.disk_freeze(others(l)[1], true);
    int taken = 0, busy = 0;
    for (int i = 0; i < 1000; i++) {
        int rc = w.propose(l, 1);
        taken += rc == 0;
        busy += rc == RAFT_ERR_BUSY;
    }
    EXPECT_EQ(taken + busy, 1000);
    EXPECT_LE(taken, static_cast<int>(opt.max_uncommitted_entries) + 1);
    w.heal();
    w.disk_freeze(others(l)[1], false);
    w.run_for(2 * kSec);
    EXPECT_EQ(w.propose(w.leader(), 1), 0);
    finish();
}

TEST_F(Replication, S33_TheCommitIndexIsFoundAgainAfterARestart)
{
    World &w = start();
    w.wait_leader();
    write(7);
    raft_index applied = w.oracle.last();
    for (raft_id id : {1, 2, 3}) {
        w.crash(id);
    }
    w.start_all();
    EXPECT_EQ(w.node(1).out.commit_index, 0u);
    w.wait_leader();
    ASSERT_TRUE(w.run_until([&] { return w.node(1).applied > applied; }, 5 * kSec));
    finish();
}

TEST_F(Replication, S34_AnUnreachableFollowerGetsHeartbeatsOnly)
{
    World &w = start();
    raft_id l = w.wait_leader();
    raft_id gone = others(l)[0];
    write(1);
    w.crash(gone);
    w.run_for(2 * kSec);
    size_t entries = 0, messages = 0;
    w.filter = [&](const Message &m) {
        if (m.m.to == gone) {
            entries += m.entries.size();
            messages++;
        }
        return true;
    };
    for (int i = 0; i < 50; i++) {
        propose(l);
        w.run_for(100 * kMs);
    }
    EXPECT_EQ(entries, 0u);
    EXPECT_LE(messages, 5 * kSec / opt.heartbeat + 5);
    finish();
}
