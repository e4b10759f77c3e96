// Whatever dies on a node, pods go on or get their volume back: plugin, keeper and clients
// together. GFS_SURVIVAL_FULL=1 (script/test survival) kills as often as the table says.
#include "survival_csi_fixture.h"

namespace csi
{

TEST_F(SurvivalNode, AKilledPluginIsNotNoticedByReadersAndServesAgain)
{
    const int kills = getenv("GFS_SURVIVAL_FULL") != nullptr ? 50 : 5;
    WriteClient("--delay-us 300");
    Volume v = Dataset("hbase", "pod-1");
    Provide(v);

    Readers readers(v.target, kSize, 8);
    for (int i = 0; i < kills; i++) {
        ASSERT_TRUE(readers.Progress());
        stop_plugin(SIGKILL);
        ASSERT_TRUE(readers.Progress());
        start_plugin();
        EXPECT_EQ(client->publish(v), OK) << client->text;
    }
    ASSERT_TRUE(readers.Progress());
    readers.Stop();
    EXPECT_EQ(readers.errors_, 0u) << strerror(readers.last_errno_);
    EXPECT_EQ(readers.wrong_, 0u);
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
}

TEST_F(SurvivalNode, WhenKeeperAndClientDieTogetherEveryPodsVolumeIsRepaired)
{
    Volume v = Dataset("hbase", "pod-1"), second = v, other = Dataset("kafka", "pod-1");
    v.flags = {"noexec"};
    v.readonly = true;
    second.flags = v.flags;
    second.target = kubelet + "/pods/pod-2/volumes/kubernetes.io~csi/pv/mount";
    std::filesystem::create_directories(
        std::filesystem::path(second.target).parent_path().string());
    Provide(v);
    Provide(second);
    Provide(other);
    Container container(v.target, dir + "/container");
    ASSERT_TRUE(container.Reads());

    // The second time there is a layer of the first repair.
    for (int round = 1; round <= 2; round++) {
        ASSERT_NO_FATAL_FAILURE(KillKeeperAndClients());
        for (const auto &target : {v.target, second.target, other.target}) {
            EXPECT_TRUE(eventually([&] { return Reads(target); })) << target << " round " << round;
            EXPECT_LE(mounts_below(target).size(), 2u);
        }
        EXPECT_TRUE(container.Reads()) << "round " << round;
        EXPECT_TRUE(eventually([&] {
            return Metric("fluid_csi_binds_repaired_total") == 3 * round;
        })) << Metric("fluid_csi_binds_repaired_total");
        EXPECT_EQ(Metric("fluid_csi_binds_dead"), 0);
        EXPECT_EQ(Metric("goosefs_keeper_up"), 1);
        EXPECT_EQ(Metric("goosefs_keeper_remounts_total{mount=\"default.hbase\"}"), 1)
            << "of this keeper";
    }
    EXPECT_NE(log_text().find("dead bind repaired"), std::string::npos);
    EXPECT_NE(log_text().find("mounted anew"), std::string::npos) << "the keeper tells, too";

    struct statvfs st;
    ASSERT_EQ(statvfs(v.target.c_str(), &st), 0);
    EXPECT_EQ(st.f_flag & (ST_RDONLY | ST_NOEXEC), (unsigned long)(ST_RDONLY | ST_NOEXEC))
        << "mounted as the first time";
    for (const auto *each : {&v, &second, &other}) {
        EXPECT_EQ(client->unpublish(*each), OK) << client->text;
        EXPECT_FALSE(exists(each->target));
    }
}

TEST_F(SurvivalNode, WhatDiedWhileThePluginWasAwayIsRepairedWhenItStarts)
{
    Volume v = Dataset("hbase", "pod-1");
    Provide(v);
    stop_plugin(SIGKILL);
    ASSERT_NO_FATAL_FAILURE(KillKeeperAndClients());
    start_plugin();
    EXPECT_TRUE(eventually([&] { return Reads(v.target); }));
    EXPECT_EQ(client->publish(v), OK) << "kubelet may ask again at any time: " << client->text;
    EXPECT_LE(mounts_below(v.target).size(), 2u);
    EXPECT_TRUE(Reads(v.target));
    EXPECT_EQ(client->unpublish(v), OK) << client->text;
    EXPECT_EQ(client->unstage(v), OK) << client->text;
}

} // namespace csi
