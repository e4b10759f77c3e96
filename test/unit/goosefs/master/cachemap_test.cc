#include <gtest/gtest.h>

#include <map>
#include <random>

#include <gfs/base/err.h>

#include "cachemap_priv.h"

namespace
{

TEST(CacheMap, behaves_like_a_map)
{
    gfsi_cachemap map;
    gfsi_cachemap_init(&map, 100000);
    std::map<std::pair<uint64_t, uint64_t>, uint64_t> model;
    std::mt19937_64 rng(7);
    for (int i = 0; i < 50000; i++) {
        uint64_t inode = 1 + rng() % 300;
        uint64_t version = rng() % 3;
        uint64_t bytes = rng() % 4;
        uint64_t before = 99;
        ASSERT_EQ(gfsi_cachemap_set(&map, inode, version, bytes, &before), 0);
        auto key = std::make_pair(inode, version);
        ASSERT_EQ(before, model.count(key) ? model[key] : 0);
        if (bytes == 0) {
            model.erase(key);
        } else {
            model[key] = bytes;
        }
        ASSERT_EQ(map.live, model.size());
    }
    std::map<std::pair<uint64_t, uint64_t>, uint64_t> seen;
    size_t at = 0;
    while (const gfsi_cachemap_slot *slot = gfsi_cachemap_next(&map, &at)) {
        seen[{slot->inode, slot->version}] = slot->bytes;
    }
    EXPECT_EQ(seen, model);
    gfsi_cachemap_fini(&map);
}

TEST(CacheMap, is_bounded)
{
    gfsi_cachemap map;
    uint64_t before = 0;
    gfsi_cachemap_init(&map, 2);
    EXPECT_EQ(gfsi_cachemap_get(&map, 1, 1), 0u);
    EXPECT_EQ(gfsi_cachemap_set(&map, 0, 1, 5, &before), GFS_EINVAL);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 1, 5, &before), 0);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 2, 5, &before), 0);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 3, 5, &before), GFS_EBUSY);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 2, 6, &before), 0);
    EXPECT_EQ(before, 5u);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 2, 0, &before), 0);
    EXPECT_EQ(gfsi_cachemap_set(&map, 1, 3, 5, &before), 0);
    gfsi_cachemap_fini(&map);
}

} // namespace
