// The clean policy OnFuseChanged: a mount goes when its configuration is another than it was made
// with, whoever came and went meanwhile.
#include <filesystem>

#include "fakes.h"

class GenerationTest : public FakeNode
{
};

TEST_F(GenerationTest, UnstageOnFuseChangedUnmountsAfterAChangeOnly)
{
    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_FUSE_CHANGED;
    ASSERT_EQ(run(r), 0);
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(keeper.unmounted, 0);

    keeper.states.clear();
    mounts.remove(fluid_path);
    ASSERT_EQ(run(r), 0);
    write(runtime + "/goosefs/default/hbase/conf/goosefs-site.properties", "changed=1\n");
    ASSERT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(keeper.unmounted, 1);
}

// The mount outlives volume, record and plugin; what it was made with is known all the same.
TEST_F(GenerationTest, AMountThatWasFoundIsCleanedAfterAChange)
{
    std::string config = runtime + "/goosefs/default/hbase/conf/goosefs-site.properties";
    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_FUSE_CHANGED;
    ASSERT_EQ(run(r), 0);
    ASSERT_EQ(unstage(), 0);
    write(config, "changed=1\n");
    open_journal();
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    ASSERT_EQ(run(r), 0) << "it is there, and serves";
    EXPECT_EQ(keeper.mounted, 1);
    ASSERT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(keeper.unmounted, 1) << "made with another configuration";

    ASSERT_EQ(run(r), 0);
    ASSERT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(keeper.unmounted, 1) << "made with this one";
}

// Nobody can say what it was made with: it counts as made with what was there when it was seen.
TEST_F(GenerationTest, AMountOfSomebodyElseIsCleanedAfterAChangeSinceItWasSeen)
{
    std::string config = runtime + "/goosefs/default/hbase/conf/goosefs-site.properties";
    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_FUSE_CHANGED;
    mounts.add(fluid_path, GFSI_GOOSEFS_TYPE);
    keeper.states["default.hbase"] = GFS_KEEPER_SERVING;
    keeper.mountpoints["default.hbase"] = fluid_path;
    ASSERT_EQ(run(r), 0) << err.text;
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(keeper.unmounted, 0);
    ASSERT_EQ(run(r), 0);
    write(config, "changed=1\n");
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    ASSERT_EQ(unstage(), 0) << err.text;
    EXPECT_EQ(keeper.unmounted, 1);

    // Made anew by others: seen for the first time, with the configuration of now.
    mounts.add(fluid_path, GFSI_GOOSEFS_TYPE);
    keeper.states["default.hbase"] = GFS_KEEPER_SERVING;
    ASSERT_EQ(run(r), 0) << err.text;
    ASSERT_EQ(unstage(), 0);
    EXPECT_EQ(keeper.unmounted, 1);
}

TEST_F(GenerationTest, WhatIsKnownOfMountsGoesWithThem)
{
    struct gfsi_request r = request(GFSI_STAGE, staging);
    r.attrs.clean_policy = GFS_CSI_CLEAN_ON_FUSE_CHANGED;
    ASSERT_EQ(run(r), 0);
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    EXPECT_FALSE(std::filesystem::is_empty(state + "/mounts"));
    mounts.remove(fluid_path);
    write(state + "/mounts/nonsense", "nonsense");
    ASSERT_EQ(gfsi_node_reconcile(&node, &err), 0);
    EXPECT_TRUE(std::filesystem::is_empty(state + "/mounts"));
}
