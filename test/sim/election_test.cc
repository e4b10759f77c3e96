// Checklist 1 to 20: elections and terms.
#include "sim/scenario.h"

using namespace sim;

class Election : public Scenario
{
};

TEST_F(Election, S01_ThreeFreshVotersElectExactlyOneLeader)
{
    for (opt.seed = 1; opt.seed <= 200; opt.seed++) {
        World &w = start();
        ASSERT_TRUE(w.run_until([&] { return w.leader() != 0; }, 2 * 2 * opt.election));
        w.run_for(kSec);
        EXPECT_EQ(w.oracle.leaders.size(), 1u);
    }
}

TEST_F(Election, S02_AnExactTieIsResolved)
{
    opt.same_seed = true; // a host's mistake, which must not matter
    opt.voters = 2;
    World &w = start();
    for (Node &n : w.nodes) {
        // Both timers run out at this very instant.
        n.clock_offset += static_cast<int64_t>(n.out.deadline_ns - 1000 * kSec - w.now);
        raft_event ev = {};
        ev.type = RAFT_EVENT_TIMEOUT;
        w.step(n.id, ev);
        EXPECT_EQ(n.out.role, RAFT_PRECANDIDATE);
    }
    ASSERT_NE(w.wait_leader(5 * kSec), 0u);
    w.run_for(kSec);
    EXPECT_EQ(w.oracle.leaders.size(), 1u);
    EXPECT_GT(w.node(w.leader()).out.term, 1u) << "the first vote was split";
}

TEST_F(Election, S03_ACrashedLeaderIsReplacedAndComesBackAsFollower)
{
    World &w = start();
    raft_id old = w.wait_leader();
    write(5);
    w.crash(old);
    raft_id next = w.wait_leader();
    ASSERT_NE(next, 0u);
    ASSERT_NE(next, old);
    write(5);
    w.start(old);
    w.run_for(500 * kMs);
    EXPECT_EQ(w.node(old).out.role, RAFT_FOLLOWER);
    EXPECT_EQ(w.leader(), next) << "its return disturbs nobody";
    EXPECT_EQ(w.node(old).applied, w.node(next).applied);
    finish();
}

TEST_F(Election, S04_AHigherLastTermBeatsALongerLog)
{
    World &w = start();
    elect(1);
    write(1);
    w.isolate(1);
    propose(1, 8); // long, but of term 1, and nobody else has it
    elect(2);
    raft_index last = propose(2, 1);
    w.run_until([&] { return w.node(3).last() == last; }, kSec);
    w.crash(2);
    w.heal();
    ASSERT_GT(w.node(1).last(), w.node(3).last());
    raft_id next = 0;
    w.run_until([&] { return (next = w.leader()) == 3; }, 10 * kSec);
    EXPECT_EQ(next, 3u);
    finish();
}

TEST_F(Election, S05_AVoteOutlivesACrashBeforeItsReply)
{
    World &w = start();
    std::vector<Message> grants;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_VOTE_REPLY && !m.m.u.vote_reply.pre) {
            grants.push_back(m);
            return false;
        }
        return true;
    };
    w.run_until([&] { return !grants.empty(); }, 5 * kSec);
    ASSERT_FALSE(grants.empty());
    raft_id voter = grants[0].m.from, candidate = grants[0].m.to;
    raft_term term = grants[0].m.term;
    raft_id rival = 6 - voter - candidate;
    w.crash(voter);
    w.start(voter);
    EXPECT_EQ(status(voter).vote, candidate);

    Message ask;
    ask.m = grants[0].m; // cluster and the like
    ask.m.from = rival;
    ask.m.to = voter;
    ask.m.type = RAFT_MSG_VOTE;
    ask.m.u.vote = {term, 100, term, false, false};
    size_t before = grants.size();
    w.deliver(ask);
    EXPECT_EQ(status(voter).vote, candidate);
    ASSERT_EQ(grants.size(), before + 1) << "it answers";
    EXPECT_FALSE(grants.back().m.u.vote_reply.granted);
    finish();
}

TEST_F(Election, S06_AVoterThatCrashesBeforeItsFlushHasNotVoted)
{
    opt.torn = false;
    World &w = start();
    bool granted = false;
    w.filter = [&](const Message &m) {
        granted |=
            m.m.type == RAFT_MSG_VOTE_REPLY && !m.m.u.vote_reply.pre && m.m.u.vote_reply.granted;
        return true;
    };
    for (raft_id id : {2, 3}) {
        w.disk_freeze(id, true);
    }
    w.run_until([&] { return status(2).vote != 0 || status(3).vote != 0; }, 5 * kSec);
    w.run_for(100 * kMs);
    EXPECT_FALSE(granted) << "no reply escapes before the flush";
    raft_id voter = status(2).vote != 0 ? 2 : 3;
    w.crash(voter);
    w.start(voter);
    EXPECT_EQ(status(voter).vote, 0u);
    EXPECT_EQ(status(voter).term, 0u);
    finish();
}

TEST_F(Election, S07_ACandidateThatYieldsWithinItsTermKeepsItsVote)
{
    World &w = start();
    elect(1);
    w.crash(1);
    // 2 becomes candidate of the next term; the winner's append of that term reaches it first.
    w.filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.u.vote.pre; };
    w.run_until([&] { return w.node(2).out.role == RAFT_CANDIDATE; }, 10 * kSec);
    w.run_for(10 * kMs);
    ASSERT_EQ(w.node(2).out.role, RAFT_CANDIDATE);
    raft_term term = status(2).term;
    Message m;
    m.m.cluster.bytes[0] = m.m.cluster.bytes[8] = 42;
    m.m.from = 3;
    m.m.to = 2;
    m.m.term = term;
    m.m.type = RAFT_MSG_APPEND;
    w.cut[2][3] = true; // its answer would confuse 3, which never led that term
    w.deliver(m);
    EXPECT_EQ(status(2).role, RAFT_FOLLOWER);
    EXPECT_EQ(status(2).leader, 3u);
    EXPECT_EQ(status(2).vote, 2u);
}

TEST_F(Election, S08_OldAndRepeatedVoteMessagesAreNotCounted)
{
    opt.voters = 5;
    World &w = start();
    std::vector<Message> replies;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_VOTE_REPLY && !m.m.u.vote_reply.pre) {
            replies.push_back(m);
            return false;
        }
        return true;
    };
    w.run_until([&] { return !replies.empty(); }, 5 * kSec);
    w.run_for(5 * kMs);
    ASSERT_FALSE(replies.empty());
    raft_id candidate = replies[0].m.to;
    for (int i = 0; i < 10; i++) {
        w.deliver(replies[0]); // one voter, ten times
    }
    EXPECT_EQ(w.node(candidate).out.role, RAFT_CANDIDATE);
    std::vector<Message> old = replies;
    raft_term term = status(candidate).term;
    w.run_until([&] { return status(candidate).term > term; }, 20 * kSec);
    replies.clear();
    for (const Message &m : old) {
        w.deliver(m);
    }
    EXPECT_NE(w.node(candidate).out.role, RAFT_LEADER);
    finish();
}

TEST_F(Election, S09_APreVoteIsNoVoteAndLeavesNoTrace)
{
    World &w = start();
    elect(1);
    write(2);
    w.crash(1);
    raft_term term = status(2).term;
    w.filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.u.vote.pre; };
    std::vector<Message> pre;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_VOTE_REPLY && m.m.u.vote_reply.pre) {
            pre.push_back(m);
            return false;
        }
        return true;
    };
    uint64_t writes = w.node(3).disk.term;
    w.run_until([&] { return pre.size() >= 3; }, 20 * kSec);
    for (raft_id id : {2, 3}) {
        EXPECT_EQ(status(id).term, term);
        EXPECT_NE(w.node(id).out.role, RAFT_CANDIDATE);
    }
    EXPECT_EQ(w.node(3).disk.term, writes);
    finish();
}

TEST_F(Election, S10_ANodeIsolatedForLongRejoinsWithoutDisturbance)
{
    World &w = start();
    raft_id l = w.wait_leader();
    write(1);
    raft_id lone = others(l)[0];
    raft_term term = status(l).term;
    w.isolate(lone);
    w.run_for(60 * kSec);
    EXPECT_EQ(status(lone).term, term) << "no inflation of terms";
    EXPECT_GT(status(lone).elections, 10u);
    w.heal();
    w.run_for(2 * kSec);
    EXPECT_EQ(w.leader(), l);
    EXPECT_EQ(status(l).term, term);
    finish();
}

TEST_F(Election, S11_ALeaderWithoutMajorityStepsDownAndItsWritesStayOpen)
{
    World &w = start();
    raft_id l = w.wait_leader();
    write(1);
    w.isolate(l);
    raft_index open = propose(l, 3);
    ASSERT_TRUE(w.run_until([&] { return w.node(l).out.role != RAFT_LEADER; }, 3 * opt.election));
    EXPECT_LT(w.node(l).out.commit_index, open) << "neither failed nor done";
    EXPECT_GE(w.node(l).last(), open);
    w.wait_leader();
    finish();
}

TEST_F(Election, S12_ALeaderThatCannotHearStepsDown)
{
    World &w = start();
    raft_id l = w.wait_leader();
    for (raft_id id : others(l)) {
        w.set_cut(id, l, false);
    }
    ASSERT_TRUE(w.run_until([&] { return w.leader() != 0 && w.leader() != l; }, 5 * kSec));
    finish();
}

TEST_F(Election, S13_ALeaderThatCannotSpeakIsReplaced)
{
    World &w = start();
    raft_id l = w.wait_leader();
    for (raft_id id : others(l)) {
        w.set_cut(l, id, false);
    }
    ASSERT_TRUE(w.run_until([&] { return w.leader() != 0 && w.leader() != l; }, 5 * kSec));
    w.run_for(10 * kMs);
    EXPECT_EQ(w.node(l).out.role, RAFT_FOLLOWER) << "it hears its successor";
    finish();
}

TEST_F(Election, S14_APartialPartitionDoesNotMakeLeadershipFlap)
{
    World &w = start();
    elect(1);
    w.set_cut(1, 2); // both still talk to 3
    w.run_for(10 * kSec);
    size_t terms = w.oracle.leaders.size();
    EXPECT_LE(terms, 2u);
    write(5);
    w.run_for(10 * kSec);
    EXPECT_EQ(w.oracle.leaders.size(), terms);
    finish();
}

TEST_F(Election, S15_ANodeOfAHigherTermAndAnOldLogIsAbsorbed)
{
    World &w = start();
    elect(1);
    write(1);
    w.isolate(3);
    write(5);
    w.crash(3);
    w.node(3).disk.term = 50; // as if it had campaigned in another life
    w.node(3).disk.vote = 0;
    w.heal();
    w.start(3);
    ASSERT_TRUE(
        w.run_until([&] { return w.leader() != 0 && status(w.leader()).term > 50; }, 5 * kSec));
    EXPECT_NE(w.leader(), 3u) << "its log is too old";
    finish();
}

TEST_F(Election, S16_AfterAPowerCutOfAllEverythingAcknowledgedIsThere)
{
    for (opt.seed = 1; opt.seed <= 30; opt.seed++) {
        World &w = start();
        ASSERT_NE(w.wait_leader(), 0u);
        write(5);
        propose(w.leader(), 5);
        w.run_for(opt.seed * 37 % 1000 * kUs);
        raft_index acked = w.oracle.last();
        for (raft_id id : {1, 2, 3}) {
            w.crash(id);
        }
        w.start_all();
        ASSERT_NE(w.wait_leader(), 0u);
        write(1);
        EXPECT_GT(w.node(w.leader()).applied, acked);
        finish();
    }
}

TEST_F(Election, S17_HalfOfAnEvenNumberCommitsNothing)
{
    for (int n : {2, 4}) {
        opt.voters = n;
        World &w = start();
        raft_id l = w.wait_leader();
        ASSERT_NE(l, 0u);
        write(2);
        // The leader keeps half, itself included.
        int cut = 0;
        for (raft_id a : others(l)) {
            if (cut < n / 2) {
                w.isolate(a);
                cut++;
            }
        }
        raft_index before = w.oracle.last();
        propose(l, 3);
        w.run_for(5 * kSec);
        EXPECT_EQ(w.oracle.last(), before);
        EXPECT_EQ(w.leader(), 0u);
        finish();
    }
}

TEST_F(Election, S18_ASingleVoterElectsItselfAtOnceAndCommitsAfterItsFlush)
{
    opt.voters = 1;
    opt.disk_min = opt.disk_max = 5 * kMs;
    World &w = start();
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 1; }, 20 * kMs));
    w.run_for(20 * kMs);
    raft_index last = propose(1);
    w.run_for(4 * kMs);
    EXPECT_LT(w.node(1).out.commit_index, last);
    w.run_for(2 * kMs);
    EXPECT_EQ(w.node(1).out.commit_index, last);
}

TEST_F(Election, S19_ElectionsOfManySeedsStayWithinABound)
{
    Time worst = 0;
    for (opt.seed = 1; opt.seed <= 300; opt.seed++) {
        World &w = start();
        ASSERT_NE(w.wait_leader(5 * kSec), 0u);
        w.run_for(100 * kMs);
        w.crash(w.leader());
        Time since = w.now;
        ASSERT_NE(w.wait_leader(10 * kSec), 0u);
        worst = std::max(worst, w.now - since);
    }
    EXPECT_LT(worst, 3 * kSec);
}

TEST_F(Election, S20_AFrozenLeaderLearnsOfItsSuccessorBeforeItAnswers)
{
    World &w = start();
    raft_id old = w.wait_leader();
    write(2);
    w.pause(old);
    ASSERT_TRUE(w.run_until([&] { return w.leader() != 0; }, 5 * kSec));
    write(5);
    raft_index committed = w.oracle.last();
    w.run_for(10 * kSec);
    w.node(old).paused = false; // thaws: first of all a client comes in
    EXPECT_EQ(w.read(old, 5), 0);
    int rc = w.propose(old, 99);
    w.node(old).paused = true;
    w.resume(old);
    w.run_for(2 * kSec);
    EXPECT_EQ(w.node(old).out.role, RAFT_FOLLOWER);
    EXPECT_EQ(w.read_values.count(5), 0u) << "a stale read was served";
    EXPECT_NE(w.read_results[5].result, 0);
    (void)rc;
    EXPECT_GE(w.oracle.last(), committed);
    finish();
}
