#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include <gfs/controller/reconcile.h>

#include "platform/kubernetes/pack.h"

namespace
{

std::vector<char> round_trip(const std::vector<char> &data, size_t *packed = nullptr)
{
    struct gfsi_kube_packed p = {};
    std::vector<char> out(data.size(), 'x');

    EXPECT_EQ(0, gfsi_kube_pack(data.data(), data.size(), &p));
    if (packed != nullptr) {
        *packed = p.n;
    }
    gfsi_kube_unpack(&p, out.data(), out.size());
    gfsi_kube_packed_fini(&p);
    return out;
}

TEST(Pack, NothingComesBackAsZeros)
{
    std::vector<char> data(64, 'x');
    struct gfsi_kube_packed none = {};

    gfsi_kube_unpack(&none, data.data(), data.size());
    EXPECT_EQ(data, std::vector<char>(64, 0));
}

TEST(Pack, OfZerosNothingIsKept)
{
    size_t n = 1;

    EXPECT_EQ(round_trip(std::vector<char>(4096, 0), &n), std::vector<char>(4096, 0));
    EXPECT_EQ(n, 0u);
}

TEST(Pack, WhatWasPackedComesBack)
{
    std::mt19937 random(7);

    for (int round = 0; round < 500; round++) {
        std::vector<char> data(random() % 300, 0);
        unsigned every = 1 + random() % 40;

        for (char &byte : data) {
            byte = random() % every == 0 ? static_cast<char>(random()) : '\0';
        }
        EXPECT_EQ(round_trip(data), data) << "round " << round;
    }
}

TEST(Pack, EveryPlaceOfTheFirstAndOfTheLastByte)
{
    for (size_t first = 0; first < 40; first++) {
        for (size_t last = first; last < 40; last++) {
            std::vector<char> data(40, 0);

            data[first] = data[last] = 'x';
            EXPECT_EQ(round_trip(data), data) << first << " to " << last;
        }
    }
}

TEST(Pack, AStatusAtRestIsSmall)
{
    std::vector<char> data(sizeof(struct gfs_dataset_status), 0);
    auto *status = reinterpret_cast<struct gfs_dataset_status *>(data.data());
    size_t n = 0;

    status->phase = GFS_DATASET_BOUND;
    status->mounts[0].state = GFS_MOUNT_MOUNTED;
    status->conditions.n = 1;
    snprintf(status->conditions.items[0].type, sizeof(status->conditions.items[0].type), "Ready");
    snprintf(status->conditions.items[0].message, sizeof(status->conditions.items[0].message),
             "The ddc runtime is ready.");
    EXPECT_EQ(round_trip(data, &n), data);
    EXPECT_LT(n, 256u);
    EXPECT_GT(data.size(), 40000u);
}

} // namespace
