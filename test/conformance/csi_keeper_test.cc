// Launch mode "process": a real fuse-keeper runs a real FUSE client for the plugin.
#include <thread>

#include "csi_keeper_fixture.h"

namespace csi
{

TEST_F(Keeper, FullLifeWithARealClient)
{
    Volume v = goosefs("pod-1"), second = goosefs("pod-2");
    second.readonly = true;
    ASSERT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    ASSERT_EQ(client->publish(v), OK) << client->text;
    ASSERT_EQ(client->publish(second), OK) << client->text;
    EXPECT_FALSE(std::filesystem::is_empty(v.target));
    EXPECT_EQ(client->stats(v.id, v.target).code, OK) << client->text;

    EXPECT_EQ(client->unpublish(v), OK);
    EXPECT_EQ(client->unstage(v), FAILED_PRECONDITION) << "still published elsewhere";
    EXPECT_EQ(client->unpublish(second), OK);
    EXPECT_EQ(client->unstage(v), OK) << client->text;
    EXPECT_TRUE(mounts_below(dir).empty()) << "on demand: the mount went with the last use";
}

TEST_F(Keeper, PluginDeathLeavesApplicationsReading)
{
    Volume v = goosefs("pod-1");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->publish(v), OK) << client->text;
    stop_plugin(SIGKILL);
    EXPECT_FALSE(std::filesystem::is_empty(v.target));
    start_plugin();
    EXPECT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(client->publish(v), OK) << client->text;
    EXPECT_EQ(mounts_below(v.target).size(), 1u);
    EXPECT_EQ(client->unpublish(v), OK);
    EXPECT_EQ(client->unstage(v), OK);
    EXPECT_TRUE(mounts_below(dir).empty());
}

TEST_F(Keeper, RuntimeDeletedPolicyKeepsTheMountForTheNextPod)
{
    Volume v = goosefs("pod-1", "OnRuntimeDeleted");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->unstage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    ASSERT_EQ(client->stage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
}

TEST_F(Keeper, FuseChangedPolicyLooksAtTheConfiguration)
{
    Volume v = goosefs("pod-1", "OnFuseChanged");
    ASSERT_EQ(client->stage(v), OK) << client->text;
    ASSERT_EQ(client->unstage(v), OK);
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    write_config("changed=1\n");
    EXPECT_TRUE(WIFSIGNALED(stop_plugin(SIGKILL)));
    start_plugin();
    ASSERT_EQ(client->stage(v), OK) << client->text;
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u) << "found, and in use";
    ASSERT_EQ(client->unstage(v), OK) << client->text;
    EXPECT_EQ(mounts_below(fluid_path).size(), 0u) << "mounted with another configuration";
}

TEST_F(Keeper, AClientThatCannotStartLeavesNothingAndSaysWhy)
{
    std::ofstream(program) << "#!/bin/sh\nexec " SURVIVAL_CLIENT_PATH
                              " --fail 'no master answers'\n";
    Volume v = goosefs("pod-1");
    EXPECT_NE(client->stage(v), OK);
    EXPECT_NE(client->text.find("no master answers"), std::string::npos) << client->text;
    EXPECT_TRUE(mounts_below(dir).empty());
    EXPECT_TRUE(std::filesystem::is_empty(dir + "/state/volumes"));
}

TEST_F(Keeper, WithoutAConfigurationStageIsUnavailable)
{
    std::filesystem::remove_all(runtime + "/goosefs/default/hbase/conf");
    EXPECT_EQ(client->stage(goosefs("pod-1")), UNAVAILABLE);
}

TEST_F(Keeper, ManyPodsStagingAtOnceMountOnce)
{
    std::vector<std::thread> callers;
    for (int i = 0; i < 16; i++) {
        callers.emplace_back([&, i] {
            Client c(socket);
            Volume v = goosefs("pod-" + std::to_string(i));
            v.id = "volume-" + std::to_string(i % 4);
            EXPECT_EQ(c.stage(v), OK) << c.text;
            EXPECT_EQ(c.publish(v), OK) << c.text;
        });
    }
    for (auto &t : callers) {
        t.join();
    }
    EXPECT_EQ(mounts_below(fluid_path).size(), 1u);
    EXPECT_EQ(mounts_below(kubelet).size(), 16u);
}

} // namespace csi
