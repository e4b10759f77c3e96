// Checklist 45 to 55: membership and transfer of leadership.
#include "sim/scenario.h"

using namespace sim;

class Membership : public Scenario
{
  protected:
    // Asks the leader until it takes the change, and waits for the result.
    int change(raft_change_op op, raft_id id, Time limit = 20 * kSec)
    {
        uint64_t ctx = ++ctx_;
        Time end = w().now + limit;
        while (w().ok() && w().now < end) {
            raft_id l = w().leader();
            int rc = l ? w().change(l, op, id, ctx) : RAFT_ERR_NOT_LEADER;
            if (rc == 0) {
                int result = 1;
                w().run_until(
                    [&] {
                        for (const raft_change_result &r : w().changes) {
                            if (r.ctx == ctx) {
                                result = r.result;
                                return true;
                            }
                        }
                        return false;
                    },
                    limit);
                return result;
            }
            if (rc != RAFT_ERR_NOT_LEADER && rc != RAFT_ERR_NOT_READY &&
                rc != RAFT_ERR_CONFIG_PENDING && rc != RAFT_ERR_TRANSFER) {
                return rc;
            }
            w().run_for(20 * kMs);
        }
        return 1;
    }

    // The entry that ties ids to disks comes by itself in the first moments; let it pass.
    void settle()
    {
        w().run_for(300 * kMs);
    }

    uint64_t ctx_ = 0;
};

TEST_F(Membership, S45_FromThreeToFiveAndBackUnderWritesAndCrashes)
{
    for (opt.seed = 1; opt.seed <= 10; opt.seed++) {
        opt.spares = 2;
        opt.clients = 3;
        World &w = start();
        w.start_clients();
        for (raft_id id : {4, 5}) {
            EXPECT_EQ(change(RAFT_ADD_LEARNER, id), 0);
            int rc;
            do {
                rc = change(RAFT_PROMOTE, id);
                if (raft_config_is_voter(raft_config_in_force(w.node(w.wait_leader()).core), id)) {
                    break; // an earlier attempt, whose outcome a crash hid, was taken
                }
            } while (rc != 0 && w.ok());
            raft_id victim = 1 + w.rng.below(3);
            w.crash(victim);
            w.run_for(700 * kMs);
            w.start(victim);
            w.run_for(200 * kMs);
        }
        EXPECT_EQ(raft_config_voters(raft_config_in_force(w.node(w.wait_leader()).core)), 5u);
        for (raft_id id : {1, 2}) {
            int rc = change(RAFT_REMOVE, id);
            EXPECT_TRUE(rc == 0 || rc == RAFT_ERR_LOST) << rc;
            w.run_for(500 * kMs);
        }
        w.stop_clients();
        w.run_for(2 * kSec);
        EXPECT_GT(w.acked_writes, 20u);
        EXPECT_EQ(raft_config_voters(raft_config_in_force(w.node(w.wait_leader()).core)), 3u);
        finish();
    }
}

TEST_F(Membership, S46_TheScheduleOf2015IsRefused)
{
    // raft-dev, July 2015: S1 adds a server and is cut off; S2 wins with the old majority and,
    // before any entry of its own is committed, removes one: the two configurations need not
    // overlap.
    opt.voters = 4;
    opt.spares = 1;
    World &w = start();
    elect(1);
    settle();
    for (raft_id id : {2, 3, 4}) {
        w.set_cut(1, id);
    }
    ASSERT_EQ(w.change(1, RAFT_ADD_LEARNER, 5), 0); // reaches nobody
    EXPECT_EQ(w.change(1, RAFT_ADD_LEARNER, 5), RAFT_ERR_CONFIG_PENDING);
    w.filter = [](const Message &m) {
        // 2 is elected, but its no-op reaches nobody.
        return !(m.m.type == RAFT_MSG_APPEND && m.m.from == 2 && !m.entries.empty()) &&
               (m.m.type != RAFT_MSG_VOTE || m.m.from == 2);
    };
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 2; }, 10 * kSec));
    w.run_for(50 * kMs);
    EXPECT_EQ(w.change(2, RAFT_REMOVE, 1), RAFT_ERR_NOT_READY);
    w.filter = nullptr;
    w.run_for(500 * kMs);
    EXPECT_EQ(w.change(2, RAFT_DEMOTE, 4), 0) << "after its own commit it may";
    w.run_for(500 * kMs);
    finish();
}

TEST_F(Membership, S47_AnOverwrittenConfigurationIsRolledBackEverywhere)
{
    opt.spares = 1;
    World &w = start();
    elect(1);
    settle();
    write(1);
    w.cut[1][2] = w.cut[1][3] = w.cut[2][1] = w.cut[3][1] = true;
    ASSERT_EQ(w.change(1, RAFT_ADD_LEARNER, 4, 9), 0);
    w.run_for(100 * kMs);
    EXPECT_EQ(raft_config_in_force(w.node(1).core)->n_servers, 4u);
    EXPECT_EQ(raft_config_in_force(w.node(4).core)->n_servers, 4u) << "it has the entry already";
    elect(2);
    w.heal();
    w.run_for(kSec);
    EXPECT_EQ(raft_config_in_force(w.node(1).core)->n_servers, 3u);
    ASSERT_EQ(w.changes.size(), 1u);
    EXPECT_EQ(w.changes[0].result, RAFT_ERR_LOST);
    EXPECT_EQ(change(RAFT_ADD_LEARNER, 4), 0);
    finish();
    EXPECT_EQ(raft_config_in_force(w.node(4).core)->n_servers, 4u);
}

TEST_F(Membership, S48_ALeaderThatRemovesItselfLeavesWhenThatIsCommitted)
{
    World &w = start();
    elect(1);
    settle();
    w.isolate(3);
    ASSERT_EQ(w.change(1, RAFT_REMOVE, 1, 5), 0);
    raft_index index = w.node(1).last();
    w.run_for(200 * kMs);
    EXPECT_EQ(w.node(1).out.role, RAFT_LEADER);
    EXPECT_LT(w.oracle.last(), index) << "1 and 2 are no majority of {2, 3}: 1 does not count";
    w.heal();
    ASSERT_TRUE(w.run_until([&] { return w.oracle.last() >= index; }, 5 * kSec));
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 2 || w.leader() == 3; }, 5 * kSec));
    w.run_for(kSec);
    EXPECT_NE(w.node(1).out.role, RAFT_LEADER);
    finish();
}

TEST_F(Membership, S49_AServerThatNeverLearntOfItsRemovalDisturbsNobody)
{
    World &w = start();
    elect(1);
    settle();
    w.isolate(3);
    ASSERT_EQ(change(RAFT_REMOVE, 3), 0);
    raft_term term = status(1).term;
    w.heal();
    w.run_for(30 * kSec);
    EXPECT_GT(status(3).elections, 10u) << "it tries all the time";
    EXPECT_EQ(status(1).term, term);
    EXPECT_EQ(w.leader(), 1u);
    write(3);
}

TEST_F(Membership, S50_ALearnerIsNeitherElectedNorCountedButAnswersVotes)
{
    opt.spares = 1;
    World &w = start();
    elect(1);
    settle();
    ASSERT_EQ(change(RAFT_ADD_LEARNER, 4), 0);
    w.isolate(2);
    w.isolate(3);
    raft_index last = propose(1);
    w.run_for(100 * kMs);
    EXPECT_EQ(w.node(4).disk.last(), last);
    EXPECT_LT(w.oracle.last(), last) << "leader and learner are no majority";
    w.heal();
    w.crash(1);
    w.run_for(3 * kSec);
    EXPECT_EQ(status(4).elections, 0u);
    raft_id l = w.wait_leader();
    EXPECT_TRUE(l == 2 || l == 3);

    // Its configuration may be outdated: asked for a vote, it votes.
    Message ask;
    ask.m.cluster.bytes[0] = ask.m.cluster.bytes[8] = 42;
    ask.m.from = 1;
    ask.m.to = 4;
    ask.m.term = 100;
    ask.m.type = RAFT_MSG_VOTE;
    ask.m.u.vote = {100, 1000, 99, false, true};
    w.cut[4][1] = true;
    w.deliver(ask);
    EXPECT_EQ(status(4).vote, 1u);
    finish();
}

TEST_F(Membership, S51_PromotionOfALearnerThatDoesNotAnswerIsGivenUp)
{
    opt.spares = 1;
    World &w = start();
    elect(1);
    settle();
    ASSERT_EQ(change(RAFT_ADD_LEARNER, 4), 0);
    w.crash(4);
    write(2);
    EXPECT_EQ(change(RAFT_PROMOTE, 4, 60 * kSec), RAFT_ERR_CATCH_UP);
    write(2);
    EXPECT_EQ(raft_config_voters(raft_config_in_force(w.node(w.leader()).core)), 3u);
    w.start(4);
    w.run_for(kSec);
    EXPECT_EQ(change(RAFT_PROMOTE, 4), 0);
    finish();
}

TEST_F(Membership, S52_AWipedServerDoesNotCountUntilItIsAddedAgain)
{
    World &w = start();
    elect(1);
    write(3);
    settle();
    ASSERT_FALSE(
        raft_uuid_is_zero(&raft_config_find(raft_config_in_force(w.node(1).core), 3)->incarnation))
        << "ids are bound to disks by themselves";
    w.crash(3);
    w.wipe(3);
    w.start(3);
    w.run_for(kSec);
    w.isolate(2);
    raft_index before = w.oracle.last();
    w.propose(1, 1);
    w.run_for(5 * kSec);
    EXPECT_EQ(w.oracle.last(), before) << "what it says under its old id counts for nothing";
    EXPECT_EQ(w.leader(), 0u);
    w.heal();
    ASSERT_NE(w.wait_leader(), 0u);
    w.run_for(300 * kMs);
    EXPECT_EQ(change(RAFT_REMOVE, 3), 0);
    EXPECT_EQ(change(RAFT_ADD_LEARNER, 3), 0);
    EXPECT_EQ(change(RAFT_PROMOTE, 3), 0);
    finish();
    EXPECT_EQ(w.node(3).applied, w.node(w.leader()).applied);
}

TEST_F(Membership, S53_ATransferWaitsForItsTargetOrIsGivenUp)
{
    World &w = start();
    elect(1);
    settle();
    w.isolate(2);
    propose(1, 5);
    w.run_for(20 * kMs);
    ASSERT_EQ(w.transfer(1, 2), 0);
    EXPECT_EQ(w.propose(1, 1), RAFT_ERR_TRANSFER);
    w.run_for(opt.election + 50 * kMs);
    EXPECT_EQ(w.leader(), 1u);
    EXPECT_EQ(w.propose(1, 1), 0) << "writes go on";
    w.heal();
    w.run_for(20 * kMs);
    ASSERT_EQ(w.transfer(1, 2), 0);
    ASSERT_TRUE(w.run_until([&] { return w.leader() == 2; }, kSec));
    EXPECT_EQ(w.node(1).out.role, RAFT_FOLLOWER);
    finish();
}

TEST_F(Membership, S52_AWipedServerIsReadmittedInOneStep)
{
    World &w = start();
    elect(1);
    write(3);
    settle();
    w.crash(3);
    w.wipe(3);
    w.start(3);
    EXPECT_EQ(change(RAFT_READMIT, 2), RAFT_ERR_INVALID) << "it has its disk";
    EXPECT_EQ(change(RAFT_READMIT, 1), RAFT_ERR_INVALID);
    ASSERT_EQ(change(RAFT_READMIT, 3), 0);
    const raft_server *s = raft_config_find(raft_config_in_force(w.node(1).core), 3);
    EXPECT_EQ(s->role, RAFT_LEARNER);
    EXPECT_LT(status(1).peers[1].match, w.oracle.last()) << "nothing is left of its old self";
    EXPECT_EQ(change(RAFT_READMIT, 3), RAFT_ERR_INVALID) << "asked again";
    EXPECT_EQ(change(RAFT_PROMOTE, 3), 0);
    finish();
    EXPECT_EQ(w.node(3).applied, w.node(w.leader()).applied);
}

// The target may hold what no majority has on disk yet: who proposed it would get no answer.
TEST_F(Membership, S53_ATransferWaitsUntilAllThatWasAcceptedIsCommitted)
{
    World &w = start();
    elect(1);
    settle();
    w.isolate(3);
    w.disk_freeze(1, true);
    raft_index last = propose(1, 5);
    ASSERT_TRUE(w.run_until([&] { return status(1).peers[0].match == last; }, kSec));
    ASSERT_LT(status(1).commit_index, last);
    int orders = 0;
    w.filter = [&](const Message &m) {
        orders += m.m.type == RAFT_MSG_TIMEOUT_NOW;
        return true;
    };
    ASSERT_EQ(w.transfer(1, 2), 0);
    w.run_for(20 * kMs);
    EXPECT_EQ(orders, 0);
    w.disk_freeze(1, false);
    ASSERT_TRUE(w.run_until([&] { return w.node(1).out.role != RAFT_LEADER; }, kSec));
    EXPECT_EQ(orders, 1);
    EXPECT_EQ(w.node(1).out.commit_index, last) << "all callers of the old leader have an answer";
    finish();
    EXPECT_EQ(w.leader(), 2u);
}

TEST_F(Membership, S54_TransfersSurviveCrashLossAndDelay)
{
    World &w = start();
    elect(1);
    settle();
    std::vector<Message> orders;
    w.filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_TIMEOUT_NOW) {
            orders.push_back(m);
            return false; // lost
        }
        return true;
    };
    ASSERT_EQ(w.transfer(1, 2), 0);
    w.run_for(opt.election + 50 * kMs);
    EXPECT_EQ(w.leader(), 1u);
    write(1);
    ASSERT_EQ(orders.size(), 1u);

    w.crash(2);
    w.run_for(5 * kMs);
    w.transfer(1, 2); // the target is gone
    w.run_for(500 * kMs);
    write(1);
    w.start(2);
    w.run_for(500 * kMs);

    elect(1);
    w.crash(1);
    raft_id l = w.wait_leader(); // a newer election
    write(1);
    raft_term term = status(l).term;
    w.deliver(orders[0]); // now it arrives, twice
    w.deliver(orders[0]);
    w.run_for(500 * kMs);
    EXPECT_EQ(w.leader(), l);
    EXPECT_EQ(status(l).term, term);
    finish();
}

TEST_F(Membership, S55_AHandOverUnderLoadTakesAFewRoundTrips)
{
    for (opt.seed = 1; opt.seed <= 20; opt.seed++) {
        World &w = start();
        elect(1);
        settle();
        propose(1, 5); // in flight
        ASSERT_EQ(w.transfer(1), 0);
        Time since = w.now;
        ASSERT_TRUE(w.run_until([&] { return w.leader() > 1 && committed_own(w.leader()); }, kSec));
        Time round_trip = 2 * opt.delay_max, flush = opt.disk_max;
        EXPECT_LE(w.now - since, 5 * round_trip + 5 * flush);
        EXPECT_TRUE(read_at(w.leader(), 1, 10 * kMs));
        finish();
    }
}
