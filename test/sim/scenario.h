// What the named scenarios share. The numbers in their names are those of the checklist in
// raft/README.md.
#pragma once

#include <cstdlib>

#include <gtest/gtest.h>

#include "sim/sim.h"

namespace sim
{

class Scenario : public ::testing::Test
{
  protected:
    Options opt;
    std::unique_ptr<World> world;

    World &start()
    {
        // RAFT_SIM_MUTANT=n shows which scenarios notice a known bug (core/mutant_priv.h).
        const char *mutant = getenv("RAFT_SIM_MUTANT");
        opt.mutant = mutant ? static_cast<int>(strtol(mutant, nullptr, 10)) : 0;
        world = std::make_unique<World>(opt);
        world->start_all();
        return *world;
    }

    World &w()
    {
        return *world;
    }

    // Makes `id` the leader: nobody else's campaign gets through.
    void elect(raft_id id)
    {
        auto before = w().filter;
        w().filter = [id, before](const Message &m) {
            bool campaign = m.m.type == RAFT_MSG_VOTE && m.m.from != id;
            return !campaign && (!before || before(m));
        };
        ASSERT_TRUE(w().run_until([this, id] { return w().leader() == id && committed_own(id); },
                                  20 * kSec))
            << "n" << id << " is not elected: " << w().failure;
        w().filter = before;
    }

    bool committed_own(raft_id id)
    {
        const Node &n = w().node(id);
        return n.term_at(n.out.commit_index) == n.out.term;
    }

    // Writes through the leader and waits until all living members have applied them.
    void write(int n = 1)
    {
        for (int i = 0; i < n; i++) {
            raft_id l = w().wait_leader();
            ASSERT_NE(l, 0u) << w().failure;
            ASSERT_EQ(w().propose(l, ++value_), 0);
            raft_index index = w().node(l).last();
            ASSERT_TRUE(w().run_until([&] { return w().node(l).applied >= index; }, 20 * kSec))
                << w().failure;
        }
    }

    // Only hands it to the server.
    raft_index propose(raft_id id, int n = 1)
    {
        for (int i = 0; i < n; i++) {
            EXPECT_EQ(w().propose(id, ++value_), 0);
        }
        return w().node(id).last();
    }

    std::set<raft_id> members()
    {
        std::set<raft_id> ids;
        raft_config c = w().committed_config();
        for (uint32_t i = 0; i < c.n_servers; i++) {
            ids.insert(c.servers[i].id);
        }
        return ids;
    }

    // All well again: everybody comes to the same state, and new writes are taken.
    void finish()
    {
        w().filter = nullptr;
        w().heal();
        for (Node &n : w().nodes) {
            w().disk_freeze(n.id, false);
            w().resume(n.id);
        }
        w().start_all();
        w().run_for(kSec);
        write(3);
        EXPECT_TRUE(w().run_until([this] { return w().converged(members()); }, 20 * kSec));
        EXPECT_TRUE(w().check_logs_match());
        EXPECT_EQ(w().failure, "");
    }

    raft_status status(raft_id id)
    {
        raft_status st;
        raft_get_status(w().node(id).core, &st);
        return st;
    }

    // The others of three.
    std::vector<raft_id> others(raft_id id)
    {
        std::vector<raft_id> o;
        for (const Node &n : w().nodes) {
            if (n.id != id) {
                o.push_back(n.id);
            }
        }
        return o;
    }

    bool read_at(raft_id id, uint64_t ctx, Time limit = 5 * kSec)
    {
        EXPECT_EQ(w().read(id, ctx), 0);
        return w().run_until([&] { return w().read_values.count(ctx) > 0; }, limit);
    }

    void TearDown() override
    {
        if (world) {
            EXPECT_EQ(world->failure, "");
        }
    }

    uint64_t value_ = 0;
};

} // namespace sim
