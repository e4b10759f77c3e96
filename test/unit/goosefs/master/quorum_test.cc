// Members of the Raft group coming, going and coming back.
#include "cluster_fixture.h"

using namespace gfs_test;

namespace
{

std::string Journal(int i)
{
    return Host(i) + ":" + std::to_string(kJournal);
}

class Quorum : public testing::Test
{
  protected:
    void SetUp() override
    {
        origin.Write("f", "hello");
    }
    Reply MountAt(Cluster &cluster, const std::string &path)
    {
        std::string id = path;
        id.resize(16, '#'); /* the same for every try */
        return cluster.OnLeader(
            [&](Caller &c) { return c.Mount(path, "file://" + origin.path, id); });
    }
    template <typename Request>
    static Reply Admin(Cluster &cluster, const char *method, Request request, int i)
    {
        std::string address = Journal(i);
        request.raft_address = address.data();
        Reply reply;
        Eventually([&] { /* changes have to wait for each other, and for the leader's own commit */
                         reply = cluster.OnLeader(
                             [&](Caller &c) { return c.Meta(method, &request.base); });
                         return reply.code != GFS_EABORTED && reply.code != GFS_EPRECONDITION;
        });
        return reply;
    }
    static Reply Remove(Cluster &cluster, int i)
    {
        Goosefs__V1__RemoveQuorumServerRequest q = GOOSEFS__V1__REMOVE_QUORUM_SERVER_REQUEST__INIT;
        return Admin(cluster, "RemoveQuorumServer", q, i);
    }
    static Reply Add(Cluster &cluster, int i)
    {
        Goosefs__V1__AddQuorumServerRequest q = GOOSEFS__V1__ADD_QUORUM_SERVER_REQUEST__INIT;
        return Admin(cluster, "AddQuorumServer", q, i);
    }
    static Reply Promote(Cluster &cluster, int i)
    {
        Goosefs__V1__PromoteQuorumServerRequest q =
            GOOSEFS__V1__PROMOTE_QUORUM_SERVER_REQUEST__INIT;
        return Admin(cluster, "PromoteQuorumServer", q, i);
    }
    // "ids of voters" + "/" + "ids of learners", as the leader has it.
    static std::string Members(Cluster &cluster)
    {
        Goosefs__V1__GetQuorumInfoRequest q = GOOSEFS__V1__GET_QUORUM_INFO_REQUEST__INIT;
        Reply reply = cluster.OnLeader([&](Caller &c) { return c.Meta("GetQuorumInfo", &q.base); });
        if (reply.code != 0) {
            return reply.text;
        }
        std::string voters;
        std::string learners;
        auto *info = reply.As<Goosefs__V1__GetQuorumInfoResponse>();
        for (size_t i = 0; i < info->n_servers; i++) {
            (info->servers[i]->voter ? voters : learners) +=
                std::to_string(info->servers[i]->address->id);
        }
        return voters + "/" + learners;
    }
    // Of the master's journal, as another one knows it.
    static std::string Incarnation(Cluster &cluster, int i)
    {
        Reply reply = cluster.At(cluster.Leader()).Info();
        if (reply.code != 0) {
            return "";
        }
        auto *info = reply.As<Goosefs__V1__GetMasterInfoResponse>();
        for (size_t k = 0; k < info->n_masters; k++) {
            if (info->masters[k]->id == static_cast<uint64_t>(i)) {
                const ProtobufCBinaryData &b = info->masters[k]->incarnation;
                return std::string(reinterpret_cast<char *>(b.data), b.len);
            }
        }
        return "";
    }
    static bool AllKnown(Cluster &cluster)
    {
        return Eventually([&] {
            return !Incarnation(cluster, 1).empty() && !Incarnation(cluster, 2).empty() &&
                   !Incarnation(cluster, 3).empty();
        });
    }
    static int Other(int leader)
    {
        return leader % 3 + 1;
    }
    Scratch origin;
    Scratch state;
};

TEST_F(Quorum, a_master_without_its_journal_comes_back_as_a_learner_and_then_votes)
{
    Cluster cluster(3, state.path);
    cluster.StartAll();
    ASSERT_EQ(MountAt(cluster, "/m").code, 0);
    ASSERT_TRUE(AllKnown(cluster));
    int leader = cluster.Leader();
    int wiped = Other(leader);
    std::string before = Incarnation(cluster, wiped);
    cluster.Stop(wiped, 0);
    std::filesystem::remove_all(state.Sub("journal-" + std::to_string(wiped)));

    ASSERT_EQ(cluster.Start(wiped), 0) << cluster.error;
    EXPECT_TRUE(Eventually([&] {
        return Incarnation(cluster, wiped) != before && Members(cluster) == "123/";
    })) << Members(cluster);
    EXPECT_TRUE(Eventually([&] { return cluster.At(wiped).Stat("/m").code == 0; }));
    EXPECT_TRUE(Eventually([&] {
        return !std::filesystem::exists(state.Sub("journal-" + std::to_string(wiped)) +
                                        "/REJOINING");
    }));

    // Its vote counts: with it and one more there is a majority.
    int gone = Other(wiped) == cluster.Leader() ? Other(Other(wiped)) : Other(wiped);
    cluster.Stop(gone, 0);
    EXPECT_EQ(MountAt(cluster, "/n").code, 0);
}

TEST_F(Quorum, a_removed_master_stays_out_until_it_is_added_again)
{
    Cluster cluster(3, state.path);
    cluster.StartAll();
    ASSERT_TRUE(AllKnown(cluster));
    int removed = Other(cluster.Leader());
    ASSERT_EQ(Remove(cluster, removed).code, 0);
    std::string two = removed == 1 ? "23/" : removed == 2 ? "13/" : "12/";
    EXPECT_EQ(Members(cluster), two);
    EXPECT_EQ(Remove(cluster, removed).code, GFS_ENOENT);
    EXPECT_EQ(Promote(cluster, removed).code, GFS_ENOENT);

    // The list of addresses names it still; what counts is the journal.
    for (int i = 1; i <= 3; i++) {
        cluster.Stop(i, 0);
    }
    for (int i = 1; i <= 3; i++) {
        ASSERT_EQ(cluster.Start(i), 0) << cluster.error;
    }
    EXPECT_EQ(Members(cluster), two);
    Reply info = cluster.At(cluster.Leader()).Info();
    ASSERT_EQ(info.code, 0);
    EXPECT_EQ(info.As<Goosefs__V1__GetMasterInfoResponse>()->n_masters, 2u);
    ASSERT_EQ(MountAt(cluster, "/m").code, 0);

    // Nor does it come back by itself when its journal is gone.
    cluster.Stop(removed, 0);
    std::filesystem::remove_all(state.Sub("journal-" + std::to_string(removed)));
    ASSERT_EQ(cluster.Start(removed), 0) << cluster.error;
    EXPECT_EQ(Members(cluster), two);
    ASSERT_EQ(Add(cluster, removed).code, 0);
    EXPECT_EQ(Add(cluster, removed).code, GFS_EEXIST);
    ASSERT_EQ(Promote(cluster, removed).code, 0);
    EXPECT_EQ(Members(cluster), "123/");
    EXPECT_TRUE(Eventually([&] { return cluster.At(removed).Stat("/m").code == 0; }));
}

TEST_F(Quorum, a_master_that_nobody_knew_is_added_and_promoted)
{
    Cluster cluster(5, state.path);
    std::string three = Journal(1) + "," + Journal(2) + "," + Journal(3);
    auto old = [&](gfs_master_opts &o) {
        o.journal_addresses = three.c_str();
        o.cluster_id = "growing";
    };
    for (int i = 1; i <= 3; i++) {
        ASSERT_EQ(cluster.Start(i, old), 0) << cluster.error;
    }
    ASSERT_EQ(MountAt(cluster, "/m").code, 0);
    ASSERT_TRUE(AllKnown(cluster));

    ASSERT_EQ(cluster.Start(4, [](gfs_master_opts &o) { o.cluster_id = "growing"; }), 0)
        << cluster.error;
    EXPECT_EQ(Members(cluster), "123/");
    Reply added = Add(cluster, 4);
    ASSERT_EQ(added.code, 0) << added.text;
    EXPECT_EQ(added.As<Goosefs__V1__AddQuorumServerResponse>()->id, 4u);
    EXPECT_EQ(Members(cluster), "123/4");
    EXPECT_TRUE(Eventually([&] { return cluster.At(4).Stat("/m").code == 0; }));
    Reply promoted = Promote(cluster, 4);
    ASSERT_EQ(promoted.code, 0) << promoted.text;
    EXPECT_EQ(Members(cluster), "1234/");
    Reply info = cluster.At(1).Info();
    ASSERT_EQ(info.As<Goosefs__V1__GetMasterInfoResponse>()->n_masters, 4u);
    EXPECT_EQ(std::string(info.As<Goosefs__V1__GetMasterInfoResponse>()->masters[3]->rpc_address),
              Cluster::Rpc(4));
}

TEST_F(Quorum, a_checkpoint_is_taken_when_asked_for)
{
    Cluster cluster(1, state.path);
    cluster.StartAll();
    ASSERT_EQ(MountAt(cluster, "/m").code, 0);
    Goosefs__V1__CheckpointRequest q = GOOSEFS__V1__CHECKPOINT_REQUEST__INIT;
    Reply reply = cluster.At(1).Meta("Checkpoint", &q.base);
    ASSERT_EQ(reply.code, 0) << reply.text;
    EXPECT_EQ(std::string(reply.As<Goosefs__V1__CheckpointResponse>()->host), Host(1));
    int images = 0;
    for (auto &it : std::filesystem::directory_iterator(state.Sub("journal-1/raft"))) {
        images += it.path().extension() == ".img";
    }
    EXPECT_EQ(images, 1);
    cluster.Stop(1, 0);
    ASSERT_EQ(cluster.Start(1), 0) << cluster.error;
    EXPECT_EQ(MountAt(cluster, "/n").code, 0);
    EXPECT_EQ(cluster.At(1).Names("/"), (std::vector<std::string>{"m", "n"}));
}

// The table of operations is part of the state: log, checkpoint and every master have it.
TEST_F(Quorum, a_repeated_operation_applies_once_also_after_a_snapshot_and_at_another_leader)
{
    auto tweak = [](gfs_master_opts &o) { o.checkpoint_entries = 5; };
    Cluster cluster(3, state.path);
    cluster.StartAll(tweak);
    int away = Other(cluster.Leader());
    cluster.Stop(away, 0);
    Reply first = MountAt(cluster, "/m");
    ASSERT_EQ(first.code, 0) << first.text;
    uint32_t id = first.As<Goosefs__V1__MountResponse>()->mount->id;
    for (int i = 0; i < 30; i++) {
        ASSERT_EQ(MountAt(cluster, "/m" + std::to_string(i)).code, 0);
    }

    // It was away for more than the journal holds.
    ASSERT_EQ(cluster.Start(away, tweak), 0) << cluster.error;
    ASSERT_TRUE(Eventually([&] { return cluster.At(away).Names("/").size() == 31; }));
    std::string address = Journal(away);
    Goosefs__V1__TransferLeadershipRequest t = GOOSEFS__V1__TRANSFER_LEADERSHIP_REQUEST__INIT;
    t.raft_address = address.data();
    ASSERT_TRUE(Eventually([&] {
        cluster.OnLeader([&](Caller &c) { return c.Meta("TransferLeadership", &t.base); });
        return cluster.Leader() == away;
    }));

    Reply again = MountAt(cluster, "/m");
    ASSERT_EQ(again.code, 0) << again.text;
    EXPECT_EQ(again.As<Goosefs__V1__MountResponse>()->mount->id, id);
    Reply other = cluster.OnLeader(
        [&](Caller &c) { return c.Mount("/m", "file://" + origin.path, "another operatio"); });
    EXPECT_EQ(other.code, GFS_EEXIST) << "not for being asked again";
    EXPECT_EQ(cluster.At(away).Names("/").size(), 31u);
}

} // namespace
