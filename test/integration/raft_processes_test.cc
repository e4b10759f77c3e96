// Three real masters under load while processes die or stand still and links break. Each fault must
// be seen to have bitten; each history must have an explanation; in the end all agree.
#include "raft_processes_fixture.h"

#include <csignal>

namespace raft_processes
{
namespace
{

class Faults : public RaftProcesses
{
  protected:
    void SetUp() override
    {
        RaftProcesses::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        Begin();
    }

    void Begin()
    {
        masters_->StartAll();
        load_->Start();
        ASSERT_TRUE(load_->MoreWrites(kSome)) << masters_->Said(1);
        // Should another be elected from now on, then with a higher term.
        ASSERT_TRUE(Eventually([&] {
            leader_ = masters_->Leader();
            const Info info = leader_ == 0 ? Info{} : masters_->Ask(leader_);
            term_ = info.term;
            return info.leads;
        }));
        follower_ = leader_ % kMasters + 1;
        other_ = follower_ % kMasters + 1;
    }

    // The others have elected one of them, and it works.
    void ExpectNewLeader()
    {
        EXPECT_TRUE(Eventually([&] {
            const Info a = masters_->Ask(follower_), b = masters_->Ask(other_);
            return (a.leads && a.term > term_) || (b.leads && b.term > term_);
        })) << "term "
            << term_;
        EXPECT_TRUE(load_->MoreWrites(kSome));
    }

    int leader_ = 0, follower_ = 0, other_ = 0;
    uint64_t term_ = 0;
};

// What must not cost an election. The timeout is long, so that a busy machine does not cost one.
class Undisturbed : public Faults
{
  protected:
    void SetUp() override
    {
        RaftProcesses::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        for (int i = 1; i <= kMasters; i++) {
            masters_->extra[i] = {"--election-timeout=1500ms"};
        }
        Begin();
    }

    void ExpectUndisturbed()
    {
        EXPECT_TRUE(load_->MoreWrites(kSome));
        const Info info = masters_->Ask(leader_);
        EXPECT_EQ(info.term, term_);
        EXPECT_TRUE(info.leads);
    }
};

TEST_F(Faults, a_killed_leader_is_replaced)
{
    masters_->Kill(leader_);
    ExpectNewLeader();
    masters_->Start(leader_);
    ExpectHealthy();
}

TEST_F(Undisturbed, a_killed_follower_is_not_missed)
{
    masters_->Kill(follower_);
    ExpectUndisturbed();
    masters_->Start(follower_);
    ExpectHealthy();
}

TEST_F(Faults, with_all_killed_nothing_acknowledged_is_lost)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i <= kMasters; i++) {
            masters_->Signal(i, SIGKILL);
        }
        for (int i = 1; i <= kMasters; i++) {
            EXPECT_EQ(masters_->Wait(i), 128 + SIGKILL);
        }
        for (int i = 1; i <= kMasters; i++) {
            masters_->Start(i);
        }
        EXPECT_TRUE(load_->MoreWrites(kSome));
    }
    EXPECT_GT(masters_->Term(), term_);
    ExpectHealthy();
}

TEST_F(Faults, a_leader_that_stands_still_is_replaced_and_follows_when_it_wakes)
{
    masters_->Signal(leader_, SIGSTOP);
    ExpectNewLeader();
    masters_->Signal(leader_, SIGCONT);
    EXPECT_TRUE(Eventually([&] { return masters_->SaidSince(leader_, "leadership lost"); }));
    ExpectHealthy();
}

TEST_F(Undisturbed, a_follower_that_stands_still_is_not_missed)
{
    masters_->Signal(follower_, SIGSTOP);
    ExpectUndisturbed();
    masters_->Signal(follower_, SIGCONT);
    ExpectHealthy();
}

TEST_F(Faults, a_leader_cut_off_steps_down_while_its_clients_still_reach_it)
{
    CutFromOthers(leader_);
    ExpectNewLeader();
    EXPECT_TRUE(Eventually([&] { return !masters_->Ask(leader_).leads; }));
    network_->Heal();
    ExpectHealthy();
}

TEST_F(Undisturbed, a_follower_cut_off_disturbs_nobody_when_it_is_back)
{
    CutFromOthers(follower_);
    ExpectUndisturbed();
    EXPECT_TRUE(Eventually([&] { return masters_->Ask(follower_).leader.empty(); }));
    network_->Heal();
    EXPECT_TRUE(
        Eventually([&] { return masters_->Ask(follower_).leader == Masters::Rpc(leader_); }));
    EXPECT_EQ(masters_->Term(), term_) << "it must not force an election";
    ExpectHealthy();
}

TEST_F(Faults, a_leader_that_is_not_heard_is_replaced)
{
    Link cut;
    cut.cut = true;
    network_->Set(leader_, follower_, cut);
    network_->Set(leader_, other_, cut);
    ExpectNewLeader();
    network_->Heal();
    ExpectHealthy();
}

// Its heartbeats arrive, so without a check of its own nobody would ever be elected.
TEST_F(Faults, a_leader_that_hears_nobody_steps_down)
{
    Link cut;
    cut.cut = true;
    network_->Set(follower_, leader_, cut);
    network_->Set(other_, leader_, cut);
    ExpectNewLeader();
    network_->Heal();
    ExpectHealthy();
}

// As in Cloudflare's outage of 2020: one link is gone, the third sees both sides.
TEST_F(Undisturbed, a_follower_that_has_lost_only_the_leader_does_not_depose_it)
{
    Link cut;
    cut.cut = true;
    network_->SetBoth(leader_, follower_, cut);
    EXPECT_TRUE(Eventually([&] { return masters_->Ask(follower_).leader.empty(); }));
    ExpectUndisturbed();
    network_->Heal();
    ExpectHealthy();
}

TEST_F(Faults, without_a_majority_nothing_is_acknowledged_nor_read)
{
    Link cut;
    cut.cut = true;
    for (int a = 1; a <= kMasters; a++) {
        for (int b = a + 1; b <= kMasters; b++) {
            network_->SetBoth(a, b, cut);
        }
    }
    EXPECT_TRUE(Eventually([&] { return !masters_->Ask(leader_).leads; }));
    // Once what was on its way has been answered.
    EXPECT_TRUE(Eventually([&] {
        const int reads = load_->reads();
        return !load_->MoreWrites(1, GFS_NS_PER_S / 2) && load_->reads() == reads;
    }));
    network_->Heal();
    ExpectHealthy();
}

TEST_F(Faults, slow_lossy_links_that_reorder_and_repeat_only_slow_it_down)
{
    const Link bad = {false, 8 * GFS_NS_PER_MS, 12 * GFS_NS_PER_MS, 20, 20};
    const int64_t lost = network_->lost();
    for (int a = 0; a <= kMasters; a++) {
        for (int b = a + 1; b <= kMasters; b++) {
            network_->SetBoth(a, b, bad);
        }
    }
    EXPECT_TRUE(load_->MoreWrites(kSome));
    EXPECT_GT(network_->lost(), lost);
    EXPECT_GT(load_->longest_ns(), 4 * bad.delay_ns) << "client and followers, there and back";
    network_->Heal();
    ExpectHealthy();
}

TEST_F(Undisturbed, clients_that_lost_the_leader_only_go_on_when_it_is_back)
{
    Link cut;
    cut.cut = true;
    network_->SetBoth(0, leader_, cut);
    EXPECT_TRUE(load_->MoreReads(kSome)) << "followers answer reads";
    EXPECT_EQ(masters_->Ask(follower_).term, term_);
    EXPECT_FALSE(masters_->Ask(leader_).answered);
    network_->Heal();
    ExpectHealthy();
}

} // namespace
} // namespace raft_processes
