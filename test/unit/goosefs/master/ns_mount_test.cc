#include "ns_fixture.h"

using namespace gfs_test;
using Names = std::vector<std::string>;

namespace
{

class Mount : public testing::Test
{
  protected:
    uint64_t Epoch()
    {
        gfsi_view *view = nullptr;
        gfsi_state state{};
        EXPECT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
        gfsi_view_state(view, &state);
        gfsi_view_close(view);
        return state.mounts_epoch;
    }
    std::string UfsPath(const std::string &path)
    {
        gfsi_view *view = nullptr;
        gfsi_inode inode{};
        const char *rest = nullptr;
        char out[GFSI_PATH_MAX] = "";
        EXPECT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
        EXPECT_EQ(gfsi_view_resolve(view, path.c_str(), &inode, &rest), 0) << path;
        int rc = gfsi_view_ufs_path(view, &inode, out, sizeof(out));
        gfsi_view_close(view);
        return rc == 0 ? out : "!" + std::to_string(rc);
    }
    Names Mounts()
    {
        Names names;
        gfsi_view *view = nullptr;
        EXPECT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
        auto each = [](void *arg, const gfsi_mount *m) {
            static_cast<Names *>(arg)->push_back(std::to_string(m->id) + m->path + "=" + m->uri);
            return 0;
        };
        EXPECT_EQ(gfsi_view_mounts(view, each, &names), 0);
        gfsi_view_close(view);
        return names;
    }
    TempDir tmp;
    Namespace ns{tmp.path};
};

TEST_F(Mount, makes_the_mount_point)
{
    EXPECT_EQ(Epoch(), 1u);
    EXPECT_EQ(ns.Apply(MountEntry("/hbase", "http://mirror/hbase/")), 1);
    EXPECT_EQ(Mounts(), Names{"1/hbase=http://mirror/hbase/"});
    EXPECT_EQ(Epoch(), 2u);
    Seen seen = ns.Path("/hbase");
    EXPECT_TRUE(seen.flags & GFSI_MOUNT_POINT);
    EXPECT_FALSE(seen.flags & GFSI_LOADED);
    EXPECT_EQ(ns.Path("/").children, 1u);
    EXPECT_EQ(ns.Apply(MountEntry("/hbase", "http://mirror/other/")), GFS_EEXIST);
}

// Founded anew after its journals were lost: none of the former ids means another file now, and
// workers take the new table, whatever the old one's epoch was.
TEST_F(Mount, the_first_one_begins_the_numbers)
{
    ASSERT_EQ(ns.Apply(MountEntry("/hbase", "http://mirror/hbase/", "", 1700000000000)), 1);
    ASSERT_EQ(ns.Apply(MountEntry("/spark", "http://mirror/spark/")), 2);
    uint64_t epoch = Epoch();
    EXPECT_GT(epoch, UINT64_C(1700000000000) << 20);
    EXPECT_GE(ns.Path("/hbase").id, UINT64_C(1700000000000) << 20);
    EXPECT_EQ(ns.Path("/spark").id, ns.Path("/hbase").id + 1) << "only the first";

    TempDir other_dir;
    Namespace other{other_dir.path};
    ASSERT_EQ(other.Apply(MountEntry("/hbase", "http://mirror/hbase/", "", 1700000000001)), 1);
    EXPECT_GT(other.Path("/hbase").id, ns.Path("/spark").id);
    EXPECT_EQ(other.Path("/").id, 1u);
}

TEST_F(Mount, a_retried_operation_applies_once)
{
    std::string entry = MountEntry("/a", "http://a/", "0123456789abcdef");
    EXPECT_EQ(ns.Apply(entry), 1);
    EXPECT_EQ(ns.Apply(entry), 1);
    EXPECT_EQ(Mounts().size(), 1u);
    std::string gone = UnmountEntry("/a", "fedcba9876543210");
    EXPECT_EQ(ns.Apply(gone), 1);
    EXPECT_EQ(ns.Apply(gone), 1);
    EXPECT_EQ(ns.Apply(entry), 1); // still remembered: not mounted again
    EXPECT_TRUE(Mounts().empty());
}

TEST_F(Mount, the_memory_of_operations_is_bounded)
{
    auto id = [](int i) {
        std::string s(16, '\0');
        memcpy(s.data(), &i, sizeof(i));
        return s;
    };
    EXPECT_EQ(ns.Apply(MountEntry("/a", "http://a/", id(1))), 1);
    std::vector<std::string> batch;
    for (int i = 2; i <= GFSI_OPS_MAX + 1; i++) {
        batch.push_back(UnmountEntry("/nothing", id(i)));
    }
    ns.ApplyAll(batch);
    ASSERT_EQ(ns.rc, 0) << ns.error;
    EXPECT_EQ(ns.Apply(MountEntry("/a", "http://a/", id(1))), GFS_EEXIST); // forgotten
    EXPECT_EQ(ns.Apply(MountEntry("/x", "http://a/", id(3))), GFS_EINVAL); // remembered
}

TEST_F(Mount, parents_are_made_and_go_again)
{
    EXPECT_EQ(ns.Apply(MountEntry("/a/b/c", "http://c/")), 1);
    EXPECT_EQ(ns.Apply(MountEntry("/a/d", "http://d/")), 2);
    EXPECT_EQ(ns.List("/a"), (Names{"b", "d"}));
    EXPECT_EQ(UfsPath("/a/b"), "!" + std::to_string(GFS_EPRECONDITION));
    EXPECT_EQ(ns.Apply(UnmountEntry("/a/b/c")), 1);
    EXPECT_EQ(ns.List("/a"), Names{"d"});
    EXPECT_EQ(ns.Apply(UnmountEntry("/a/d")), 2);
    EXPECT_TRUE(ns.List("/").empty());
    EXPECT_EQ(ns.Path("/").children, 0u);
}

TEST_F(Mount, nests_and_hides_what_is_below)
{
    ns.Apply(MountEntry("/m", "http://m/"));
    uint64_t m = ns.Id("/m");
    ns.Apply(SyncEntry(m, {Dir("d"), File("f", 1, "v")}));
    uint64_t d = ns.Id("/m/d");
    EXPECT_EQ(ns.Apply(MountEntry("/m/d/x", "http://x/")), 2);
    EXPECT_EQ(ns.Apply(MountEntry("/m/none/x", "http://x/")), GFS_ENOENT);
    EXPECT_EQ(ns.Apply(MountEntry("/m/f/x", "http://x/")), GFS_ENOTDIR);
    EXPECT_EQ(ns.Apply(MountEntry("/m/f", "http://x/")), GFS_EEXIST);
    uint64_t x = ns.Id("/m/d/x");
    ns.Apply(SyncEntry(x, {File("deep", 3, "v")}));
    EXPECT_EQ(UfsPath("/m/d"), "d");
    EXPECT_EQ(UfsPath("/m/d/x"), "");
    EXPECT_EQ(UfsPath("/m/d/x/deep"), "deep");

    ns.Apply(SyncEntry(d, {Dir("x"), File("y", 1, "v")}, true, true, 30)); // x exists there, too
    EXPECT_EQ(ns.Id("/m/d/x"), x);
    ns.Apply(SyncEntry(m, {}, true, true, 31)); // d vanished at the origin
    EXPECT_EQ(ns.Id("/m/d/x"), x);
    EXPECT_EQ(ns.List("/m"), Names{"d"});
    EXPECT_EQ(ns.Apply(UnmountEntry("/m")), GFS_EPRECONDITION);
    EXPECT_EQ(ns.Apply(UnmountEntry("/m/d/x")), 2);
    EXPECT_EQ(ns.Apply(UnmountEntry("/m")), 1);
    EXPECT_TRUE(ns.List("/").empty());
}

TEST_F(Mount, at_the_root_keeps_the_others)
{
    ns.Apply(MountEntry("/a/b", "http://b/"));
    EXPECT_EQ(ns.Apply(MountEntry("/", "http://root/")), 2);
    EXPECT_EQ(ns.Apply(MountEntry("/", "http://root/")), GFS_EEXIST);
    EXPECT_FALSE(ns.Path("/").flags & GFSI_LOADED);
    ns.Apply(SyncEntry(GFSI_ROOT_ID, {File("f", 1, "v"), File("a", 1, "v"), Dir("d")}));
    EXPECT_EQ(ns.List("/"), (Names{"a", "d", "f"}));
    EXPECT_EQ(ns.List("/a"), Names{"b"});
    EXPECT_EQ(ns.Path("/").children, 3u);
    EXPECT_EQ(UfsPath("/f"), "f");
    EXPECT_EQ(ns.Apply(UnmountEntry("/")), 2);
    EXPECT_EQ(ns.List("/"), Names{"a"});
    EXPECT_EQ(ns.Path("/").children, 1u);
    EXPECT_EQ(Mounts(), Names{"1/a/b=http://b/"});
}

TEST_F(Mount, the_table_has_a_limit)
{
    std::vector<std::string> batch;
    for (int i = 0; i <= GFSI_MOUNTS_MAX; i++) {
        batch.push_back(MountEntry("/m" + std::to_string(i), "http://m/"));
    }
    std::vector<int64_t> results = ns.ApplyAll(batch);
    EXPECT_EQ(results[GFSI_MOUNTS_MAX - 1], GFSI_MOUNTS_MAX);
    EXPECT_EQ(results[GFSI_MOUNTS_MAX], GFS_ERANGE);
    EXPECT_EQ(ns.Apply(UnmountEntry("/m0")), 1);
    EXPECT_EQ(ns.Apply(MountEntry("/again", "http://m/")), GFSI_MOUNTS_MAX + 1);
}

TEST_F(Mount, unmount_names_what_is_wrong)
{
    ns.Apply(MountEntry("/a/b", "http://b/"));
    EXPECT_EQ(ns.Apply(UnmountEntry("/a")), GFS_EINVAL);
    EXPECT_EQ(ns.Apply(UnmountEntry("/none")), GFS_EINVAL);
    EXPECT_EQ(ns.Apply(UnmountEntry("/")), GFS_EINVAL);
}

TEST_F(Mount, settings_are_kept_and_deleted)
{
    char value[64];
    gfsi_view *view = nullptr;
    EXPECT_EQ(ns.Apply(SettingEntry("k", "v1")), 0);
    ASSERT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
    EXPECT_EQ(gfsi_view_setting(view, "k", value, sizeof(value)), 0);
    EXPECT_STREQ(value, "v1");
    EXPECT_EQ(ns.Apply(SettingEntry("k", "")), 0);
    EXPECT_EQ(gfsi_view_setting(view, "k", value, sizeof(value)), 0); // a view does not move
    gfsi_view_close(view);
    ASSERT_EQ(gfsi_view_open(ns.ns, &view, nullptr), 0);
    EXPECT_EQ(gfsi_view_setting(view, "k", value, sizeof(value)), GFS_ENOENT);
    gfsi_view_close(view);
}

} // namespace
