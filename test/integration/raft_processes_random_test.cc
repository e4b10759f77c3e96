// Faults in random order and company, for as long as RAFT_PROCESSES_SECONDS says. The seed
// (RAFT_PROCESSES_SEED) repeats their order, though not what the processes make of it.
#include "raft_processes_fixture.h"

#include <csignal>
#include <iostream>

#include "raft_processes_damage.h"

namespace raft_processes
{
namespace
{

class Random : public RaftProcesses
{
  protected:
    int Pick(int n)
    {
        return static_cast<int>(random_() % static_cast<unsigned>(n));
    }

    // Some work, if there is a majority that can do it.
    void LetPass()
    {
        (void)load_->MoreWrites(kSome, GFS_NS_PER_S / 2);
    }

    void Bounce(int i)
    {
        masters_->Kill(i);
        LetPass();
        masters_->Start(i);
    }

    void KillAll()
    {
        for (int i = 1; i <= kMasters; i++) {
            masters_->Signal(i, SIGKILL);
        }
        for (int i = 1; i <= kMasters; i++) {
            EXPECT_EQ(masters_->Wait(i), 128 + SIGKILL);
        }
        for (int i = 1; i <= kMasters; i++) {
            masters_->Start(i);
        }
    }

    void Pause(int i)
    {
        masters_->Signal(i, SIGSTOP);
        LetPass();
        masters_->Signal(i, SIGCONT);
    }

    // One disk at a time: what two of three have lost cannot be had back.
    void Damage(int i, bool middle)
    {
        network_->Heal();
        masters_->Kill(i);
        if (UsedBlocks(NewestSegment(masters_->Journal(i))) > 4) {
            (middle ? DamageTheMiddle : TearTheTail)(masters_->Journal(i));
        }
        std::filesystem::remove_all(masters_->Directory(i) + "/metastore");
        const uint64_t known = std::max(masters_->Ask(i % kMasters + 1).commit,
                                        masters_->Ask((i + 1) % kMasters + 1).commit);
        masters_->Start(i);
        EXPECT_TRUE(Eventually([&] { return masters_->Ask(i).applied >= known; }))
            << masters_->Said(i);
    }

    void CutOneWay()
    {
        Link cut;
        cut.cut = true;
        const int from = 1 + Pick(kMasters), to = 1 + Pick(kMasters);
        network_->Set(from, to, cut);
    }

    // Most links are bad in their own way, for a while.
    void Disturb()
    {
        for (int a = 0; a <= kMasters; a++) {
            for (int b = 0; b <= kMasters; b++) {
                Link link;
                link.cut = a > 0 && b > 0 && Pick(8) == 0;
                link.delay_ns = Pick(2) * Pick(20) * GFS_NS_PER_MS;
                link.jitter_ns = link.delay_ns;
                link.loss_permille = Pick(2) * Pick(50);
                link.twice_permille = Pick(50);
                network_->Set(a, b, link);
            }
        }
    }

    int Victim()
    {
        const int any = 1 + Pick(kMasters), leader = masters_->Leader(GFS_NS_PER_S);
        return Pick(2) == 0 || leader == 0 ? any : leader;
    }

    std::string Fault()
    {
        const int victim = Victim();
        const int kind = Pick(9);
        const std::string whom = " " + std::to_string(victim);
        switch (kind) {
        case 0:
        case 1: Bounce(victim); return "kill" + whom;
        case 2: KillAll(); return "kill all";
        case 3: Pause(victim); return "stop" + whom;
        case 4: CutFromOthers(victim); return "cut off" + whom;
        case 5: CutOneWay(); return "cut one way";
        case 6: Disturb(); return "disturb";
        case 7: Damage(victim, true); return "damage" + whom;
        default: Damage(victim, false); return "tear" + whom;
        }
    }

    std::mt19937_64 random_{Seed()};
};

TEST_F(Random, faults_in_any_order_lose_nothing)
{
    const char *text = getenv("RAFT_PROCESSES_SECONDS");
    const int64_t seconds = text != nullptr ? strtoll(text, nullptr, 10) : 3;
    const int64_t until = gfs_clock_mono() + seconds * GFS_NS_PER_S;
    masters_->StartAll();
    for (int round = 1; gfs_clock_mono() < until && !HasFailure(); round++) {
        const int writes = load_->writes();
        load_->Start();
        EXPECT_TRUE(load_->MoreWrites(kSome));
        std::string faults;
        for (int n = 1 + Pick(2); n > 0 && !HasFailure(); n--) {
            faults += (faults.empty() ? "" : ", ") + Fault();
            LetPass();
        }
        network_->Heal();
        ExpectHealthy();
        std::cout << "seed " << Seed() << " round " << round << ": " << faults << ": "
                  << load_->writes() - writes << " changes, slowest "
                  << load_->longest_ns() / GFS_NS_PER_MS << " ms" << std::endl;
    }
}

} // namespace
} // namespace raft_processes
