// The eviction core: quota is never exceeded, watermarks really work, what is in use stays.
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "crc32c.h"
#include "space.h"
}

namespace
{

constexpr uint64_t kUnit = 4096;

class Space : public testing::Test
{
  protected:
    void Init(uint64_t quota_units, double high, double low)
    {
        gfsi_space_init(&space_, quota_units * kUnit, high, low);
    }

    gfsi_space_entry *Add(uint64_t units)
    {
        entries_.push_back(std::make_unique<gfsi_space_entry>());

        gfsi_space_entry *entry = entries_.back().get();

        *entry = {};
        gfsi_space_add(&space_, entry, ++stamp_);
        EXPECT_TRUE(gfsi_space_reserve(&space_, units * kUnit));
        gfsi_space_charge(&space_, entry, units * kUnit);
        return entry;
    }

    std::vector<gfsi_space_entry *> Plan(uint64_t units, size_t max = 64)
    {
        std::vector<gfsi_space_entry *> victims(max);

        victims.resize(gfsi_space_plan(&space_, units * kUnit, victims.data(), max));
        return victims;
    }

    void TearDown() override
    {
        EXPECT_TRUE(gfsi_space_consistent(&space_));
        EXPECT_LE(space_.used, space_.quota);
    }

    gfsi_space space_;
    uint64_t stamp_ = 0;
    std::vector<std::unique_ptr<gfsi_space_entry>> entries_;
};

TEST_F(Space, NothingGoesBelowTheHighWatermark)
{
    Init(100, 0.8, 0.7);
    for (int i = 0; i < 7; i++) {
        Add(10);
    }
    EXPECT_TRUE(Plan(10).empty());
}

TEST_F(Space, AboveHighTheOldestGoDownToLow)
{
    Init(100, 0.8, 0.7);

    std::vector<gfsi_space_entry *> added;

    for (int i = 0; i < 8; i++) {
        added.push_back(Add(10));
    }

    std::vector<gfsi_space_entry *> victims = Plan(1); // 81 > 80: down to 70 with it

    ASSERT_EQ(2u, victims.size());
    EXPECT_EQ(added[0], victims[0]);
    EXPECT_EQ(added[1], victims[1]);

    // They count until they are gone from the disk.
    EXPECT_EQ(80 * kUnit, space_.used);
    EXPECT_TRUE(Plan(1).empty());
    gfsi_space_forget(&space_, victims[0]);
    gfsi_space_forget(&space_, victims[1]);
    EXPECT_EQ(60 * kUnit, space_.used);
}

TEST_F(Space, TouchMovesToTheEnd)
{
    Init(100, 0.8, 0.7);

    gfsi_space_entry *a = Add(40);
    gfsi_space_entry *b = Add(40);

    gfsi_space_touch(&space_, a, ++stamp_);

    std::vector<gfsi_space_entry *> victims = Plan(10);

    ASSERT_EQ(1u, victims.size());
    EXPECT_EQ(b, victims[0]);
    gfsi_space_forget(&space_, b);
}

TEST_F(Space, WhatIsInUseStays)
{
    Init(100, 0.8, 0.7);

    gfsi_space_entry *a = Add(40);
    gfsi_space_entry *b = Add(40);

    a->pins = 1;
    EXPECT_EQ(std::vector<gfsi_space_entry *>{b}, Plan(10));
    gfsi_space_forget(&space_, b);
    EXPECT_TRUE(Plan(60).empty());
    EXPECT_FALSE(gfsi_space_reserve(&space_, 61 * kUnit));
    EXPECT_TRUE(gfsi_space_reserve(&space_, 60 * kUnit));
    gfsi_space_unreserve(&space_, 60 * kUnit);
}

TEST_F(Space, ReservationsNeverExceedTheQuota)
{
    Init(10, 1.0, 1.0);
    EXPECT_TRUE(gfsi_space_reserve(&space_, 10 * kUnit));
    EXPECT_FALSE(gfsi_space_reserve(&space_, 1));
    EXPECT_FALSE(gfsi_space_reserve(&space_, UINT64_MAX));
    gfsi_space_unreserve(&space_, 10 * kUnit);
    EXPECT_FALSE(gfsi_space_reserve(&space_, 11 * kUnit));
}

TEST_F(Space, PlansInBatches)
{
    Init(100, 0.5, 0.1);
    for (int i = 0; i < 50; i++) {
        Add(1);
    }
    EXPECT_EQ(3u, Plan(1, 3).size());
    EXPECT_EQ(3u, Plan(5, 3).size());
    for (auto &entry : entries_) {
        if (entry->leaving) {
            gfsi_space_forget(&space_, entry.get());
        }
    }
    EXPECT_EQ(44u, space_.count);
}

TEST_F(Space, BytesChargedWhileLeavingAreForgottenToo)
{
    Init(100, 0.8, 0.7);

    gfsi_space_entry *a = Add(10);

    gfsi_space_remove(&space_, a);
    ASSERT_TRUE(gfsi_space_reserve(&space_, 5 * kUnit));
    gfsi_space_charge(&space_, a, 5 * kUnit);
    gfsi_space_uncharge(&space_, a, 2 * kUnit);
    gfsi_space_forget(&space_, a);
    EXPECT_EQ(0u, space_.used);
    EXPECT_EQ(0u, space_.leaving);
}

TEST_F(Space, ChoosesTheFirstTierWithRoomThenTheOneWithTheOldestEntry)
{
    gfsi_space mem;
    gfsi_space_entry old_in_mem = {};
    gfsi_space_entry old_in_hdd = {};

    Init(100, 0.8, 0.7);
    gfsi_space_init(&mem, 10 * kUnit, 0.8, 0.7);

    const gfsi_space *spaces[] = {&mem, &space_};

    EXPECT_EQ(0, gfsi_space_choose(spaces, 2, 8 * kUnit));
    EXPECT_EQ(1, gfsi_space_choose(spaces, 2, 9 * kUnit));
    EXPECT_EQ(-1, gfsi_space_choose(spaces, 2, 101 * kUnit));
    old_in_mem.bytes = 8 * kUnit;
    gfsi_space_add(&mem, &old_in_mem, 5);
    EXPECT_EQ(1, gfsi_space_choose(spaces, 2, kUnit));
    old_in_hdd.bytes = 80 * kUnit;
    gfsi_space_add(&space_, &old_in_hdd, 7);
    EXPECT_EQ(0, gfsi_space_choose(spaces, 2, kUnit));
    gfsi_space_touch(&mem, &old_in_mem, 9);
    EXPECT_EQ(1, gfsi_space_choose(spaces, 2, kUnit));
    EXPECT_EQ(1, gfsi_space_choose(spaces, 2, 20 * kUnit)); // mem could never hold it
    gfsi_space_remove(&space_, &old_in_hdd);
    gfsi_space_forget(&space_, &old_in_hdd);
}

// Random events against the invariants: the core has no state a test could not reach.
TEST_F(Space, HoldsItsInvariantsUnderRandomEvents)
{
    uint64_t rng = 42;
    auto next = [&](uint64_t n) {
        rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
        return (rng >> 33) % n;
    };

    Init(200, 0.8, 0.6);
    for (int i = 0; i < 20000; i++) {
        uint64_t units = 1 + next(20);
        std::vector<gfsi_space_entry *> victims = Plan(units, 8);

        for (gfsi_space_entry *v : victims) {
            ASSERT_EQ(0u, v->pins);
            gfsi_space_forget(&space_, v);
        }
        if (gfsi_space_reserve(&space_, units * kUnit)) {
            entries_.push_back(std::make_unique<gfsi_space_entry>());
            *entries_.back() = {};
            entries_.back()->pins = next(10) == 0 ? 1 : 0;
            gfsi_space_add(&space_, entries_.back().get(), ++stamp_);
            gfsi_space_charge(&space_, entries_.back().get(), units * kUnit);
        }
        gfsi_space_entry *any = entries_[next(entries_.size())].get();

        any->pins = any->pins == 0 && next(30) == 0 ? 1 : 0;
        gfsi_space_touch(&space_, any, ++stamp_);
        ASSERT_TRUE(gfsi_space_consistent(&space_)) << i;
        ASSERT_LE(space_.used, space_.quota);
    }
}

TEST(Crc32c, MatchesTheVectorsOfRfc3720)
{
    unsigned char zeros[32] = {};
    unsigned char ones[32];

    memset(ones, 0xFF, sizeof(ones));
    EXPECT_EQ(0x8A9136AAu, gfsi_crc32c(0, zeros, sizeof(zeros)));
    EXPECT_EQ(0x62A8AB43u, gfsi_crc32c(0, ones, sizeof(ones)));
    EXPECT_EQ(0xE3069283u, gfsi_crc32c(0, "123456789", 9));
    EXPECT_EQ(0xE3069283u, gfsi_crc32c_portable(0, "123456789", 9));
    EXPECT_EQ(0xE3069283u, gfsi_crc32c(gfsi_crc32c(0, "1234", 4), "56789", 5));
}

} // namespace
