#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include <gfs/client/placement.h>

namespace
{

std::vector<uint64_t> Workers(size_t n)
{
    std::vector<uint64_t> ids;
    for (size_t i = 0; i < n; i++) {
        ids.push_back(i * 7919 + 13);
    }
    return ids;
}

uint64_t First(const std::vector<uint64_t> &ids, uint64_t inode, uint64_t extent)
{
    uint32_t out = 0;
    EXPECT_EQ(gfs_placement_order(ids.data(), ids.size(), inode, extent, &out, 1), 1u);
    return ids[out];
}

} // namespace

// The contract between clients of different versions: these numbers never change.
TEST(Placement, WeightsAreFixed)
{
    EXPECT_EQ(gfs_placement_weight(0, 0, 0), UINT64_C(0));
    EXPECT_EQ(gfs_placement_weight(1, 2, 3), gfs_placement_weight(1, 2, 3));
    EXPECT_NE(gfs_placement_weight(1, 2, 3), gfs_placement_weight(1, 3, 2));
    EXPECT_NE(gfs_placement_weight(1, 2, 3), gfs_placement_weight(2, 1, 3));
    EXPECT_EQ(gfs_placement_weight(1, 2, 3), UINT64_C(0x359f7e2813e09a99));
    EXPECT_EQ(gfs_placement_weight(UINT64_MAX, UINT64_MAX, UINT64_MAX),
              UINT64_C(0xa68c9548af254532));
}

TEST(Placement, OrderIsBestFirstAndWhole)
{
    const auto ids = Workers(20);
    std::vector<uint32_t> out(30);
    ASSERT_EQ(gfs_placement_order(ids.data(), ids.size(), 5, 1, out.data(), out.size()), 20u);
    out.resize(20);
    for (size_t i = 1; i < out.size(); i++) {
        EXPECT_GE(gfs_placement_weight(ids[out[i - 1]], 5, 1),
                  gfs_placement_weight(ids[out[i]], 5, 1));
    }
    auto sorted = out;
    std::sort(sorted.begin(), sorted.end());
    for (uint32_t i = 0; i < 20; i++) {
        EXPECT_EQ(sorted[i], i);
    }

    std::vector<uint32_t> few(3);
    ASSERT_EQ(gfs_placement_order(ids.data(), ids.size(), 5, 1, few.data(), few.size()), 3u);
    EXPECT_TRUE(std::equal(few.begin(), few.end(), out.begin()));
    EXPECT_EQ(gfs_placement_order(ids.data(), 0, 5, 1, few.data(), few.size()), 0u);
    EXPECT_EQ(gfs_placement_order(ids.data(), 20, 5, 1, few.data(), 0), 0u);
}

TEST(Placement, SpreadsEvenly)
{
    const auto ids = Workers(10);
    std::map<uint64_t, int> count;
    for (uint64_t inode = 1; inode <= 10000; inode++) {
        count[First(ids, inode, 0)]++;
    }
    for (const auto &[id, n] : count) {
        EXPECT_GT(n, 800) << id;
        EXPECT_LT(n, 1200) << id;
    }
}

TEST(Placement, ALostWorkerMovesOnlyWhatItHad)
{
    const auto ids = Workers(10);
    auto fewer = ids;
    fewer.erase(fewer.begin() + 4);
    int moved = 0;
    for (uint64_t inode = 1; inode <= 2000; inode++) {
        const uint64_t before = First(ids, inode, 0);
        const uint64_t after = First(fewer, inode, 0);
        if (before != after) {
            EXPECT_EQ(before, ids[4]);
            moved++;
        }
    }
    EXPECT_GT(moved, 0);
}

TEST(Placement, TheOrderOfTheListDoesNotMatter)
{
    const auto ids = Workers(10);
    auto reversed = ids;
    std::reverse(reversed.begin(), reversed.end());
    for (uint64_t inode = 1; inode <= 200; inode++) {
        EXPECT_EQ(First(ids, inode, inode % 3), First(reversed, inode, inode % 3));
    }
}
