#include "ns_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

class Walk : public testing::Test
{
  protected:
    void SetUp() override
    {
        ns.Apply(MountEntry("/m", "http://mirror/"));
        ns.Apply(SyncEntry(ns.Id("/m"), {Dir("a"), File("a.txt", 1, "v"), File("b", 1, "v")}));
        ns.Apply(SyncEntry(ns.Id("/m/a"), {Dir("x"), File("y", 1, "v")}));
        ns.Apply(SyncEntry(ns.Id("/m/a/x"), {File("1", 1, "v"), File("2", 1, "v")}));
    }
    Names All(const std::string &from, const std::string &after = "")
    {
        uint64_t id = ns.Id(from);
        Names paths;
        gfsi_view *view = nullptr;
        gfsi_walk *walk = nullptr;
        gfsi_inode inode{};
        const char *path = nullptr;
        EXPECT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
        EXPECT_EQ(gfsi_walk_open(view, id, &walk), 0);
        if (!after.empty()) {
            EXPECT_EQ(gfsi_walk_after(walk, after.c_str()), 0);
        }
        int rc;
        while ((rc = gfsi_walk_next(walk, &inode, &path)) == 1) {
            paths.emplace_back(path);
        }
        EXPECT_EQ(rc, 0);
        gfsi_walk_close(walk);
        gfsi_view_close(view);
        return paths;
    }
    TempDir tmp;
    Namespace ns{tmp.path};
};

TEST_F(Walk, goes_depth_first)
{
    EXPECT_EQ(All("/m"), (Names{"a", "a/x", "a/x/1", "a/x/2", "a/y", "a.txt", "b"}));
    EXPECT_EQ(All("/m/a/x"), (Names{"1", "2"}));
    EXPECT_EQ(All("/").front(), "m");
}

TEST_F(Walk, continues_behind_every_entry)
{
    Names all = All("/m");
    for (size_t i = 0; i < all.size(); i++) {
        EXPECT_EQ(All("/m", all[i]), Names(all.begin() + static_cast<long>(i) + 1, all.end()))
            << all[i];
    }
}

TEST_F(Walk, continues_behind_what_is_gone)
{
    EXPECT_EQ(All("/m", "a/x/15"), (Names{"a/x/2", "a/y", "a.txt", "b"}));
    EXPECT_EQ(All("/m", "a/nothing/below"), (Names{"a/x", "a/x/1", "a/x/2", "a/y", "a.txt", "b"}));
    EXPECT_EQ(All("/m", "zzz"), Names{});
}

TEST_F(Walk, a_page_begins_behind_the_name)
{
    EXPECT_EQ(ns.List("/m", "a"), (Names{"a.txt", "b"}));
    EXPECT_EQ(ns.List("/m", "aa"), Names{"b"});
    EXPECT_EQ(ns.List("/m", "b"), Names{});
}

TEST_F(Walk, tells_the_path_of_an_id_and_how_far_one_leads)
{
    uint64_t id = ns.Id("/m/a/x/2");
    gfsi_view *view = nullptr;
    gfsi_inode inode{};
    const char *rest = nullptr;
    char path[64];
    ASSERT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
    EXPECT_EQ(gfsi_view_path(view, id, path, sizeof(path)), 0);
    EXPECT_STREQ(path, "/m/a/x/2");
    EXPECT_EQ(gfsi_view_path(view, GFSI_ROOT_ID, path, sizeof(path)), 0);
    EXPECT_STREQ(path, "/");
    EXPECT_EQ(gfsi_view_path(view, id, path, 8), GFS_ENAMETOOLONG);
    EXPECT_EQ(gfsi_view_resolve(view, "/m/a/q/r", &inode, &rest), GFS_ENOENT);
    EXPECT_STREQ(rest, "q/r");
    EXPECT_EQ(std::string(inode.name.s, inode.name.len), "a");
    EXPECT_EQ(gfsi_view_resolve(view, "/m/b/c", &inode, &rest), GFS_ENOTDIR);
    gfsi_view_close(view);
}

} // namespace
