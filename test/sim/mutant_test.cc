// The simulator is only as good as the bugs it finds: each of the known pitfalls (mutant_priv.h) is
// switched on, and must be caught within a stated number of seeds.
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

extern "C" {
#include "mutant_priv.h"
}
#include "sim/nemesis.h"

namespace
{

struct Mutant {
    int number;
    const char *name;
    const char *text;
    uint64_t seeds; // within which it must be caught
};

void PrintTo(const Mutant &m, std::ostream *os)
{
    *os << m.text;
}

const Mutant kMutants[] = {
#define X(name, text) {RAFT_MUTANT_##name, #name, text, 10000},
    RAFT_MUTANT_LIST(X)
#undef X
};

std::string mutant_name(const ::testing::TestParamInfo<Mutant> &info)
{
    return info.param.name;
}

} // namespace

class MutantTest : public ::testing::TestWithParam<Mutant>
{
};

TEST_P(MutantTest, IsCaught)
{
    const Mutant &m = GetParam();
    for (uint64_t seed = 1; seed <= m.seeds; seed++) {
        sim::Plan plan = sim::random_plan(seed);
        plan.options.mutant = m.number;
        sim::Outcome out = sim::run_plan(plan);
        if (!out.failure.empty()) {
            printf("%s (%s): seed %llu: %s\n", m.name, m.text,
                   static_cast<unsigned long long>(seed), out.failure.c_str());
            return;
        }
    }
    FAIL() << m.name << " (" << m.text << ") was not caught within " << m.seeds << " seeds";
}

INSTANTIATE_TEST_SUITE_P(Known, MutantTest, ::testing::ValuesIn(kMutants), mutant_name);
