#include "cluster_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

class ThreeMasters : public testing::Test
{
  protected:
    void SetUp() override
    {
        origin.Write("f", "hello");
        origin.Write("d/g", "x");
        origin.Write("e/h", "x");
    }
    std::string Uri() const
    {
        return "file://" + origin.path;
    }
    static int Other(int leader)
    {
        return leader % 3 + 1;
    }
    Reply MountAt(const std::string &path)
    {
        return cluster.OnLeader([&](Caller &c) { return c.Mount(path, Uri(), Id(path)); });
    }
    // The same for every try of one mount.
    static std::string Id(const std::string &path)
    {
        std::string id = path;
        id.resize(16, '#');
        return id;
    }
    Scratch origin;
    Scratch state;
    Cluster cluster{3, state.path};
};

TEST_F(ThreeMasters, all_serve_what_is_known)
{
    cluster.StartAll();
    ASSERT_EQ(MountAt("/m").code, 0);
    for (int i = 1; i <= 3; i++) {
        EXPECT_TRUE(Eventually([&] { return cluster.At(i).Names("/m") == Names{"d", "e", "f"}; }));
    }
    Reply listed = cluster.OnLeader([](Caller &c) { return c.List("/m/d"); });
    ASSERT_EQ(listed.code, 0) << listed.text;
    for (int i = 1; i <= 3; i++) {
        EXPECT_EQ(cluster.At(i).Names("/m/d"), Names{"g"}); // at once, from every master
    }
}

TEST_F(ThreeMasters, a_follower_names_the_leader_for_what_only_that_can_do)
{
    cluster.StartAll();
    ASSERT_EQ(MountAt("/m").code, 0);
    int leader = cluster.Leader();
    Caller &follower = cluster.At(Other(leader));
    ASSERT_TRUE(Eventually([&] { return !follower.Mount("/n", Uri()).leader.empty(); }));
    Reply mount = follower.Mount("/n", Uri());
    EXPECT_EQ(mount.code, GFS_ENOTLEADER) << mount.text;
    EXPECT_EQ(mount.leader, Cluster::Rpc(leader));
    Reply load = follower.List("/m/d");
    EXPECT_EQ(load.code, GFS_ENOTLEADER) << load.text;
    EXPECT_EQ(load.leader, Cluster::Rpc(leader));
    Reply info = follower.Info();
    ASSERT_EQ(info.code, 0);
    auto *r = info.As<Goosefs__V1__GetMasterInfoResponse>();
    EXPECT_EQ(std::string(r->leader_rpc_address), Cluster::Rpc(leader));
    EXPECT_FALSE(r->this_is_leader);
    ASSERT_EQ(r->n_masters, 3u);
    EXPECT_EQ(std::string(r->masters[2]->rpc_address), Cluster::Rpc(3));
}

TEST_F(ThreeMasters, serve_on_when_the_leader_is_killed)
{
    cluster.StartAll();
    ASSERT_EQ(MountAt("/m").code, 0);
    for (int round = 0; round < 3; round++) {
        int leader = cluster.Leader();
        cluster.Stop(leader, 0);
        std::string path = "/m" + std::to_string(round);
        Reply mount = MountAt(path);
        ASSERT_EQ(mount.code, 0) << mount.text;
        Reply list = cluster.OnLeader([](Caller &c) { return c.List("/m/d"); });
        EXPECT_EQ(list.code, 0) << list.text;
        ASSERT_EQ(cluster.Start(leader), 0) << cluster.error;
        EXPECT_TRUE(
            Eventually([&] { return cluster.At(leader).Stat(path).code == 0; })); // caught up
    }
    for (int i = 1; i <= 3; i++) {
        EXPECT_EQ(cluster.At(i).Names("/"), (Names{"m", "m0", "m1", "m2"}));
    }
}

TEST_F(ThreeMasters, a_stopped_leader_hands_over)
{
    cluster.StartAll();
    ASSERT_EQ(MountAt("/m").code, 0);
    int leader = cluster.Leader();
    cluster.Stop(leader, 5000);
    EXPECT_NE(cluster.Leader(), leader);
    EXPECT_EQ(cluster.OnLeader([](Caller &c) { return c.List("/m"); }).code, 0);
}

TEST_F(ThreeMasters, one_that_was_away_gets_a_snapshot)
{
    auto tweak = [](gfs_master_opts &o) { o.checkpoint_entries = 5; };
    cluster.StartAll(tweak);
    int away = Other(cluster.Leader());
    cluster.Stop(away, 5000);
    for (int i = 0; i < 30; i++) {
        Reply mount = MountAt("/m" + std::to_string(i));
        ASSERT_EQ(mount.code, 0) << mount.text;
    }
    ASSERT_EQ(cluster.Start(away, tweak), 0) << cluster.error;
    EXPECT_TRUE(Eventually([&] { return cluster.At(away).Names("/").size() == 30; }));
    std::filesystem::path metastore = state.Sub("journal-" + std::to_string(away)) + "/metastore";
    EXPECT_TRUE(std::filesystem::exists(metastore / "STATE"));
}

TEST_F(ThreeMasters, without_a_majority_nothing_is_acknowledged)
{
    cluster.StartAll();
    ASSERT_EQ(MountAt("/m").code, 0);
    int leader = cluster.Leader();
    cluster.Stop(Other(leader), 0);
    cluster.Stop(Other(Other(leader)), 0);
    EXPECT_TRUE(Eventually([&] {
        Reply reply = cluster.At(leader).Mount("/n", Uri());
        return reply.code != 0 && gfs_err_retryable(reply.code);
    }));
    EXPECT_TRUE(Eventually([&] { return cluster.At(leader).List("/m").code == GFS_EUNAVAIL; }));
}

TEST_F(ThreeMasters, quorum_is_told_and_leadership_moved)
{
    cluster.StartAll();
    int leader = cluster.Leader();
    int target = Other(leader);
    Goosefs__V1__GetQuorumInfoRequest q = GOOSEFS__V1__GET_QUORUM_INFO_REQUEST__INIT;
    Reply info = cluster.OnLeader([&](Caller &c) {
        return c.Call(goosefs__v1__meta_master__descriptor, "GetQuorumInfo", &q.base);
    });
    ASSERT_EQ(info.code, 0) << info.text;
    EXPECT_EQ(info.As<Goosefs__V1__GetQuorumInfoResponse>()->n_servers, 3u);

    std::string address = Host(target) + ":" + std::to_string(kJournal);
    Goosefs__V1__TransferLeadershipRequest t = GOOSEFS__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
    t.raft_address = address.data();
    EXPECT_TRUE(Eventually([&] {
        cluster.OnLeader([&](Caller &c) {
            return c.Call(goosefs__v1__meta_master__descriptor, "TransferLeadership", &t.base);
        });
        return cluster.Leader() == target;
    }));
    char nobody[] = "nobody:1";
    t.raft_address = nobody;
    EXPECT_EQ(cluster.At(target)
                  .Call(goosefs__v1__meta_master__descriptor, "TransferLeadership", &t.base)
                  .code,
              GFS_ENOENT);
}

TEST(MasterStart, says_what_to_do)
{
    Scratch state;
    Cluster one(1, state.path);
    one.StartAll();
    ASSERT_EQ(one.Leader(), 1);

    Cluster same_port(1, state.Sub("other"));
    EXPECT_EQ(same_port.Start(1), GFS_EBUSY);
    EXPECT_NE(same_port.error.find("goosefs.master.rpc.port"), std::string::npos)
        << same_port.error;
    one.Stop(1, 5000);

    EXPECT_EQ(one.Start(1, [](gfs_master_opts &o) { o.cluster_id = "another"; }),
              GFS_EPRECONDITION);
    EXPECT_NE(one.error.find("belongs to cluster"), std::string::npos) << one.error;
    Cluster bad(2, state.path);
    EXPECT_EQ(bad.Start(1), GFS_EINVAL);
    EXPECT_NE(bad.error.find("odd"), std::string::npos) << bad.error;
    Cluster stranger(1, state.path);
    EXPECT_EQ(stranger.Start(1, [](gfs_master_opts &o) { o.hostname = "nobody"; }), GFS_EINVAL);
    EXPECT_NE(stranger.error.find("goosefs.master.hostname"), std::string::npos) << stranger.error;
}

} // namespace
