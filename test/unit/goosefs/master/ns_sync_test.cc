#include "ns_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

class Sync : public testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_EQ(ns.rc, 0) << ns.error;
        ASSERT_EQ(ns.Apply(MountEntry("/m", "http://mirror/")), 1);
        m = ns.Id("/m");
    }
    TempDir tmp;
    Namespace ns{tmp.path};
    uint64_t m = 0;
};

TEST_F(Sync, a_listing_becomes_the_children)
{
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("b", 2, "v1"), Dir("a"), File("c", 0, "v1")})), 3);
    EXPECT_EQ(ns.List("/m"), (Names{"a", "b", "c"}));
    Seen dir = ns.Path("/m");
    EXPECT_EQ(dir.children, 3u);
    EXPECT_TRUE(dir.flags & GFSI_LOADED);
    Seen b = ns.Path("/m/b");
    EXPECT_EQ(b.length, 2u);
    EXPECT_EQ(b.version, "v1");
    EXPECT_EQ(b.mount, 1u);
    EXPECT_EQ(b.version_id, gfsi_version_id("v1", 2, 2));
    EXPECT_FALSE(ns.Path("/m/a").flags & GFSI_LOADED);
}

TEST_F(Sync, the_same_listing_again_changes_nothing)
{
    ns.Apply(SyncEntry(m, {File("b", 2, "v1"), Dir("a")}));
    uint64_t a = ns.Id("/m/a");
    uint64_t b = ns.Id("/m/b");
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("b", 2, "v1"), Dir("a")}, true, true, 8)), 0);
    EXPECT_EQ(ns.Id("/m/a"), a);
    EXPECT_EQ(ns.Id("/m/b"), b);
    EXPECT_EQ(ns.Path("/m").children, 2u);
}

TEST_F(Sync, a_changed_object_keeps_its_id_and_gets_a_version)
{
    ns.Apply(SyncEntry(m, {File("b", 2, "v1")}));
    Seen before = ns.Path("/m/b");
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("b", 2, "v2")}, true, true, 8)), 1);
    Seen after = ns.Path("/m/b");
    EXPECT_EQ(after.id, before.id);
    EXPECT_NE(after.version_id, before.version_id);
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("b", 3, "v2")}, true, true, 9)), 1);
    EXPECT_NE(ns.Path("/m/b").version_id, after.version_id);
}

TEST_F(Sync, what_is_gone_is_removed_with_all_below)
{
    ns.Apply(SyncEntry(m, {Dir("a"), File("z", 1, "v")}));
    uint64_t a = ns.Id("/m/a");
    ns.Apply(SyncEntry(a, {Dir("b"), File("f", 1, "v")}));
    uint64_t b = ns.Id("/m/a/b");
    ns.Apply(SyncEntry(b, {File("g", 1, "v")}));
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("z", 1, "v")}, true, true, 8)), 1);
    EXPECT_EQ(ns.List("/m"), Names{"z"});
    gfsi_view *view = nullptr;
    gfsi_inode inode{};
    ASSERT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
    EXPECT_EQ(gfsi_view_inode(view, a, &inode), GFS_ENOENT);
    EXPECT_EQ(gfsi_view_inode(view, b, &inode), GFS_ENOENT);
    gfsi_view_close(view);
    EXPECT_EQ(ns.Path("/m").children, 1u);
}

TEST_F(Sync, a_file_that_became_a_directory_is_another_inode)
{
    ns.Apply(SyncEntry(m, {File("x", 1, "v")}));
    uint64_t file = ns.Id("/m/x");
    ns.Apply(SyncEntry(m, {Dir("x")}, true, true, 8));
    EXPECT_NE(ns.Id("/m/x"), file);
    ns.Apply(SyncEntry(ns.Id("/m/x"), {File("y", 1, "v")}));
    ns.Apply(SyncEntry(m, {File("x", 1, "v")}, true, true, 9));
    EXPECT_FALSE(ns.Path("/m/x").flags & GFSI_DIRECTORY);
    EXPECT_EQ(ns.Path("/m").children, 1u);
}

TEST_F(Sync, batches_count_as_one_listing)
{
    ns.Apply(SyncEntry(m, {File("old", 1, "v")}));
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("a", 1, "v")}, true, false, 20)), 1);
    EXPECT_EQ(ns.List("/m"), (Names{"a", "old"})); // nothing goes before the last batch
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("b", 1, "v")}, false, false, 20)), 1);
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("c", 1, "v")}, false, true, 20)), 2);
    EXPECT_EQ(ns.List("/m"), (Names{"a", "b", "c"}));
    EXPECT_EQ(ns.Path("/m").children, 3u);
}

TEST_F(Sync, a_listing_that_was_overtaken_is_refused)
{
    ns.Apply(SyncEntry(m, {File("a", 1, "v")}, true, false, 20));
    ns.Apply(SyncEntry(m, {File("b", 1, "v")}, true, true, 21));
    EXPECT_EQ(ns.Apply(SyncEntry(m, {File("c", 1, "v")}, false, true, 20)), GFS_EABORTED);
    EXPECT_EQ(ns.List("/m"), Names{"b"});
}

TEST_F(Sync, names_a_reason_when_it_cannot)
{
    EXPECT_EQ(ns.Apply(SyncEntry(4711, {})), GFS_ENOENT);
    EXPECT_EQ(ns.Apply(SyncEntry(GFSI_ROOT_ID, {File("x", 1, "v")})), GFS_EPRECONDITION);
    ns.Apply(SyncEntry(m, {File("f", 1, "v")}));
    EXPECT_EQ(ns.Apply(SyncEntry(ns.Id("/m/f"), {File("x", 1, "v")})), GFS_ENOTDIR);
}

TEST_F(Sync, one_child_comes_changes_and_goes)
{
    EXPECT_EQ(ns.Apply(ChildEntry(m, File("a", 1, "v"))), 1);
    EXPECT_FALSE(ns.Path("/m").flags & GFSI_LOADED);
    uint64_t a = ns.Id("/m/a");
    EXPECT_EQ(ns.Apply(ChildEntry(m, File("a", 2, "w"))), 1);
    EXPECT_EQ(ns.Id("/m/a"), a);
    EXPECT_EQ(ns.Path("/m").children, 1u);
    EXPECT_EQ(ns.Apply(ChildEntry(m, File("a", 0, ""), true)), 1);
    EXPECT_EQ(ns.Apply(ChildEntry(m, File("a", 0, ""), true)), 0);
    EXPECT_EQ(ns.Path("/m").children, 0u);
}

TEST_F(Sync, a_child_synced_during_a_listing_is_kept)
{
    ns.Apply(SyncEntry(m, {File("a", 1, "v")}, true, false, 20));
    ns.Apply(ChildEntry(m, File("late", 1, "v")));
    ns.Apply(SyncEntry(m, {File("b", 1, "v")}, false, true, 20));
    EXPECT_EQ(ns.List("/m"), (Names{"a", "b", "late"}));
}

} // namespace
