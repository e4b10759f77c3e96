// Stories: what happens, in the order it happens, for readers. A change of behaviour shows as a
// change of text: look at it, and if it is meant, run once with RAFT_SIM_GOLDEN=write.
#include <fstream>
#include <sstream>

#include "sim/scenario.h"

using namespace sim;

class Story : public Scenario
{
  protected:
    Story()
    {
        opt.seed = 11;
        opt.trace = true;
    }

    void chapter(const std::string &title)
    {
        w().narrative.push_back("");
        w().narrative.push_back("## " + title);
    }

    void is_told_in(const std::string &name)
    {
        std::string path = std::string(SIM_GOLDEN) + "/" + name + ".txt";
        std::ostringstream told;
        for (const std::string &line : w().narrative) {
            told << line << "\n";
        }
        const char *mode = getenv("RAFT_SIM_GOLDEN");
        if (mode && std::string(mode) == "write") {
            std::ofstream(path) << told.str();
            return;
        }
        std::ifstream in(path);
        std::ostringstream want;
        want << in.rdbuf();
        EXPECT_EQ(told.str(), want.str()) << "differs from " << path;
    }

    // A log of the given (term, count) runs on the disk of a server that is down.
    void forge(raft_id id, std::vector<std::pair<raft_term, int>> runs, raft_term term)
    {
        Disk &d = w().node(id).disk;
        w().crash(id);
        d.log.clear();
        for (auto &run : runs) {
            for (int i = 0; i < run.second; i++) {
                Op op;
                op.value = run.first * 1000 + d.log.size();
                d.log.push_back({run.first, RAFT_ENTRY_COMMAND, encode_op(op, 0)});
            }
        }
        d.term = term;
        d.vote = 0;
    }
};

TEST_F(Story, OfAnElectionAWriteAndAFailover)
{
    start();
    chapter("The first timer runs out: would anybody vote for me? Then the vote itself.");
    w().wait_leader();
    w().run_for(100 * kMs);
    chapter("A write: appended, sent, flushed by a majority, committed, made known.");
    propose(w().leader());
    w().run_for(20 * kMs);
    chapter("The leader crashes; after a silence of E to 2E the others replace it.");
    raft_id old = w().leader();
    w().crash(old);
    w().wait_leader();
    w().run_for(40 * kMs);
    chapter("It comes back, follows, and gets what it missed.");
    w().start(old);
    w().run_for(150 * kMs);
    EXPECT_EQ(w().node(old).applied, w().node(w().leader()).applied);
    is_told_in("election");
}

TEST_F(Story, OfADivergentTail)
{
    start();
    forge(1, {{1, 3}, {4, 3}}, 4);
    forge(2, {{1, 3}, {4, 3}}, 4);
    forge(3, {{1, 3}, {2, 5}, {3, 4}}, 4);
    w().narrative.clear();
    chapter(
        "n3 has twelve entries, nine of which nobody else knows; its last term is too old to win.");
    w().start_all();
    w().wait_leader();
    chapter("One question per divergent term, then the leader's entries replace them.");
    w().run_for(200 * kMs);
    is_told_in("divergent_tail");
}

TEST_F(Story, OfFigure8)
{
    opt.voters = 5;
    opt.max_append_entries = 1;
    start();
    forge(1, {{1, 1}, {2, 1}}, 3);
    forge(2, {{1, 1}, {2, 1}}, 3);
    forge(3, {{1, 1}}, 3);
    forge(4, {{1, 1}}, 3);
    forge(5, {{1, 1}, {3, 1}}, 3);
    w().narrative.clear();
    w().filter = [&](const Message &m) {
        if (m.m.type == RAFT_MSG_VOTE) {
            return m.m.from == 1;
        }
        bool own = m.m.type == RAFT_MSG_APPEND && m.m.from == 1 && !m.entries.empty() &&
                   m.entries.back().term == 4;
        if (own) {
            Message bare = m;
            bare.entries.clear();
            bare.m.u.append.n_entries = 0;
            w().send(bare);
        }
        return !own;
    };
    w().set_cut(1, 5);
    chapter("Term 4: n1 puts entry 2 of term 2 on n3, a majority. Its own no-op reaches nobody.");
    w().start_all();
    w().run_until([&] { return w().leader() == 1; }, 10 * kSec);
    w().run_for(60 * kMs);
    chapter("It has not called it committed: for n5, with a later last term, may still win.");
    w().crash(1);
    w().heal();
    w().filter = [](const Message &m) { return m.m.type != RAFT_MSG_VOTE || m.m.from == 5; };
    w().run_until([&] { return w().leader() == 5; }, 10 * kSec);
    w().run_for(200 * kMs);
    EXPECT_EQ(w().node(3).term_at(2), 3u);
    is_told_in("figure8");
}

TEST_F(Story, OfATransfer)
{
    start();
    elect(1);
    w().run_for(300 * kMs);
    w().narrative.clear();
    chapter("n1 hands over to n2, which campaigns at once; n3 does not insist on n1.");
    ASSERT_EQ(w().transfer(1, 2), 0);
    w().run_until([&] { return w().leader() == 2; }, kSec);
    w().run_for(20 * kMs);
    is_told_in("transfer");
}

TEST_F(Story, OfASnapshot)
{
    opt.trailing = 2;
    start();
    elect(1);
    w().run_for(300 * kMs);
    w().isolate(3);
    write(10);
    w().take_snapshot(1);
    w().run_for(100 * kMs);
    w().narrative.clear();
    chapter("n3 missed ten entries, and n1 keeps only the last two before its snapshot.");
    w().heal();
    w().run_for(150 * kMs);
    EXPECT_EQ(w().node(3).applied, w().node(1).applied);
    is_told_in("snapshot");
}
