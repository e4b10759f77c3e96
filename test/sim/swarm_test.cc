// Random worlds by seed. RAFT_SIM_SEEDS=n and RAFT_SIM_FIRST=n widen a run; a failing seed is
// printed and repeated alone with RAFT_SIM_SEED=n (RAFT_SIM_TRACE=1 tells its story).
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include "sim/nemesis.h"

namespace
{

uint64_t env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, nullptr, 10) : otherwise;
}

struct Total {
    uint64_t steps = 0, writes = 0, reads = 0, leaders = 0, commits = 0;
};

void run_seed(uint64_t seed, Total *total)
{
    sim::Plan plan = sim::random_plan(seed);
    plan.options.trace = env("RAFT_SIM_TRACE", 0) != 0;
    sim::Outcome out = sim::run_plan(plan);
    for (const std::string &line : out.narrative) {
        printf("%s\n", line.c_str());
    }
    EXPECT_EQ(out.failure, "") << to_string(plan) << "\nrepeat: RAFT_SIM_SEED=" << seed
                               << " RAFT_SIM_TRACE=1 raft_swarm_test";
    total->steps += out.steps;
    total->writes += out.acked_writes;
    total->reads += out.served_reads;
    total->leaders += out.leaders;
    total->commits += out.commits;
}

void run_part(uint64_t part, uint64_t parts)
{
    if (getenv("RAFT_SIM_SEED")) {
        Total total;
        run_seed(env("RAFT_SIM_SEED", 1), &total);
        return;
    }
    uint64_t first = env("RAFT_SIM_FIRST", 1);
    uint64_t count = env("RAFT_SIM_SEEDS", 1000);
    Total total;
    for (uint64_t seed = first + part; seed < first + count && !::testing::Test::HasFailure();
         seed += parts) {
        run_seed(seed, &total);
    }
    printf(
        "steps %llu, writes %llu, reads %llu, terms with a leader %llu, entries committed %llu\n",
        static_cast<unsigned long long>(total.steps), static_cast<unsigned long long>(total.writes),
        static_cast<unsigned long long>(total.reads),
        static_cast<unsigned long long>(total.leaders),
        static_cast<unsigned long long>(total.commits));
}

} // namespace

TEST(Swarm, SeedsFirstQuarter)
{
    run_part(0, 4);
}

TEST(Swarm, SeedsSecondQuarter)
{
    run_part(1, 4);
}

TEST(Swarm, SeedsThirdQuarter)
{
    run_part(2, 4);
}

TEST(Swarm, SeedsFourthQuarter)
{
    run_part(3, 4);
}

TEST(Swarm, TheSameSeedGivesTheSameTrace)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        sim::Plan plan = sim::random_plan(seed);
        plan.options.trace = true;
        sim::Outcome a = sim::run_plan(plan);
        sim::Outcome b = sim::run_plan(plan);
        EXPECT_EQ(a.trace_hash, b.trace_hash);
        EXPECT_EQ(a.narrative, b.narrative);
        EXPECT_FALSE(a.narrative.empty());
    }
}
