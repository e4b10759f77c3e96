#include <gtest/gtest.h>

#include <string>

#include "members_priv.h"

#include "ns_fixture.h"

namespace
{

int Parse(const char *host, const char *journal, const char *rpc, gfsi_members *out,
          std::string *why = nullptr)
{
    gfsi_members_config config{};
    config.hostname = host;
    config.journal_addresses = journal;
    config.rpc_addresses = rpc;
    config.rpc_port = 26000;
    config.journal_port = 26002;
    gfs_err err = GFS_ERR_INIT;
    int rc = gfsi_members_parse(&config, out, &err);
    if (why != nullptr) {
        *why = err.text;
    }
    return rc;
}

TEST(Members, the_position_is_the_id)
{
    gfsi_members m{};
    ASSERT_EQ(Parse("b", "a:26002, b:26002 ,c:26002", "", &m), 0);
    EXPECT_EQ(m.n, 3u);
    EXPECT_EQ(m.self, 2u);
    EXPECT_STREQ(m.v[0].rpc, "a:26000");
    EXPECT_STREQ(gfsi_members_find(&m, 3)->raft, "c:26002");
    EXPECT_EQ(gfsi_members_find(&m, 0), nullptr);
    EXPECT_EQ(gfsi_members_find(&m, 4), nullptr);
    EXPECT_EQ(gfsi_members_by_raft(&m, "c:26002"), 3u);
    EXPECT_EQ(gfsi_members_by_raft(&m, "c:1"), 0u);
}

TEST(Members, rpc_addresses_may_differ)
{
    gfsi_members m{};
    ASSERT_EQ(Parse("a", "a:26002,b:26002,c:26002", "x:1,y:2,z:3", &m), 0);
    EXPECT_STREQ(m.v[1].rpc, "y:2");
}

TEST(Members, alone_when_none_is_named)
{
    gfsi_members m{};
    ASSERT_EQ(Parse("host", "", "", &m), 0);
    EXPECT_EQ(m.n, 1u);
    EXPECT_EQ(m.self, 1u);
    EXPECT_STREQ(m.v[0].raft, "host:26002");
    ASSERT_EQ(Parse("::1", "", "", &m), 0);
    EXPECT_STREQ(m.v[0].rpc, "[::1]:26000");
}

TEST(Members, refuses_what_cannot_elect)
{
    gfsi_members m{};
    std::string why;
    EXPECT_EQ(Parse("a", "a:26002,b:26002", "", &m, &why), GFS_EINVAL);
    EXPECT_NE(why.find("odd"), std::string::npos) << why;
    EXPECT_EQ(Parse("a", "a:26002,a:26002,b:26002", "", &m, &why), GFS_EINVAL);
    EXPECT_NE(why.find("twice"), std::string::npos) << why;
    EXPECT_EQ(Parse("a", "a", "", &m, &why), GFS_EINVAL);
    EXPECT_EQ(Parse("a", "a:0", "", &m, &why), GFS_EINVAL);
    EXPECT_EQ(Parse("z", "a:26002", "", &m, &why), GFS_EINVAL);
    EXPECT_NE(why.find("'z:26002' is not in"), std::string::npos) << why;
    EXPECT_EQ(Parse("a", "a:26002", "x:1,y:2", &m, &why), GFS_EINVAL);
}

TEST(Identity, ties_a_directory_to_one_master)
{
    gfs_test::TempDir tmp;
    gfsi_members a{}, b{};
    gfsi_identity first{}, again{};
    gfs_err err = GFS_ERR_INIT;
    ASSERT_EQ(Parse("a", "a:26002,b:26002,c:26002", "", &a), 0);
    ASSERT_EQ(Parse("b", "a:26002,b:26002,c:26002", "", &b), 0);
    ASSERT_EQ(gfsi_identity_open(tmp.path.c_str(), "c1", &a, &first, &err), 0) << err.text;
    ASSERT_EQ(gfsi_identity_open(tmp.path.c_str(), "c1", &a, &again, &err), 0) << err.text;
    EXPECT_STREQ(first.uuid, again.uuid);
    EXPECT_EQ(gfsi_identity_open(tmp.path.c_str(), "c1", &b, &again, &err), GFS_EPRECONDITION);
    EXPECT_NE(std::string(err.text).find("belongs to master 1"), std::string::npos) << err.text;
    EXPECT_EQ(gfsi_identity_open(tmp.path.c_str(), "c2", &a, &again, &err), GFS_EPRECONDITION);
}

} // namespace
