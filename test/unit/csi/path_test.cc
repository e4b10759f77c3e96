#include "fakes.h"

namespace
{

class PathTest : public ::testing::Test
{
  protected:
    TempDir dir;
    struct gfsi_place place = GFSI_PLACE_INIT;
    struct gfs_err err = GFS_ERR_INIT;
    std::string path;

    void TearDown() override
    {
        gfsi_place_close(&place);
    }
    int open(const std::string &relative)
    {
        gfsi_place_close(&place);
        path = dir.path() + "/" + relative;
        return gfsi_place_open(dir.path().c_str(), path.c_str(), &place, &err);
    }
};

TEST_F(PathTest, OpensTheParentAndNamesTheLeaf)
{
    dir.make("a/b");
    ASSERT_EQ(open("a/b/c"), 0) << err.text;
    EXPECT_STREQ(place.leaf, "c");
    ASSERT_EQ(open("top"), 0);
    EXPECT_STREQ(place.leaf, "top");
    EXPECT_EQ(open("missing/c"), GFS_ENOENT);
}

TEST_F(PathTest, LinksOnTheWayAreRefusedInsideAndOut)
{
    dir.make("a");
    ASSERT_EQ(symlink("a", (dir.path() + "/in").c_str()), 0);
    ASSERT_EQ(symlink("/tmp", (dir.path() + "/out").c_str()), 0);
    EXPECT_EQ(open("in/c"), GFS_EPERM);
    EXPECT_EQ(open("out/c"), GFS_EPERM);
}

TEST_F(PathTest, MkdirIsIdempotentAndTellsWhoMadeIt)
{
    bool created = false;
    ASSERT_EQ(open("d"), 0);
    ASSERT_EQ(gfsi_place_mkdir(&place, &created, &err), 0);
    EXPECT_TRUE(created);
    ASSERT_EQ(gfsi_place_mkdir(&place, &created, &err), 0);
    EXPECT_FALSE(created);
}

TEST_F(PathTest, MkdirOverAFileOrLinkIsNotADirectory)
{
    ASSERT_EQ(symlink("/etc", (dir.path() + "/link").c_str()), 0);
    ASSERT_EQ(open("link"), 0);
    EXPECT_EQ(gfsi_place_mkdir(&place, nullptr, &err), GFS_ENOTDIR);
}

TEST_F(PathTest, RemoveTakesEmptyDirectoriesAndLinksOnly)
{
    dir.make("empty");
    dir.make("full/data");
    ASSERT_EQ(symlink("/etc", (dir.path() + "/link").c_str()), 0);
    FILE *f = fopen((dir.path() + "/file").c_str(), "w");
    fclose(f);

    ASSERT_EQ(open("empty"), 0);
    EXPECT_EQ(gfsi_place_remove(&place, &err), 0);
    EXPECT_EQ(gfsi_place_remove(&place, &err), 0) << "nothing there is success";
    ASSERT_EQ(open("link"), 0);
    EXPECT_EQ(gfsi_place_remove(&place, &err), 0);
    EXPECT_TRUE(exists("/etc"));
    ASSERT_EQ(open("full"), 0);
    EXPECT_EQ(gfsi_place_remove(&place, &err), GFS_ENOTEMPTY);
    EXPECT_TRUE(exists(dir.path() + "/full/data"));
    ASSERT_EQ(open("file"), 0);
    EXPECT_EQ(gfsi_place_remove(&place, &err), GFS_EPRECONDITION);
}

TEST_F(PathTest, BelowComparesWholeComponents)
{
    EXPECT_STREQ(gfsi_path_below("/a/b/c", "/a/b"), "c");
    EXPECT_EQ(gfsi_path_below("/a/bc", "/a/b"), nullptr);
    EXPECT_EQ(gfsi_path_below("/a/b", "/a/b"), nullptr);
    EXPECT_EQ(gfsi_path_below("/a/b/", "/a/b"), nullptr);
    EXPECT_STREQ(gfsi_path_below("/a", "/"), "a");
}

} // namespace
