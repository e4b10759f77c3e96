// Random worlds and random trouble, all from one seed ("swarm": every seed draws which kinds of
// trouble it has, and how much), then healing and the demand that everything goes on.
#pragma once

#include "sim.h"

namespace sim
{

struct Trouble {
    Time every = 200 * kMs; // mean time between two of them
    // Weights of the kinds; 0: does not occur in this seed.
    uint64_t crash = 0;
    uint64_t crash_all = 0;
    uint64_t isolate = 0;
    uint64_t cut_link = 0; // one or both directions
    uint64_t split = 0;
    uint64_t heal = 0;
    uint64_t pause = 0;
    uint64_t clock_jump = 0;
    uint64_t freeze_disk = 0;
    uint64_t transfer = 0;
    uint64_t membership = 0;
    uint64_t snapshot = 0;
    uint64_t rot = 0; // one server at a time loses what it had on disk
};

struct Plan {
    Options options;
    Trouble trouble;
    Time duration = 4 * kSec;
};

Plan random_plan(uint64_t seed);
std::string to_string(const Plan &p);

struct Outcome {
    std::string failure; // empty: all is well
    uint64_t trace_hash = 0;
    uint64_t steps = 0;
    uint64_t acked_writes = 0;
    uint64_t served_reads = 0;
    uint64_t leaders = 0;
    uint64_t commits = 0;
    std::vector<std::string> narrative;
};

Outcome run_plan(const Plan &p);

} // namespace sim
